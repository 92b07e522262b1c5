/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/tree.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "unit.h"

/* Whether openat2() fails as on a kernel that has none, or in a sandbox. */
static int no_openat2;
/* How many getdents64() succeed before one says EIO; -1: all. */
static int good_getdents = -1;

/* In place of the C library's. */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long arg[6];
	va_list args;
	va_start(args, number);
	for (int i = 0; i < 6; i++) {
		arg[i] = va_arg(args, long);
	}
	va_end(args);
	if (!real) {
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	}
	if (number == SYS_openat2 && no_openat2) {
		errno = no_openat2;
		return -1;
	}
	if (number == SYS_getdents64 && good_getdents == 0) {
		errno = EIO;
		return -1;
	}
	if (number == SYS_getdents64 && good_getdents > 0) {
		good_getdents--;
	}
	return real(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static char folder[PATH_MAX];

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(folder, sizeof(folder), "%s/drover-tree.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
}

static void teardown(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, folder), 0);
}

static struct dr_tree *open_tree(const char *path)
{
	struct dr_tree *tree = NULL;
	char *message = NULL;
	int r = dr_tree_open(path, &tree, &message);
	ck_assert_msg(r == 0, "%s", message);
	return tree;
}

static int dir(const struct dr_tree *tree, const char *path)
{
	return dr_tree_dir(tree, path, strlen(path));
}

static ino_t ino_of(int fd)
{
	struct stat st;
	ck_assert_int_eq(fstat(fd, &st), 0);
	return st.st_ino;
}

static void refuses(const char *path, int error, const char *message)
{
	struct dr_tree *tree = NULL;
	char *said dr_cleanup(dr_freep) = NULL;
	ck_assert_int_eq(dr_tree_open(path, &tree, &said), error);
	ck_assert_ptr_null(tree);
	ck_assert_ptr_nonnull(said);
	ck_assert_msg(strstr(said, message), "%s", said);
}

START_TEST(tree__opens_a_directory_through_symlinks_once)
{
	setup();
	ck_assert_int_eq(mkdir("real", 0755), 0);
	ck_assert_int_eq(symlink("real", "link"), 0);
	struct dr_tree *tree dr_cleanup(dr_tree_freep) = open_tree("link");
	char *path dr_cleanup(dr_freep) = realpath("real", NULL);
	ck_assert_str_eq(tree->path, path);
	ck_assert_int_eq(tree->kind, DR_FS_POSIX);
	ck_assert_uint_eq(tree->ino, ino_of(tree->fd));
	ck_assert_uint_ge(tree->time_ns, 1);
	teardown();
}
END_TEST

START_TEST(tree__says_what_is_wrong_with_a_path)
{
	setup();
	ck_assert_int_eq(mknod("file", S_IFREG | 0644, 0), 0);
	ck_assert_int_eq(dr_mkdirs("lab/ns/dir", 0755), 0);
	ck_assert_int_eq(mknod("lab/lab.json", S_IFREG | 0644, 0), 0);
	ck_assert_int_eq(mknod("lab/lab.state", S_IFREG | 0644, 0), 0);
	refuses("nothing", -ENOENT, "nothing");
	refuses("file", -ENOTDIR, "file");
	refuses("lab", -EOPNOTSUPP, "lab");
	refuses("lab/ns/dir", -EOPNOTSUPP, "lab");
	teardown();
}
END_TEST

START_TEST(tree__identity_is_of_the_directory_not_of_its_name)
{
	char a[DR_TREE_IDENTITY_SIZE], b[DR_TREE_IDENTITY_SIZE];
	setup();
	ck_assert_int_eq(mkdir("one", 0755), 0);
	ck_assert_int_eq(mkdir("two", 0755), 0);
	struct dr_tree *one dr_cleanup(dr_tree_freep) = open_tree("one");
	struct dr_tree *two dr_cleanup(dr_tree_freep) = open_tree("two");
	ck_assert_int_eq(dr_tree_identity(one, a), 0);
	ck_assert_int_eq(dr_tree_identity(two, b), 0);
	ck_assert_str_ne(a, b);
	ck_assert_int_eq(rename("one", "three"), 0);
	struct dr_tree *three dr_cleanup(dr_tree_freep) = open_tree("three");
	ck_assert_int_eq(dr_tree_identity(three, b), 0);
	ck_assert_str_eq(a, b);
	teardown();
}
END_TEST

START_TEST(tree__notices_that_its_path_leads_elsewhere)
{
	setup();
	ck_assert_int_eq(mkdir("one", 0755), 0);
	struct dr_tree *tree dr_cleanup(dr_tree_freep) = open_tree("one");
	ck_assert_int_eq(dr_tree_is_there(tree), 1);
	ck_assert_int_eq(rename("one", "old"), 0);
	ck_assert_int_eq(dr_tree_is_there(tree), 0);
	ck_assert_int_eq(mkdir("one", 0755), 0);
	ck_assert_int_eq(dr_tree_is_there(tree), 0);
	ck_assert_int_eq(rmdir("one"), 0);
	ck_assert_int_eq(rename("old", "one"), 0);
	ck_assert_int_eq(dr_tree_is_there(tree), 1);
	teardown();
}
END_TEST

static void check_dirs(void)
{
	setup();
	ck_assert_int_eq(dr_mkdirs("tree/a/b", 0755), 0);
	ck_assert_int_eq(mknod("tree/file", S_IFREG | 0644, 0), 0);
	ck_assert_int_eq(symlink("a", "tree/link"), 0);
	ck_assert_int_eq(symlink("..", "tree/up"), 0);
	struct dr_tree *tree dr_cleanup(dr_tree_freep) = open_tree("tree");
	static const struct {
		const char *path;
		int error;
	} wrong[] = {
		{ "none", -ENOENT },
		{ "a/none", -ENOENT },
		{ "file", -ENOTDIR },
		{ "file/x", -ENOTDIR },
		{ "link", -ELOOP },
		{ "link/b", -ELOOP },
		{ "up", -ELOOP },
		{ "up/tree", -ELOOP },
		{ "..", -EINVAL },
		{ "a/..", -EINVAL },
		{ "a/../a", -EINVAL },
		{ "/", -EINVAL },
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int r = dir(tree, wrong[i].path);
		ck_assert_msg(r == wrong[i].error, "%s: %d", wrong[i].path, r);
	}
	ck_assert_int_eq(dr_tree_dir(tree, "a\0b", 3), -EINVAL);

	int fd = dir(tree, "");
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(ino_of(fd), tree->ino);
	(void)close(fd);
	fd = dir(tree, "a/b");
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(mkdirat(fd, "c", 0755), 0);
	ck_assert_int_eq(access("tree/a/b/c", F_OK), 0);
	(void)close(fd);

	/* What is mounted below is not the tree's. */
	struct dr_tree *root dr_cleanup(dr_tree_freep) = open_tree("/");
	ck_assert_int_eq(dir(root, "proc"), -EXDEV);
	ck_assert_int_eq(dir(root, "proc/self/fd"), -EXDEV);
	teardown();
}

START_TEST(tree__opens_directories_beneath_it_only)
{
	check_dirs();
}
END_TEST

START_TEST(tree__opens_directories_beneath_it_only_without_openat2)
{
	no_openat2 = ENOSYS;
	check_dirs();
	no_openat2 = EPERM;
	check_dirs();
}
END_TEST

static void check_deep(void)
{
	char name[201];
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	setup();
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	struct dr_tree *tree dr_cleanup(dr_tree_freep) = open_tree(".");
	for (int depth = 0; depth < 50; depth++) {
		int parent = dr_tree_dir(tree, path.data, path.len);
		ck_assert_int_ge(parent, 0);
		ck_assert_int_eq(mkdirat(parent, name, 0755), 0);
		(void)close(parent);
		dr_buf_printf(&path, "%s%s", depth ? "/" : "", name);
	}
	ck_assert_uint_gt(path.len, 2 * PATH_MAX);
	int last = dr_tree_dir(tree, path.data, path.len);
	ck_assert_int_ge(last, 0);
	ck_assert_int_eq(symlinkat(".", last, "link"), 0);
	(void)close(last);
	dr_buf_put_str(&path, "/link/x");
	ck_assert_int_eq(dr_tree_dir(tree, path.data, path.len), -ELOOP);
	dr_buf_clear(&path);
	for (int i = 0; i < PATH_MAX + 10; i++) {
		dr_buf_put_u8(&path, 'x');
	}
	ck_assert_int_eq(dr_tree_dir(tree, path.data, path.len), -ENAMETOOLONG);
	teardown();
}

START_TEST(tree__has_no_longest_path)
{
	check_deep();
	no_openat2 = ENOSYS;
	check_deep();
}
END_TEST

struct seen {
	size_t n, files, dirs, links, others, stop_at;
	uint64_t odd_ino;
};

static int count(void *arg, const char *name, size_t len, enum dr_type type, uint64_t ino)
{
	struct seen *seen = arg;
	ck_assert_uint_eq(strlen(name), len);
	ck_assert_uint_ne(ino, 0);
	seen->n++;
	seen->files += type == DR_TYPE_FILE;
	seen->dirs += type == DR_TYPE_DIR;
	seen->links += type == DR_TYPE_LINK;
	seen->others += type == DR_TYPE_OTHER;
	if (strcmp(name, "\xff\n odd") == 0) {
		seen->odd_ino = ino;
	}
	return seen->n == seen->stop_at ? 7 : 0;
}

START_TEST(read__gives_every_entry_from_the_beginning)
{
	struct stat st;
	setup();
	ck_assert_int_eq(mkdir("dir", 0755), 0);
	ck_assert_int_eq(symlink("none", "link"), 0);
	ck_assert_int_eq(mkfifo("fifo", 0644), 0);
	ck_assert_int_eq(mknod("\xff\n odd", S_IFREG | 0644, 0), 0);
	for (int i = 0; i < 3000; i++) {
		char name[64];
		(void)snprintf(name, sizeof(name), ".%040d", i);
		ck_assert_int_eq(mknod(name, S_IFREG | 0644, 0), 0);
	}
	struct dr_tree *tree dr_cleanup(dr_tree_freep) = open_tree(".");
	int fd = dir(tree, "");
	for (int again = 0; again < 2; again++) {
		struct seen seen = { 0 };
		ck_assert_int_eq(dr_tree_read(fd, count, &seen), 0);
		ck_assert_uint_eq(seen.n, 3004);
		ck_assert_uint_eq(seen.files, 3001);
		ck_assert_uint_eq(seen.dirs, 1);
		ck_assert_uint_eq(seen.links, 1);
		ck_assert_uint_eq(seen.others, 1);
		ck_assert_int_eq(lstat("\xff\n odd", &st), 0);
		ck_assert_uint_eq(seen.odd_ino, st.st_ino);
	}
	struct seen stopped = { .stop_at = 5 };
	ck_assert_int_eq(dr_tree_read(fd, count, &stopped), 7);
	ck_assert_uint_eq(stopped.n, 5);
	(void)close(fd);
	teardown();
}
END_TEST

START_TEST(read__never_takes_an_error_for_the_end)
{
	struct seen seen = { 0 };
	setup();
	ck_assert_int_eq(mkdir("dir", 0755), 0);
	ck_assert_int_eq(mkdir("dir/entry", 0755), 0);
	struct dr_tree *tree dr_cleanup(dr_tree_freep) = open_tree(".");
	int fd = dir(tree, "dir");
	good_getdents = 1;
	ck_assert_int_eq(dr_tree_read(fd, count, &seen), -EIO);
	ck_assert_uint_eq(seen.n, 1);
	good_getdents = -1;
	/* A directory that was removed has no entries that one could know. */
	ck_assert_int_eq(rmdir("dir/entry"), 0);
	ck_assert_int_eq(rmdir("dir"), 0);
	ck_assert_int_eq(dr_tree_read(fd, count, &seen), -ENOENT);
	(void)close(fd);
	teardown();
}
END_TEST

START_TEST(read__leaves_the_access_time)
{
	const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 2000 } };
	struct seen seen = { 0 };
	struct stat st;
	setup();
	ck_assert_int_eq(mkdir("dir", 0755), 0);
	ck_assert_int_eq(utimensat(AT_FDCWD, "dir", old, 0), 0);
	struct dr_tree *tree dr_cleanup(dr_tree_freep) = open_tree(".");
	int fd = dir(tree, "dir");
	ck_assert_int_eq(dr_tree_read(fd, count, &seen), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_atim.tv_sec, 1000);
	(void)close(fd);
	teardown();
}
END_TEST

DR_UNIT_MAIN("tree", tree__opens_a_directory_through_symlinks_once,
	tree__says_what_is_wrong_with_a_path, tree__identity_is_of_the_directory_not_of_its_name,
	tree__notices_that_its_path_leads_elsewhere, tree__opens_directories_beneath_it_only,
	tree__opens_directories_beneath_it_only_without_openat2, tree__has_no_longest_path,
	read__gives_every_entry_from_the_beginning, read__never_takes_an_error_for_the_end,
	read__leaves_the_access_time)
