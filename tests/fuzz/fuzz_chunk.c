/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/chunk.h"

#include "fuzz.h"

/* What can be decoded encodes to something that decodes to the same files. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_chunk chunk dr_cleanup(dr_chunk_fini) = { 0 },
			      again dr_cleanup(dr_chunk_fini) = { 0 };
	struct dr_chunk_builder builder dr_cleanup(dr_chunk_builder_fini) = { 0 };
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	if (dr_chunk_decode(data, size, &chunk) < 0) {
		return 0;
	}
	builder.outcomes = chunk.outcomes;
	for (size_t i = 0; i < chunk.n_files; i++) {
		dr_chunk_add(&builder, &chunk.files[i]);
	}
	dr_chunk_finish(&builder, &bytes);
	FUZZ_CHECK(dr_chunk_decode(bytes.data, bytes.len, &again) == 0);
	FUZZ_CHECK(again.n_files == chunk.n_files && again.outcomes == chunk.outcomes);
	for (size_t i = 0; i < chunk.n_files; i++) {
		const struct dr_chunk_file *a = &chunk.files[i], *b = &again.files[i];

		FUZZ_CHECK(a->dir_len == b->dir_len && memcmp(a->dir, b->dir, a->dir_len + 1) == 0);
		FUZZ_CHECK(a->name_len == b->name_len &&
			   memcmp(a->name, b->name, a->name_len + 1) == 0);
		FUZZ_CHECK(dr_fid_equal(&a->fid, &b->fid) && a->size == b->size);
		FUZZ_CHECK(memcmp(&a->outcome, &b->outcome, sizeof(a->outcome)) == 0);
	}
	return 0;
}
