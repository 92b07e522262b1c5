/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TUI_SCREEN_H
#define DR_TUI_SCREEN_H

#include "tui/grid.h"

/*
 * The terminal: shows grids and gives keys (those of tui/keys.h). The only part that knows curses. There is one a process. It takes no
 * signals: the caller tells it of a new size, and closes it before the process stops or ends. When the process crashes, the terminal
 * is put back all the same.
 * Threads: one.
 */

/* Whether standard input and output are a terminal on which one can move about. */
bool top_screen_is_possible(void);
/* @error ENOTTY the terminal is not known, or cannot do it */
dr_nodiscard int top_screen_open(void);
/* Puts the terminal back as it was; may be called when it is not open. */
void top_screen_close(void);

/* An empty grid of the terminal's size. */
void top_screen_grid(struct top_grid *ret_grid);
/* @param all draw also what curses takes for being there already */
void top_screen_draw(const struct top_grid *grid, bool all);
/* The terminal has another size. */
void top_screen_resize(void);
/* The next key that was pressed. @return whether there was one; it does not wait */
bool top_screen_key(uint32_t *ret_key);
/* Around the process' stop. */
void top_screen_suspend(void);
void top_screen_resume(void);

#endif
