/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/filter.h"

#include <string.h>

#include "unit.h"

static char tree[] = "a/b", scratch[] = "scratch", tmp[] = "tmp", snap[] = ".snap/old";
static struct dr_path excludes[] = { { tree, 3 }, { scratch, 7 } };
static struct dr_path names[] = { { tmp, 3 }, { snap, 9 } };
static const struct dr_spec spec = {
	.excludes = excludes, .n_excludes = 2, .exclude_names = names, .n_exclude_names = 2
};

static bool excluded(const char *path)
{
	return dr_filter_excludes(&spec, path, strlen(path));
}

START_TEST(filter__excludes_a_path_and_all_below_it)
{
	ck_assert(excluded("a/b"));
	ck_assert(excluded("a/b/c/d"));
	ck_assert(excluded("scratch/x"));
}
END_TEST

START_TEST(filter__never_compares_parts_of_names)
{
	ck_assert(!excluded("a/bc"));
	ck_assert(!excluded("a"));
	ck_assert(!excluded("aa/b"));
	ck_assert(!excluded("x/a/b"));
	ck_assert(!excluded("scratchy"));
	ck_assert(!excluded("x/tmpx/y"));
	ck_assert(!excluded("xtmp"));
}
END_TEST

START_TEST(filter__excludes_components_at_any_depth)
{
	ck_assert(excluded("tmp"));
	ck_assert(excluded("x/y/tmp"));
	ck_assert(excluded("x/tmp/y/z"));
	ck_assert(excluded("x/.snap/old/y"));
	ck_assert(!excluded("x/.snap/older"));
	ck_assert(!excluded("x/.snap"));
}
END_TEST

static bool entry_excluded(const char *dir, const char *name)
{
	struct dr_filter_dir filter dr_cleanup(dr_filter_dir_fini) = { 0 };

	dr_filter_enter(&filter, &spec, dir, strlen(dir));
	return dr_filter_entry(&filter, name, strlen(name));
}

START_TEST(filter__knows_the_excluded_names_of_a_directory)
{
	ck_assert(entry_excluded("a", "b"));
	ck_assert(!entry_excluded("a", "bc"));
	ck_assert(!entry_excluded("", "b"));
	ck_assert(entry_excluded("", "scratch"));
	ck_assert(!entry_excluded("a", "scratch"));
	ck_assert(entry_excluded("any/where", "tmp"));
	ck_assert(entry_excluded("x/.snap", "old"));
	ck_assert(!entry_excluded("x/y.snap", "old"));
	ck_assert(!entry_excluded("x", "old"));
}
END_TEST

START_TEST(filter__tells_what_the_scan_paths_cover)
{
	char one[] = "a/b", two[] = "c";
	struct dr_path paths[] = { { one, 3 }, { two, 1 } };
	const struct dr_spec some = { .scan_paths = paths, .n_scan_paths = 2 }, none = { 0 };

	ck_assert(dr_filter_scans(&some, "a/b", 3));
	ck_assert(dr_filter_scans(&some, "c/d/e", 5));
	ck_assert(!dr_filter_scans(&some, "a/bc", 4));
	ck_assert(!dr_filter_scans(&some, "a", 1));
	ck_assert(!dr_filter_scans(&none, "a", 1));
	paths[0].len = 0;
	ck_assert(dr_filter_scans(&some, "x", 1));
}
END_TEST

DR_UNIT_MAIN("filter", filter__excludes_a_path_and_all_below_it,
	filter__never_compares_parts_of_names, filter__excludes_components_at_any_depth,
	filter__knows_the_excluded_names_of_a_directory, filter__tells_what_the_scan_paths_cover)
