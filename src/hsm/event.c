/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/event.h"

#include "hsm/json_scan.h"

#include <inttypes.h>
#include <stdio.h>

/* Writing events, and the names of entries. */

#define N_KEYS 14    /* of all that an event can have */
#define KEY_BYTES 48 /* of a key, its punctuation, and a number or a type */

static const char *const type_names[] = { "", "NEW", "UPDATE", "PURGED" };

/* Room for all that an event can become is made first; then it is written without a look at the room. */
static char *put_bytes(char *p, const void *bytes, size_t len)
{
	memcpy(p, bytes, len);
	return p + len;
}

static char *put_escaped(char *p, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	*p++ = '\\';
	if (c == '"' || c == '\\') {
		*p++ = (char)c;
		return p;
	}
	p = put_bytes(p, "u00", 3);
	*p++ = hex[c >> 4];
	*p++ = hex[c & 15];
	return p;
}

static char *put_string(char *p, struct dr_span s)
{
	const char *from = s.p;
	const char *end = s.p + s.len;
	bool is_ascii = true;

	*p++ = '"';
	while (from < end) {
		const char *special = dr_scan_string(from, end, &is_ascii);

		p = put_bytes(p, from, (size_t)(special - from));
		if (special < end) {
			p = put_escaped(p, (unsigned char)*special++);
		}
		from = special;
	}
	*p++ = '"';
	return p;
}

static char *put_name(char *p, const char *name)
{
	if (p[-1] != '{') {
		*p++ = ',';
	}
	*p++ = '"';
	p = put_bytes(p, name, strlen(name));
	return put_bytes(p, "\":", 2);
}

static char *put_text(char *p, const char *name, struct dr_span value)
{
	return value.p ? put_string(put_name(p, name), value) : p;
}

static char *put_number(char *p, const char *name, int64_t v)
{
	char digits[24];
	char *first = digits + sizeof(digits);
	uint64_t left = v < 0 ? -(uint64_t)v : (uint64_t)v;

	do {
		*--first = (char)('0' + left % 10);
		left /= 10;
	} while (left);
	if (v < 0) {
		*--first = '-';
	}
	return put_bytes(put_name(p, name), first, (size_t)(digits + sizeof(digits) - first));
}

/* Bytes that the event's JSON takes at most: every character of a text may become six. */
static size_t most_bytes(const struct dr_event *event)
{
	size_t texts = event->mdt.len + event->fid.len + event->action.len + event->status.len +
		       event->action_key.len + event->cookie.len + event->raw.len +
		       event->hash.len + event->source.len;

	return texts * 6 + (size_t)N_KEYS * KEY_BYTES;
}

void dr_event_encode(const struct dr_event *event, struct dr_buf *out)
{
	bool is_purged = event->type == DR_EVENT_PURGED;

	dr_buf_reserve(out, most_bytes(event));
	char *p = (char *)out->data + out->len;

	*p++ = '{';
	if (event->has_idx) {
		p = put_number(p, "cat_idx", (int64_t)event->cat);
		p = put_number(p, "rec_idx", (int64_t)event->rec);
	}
	p = put_text(p, "fid", event->fid);
	p = put_text(p, "action", event->action);
	p = put_text(p, "status", event->status);
	p = put_text(p, "event_type", dr_span_of(type_names[event->type]));
	p = put_text(p, "mdt", event->mdt);
	p = put_number(p, "timestamp", event->timestamp);
	if (!is_purged) {
		p = put_text(p, "raw", event->raw);
	}
	p = put_text(p, "action_key", event->action_key);
	if (is_purged) {
		p = put_text(p, "hash", event->hash);
		p = put_text(p, "source", event->source);
	} else if (event->first_seen) {
		p = put_number(p, "first_seen", event->first_seen);
	}
	p = put_text(p, "cookie", event->cookie);
	*p++ = '}';
	out->len = (size_t)(p - (char *)out->data);
}

void dr_event_put_key(struct dr_buf *out, struct dr_span fid, struct dr_span action)
{
	dr_buf_put(out, fid.p, fid.len);
	dr_buf_put_u8(out, ':');
	dr_buf_put(out, action.p, action.len);
}

/* ---- the names of entries ---- */

const char *dr_entry_id_text(struct dr_entry_id id, char text[DR_ENTRY_ID_SIZE])
{
	(void)snprintf(text, DR_ENTRY_ID_SIZE, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
	return text;
}

static bool parse_u64(const char **p, const char *end, uint64_t *ret)
{
	const char *begin = *p;
	uint64_t v = 0;

	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
		uint64_t digit = (uint64_t)(**p - '0');

		if (v > (UINT64_MAX - digit) / 10) {
			return false;
		}
		v = v * 10 + digit;
	}
	*ret = v;
	return *p > begin;
}

int dr_entry_id_parse(const char *s, size_t len, struct dr_entry_id *ret_id)
{
	const char *end = s + len;
	struct dr_entry_id id = { 0 };

	if (!parse_u64(&s, end, &id.ms) || s == end || *s++ != '-' ||
		!parse_u64(&s, end, &id.seq) || s != end) {
		return -EINVAL;
	}
	*ret_id = id;
	return 0;
}
