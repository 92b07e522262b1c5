/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/tail_line.h"

#include "base/text.h"

#include <stdio.h>
#include <strings.h>

#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define BLUE "\033[34m"
#define RED "\033[31m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"
#define COLUMN 8u /* of the action, and of the status */

/* --- what is shown --- */

void dr_tail_words_add(struct dr_tail_words *words, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, ",");

		if (len > 0) {
			char *word = dr_xcalloc(1, len + 1);

			memcpy(word, text, len);
			words->list = dr_xrealloc(words->list, (words->n + 1) * sizeof(char *));
			words->list[words->n++] = word;
		}
		text += len + (text[len] == ',');
	}
}

void dr_tail_words_fini(struct dr_tail_words *words)
{
	for (size_t i = 0; i < words->n; i++) {
		free(words->list[i]);
	}
	free(words->list);
	*words = (struct dr_tail_words){ 0 };
}

bool dr_tail_words_has(const struct dr_tail_words *words, struct dr_span word)
{
	for (size_t i = 0; word.p && i < words->n; i++) {
		if (strncasecmp(words->list[i], word.p, word.len) == 0 &&
			words->list[i][word.len] == '\0') {
			return true;
		}
	}
	return false;
}

static struct dr_span type_of(const struct dr_event *event)
{
	switch (event->type) {
	case DR_EVENT_NEW:
		return dr_span_of("NEW");
	case DR_EVENT_UPDATE:
		return dr_span_of("UPDATE");
	case DR_EVENT_PURGED:
		return dr_span_of("PURGED");
	case DR_EVENT_OTHER:
		break;
	}
	return (struct dr_span){ 0 };
}

bool dr_tail_is_hidden(const struct dr_event *event, const struct dr_tail_words *show,
	const struct dr_tail_words *hide)
{
	const struct dr_span purged = dr_span_of("PURGED");
	struct dr_span type = type_of(event);

	if (dr_tail_words_has(hide, type) || dr_tail_words_has(hide, event->action) ||
		dr_tail_words_has(hide, event->status)) {
		return true;
	}
	return (event->type == DR_EVENT_PURGED || dr_span_eq(event->status, purged)) &&
	       !dr_tail_words_has(show, purged);
}

/* --- a line for people --- */

static const char *color_of(struct dr_span status)
{
	static const struct {
		const char *status, *color;
	} table[] = {
		{ "STARTED", BLUE },
		{ "WAITING", YELLOW },
		{ "SUCCEED", GREEN },
		{ "FAILED", RED },
		{ "CANCELED", RED },
		{ "PURGED", DIM },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (dr_span_is(status, table[i].status)) {
			return table[i].color;
		}
	}
	return "";
}

static void put_time(struct dr_tail_line *line, int64_t second, struct dr_buf *out)
{
	if (second == 0) {
		dr_buf_put_str(out, "N/A");
		return;
	}
	if (line->second != second || !line->time[0]) {
		time_t t = (time_t)second;
		struct tm tm;

		line->second = second;
		if (!localtime_r(&t, &tm) ||
			strftime(line->time, sizeof(line->time), "%Y-%m-%d %H:%M:%S", &tm) == 0) {
			(void)snprintf(line->time, sizeof(line->time), "N/A");
		}
	}
	dr_buf_put_str(out, line->time);
}

static void put_padded(struct dr_buf *out, struct dr_span text)
{
	size_t begin = out->len;

	if (text.p) {
		dr_text_escape(out, text.p, text.len);
	} else {
		dr_buf_put_u8(out, '?');
	}
	while (out->len - begin < COLUMN) {
		dr_buf_put_u8(out, ' ');
	}
}

static void put_path(
	struct dr_buf *out, struct dr_span fid, enum dr_tail_path kind, const char *path)
{
	if (!fid.p) {
		return;
	}
	dr_buf_put_str(out, " -> ");
	if (kind == DR_TAIL_FOUND) {
		dr_text_escape(out, path, strlen(path));
		return;
	}
	dr_buf_put_str(out, kind == DR_TAIL_NOT_FOUND ? "(path for " : "");
	dr_text_escape(out, fid.p, fid.len);
	dr_buf_put_str(out, kind == DR_TAIL_NOT_FOUND ? " not found)" : "");
}

void dr_tail_put_text(struct dr_tail_line *line, const struct dr_reader_event *event,
	enum dr_tail_path kind, const char *path, struct dr_buf *out)
{
	const struct dr_event *body = &event->event;
	const char *color = line->has_color ? color_of(body->status) : "";
	char id[DR_ENTRY_ID_SIZE];

	put_time(line, body->timestamp, out);
	dr_buf_put_str(out, " [");
	dr_text_escape(out, body->mdt.p, body->mdt.len);
	dr_buf_put_str(out, "] ");
	put_padded(out, body->action.p ? body->action : type_of(body));
	dr_buf_put_u8(out, ' ');
	dr_buf_put_str(out, color);
	put_padded(out, body->status);
	dr_buf_put_str(out, *color ? PLAIN : "");
	put_path(out, body->fid, kind, path);
	dr_buf_put_str(out, line->has_color ? " " DIM "(id: " : " (id: ");
	dr_buf_put_str(out, dr_entry_id_text(event->id, id));
	dr_buf_put_str(out, line->has_color ? ")" PLAIN "\n" : ")\n");
}

/* --- a line for programs --- */

static void put_json_path(const char *path, struct dr_buf *out)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	/* It is UTF-8 without control characters then. */
	dr_text_escape(&text, path, strlen(path));
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '"' || text.data[i] == '\\') {
			dr_buf_put_u8(out, '\\');
		}
		dr_buf_put_u8(out, text.data[i]);
	}
}

void dr_tail_put_json(const struct dr_reader_event *event, const char *path, struct dr_buf *out)
{
	size_t begin = out->len;
	size_t len = event->json.len;
	char id[DR_ENTRY_ID_SIZE];

	/* It was read as an object with at least one key: behind its last brace are blanks, and no string holds a newline as it is. */
	while (len > 0 && event->json.p[len - 1] != '}') {
		len--;
	}
	dr_buf_put(out, event->json.p, len > 0 ? len - 1 : 0);
	for (size_t i = begin; i < out->len; i++) {
		if (out->data[i] == '\n' || out->data[i] == '\r') {
			out->data[i] = ' ';
		}
	}
	dr_buf_put_str(out, ",\"stream_id\":\"");
	dr_buf_put_str(out, dr_entry_id_text(event->id, id));
	if (path) {
		dr_buf_put_str(out, "\",\"path\":\"");
		put_json_path(path, out);
	}
	dr_buf_put_str(out, "\"}\n");
}
