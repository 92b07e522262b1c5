/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "work/meta.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "unit.h"

/* An ACL as the kernel has it: user::rw-, user:1234:r--, group::r--, mask::rwx, other::---; and one that is a directory's default. */
static const uint8_t acl[] = { 2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xd2, 4, 0,
	0, 4, 0, 4, 0, 255, 255, 255, 255, 0x10, 0, 7, 0, 255, 255, 255, 255, 0x20, 0, 0, 0, 255,
	255, 255, 255 };
#define ACL_MODE 0670

/* cap_net_raw=ep, as struct vfs_cap_data of revision 2 */
static const uint8_t capability[20] = { 1, 0, 0, 2, 0, 0x20, 0, 0 };

static char folder[PATH_MAX];
static int dir_fd;
/* How often lgetxattr() finds an attribute gone that was listed. */
static int vanishing;

/* In place of the C library's. */
ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
	if (vanishing > 0) {
		vanishing--;
		errno = ENODATA;
		return -1;
	}
	return syscall(SYS_lgetxattr, path, name, value, size);
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(folder, sizeof(folder), "%s/drover-meta.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir_fd, 0);
}

static void teardown(void)
{
	(void)close(dir_fd);
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, folder), 0);
}

static void make(const char *name, mode_t mode)
{
	int r = S_ISLNK(mode)   ? symlinkat("target", dir_fd, name)
		: S_ISDIR(mode) ? mkdirat(dir_fd, name, mode & 07777)
				: mknodat(dir_fd, name, mode, makedev(1, 3));
	ck_assert_msg(r == 0, "%s: %s", name, strerrorname_np(errno));
	if (!S_ISLNK(mode)) {
		ck_assert_int_eq(fchmodat(dir_fd, name, mode & 07777, 0), 0);
	}
}

static const char *at(const char *name)
{
	static char path[2][PATH_MAX + 300];
	static int turn;
	turn = !turn;
	(void)snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
	return path[turn];
}

static void set(const char *name, const char *attr, const void *value, size_t len)
{
	ck_assert_msg(lsetxattr(at(name), attr, value, len, 0) == 0, "%s %s: %s", name, attr,
		strerrorname_np(errno));
}

static void set_flags(const char *name, uint32_t xflags)
{
	struct fsxattr attr;
	int fd = openat(dir_fd, name, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ioctl(fd, FS_IOC_FSGETXATTR, &attr), 0);
	attr.fsx_xflags &= ~(uint32_t)(FS_XFLAG_IMMUTABLE | FS_XFLAG_APPEND);
	attr.fsx_xflags |= xflags;
	ck_assert_int_eq(ioctl(fd, FS_IOC_FSSETXATTR, &attr), 0);
	(void)close(fd);
}

static struct dr_meta get(const char *name)
{
	struct dr_meta meta = { 0 };
	int r = dr_meta_read(dir_fd, name, -1, &meta);
	ck_assert_msg(r == 0, "%s: %s", name, strerrorname_np(-r));
	return meta;
}

/* Makes `to` like `from`, and sees that nothing differs then, not by a nanosecond. how: by name, or by a descriptor. */
static void apply(const char *from, const char *to, bool is_new, bool by_fd)
{
	struct dr_meta want dr_cleanup(dr_meta_fini) = get(from);
	struct dr_meta have dr_cleanup(dr_meta_fini) = get(to);
	enum dr_meta_part part = 0;
	int fd = by_fd ? openat(dir_fd, to, O_RDONLY) : -1;
	int r = dr_meta_apply(dir_fd, to, fd, &want, is_new ? NULL : &have, DR_META_ALL, &part);
	ck_assert_msg(
		r == 0, "%s to %s: part %u: %s", from, to, (unsigned)part, strerrorname_np(-r));
	struct dr_meta now dr_cleanup(dr_meta_fini) = get(to);
	struct dr_meta still dr_cleanup(dr_meta_fini) = get(from);
	ck_assert_uint_eq(dr_meta_compare(&want, &now, 1), 0);
	ck_assert_uint_eq(dr_meta_compare(&want, &still, 1), 0);
	if (is_new) {
		ck_assert_int_eq(now.atime.tv_sec, want.atime.tv_sec);
		ck_assert_int_eq(now.atime.tv_nsec, want.atime.tv_nsec);
	}
	if (fd >= 0) {
		(void)close(fd);
	}
}

/* Everything that an entry can have, on a file: but flags. */
static void adorn(const char *name)
{
	const struct timespec times[2] = { { 1000, 123456789 }, { 2000, 987654321 } };
	char big[3000];
	memset(big, 'b', sizeof(big));
	ck_assert_int_eq(fchownat(dir_fd, name, 12, 34, AT_SYMLINK_NOFOLLOW), 0);
	ck_assert_int_eq(fchmodat(dir_fd, name, 06754, 0), 0);
	set(name, "user.b", "", 0);
	set(name, "user.a\xff", "\0\1", 2);
	set(name, "user.big", big, 2000);
	set(name, "trusted.t", "t", 1);
	set(name, "trusted.lma", "the file system's", 17);
	set(name, "trusted.dataver", "the file system's", 17);
	set(name, "trusted.drover.x", "ours", 4);
	set(name, DR_META_ACL, acl, sizeof(acl));
	set(name, "security.capability", capability, sizeof(capability));
	ck_assert_int_eq(utimensat(AT_FDCWD, at(name), times, 0), 0);
}

START_TEST(read__gives_attributes_sorted_without_the_file_systems_own)
{
	static const char *const names[] = { "security.capability", DR_META_ACL, "trusted.t",
		"user.a\xff", "user.b", "user.big" };
	setup();
	make("file", S_IFREG | 0644);
	adorn("file");
	struct dr_meta meta dr_cleanup(dr_meta_fini) = get("file");
	ck_assert_uint_eq(meta.uid, 12);
	ck_assert_uint_eq(meta.gid, 34);
	ck_assert_uint_eq(meta.mode, S_IFREG | 06000 | ACL_MODE);
	ck_assert_int_eq(meta.mtime.tv_nsec, 987654321);
	ck_assert_int_eq(meta.atime.tv_nsec, 123456789);
	struct dr_cur cur = dr_cur_of(meta.xattrs.data, meta.xattrs.len);
	struct dr_meta_attr attr;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]);) {
		ck_assert(dr_meta_next_attr(&cur, &attr));
		if (strcmp(attr.name, DR_META_LABEL) == 0) {
			continue;
		}
		ck_assert_str_eq(attr.name, names[i]);
		i++;
	}
	ck_assert_uint_eq(attr.len, 2000);
	ck_assert(!dr_meta_next_attr(&cur, &attr));
	teardown();
}
END_TEST

START_TEST(read__is_the_same_by_name_and_by_descriptor)
{
	struct dr_meta by_fd dr_cleanup(dr_meta_fini) = { 0 };
	setup();
	make("file", S_IFREG | 0644);
	adorn("file");
	struct dr_meta by_name dr_cleanup(dr_meta_fini) = get("file");
	int fd = openat(dir_fd, "file", O_RDONLY);
	/* Twice: what an earlier call left does not stay. */
	ck_assert_int_eq(dr_meta_read(dir_fd, "", -1, &by_fd), 0);
	ck_assert(S_ISDIR(by_fd.mode));
	ck_assert_int_eq(dr_meta_read(-1, "", fd, &by_fd), 0);
	ck_assert_uint_eq(by_fd.ino, by_name.ino);
	ck_assert_uint_eq(dr_meta_compare(&by_name, &by_fd, 1), 0);
	ck_assert_uint_eq(by_fd.has_project, by_name.has_project);
	(void)close(fd);
	teardown();
}
END_TEST

START_TEST(read__never_follows_a_symlink)
{
	struct dr_meta meta dr_cleanup(dr_meta_fini) = { 0 };
	setup();
	make("target", S_IFREG | 0644);
	set("target", "user.x", "x", 1);
	make("link", S_IFLNK | 0777);
	set("link", "trusted.l", "l", 1);
	ck_assert_int_eq(dr_meta_read(dir_fd, "link", -1, &meta), 0);
	ck_assert(S_ISLNK(meta.mode));
	ck_assert(memmem(meta.xattrs.data, meta.xattrs.len, "trusted.l", 10));
	ck_assert(!memmem(meta.xattrs.data, meta.xattrs.len, "user.x", 7));
	ck_assert_int_eq(unlinkat(dir_fd, "target", 0), 0);
	ck_assert_int_eq(dr_meta_read(dir_fd, "link", -1, &meta), 0);
	ck_assert_int_eq(dr_meta_read(dir_fd, "target", -1, &meta), -ENOENT);
	teardown();
}
END_TEST

START_TEST(read__reads_a_list_again_that_changes)
{
	setup();
	make("file", S_IFREG | 0644);
	set("file", "user.a", "a", 1);
	set("file", "user.b", "b", 1);
	struct dr_meta before dr_cleanup(dr_meta_fini) = get("file");
	vanishing = 3;
	struct dr_meta meta dr_cleanup(dr_meta_fini) = get("file");
	ck_assert_int_eq(vanishing, 0);
	ck_assert_uint_eq(dr_meta_compare(&before, &meta, 1), 0);
	/* What is listed and never given is not there. */
	vanishing = 20;
	struct dr_meta none dr_cleanup(dr_meta_fini) = get("file");
	ck_assert_uint_eq(none.xattrs.len, 0);
	teardown();
}
END_TEST

START_TEST(read__asks_for_no_project_where_there_are_none)
{
	setup();
	int told = dr_meta_keeps_projects(dir_fd);
	ck_assert_int_ge(told, 0);
	make("file", S_IFREG | 0644);
	make("fifo", S_IFIFO | 0644);
	struct dr_meta meta dr_cleanup(dr_meta_fini) = get("file");
	ck_assert_int_eq(meta.has_project, told);
	meta.no_projects = true;
	ck_assert_int_eq(dr_meta_read(dir_fd, "file", -1, &meta), 0);
	ck_assert(!meta.has_project);
	struct dr_meta fifo dr_cleanup(dr_meta_fini) = get("fifo");
	ck_assert(!fifo.has_project);
	teardown();
}
END_TEST

START_TEST(apply__makes_an_entry_of_every_type_the_same)
{
	static const mode_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR, S_IFBLK,
		S_IFSOCK };
	const struct timespec times[2] = { { 1000, 123456789 }, { -2000, 987654321 } };
	setup();
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		char from[16], to[16];
		(void)snprintf(from, sizeof(from), "from%zu", i);
		(void)snprintf(to, sizeof(to), "to%zu", i);
		make(from, types[i] | 0751);
		make(to, types[i] | 0700);
		ck_assert_int_eq(fchownat(dir_fd, from, 7, 8, AT_SYMLINK_NOFOLLOW), 0);
		if (!S_ISLNK(types[i])) {
			ck_assert_int_eq(fchmodat(dir_fd, from, 07711, 0), 0);
		}
		set(from, "trusted.x", "x", 1);
		ck_assert_int_eq(utimensat(dir_fd, from, times, AT_SYMLINK_NOFOLLOW), 0);
		apply(from, to, true, false);
		apply(from, to, false, false);
	}
	teardown();
}
END_TEST

START_TEST(apply__gives_a_new_file_all_that_the_source_has)
{
	setup();
	make("from", S_IFREG | 0644);
	adorn("from");
	for (int how = 0; how < 2; how++) {
		make("to", S_IFREG | 0600);
		apply("from", "to", true, how & 1);
		ck_assert_int_eq(unlinkat(dir_fd, "to", 0), 0);
	}
	teardown();
}
END_TEST

START_TEST(apply__takes_away_what_the_directory_handed_down)
{
	setup();
	make("dir", S_IFDIR | 0755);
	make("plain", S_IFREG | 0664);
	set("dir", DR_META_DEFAULT_ACL, acl, sizeof(acl));
	make("dir/new", S_IFREG | 0600);
	ck_assert_int_ge(lgetxattr(at("dir/new"), DR_META_ACL, NULL, 0), 1);
	apply("plain", "dir/new", true, false);
	ck_assert_int_lt(lgetxattr(at("dir/new"), DR_META_ACL, NULL, 0), 0);
	teardown();
}
END_TEST

START_TEST(apply__corrects_either_way)
{
	setup();
	make("rich", S_IFREG | 0644);
	adorn("rich");
	make("poor", S_IFREG | 0604);
	make("to", S_IFREG | 0600);
	for (int by_fd = 0; by_fd < 2; by_fd++) {
		apply("rich", "to", false, by_fd);
		apply("poor", "to", false, by_fd);
		set("to", "user.b", "another", 7);
		set("to", "user.0", "too much", 8);
		set("to", DR_META_ACL, acl, sizeof(acl));
		apply("rich", "to", false, by_fd);
		ck_assert_int_eq(fchmodat(dir_fd, "to", 0777, 0), 0);
		apply("rich", "to", false, by_fd);
	}
	teardown();
}
END_TEST

START_TEST(apply__changes_the_owner_and_keeps_setuid_and_capability)
{
	enum dr_meta_part part = 0;
	struct stat st;
	setup();
	make("from", S_IFREG | 0644);
	adorn("from");
	make("to", S_IFREG | 0600);
	apply("from", "to", true, false);
	ck_assert_int_eq(fchownat(dir_fd, "to", 99, 99, 0), 0);
	ck_assert_int_eq(fchmodat(dir_fd, "to", 06000 | ACL_MODE, 0), 0);
	set("to", "security.capability", capability, sizeof(capability));
	struct dr_meta want dr_cleanup(dr_meta_fini) = get("from");
	struct dr_meta have dr_cleanup(dr_meta_fini) = get("to");
	ck_assert_uint_eq(dr_meta_compare(&want, &have, 1), DR_META_OWNER);
	/* Nothing else was asked for, and nothing else is lost. */
	ck_assert_int_eq(dr_meta_apply(dir_fd, "to", -1, &want, &have, DR_META_OWNER, &part), 0);
	struct dr_meta now dr_cleanup(dr_meta_fini) = get("to");
	ck_assert_uint_eq(dr_meta_compare(&want, &now, 1), 0);
	ck_assert_int_eq(fstatat(dir_fd, "to", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 06000 | ACL_MODE);
	teardown();
}
END_TEST

START_TEST(apply__takes_flags_off_and_puts_them_on_last)
{
	enum dr_meta_part part = 0;
	setup();
	make("from", S_IFREG | 0644);
	make("to", S_IFREG | 0600);
	set("from", "user.x", "x", 1);
	set_flags("from", FS_XFLAG_IMMUTABLE);
	apply("from", "to", true, true);
	set_flags("from", 0);
	set("from", "user.x", "y", 1);
	ck_assert_int_eq(fchmodat(dir_fd, "from", 0640, 0), 0);
	set_flags("from", FS_XFLAG_IMMUTABLE | FS_XFLAG_APPEND);
	apply("from", "to", false, false);
	/* A part alone leaves the flags as they are. */
	set_flags("from", 0);
	ck_assert_int_eq(fchmodat(dir_fd, "from", 0600, 0), 0);
	struct dr_meta want dr_cleanup(dr_meta_fini) = get("from");
	struct dr_meta have dr_cleanup(dr_meta_fini) = get("to");
	ck_assert_int_eq(dr_meta_apply(dir_fd, "to", -1, &want, &have, DR_META_MODE, &part), 0);
	struct dr_meta now dr_cleanup(dr_meta_fini) = get("to");
	ck_assert(now.is_immutable && now.is_append);
	ck_assert_uint_eq(dr_meta_compare(&want, &now, 1), DR_META_FLAGS);
	apply("from", "to", false, true);
	teardown();
}
END_TEST

START_TEST(apply__says_which_part_failed)
{
	enum dr_meta_part part = 0;
	setup();
	make("from", S_IFREG | 0644);
	make("to", S_IFREG | 0644);
	set_flags("to", FS_XFLAG_IMMUTABLE);
	struct dr_meta want dr_cleanup(dr_meta_fini) = get("from");
	struct dr_meta have dr_cleanup(dr_meta_fini) = get("to");
	/* What no file can hold. */
	dr_buf_put(&want.xattrs, "user.x", 7);
	dr_buf_put_u32(&want.xattrs, 70000);
	for (int i = 0; i < 70000; i++) {
		dr_buf_put_u8(&want.xattrs, 0);
	}
	ck_assert_int_eq(dr_meta_apply(dir_fd, "to", -1, &want, &have, DR_META_ALL, &part), -E2BIG);
	ck_assert_int_eq(part, DR_META_XATTRS);
	struct dr_meta now dr_cleanup(dr_meta_fini) = get("to");
	ck_assert(now.is_immutable);
	set_flags("to", 0);
	/* Another entry has the name by now. */
	ck_assert_int_eq(unlinkat(dir_fd, "to", 0), 0);
	make("other", S_IFREG | 0644);
	make("to", S_IFREG | 0644);
	have.ino = 1;
	ck_assert_int_eq(
		dr_meta_apply(dir_fd, "to", -1, &want, &have, DR_META_ALL, &part), -ESTALE);
	ck_assert_int_eq(unlinkat(dir_fd, "to", 0), 0);
	make("to", S_IFLNK | 0777);
	ck_assert_int_eq(dr_meta_apply(dir_fd, "to", -1, &want, NULL, DR_META_ALL, &part), -ESTALE);
	ck_assert_int_eq(unlinkat(dir_fd, "to", 0), 0);
	ck_assert_int_eq(dr_meta_apply(dir_fd, "to", -1, &want, NULL, DR_META_ALL, &part), -ENOENT);
	teardown();
}
END_TEST

static unsigned at_times(int64_t a, long a_ns, int64_t b, long b_ns, uint32_t time_ns)
{
	struct dr_meta x = { .mtime = { a, a_ns } }, y = { .mtime = { b, b_ns } };
	return dr_meta_compare(&x, &y, time_ns);
}

START_TEST(compare__takes_times_at_the_resolution)
{
	const uint32_t second = 1000000000;
	ck_assert_uint_eq(at_times(5, 1, 5, 1, 1), 0);
	ck_assert_uint_eq(at_times(5, 1, 5, 2, 1), DR_META_TIMES);
	ck_assert_uint_eq(at_times(5, 999999999, 5, 0, second), 0);
	ck_assert_uint_eq(at_times(5, 999999999, 6, 0, second), DR_META_TIMES);
	ck_assert_uint_eq(at_times(-5, 999999999, -5, 0, second), 0);
	ck_assert_uint_eq(at_times(-5, 999999999, -4, 0, second), DR_META_TIMES);
	ck_assert_uint_eq(at_times(4, 0, 5, 999999999, 2 * second), 0);
	ck_assert_uint_eq(at_times(5, 999999999, 6, 0, 2 * second), DR_META_TIMES);
	ck_assert_uint_eq(at_times(-2, 0, -1, 999999999, 2 * second), 0);
	ck_assert_uint_eq(at_times(-1, 999999999, 0, 0, 2 * second), DR_META_TIMES);
	ck_assert_uint_eq(at_times(INT64_MIN, 0, INT64_MAX, 0, second), DR_META_TIMES);
	ck_assert_uint_eq(at_times(INT64_MAX, 0, INT64_MAX, 0, second), 0);
}
END_TEST

START_TEST(compare__leaves_projects_to_a_source_that_has_them)
{
	struct dr_meta none = { 0 };
	struct dr_meta zero = { .has_project = true }, five = { .has_project = true, .project = 5 };
	ck_assert_uint_eq(dr_meta_compare(&none, &five, 1), 0);
	ck_assert_uint_eq(dr_meta_compare(&zero, &none, 1), 0);
	ck_assert_uint_eq(dr_meta_compare(&zero, &five, 1), DR_META_PROJECT);
	ck_assert_uint_eq(dr_meta_compare(&five, &none, 1), DR_META_PROJECT);
}
END_TEST

static void put(struct dr_meta *meta, const char *name, const char *value)
{
	dr_buf_put(&meta->xattrs, name, strlen(name) + 1);
	dr_buf_put_u32(&meta->xattrs, (uint32_t)strlen(value));
	dr_buf_put_str(&meta->xattrs, value);
}

START_TEST(compare__overlooks_a_label_that_one_side_lacks)
{
	struct dr_meta a dr_cleanup(dr_meta_fini) = { 0 }, b dr_cleanup(dr_meta_fini) = { 0 };
	put(&a, DR_META_LABEL, "here");
	ck_assert_uint_eq(dr_meta_compare(&a, &b, 1), 0);
	ck_assert_uint_eq(dr_meta_compare(&b, &a, 1), 0);
	put(&b, DR_META_LABEL, "there");
	ck_assert_uint_eq(dr_meta_compare(&a, &b, 1), DR_META_XATTRS);
	dr_buf_clear(&b.xattrs);
	put(&a, "user.x", "");
	ck_assert_uint_eq(dr_meta_compare(&a, &b, 1), DR_META_XATTRS);
	put(&b, "user.x", "");
	ck_assert_uint_eq(dr_meta_compare(&a, &b, 1), 0);
}
END_TEST

DR_UNIT_MAIN("meta", read__gives_attributes_sorted_without_the_file_systems_own,
	read__is_the_same_by_name_and_by_descriptor, read__never_follows_a_symlink,
	read__reads_a_list_again_that_changes, read__asks_for_no_project_where_there_are_none,
	apply__makes_an_entry_of_every_type_the_same,
	apply__gives_a_new_file_all_that_the_source_has,
	apply__takes_away_what_the_directory_handed_down, apply__corrects_either_way,
	apply__changes_the_owner_and_keeps_setuid_and_capability,
	apply__takes_flags_off_and_puts_them_on_last, apply__says_which_part_failed,
	compare__takes_times_at_the_resolution, compare__leaves_projects_to_a_source_that_has_them,
	compare__overlooks_a_label_that_one_side_lacks)
