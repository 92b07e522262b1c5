/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/log.h"
#include "work/clone_prune.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "unit.h"

/* Two trees in a folder of their own, and what a prune of their first directories tells. */
struct place {
	char dir[64];
	struct dr_tree *from, *to;
	struct dr_cloner cloner;
	struct dr_prune prune;
	struct dr_buf told; /* "a/b\n" for each */
	const char *keeps;  /* this path */
	const char *comes;  /* made in the source by the first telling */
	_Atomic bool stop;
	unsigned stop_after; /* tellings; 0: never */
};

static void close_place(struct place *place)
{
	dr_tree_free(place->from);
	dr_tree_free(place->to);
	dr_buf_fini(&place->told);
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, place->dir), 0);
}

static void tell(void *arg, const char *path, size_t len, enum dr_type type)
{
	struct place *place = arg;

	ck_assert_uint_eq(strlen(path), len);
	ck_assert_int_ne(type, DR_TYPE_UNKNOWN);
	dr_buf_put(&place->told, path, len);
	dr_buf_put(&place->told, "\n", 1);
	if (place->comes) {
		ck_assert_int_eq(mkdirat(place->from->fd, place->comes, 0700), 0);
		place->comes = NULL;
	}
	if (place->stop_after > 0 && --place->stop_after == 0) {
		place->stop = true;
	}
}

static bool keeps(void *arg, const char *path, size_t len)
{
	const struct place *place = arg;

	return place->keeps && len == strlen(place->keeps) && memcmp(path, place->keeps, len) == 0;
}

static void open_place(struct place *place)
{
	char path[128], *message = NULL;
	const char *tmp = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe) */

	*place = (struct place){ 0 };
	(void)snprintf(
		place->dir, sizeof(place->dir), "%s/drover-prune-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(place->dir));
	for (int i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", place->dir, i ? "to" : "from");
		ck_assert_int_eq(mkdir(path, 0700), 0);
		int r = dr_tree_open(path, i ? &place->to : &place->from, &message);
		ck_assert_msg(r == 0, "%s", message);
	}
	place->cloner = (struct dr_cloner){ .from = place->from,
		.to = place->to,
		.word = "0123456789abcdef",
		.stop = &place->stop };
	place->prune = (struct dr_prune){
		.cloner = &place->cloner, .keeps = keeps, .tell = tell, .arg = place
	};
}

static void make_file(int fd, const char *path)
{
	int file = openat(fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_msg(file >= 0, "%s: %s", path, strerrordesc_np(errno));
	(void)close(file);
}

static void make_dir(int fd, const char *path)
{
	ck_assert_msg(mkdirat(fd, path, 0700) == 0, "%s: %s", path, strerrordesc_np(errno));
}

static bool has(int fd, const char *path)
{
	struct stat st;

	return fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int prune(struct place *place, bool looks_only, uint64_t most)
{
	return dr_clone_prune(&place->prune, place->from->fd, place->to->fd, looks_only, most);
}

static unsigned n_below(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir)) { /* NOLINT(concurrency-mt-unsafe) */
		n++;
	}
	(void)closedir(dir);
	return n - 2;
}

START_TEST(prune__removes_what_the_source_has_not)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_file(place.from->fd, "both");
	make_file(place.to->fd, "both");
	make_file(place.from->fd, "new");
	make_file(place.to->fd, "old");
	make_file(place.to->fd, "\xff\n\x01");
	make_file(place.to->fd, ".drover-0123456789abcdef-12.1");
	make_file(place.to->fd, ".drover-ffffffffffffffff-12.1");
	ck_assert_int_eq(symlinkat("both", place.to->fd, "link"), 0);
	ck_assert_int_eq(symlinkat("/nowhere", place.to->fd, "dangling"), 0);
	ck_assert_int_eq(mkfifoat(place.to->fd, "fifo", 0600), 0);
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 7);
	ck_assert_uint_eq(place.prune.n_errors, 0);
	ck_assert_uint_eq(n_below(place.to->fd), 1);
	ck_assert_uint_eq(n_below(place.from->fd), 2);
	ck_assert(has(place.to->fd, "both"));
}
END_TEST

START_TEST(prune__removes_absent_directories_deepest_first)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_dir(place.to->fd, "a");
	make_dir(place.to->fd, "a/b");
	make_dir(place.to->fd, "a/b/c");
	make_file(place.to->fd, "a/b/c/f");
	make_dir(place.from->fd, "d");
	make_dir(place.to->fd, "d");
	make_file(place.to->fd, "d/other"); /* of another directory: not its turn */
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	dr_unit_text(&place.told, "a/b/c/f\na/b/c\na/b\na\n");
	ck_assert_uint_eq(place.prune.n_removed, 4);
	ck_assert(has(place.to->fd, "d/other"));
	ck_assert_uint_eq(n_below(place.to->fd), 1);
}
END_TEST

START_TEST(prune__leaves_a_name_of_another_type_to_the_copy_pass)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_dir(place.from->fd, "x");
	make_file(place.to->fd, "x");
	make_file(place.from->fd, "y");
	make_dir(place.to->fd, "y");
	make_file(place.to->fd, "y/f");
	ck_assert_int_eq(symlinkat("nowhere", place.from->fd, "z"), 0);
	make_dir(place.to->fd, "z");
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 0);
	ck_assert(has(place.to->fd, "y/f"));
	ck_assert(has(place.to->fd, "z"));
}
END_TEST

START_TEST(prune__keeps_what_is_kept_and_the_directories_above_it)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_dir(place.to->fd, "a");
	make_dir(place.to->fd, "a/b");
	make_dir(place.to->fd, "a/b/kept");
	make_file(place.to->fd, "a/b/kept/f");
	make_file(place.to->fd, "a/b/g");
	make_dir(place.to->fd, "a/c");
	place.keeps = "a/b/kept";
	ck_assert_int_eq(prune(&place, true, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 2);
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 4);
	ck_assert_uint_eq(place.prune.n_errors, 0);
	ck_assert(has(place.to->fd, "a/b/kept/f"));
	ck_assert(!has(place.to->fd, "a/b/g"));
	ck_assert(!has(place.to->fd, "a/c"));
}
END_TEST

START_TEST(prune__only_looks_when_told_so)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_dir(place.to->fd, "a");
	make_dir(place.to->fd, "a/b");
	make_file(place.to->fd, "a/b/f");
	make_file(place.to->fd, "g");
	ck_assert_int_eq(prune(&place, true, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 4);
	dr_unit_text(&place.told, "g\na/b/f\na/b\na\n");
	ck_assert(has(place.to->fd, "a/b/f"));
	ck_assert(has(place.to->fd, "g"));
	place.prune.n_removed = 0;
	ck_assert_int_eq(prune(&place, true, 3), -EDQUOT);
	ck_assert_uint_eq(place.prune.n_removed, 3);
}
END_TEST

START_TEST(prune__stops_exactly_at_the_bound)
{
	for (unsigned most = 0; most <= 13; most++) {
		struct place place dr_cleanup(close_place);
		char name[16];

		open_place(&place);
		make_dir(place.to->fd, "d");
		for (unsigned i = 0; i < 5; i++) {
			(void)snprintf(name, sizeof(name), "%u", i);
			make_file(place.to->fd, name);
			(void)snprintf(name, sizeof(name), "d/%u", i);
			make_dir(place.to->fd, name);
		}
		make_dir(place.to->fd, "kept");
		place.keeps = "kept";
		make_file(place.to->fd, "both");
		make_file(place.from->fd, "both");
		/* 11 entries are to go: the bound is in the way until it is as large. */
		ck_assert_int_eq(prune(&place, false, most), most < 11 ? -EDQUOT : 0);
		ck_assert_uint_eq(place.prune.n_removed, most < 11 ? most : 11);
		ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
		ck_assert_uint_eq(place.prune.n_removed, 11);
		ck_assert_uint_eq(n_below(place.to->fd), 2);
	}
}
END_TEST

/* ---- the invariant ---- */

static int fails_after; /* of each process, as each test has its own */
static int fails_fd;

static int count_entry(void *arg, const char *name, size_t len, enum dr_type type, uint64_t ino)
{
	void **args = arg;
	dr_tree_entry_fn *fn = (dr_tree_entry_fn *)args[0];

	return fails_after-- > 0 ? fn(args[1], name, len, type, ino) : -EIO;
}

static int read_failing(int dir_fd, dr_tree_entry_fn *fn, void *arg)
{
	void *args[] = { (void *)fn, arg };

	if (dir_fd != fails_fd) {
		return dr_tree_read(dir_fd, fn, arg);
	}
	int r = dr_tree_read(dir_fd, count_entry, args);
	return r == 0 && fails_after >= 0 ? -EIO : r; /* at the end, if not before */
}

START_TEST(prune__deletes_nothing_when_the_source_was_not_read_whole)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_file(place.from->fd, "a");
	make_file(place.from->fd, "b");
	make_file(place.to->fd, "old");
	make_dir(place.to->fd, "d");
	place.prune.read = read_failing;
	fails_fd = place.from->fd;
	for (int after = 0; after <= 2; after++) {
		fails_after = after;
		ck_assert_int_eq(prune(&place, false, UINT64_MAX), -EIO);
	}
	ck_assert_uint_eq(place.prune.n_removed, 0);
	ck_assert_uint_eq(n_below(place.to->fd), 2);
}
END_TEST

START_TEST(prune__deletes_nothing_when_the_source_is_no_directory_or_gone)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_file(place.from->fd, "file");
	make_file(place.to->fd, "old");
	int fd = openat(place.from->fd, "file", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(
		dr_clone_prune(&place.prune, fd, place.to->fd, false, UINT64_MAX), -ENOTDIR);
	(void)close(fd);
	make_dir(place.from->fd, "gone");
	fd = openat(place.from->fd, "gone", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(unlinkat(place.from->fd, "gone", AT_REMOVEDIR), 0);
	ck_assert_int_eq(
		dr_clone_prune(&place.prune, fd, place.to->fd, false, UINT64_MAX), -ENOENT);
	(void)close(fd);
	ck_assert_int_eq(dr_clone_prune(&place.prune, -1, place.to->fd, false, UINT64_MAX), -EBADF);
	fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* of no tree here */
	ck_assert_int_eq(dr_clone_prune(&place.prune, fd, place.to->fd, false, UINT64_MAX), -EXDEV);
	(void)close(fd);
	ck_assert(has(place.to->fd, "old"));
}
END_TEST

/* Reads the source as if it were empty: what a file system says that lost its server. */
static int read_nothing(int dir_fd, dr_tree_entry_fn *fn, void *arg)
{
	return dir_fd == fails_fd ? 0 : dr_tree_read(dir_fd, fn, arg);
}

START_TEST(prune__asks_the_source_for_each_name)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_file(place.from->fd, "a");
	make_file(place.to->fd, "a");
	make_dir(place.from->fd, "d");
	make_dir(place.to->fd, "d");
	make_file(place.to->fd, "d/f");
	make_file(place.to->fd, "old");
	place.prune.read = read_nothing;
	fails_fd = place.from->fd;
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	dr_unit_text(&place.told, "old\n");
	ck_assert_uint_eq(place.prune.n_errors, 0);
	ck_assert(has(place.to->fd, "d/f"));
}
END_TEST

/* Of the target: one name more, which the source cannot even be asked for. */
static int read_long_name(int dir_fd, dr_tree_entry_fn *fn, void *arg)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	name[299] = 0;
	int r = dr_tree_read(dir_fd, fn, arg);
	return r == 0 && dir_fd == fails_fd ? fn(arg, name, 299, DR_TYPE_FILE, 5) : r;
}

START_TEST(prune__keeps_what_the_source_gives_another_error_for)
{
	struct place place dr_cleanup(close_place);

	dr_log_level = DR_LOG_NONE;
	open_place(&place);
	make_file(place.to->fd, "old");
	place.prune.read = read_long_name;
	fails_fd = place.to->fd;
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	dr_unit_text(&place.told, "old\n");
	ck_assert_uint_eq(place.prune.n_errors, 1);
}
END_TEST

START_TEST(prune__stops_in_a_directory_that_appears_in_the_source)
{
	struct place place dr_cleanup(close_place);
	char name[32];

	open_place(&place);
	make_dir(place.to->fd, "a");
	make_dir(place.to->fd, "a/b");
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "a/b/%u", i);
		make_file(place.to->fd, name);
	}
	place.comes = "a";
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_le(place.prune.n_removed, 64);
	ck_assert_uint_eq(place.prune.n_errors, 0);
	ck_assert(has(place.to->fd, "a/b"));
}
END_TEST

START_TEST(prune__keeps_a_directory_that_appears_before_it_is_removed)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_dir(place.to->fd, "a");
	make_file(place.to->fd, "a/f");
	place.comes = "a";
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	dr_unit_text(&place.told, "a/f\n");
	ck_assert(has(place.to->fd, "a"));
}
END_TEST

START_TEST(prune__keeps_a_file_that_appears_before_it_is_removed)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_file(place.to->fd, "a");
	make_file(place.to->fd, "b");
	place.comes = "b";
	ck_assert_int_eq(prune(&place, true, UINT64_MAX), 0);
	bool b_first = strcmp(dr_buf_cstr(&place.told), "b\na\n") == 0;
	ck_assert_uint_eq(place.prune.n_removed, b_first ? 2 : 1);
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert(has(place.to->fd, "b"));
	ck_assert(!has(place.to->fd, "a"));
}
END_TEST

/* ---- errors of the target ---- */

START_TEST(prune__goes_no_further_after_an_error_of_the_target)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_file(place.to->fd, "a");
	make_file(place.to->fd, "b");
	make_dir(place.to->fd, "d");
	place.prune.read = read_failing;
	fails_fd = place.to->fd;
	fails_after = 0;
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), -EIO);
	ck_assert_uint_eq(n_below(place.to->fd), 3);
}
END_TEST

/* The first directory below cannot be read; the others can. */
static int read_failing_below(int dir_fd, dr_tree_entry_fn *fn, void *arg)
{
	if (dir_fd > fails_fd && fails_after > 0) {
		fails_after--;
		return -EIO;
	}
	return dr_tree_read(dir_fd, fn, arg);
}

START_TEST(prune__counts_a_directory_that_cannot_be_read_and_goes_on)
{
	struct place place dr_cleanup(close_place);

	dr_log_level = DR_LOG_NONE;
	open_place(&place);
	make_dir(place.to->fd, "a");
	make_dir(place.to->fd, "a/b");
	make_dir(place.to->fd, "c");
	make_dir(place.to->fd, "c/d");
	place.prune.read = read_failing_below;
	fails_fd = place.from->fd > place.to->fd ? place.from->fd : place.to->fd;
	fails_after = 1;
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_errors, 1);
	ck_assert_uint_eq(place.prune.n_removed, 2);
	ck_assert_uint_eq(n_below(place.to->fd), 1);
}
END_TEST

START_TEST(prune__ends_when_it_is_told_to_stop)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_dir(place.to->fd, "a");
	make_file(place.to->fd, "a/1");
	make_file(place.to->fd, "a/2");
	make_file(place.to->fd, "a/3");
	place.stop_after = 2;
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), -ECANCELED);
	ck_assert_uint_eq(place.prune.n_removed, 2);
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), -ECANCELED);
	ck_assert_uint_eq(place.prune.n_removed, 2);
}
END_TEST

/* @return false this file system or user has no such flags */
static bool set_flags(int dir_fd, const char *name, int flags)
{
	int fd dr_cleanup(dr_fd_closep) =
		openat(dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	int now = 0;

	ck_assert_int_ge(fd, 0);
	if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0) {
		return false;
	}
	now = (now & ~(FS_IMMUTABLE_FL | FS_APPEND_FL)) | flags;
	return ioctl(fd, FS_IOC_SETFLAGS, &now) == 0;
}

static int flags_of(int fd)
{
	int now = 0;

	ck_assert_int_eq(ioctl(fd, FS_IOC_GETFLAGS, &now), 0);
	return now & (FS_IMMUTABLE_FL | FS_APPEND_FL);
}

START_TEST(prune__takes_off_the_flags_that_forbid_removing)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_file(place.to->fd, "file");
	make_dir(place.to->fd, "d");
	make_file(place.to->fd, "d/f");
	make_dir(place.to->fd, "d/empty");
	if (!set_flags(place.to->fd, "file", FS_IMMUTABLE_FL)) {
		return;
	}
	ck_assert(set_flags(place.to->fd, "d/f", FS_APPEND_FL));
	ck_assert(set_flags(place.to->fd, "d/empty", FS_IMMUTABLE_FL));
	ck_assert(set_flags(place.to->fd, "d", FS_IMMUTABLE_FL));
	ck_assert(set_flags(place.to->fd, ".", FS_APPEND_FL));
	ck_assert_int_eq(prune(&place, true, UINT64_MAX), 0);
	ck_assert_int_eq(flags_of(place.to->fd), FS_APPEND_FL);
	ck_assert_uint_eq(place.prune.n_removed, 4);
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 8);
	ck_assert_uint_eq(place.prune.n_errors, 0);
	ck_assert_int_eq(flags_of(place.to->fd), FS_APPEND_FL); /* as the source's, perhaps */
	ck_assert(set_flags(place.to->fd, ".", 0));
}
END_TEST

/* ---- sizes ---- */

/* d/d/d..., every tenth and the last with a file; the path is longer than PATH_MAX. */
static void make_deep(int top_fd, unsigned depth, const char *name)
{
	int fd = openat(top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (unsigned i = 0; i < depth; i++) {
		make_dir(fd, name);
		int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ck_assert_int_ge(below, 0);
		(void)close(fd);
		fd = below;
		if (i % 10 == 9) {
			make_file(fd, "f");
		}
	}
	(void)close(fd);
}

START_TEST(prune__removes_trees_deeper_than_any_path_with_few_descriptors)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	make_deep(place.to->fd, 3000, "directory");
	place.prune.tell = NULL;
	place.prune.keeps = NULL;
	int first = dup(place.to->fd), second;
	(void)close(first);
	ck_assert_int_eq(prune(&place, true, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 3300);
	ck_assert_int_eq(prune(&place, false, 4000), -EDQUOT);
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 6600);
	ck_assert_uint_eq(place.prune.n_errors, 0);
	ck_assert_uint_eq(n_below(place.to->fd), 0);
	second = dup(place.to->fd);
	(void)close(second);
	ck_assert_int_eq(first, second); /* all are closed */
}
END_TEST

START_TEST(prune__keeps_what_lies_very_deep)
{
	struct place place dr_cleanup(close_place);
	char kept[2 * 500 + 2] = "";

	open_place(&place);
	make_deep(place.to->fd, 500, "d");
	for (unsigned i = 0; i < 500; i++) {
		kept[(size_t)2 * i] = 'd';
		kept[(size_t)2 * i + 1] = '/';
	}
	kept[1000] = 'f';
	place.keeps = kept;
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 49);
	ck_assert_uint_eq(place.prune.n_errors, 0);
	ck_assert(has(place.to->fd, kept));
}
END_TEST

START_TEST(prune__removes_all_of_a_large_directory)
{
	struct place place dr_cleanup(close_place);
	char name[32];

	open_place(&place);
	make_dir(place.to->fd, "d");
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "d/%u", i);
		make_file(place.to->fd, name);
		make_file(place.to->fd, name + 2);
		if (i % 2) {
			make_file(place.from->fd, name + 2);
		}
	}
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 1501);
	ck_assert_uint_eq(n_below(place.to->fd), 500);
	ck_assert_int_eq(prune(&place, false, UINT64_MAX), 0);
	ck_assert_uint_eq(place.prune.n_removed, 1501);
}
END_TEST

DR_UNIT_MAIN("clone_prune", prune__removes_what_the_source_has_not,
	prune__removes_absent_directories_deepest_first,
	prune__leaves_a_name_of_another_type_to_the_copy_pass,
	prune__keeps_what_is_kept_and_the_directories_above_it, prune__only_looks_when_told_so,
	prune__stops_exactly_at_the_bound,
	prune__deletes_nothing_when_the_source_was_not_read_whole,
	prune__deletes_nothing_when_the_source_is_no_directory_or_gone,
	prune__asks_the_source_for_each_name, prune__keeps_what_the_source_gives_another_error_for,
	prune__stops_in_a_directory_that_appears_in_the_source,
	prune__keeps_a_directory_that_appears_before_it_is_removed,
	prune__keeps_a_file_that_appears_before_it_is_removed,
	prune__goes_no_further_after_an_error_of_the_target,
	prune__counts_a_directory_that_cannot_be_read_and_goes_on,
	prune__ends_when_it_is_told_to_stop, prune__takes_off_the_flags_that_forbid_removing,
	prune__removes_trees_deeper_than_any_path_with_few_descriptors,
	prune__keeps_what_lies_very_deep, prune__removes_all_of_a_large_directory)
