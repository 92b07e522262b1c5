/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CLI_RENDER_H
#define DR_CLI_RENDER_H

#include "base/buf.h"

#include <jansson.h>

/*
 * A status as text. Pure: the same JSON and view give the same bytes. Whatever is missing in the JSON counts as
 * zero or empty.
 */
struct render_view {
	unsigned columns; /* of the terminal; 0: lines are not cut */
	unsigned rows;    /* 0: as many as there are */
	bool utf8;        /* else ASCII alone is drawn */
	bool color;
};

/* The whole frame, lines ended by newlines. */
void render_status(const json_t *status, const struct render_view *view, struct dr_buf *out);
/* One line without a newline: what `run` shows. */
void render_line(const json_t *status, const struct render_view *view, struct dr_buf *out);
/* "COMPLETED WITH LEFTOVERS" and the like. */
void render_state(const char *state, struct dr_buf *out);
/* "36.07%", rounded down: 100.00% is said only of all; "-" of nothing. */
const char *render_percent(char *buf, size_t size, uint64_t part, uint64_t whole);

/* ---- render_clone.c: what a clone has besides. Lines ended by newlines, appended, not cut. ---- */

/* From where to where, and the passes with how far they are: "copy (done), delete (running), dirtimes". */
void render_clone_head(const json_t *status, struct dr_buf *out);
/* What only a clone counts, of the passes that it has. */
void render_clone_counts(const json_t *status, struct dr_buf *out);
/* What its files are when they succeeded: "copied", "would be copied", "compared". */
const char *render_clone_word(const json_t *status);

#endif
