/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TESTS_UNIT_UNIT_H
#define DR_TESTS_UNIT_UNIT_H

#include "base/buf.h"

#include <check.h>

/*
 * main() of one test program: DR_UNIT_MAIN("rangeset", test_a, test_b) runs those START_TESTs and
 * prints TAP. Each runs in a process of its own, unless CK_FORK=no asks for one (for a debugger).
 */
static inline int dr_unit_run(const char *name, const TTest *const *tests, size_t n)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	tcase_set_timeout(tcase, 120);
	for (size_t i = 0; i < n; i++) {
		tcase_add_test(tcase, tests[i]);
	}
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define DR_UNIT_MAIN(name, ...)                                                                    \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *const tests[] = { __VA_ARGS__ };                                      \
		return dr_unit_run(name, tests, sizeof(tests) / sizeof(tests[0]));                 \
	}

/* Whether the buffer holds exactly that text. */
static inline void dr_unit_text(struct dr_buf *buf, const char *expected)
{
	ck_assert_str_eq(dr_buf_cstr(buf), expected);
	ck_assert_uint_eq(buf->len, strlen(expected));
}

/* Numbers that look random and are the same in every run (xorshift64). */
static inline uint64_t dr_unit_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
