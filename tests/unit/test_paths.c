/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line's files are not in the library: this one is compiled in. */
#include "base/fdio.h"
#include "base/text.h"
#include "cli/paths.c"

#include <fcntl.h>

#include "unit.h"

int cli_refuse(const char *fmt, ...)
{
	(void)fmt;
	return CLI_BAD_INPUT;
}

char *cli_escape(const char *bytes)
{
	return dr_xstrdup(bytes);
}

const char *cli_strerror(int error)
{
	(void)error;
	return "";
}

static void check_normal(const char *path, const char *expected)
{
	char *normal dr_cleanup(dr_freep) = NULL;
	ck_assert_int_eq(path_normalize(path, &normal), 0);
	ck_assert_str_eq(normal, expected);
}

START_TEST(paths__are_brought_into_one_form)
{
	char *normal = NULL;
	check_normal("a/b", "a/b");
	check_normal("./a//b/./", "a/b");
	check_normal("/", "");
	check_normal("...", "...");
	check_normal("a\n\xff/.b", "a\n\xff/.b");
	ck_assert_int_eq(path_normalize("a/../b", &normal), -EINVAL);
	ck_assert_int_eq(path_normalize("..", &normal), -EINVAL);
	ck_assert_ptr_null(normal);
}
END_TEST

START_TEST(paths__lie_below_others_by_component)
{
	ck_assert(path_is_within("a/b", "a"));
	ck_assert(path_is_within("a", "a"));
	ck_assert(path_is_within("a", ""));
	ck_assert(!path_is_within("ab", "a"));
	ck_assert(!path_is_within("a", "a/b"));
	ck_assert(path_has_components("x/.snap/y", ".snap"));
	ck_assert(path_has_components("x/a/b", "a/b"));
	ck_assert(!path_has_components("x/a/c/b", "a/b"));
	ck_assert(!path_has_components("x/.snapshot", ".snap"));
	ck_assert(!path_has_components("", "a"));
}
END_TEST

START_TEST(paths__below_another_and_excluded_ones_are_dropped)
{
	static const char *const all[] = { "b", "a/x", "a", "a.b", "b/c", "a", "c/skip/d", "e/f",
		"a-b/c" };
	static const char *const kept[] = { "a", "a-b/c", "a.b", "b" };
	struct paths paths dr_cleanup(paths_fini) = { 0 };
	struct paths excludes dr_cleanup(paths_fini) = { 0 };
	struct paths names dr_cleanup(paths_fini) = { 0 };
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		paths_add(&paths, all[i]);
	}
	paths_add(&excludes, "e");
	paths_add(&names, "skip");
	paths_reduce(&paths, &excludes, &names);
	ck_assert_uint_eq(paths.n, 4);
	for (size_t i = 0; i < paths.n; i++) {
		ck_assert_str_eq(paths.v[i].bytes, kept[i]);
	}
}
END_TEST

START_TEST(paths__to_exclude_follow_links_in_what_exists)
{
	char folder[] = "/tmp/drover-test-paths-XXXXXX";
	struct paths excludes dr_cleanup(paths_fini) = { 0 };
	struct paths names dr_cleanup(paths_fini) = { 0 };
	ck_assert_ptr_nonnull(mkdtemp(folder));
	char *root dr_cleanup(dr_freep) = realpath(folder, NULL);
	char *real dr_cleanup(dr_freep) = dr_xasprintf("%s/real", root);
	char *alias dr_cleanup(dr_freep) = dr_xasprintf("%s/alias", root);
	ck_assert_int_eq(mkdir(real, 0755), 0);
	ck_assert_int_eq(symlink("real", alias), 0);
	struct dr_fs fs = { .root = root };
	char *path dr_cleanup(dr_freep) = dr_xasprintf("%s/alias//not/./there/", root);
	ck_assert_int_eq(paths_exclude(path, fs.root, "is not on", &excludes, &names), CLI_OK);
	ck_assert_str_eq(excludes.v[0].bytes, "real/not/there");
	ck_assert_int_eq(paths_exclude(root, fs.root, "is not on", &excludes, &names), CLI_OK);
	ck_assert_str_eq(excludes.v[1].bytes, "");
	ck_assert_int_eq(
		paths_exclude("/", fs.root, "is not on", &excludes, &names), CLI_BAD_INPUT);
	char *beside dr_cleanup(dr_freep) = dr_xasprintf("%sx/a", root);
	ck_assert_int_eq(
		paths_exclude(beside, fs.root, "is not on", &excludes, &names), CLI_BAD_INPUT);
	char *up dr_cleanup(dr_freep) = dr_xasprintf("%s/none/../real", root);
	ck_assert_int_eq(paths_exclude(up, fs.root, "is not on", &excludes, &names), CLI_BAD_INPUT);
	ck_assert_int_eq(paths_exclude("a//b/", fs.root, "is not on", &excludes, &names), CLI_OK);
	ck_assert_str_eq(names.v[0].bytes, "a/b");
	ck_assert_int_eq(
		paths_exclude("./", fs.root, "is not on", &excludes, &names), CLI_BAD_INPUT);
	ck_assert_int_eq(
		paths_exclude("../x", fs.root, "is not on", &excludes, &names), CLI_BAD_INPUT);
	ck_assert_uint_eq(excludes.n, 2);
	ck_assert_uint_eq(names.n, 1);
	ck_assert_int_ge(dr_remove_tree(AT_FDCWD, root), 0);
}
END_TEST

DR_UNIT_MAIN("paths", paths__are_brought_into_one_form, paths__lie_below_others_by_component,
	paths__below_another_and_excluded_ones_are_dropped,
	paths__to_exclude_follow_links_in_what_exists)
