/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/name_set.h"

#include <stdio.h>
#include <sys/resource.h>

#include "unit.h"

START_TEST(name_set__finds_what_was_added_and_nothing_else)
{
	struct dr_name_set set = { 0 };

	ck_assert(!dr_name_set_has(&set, "a", 1));
	dr_name_set_add(&set, "a", 1);
	dr_name_set_add(&set, "a\0b", 3);
	dr_name_set_add(&set, "\xff\n", 2);
	dr_name_set_add(&set, "a", 1);
	ck_assert_uint_eq(set.n, 3);
	ck_assert(dr_name_set_has(&set, "a", 1));
	ck_assert(dr_name_set_has(&set, "a\0b", 3));
	ck_assert(dr_name_set_has(&set, "\xff\n", 2));
	ck_assert(!dr_name_set_has(&set, "a", 2));
	ck_assert(!dr_name_set_has(&set, "b", 1));
	ck_assert(!dr_name_set_has(&set, "", 0));
	dr_name_set_fini(&set);
	ck_assert_uint_eq(set.n, 0);
}
END_TEST

static size_t peak_kib(void)
{
	struct rusage usage;

	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	return (size_t)usage.ru_maxrss;
}

START_TEST(name_set__holds_a_million_names_in_32_mib)
{
	struct dr_name_set set = { 0 };
	char name[256];
	size_t before = peak_kib();

	memset(name, 'x', sizeof(name));
	for (unsigned i = 0; i < 1000000; i++) {
		(void)snprintf(name, 9, "%08u", i);
		dr_name_set_add(&set, name, 200);
	}
	ck_assert_uint_eq(set.n, 1000000);
	for (unsigned i = 0; i < 1000000; i += 11) {
		(void)snprintf(name, 9, "%08u", i);
		ck_assert(dr_name_set_has(&set, name, 200));
		ck_assert(!dr_name_set_has(&set, name, 201));
	}
#if !defined(__SANITIZE_ADDRESS__)
	ck_assert_uint_le(peak_kib() - before, 32u << 10);
#else
	(void)before;
#endif
	dr_name_set_fini(&set);
}
END_TEST

DR_UNIT_MAIN("name_set", name_set__finds_what_was_added_and_nothing_else,
	name_set__holds_a_million_names_in_32_mib)
