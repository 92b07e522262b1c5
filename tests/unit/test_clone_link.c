/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "clone_trees.h"

static void link_to(struct trees *t, const char *name, const char *with)
{
	dr_clone_link(&t->cloner, t->from, t->to, name, t->from, t->to, with,
		trees_stat(t->from, name).st_ino, 1, &t->outcome);
}

static void linked(struct trees *t, const char *name, const char *with)
{
	link_to(t, name, with);
	trees_is(t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	ck_assert_uint_eq(trees_stat(t->to, name).st_ino, trees_stat(t->to, with).st_ino);
	link_to(t, name, with);
	trees_is(t, DR_UNNEEDED, DR_STEP_DONE, 0);
}

/* A source with a group of three names, whose elected one is cloned. */
static void group(struct trees *t)
{
	trees_init(t);
	trees_text(t->from, "a", "group");
	ck_assert_int_eq(linkat(t->from, "a", t->from, "b", 0), 0);
	ck_assert_int_eq(linkat(t->from, "a", t->from, "c", 0), 0);
	trees_cloned(t, "a");
}

START_TEST(link__makes_names_of_one_inode)
{
	struct trees t dr_cleanup(trees_fini);

	group(&t);
	linked(&t, "b", "a");
	linked(&t, "c", "a");
	ck_assert_uint_eq(trees_stat(t.to, "a").st_nlink, 3);
	ck_assert_int_eq(trees_count(t.to), 3);
	trees_unneeded(&t, "a");
}
END_TEST

START_TEST(link__mends_a_name_of_the_wrong_group)
{
	struct trees t dr_cleanup(trees_fini);

	group(&t);
	trees_text(t.to, "other", "other");
	ck_assert_int_eq(linkat(t.to, "other", t.to, "b", 0), 0);
	trees_text(t.to, "c", "single");
	linked(&t, "b", "a");
	linked(&t, "c", "a");
	ck_assert_uint_eq(trees_stat(t.to, "other").st_nlink, 1);
	trees_holds(t.to, "other", "other", 5);
	ck_assert_int_eq(trees_count(t.to), 4);
}
END_TEST

START_TEST(link__follows_a_group_that_was_split)
{
	struct trees t dr_cleanup(trees_fini);

	group(&t);
	linked(&t, "b", "a");
	linked(&t, "c", "a");
	ck_assert_int_eq(unlinkat(t.from, "c", 0), 0);
	trees_text(t.from, "c", "alone");
	trees_cloned(&t, "c");
	ck_assert_uint_eq(trees_stat(t.to, "c").st_nlink, 1);
	ck_assert_uint_eq(trees_stat(t.to, "a").st_nlink, 2);
	trees_unneeded(&t, "a");
}
END_TEST

START_TEST(link__replaces_an_empty_directory_only)
{
	struct trees t dr_cleanup(trees_fini);

	group(&t);
	(void)close(trees_dir(t.to, "b"));
	linked(&t, "b", "a");
	int dir = trees_dir(t.to, "c");
	trees_text(dir, "kept", "k");
	link_to(&t, "c", "a");
	trees_is(&t, DR_REFUSED, DR_STEP_TARGET, -EISDIR);
	ck_assert(trees_has(dir, "kept"));
	(void)close(dir);
}
END_TEST

START_TEST(link__says_changed_and_gone)
{
	struct trees t dr_cleanup(trees_fini);

	group(&t);
	uint64_t ino = trees_stat(t.from, "a").st_ino;
	dr_clone_link(&t.cloner, t.from, t.to, "b", t.from, t.to, "a", ino + 1, 1, &t.outcome);
	trees_is(&t, DR_CHANGED, DR_STEP_VERSION, -ESTALE);
	trees_text(t.from, "x", "x");
	link_to(&t, "b", "x");
	trees_is(&t, DR_CHANGED, DR_STEP_VERSION, -ESTALE);
	dr_clone_link(&t.cloner, t.from, t.to, "none", t.from, t.to, "a", ino, 1, &t.outcome);
	trees_is(&t, DR_GONE, DR_STEP_OPEN, -ENOENT);
	/* The elected one is not what it should be. */
	trees_text(t.to, "a", "not it");
	link_to(&t, "b", "a");
	trees_is(&t, DR_CHANGED, DR_STEP_TARGET, -ESTALE);
	ck_assert_int_eq(unlinkat(t.to, "a", 0), 0);
	link_to(&t, "b", "a");
	trees_is(&t, DR_CHANGED, DR_STEP_TARGET, -ESTALE);
	ck_assert_int_eq(trees_count(t.to), 0);
}
END_TEST

START_TEST(link__removes_what_workers_left)
{
	struct trees t dr_cleanup(trees_fini);
	char name[96];

	group(&t);
	uint64_t ino = trees_stat(t.from, "a").st_ino;
	for (unsigned long long n = 1; n <= 3; n++) {
		(void)snprintf(name, sizeof(name), ".drover-" TREES_WORD "-%llu.%llu",
			(unsigned long long)ino, n);
		ck_assert_int_eq(linkat(t.to, "a", t.to, name, 0), 0);
	}
	dr_clone_link(&t.cloner, t.from, t.to, "b", t.from, t.to, "a", ino, 3, &t.outcome);
	trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	ck_assert_int_eq(trees_count(t.to), 2);
}
END_TEST

START_TEST(link__to_an_immutable_file_keeps_it_so)
{
	struct trees t dr_cleanup(trees_fini);
	int flags = FS_IMMUTABLE_FL;

	group(&t);
	int fd = openat(t.to, "a", O_RDONLY);
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) {
		linked(&t, "b", "a");
		ck_assert_int_eq(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
		ck_assert(flags & FS_IMMUTABLE_FL);
		ck_assert_int_eq(trees_count(t.to), 2);
		flags = 0;
		ck_assert_int_eq(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
	}
	(void)close(fd);
}
END_TEST

START_TEST(link__puts_on_the_flags_that_a_dead_worker_took_off)
{
	struct trees t dr_cleanup(trees_fini);
	int flags = FS_IMMUTABLE_FL;

	group(&t);
	int from dr_cleanup(dr_fd_closep) = openat(t.from, "a", O_RDONLY);
	int to dr_cleanup(dr_fd_closep) = openat(t.to, "a", O_RDONLY);

	linked(&t, "b", "a");
	if (ioctl(from, FS_IOC_SETFLAGS, &flags) == 0) {
		dr_clone_link(&t.cloner, t.from, t.to, "b", t.from, t.to, "a",
			trees_stat(t.from, "b").st_ino, 2, &t.outcome);
		ck_assert_int_eq(ioctl(to, FS_IOC_GETFLAGS, &flags), 0);
		ck_assert(flags & FS_IMMUTABLE_FL);
		flags = 0;
		ck_assert_int_eq(ioctl(to, FS_IOC_SETFLAGS, &flags), 0);
		ck_assert_int_eq(ioctl(from, FS_IOC_SETFLAGS, &flags), 0);
	}
}
END_TEST

START_TEST(link__touches_nothing_in_a_dry_run)
{
	struct trees t dr_cleanup(trees_fini);

	group(&t);
	t.cloner.dry_run = true;
	link_to(&t, "b", "a");
	trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	ck_assert_int_eq(trees_count(t.to), 1);
}
END_TEST

DR_UNIT_MAIN("clone_link", link__makes_names_of_one_inode, link__mends_a_name_of_the_wrong_group,
	link__follows_a_group_that_was_split, link__replaces_an_empty_directory_only,
	link__says_changed_and_gone, link__removes_what_workers_left,
	link__to_an_immutable_file_keeps_it_so, link__puts_on_the_flags_that_a_dead_worker_took_off,
	link__touches_nothing_in_a_dry_run)
