/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_filter.h"

#include <stdio.h>
#include <sys/stat.h>

#include "unit.h"

#define NOW 1700000000

static struct dr_meta file_of(uint64_t size)
{
	return (struct dr_meta){ .mode = S_IFREG | 0644,
		.size = size,
		.uid = 1000,
		.gid = 100,
		.atime = { .tv_sec = NOW },
		.mtime = { .tv_sec = NOW } };
}

START_TEST(clone_filter__takes_all_files_when_nothing_is_asked)
{
	struct dr_clone_filter filter = { .now_s = NOW };
	struct dr_meta meta = file_of(0);

	ck_assert(dr_clone_filter_takes(&filter, &meta));
	meta = (struct dr_meta){ .mode = S_IFLNK | 0777 };
	ck_assert(dr_clone_filter_takes(&filter, &meta));
}
END_TEST

START_TEST(clone_filter__leaves_out_files_that_nobody_read_for_long)
{
	struct dr_clone_filter filter = { .now_s = NOW, .oldest_s = 100 };
	struct dr_meta meta = file_of(1);

	meta.atime.tv_sec = NOW - 100;
	ck_assert(dr_clone_filter_takes(&filter, &meta));
	meta.atime.tv_sec = NOW - 101;
	ck_assert(!dr_clone_filter_takes(&filter, &meta));
	meta.atime.tv_sec = INT64_MIN;
	ck_assert(!dr_clone_filter_takes(&filter, &meta));
	meta.atime.tv_sec = INT64_MAX;
	ck_assert(dr_clone_filter_takes(&filter, &meta));
}
END_TEST

START_TEST(clone_filter__leaves_out_files_that_were_written_lately)
{
	struct dr_clone_filter filter = { .now_s = NOW, .newest_s = 100 };
	struct dr_meta meta = file_of(1);

	meta.mtime.tv_sec = NOW - 100;
	ck_assert(dr_clone_filter_takes(&filter, &meta));
	meta.mtime.tv_sec = NOW - 99;
	ck_assert(!dr_clone_filter_takes(&filter, &meta));
	meta.mtime.tv_sec = NOW + 1000; /* since the campaign began */
	ck_assert(!dr_clone_filter_takes(&filter, &meta));
}
END_TEST

START_TEST(clone_filter__compares_sizes_of_regular_files_alone)
{
	struct dr_clone_filter filter = { .now_s = NOW, .min_size = 10, .max_size = 20 };
	static const uint64_t in[] = { 10, 15, 20 }, out[] = { 0, 9, 21, UINT64_MAX };

	for (size_t i = 0; i < 3; i++) {
		struct dr_meta meta = file_of(in[i]);
		ck_assert(dr_clone_filter_takes(&filter, &meta));
	}
	for (size_t i = 0; i < 4; i++) {
		struct dr_meta meta = file_of(out[i]);
		ck_assert(!dr_clone_filter_takes(&filter, &meta));
	}
	struct dr_meta link = { .mode = S_IFLNK | 0777, .size = 3 };
	ck_assert(dr_clone_filter_takes(&filter, &link));
}
END_TEST

START_TEST(clone_filter__takes_only_the_owners_groups_and_projects_that_are_named)
{
	struct dr_clone_filter filter = { .now_s = NOW };
	struct dr_meta meta = file_of(1);

	dr_idset_add(&filter.uids, 1000, 2000);
	dr_idset_add(&filter.uids, 3000000000, 3000000000);
	ck_assert(dr_clone_filter_takes(&filter, &meta));
	meta.uid = 3000000000;
	ck_assert(dr_clone_filter_takes(&filter, &meta));
	meta.uid = 0;
	ck_assert(!dr_clone_filter_takes(&filter, &meta));
	meta.uid = 2000;
	dr_idset_add(&filter.gids, 5, 5);
	ck_assert(!dr_clone_filter_takes(&filter, &meta));
	meta.gid = 5;
	ck_assert(dr_clone_filter_takes(&filter, &meta));
	dr_idset_add(&filter.projects, 7, 7);
	meta.project = 7;
	ck_assert(!dr_clone_filter_takes(&filter, &meta)); /* nothing keeps projects there */
	meta.has_project = true;
	ck_assert(dr_clone_filter_takes(&filter, &meta));
	dr_idset_fini(&filter.uids);
	dr_idset_fini(&filter.gids);
	dr_idset_fini(&filter.projects);
}
END_TEST

START_TEST(clone_filter__never_filters_a_directory)
{
	struct dr_clone_filter filter = {
		.now_s = NOW, .oldest_s = 1, .newest_s = 1, .min_size = 1u << 30
	};
	struct dr_meta meta = { .mode = S_IFDIR | 0755 };

	dr_idset_add(&filter.uids, 5, 5);
	ck_assert(dr_clone_filter_takes(&filter, &meta));
	dr_idset_fini(&filter.uids);
}
END_TEST

static struct dr_clone_exceptions *exceptions_of(const char *root, const char *text)
{
	struct dr_clone_exceptions *exceptions = NULL;
	char *message = NULL;
	int r = dr_clone_exceptions_new(root, text, strlen(text), &exceptions, &message);

	ck_assert_msg(r == 0, "%s", message);
	return exceptions;
}

static bool excepted(const struct dr_clone_exceptions *exceptions, const char *path)
{
	return dr_clone_is_excepted(exceptions, path, strlen(path));
}

START_TEST(clone_exceptions__cover_an_entry_and_all_below_it)
{
	struct dr_clone_exceptions *exceptions = exceptions_of("/mnt/src", "a/b\nscratch\n");

	ck_assert_uint_eq(dr_clone_n_exceptions(exceptions), 2);
	ck_assert(excepted(exceptions, "a/b"));
	ck_assert(excepted(exceptions, "a/b/c/d"));
	ck_assert(excepted(exceptions, "scratch/x"));
	ck_assert(!excepted(exceptions, "a"));
	ck_assert(!excepted(exceptions, "a/bc"));
	ck_assert(!excepted(exceptions, "x/a/b"));
	ck_assert(!excepted(exceptions, "scratchy"));
	ck_assert(!excepted(exceptions, ""));
	dr_clone_exceptions_free(exceptions);
}
END_TEST

START_TEST(clone_exceptions__pass_over_blank_lines_and_comments)
{
	struct dr_clone_exceptions *exceptions =
		exceptions_of("/s", "\n# a comment\n  \t\na\n\nb # not one");

	ck_assert_uint_eq(dr_clone_n_exceptions(exceptions), 2);
	ck_assert(excepted(exceptions, "a"));
	ck_assert(excepted(exceptions, "b # not one/c"));
	dr_clone_exceptions_free(exceptions);
}
END_TEST

START_TEST(clone_exceptions__may_be_absolute_below_the_root)
{
	struct dr_clone_exceptions *exceptions =
		exceptions_of("/mnt/src/", "/mnt/src/a\n/mnt//src/./b/\n./c//d/\n");

	ck_assert_uint_eq(dr_clone_n_exceptions(exceptions), 3);
	ck_assert(excepted(exceptions, "a"));
	ck_assert(excepted(exceptions, "b/x"));
	ck_assert(excepted(exceptions, "c/d"));
	ck_assert(!excepted(exceptions, "c"));
	dr_clone_exceptions_free(exceptions);
	exceptions = exceptions_of("/", "/a\nb\n");
	ck_assert(excepted(exceptions, "a"));
	ck_assert(excepted(exceptions, "b"));
	dr_clone_exceptions_free(exceptions);
}
END_TEST

START_TEST(clone_exceptions__name_any_bytes)
{
	struct dr_clone_exceptions *exceptions =
		exceptions_of("/s", "\\x23a\nx\\ny\n\\xff\\\\\nraw\xfe \n\\x20\nr\\r\n");

	ck_assert(excepted(exceptions, "#a"));
	ck_assert(excepted(exceptions, "x\ny/z"));
	ck_assert(excepted(exceptions, "\xff\\"));
	ck_assert(excepted(exceptions, "raw\xfe "));
	ck_assert(excepted(exceptions, " "));
	ck_assert(excepted(exceptions, "r\r"));
	ck_assert(!excepted(exceptions, "raw\xfe"));
	dr_clone_exceptions_free(exceptions);
}
END_TEST

static void refused(const char *root, const char *text, size_t len, const char *expected)
{
	struct dr_clone_exceptions *exceptions = NULL;
	char *message = NULL;

	ck_assert_int_eq(dr_clone_exceptions_new(root, text, len, &exceptions, &message), -EINVAL);
	ck_assert_ptr_null(exceptions);
	ck_assert_str_eq(message, expected);
	free(message);
}

START_TEST(clone_exceptions__refuse_paths_that_lead_elsewhere)
{
	refused("/s", "a\nb/../c\n", 9, "2: a path with \"..\"");
	refused("/s", "..", 2, "1: a path with \"..\"");
	refused("/s", "/srv/a", 6, "1: not below the source's root");
	refused("/s/t", "/s", 2, "1: not below the source's root");
	refused("/s", "\n\n/s/\n", 6, "3: the source's root itself");
	refused("/s", ".", 1, "1: the source's root itself");
	refused("/", "/", 1, "1: the source's root itself");
	refused("/s", "a\\q", 3,
		"1: a backslash that escapes nothing: \\\\, \\n, \\t, \\r or \\xHH");
	refused("/s", "a\\x00", 5, "1: a NUL byte");
	refused("/s", "a\0b", 3, "1: a NUL byte");
	refused("/s", "a\r\nb\r\n", 6, "1: ends with a carriage return; \"\\r\" means one");
}
END_TEST

START_TEST(clone_exceptions__of_an_empty_file_cover_nothing)
{
	struct dr_clone_exceptions *exceptions = exceptions_of("/s", "");

	ck_assert_uint_eq(dr_clone_n_exceptions(exceptions), 0);
	ck_assert(!excepted(exceptions, "a"));
	dr_clone_exceptions_free(exceptions);
	ck_assert(!dr_clone_is_excepted(NULL, "a", 1));
	ck_assert_uint_eq(dr_clone_n_exceptions(NULL), 0);
	dr_clone_exceptions_free(NULL);
}
END_TEST

START_TEST(clone_exceptions__are_found_among_many)
{
	struct dr_buf text = { 0 };
	char path[64];

	for (unsigned i = 0; i < 100000; i++) {
		dr_buf_printf(&text, "d%u/f%u\n", i % 100, i);
	}
	dr_buf_printf(&text, "d1/f1\n"); /* a second time */
	struct dr_clone_exceptions *exceptions = NULL;
	char *message = NULL;
	ck_assert_int_eq(dr_clone_exceptions_new(
				 "/s", (const char *)text.data, text.len, &exceptions, &message),
		0);
	ck_assert_uint_eq(dr_clone_n_exceptions(exceptions), 100000);
	for (unsigned i = 0; i < 100000; i += 7) {
		(void)snprintf(path, sizeof(path), "d%u/f%u/below", i % 100, i);
		ck_assert(excepted(exceptions, path));
		(void)snprintf(path, sizeof(path), "d%u/f%u", (i + 1) % 100, i);
		ck_assert(!excepted(exceptions, path));
	}
	dr_clone_exceptions_free(exceptions);
	dr_buf_fini(&text);
}
END_TEST

DR_UNIT_MAIN("clone_filter", clone_filter__takes_all_files_when_nothing_is_asked,
	clone_filter__leaves_out_files_that_nobody_read_for_long,
	clone_filter__leaves_out_files_that_were_written_lately,
	clone_filter__compares_sizes_of_regular_files_alone,
	clone_filter__takes_only_the_owners_groups_and_projects_that_are_named,
	clone_filter__never_filters_a_directory, clone_exceptions__cover_an_entry_and_all_below_it,
	clone_exceptions__pass_over_blank_lines_and_comments,
	clone_exceptions__may_be_absolute_below_the_root, clone_exceptions__name_any_bytes,
	clone_exceptions__refuse_paths_that_lead_elsewhere,
	clone_exceptions__of_an_empty_file_cover_nothing, clone_exceptions__are_found_among_many)
