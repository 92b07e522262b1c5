/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/name_set.h"

#include <stdio.h>

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

START_TEST(name_set__holds_a_million_names_in_24_mib)
{
	struct dr_name_set set = { 0 };
	char name[256];

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
	/* and half of it while it grew */
	ck_assert_uint_le(set.cap * sizeof(*set.slots), 16u << 20);
	dr_name_set_fini(&set);
}
END_TEST

DR_UNIT_MAIN("name_set", name_set__finds_what_was_added_and_nothing_else,
	name_set__holds_a_million_names_in_24_mib)
