/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/chunk.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

static struct dr_chunk_file file(
	const char *dir, const char *name, uint64_t seq, uint32_t oid, uint32_t ver, uint64_t size)
{
	return (struct dr_chunk_file){
		.dir = dir,
		.dir_len = strlen(dir),
		.name = name,
		.name_len = strlen(name),
		.fid = { seq, oid, ver },
		.size = size,
	};
}

static void assert_same(const struct dr_chunk_file *a, const struct dr_chunk_file *b)
{
	ck_assert_uint_eq(a->dir_len, b->dir_len);
	ck_assert_mem_eq(a->dir, b->dir, a->dir_len + 1);
	ck_assert_uint_eq(a->name_len, b->name_len);
	ck_assert_mem_eq(a->name, b->name, a->name_len + 1);
	ck_assert(dr_fid_equal(&a->fid, &b->fid));
	ck_assert_uint_eq(a->size, b->size);
}

static void encode(const struct dr_chunk_file *files, size_t n, bool outcomes, struct dr_buf *out)
{
	struct dr_chunk_builder builder dr_cleanup(
		dr_chunk_builder_fini) = { .outcomes = outcomes };

	for (size_t i = 0; i < n; i++) {
		dr_chunk_add(&builder, &files[i]);
	}
	dr_chunk_finish(&builder, out);
}

START_TEST(chunk__gives_back_every_file)
{
	char long_name[256];

	memset(long_name, 'x', 255);
	long_name[255] = '\0';
	const struct dr_chunk_file files[] = {
		file("", "in-the-root", 0x200000402, 4, 0, 0),
		file("", "in-the-root-too", 0x200000402, 5, 0, 1),
		file("a", "in-the-root", 0x200000402, 1, 7, UINT64_MAX),
		file("a/b\n\"", "\xff\n\\\"", UINT64_MAX, UINT32_MAX, UINT32_MAX, 1ull << 40),
		file("a/b\n\"", long_name, 0, 0, 0, 12),
		file("", "x", 1, 1, 1, 1),
	};
	const size_t n = sizeof(files) / sizeof(files[0]);
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_chunk chunk dr_cleanup(dr_chunk_fini) = { 0 };

	encode(files, n, false, &bytes);
	ck_assert_int_eq(dr_chunk_decode(bytes.data, bytes.len, &chunk), 0);
	ck_assert_uint_eq(chunk.n_files, n);
	ck_assert(!chunk.outcomes);
	for (size_t i = 0; i < n; i++) {
		assert_same(&chunk.files[i], &files[i]);
	}
}
END_TEST

START_TEST(chunk__keeps_outcomes)
{
	struct dr_chunk_file one = file("d", "f", 1, 2, 3, 4);
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_chunk chunk dr_cleanup(dr_chunk_fini) = { 0 };

	one.outcome = (struct dr_outcome){ .class = DR_NO_SPACE,
		.step = DR_STEP_COPY,
		.error = -ENOSPC,
		.n_osts = 2,
		.osts = { 0, 65535 } };
	encode(&one, 1, true, &bytes);
	ck_assert_int_eq(dr_chunk_decode(bytes.data, bytes.len, &chunk), 0);
	ck_assert(chunk.outcomes);
	ck_assert_int_eq(chunk.files[0].outcome.class, DR_NO_SPACE);
	ck_assert_int_eq(chunk.files[0].outcome.step, DR_STEP_COPY);
	ck_assert_int_eq(chunk.files[0].outcome.error, -ENOSPC);
	ck_assert_uint_eq(chunk.files[0].outcome.n_osts, 2);
	ck_assert_uint_eq(chunk.files[0].outcome.osts[1], 65535);
}
END_TEST

START_TEST(chunk__may_be_empty)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_chunk chunk dr_cleanup(dr_chunk_fini) = { 0 };

	encode(NULL, 0, false, &bytes);
	ck_assert_int_eq(dr_chunk_decode(bytes.data, bytes.len, &chunk), 0);
	ck_assert_uint_eq(chunk.n_files, 0);
}
END_TEST

START_TEST(chunk__refuses_every_torn_prefix)
{
	const struct dr_chunk_file files[] = { file("a/b", "one", 5, 6, 7, 8),
		file("a/b", "two", 5, 7, 7, 9) };
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_chunk chunk = { 0 };

	encode(files, 2, false, &bytes);
	for (size_t len = 0; len < bytes.len; len++) {
		ck_assert_int_eq(dr_chunk_decode(bytes.data, len, &chunk), -EBADMSG);
	}
	dr_buf_put_u8(&bytes, 0);
	ck_assert_int_eq(dr_chunk_decode(bytes.data, bytes.len, &chunk), -EBADMSG);
}
END_TEST

START_TEST(chunk__refuses_names_that_are_none)
{
	const char *const bad[] = { "a/b", "" };

	for (size_t i = 0; i < 2; i++) {
		struct dr_chunk_file one = file("d", bad[i], 1, 2, 3, 4);
		struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
		struct dr_chunk chunk = { 0 };

		encode(&one, 1, false, &bytes);
		ck_assert_int_eq(dr_chunk_decode(bytes.data, bytes.len, &chunk), -EBADMSG);
	}
}
END_TEST

START_TEST(chunk__costs_less_than_the_paths)
{
	struct dr_chunk_builder builder dr_cleanup(dr_chunk_builder_fini) = { 0 };
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	uint64_t random = 88172645463325252ull;
	size_t paths = 0;

	for (unsigned i = 0; i < 500; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "f%07u", 1000 + 3 * i);
		struct dr_chunk_file one = file("data/d0012", name, 0x200000400, 4711 + i,
			(uint32_t)dr_unit_random(&random), 4096);

		dr_chunk_add(&builder, &one);
		paths += strlen("/mnt/lustre/data/d0012/") + strlen(name);
	}
	dr_chunk_finish(&builder, &bytes);
	/* Half, so that what the queue adds around it has room below the paths' own bytes. */
	ck_assert_uint_lt(bytes.len * 2, paths);
}
END_TEST

DR_UNIT_MAIN("chunk", chunk__gives_back_every_file, chunk__keeps_outcomes, chunk__may_be_empty,
	chunk__refuses_every_torn_prefix, chunk__refuses_names_that_are_none,
	chunk__costs_less_than_the_paths)
