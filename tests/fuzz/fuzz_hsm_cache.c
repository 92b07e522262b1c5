/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/known.h"

#include <xxhash.h>

#include "fuzz.h"

/* Any bytes behind a good head, with a checksum that is right: what was written by a shipper whose memory went wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char head[] = "DROVERHS\1\0\0";
	struct dr_buf file = { 0 };
	struct dr_known_mdt *mdts = NULL;
	size_t n = 0;

	dr_buf_put(&file, head, sizeof(head));
	dr_buf_put(&file, data, size);
	dr_buf_put_u64(&file, XXH3_64bits(file.data, file.len));
	if (dr_known_decode(file.data, file.len, &mdts, &n) == 0) {
		for (size_t i = 0; i < n; i++) {
			for (uint32_t k = 0; k < mdts[i].known.actions.n; k++) {
				const struct dr_known_action *action =
					dr_known_at(&mdts[i].known, k);

				FUZZ_CHECK(dr_known_find(&mdts[i].known, action->key.cat,
						   action->key.rec) == action);
				(void)dr_known_cookie(action);
			}
			free(mdts[i].name);
			dr_known_fini(&mdts[i].known);
		}
		free(mdts);
	}
	dr_buf_fini(&file);
	return 0;
}
