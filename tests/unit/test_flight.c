/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/flight.h"

#include "unit.h"

static int parse(const char *text, struct dr_flight **v, size_t *n)
{
	return dr_flight_parse(text, strlen(text), v, n);
}

START_TEST(flight__is_told_and_read_back)
{
	struct dr_flight v[] = { { 3, 10 }, { 0, 1 }, { 65535, 4096 } };
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_flight *back = NULL;
	size_t n = 0;
	dr_flight_put(&text, v, 3, 10);
	dr_unit_text(&text, "65535:4096,3:10,0:1");
	ck_assert_int_eq(parse("65535:4096,3:10,0:1", &back, &n), 0);
	ck_assert_uint_eq(n, 3);
	for (size_t i = 0; i < n; i++) { /* v is sorted by now */
		ck_assert(back[i].ost == v[i].ost && back[i].bytes == v[i].bytes);
	}
	free(back);
}
END_TEST

START_TEST(flight__of_many_tells_the_largest)
{
	struct dr_flight v[] = { { 1, 5 }, { 2, 0 }, { 3, 7 }, { 4, 6 } };
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dr_flight_put(&text, v, 4, 2);
	dr_unit_text(&text, "3:7,4:6");
}
END_TEST

START_TEST(flight__tells_nothing_of_empty_osts)
{
	struct dr_flight v[] = { { 1, 0 }, { 2, 0 } };
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dr_flight_put(&text, v, 2, 10);
	dr_flight_put(&text, NULL, 0, 10);
	dr_unit_text(&text, "");
}
END_TEST

START_TEST(flight__numbers_stay_within_what_lua_keeps_exactly)
{
	struct dr_flight v[] = { { 1, UINT64_MAX } };
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_flight *back = NULL;
	size_t n = 0;
	dr_flight_put(&text, v, 1, 10);
	dr_unit_text(&text, "1:4503599627370496");
	ck_assert_int_eq(parse(dr_buf_cstr(&text), &back, &n), 0);
	ck_assert_uint_eq(back[0].bytes, DR_FLIGHT_BYTES_MAX);
	free(back);
}
END_TEST

START_TEST(flight__nothing_is_a_text)
{
	struct dr_flight *v = (void *)&v;
	size_t n = 7;
	ck_assert_int_eq(parse("", &v, &n), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_ptr_null(v);
}
END_TEST

START_TEST(flight__refuses_garbage_and_leaves_the_results)
{
	static const char *const bad[] = { "1", "1:", ":5", "1:5,", ",1:5", "1:5;2:5", "1:5,,2:5",
		"x:5", "1:-5", "1:5 ", " 1:5", "1:0", "65536:5", "1:4503599627370497",
		"99999999999999999999999999:1", "1:99999999999999999999999999", "1:1e3", "1:0x10",
		"1:5,2", "1:5:6", "\xff:1", "1:5\n" };
	struct dr_flight *v = NULL;
	size_t n = 7;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(parse(bad[i], &v, &n) == -EBADMSG, "%s", bad[i]);
		ck_assert(v == NULL && n == 7);
	}
	ck_assert_int_eq(dr_flight_parse("1:5\0", 4, &v, &n), -EBADMSG);
}
END_TEST

START_TEST(flight__refuses_a_text_that_is_too_long)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_flight *v = NULL;
	size_t n = 0;
	while (text.len < DR_FLIGHT_TEXT_MAX - 4) {
		dr_buf_put_str(&text, "1:5,");
	}
	dr_buf_put_str(&text, "1:5");
	ck_assert_int_eq(dr_flight_parse((const char *)text.data, text.len, &v, &n), 0);
	free(v);
	dr_buf_put_str(&text, ",1:5");
	ck_assert_int_eq(dr_flight_parse((const char *)text.data, text.len, &v, &n), -EBADMSG);
}
END_TEST

DR_UNIT_MAIN("flight", flight__is_told_and_read_back, flight__of_many_tells_the_largest,
	flight__tells_nothing_of_empty_osts, flight__numbers_stay_within_what_lua_keeps_exactly,
	flight__nothing_is_a_text, flight__refuses_garbage_and_leaves_the_results,
	flight__refuses_a_text_that_is_too_long)
