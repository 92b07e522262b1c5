/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TUI_HEAD_H
#define DR_TUI_HEAD_H

#include "tui/grid.h"
#include "tui/model.h"

/* The lines above and below the list. Each fills one row; a row below 0 is none. */
void top_head_title(const struct top_model *model, struct top_grid *grid, int y, bool tells_server);
void top_head_server(
	const struct top_model *model, struct top_grid *grid, int y, bool tells_status);
void top_head_status(const struct top_model *model, struct top_grid *grid, int y);
void top_head_counts(const struct top_model *model, struct top_grid *grid, int y);
void top_head_rates(const struct top_model *model, struct top_grid *grid, int y);
void top_head_ages(const struct top_model *model, struct top_grid *grid, int y);
void top_head_keys(
	const struct top_model *model, struct top_grid *grid, int y, size_t lines, size_t page);
/* The question for a filter's text, with the cursor. */
void top_head_question(const struct top_model *model, struct top_grid *grid, int y);

/* "2025-10-02 10:30:15" of this time zone. */
#define TOP_TIME_SIZE 32
const char *top_head_time(const struct top_model *model, char text[TOP_TIME_SIZE]);
/* "5s ago", or "Never". */
const char *top_head_last_event(const struct top_model *model, char *text, size_t size);

#endif
