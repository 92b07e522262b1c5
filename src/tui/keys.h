/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TUI_KEYS_H
#define DR_TUI_KEYS_H

#include "tui/model.h"

/* What a pressed key does. Pure. A key is a Unicode character, or one of these. */
enum {
	TOP_KEY_ENTER = '\n',
	TOP_KEY_ESCAPE = 0x1b,
	TOP_KEY_BACKSPACE = 0x7f,
	TOP_KEY_UP = 0x200000, /* past Unicode */
	TOP_KEY_DOWN,
	TOP_KEY_PAGE_UP,
	TOP_KEY_PAGE_DOWN,
	TOP_KEY_HOME,
	TOP_KEY_END,
	TOP_KEY_HELP,
};

enum top_command {
	TOP_NOTHING,
	TOP_QUIT,
	TOP_HELP,
	TOP_STALLED,
	TOP_BACK, /* to the table */
	TOP_PAUSE,
	TOP_SORT_MDT,
	TOP_SORT_ACTION,
	TOP_SORT_STATUS,
	TOP_SORT_COUNT,
	TOP_SORT_DIFF,
	TOP_SORT_OLDEST,
	TOP_SORT_STALLED,
	TOP_SORT_NEXT,
	TOP_SORT_PREVIOUS,
	TOP_SORT_REVERSE,
	TOP_ASK_MDT,
	TOP_ASK_ACTION,
	TOP_ASK_STATUS,
	TOP_CLEAR_FILTERS,
	TOP_SLOWER,
	TOP_FASTER,
	TOP_UP,
	TOP_DOWN,
	TOP_PAGE_UP,
	TOP_PAGE_DOWN,
	TOP_HOME,
	TOP_END,
	TOP_REDRAW,
};
enum top_command top_key_command(uint32_t key);

/* What is to be done after a key. */
enum top_effect {
	TOP_EFFECT_NONE,
	TOP_EFFECT_DRAW,
	TOP_EFFECT_LOOK,   /* take a new look, and draw */
	TOP_EFFECT_REDRAW, /* draw all of the screen, which something else wrote to */
	TOP_EFFECT_QUIT,
};

/* @param page, lines How many lines of the page that is shown fit on the screen, and how many there are */
enum top_effect top_press(struct top_model *model, uint32_t key, size_t page, size_t lines);

#endif
