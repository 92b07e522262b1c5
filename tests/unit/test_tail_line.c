/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "hsm/tail_line.h"

#include <jansson.h>

#include "unit.h"

static struct dr_buf out, scratch;

static struct dr_reader_event event_of(const char *json)
{
	struct dr_reader_event event = {
		.stream = "p:fs-MDT0001",
		.mdt = "fs-MDT0001",
		.id = { .ms = 1759, .seq = 3 },
		.json = dr_span_of(json),
	};

	ck_assert_int_eq(dr_event_decode(json, strlen(json), &scratch, &event.event), 0);
	if (!event.event.mdt.p) {
		event.event.mdt = dr_span_of(event.mdt);
	}
	return event;
}

static void check_text(const char *json, bool has_color, enum dr_tail_path kind, const char *path,
	const char *expected)
{
	struct dr_tail_line line = { .has_color = has_color };
	struct dr_reader_event event = event_of(json);

	dr_buf_clear(&out);
	dr_tail_put_text(&line, &event, kind, path, &out);
	dr_unit_text(&out, expected);
}

#define RESTORE                                                                                    \
	"{\"event_type\":\"UPDATE\",\"mdt\":\"fs-MDT0001\",\"cat_idx\":1,\"rec_idx\":2,"           \
	"\"timestamp\":1759401125,\"fid\":\"0x1:0x2:0x0\",\"action\":\"RESTORE\",\"status\":\"STARTED\"}"

START_TEST(tail_line__is_the_documented_one)
{
	ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
	check_text(RESTORE, false, DR_TAIL_FOUND, "/path",
		"2025-10-02 10:32:05 [fs-MDT0001] RESTORE  STARTED  -> /path (id: 1759-3)\n");
	check_text(RESTORE, false, DR_TAIL_NO_MOUNT, NULL,
		"2025-10-02 10:32:05 [fs-MDT0001] RESTORE  STARTED  -> 0x1:0x2:0x0 (id: 1759-3)\n");
	check_text(RESTORE, false, DR_TAIL_NOT_FOUND, NULL,
		"2025-10-02 10:32:05 [fs-MDT0001] RESTORE  STARTED  -> (path for 0x1:0x2:0x0 not found) "
		"(id: 1759-3)\n");
	check_text(RESTORE, true, DR_TAIL_FOUND, "/path",
		"2025-10-02 10:32:05 [fs-MDT0001] RESTORE  \033[34mSTARTED \033[0m -> /path "
		"\033[2m(id: 1759-3)\033[0m\n");
}
END_TEST

START_TEST(tail_line__does_with_what_an_event_has)
{
	check_text("{\"event_type\":\"PURGED\",\"action_key\":\"x\"}", false, DR_TAIL_FOUND, "/x",
		"N/A [fs-MDT0001] PURGED   ?        (id: 1759-3)\n");
	check_text("{\"event_type\":\"other\",\"timestamp\":9223372036854775807,"
		   "\"action\":\"a\\u001b[2Jmuch longer\",\"mdt\":\"a\\nb\"}",
		true, DR_TAIL_NO_MOUNT, NULL,
		"N/A [a\\nb] a\\x1b[2Jmuch longer ?        \033[2m(id: 1759-3)\033[0m\n");
	check_text(RESTORE, false, DR_TAIL_FOUND, "/a\nb\xff\\",
		"2025-10-02 10:32:05 [fs-MDT0001] RESTORE  STARTED  -> /a\\nb\\xff\\\\ (id: 1759-3)\n");
}
END_TEST

static void check_json(const char *json, const char *path)
{
	struct dr_reader_event event = event_of(json);
	json_error_t error;

	dr_buf_clear(&out);
	dr_tail_put_json(&event, path, &out);
	ck_assert_ptr_eq(strchr(dr_buf_cstr(&out), '\n'), dr_buf_cstr(&out) + out.len - 1);
	json_t *was = json_loads(json, 0, &error);
	json_t *is = json_loadb((const char *)out.data, out.len, 0, &error);

	ck_assert_msg(is != NULL, "%s: %s", error.text, dr_buf_cstr(&out));
	ck_assert_str_eq(json_string_value(json_object_get(is, "stream_id")), "1759-3");
	(void)json_object_set_new(was, "stream_id", json_string("1759-3"));
	if (path) {
		struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

		dr_text_escape(&text, path, strlen(path));
		(void)json_object_set_new(was, "path", json_string(dr_buf_cstr(&text)));
	}
	ck_assert(json_equal(was, is));
	json_decref(was);
	json_decref(is);
}

START_TEST(tail_line__as_json_is_the_event_and_more)
{
	check_json(RESTORE, NULL);
	check_json(RESTORE, "/path");
	check_json(RESTORE, "/a\"b\\\n\xff\xc3\xa9");
	check_json(
		"\n {\r\n \"event_type\" : \"NEW\",\n\"cat_idx\":1,\"rec_idx\":2,\"more\":[1,{\"a\":\"}\"}]\n}\n ",
		"/x");
}
END_TEST

START_TEST(tail_line__hides_purged_and_what_is_asked)
{
	struct dr_tail_words show dr_cleanup(dr_tail_words_fini) = { 0 };
	struct dr_tail_words hide dr_cleanup(dr_tail_words_fini) = { 0 };
	struct dr_event restore = { .type = DR_EVENT_UPDATE,
		.action = dr_span_of("RESTORE"),
		.status = dr_span_of("STARTED") };
	struct dr_event purged = { .type = DR_EVENT_PURGED };

	ck_assert(!dr_tail_is_hidden(&restore, &show, &hide));
	ck_assert(dr_tail_is_hidden(&purged, &show, &hide));
	purged.type = DR_EVENT_OTHER;
	purged.status = dr_span_of("PURGED");
	ck_assert(dr_tail_is_hidden(&purged, &show, &hide));
	dr_tail_words_add(&show, "x,,purGED,y");
	ck_assert(!dr_tail_is_hidden(&purged, &show, &hide));
	dr_tail_words_add(&hide, "STAR,STARTEDX,");
	ck_assert(!dr_tail_is_hidden(&restore, &show, &hide));
	dr_tail_words_add(&hide, "started");
	ck_assert(dr_tail_is_hidden(&restore, &show, &hide));
	restore.status = dr_span_of("WAITING");
	ck_assert(!dr_tail_is_hidden(&restore, &show, &hide));
	dr_tail_words_add(&hide, "Update");
	ck_assert(dr_tail_is_hidden(&restore, &show, &hide));
	dr_tail_words_add(&hide, "PURGED");
	ck_assert(dr_tail_is_hidden(&purged, &show, &hide));
}
END_TEST

DR_UNIT_MAIN("tail_line", tail_line__is_the_documented_one, tail_line__does_with_what_an_event_has,
	tail_line__as_json_is_the_event_and_more, tail_line__hides_purged_and_what_is_asked)
