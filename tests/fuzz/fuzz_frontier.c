/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/frontier.h"

#include "fuzz.h"

/* What can be decoded encodes to something that decodes to the same directories. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_frontier one dr_cleanup(dr_frontier_fini) = { 0 },
			       two dr_cleanup(dr_frontier_fini) = { 0 };
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	if (dr_frontier_decode(data, size, &one) < 0) {
		return 0;
	}
	dr_frontier_encode(&one, 0, one.n, &bytes);
	FUZZ_CHECK(dr_frontier_decode(bytes.data, bytes.len, &two) == 0);
	FUZZ_CHECK(one.n == two.n && one.round == two.round);
	for (size_t i = 0; i < one.n; i++) {
		FUZZ_CHECK(one.dirs[i].len == two.dirs[i].len &&
			   one.dirs[i].position == two.dirs[i].position &&
			   one.dirs[i].list_to == two.dirs[i].list_to);
		FUZZ_CHECK(one.dirs[i].list_to == 0 ||
			   (one.dirs[i].len == 0 && one.dirs[i].position <= one.dirs[i].list_to));
		FUZZ_CHECK(memcmp(one.dirs[i].path, two.dirs[i].path, one.dirs[i].len + 1) == 0);
	}
	return 0;
}
