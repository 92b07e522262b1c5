/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_priv.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "clone_trees.h"

START_TEST(clone__copies_files_of_every_size)
{
	struct trees t dr_cleanup(trees_fini);
	static const size_t sizes[] = { 0, 1, 4096, 4097, TREES_BUFFER, TREES_BUFFER + 1,
		5ul * TREES_BUFFER + 17 };
	uint64_t state = 1;

	trees_init(&t);
	uint8_t *bytes = dr_xcalloc(1, 6ul * TREES_BUFFER);
	for (size_t i = 0; i < 6ul * TREES_BUFFER; i++) {
		bytes[i] = (uint8_t)dr_unit_random(&state);
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		trees_write(t.from, "f", bytes, sizes[i]);
		t.cloner.no_range_copy = i % 2;
		trees_cloned(&t, "f");
		ck_assert_uint_eq(t.outcome.bytes, sizes[i]);
		trees_holds(t.to, "f", bytes, sizes[i]);
		trees_unneeded(&t, "f");
	}
	ck_assert_int_eq(trees_count(t.to), 1);
	free(bytes);
}
END_TEST

/* In a directory that hands down nothing a new file has no name until it is whole. */
START_TEST(clone__makes_new_files_without_a_temporary_name)
{
	struct trees t dr_cleanup(trees_fini);
	static const mode_t modes[] = { 0, 0444, 0640, 0777, 04755, 02711 };
	const struct timespec epoch[2] = { { 0, 0 }, { 0, 0 } };
	char name[16];

	trees_init(&t);
	ck_assert_int_eq(dr_clone_enter(&t.cloner, t.to), 0);
	ck_assert(t.cloner.is_bare);
	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		trees_text(t.from, name, "some text");
		ck_assert_int_eq(fchownat(t.from, name, i % 2, i % 3, 0), 0);
		ck_assert_int_eq(fchmodat(t.from, name, modes[i], 0), 0);
		ck_assert_int_eq(utimensat(t.from, name, epoch, 0), 0);
		trees_cloned(&t, name);
		trees_holds(t.to, name, "some text", 9);
		trees_unneeded(&t, name);
	}
	ck_assert_int_eq(trees_count(t.to), 6);
	ck_assert(!t.cloner.no_nameless);
	/* A new version of one that is there is renamed over it, as ever. */
	trees_text(t.from, "f2", "other text");
	trees_cloned(&t, "f2");
	trees_holds(t.to, "f2", "other text", 10);
	ck_assert_int_eq(trees_count(t.to), 6);
}
END_TEST

START_TEST(clone__takes_nobodys_name_for_a_nameless_file)
{
	struct trees t dr_cleanup(trees_fini);
	struct dr_clone_temp temp;

	trees_init(&t);
	trees_text(t.to, "newer", "newer work");
	dr_clone_temp_init(&temp, &t.cloner, t.to, 7, 1);
	temp.fd = dr_clone_create_nameless(&t.cloner, &temp, 0600);
	ck_assert_int_ge(temp.fd, 0);
	ck_assert_int_eq(dr_clone_place_nameless(&t.cloner, &temp, "newer"), -ESTALE);
	trees_holds(t.to, "newer", "newer work", 10);
	ck_assert(!t.cloner.no_nameless);
	ck_assert_int_eq(dr_clone_place_nameless(&t.cloner, &temp, "free"), 0);
	ck_assert_int_eq(dr_clone_place_nameless(&t.cloner, &temp, "dir/free"), -ENOENT);
	ck_assert(t.cloner.no_nameless);
	dr_clone_temp_drop(&temp);
	ck_assert_int_eq(temp.fd, -EBADF);
	ck_assert_int_eq(trees_count(t.to), 2);
}
END_TEST

/* A file system without such files, or one that does not link them: what is made is the same. */
START_TEST(clone__does_without_nameless_files)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	ck_assert_int_eq(dr_clone_enter(&t.cloner, t.to), 0);
	t.cloner.no_nameless = true;
	trees_text(t.from, "f", "some text");
	ck_assert_int_eq(fchownat(t.from, "f", 5, 6, 0), 0);
	trees_cloned(&t, "f");
	trees_unneeded(&t, "f");
	ck_assert_int_eq(trees_count(t.to), 1);
}
END_TEST

START_TEST(clone__makes_every_other_type)
{
	struct trees t dr_cleanup(trees_fini);
	static const char *const names[] = { "link", "fifo", "block", "char", "socket" };
	char target[64] = { 0 };

	trees_init(&t);
	ck_assert_int_eq(symlinkat("nowhere/\xff\n", t.from, "link"), 0);
	ck_assert_int_eq(mknodat(t.from, "fifo", S_IFIFO | 0620, 0), 0);
	ck_assert_int_eq(mknodat(t.from, "block", S_IFBLK | 0660, makedev(250, 70000)), 0);
	ck_assert_int_eq(mknodat(t.from, "char", S_IFCHR | 0600, makedev(4000, 3)), 0);
	ck_assert_int_eq(mknodat(t.from, "socket", S_IFSOCK | 0777, 0), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ck_assert_int_eq(
			fchownat(t.from, names[i], 12, (gid_t)(34 + i), AT_SYMLINK_NOFOLLOW), 0);
		trees_cloned(&t, names[i]);
		ck_assert_uint_eq(t.outcome.bytes, 0);
		trees_unneeded(&t, names[i]);
	}
	ck_assert_int_eq(readlinkat(t.to, "link", target, sizeof(target)), 10);
	ck_assert_str_eq(target, "nowhere/\xff\n");
	ck_assert_int_eq(trees_count(t.to), 5);
}
END_TEST

START_TEST(clone__sees_other_targets_and_numbers)
{
	struct trees t dr_cleanup(trees_fini);
	char target[64] = { 0 };

	trees_init(&t);
	ck_assert_int_eq(symlinkat("a", t.from, "link"), 0);
	ck_assert_int_eq(symlinkat("b", t.to, "link"), 0);
	ck_assert_int_eq(mknodat(t.from, "null", S_IFCHR | 0600, makedev(1, 3)), 0);
	ck_assert_int_eq(mknodat(t.to, "null", S_IFCHR | 0600, makedev(1, 5)), 0);
	trees_cloned(&t, "link");
	trees_cloned(&t, "null");
	ck_assert_int_eq(readlinkat(t.to, "link", target, sizeof(target)), 1);
	ck_assert_str_eq(target, "a");
}
END_TEST

START_TEST(clone__keeps_setuid_and_sticky_bits)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	trees_text(t.from, "f", "x");
	ck_assert_int_eq(fchownat(t.from, "f", 77, 88, 0), 0);
	ck_assert_int_eq(fchmodat(t.from, "f", 07751, 0), 0);
	trees_cloned(&t, "f");
	ck_assert_uint_eq(trees_stat(t.to, "f").st_mode, S_IFREG | 07751);
	/* And after a change of owner, which takes them away. */
	ck_assert_int_eq(fchownat(t.from, "f", 78, 88, 0), 0);
	ck_assert_int_eq(fchmodat(t.from, "f", 06755, 0), 0);
	trees_cloned(&t, "f");
	ck_assert_uint_eq(t.outcome.bytes, 0);
}
END_TEST

START_TEST(clone__carries_nanoseconds_and_atime)
{
	struct trees t dr_cleanup(trees_fini);
	const struct timespec times[2] = { { 1000000001, 123456789 }, { -7, 987654321 } };

	trees_init(&t);
	trees_text(t.from, "f", "x");
	ck_assert_int_eq(symlinkat("x", t.from, "link"), 0);
	ck_assert_int_eq(utimensat(t.from, "f", times, 0), 0);
	ck_assert_int_eq(utimensat(t.from, "link", times, AT_SYMLINK_NOFOLLOW), 0);
	trees_cloned(&t, "f");
	trees_cloned(&t, "link");
	ck_assert_int_eq(trees_stat(t.to, "f").st_atim.tv_sec, 1000000001);
	ck_assert_int_eq(trees_stat(t.to, "f").st_atim.tv_nsec, 123456789);
	ck_assert_int_eq(trees_stat(t.to, "link").st_mtim.tv_nsec, 987654321);
}
END_TEST

START_TEST(clone__carries_attributes_and_acls)
{
	struct trees t dr_cleanup(trees_fini);
	/* user::rw- user:5:r-- group::r-- mask::r-- other::--- */
	static const uint8_t acl[] = { 2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 5, 0,
		0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0,
		255, 255, 255, 255 };
	char value[64];

	trees_init(&t);
	trees_text(t.from, "f", "x");
	int fd = openat(t.from, "f", O_RDONLY);
	ck_assert_int_eq(fsetxattr(fd, "user.a", "1", 1, 0), 0);
	ck_assert_int_eq(fsetxattr(fd, "trusted.b", "22", 2, 0), 0);
	ck_assert_int_eq(fsetxattr(fd, "system.posix_acl_access", acl, sizeof(acl), 0), 0);
	trees_cloned(&t, "f");
	int to = openat(t.to, "f", O_RDONLY);
	ck_assert_int_eq(fgetxattr(to, "user.a", value, sizeof(value)), 1);
	ck_assert_int_eq(fgetxattr(to, "trusted.b", value, sizeof(value)), 2);
	ck_assert_int_eq(
		fgetxattr(to, "system.posix_acl_access", value, sizeof(value)), sizeof(acl));
	ck_assert_int_eq(memcmp(value, acl, sizeof(acl)), 0);
	(void)close(to);
	ck_assert_int_eq(fremovexattr(fd, "user.a"), 0);
	ck_assert_int_eq(fremovexattr(fd, "system.posix_acl_access"), 0);
	(void)close(fd);
	trees_cloned(&t, "f");
	ck_assert_uint_eq(t.outcome.bytes, 0);
	to = openat(t.to, "f", O_RDONLY);
	ck_assert_int_eq(fgetxattr(to, "user.a", value, sizeof(value)), -1);
	ck_assert_int_eq(fgetxattr(to, "system.posix_acl_access", value, sizeof(value)), -1);
	(void)close(to);
	/* What a default ACL of the target's directory gives to new files is not the source's. */
	ck_assert_int_eq(fsetxattr(t.to, "system.posix_acl_default", acl, sizeof(acl), 0), 0);
	ck_assert_int_eq(dr_clone_begin(&t.cloner), 0);
	ck_assert_int_eq(dr_clone_enter(&t.cloner, t.to), 0);
	ck_assert(!t.cloner.is_bare);
	trees_text(t.from, "g", "x");
	trees_cloned(&t, "g");
	to = openat(t.to, "g", O_RDONLY);
	ck_assert_int_eq(fgetxattr(to, "system.posix_acl_access", value, sizeof(value)), -1);
	(void)close(to);
	ck_assert_int_eq(fremovexattr(t.to, "system.posix_acl_default"), 0);
	ck_assert_int_eq(dr_clone_enter(&t.cloner, t.to), 0);
	ck_assert(t.cloner.is_bare);
	trees_text(t.from, "h", "x");
	trees_cloned(&t, "h");
}
END_TEST

static void sparse_file(int dir, const char *name, off_t size, off_t data_at)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	if (data_at >= 0) {
		ck_assert_int_eq(dr_pwrite_full(fd, "data", 4, data_at), 0);
	}
	ck_assert_int_eq(fsync(fd), 0);
	(void)close(fd);
}

START_TEST(clone__keeps_sparse_files_sparse)
{
	struct trees t dr_cleanup(trees_fini);
	static const struct {
		const char *name;
		off_t size, data_at;
	} files[] = { { "none", 1 << 20, -1 }, { "begin", 1 << 20, 0 },
		{ "middle", 8 << 20, 4 << 20 }, { "end", (8 << 20) + 5, (8 << 20) } };

	trees_init(&t);
	for (size_t i = 0; i < 4; i++) {
		struct dr_buf a dr_cleanup(dr_buf_fini) = { 0 };
		const char *name = files[i].name;

		sparse_file(t.from, name, files[i].size, files[i].data_at);
		trees_cloned(&t, name);
		int fd = openat(t.to, name, O_RDONLY);
		ck_assert_int_eq(fsync(fd), 0);
		(void)close(fd);
		ck_assert_int_eq(
			trees_stat(t.to, name).st_blocks, trees_stat(t.from, name).st_blocks);
		ck_assert_int_eq(dr_read_file(t.from, name, 1u << 30, &a), 0);
		trees_holds(t.to, name, a.data, a.len);
	}
}
END_TEST

START_TEST(clone__leaves_what_is_the_same_untouched)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	trees_text(t.from, "f", "content");
	trees_cloned(&t, "f");
	struct stat before = trees_stat(t.to, "f");
	for (int checksum = 0; checksum < 2; checksum++) {
		t.cloner.checksum = checksum;
		trees_unneeded(&t, "f");
		struct stat after = trees_stat(t.to, "f");
		ck_assert_uint_eq(before.st_ino, after.st_ino);
		ck_assert_int_eq(before.st_ctim.tv_sec, after.st_ctim.tv_sec);
		ck_assert_int_eq(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
	}
	/* Unless a worker died over it. */
	dr_clone_entry(&t.cloner, t.from, t.to, "f", before.st_ino, 2, true, &t.outcome);
	trees_is(&t, DR_GONE, DR_STEP_OPEN, -ENOENT);
	dr_clone_entry(
		&t.cloner, t.from, t.to, "f", trees_stat(t.from, "f").st_ino, 2, true, &t.outcome);
	trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	ck_assert_uint_eq(t.outcome.bytes, 7);
	ck_assert_uint_ne(trees_stat(t.to, "f").st_ino, before.st_ino);
}
END_TEST

START_TEST(clone__compares_times_at_the_coarser_resolution)
{
	struct trees t dr_cleanup(trees_fini);
	struct timespec times[2] = { { 1000, 0 }, { 1000, 999999999 } };

	trees_init(&t);
	trees_text(t.from, "f", "x");
	trees_cloned(&t, "f");
	ck_assert_int_eq(utimensat(t.from, "f", times, 0), 0);
	times[1].tv_nsec = 0;
	ck_assert_int_eq(utimensat(t.to, "f", times, 0), 0);
	t.to_tree.time_ns = 1000000000;
	trees_unneeded(&t, "f");
	t.to_tree.time_ns = 1;
	trees_cloned(&t, "f");
	ck_assert_uint_eq(t.outcome.bytes, 1);
}
END_TEST

START_TEST(clone__corrects_attributes_without_the_data)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	trees_text(t.from, "f", "content");
	trees_cloned(&t, "f");
	struct stat before = trees_stat(t.to, "f");
	ck_assert_int_eq(fchownat(t.from, "f", 5, 6, 0), 0);
	ck_assert_int_eq(fchmodat(t.from, "f", 0400, 0), 0);
	trees_cloned(&t, "f");
	ck_assert_uint_eq(t.outcome.bytes, 0);
	ck_assert_uint_eq(before.st_ino, trees_stat(t.to, "f").st_ino);
	trees_unneeded(&t, "f");
	/* By content, another time is an attribute. */
	const struct timespec times[2] = { { 5, 0 }, { 6, 7 } };
	ck_assert_int_eq(utimensat(t.from, "f", times, 0), 0);
	t.cloner.checksum = true;
	trees_cloned(&t, "f");
	ck_assert_uint_eq(before.st_ino, trees_stat(t.to, "f").st_ino);
}
END_TEST

START_TEST(clone__finds_other_content_by_checksum_only)
{
	struct trees t dr_cleanup(trees_fini);
	struct timespec times[2];

	trees_init(&t);
	trees_text(t.from, "f", "content");
	trees_cloned(&t, "f");
	times[0] = times[1] = trees_stat(t.from, "f").st_mtim;
	trees_text(t.to, "f", "CONTENT");
	ck_assert_int_eq(utimensat(t.to, "f", times, 0), 0);
	trees_unneeded(&t, "f");
	t.cloner.checksum = true;
	trees_cloned(&t, "f");
	trees_holds(t.to, "f", "content", 7);
}
END_TEST

START_TEST(clone__replaces_other_types)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	trees_text(t.from, "f", "x");
	ck_assert_int_eq(symlinkat("/etc/passwd", t.to, "f"), 0);
	trees_cloned(&t, "f");
	ck_assert_int_eq(unlinkat(t.from, "f", 0), 0);
	ck_assert_int_eq(mknodat(t.from, "f", S_IFIFO | 0600, 0), 0);
	trees_cloned(&t, "f");
	ck_assert_int_eq(unlinkat(t.from, "f", 0), 0);
	ck_assert_int_eq(symlinkat("x", t.from, "f"), 0);
	trees_cloned(&t, "f");
	ck_assert_int_eq(unlinkat(t.to, "f", 0), 0);
	(void)close(trees_dir(t.to, "f"));
	trees_cloned(&t, "f");
	trees_text(t.from, "g", "g");
	int dir = trees_dir(t.to, "g");
	trees_text(dir, "kept", "k");
	trees_clone(&t, "g");
	trees_is(&t, DR_REFUSED, DR_STEP_SWAP, -EISDIR);
	ck_assert(trees_has(dir, "kept"));
	ck_assert_int_eq(trees_count(t.to), 2);
	(void)close(dir);
}
END_TEST

START_TEST(clone__takes_any_name)
{
	struct trees t dr_cleanup(trees_fini);
	char name[256];

	trees_init(&t);
	memset(name, 0xff, 255);
	name[255] = 0;
	name[7] = '\n';
	name[8] = '\\';
	trees_text(t.from, name, "x");
	trees_text(t.from, "-rf *", "y");
	trees_cloned(&t, name);
	trees_cloned(&t, "-rf *");
	ck_assert_int_eq(trees_count(t.to), 2);
}
END_TEST

START_TEST(clone__separates_a_file_of_one_name)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	trees_text(t.from, "a", "x");
	trees_cloned(&t, "a");
	ck_assert_int_eq(linkat(t.to, "a", t.to, "other", 0), 0);
	trees_cloned(&t, "a");
	ck_assert_uint_eq(trees_stat(t.to, "a").st_nlink, 1);
	ck_assert_uint_eq(trees_stat(t.to, "other").st_nlink, 1);
}
END_TEST

static bool set_flags(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, O_RDONLY);
	int r = ioctl(fd, FS_IOC_SETFLAGS, &flags);

	(void)close(fd);
	return r == 0;
}

static int get_flags(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY), flags = 0;

	ck_assert_int_eq(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
	(void)close(fd);
	return flags & (FS_IMMUTABLE_FL | FS_APPEND_FL);
}

START_TEST(clone__carries_immutable_flags_and_replaces_immutable_files)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	trees_text(t.from, "f", "x");
	if (!set_flags(t.from, "f", FS_IMMUTABLE_FL)) {
		return; /* not on this file system, or not in this container */
	}
	trees_cloned(&t, "f");
	ck_assert_int_eq(get_flags(t.to, "f"), FS_IMMUTABLE_FL);
	trees_unneeded(&t, "f");
	ck_assert(set_flags(t.from, "f", 0));
	ck_assert_int_eq(fchmodat(t.from, "f", 0600, 0), 0);
	trees_cloned(&t, "f");
	ck_assert_int_eq(get_flags(t.to, "f"), 0);
	ck_assert(set_flags(t.to, "f", FS_APPEND_FL | FS_IMMUTABLE_FL));
	trees_text(t.from, "f", "other");
	trees_cloned(&t, "f");
	trees_holds(t.to, "f", "other", 5);
	ck_assert_int_eq(trees_count(t.to), 1);
}
END_TEST

START_TEST(clone__says_gone)
{
	struct trees t dr_cleanup(trees_fini);
	struct dr_meta meta dr_cleanup(dr_meta_fini) = { 0 };
	enum dr_clone_verdict verdict;

	trees_init(&t);
	trees_clone(&t, "none");
	trees_is(&t, DR_GONE, DR_STEP_OPEN, -ENOENT);
	trees_text(t.to, "none", "kept");
	trees_clone(&t, "none");
	trees_is(&t, DR_GONE, DR_STEP_OPEN, -ENOENT);
	trees_holds(t.to, "none", "kept", 4);
	trees_text(t.from, "f", "x");
	dr_clone_entry(&t.cloner, t.from, t.to, "f", 1, 1, false, &t.outcome);
	trees_is(&t, DR_GONE, DR_STEP_OPEN, -ENOENT);
	(void)close(trees_dir(t.from, "d"));
	trees_clone(&t, "d");
	trees_is(&t, DR_GONE, DR_STEP_OPEN, -ENOENT);
	ck_assert_int_eq(
		dr_clone_compare(&t.cloner, t.from, t.to, "none", &meta, &verdict), -ENOENT);
	ck_assert_int_eq(dr_clone_compare(&t.cloner, t.from, t.to, "f", &meta, &verdict), 0);
	ck_assert_int_eq(verdict, DR_CLONE_DATA);
	ck_assert_uint_eq(meta.size, 1);
}
END_TEST

START_TEST(clone__touches_nothing_in_a_dry_run)
{
	struct trees t dr_cleanup(trees_fini);

	trees_init(&t);
	t.cloner.dry_run = true;
	trees_text(t.from, "f", "content");
	ck_assert_int_eq(symlinkat("x", t.from, "link"), 0);
	trees_clone(&t, "f");
	trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	ck_assert_uint_eq(t.outcome.bytes, 7);
	trees_clone(&t, "link");
	trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	ck_assert_int_eq(trees_count(t.to), 0);
	t.cloner.dry_run = false;
	trees_cloned(&t, "f");
	t.cloner.dry_run = true;
	trees_unneeded(&t, "f");
	ck_assert_int_eq(fchmodat(t.from, "f", 0, 0), 0);
	trees_clone(&t, "f");
	trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	ck_assert_uint_eq(trees_stat(t.to, "f").st_mode, S_IFREG | 0644);
	/* Nor is a directory needed that would have been made. */
	dr_clone_entry(&t.cloner, t.from, -1, "f", 0, 1, false, &t.outcome);
	trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	trees_text(t.to, ".drover-" TREES_WORD "-7.1", "x");
	dr_clone_entry(&t.cloner, t.from, t.to, "f", 7, 2, false, &t.outcome);
	ck_assert(trees_has(t.to, ".drover-" TREES_WORD "-7.1"));
}
END_TEST

DR_UNIT_MAIN("clone_entry", clone__copies_files_of_every_size,
	clone__makes_new_files_without_a_temporary_name,
	clone__takes_nobodys_name_for_a_nameless_file, clone__does_without_nameless_files,
	clone__makes_every_other_type, clone__sees_other_targets_and_numbers,
	clone__keeps_setuid_and_sticky_bits, clone__carries_nanoseconds_and_atime,
	clone__carries_attributes_and_acls, clone__keeps_sparse_files_sparse,
	clone__leaves_what_is_the_same_untouched, clone__compares_times_at_the_coarser_resolution,
	clone__corrects_attributes_without_the_data, clone__finds_other_content_by_checksum_only,
	clone__replaces_other_types, clone__takes_any_name, clone__separates_a_file_of_one_name,
	clone__carries_immutable_flags_and_replaces_immutable_files, clone__says_gone,
	clone__touches_nothing_in_a_dry_run)
