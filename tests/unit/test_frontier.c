/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/frontier.h"

#include <string.h>

#include "unit.h"

START_TEST(frontier__gives_back_every_directory)
{
	struct dr_frontier frontier dr_cleanup(dr_frontier_fini) = { .round = 2 };
	struct dr_frontier again dr_cleanup(dr_frontier_fini) = { 0 };
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	char deep[8000];

	memset(deep, 'd', sizeof(deep));
	dr_frontier_push(&frontier, "", 0, 0);
	dr_frontier_push(&frontier, "a", 1, UINT64_MAX);
	dr_frontier_push(&frontier, "a/\xff\n", 4, 7);
	dr_frontier_push(&frontier, deep, sizeof(deep), 1ull << 62);
	dr_frontier_encode(&frontier, 0, frontier.n, &bytes);
	ck_assert_int_eq(dr_frontier_decode(bytes.data, bytes.len, &again), 0);
	ck_assert_uint_eq(again.round, 2);
	ck_assert_uint_eq(again.n, frontier.n);
	for (size_t i = 0; i < again.n; i++) {
		ck_assert_uint_eq(again.dirs[i].len, frontier.dirs[i].len);
		ck_assert_mem_eq(again.dirs[i].path, frontier.dirs[i].path, again.dirs[i].len + 1);
		ck_assert_uint_eq(again.dirs[i].position, frontier.dirs[i].position);
	}
}
END_TEST

START_TEST(frontier__encodes_a_part_on_its_own)
{
	struct dr_frontier frontier dr_cleanup(dr_frontier_fini) = { 0 };
	struct dr_frontier again dr_cleanup(dr_frontier_fini) = { 0 };
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	dr_frontier_push(&frontier, "top/one", 7, 1);
	dr_frontier_push(&frontier, "top/two", 7, 2);
	dr_frontier_push(&frontier, "top/three", 9, 3);
	dr_frontier_encode(&frontier, 1, 3, &bytes);
	ck_assert_int_eq(dr_frontier_decode(bytes.data, bytes.len, &again), 0);
	ck_assert_uint_eq(again.n, 2);
	ck_assert_str_eq(again.dirs[0].path, "top/two");
	ck_assert_str_eq(again.dirs[1].path, "top/three");
	dr_frontier_drop(&frontier, 2);
	ck_assert_uint_eq(frontier.n, 1);
	ck_assert_str_eq(frontier.dirs[0].path, "top/three");
	dr_frontier_pop(&frontier);
	ck_assert_uint_eq(frontier.n, 0);
}
END_TEST

START_TEST(frontier__refuses_every_torn_prefix_and_keeps_what_it_had)
{
	struct dr_frontier frontier dr_cleanup(dr_frontier_fini) = { 0 };
	struct dr_frontier kept dr_cleanup(dr_frontier_fini) = { 0 };
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	dr_frontier_push(&kept, "kept", 4, 9);
	dr_frontier_push(&frontier, "a/b", 3, 300);
	dr_frontier_push(&frontier, "a/c", 3, 0);
	dr_frontier_encode(&frontier, 0, 2, &bytes);
	for (size_t len = 0; len < bytes.len; len++) {
		ck_assert_int_eq(dr_frontier_decode(bytes.data, len, &kept), -EBADMSG);
	}
	ck_assert_uint_eq(kept.n, 1);
	ck_assert_str_eq(kept.dirs[0].path, "kept");
}
END_TEST

START_TEST(frontier__holds_ranges_of_a_list_between_directories)
{
	struct dr_frontier frontier dr_cleanup(dr_frontier_fini) = { .round = 1 };
	struct dr_frontier again dr_cleanup(dr_frontier_fini) = { 0 };
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	dr_frontier_push(&frontier, "a/b", 3, 1);
	dr_frontier_push_list(&frontier, 0, 1);
	dr_frontier_push_list(&frontier, 300, 1ull << 62);
	dr_frontier_push(&frontier, "a/c", 3, 2);
	dr_frontier_push(&frontier, "", 0, 3);
	dr_frontier_push_list(&frontier, 7, 7);
	dr_frontier_encode(&frontier, 0, frontier.n, &bytes);
	ck_assert_int_eq(dr_frontier_decode(bytes.data, bytes.len, &again), 0);
	ck_assert_uint_eq(again.n, 6);
	for (size_t i = 0; i < again.n; i++) {
		ck_assert_str_eq(again.dirs[i].path, frontier.dirs[i].path);
		ck_assert_uint_eq(again.dirs[i].len, frontier.dirs[i].len);
		ck_assert_uint_eq(again.dirs[i].position, frontier.dirs[i].position);
		ck_assert_uint_eq(again.dirs[i].list_to, frontier.dirs[i].list_to);
	}
	for (size_t len = 0; len < bytes.len; len++) {
		ck_assert_int_eq(dr_frontier_decode(bytes.data, len, &again), -EBADMSG);
	}
}
END_TEST

START_TEST(frontier__refuses_a_nul_that_is_no_range)
{
	/* version, round, directories; shared, length of the path, path, position */
	static const uint8_t bad[][9] = {
		{ 1, 0, 1, 0, 1, 0, 0 },       /* no end */
		{ 1, 0, 1, 0, 2, 0, 0, 0 },    /* an end of nothing */
		{ 1, 0, 1, 0, 2, 0, 5, 6 },    /* the position is behind the end */
		{ 1, 0, 1, 0, 3, 0, 5, 5, 0 }, /* more than the end */
		{ 1, 0, 1, 0, 2, 'a', 0, 0 },  /* a name with a NUL */
	};
	static const size_t lens[] = { 7, 8, 8, 9, 8 };
	static const uint8_t good[] = { 1, 0, 1, 0, 2, 0, 5, 4 };
	struct dr_frontier frontier dr_cleanup(dr_frontier_fini) = { 0 };

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		ck_assert_msg(dr_frontier_decode(bad[i], lens[i], &frontier) == -EBADMSG, "%zu", i);
	}
	ck_assert_int_eq(dr_frontier_decode(good, sizeof(good), &frontier), 0);
	ck_assert_uint_eq(frontier.dirs[0].list_to, 5);
}
END_TEST

DR_UNIT_MAIN("frontier", frontier__gives_back_every_directory, frontier__encodes_a_part_on_its_own,
	frontier__refuses_every_torn_prefix_and_keeps_what_it_had,
	frontier__holds_ranges_of_a_list_between_directories,
	frontier__refuses_a_nul_that_is_no_range)
