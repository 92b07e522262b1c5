/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TESTS_FUZZ_FUZZ_H
#define DR_TESTS_FUZZ_FUZZ_H

#include "base/buf.h"

/* What libFuzzer calls, in each target. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Like assert, in every build: what does not hold is a finding. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static inline bool fuzz_same(const struct dr_buf *a, const struct dr_buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

#endif
