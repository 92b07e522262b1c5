/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TUI_FRAME_H
#define DR_TUI_FRAME_H

#include "tui/grid.h"
#include "tui/model.h"

/*
 * The model as a screen. Pure, and for every size: the less room there is, the more is left out, first lines of the head, then columns
 * from the right, then ends and middles of names.
 */
void top_frame_draw(const struct top_model *model, struct top_grid *grid);

/* How many lines of the page that is shown fit on a screen of that height, and how many there are. */
size_t top_frame_page(const struct top_model *model, unsigned h);
size_t top_frame_lines(const struct top_model *model);

/* One frame for --run-once: plain text, as the document of the system shows it, with columns as wide as what is in them. */
void top_frame_plain(const struct top_model *model, bool utf8, struct dr_buf *out);

#endif
