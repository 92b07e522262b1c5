/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/action.h"

#include "fuzz.h"

/* Any bytes: what it lends lies within the line, and nothing that it takes could not stand in JSON. */
static void within(struct dr_span span, const uint8_t *data, size_t size)
{
	const char *begin = (const char *)data;

	FUZZ_CHECK(!span.p || (span.p >= begin && span.p + span.len <= begin + size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_span line = dr_action_strip((const char *)data, size);
	struct dr_action action = { 0 };

	within(line, data, size);
	if (dr_action_parse(line.p, line.len, &action) == 0) {
		FUZZ_CHECK(action.fid.p && action.fid.len && action.cat <= INT64_MAX);
		FUZZ_CHECK(dr_utf8_is_valid(line.p, line.len) && !memchr(line.p, 0, line.len));
		within(action.fid, data, size);
		within(action.dfid, data, size);
		within(action.cookie, data, size);
		within(action.action, data, size);
		within(action.status, data, size);
		(void)dr_action_is_whole(line.p, line.len, &action);
	}
	return 0;
}
