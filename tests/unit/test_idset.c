/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/idset.h"

#include "unit.h"

static void check(const char *text, const char *expected)
{
	struct dr_idset set dr_cleanup(dr_idset_fini) = { 0 };
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	ck_assert_int_eq(dr_idset_parse(text, &set), 0);
	dr_idset_format(&set, &out);
	dr_unit_text(&out, expected);
}

START_TEST(idset__joins_what_overlaps_or_touches)
{
	check("7", "7");
	check("1,2,3", "1-3");
	check("3,1,2", "1-3");
	check("1,3,2", "1-3");
	check("10-20,30,15-25", "10-25,30");
	check("10-20,30,15-29", "10-30");
	check("5,1-9", "1-9");
	check("1-9,5", "1-9");
	check("0,0-4294967294", "0-4294967294");
	check("4294967294,0", "0,4294967294");
	check("1,5,9,3-7", "1,3-7,9");
	check("1,5,9,0-100", "0-100");
}
END_TEST

START_TEST(idset__has_its_numbers_and_no_others)
{
	struct dr_idset set dr_cleanup(dr_idset_fini) = { 0 };
	ck_assert(!dr_idset_has(&set, 0));
	ck_assert_int_eq(dr_idset_parse("5-7,70000,4294967294", &set), 0);
	static const uint32_t in[] = { 5, 6, 7, 70000, 4294967294u };
	static const uint32_t out[] = { 0, 4, 8, 69999, 70001, 4294967293u, 4294967295u };
	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		ck_assert_msg(dr_idset_has(&set, in[i]), "%u", in[i]);
	}
	for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++) {
		ck_assert_msg(!dr_idset_has(&set, out[i]), "%u", out[i]);
	}
}
END_TEST

START_TEST(idset__is_the_same_as_a_table_of_its_numbers)
{
	uint64_t random = 42;
	for (int round = 0; round < 200; round++) {
		struct dr_idset set dr_cleanup(dr_idset_fini) = { 0 };
		bool table[64] = { 0 };
		for (int i = 0; i < 12; i++) {
			uint32_t first = (uint32_t)(dr_unit_random(&random) % 60);
			uint32_t last = first + (uint32_t)(dr_unit_random(&random) % 4);
			dr_idset_add(&set, first, last);
			for (uint32_t n = first; n <= last; n++) {
				table[n] = true;
			}
			for (uint32_t n = 0; n < 64; n++) {
				ck_assert_int_eq(dr_idset_has(&set, n), table[n]);
			}
			for (size_t k = 1; k < set.n; k++) {
				ck_assert_uint_gt(set.ranges[k].first, set.ranges[k - 1].last + 1);
			}
		}
	}
}
END_TEST

START_TEST(idset__refuses_what_is_no_set)
{
	static const char *const bad[] = { "", ",", "1,", ",1", "1,,2", "x", "-1", "1-", "5-2",
		"1 ", "0x5", "1-2-3" };
	struct dr_idset set dr_cleanup(dr_idset_fini) = { 0 };
	dr_idset_add(&set, 3, 3);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(dr_idset_parse(bad[i], &set) == -EINVAL, "%s", bad[i]);
	}
	ck_assert_int_eq(dr_idset_parse("4294967295", &set), -ERANGE);
	ck_assert_int_eq(dr_idset_parse("1-99999999999999999999", &set), -ERANGE);
	ck_assert(dr_idset_has(&set, 3));
}
END_TEST

DR_UNIT_MAIN("idset", idset__joins_what_overlaps_or_touches, idset__has_its_numbers_and_no_others,
	idset__is_the_same_as_a_table_of_its_numbers, idset__refuses_what_is_no_set)
