/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TUI_GRID_H
#define DR_TUI_GRID_H

#include "base/buf.h"

/*
 * A screen in memory: w times h cells, each with one character. Pure: curses, or a test, reads it. Whatever is put beyond its edges is
 * left out. Texts may be any bytes: they are shown as dr_text_escape() has them, characters that take no room are left out, and
 * without utf8 what is not ASCII is shown as '?'. How wide characters are is asked of the locale (LC_CTYPE).
 */
enum top_attr {
	TOP_PLAIN = 0,
	TOP_BOLD = 1,
	TOP_DIM = 2,
	TOP_REVERSE = 4,
	TOP_RED = 8,
	TOP_GREEN = 16,
	TOP_YELLOW = 32,
	TOP_CYAN = 64,
};

struct top_cell {
	uint32_t c;    /* Unicode; 0: the right half of the wide one before it */
	unsigned attr; /* of enum top_attr */
};

struct top_grid {
	unsigned w, h;
	bool utf8;
	struct top_cell *cells;      /* row by row */
	bool has_cursor;             /* else it is hidden */
	unsigned cursor_x, cursor_y; /* inside */
};

/* All blank. */
void top_grid_init(struct top_grid *grid, unsigned w, unsigned h, bool utf8);
void top_grid_fini(struct top_grid *grid);

static inline struct top_cell *top_grid_at(const struct top_grid *grid, unsigned x, unsigned y)
{
	return &grid->cells[(size_t)y * grid->w + x];
}

enum top_fit {
	TOP_LEFT,  /* what is too long loses its end */
	TOP_RIGHT, /* likewise, and what is short stands at the right */
	TOP_MIDDLE, /* at the left; what is too long loses its middle: its end is what tells it from others */
};

/* Puts a text into a field of w columns; a mark says that something is left out. @return the columns that the text took */
unsigned top_grid_put(struct top_grid *grid, unsigned x, unsigned y, unsigned w, enum top_fit fit,
	unsigned attr, const char *text);
/* The row from x on, w columns, gets the attributes in addition. */
void top_grid_paint(struct top_grid *grid, unsigned x, unsigned y, unsigned w, unsigned attr);

/* The columns that a text takes when there is room. */
unsigned top_text_width(const char *text, bool utf8);
/* Appends a row as UTF-8, without the blanks at its end. */
void top_grid_row(const struct top_grid *grid, unsigned y, struct dr_buf *out);

#endif
