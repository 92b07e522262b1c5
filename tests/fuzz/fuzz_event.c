/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/event.h"

#include <jansson.h>

#include "fuzz.h"

/*
 * The decoder takes exactly the objects that jansson takes, within its own bounds (depth, numbers past what a double holds), and reads
 * the same strings and numbers; what it took, it writes so that both read it again.
 */
static void same_text(const json_t *root, const char *name, struct dr_span ours)
{
	const json_t *value = json_object_get(root, name);

	if (!json_is_string(value)) {
		FUZZ_CHECK(!ours.p);
		return;
	}
	FUZZ_CHECK(ours.p && ours.len == json_string_length(value) &&
		   memcmp(ours.p, json_string_value(value), ours.len) == 0);
}

static void same_event(const json_t *root, const struct dr_event *event)
{
	same_text(root, "mdt", event->mdt);
	same_text(root, "fid", event->fid);
	same_text(root, "action", event->action);
	same_text(root, "status", event->status);
	same_text(root, "action_key", event->action_key);
	same_text(root, "raw", event->raw);
	same_text(root, "cookie", event->cookie);
	if (event->has_idx) {
		FUZZ_CHECK(json_integer_value(json_object_get(root, "cat_idx")) ==
			   (json_int_t)event->cat);
		FUZZ_CHECK(json_integer_value(json_object_get(root, "rec_idx")) ==
			   (json_int_t)event->rec);
	}
}

static void round_trip(struct dr_event *event)
{
	struct dr_buf json = { 0 };
	struct dr_buf scratch = { 0 };
	struct dr_event back = { 0 };

	if (event->type == DR_EVENT_OTHER) {
		return;
	}
	dr_event_encode(event, &json);
	json_t *root = json_loadb((const char *)json.data, json.len, 0, NULL);

	FUZZ_CHECK(root);
	json_decref(root);
	FUZZ_CHECK(dr_event_decode((const char *)json.data, json.len, &scratch, &back) == 0);
	FUZZ_CHECK(back.type == event->type && back.has_idx == event->has_idx &&
		   back.timestamp == event->timestamp && dr_span_eq(back.mdt, event->mdt) &&
		   dr_span_eq(back.fid, event->fid) &&
		   dr_span_eq(back.action_key, event->action_key));
	dr_buf_fini(&json);
	dr_buf_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_buf scratch = { 0 };
	struct dr_event event = { 0 };
	json_error_t error = { 0 };
	int r = dr_event_decode((const char *)data, size, &scratch, &event);
	json_t *root = json_loadb((const char *)data, size, 0, &error);

	if (memchr(data, 0, size)) {
		/* jansson passes over a NUL behind a number; JSON has none anywhere. */
		FUZZ_CHECK(r == -EBADMSG);
	} else if (json_is_object(root)) {
		/* Deeper than ours is the only thing that jansson takes and we do not. */
		FUZZ_CHECK(r != -EBADMSG || memchr(data, '[', size) || memchr(data, '{', size));
		FUZZ_CHECK(r != -EBADMSG || size > DR_EVENT_MAX_DEPTH);
		if (r == 0) {
			same_event(root, &event);
		}
	} else if (json_error_code(&error) != json_error_numeric_overflow) {
		FUZZ_CHECK(r == -EBADMSG);
	}
	json_decref(root);
	if (r == 0) {
		round_trip(&event);
	}
	dr_buf_fini(&scratch);
	return 0;
}
