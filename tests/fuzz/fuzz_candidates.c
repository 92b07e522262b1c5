/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/candidates.h"

#include "fuzz.h"

/* What is a candidate is written and read again as the same one; a FID is read in every form that it is written in. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_buf input dr_cleanup(dr_buf_fini) = { 0 }, out dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_candidate one, two;
	struct dr_fid fid, again;
	char text[DR_FID_TEXT_SIZE];

	dr_buf_put(&input, data, size);
	const char *bytes = dr_buf_cstr(&input);

	if (dr_fid_parse(bytes, size, &fid) == 0) {
		(void)dr_fid_format(&fid, text);
		FUZZ_CHECK(dr_fid_parse(text, strlen(text), &again) == 0);
		FUZZ_CHECK(dr_fid_equal(&fid, &again));
	}
	if (dr_candidate_parse(bytes, size, &one) < 0) {
		return 0;
	}
	dr_candidate_put(&out, &one);
	FUZZ_CHECK(out.len > 1 && out.data[out.len - 1] == 0);
	FUZZ_CHECK(dr_candidate_parse((const char *)out.data, out.len - 1, &two) == 0);
	FUZZ_CHECK(!one.path == !two.path);
	FUZZ_CHECK(one.path ? one.len == two.len && memcmp(one.path, two.path, one.len + 1) == 0
			    : dr_fid_equal(&one.fid, &two.fid));
	return 0;
}
