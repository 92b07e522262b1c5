/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "clone_trees.h"

/* The times of "d", from tree to tree. */
static int times_of(struct trees *t)
{
	int from = openat(t->from, "d", O_RDONLY | O_DIRECTORY);
	int to = openat(t->to, "d", O_RDONLY | O_DIRECTORY);
	int r = dr_clone_dir_times(&t->cloner, from, to);

	(void)close(from);
	(void)close(to);
	return r;
}

START_TEST(dir__is_made_with_its_attributes)
{
	struct trees t dr_cleanup(trees_fini);
	char value[8];

	trees_init(&t);
	int fd = trees_dir(t.from, "d");
	ck_assert_int_eq(fchown(fd, 3, 4), 0);
	ck_assert_int_eq(fchmod(fd, 03711), 0);
	ck_assert_int_eq(fsetxattr(fd, "user.a", "1", 1, 0), 0);
	(void)close(fd);
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "d", -1), 1);
	struct stat st = trees_stat(t.to, "d");
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 03711);
	ck_assert_uint_eq(st.st_uid, 3);
	ck_assert_uint_eq(st.st_gid, 4);
	fd = openat(t.to, "d", O_RDONLY);
	ck_assert_int_eq(fgetxattr(fd, "user.a", value, sizeof(value)), 1);
	(void)close(fd);
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "d", -1), 0);
	ck_assert_int_eq(trees_stat(t.to, "d").st_ctim.tv_nsec, st.st_ctim.tv_nsec);
	ck_assert_int_eq(fchmodat(t.from, "d", 0700, 0), 0);
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "d", -1), 0);
	ck_assert_uint_eq(trees_stat(t.to, "d").st_mode, S_IFDIR | 0700);
}
END_TEST

START_TEST(dir__replaces_what_is_none)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	(void)close(trees_dir(t.from, "d"));
	(void)close(trees_dir(t.from, "e"));
	trees_text(t.to, "d", "file");
	ck_assert_int_eq(symlinkat("/tmp", t.to, "e"), 0);
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "d", -1), 1);
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "e", -1), 1);
	ck_assert(S_ISDIR(trees_stat(t.to, "d").st_mode));
	ck_assert(S_ISDIR(trees_stat(t.to, "e").st_mode));
	trees_text(t.from, "f", "x");
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "f", -1), -ENOTDIR);
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "none", -1), -ENOENT);
}
END_TEST

START_TEST(dir_times__come_last)
{
	struct trees t dr_cleanup(trees_fini);
	const struct timespec times[2] = { { 100, 1 }, { 200, 2 } };

	trees_init(&t);
	(void)close(trees_dir(t.from, "d"));
	ck_assert_int_eq(utimensat(t.from, "d", times, 0), 0);
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "d", -1), 1);
	ck_assert_int_ne(trees_stat(t.to, "d").st_mtim.tv_sec, 200);
	t.cloner.dry_run = true;
	ck_assert_int_eq(times_of(&t), 1);
	ck_assert_int_ne(trees_stat(t.to, "d").st_mtim.tv_sec, 200);
	t.cloner.dry_run = false;
	ck_assert_int_eq(times_of(&t), 1);
	ck_assert_int_eq(trees_stat(t.to, "d").st_mtim.tv_sec, 200);
	ck_assert_int_eq(trees_stat(t.to, "d").st_mtim.tv_nsec, 2);
	ck_assert_int_eq(times_of(&t), 0);
}
END_TEST

START_TEST(dir__takes_entries_until_its_flags_come)
{
	struct trees t dr_cleanup(trees_fini);
	int flags = FS_IMMUTABLE_FL;

	trees_init(&t);
	int fd = trees_dir(t.from, "d");
	trees_text(fd, "f", "x");
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) {
		ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "d", -1), 1);
		ck_assert_int_eq(times_of(&t), 1);
		int to = openat(t.to, "d", O_RDONLY | O_DIRECTORY);
		ck_assert_int_eq(ioctl(to, FS_IOC_GETFLAGS, &flags), 0);
		ck_assert(flags & FS_IMMUTABLE_FL);
		ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "d", -1), 0);
		dr_clone_entry(&t.cloner, fd, to, "f", 0, 1, false, &t.outcome);
		trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
		ck_assert_int_eq(times_of(&t), 1);
		ck_assert_int_eq(ioctl(to, FS_IOC_GETFLAGS, &flags), 0);
		ck_assert(flags & FS_IMMUTABLE_FL);
		flags = 0;
		ck_assert_int_eq(ioctl(to, FS_IOC_SETFLAGS, &flags), 0);
		ck_assert_int_eq(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
		(void)close(to);
	}
	(void)close(fd);
}
END_TEST

START_TEST(dir__is_not_made_in_a_dry_run)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	t.cloner.dry_run = true;
	(void)close(trees_dir(t.from, "d"));
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "d", -1), 1);
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, -1, "d", -1), 1);
	ck_assert_int_eq(trees_count(t.to), 0);
	(void)close(trees_dir(t.to, "d"));
	ck_assert_int_eq(dr_clone_dir(&t.cloner, t.from, t.to, "d", -1), 0);
}
END_TEST

DR_UNIT_MAIN("clone_dir", dir__is_made_with_its_attributes, dir__replaces_what_is_none,
	dir_times__come_last, dir__takes_entries_until_its_flags_come,
	dir__is_not_made_in_a_dry_run)
