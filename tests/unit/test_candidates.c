/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "campaign/candidates.h"

#include <fcntl.h>
#include <stdio.h>

#include "unit.h"

static char *folder; /* of the test that runs; each test has a process of its own */
static int folder_fd;

static void make_list(const struct dr_buf *bytes)
{
	char name[] = "/tmp/drover-test-candidates-XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(name));
	folder = dr_xstrdup(name);
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(folder_fd, 0);
	ck_assert_int_ge(
		dr_replace_file(folder_fd, DR_CANDIDATES_FILE, 0600, bytes->data, bytes->len), 0);
}

static void remove_list(void)
{
	(void)close(folder_fd);
	ck_assert_int_ge(dr_remove_tree(AT_FDCWD, folder), 0);
	free(folder);
}

static void put_path(struct dr_buf *out, const char *path, size_t len)
{
	const struct dr_candidate candidate = { .path = path, .len = len };
	dr_candidate_put(out, &candidate);
}

/* A list of n files; number i has a name that begins with it, and each has another length. */
static void fill(struct dr_buf *out, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char path[600];
		int len = snprintf(path, sizeof(path), "%u/%0*u", i, 1 + (int)(i * 7919 % 400), 0);
		put_path(out, path, (size_t)len);
	}
}

/* Reads [from, to), counting each number, most at a time; *ret_position is where it stopped. @return how many */
static unsigned count(uint64_t from, uint64_t to, unsigned most, unsigned *seen, unsigned n,
	uint64_t *ret_position)
{
	struct dr_candidate_reader reader dr_cleanup(dr_candidate_reader_fini) = { 0 };
	struct dr_candidate candidate;
	unsigned given = 0;
	int r = dr_candidate_reader_init(&reader, folder_fd, from, to);
	ck_assert_int_eq(r, 0);
	while (given < most && (r = dr_candidate_next(&reader, &candidate)) == 1) {
		ck_assert_ptr_nonnull(candidate.path);
		ck_assert_uint_eq(strlen(candidate.path), candidate.len);
		unsigned number = (unsigned)strtoul(candidate.path, NULL, 10);
		ck_assert_uint_lt(number, n);
		seen[number]++;
		given++;
	}
	ck_assert_int_ge(r, 0);
	ck_assert_uint_ge(reader.position, from);
	ck_assert_uint_le(reader.position, to);
	*ret_position = reader.position;
	return given;
}

static void all_seen_once(const unsigned *seen, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		ck_assert_msg(seen[i] == 1, "number %u: %u times", i, seen[i]);
	}
}

START_TEST(candidates__are_paths_and_fids_of_any_bytes)
{
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_candidate candidate = { .fid = { 0x200000401, 5, 0 } };
	dr_candidate_put(&out, &candidate);
	ck_assert_str_eq((char *)out.data, "[0x200000401:0x5:0x0]");
	ck_assert_uint_eq(out.len, strlen("[0x200000401:0x5:0x0]") + 1);
	struct dr_candidate back = { .path = "x" };
	ck_assert_int_eq(dr_candidate_parse((char *)out.data, out.len - 1, &back), 0);
	ck_assert_ptr_null(back.path);
	ck_assert(dr_fid_equal(&back.fid, &candidate.fid));
	dr_buf_clear(&out);
	put_path(&out, "[0x1:0x2:0x3]/\xff\n", 16);
	ck_assert_int_eq(dr_candidate_parse((char *)out.data, out.len - 1, &back), 0);
	ck_assert_str_eq(back.path, "[0x1:0x2:0x3]/\xff\n");
	ck_assert_uint_eq(back.len, 16);
}
END_TEST

START_TEST(candidates__that_are_neither_are_refused)
{
	static const char *const bad[] = { "", "/", "a", "//a", "/a/", "/a//b", "/./a", "/a/..",
		"[]", "[", "[0x1:0x2]", "[0x1:0x2:0x3", "0x1:0x2:0x3", "[0x1:0x100000000:0x0]" };
	struct dr_candidate candidate;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(dr_candidate_parse(bad[i], strlen(bad[i]), &candidate) == -EBADMSG,
			"%s", bad[i]);
	}
	ck_assert_int_eq(dr_candidate_parse("/a\0b", 4, &candidate), -EBADMSG);
}
END_TEST

START_TEST(fid__is_read_with_and_without_brackets)
{
	static const char *const good[] = { "[0x200000402:0xA:0x0]", "0x200000402:0xa:0x0",
		"0X200000402:0X0A:0x00" };
	static const char *const bad[] = { "", "[]", "0x1:0x2:", "0x1:0x2:0x", "0x1::0x3", "1:2:3",
		"0x1:0x2:0x3]", "[0x1:0x2:0x3", "0x1:0x2:0x3:0x4", "0x1:0x2:0x3 ", " 0x1:0x2:0x3",
		"0x10000000000000000:0x1:0x1", "0x1:0x1:0x100000000", "0x1:0xg:0x1", "-0x1:0x1:0x1",
		"[[0x1:0x2:0x3]]" };
	struct dr_fid fid;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_int_eq(dr_fid_parse(good[i], strlen(good[i]), &fid), 0);
		ck_assert_uint_eq(fid.seq, 0x200000402);
		ck_assert_uint_eq(fid.oid, 10);
		ck_assert_uint_eq(fid.ver, 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(
			dr_fid_parse(bad[i], strlen(bad[i]), &fid) == -EINVAL, "'%s'", bad[i]);
	}
	ck_assert_int_eq(dr_fid_parse("0x1:0x2:0x3\0", 12, &fid), -EINVAL);
	ck_assert_int_eq(dr_fid_parse("0xffffffffffffffff:0xffffffff:0xffffffff", 40, &fid), 0);
	char text[DR_FID_TEXT_SIZE];
	ck_assert_str_eq(dr_fid_format(&fid, text), "0xffffffffffffffff:0xffffffff:0xffffffff");
}
END_TEST

START_TEST(ranges__that_lie_side_by_side_share_nothing_and_lose_nothing)
{
	enum { N = 3000 };
	static unsigned seen[N];
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	fill(&out, N);
	ck_assert_uint_gt(out.len, 4 * DR_CANDIDATE_MAX); /* more than one buffer */
	make_list(&out);
	/* Every cut near the front, and then wider ones. */
	for (unsigned step = 1; step < 200000; step = step < 40 ? step + 1 : step * 3) {
		uint64_t until = step < 40 ? 2000 : out.len, position;
		memset(seen, 0, sizeof(seen));
		for (uint64_t at = 0; at < until; at += step) {
			uint64_t to = at + step < until ? at + step : until;
			(void)count(at, to, UINT32_MAX, seen, N, &position);
			ck_assert_uint_eq(position, to);
		}
		if (until < out.len) {
			(void)count(until, out.len, UINT32_MAX, seen, N, &position);
		}
		all_seen_once(seen, N);
	}
	remove_list();
}
END_TEST

START_TEST(reader__goes_on_from_every_position_in_a_range)
{
	enum { N = 500 };
	static unsigned seen[N];
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	fill(&out, N);
	make_list(&out);
	uint64_t middle = out.len / 2 + 1;
	for (unsigned most = 1; most < 60; most += 13) {
		memset(seen, 0, sizeof(seen));
		uint64_t at = 0;
		while (count(at, middle, most, seen, N, &at) == most) {
		}
		ck_assert_uint_eq(at, middle);
		while (count(at, out.len, most, seen, N, &at) == most) {
		}
		all_seen_once(seen, N);
	}
	remove_list();
}
END_TEST

START_TEST(reader__takes_the_longest_and_says_when_a_list_is_damaged)
{
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_candidate_reader reader dr_cleanup(dr_candidate_reader_fini) = { 0 };
	struct dr_candidate candidate;
	char *longest dr_cleanup(dr_freep) = dr_xcalloc(1, DR_CANDIDATE_MAX);
	memset(longest, 'x', DR_CANDIDATE_MAX - 1);
	for (int i = 0; i < 9; i++) {
		put_path(&out, longest, DR_CANDIDATE_MAX - 1);
	}
	dr_buf_put(&out, "/torn", 5);
	make_list(&out);
	ck_assert_int_eq(dr_candidate_reader_init(&reader, folder_fd, 0, out.len + 1), -EBADMSG);
	dr_candidate_reader_fini(&reader);
	ck_assert_int_eq(dr_candidate_reader_init(&reader, folder_fd, 0, out.len), 0);
	for (int i = 0; i < 9; i++) {
		ck_assert_int_eq(dr_candidate_next(&reader, &candidate), 1);
		ck_assert_uint_eq(candidate.len, DR_CANDIDATE_MAX - 1);
	}
	ck_assert_int_eq(dr_candidate_next(&reader, &candidate), -EBADMSG);
	dr_candidate_reader_fini(&reader);
	ck_assert_int_eq(unlinkat(folder_fd, DR_CANDIDATES_FILE, 0), 0);
	ck_assert_int_eq(dr_candidate_reader_init(&reader, folder_fd, 0, 1), -ENOENT);
	remove_list();
}
END_TEST

DR_UNIT_MAIN("candidates", candidates__are_paths_and_fids_of_any_bytes,
	candidates__that_are_neither_are_refused, fid__is_read_with_and_without_brackets,
	ranges__that_lie_side_by_side_share_nothing_and_lose_nothing,
	reader__goes_on_from_every_position_in_a_range,
	reader__takes_the_longest_and_says_when_a_list_is_damaged)
