/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "unit.h"

/* A folder of the test's own, open, which is removed at the end. */
struct folder {
	char path[48];
	int fd;
};

static struct folder folder_new(void)
{
	struct folder folder = { .path = "/tmp/drover-test-fdio-XXXXXX" };
	ck_assert_ptr_nonnull(mkdtemp(folder.path));
	folder.fd = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(folder.fd, 0);
	return folder;
}

static void folder_fini(struct folder *folder)
{
	dr_fd_closep(&folder->fd);
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, folder->path), 0);
	ck_assert_int_eq(access(folder->path, F_OK), -1);
}

static void make_file(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(close(fd), 0);
}

static size_t count_entries(int dirfd)
{
	DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	ck_assert_ptr_nonnull(dir);
	size_t n = 0;
	/* The stream is this function's own: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (readdir(dir)) {
		n++;
	}
	(void)closedir(dir);
	return n - 2;
}

static void check_content(int dirfd, const char *path, const char *expected)
{
	struct dr_buf buf = { 0 };
	ck_assert_int_eq(dr_read_file(dirfd, path, 1 << 20, &buf), 0);
	dr_unit_text(&buf, expected);
	dr_buf_fini(&buf);
}

START_TEST(write__writes_all_and_pread_reads_to_the_end)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	int fd dr_cleanup(dr_fd_closep) =
		openat(folder.fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(dr_write_full(fd, "hello world", 11), 0);
	ck_assert_int_eq(dr_pwrite_full(fd, "WORLD!", 6, 6), 0);
	ck_assert_int_eq(dr_write_full(fd, NULL, 0), 0);
	char text[32] = { 0 };
	ck_assert_int_eq(dr_pread_full(fd, text, sizeof(text), 0), 12);
	ck_assert_str_eq(text, "hello WORLD!");
	ck_assert_int_eq(dr_pread_full(fd, text, 5, 3), 5);
	ck_assert_int_eq(dr_pread_full(fd, text, 5, 12), 0);
	ck_assert_int_eq(dr_write_full(-1, "x", 1), -EBADF);
	ck_assert_int_eq(dr_pread_full(-1, text, 1, 0), -EBADF);
}
END_TEST

START_TEST(write__goes_on_after_a_short_write)
{
	int pipes[2];
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	const size_t len = 1 << 20; /* more than a pipe holds */
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		(void)close(pipes[0]);
		uint8_t *bytes = dr_xcalloc(1, len);
		int r = dr_write_full(pipes[1], bytes, len);
		free(bytes);
		_exit(r == 0 ? 0 : 1);
	}
	(void)close(pipes[1]);
	size_t got = 0;
	char some[5000];
	ssize_t n;
	while ((n = read(pipes[0], some, sizeof(some))) > 0) {
		got += (size_t)n;
	}
	(void)close(pipes[0]);
	ck_assert_uint_eq(got, len);
}
END_TEST

START_TEST(read_file__appends_up_to_the_bound)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	ck_assert_int_eq(dr_replace_file(folder.fd, "f", 0600, "12345", 5), 0);
	struct dr_buf buf = { 0 };
	dr_buf_put_str(&buf, "a");
	ck_assert_int_eq(dr_read_file(folder.fd, "f", 5, &buf), 0);
	dr_unit_text(&buf, "a12345");
	ck_assert_int_eq(dr_read_file(folder.fd, "f", 4, &buf), -EFBIG);
	dr_unit_text(&buf, "a12345");
	ck_assert_int_eq(dr_read_file(folder.fd, "g", 4, &buf), -ENOENT);
	ck_assert_int_eq(dr_read_file(folder.fd, ".", 4, &buf), -EISDIR);
	dr_unit_text(&buf, "a12345");
	dr_buf_fini(&buf);
}
END_TEST

START_TEST(replace__leaves_the_new_file_alone_with_its_mode)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	(void)umask(077);
	ck_assert_int_eq(dr_replace_file(folder.fd, "f", 0644, "old", 3), 0);
	ck_assert_int_eq(dr_replace_file(folder.fd, "f", 0640, "newer", 5), 0);
	check_content(folder.fd, "f", "newer");
	struct stat st;
	ck_assert_int_eq(fstatat(folder.fd, "f", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(mkdirat(folder.fd, "d", 0700), 0);
	ck_assert_int_eq(dr_replace_file_fast(folder.fd, "d/g", 0600, "", 0), 0);
	check_content(folder.fd, "d/g", "");
	char path[64];
	(void)snprintf(path, sizeof(path), "%s/d/h", folder.path);
	ck_assert_int_eq(dr_replace_file(AT_FDCWD, path, 0600, "h", 1), 0);
	check_content(folder.fd, "d/h", "h");
	ck_assert_uint_eq(count_entries(folder.fd), 2);
}
END_TEST

START_TEST(replace__leaves_nothing_behind_after_an_error)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	ck_assert_int_eq(mkdirat(folder.fd, "d", 0700), 0);
	make_file(folder.fd, "d/x");
	/* The rename fails. */
	ck_assert_int_eq(dr_replace_file(folder.fd, "d", 0600, "x", 1), -EISDIR);
	/* The write fails. */
	ck_assert_int_eq(dr_replace_file(folder.fd, "f", 0600, "old", 3), 0);
	struct rlimit limit = { .rlim_cur = 100, .rlim_max = RLIM_INFINITY };
	(void)signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	char big[200] = { 0 };
	ck_assert_int_eq(dr_replace_file(folder.fd, "f", 0600, big, sizeof(big)), -EFBIG);
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	check_content(folder.fd, "f", "old");
	ck_assert_uint_eq(count_entries(folder.fd), 2);
}
END_TEST

START_TEST(replace__refuses_what_names_no_file)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	ck_assert_int_eq(dr_replace_file(folder.fd, "", 0600, "x", 1), -EINVAL);
	ck_assert_int_eq(dr_replace_file(folder.fd, "d/", 0600, "x", 1), -EINVAL);
	ck_assert_int_eq(dr_replace_file(folder.fd, "..", 0600, "x", 1), -EINVAL);
	ck_assert_int_eq(dr_replace_file(folder.fd, "none/f", 0600, "x", 1), -ENOENT);
	ck_assert_uint_eq(count_entries(folder.fd), 0);
}
END_TEST

START_TEST(mkdirs__makes_what_is_missing)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/a//b/c/", folder.path);
	ck_assert_int_eq(dr_mkdirs(path, 0755), 0);
	ck_assert_int_eq(dr_mkdirs(path, 0755), 0);
	ck_assert_int_eq(faccessat(folder.fd, "a/b/c", F_OK, 0), 0);
	ck_assert_int_eq(dr_mkdirs("/", 0755), 0);
	ck_assert_int_eq(dr_mkdirs("", 0755), -ENOENT);
	make_file(folder.fd, "f");
	(void)snprintf(path, sizeof(path), "%s/f", folder.path);
	ck_assert_int_eq(dr_mkdirs(path, 0755), -ENOTDIR);
	(void)snprintf(path, sizeof(path), "%s/f/g", folder.path);
	ck_assert_int_eq(dr_mkdirs(path, 0755), -ENOTDIR);
}
END_TEST

START_TEST(remove_tree__removes_everything_and_follows_nothing)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	ck_assert_int_eq(mkdirat(folder.fd, "t", 0700), 0);
	ck_assert_int_eq(mkdirat(folder.fd, "kept", 0700), 0);
	make_file(folder.fd, "kept/file");
	for (int i = 0; i < 300; i++) {
		char name[64];
		(void)snprintf(name, sizeof(name), "t/dir-%d", i);
		ck_assert_int_eq(mkdirat(folder.fd, name, 0700), 0);
		(void)snprintf(name, sizeof(name), "t/dir-%d/\xff\n", i);
		make_file(folder.fd, name);
		(void)snprintf(name, sizeof(name), "t/file-%d", i);
		make_file(folder.fd, name);
	}
	ck_assert_int_eq(mkdirat(folder.fd, "t/empty", 0700), 0);
	ck_assert_int_eq(symlinkat("../kept", folder.fd, "t/link"), 0);
	ck_assert_int_eq(symlinkat("kept", folder.fd, "link"), 0);
	ck_assert_int_eq(dr_remove_tree(folder.fd, "t"), 0);
	ck_assert_int_eq(faccessat(folder.fd, "t", F_OK, 0), -1);
	ck_assert_int_eq(dr_remove_tree(folder.fd, "link"), 0);
	ck_assert_int_eq(faccessat(folder.fd, "kept/file", F_OK, 0), 0);
	ck_assert_int_eq(dr_remove_tree(folder.fd, "kept/file"), 0);
	ck_assert_int_eq(dr_remove_tree(folder.fd, "missing"), 0);
	ck_assert_uint_eq(count_entries(folder.fd), 1);
}
END_TEST

/* depth directories, each named by 200 bytes, one below the other; the path, without a slash at the ends. */
static char *make_deep(int dirfd, size_t depth)
{
	struct dr_buf path = { 0 };
	char name[201];
	memset(name, 'd', 200);
	name[200] = 0;
	int at = dup(dirfd);
	for (size_t i = 0; i < depth; i++) {
		ck_assert_int_eq(mkdirat(at, name, 0700), 0);
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ck_assert_int_ge(next, 0);
		(void)close(at);
		at = next;
		dr_buf_printf(&path, "%s%s", i ? "/" : "", name);
	}
	make_file(at, "bottom");
	(void)close(at);
	return dr_buf_cstr(&path);
}

START_TEST(remove_tree__needs_few_descriptors_however_deep)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	char *path dr_cleanup(dr_freep) = make_deep(folder.fd, 300);
	struct rlimit limit;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 32;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	path[200] = 0;
	ck_assert_int_eq(dr_remove_tree(folder.fd, path), 0);
	ck_assert_uint_eq(count_entries(folder.fd), 0);
}
END_TEST

START_TEST(open_beneath__opens_directories_only)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	ck_assert_int_eq(mkdirat(folder.fd, "a", 0700), 0);
	ck_assert_int_eq(mkdirat(folder.fd, "a/b", 0700), 0);
	make_file(folder.fd, "a/b/inside");
	make_file(folder.fd, "a/file");
	static const char *const good[] = { "a/b", "a//b", "a/b/", "./a/b" };
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int fd dr_cleanup(dr_fd_closep) =
			dr_open_dir_beneath(folder.fd, good[i], strlen(good[i]));
		ck_assert_msg(fd >= 0, "%s gives %d", good[i], fd);
		ck_assert_int_eq(faccessat(fd, "inside", F_OK, 0), 0);
		ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	}
	/* The length counts, not a NUL. */
	int fd dr_cleanup(dr_fd_closep) = dr_open_dir_beneath(folder.fd, "a/b-and-more", 3);
	ck_assert_int_ge(fd, 0);
	int self dr_cleanup(dr_fd_closep) = dr_open_dir_beneath(folder.fd, "", 0);
	ck_assert_int_ge(self, 0);
	ck_assert_int_ne(self, folder.fd);
	ck_assert_int_eq(faccessat(self, "a", F_OK, 0), 0);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, "a/file", 6), -ENOTDIR);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, "a/file/x", 8), -ENOTDIR);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, "a/none", 6), -ENOENT);
}
END_TEST

START_TEST(open_beneath__follows_no_symlink)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	ck_assert_int_eq(mkdirat(folder.fd, "a", 0700), 0);
	ck_assert_int_eq(mkdirat(folder.fd, "a/b", 0700), 0);
	ck_assert_int_eq(symlinkat("a", folder.fd, "link"), 0);
	ck_assert_int_eq(symlinkat("/", folder.fd, "a/root"), 0);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, "link", 4), -ELOOP);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, "link/b", 6), -ELOOP);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, "a/root", 6), -ELOOP);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, "a/root/tmp", 10), -ELOOP);
}
END_TEST

START_TEST(open_beneath__stays_beneath)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	ck_assert_int_eq(mkdirat(folder.fd, "a", 0700), 0);
	ck_assert_int_eq(mkdirat(folder.fd, "a/...", 0700), 0);
	static const char *const bad[] = { "..", "../x", "a/..", "a/../a", "/", "/tmp" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(dr_open_dir_beneath(folder.fd, bad[i], strlen(bad[i])), -EINVAL);
	}
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, "a\0b", 3), -EINVAL);
	int fd dr_cleanup(dr_fd_closep) = dr_open_dir_beneath(folder.fd, "a/...", 5);
	ck_assert_int_ge(fd, 0);
}
END_TEST

START_TEST(open_beneath__has_no_longest_path)
{
	struct folder folder dr_cleanup(folder_fini) = folder_new();
	char *path dr_cleanup(dr_freep) = make_deep(folder.fd, 100);
	ck_assert_uint_gt(strlen(path), 4ul * PATH_MAX);
	int fd dr_cleanup(dr_fd_closep) = dr_open_dir_beneath(folder.fd, path, strlen(path));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(faccessat(fd, "bottom", F_OK, 0), 0);
	/* The same answers as for a short path. */
	ck_assert_int_eq(symlinkat(".", fd, "link"), 0);
	struct dr_buf longer = { 0 };
	dr_buf_printf(&longer, "%s/link", path);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, longer.data, longer.len), -ELOOP);
	dr_buf_clear(&longer);
	dr_buf_printf(&longer, "%s/bottom", path);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, longer.data, longer.len), -ENOTDIR);
	dr_buf_clear(&longer);
	dr_buf_printf(&longer, "%s/none", path);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, longer.data, longer.len), -ENOENT);
	dr_buf_clear(&longer);
	dr_buf_printf(&longer, "%s/..", path);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, longer.data, longer.len), -EINVAL);
	dr_buf_clear(&longer);
	dr_buf_printf(&longer, "%s/%0300d", path, 0);
	ck_assert_int_eq(dr_open_dir_beneath(folder.fd, longer.data, longer.len), -ENAMETOOLONG);
	dr_buf_fini(&longer);
}
END_TEST

DR_UNIT_MAIN("fdio", write__writes_all_and_pread_reads_to_the_end,
	write__goes_on_after_a_short_write, read_file__appends_up_to_the_bound,
	replace__leaves_the_new_file_alone_with_its_mode,
	replace__leaves_nothing_behind_after_an_error, replace__refuses_what_names_no_file,
	mkdirs__makes_what_is_missing, remove_tree__removes_everything_and_follows_nothing,
	remove_tree__needs_few_descriptors_however_deep, open_beneath__opens_directories_only,
	open_beneath__follows_no_symlink, open_beneath__stays_beneath,
	open_beneath__has_no_longest_path)
