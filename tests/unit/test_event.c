/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/event.h"

#include <jansson.h>

#include "unit.h"

static struct dr_buf scratch;

static int decode(const char *json, struct dr_event *event)
{
	return dr_event_decode(json, strlen(json), &scratch, event);
}

static void is_text(struct dr_span span, const char *expected)
{
	ck_assert_msg(expected ? dr_span_is(span, expected) : !span.p, "'%.*s' is not '%s'",
		(int)span.len, span.p ? span.p : "", expected ? expected : "(none)");
}

/* Events as the documented shipper writes them. */
START_TEST(event__reads_what_the_documented_shipper_writes)
{
	struct dr_event event = { 0 };

	ck_assert_int_eq(
		decode("{\"cat_idx\": 517, \"rec_idx\": 42068, \"fid\": \"0x2c000596f:0x1ce71:0x0\", "
		       "\"action\": \"ARCHIVE\", \"status\": \"STARTED\", \"event_type\": \"NEW\", "
		       "\"mdt\": \"elm-MDT0003\", \"timestamp\": 1759619143, \"raw\": \"lrh=[x] \\\"q\\\" "
		       "\\u00e9\\ud83d\\udc11\", \"action_key\": \"0x2c000596f:0x1ce71:0x0:ARCHIVE\"}",
			&event),
		0);
	ck_assert_int_eq(event.type, DR_EVENT_NEW);
	ck_assert(event.has_idx);
	ck_assert_uint_eq(event.cat, 517);
	ck_assert_uint_eq(event.rec, 42068);
	ck_assert_int_eq(event.timestamp, 1759619143);
	is_text(event.fid, "0x2c000596f:0x1ce71:0x0");
	is_text(event.status, "STARTED");
	is_text(event.mdt, "elm-MDT0003");
	is_text(event.raw, "lrh=[x] \"q\" \xc3\xa9\xf0\x9f\x90\x91");
	is_text(event.cookie, NULL);

	/* Its maintenance names no index. */
	ck_assert_int_eq(
		decode("{\"event_type\": \"PURGED\", \"mdt\": \"m\", \"action_key\": \"0x1:ARCHIVE\", "
		       "\"status\": \"PURGED\", \"timestamp\": 1, \"source\": \"maintenance\"}",
			&event),
		0);
	ck_assert_int_eq(event.type, DR_EVENT_PURGED);
	ck_assert(!event.has_idx);
	is_text(event.source, "maintenance");
}
END_TEST

START_TEST(event__passes_over_what_it_does_not_know)
{
	struct dr_event event = { 0 };

	ck_assert_int_eq(
		decode(" { \"event_type\":\"UPDATE\" , \"x\": [1, {\"a\": [], \"b\\n\": {}}, -1.5e+3, "
		       "true, false, null, \"\\\\\"], \"cat_idx\":0,\"rec_idx\":9223372036854775807,"
		       "\"mdt\":null,\"action\":null,\"timestamp\":12.75,\"rec\\u005fidx\":3} \r\n",
			&event),
		0);
	ck_assert_int_eq(event.type, DR_EVENT_UPDATE);
	ck_assert_uint_eq(event.rec, 3);
	ck_assert_int_eq(event.timestamp, 12);
	is_text(event.mdt, NULL);
	ck_assert_int_eq(decode("{\"event_type\":\"MOVED\"}", &event), 0);
	ck_assert_int_eq(event.type, DR_EVENT_OTHER);
}
END_TEST

START_TEST(event__refuses_what_is_no_event)
{
	static const struct {
		const char *json;
		int error;
	} cases[] = {
		{ "", EBADMSG },
		{ "this is not json", EBADMSG },
		{ "[]", EBADMSG },
		{ "{\"a\":1", EBADMSG },
		{ "{\"a\":1}x", EBADMSG },
		{ "{\"a\":01}", EBADMSG },
		{ "{\"a\":1,}", EBADMSG },
		{ "{a:1}", EBADMSG },
		{ "{\"a\":\"\\x\"}", EBADMSG },
		{ "{\"a\":\"\\u0000\"}", EBADMSG },
		{ "{\"a\":\"\\ud800\"}", EBADMSG },
		{ "{\"a\":\"\n\"}", EBADMSG },
		{ "{\"a\":\"\xff\"}", EBADMSG },
		{ "{\"a\":9223372036854775808}", EBADMSG },
		{ "{}", EPROTO },
		{ "{\"mdt\":\"m\",\"cat_idx\":1,\"rec_idx\":1}", EPROTO },
		{ "{\"event_type\":\"NEW\",\"cat_idx\":1}", EPROTO },
		{ "{\"event_type\":\"NEW\",\"cat_idx\":1,\"rec_idx\":\"1\"}", EPROTO },
		{ "{\"event_type\":\"NEW\",\"cat_idx\":1,\"rec_idx\":-1}", EPROTO },
		{ "{\"event_type\":\"NEW\",\"cat_idx\":1,\"rec_idx\":1.0}", EPROTO },
		{ "{\"event_type\":\"NEW\",\"cat_idx\":1,\"rec_idx\":1,\"fid\":5}", EPROTO },
		{ "{\"event_type\":7,\"cat_idx\":1,\"rec_idx\":1}", EPROTO },
		{ "{\"event_type\":\"PURGED\"}", EPROTO },
		{ "{\"event_type\":[\"NEW\"],\"cat_idx\":1,\"rec_idx\":1}", EPROTO },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dr_event event = { .cat = 77 };
		int r = decode(cases[i].json, &event);

		ck_assert_msg(r == -cases[i].error, "%s: %d", cases[i].json, r);
		ck_assert_uint_eq(event.cat, 77);
	}
	struct dr_buf deep = { 0 };
	struct dr_event event;

	dr_buf_put_str(&deep, "{\"a\":");
	for (int i = 0; i < 100000; i++) {
		dr_buf_put_u8(&deep, '[');
	}
	ck_assert_int_eq(decode(dr_buf_cstr(&deep), &event), -EBADMSG);
	dr_buf_fini(&deep);
}
END_TEST

/* What is written is JSON to others, and the same to us. */
START_TEST(event__is_read_back_by_jansson_and_by_itself)
{
	struct dr_event event = {
		.type = DR_EVENT_NEW,
		.has_idx = true,
		.cat = 1,
		.rec = INT64_MAX,
		.timestamp = 1759619143,
		.first_seen = 1759619000,
		.mdt = dr_span_of("fs-MDT0000"),
		.fid = dr_span_of("0x1:0x2:0x0"),
		.action = dr_span_of("ARCHIVE"),
		.status = dr_span_of(""),
		.action_key = dr_span_of("0x1:0x2:0x0:ARCHIVE"),
		.cookie = dr_span_of("0xffffffffffffffff"),
		.raw = dr_span_of("a\\b \"c\" \x01\x1f\x7f\t\xc3\xa9\xf0\x9f\x90\x91"),
	};
	struct dr_buf json = { 0 };
	struct dr_event back = { 0 };

	dr_event_encode(&event, &json);
	json_t *root = json_loadb((const char *)json.data, json.len, 0, NULL);

	ck_assert_ptr_nonnull(root);
	ck_assert_str_eq(json_string_value(json_object_get(root, "raw")), event.raw.p);
	ck_assert_int_eq(json_integer_value(json_object_get(root, "rec_idx")), INT64_MAX);
	ck_assert_uint_eq(json_object_size(root), 12);
	json_decref(root);

	ck_assert_int_eq(dr_event_decode((const char *)json.data, json.len, &scratch, &back), 0);
	ck_assert_int_eq(back.type, event.type);
	ck_assert_uint_eq(back.rec, event.rec);
	ck_assert_int_eq(back.first_seen, event.first_seen);
	is_text(back.raw, event.raw.p);
	is_text(back.status, "");
	is_text(back.cookie, event.cookie.p);

	dr_buf_clear(&json);
	event.type = DR_EVENT_PURGED;
	event.status = dr_span_of("PURGED");
	event.hash = dr_span_of("2d06800538d394c2");
	event.source = dr_span_of("maintenance");
	dr_event_encode(&event, &json);
	dr_unit_text(&json,
		"{\"cat_idx\":1,\"rec_idx\":9223372036854775807,\"fid\":\"0x1:0x2:0x0\",\"action\":"
		"\"ARCHIVE\",\"status\":\"PURGED\",\"event_type\":\"PURGED\",\"mdt\":\"fs-MDT0000\","
		"\"timestamp\":1759619143,\"action_key\":\"0x1:0x2:0x0:ARCHIVE\",\"hash\":"
		"\"2d06800538d394c2\",\"source\":\"maintenance\",\"cookie\":\"0xffffffffffffffff\"}");
	dr_buf_fini(&json);
}
END_TEST

START_TEST(entry_id__is_written_and_read_back)
{
	char text[DR_ENTRY_ID_SIZE];
	struct dr_entry_id id = { 0 };

	ck_assert_int_eq(dr_entry_id_parse("1759396325123-7", 15, &id), 0);
	ck_assert_str_eq(dr_entry_id_text(id, text), "1759396325123-7");
	ck_assert_int_eq(
		dr_entry_id_parse("18446744073709551615-18446744073709551615", 41, &id), 0);
	ck_assert_str_eq(dr_entry_id_text(id, text), "18446744073709551615-18446744073709551615");
	ck_assert_int_lt(
		dr_entry_id_cmp((struct dr_entry_id){ 9, 1 }, (struct dr_entry_id){ 10, 0 }), 0);
	ck_assert_int_lt(
		dr_entry_id_cmp((struct dr_entry_id){ 9, 9 }, (struct dr_entry_id){ 9, 10 }), 0);
	for (const char *const *bad = (const char *const[]){ "", "-", "1-", "-1", "1", "1-2-3",
		     "a-1", "18446744073709551616-0", NULL };
		*bad; bad++) {
		ck_assert_msg(dr_entry_id_parse(*bad, strlen(*bad), &id) == -EINVAL, "%s", *bad);
	}
}
END_TEST

DR_UNIT_MAIN("event", event__reads_what_the_documented_shipper_writes,
	event__passes_over_what_it_does_not_know, event__refuses_what_is_no_event,
	event__is_read_back_by_jansson_and_by_itself, entry_id__is_written_and_read_back)
