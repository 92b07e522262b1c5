/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/aof.h"

#include "fuzz.h"

/* What is whole stays whole. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t whole = dr_aof_whole(data, size);

	FUZZ_CHECK(whole <= size);
	FUZZ_CHECK(dr_aof_whole(data, whole) == whole);
	return 0;
}
