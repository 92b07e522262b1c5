/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/spec.h"

#include "fuzz.h"

/* campaign.json: what can be read is written and read again as the same JSON. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = json_loadb((const char *)data, size, 0, NULL);
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = NULL,
			     *again dr_cleanup(dr_spec_freep) = NULL;

	if (json && dr_spec_from_json(json, &spec) == 0) {
		json_t *one = dr_spec_to_json(spec);

		FUZZ_CHECK(one && dr_spec_from_json(one, &again) == 0);
		json_t *two = dr_spec_to_json(again);

		FUZZ_CHECK(json_equal(one, two));
		json_decref(one);
		json_decref(two);
	}
	json_decref(json);
	return 0;
}
