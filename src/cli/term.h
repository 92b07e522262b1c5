/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CLI_TERM_H
#define DR_CLI_TERM_H

#include "cli/render.h"

#include <stdio.h>

/* Whether the stream is a terminal that obeys escape codes. */
bool term_is_live(FILE *stream);
/* What standard output can show: its size when it is a terminal, UTF-8 by the locale, colour unless NO_COLOR. */
void term_view(struct render_view *ret_view);
/*
 * Writes a frame over the one before it, as many lines as the view has rows for; on anything but a terminal just
 * writes it.
 */
void term_frame(const struct dr_buf *frame, const struct render_view *view, bool first);

#endif
