/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_TAIL_LINE_H
#define DR_HSM_TAIL_LINE_H

#include "hsm/reader.h"

#include <time.h>

/* What hsm-stream-tail prints. Touches no file. */

/* Words that hide events, by their type, action or status. In any case; a word that holds commas is several. */
struct dr_tail_words {
	char **list;
	size_t n;
};
void dr_tail_words_add(struct dr_tail_words *words, const char *text);
void dr_tail_words_fini(struct dr_tail_words *words);
bool dr_tail_words_has(const struct dr_tail_words *words, struct dr_span word);

/* PURGED is hidden without being in hide, unless it is in show. What is in both is hidden. */
bool dr_tail_is_hidden(const struct dr_event *event, const struct dr_tail_words *show,
	const struct dr_tail_words *hide);

enum dr_tail_path {
	DR_TAIL_NO_MOUNT,  /* the FID stands for the path */
	DR_TAIL_NOT_FOUND, /* so it says */
	DR_TAIL_FOUND,
};

struct dr_tail_line {
	bool has_color;
	/* The second that was last put into words: localtime() is far dearer than the rest of a line. */
	int64_t second;
	char time[32];
};

/*
 * Appends "2025-10-02 10:32:05 [fs-MDT0001] RESTORE  STARTED  -> /path (id: 1759-0)" and a newline: local time, 'N/A' where the event has
 * none. What is not printable is escaped, as dr_text_escape() does.
 */
void dr_tail_put_text(struct dr_tail_line *line, const struct dr_reader_event *event,
	enum dr_tail_path kind, const char *path, struct dr_buf *out);

/*
 * Appends the event's own JSON as one line, with "stream_id", and "path" unless NULL, behind all other keys. A path that is not UTF-8, or
 * holds a backslash, is escaped as above.
 */
void dr_tail_put_json(const struct dr_reader_event *event, const char *path, struct dr_buf *out);

#endif
