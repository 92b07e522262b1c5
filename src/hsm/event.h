/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_EVENT_H
#define DR_HSM_EVENT_H

#include "base/buf.h"
#include "hsm/span.h"

/*
 * One event of a stream: the JSON object in the field `data` of a Redis stream's entry.
 *   NEW, UPDATE  cat_idx rec_idx fid action status event_type mdt timestamp raw action_key, and of ours cookie, first_seen
 *   PURGED       event_type mdt cat_idx rec_idx timestamp status action_key hash action fid, and of ours cookie; source
 *                where the stream was put right rather than a purge seen
 * Events of other programs are read too: fields may be missing, null, in any order, or be joined by others.
 */
enum dr_event_type {
	DR_EVENT_OTHER, /* an event_type that this version does not know */
	DR_EVENT_NEW,
	DR_EVENT_UPDATE,
	DR_EVENT_PURGED,
};

struct dr_event {
	enum dr_event_type type;
	bool has_idx;       /* some programs' PURGED have none: then action_key alone says which */
	uint64_t cat, rec;  /* at most INT64_MAX */
	int64_t timestamp;  /* seconds since 1970; 0: not there */
	int64_t first_seen; /* seconds since 1970 of the NEW that began it; 0: not there */
	/* p NULL: not there, or null. */
	struct dr_span mdt, fid, action, status, action_key, cookie, raw, hash, source;
};

/* Appends the event as JSON, whose strings must be valid UTF-8. What is not there is left out. */
void dr_event_encode(const struct dr_event *event, struct dr_buf *out);

/*
 * Reads an event. Its spans are lent from `json`, or from `scratch` where a string holds escapes; scratch is cleared first.
 * It takes what RFC 8259 calls JSON, but: no \u0000, no integer past 64 bits, at most DR_EVENT_MAX_DEPTH levels. Of a key that
 * comes twice the last counts.
 * @error EBADMSG no JSON, or no object; EPROTO a known key has a value of another type or out of range, or event_type is missing, or a
 *        NEW or UPDATE has no idx, or a PURGED neither idx nor action_key
 */
#define DR_EVENT_MAX_DEPTH 64
dr_nodiscard int dr_event_decode(
	const char *json, size_t len, struct dr_buf *scratch, struct dr_event *ret_event);

/* "FID:ACTION", appended. */
void dr_event_put_key(struct dr_buf *out, struct dr_span fid, struct dr_span action);

/* Identity of an entry in a stream: milliseconds and a count within them. */
struct dr_entry_id {
	uint64_t ms, seq;
};
#define DR_ENTRY_ID_SIZE 42 /* bytes of its text, with the NUL */
/* "1759396325123-0" */
const char *dr_entry_id_text(struct dr_entry_id id, char text[DR_ENTRY_ID_SIZE]);
/* @error EINVAL */
dr_nodiscard int dr_entry_id_parse(const char *s, size_t len, struct dr_entry_id *ret_id);
static inline int dr_entry_id_cmp(struct dr_entry_id a, struct dr_entry_id b)
{
	if (a.ms != b.ms) {
		return a.ms < b.ms ? -1 : 1;
	}
	return a.seq < b.seq ? -1 : a.seq > b.seq;
}

#endif
