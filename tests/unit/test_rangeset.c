/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/rangeset.h"

#include "unit.h"

static void check_parse(const char *text, const char *expected)
{
	struct dr_rangeset set = { 0 };
	struct dr_buf out = { 0 };
	ck_assert_msg(dr_rangeset_parse(text, &set) == 0, "'%s' is refused", text);
	dr_rangeset_format(&set, &out);
	dr_unit_text(&out, expected);
	size_t count = 0;
	for (int n = dr_rangeset_next(&set, 0); n >= 0;
		n = dr_rangeset_next(&set, (uint32_t)n + 1)) {
		ck_assert(dr_rangeset_has(&set, (uint32_t)n));
		count++;
	}
	ck_assert_uint_eq(count, set.count);
	dr_buf_fini(&out);
	dr_rangeset_fini(&set);
}

/* The set that was there stays. */
static void check_refused(const char *text, int error)
{
	struct dr_rangeset set = { 0 };
	dr_rangeset_add(&set, 7);
	int r = dr_rangeset_parse(text, &set);
	ck_assert_msg(r == error, "'%s' gives %d, not %d", text, r, error);
	ck_assert_uint_eq(set.count, 1);
	ck_assert(dr_rangeset_has(&set, 7));
	dr_rangeset_fini(&set);
}

START_TEST(rangeset__parses_numbers_and_ranges)
{
	check_parse("10-20,30", "10-20,30");
	check_parse("0", "0");
	check_parse("65535", "65535");
	check_parse("0-65535", "0-65535");
	check_parse("5-5", "5");
	check_parse("007", "7");
}
END_TEST

START_TEST(rangeset__joins_overlaps_and_neighbours)
{
	check_parse("3,1,2", "1-3");
	check_parse("10-20,15-25,26", "10-26");
	check_parse("1,1,1", "1");
	check_parse("63,64,127-128", "63-64,127-128");
}
END_TEST

START_TEST(rangeset__allows_blanks)
{
	check_parse(" 1 - 3 ,\t5 ", "1-3,5");
}
END_TEST

START_TEST(rangeset__refuses_what_is_not_of_the_form)
{
	static const char *const bad[] = { "", " ", ",", "1,", ",1", "1,,2", "-", "-1", "1-",
		"1-2-3", "1 2", "a", "1a", "0x10", "+1", "1;2", "1\n" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		check_refused(bad[i], -EINVAL);
	}
}
END_TEST

START_TEST(rangeset__refuses_a_descending_range)
{
	check_refused("20-10", -EINVAL);
	check_refused("1,3-2", -EINVAL);
}
END_TEST

START_TEST(rangeset__refuses_an_index_past_the_maximum)
{
	check_refused("65536", -ERANGE);
	check_refused("0-65536", -ERANGE);
	check_refused("1,4294967296", -ERANGE);
	check_refused("99999999999999999999999999", -ERANGE);
}
END_TEST

START_TEST(rangeset__zeroed_memory_is_the_empty_set)
{
	struct dr_rangeset set = { 0 };
	struct dr_buf out = { 0 };
	ck_assert(!dr_rangeset_has(&set, 0));
	ck_assert_int_eq(dr_rangeset_next(&set, 0), -ENOENT);
	dr_rangeset_remove(&set, 3);
	dr_rangeset_format(&set, &out);
	dr_unit_text(&out, "");
	dr_buf_fini(&out);
	dr_rangeset_fini(&set);
}
END_TEST

START_TEST(rangeset__adds_and_removes)
{
	struct dr_rangeset set = { 0 };
	dr_rangeset_add(&set, 0);
	dr_rangeset_add(&set, 65535);
	dr_rangeset_add(&set, 65535);
	dr_rangeset_add(&set, 65536);
	dr_rangeset_add(&set, UINT32_MAX);
	ck_assert_uint_eq(set.count, 2);
	ck_assert(!dr_rangeset_has(&set, 65536));
	ck_assert(!dr_rangeset_has(&set, UINT32_MAX));
	ck_assert_int_eq(dr_rangeset_next(&set, 0), 0);
	ck_assert_int_eq(dr_rangeset_next(&set, 1), 65535);
	ck_assert_int_eq(dr_rangeset_next(&set, 65536), -ENOENT);
	dr_rangeset_remove(&set, 0);
	dr_rangeset_remove(&set, 0);
	ck_assert_uint_eq(set.count, 1);
	ck_assert(!dr_rangeset_has(&set, 0));
	dr_rangeset_fini(&set);
}
END_TEST

START_TEST(rangeset__a_copy_is_its_own)
{
	struct dr_rangeset from = { 0 }, to = { 0 };
	dr_rangeset_add(&to, 99);
	dr_rangeset_add(&from, 1);
	dr_rangeset_copy(&to, &from);
	dr_rangeset_add(&from, 2);
	ck_assert_uint_eq(to.count, 1);
	ck_assert(dr_rangeset_has(&to, 1) && !dr_rangeset_has(&to, 2) && !dr_rangeset_has(&to, 99));
	dr_rangeset_copy(&to, &to);
	ck_assert(dr_rangeset_has(&to, 1));
	dr_rangeset_fini(&from);
	dr_rangeset_copy(&to, &from);
	ck_assert_uint_eq(to.count, 0);
	dr_rangeset_fini(&to);
}
END_TEST

DR_UNIT_MAIN("rangeset", rangeset__parses_numbers_and_ranges,
	rangeset__joins_overlaps_and_neighbours, rangeset__allows_blanks,
	rangeset__refuses_what_is_not_of_the_form, rangeset__refuses_a_descending_range,
	rangeset__refuses_an_index_past_the_maximum, rangeset__zeroed_memory_is_the_empty_set,
	rangeset__adds_and_removes, rangeset__a_copy_is_its_own)
