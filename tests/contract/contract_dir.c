/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "rig.h"

/* Roots, names, directories and positions: every driver. */

START_TEST(open__finds_the_driver_and_the_rest_of_the_path)
{
	struct rig rig;
	rig_init(&rig, _i);
	ck_assert_int_eq(mkdirat(rig.ns, "sub", 0755), 0);
	char path[96];
	(void)snprintf(path, sizeof(path), "%s/ns/sub", rig.dir);
	struct dr_fs *fs;
	char *rest;
	ck_assert_int_eq(dr_fs_open(path, &fs, &rest), 0);
	ck_assert_str_eq(fs->root, rig.fs->root);
	ck_assert_uint_ge(strlen(rest), 3);
	ck_assert_str_eq(rest + strlen(rest) - 3, "sub");
	char one[128], two[128], small[3];
	ck_assert_int_eq(fs->ops->identity(fs, one, sizeof(one)), 0);
	ck_assert_int_eq(rig.ops->identity(rig.fs, two, sizeof(two)), 0);
	ck_assert_str_eq(one, two);
	ck_assert_int_eq(fs->ops->identity(fs, small, sizeof(small)), -ERANGE);
	free(rest);
	dr_fs_close(fs);
	ck_assert_int_eq(dr_fs_open_root(rig.fs->root, &fs), 0);
	dr_fs_close(fs);
	ck_assert_int_eq(dr_fs_open("/no/such/path", &fs, &rest), -ENOENT);
	rig_fini(&rig);
}
END_TEST

START_TEST(open__takes_the_folder_of_a_lab_for_its_name_space)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	struct dr_fs *fs;
	char *rest;
	ck_assert_int_eq(dr_fs_open(rig.dir, &fs, &rest), 0);
	ck_assert_int_eq(fs->ops->kind, DR_FS_LAB);
	ck_assert_str_eq(rest, "");
	free(rest);
	dr_fs_close(fs);
	char dir[96];
	(void)snprintf(dir, sizeof(dir), "%s/ns", rig.dir);
	char *found;
	ck_assert_int_eq(dr_lab_find(dir, &found), 1);
	ck_assert_str_eq(found, rig.dir);
	free(found);
	ck_assert_int_eq(dr_lab_find("/tmp", &found), 0);
	struct dr_lab *lab;
	ck_assert_int_eq(dr_lab_create(rig.dir, 2, 1, 0), -EEXIST);
	ck_assert_int_eq(dr_lab_create("/tmp/never-made", DR_LAB_OST_MAX + 1, 1, 0), -EINVAL);
	ck_assert_int_eq(dr_lab_open("/tmp", &lab), -ENOENT);
	rig_fini(&rig);
}
END_TEST

START_TEST(driver__has_all_operations_or_none_of_a_group)
{
	const struct dr_fs_driver *ops = _i == RIG_LAB ? &dr_fs_lab : &dr_fs_posix;
	ck_assert(ops->dir_open && ops->dir_close && ops->dir_read && ops->entry_stat);
	ck_assert(
		ops->file_open && ops->file_close && ops->file_stat && ops->read && ops->next_data);
	bool lustre_like = _i == RIG_LAB;
	ck_assert(!ops->osts == !lustre_like);
	ck_assert(!ops->ost_settle == !lustre_like);
	ck_assert(!ops->fid_path == !lustre_like);
	ck_assert(!ops->entry_look == !lustre_like);
	ck_assert(!ops->lease_take == !lustre_like);
	ck_assert(!ops->lease_check == !lustre_like);
	ck_assert(!ops->lease_release == !lustre_like);
	ck_assert(!ops->file_layout == !lustre_like);
	ck_assert(!ops->data_version == !lustre_like);
	ck_assert(!ops->vol_create == !lustre_like);
	ck_assert(!ops->vol_close == !lustre_like);
	ck_assert(!ops->vol_layout == !lustre_like);
	ck_assert(!ops->vol_write == !lustre_like);
	ck_assert(!ops->vol_truncate == !lustre_like);
	ck_assert(!ops->vol_sync == !lustre_like);
	ck_assert(!ops->vol_size == !lustre_like);
	ck_assert(!ops->vol_read == !lustre_like);
	ck_assert(!ops->vol_attrs == !lustre_like);
	ck_assert(!ops->swap == !lustre_like);
}
END_TEST

/* ---- names ---- */

struct names {
	const char *const *names;
	size_t n;
	int seen[16];
	bool layouts;
};

static int see_name(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	struct names *names = ctx;
	ck_assert_uint_eq(entry->name_len, strlen(entry->name));
	ck_assert_int_eq(entry->type, DR_TYPE_FILE);
	ck_assert_int_eq(entry->error, 0);
	ck_assert(!entry->layout == !names->layouts);
	struct dr_stat st;
	ck_assert_int_eq(dir->fs->ops->entry_stat(dir, entry->name, &st), 0);
	ck_assert_uint_eq(st.ino, entry->ino);
	ck_assert_uint_eq(st.size, 100);
	struct dr_file *file dr_cleanup(dr_file_closep) = NULL;
	ck_assert_int_eq(
		dir->fs->ops->file_open(dir, entry->name, &entry->fid, DR_OPEN_MOVE, &file), 0);
	for (size_t i = 0; i < names->n; i++) {
		if (strcmp(names->names[i], entry->name) == 0) {
			names->seen[i]++;
			return 0;
		}
	}
	ck_abort_msg("a name that nobody made: %s", entry->name);
}

START_TEST(names__are_bytes)
{
	struct rig rig;
	rig_init(&rig, _i);
	char longest[256];
	memset(longest, 0xfe, 255);
	longest[255] = 0;
	const char *const list[] = { "new\nline", "quote\"'`", "\xff", "\xff\n", "*", "-rf", " ",
		"\\", "%s", longest };
	struct names names = {
		.names = list,
		.n = sizeof(list) / sizeof(*list),
		.layouts = _i == RIG_LAB,
	};
	for (size_t i = 0; i < names.n; i++) {
		rig_make(&rig, list[i], RIG_PLAIN, 100, 100, 100);
	}
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = rig_dir(&rig, "");
	ck_assert_int_eq(rig.ops->dir_read(dir, 0, see_name, &names), 0);
	for (size_t i = 0; i < names.n; i++) {
		ck_assert_int_eq(names.seen[i], 1);
		rig_check_content(&rig, list[i], 100, 100, 100);
	}
	dr_dir_closep(&dir);
	rig_fini(&rig);
}
END_TEST

static int see_one(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	(void)dir;
	(void)entry;
	++*(int *)ctx;
	return 0;
}

START_TEST(path__may_be_longer_than_the_kernel_takes)
{
	struct rig rig;
	rig_init(&rig, _i);
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	int at = openat(rig.ns, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int depth = 0; depth < 20; depth++) {
		char name[251];
		memset(name, 'a' + depth, 250);
		name[250] = 0;
		ck_assert_int_eq(mkdirat(at, name, 0755), 0);
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ck_assert_int_ge(next, 0);
		(void)close(at);
		at = next;
		dr_buf_printf(&path, "%s%s", depth ? "/" : "", name);
	}
	rig_touch(at, "deep");
	(void)close(at);
	ck_assert_uint_gt(path.len, 4096);
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = rig_dir(&rig, dr_buf_cstr(&path));
	int seen = 0;
	ck_assert_int_eq(rig.ops->dir_read(dir, 0, see_one, &seen), 0);
	ck_assert_int_eq(seen, 1);
	dr_dir_closep(&dir);
	rig_fini(&rig);
}
END_TEST

START_TEST(symlinks__are_never_followed)
{
	struct rig rig;
	rig_init(&rig, _i);
	ck_assert_int_eq(mkdirat(rig.ns, "real", 0755), 0);
	ck_assert_int_eq(mkdirat(rig.ns, "real/sub", 0755), 0);
	ck_assert_int_eq(symlinkat("real", rig.ns, "link"), 0);
	rig_make(&rig, "file", RIG_PLAIN, 10, 10, 10);
	ck_assert_int_eq(symlinkat("file", rig.ns, "alias"), 0);
	ck_assert_int_eq(mkfifoat(rig.ns, "fifo", 0600), 0);
	struct dr_dir *dir = NULL;
	ck_assert_int_eq(rig_dir_open(&rig, "link", &dir), -ELOOP);
	ck_assert_int_eq(rig_dir_open(&rig, "link/sub", &dir), -ELOOP);
	ck_assert_int_eq(rig_dir_open(&rig, "real/none", &dir), -ENOENT);
	ck_assert_int_eq(rig_dir_open(&rig, "file", &dir), -ENOTDIR);
	ck_assert_int_eq(rig_dir_open(&rig, "real/../real", &dir), -EINVAL);
	dir = rig_dir(&rig, "");
	struct dr_file *file;
	ck_assert_int_eq(rig.ops->file_open(dir, "alias", NULL, DR_OPEN_MOVE, &file), -ENOENT);
	ck_assert_int_eq(rig.ops->file_open(dir, "fifo", NULL, DR_OPEN_MOVE, &file), -ENOENT);
	ck_assert_int_eq(rig.ops->file_open(dir, "real", NULL, DR_OPEN_MOVE, &file), -ENOENT);
	ck_assert_int_eq(rig.ops->file_open(dir, "none", NULL, DR_OPEN_MOVE, &file), -ENOENT);
	struct dr_stat st;
	ck_assert_int_eq(rig.ops->entry_stat(dir, "alias", &st), 0);
	ck_assert(S_ISLNK(st.mode));
	dr_dir_closep(&dir);
	rig_fini(&rig);
}
END_TEST

/* ---- positions ---- */

#define STABLE 600
#define CHURN 600

/* In memory that a child process shares. */
struct walk {
	struct rig *rig;
	uint64_t position;
	int step; /* entries of one call */
	int given;
	bool end;
	uint8_t seen[STABLE];
};

static int walk_entry(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	(void)dir;
	struct walk *walk = ctx;
	walk->position = entry->position;
	if (entry->name[0] == 's') {
		walk->seen[strtoul(entry->name + 1, NULL, 10)]++;
	}
	return ++walk->given % walk->step == 0 ? 7 : 0;
}

static void walk_on(struct walk *walk, const struct dr_fs_driver *ops, struct dr_dir *dir)
{
	int r = ops->dir_read(dir, walk->position, walk_entry, walk);
	ck_assert(r == 0 || r == 7 || r == DR_DIR_MORE);
	walk->end = r == 0;
}

static void walk_in_child(void *ctx)
{
	struct walk *walk = ctx;
	struct dr_fs *fs;
	char *rest, path[96];
	(void)snprintf(path, sizeof(path), "%s/ns", walk->rig->dir);
	ck_assert_int_eq(dr_fs_open(path, &fs, &rest), 0);
	struct dr_dir *dir;
	ck_assert_int_eq(fs->ops->dir_open(fs, rest, strlen(rest), &dir), 0);
	walk_on(walk, fs->ops, dir);
	dr_dir_closep(&dir);
	free(rest);
	dr_fs_close(fs);
}

static void churn(struct rig *rig, unsigned round)
{
	char name[32];
	for (unsigned i = 0; i < CHURN / 10; i++) {
		(void)snprintf(name, sizeof(name), "c%u", (round * 37 + i * 11) % CHURN);
		(void)unlinkat(rig->ns, name, 0);
		(void)snprintf(name, sizeof(name), "n%u-%u", round, i);
		rig_touch(rig->ns, name);
	}
}

START_TEST(dir_read__resumes_by_position_while_entries_come_and_go)
{
	struct rig rig;
	rig_init(&rig, _i);
	char name[32];
	for (unsigned i = 0; i < STABLE; i++) {
		(void)snprintf(name, sizeof(name), "s%u", i);
		rig_touch(rig.ns, name);
		(void)snprintf(name, sizeof(name), "c%u", i);
		rig_touch(rig.ns, name);
	}
	struct walk *walk = mmap(
		NULL, sizeof(*walk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(walk, MAP_FAILED);
	walk->rig = &rig;
	walk->step = 129;
	struct dr_dir *kept dr_cleanup(dr_dir_closep) = rig_dir(&rig, "");
	for (unsigned round = 0; !walk->end; round++) {
		if (round % 3 == 0) {
			rig_in_child(walk_in_child, walk, 0);
		} else if (round % 3 == 1) {
			walk_on(walk, rig.ops, kept);
		} else {
			struct dr_dir *fresh dr_cleanup(dr_dir_closep) = rig_dir(&rig, "");
			walk_on(walk, rig.ops, fresh);
		}
		if (round < 8) {
			churn(&rig, round);
		}
		ck_assert_uint_lt(round, 100);
	}
	for (unsigned i = 0; i < STABLE; i++) {
		ck_assert_uint_eq(walk->seen[i], 1);
	}
	(void)munmap(walk, sizeof(*walk));
	dr_dir_closep(&kept);
	rig_fini(&rig);
}
END_TEST

START_TEST(dir_read__gives_a_bounded_number_and_says_more)
{
	struct rig rig;
	rig_init(&rig, _i);
	char name[32];
	for (unsigned i = 0; i < 4200; i++) {
		(void)snprintf(name, sizeof(name), "c%u", i);
		rig_touch(rig.ns, name);
	}
	struct walk walk = { .rig = &rig, .step = 1 << 30 };
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = rig_dir(&rig, "");
	int calls = 0, r;
	do {
		r = rig.ops->dir_read(dir, walk.position, walk_entry, &walk);
		calls++;
	} while (r == DR_DIR_MORE);
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(walk.given, 4200);
	ck_assert_int_gt(calls, 1);
	/* The end is the end, and the start can be had again. */
	ck_assert_int_eq(rig.ops->dir_read(dir, walk.position, walk_entry, &walk), 0);
	ck_assert_int_eq(walk.given, 4200);
	int again = 0;
	ck_assert_int_eq(rig.ops->dir_read(dir, 0, see_one, &again), DR_DIR_MORE);
	ck_assert_int_gt(again, 1000);
	dr_dir_closep(&dir);
	rig_fini(&rig);
}
END_TEST

static int stop_with(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	(void)dir;
	(void)entry;
	return *(int *)ctx;
}

START_TEST(dir_read__returns_what_stopped_it)
{
	struct rig rig;
	rig_init(&rig, _i);
	rig_touch(rig.ns, "one");
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = rig_dir(&rig, "");
	int r = 3;
	ck_assert_int_eq(rig.ops->dir_read(dir, 0, stop_with, &r), 3);
	r = -EXDEV;
	ck_assert_int_eq(rig.ops->dir_read(dir, 0, stop_with, &r), -EXDEV);
	dr_dir_closep(&dir);
	rig_fini(&rig);
}
END_TEST

struct reader {
	struct rig *rig;
	char name[32];
	int files;
};

static int read_file(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	struct reader *reader = ctx;
	struct dr_file *file dr_cleanup(dr_file_closep) = NULL;
	char byte;
	if (dir->fs->ops->file_open(dir, entry->name, &entry->fid, DR_OPEN_MOVE, &file) == 0 &&
		dir->fs->ops->read(file, &byte, 1, 0) == 1) {
		reader->files++;
	}
	return 0;
}

static void *read_dir(void *ctx)
{
	struct reader *reader = ctx;
	struct dr_dir *dir;
	for (int i = 0; i < 5; i++) {
		if (rig_dir_open(reader->rig, reader->name, &dir) == 0) {
			(void)!reader->rig->ops->dir_read(dir, 0, read_file, reader);
			reader->rig->ops->dir_close(dir);
		}
	}
	return NULL;
}

START_TEST(threads__read_different_directories_at_once)
{
	struct rig rig;
	rig_init(&rig, _i);
	struct reader readers[4];
	pthread_t threads[4];
	for (int t = 0; t < 4; t++) {
		readers[t] = (struct reader){ .rig = &rig };
		(void)snprintf(readers[t].name, sizeof(readers[t].name), "d%d", t);
		ck_assert_int_eq(mkdirat(rig.ns, readers[t].name, 0755), 0);
		for (int i = 0; i < 20; i++) {
			char from[32], to[32];
			(void)snprintf(from, sizeof(from), "f%d-%d", t, i);
			rig_make(&rig, from, RIG_PLAIN, 10, 10, 10);
			(void)snprintf(to, sizeof(to), "d%d/%d", t, i);
			ck_assert_int_eq(renameat(rig.ns, from, rig.ns, to), 0);
		}
	}
	for (int t = 0; t < 4; t++) {
		ck_assert_int_eq(pthread_create(&threads[t], NULL, read_dir, &readers[t]), 0);
	}
	for (int t = 0; t < 4; t++) {
		ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
		ck_assert_int_eq(readers[t].files, 100);
	}
	rig_fini(&rig);
}
END_TEST

/* ---- data ---- */

START_TEST(read__gives_all_bytes_and_next_data_all_extents)
{
	struct rig rig;
	int driver = _i % RIG_DRIVERS;
	enum rig_kind kind = (enum rig_kind)(_i / RIG_DRIVERS);
	rig_init(&rig, driver);
	const uint64_t size = 1234567, hole = 300000, hole_end = 900000;
	rig_make(&rig, "sparse", kind, size, hole, hole_end);
	rig_check_content(&rig, "sparse", size, hole, hole_end);
	rig_make(&rig, "empty", kind, 0, 0, 0);
	rig_check_content(&rig, "empty", 0, 0, 0);
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(&rig, "sparse");
	/* Every byte of data is in an extent; most of the hole is in none. */
	uint64_t off = 0, start, end, in_hole = 0, next = 0;
	while (rig.ops->next_data(file, off, &start, &end) == 0) {
		ck_assert_uint_ge(start, off);
		ck_assert_uint_gt(end, start);
		ck_assert_uint_le(end, size);
		ck_assert(start <= next || (next >= hole && start <= hole_end));
		uint64_t a = start > hole ? start : hole, b = end < hole_end ? end : hole_end;
		in_hole += a < b ? b - a : 0;
		off = next = end;
	}
	ck_assert_uint_eq(next, size);
	ck_assert_uint_lt(in_hole, 16384);
	ck_assert_int_eq(rig.ops->next_data(file, size, &start, &end), -ENXIO);
	dr_file_closep(&file);
	rig_fini(&rig);
}
END_TEST

/* ---- the lab's entries ---- */

static int take_entry(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	(void)dir;
	struct dr_entry *to = ctx;
	*to = *entry;
	return 1;
}

static struct dr_entry only_entry(struct rig *rig)
{
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = rig_dir(rig, "");
	struct dr_entry entry;
	ck_assert_int_eq(rig->ops->dir_read(dir, 0, take_entry, &entry), 1);
	return entry;
}

/* What a mover does before anything else; each of the three may be the one that says it. */
static int open_and_look(struct rig *rig, struct dr_dir *dir, const struct dr_fid *fid)
{
	struct dr_file *file dr_cleanup(dr_file_closep) = NULL;
	struct dr_buf layout dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_stat st;
	int r = rig->ops->file_open(dir, "name", fid, DR_OPEN_MOVE, &file);
	r = r < 0 ? r : rig->ops->file_layout(file, &layout);
	return r < 0 ? r : rig->ops->file_stat(file, &st);
}

START_TEST(file_open__says_enoent_when_the_name_is_of_another_fid)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	for (int i = 0; i < 5; i++) {
		rig_make(&rig, "name", RIG_PLAIN, 10, 10, 10);
		struct dr_fid fid = only_entry(&rig).fid;
		ck_assert(!dr_fid_is_zero(&fid));
		/* The new file may well get the inode number of the old one. */
		ck_assert_int_eq(unlinkat(rig.ns, "name", 0), 0);
		rig_make(&rig, "name", RIG_PLAIN, 10, 10, 10);
		struct dr_dir *dir dr_cleanup(dr_dir_closep) = rig_dir(&rig, "");
		ck_assert_int_eq(open_and_look(&rig, dir, &fid), -ENOENT);
		fid = only_entry(&rig).fid;
		ck_assert_int_eq(open_and_look(&rig, dir, &fid), 0);
		ck_assert_int_eq(unlinkat(rig.ns, "name", 0), 0);
		rig_touch(rig.ns, "name");
		ck_assert_int_eq(open_and_look(&rig, dir, &fid), -ENOENT);
		ck_assert_int_eq(unlinkat(rig.ns, "name", 0), 0);
		ck_assert_int_eq(mkdirat(rig.ns, "name", 0755), 0);
		ck_assert_int_eq(open_and_look(&rig, dir, &fid), -ENOENT);
		ck_assert_int_eq(unlinkat(rig.ns, "name", AT_REMOVEDIR), 0);
	}
	rig_fini(&rig);
}
END_TEST

static int see_copy(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	(void)dir;
	if (strcmp(entry->name, "copy") == 0) {
		ck_assert_ptr_null(entry->layout);
		ck_assert_int_eq(entry->error, 0);
		ck_assert(dr_fid_is_zero(&entry->fid));
		++*(int *)ctx;
	}
	return 0;
}

START_TEST(foreign_copy__is_no_file_of_the_lab)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", _i ? RIG_LARGE : RIG_PLAIN, 1000, 1000, 1000);
	/* What cp -a does: size, and the xattrs byte by byte. */
	int from dr_cleanup(dr_fd_closep) = openat(rig.ns, "file", O_RDONLY | O_CLOEXEC);
	int to dr_cleanup(dr_fd_closep) =
		openat(rig.ns, "copy", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	char value[4096];
	ssize_t len = fgetxattr(from, DR_LAB_XATTR, value, sizeof(value));
	ck_assert_int_gt(len, 0);
	ck_assert_int_eq(fsetxattr(to, DR_LAB_XATTR, value, (size_t)len, 0), 0);
	ck_assert_int_eq(ftruncate(to, 1000), 0);
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = rig_dir(&rig, "");
	int seen = 0;
	ck_assert_int_eq(rig.ops->dir_read(dir, 0, see_copy, &seen), 0);
	ck_assert_int_eq(seen, 1);
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(&rig, "copy");
	struct dr_buf layout dr_cleanup(dr_buf_fini) = { 0 };
	ck_assert_int_eq(rig.ops->file_layout(file, &layout), -EBADMSG);
	rig_touch(rig.ns, "none");
	struct dr_file *none dr_cleanup(dr_file_closep) = rig_file(&rig, "none");
	ck_assert_int_eq(rig.ops->file_layout(none, &layout), -ENODATA);
	ck_assert_uint_eq(layout.len, 0);
	dr_dir_closep(&dir);
	dr_file_closep(&file);
	dr_file_closep(&none);
	rig_fini(&rig);
}
END_TEST

RIG_MAIN("contract-dir", { open__finds_the_driver_and_the_rest_of_the_path, RIG_DRIVERS },
	{ open__takes_the_folder_of_a_lab_for_its_name_space, 1 },
	{ driver__has_all_operations_or_none_of_a_group, RIG_DRIVERS },
	{ names__are_bytes, RIG_DRIVERS },
	{ path__may_be_longer_than_the_kernel_takes, RIG_DRIVERS },
	{ symlinks__are_never_followed, RIG_DRIVERS },
	{ dir_read__resumes_by_position_while_entries_come_and_go, RIG_DRIVERS },
	{ dir_read__gives_a_bounded_number_and_says_more, RIG_DRIVERS },
	{ dir_read__returns_what_stopped_it, RIG_DRIVERS },
	{ threads__read_different_directories_at_once, RIG_DRIVERS },
	{ read__gives_all_bytes_and_next_data_all_extents, RIG_DRIVERS *RIG_KINDS },
	{ file_open__says_enoent_when_the_name_is_of_another_fid, 1 },
	{ foreign_copy__is_no_file_of_the_lab, 2 })
