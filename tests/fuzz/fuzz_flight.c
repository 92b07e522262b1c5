/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/rangeset.h"
#include "work/flight.h"

#include "fuzz.h"

/* What can be read is within bounds, and what is told of it reads as the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_flight *v = NULL, *again = NULL;
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	size_t n = 0, n_again = 0;
	int r = dr_flight_parse((const char *)data, size, &v, &n);
	if (r < 0) {
		FUZZ_CHECK(r == -EBADMSG && !v && n == 0);
		return 0;
	}
	FUZZ_CHECK((n == 0) == (size == 0) && (v != NULL) == (n > 0));
	for (size_t i = 0; i < n; i++) {
		FUZZ_CHECK(v[i].ost < DR_RANGESET_MAX && v[i].bytes > 0 &&
			   v[i].bytes <= DR_FLIGHT_BYTES_MAX);
	}
	dr_flight_put(&text, v, n, n);
	FUZZ_CHECK(text.len <= size); /* leading zeros go */
	FUZZ_CHECK(dr_flight_parse((const char *)text.data, text.len, &again, &n_again) == 0);
	FUZZ_CHECK(n_again == n);
	for (size_t i = 0; i < n; i++) {
		FUZZ_CHECK(v[i].ost == again[i].ost && v[i].bytes == again[i].bytes);
	}
	free(v);
	free(again);
	return 0;
}
