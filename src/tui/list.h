/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TUI_LIST_H
#define DR_TUI_LIST_H

#include "tui/grid.h"
#include "tui/model.h"

/*
 * The table of the groups, or of the stalled actions: titles in row y (below 0: none), then n rows, from line `from` on. Columns are as
 * wide as what is in them. Where the screen is too narrow, the less needed ones go, then names are cut.
 */
void top_list_draw(const struct top_model *model, struct top_grid *grid, int y, unsigned first,
	unsigned n, size_t from);

/* "(+1,234)", "(-5)", "" */
const char *top_list_diff(char *text, size_t size, int64_t diff);

#endif
