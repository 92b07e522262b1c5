/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/rangeset.h"

#include "fuzz.h"

/* What can be parsed is written in one way, which means the same set. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_buf input dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_buf first dr_cleanup(dr_buf_fini) = { 0 }, second dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = { 0 };
	struct dr_rangeset again dr_cleanup(dr_rangeset_fini) = { 0 };
	dr_buf_put(&input, data, size);
	int r = dr_rangeset_parse(dr_buf_cstr(&input), &set);
	if (r < 0) {
		FUZZ_CHECK((r == -EINVAL || r == -ERANGE) && set.count == 0);
		return 0;
	}
	FUZZ_CHECK(set.count > 0);
	dr_rangeset_format(&set, &first);
	FUZZ_CHECK(dr_rangeset_parse(dr_buf_cstr(&first), &again) == 0);
	FUZZ_CHECK(again.count == set.count);
	dr_rangeset_format(&again, &second);
	FUZZ_CHECK(fuzz_same(&first, &second));
	return 0;
}
