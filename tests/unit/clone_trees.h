/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TESTS_UNIT_CLONE_TREES_H
#define DR_TESTS_UNIT_CLONE_TREES_H

#include "base/fdio.h"
#include "work/clone.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "unit.h"

#define TREES_WORD "0123456789abcdef"
#define TREES_BUFFER (64u << 10)

/* Two folders, and a cloner from one to the other. */
struct trees {
	char path[64];
	int fd, from, to;
	struct dr_tree from_tree, to_tree;
	struct dr_cloner cloner;
	struct dr_outcome outcome;
	_Alignas(4096) uint8_t buffer[TREES_BUFFER];
};

static inline void trees_fini(struct trees *t)
{
	(void)close(t->from);
	(void)close(t->to);
	(void)close(t->fd);
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, t->path), 0);
}

static inline int trees_dir(int at, const char *name)
{
	ck_assert_int_eq(mkdirat(at, name, 0755), 0);
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static inline void trees_init(struct trees *t)
{
	memset(t, 0, sizeof(*t));
	(void)snprintf(t->path, sizeof(t->path), "/tmp/dr-clone-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(t->path));
	t->fd = open(t->path, O_RDONLY | O_DIRECTORY);
	t->from = trees_dir(t->fd, "from");
	t->to = trees_dir(t->fd, "to");
	t->from_tree = (struct dr_tree){ .fd = t->from, .kind = DR_FS_POSIX, .time_ns = 1 };
	t->to_tree = (struct dr_tree){ .fd = t->to, .kind = DR_FS_POSIX, .time_ns = 1 };
	t->cloner = (struct dr_cloner){ .from = &t->from_tree,
		.to = &t->to_tree,
		.word = TREES_WORD,
		.buffer = t->buffer,
		.buffer_bytes = TREES_BUFFER };
}

static inline void trees_write(int dir, const char *name, const void *bytes, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dr_write_full(fd, bytes, len), 0);
	(void)close(fd);
}

static inline void trees_text(int dir, const char *name, const char *text)
{
	trees_write(dir, name, text, strlen(text));
}

static inline struct stat trees_stat(int dir, const char *name)
{
	struct stat st;
	ck_assert_int_eq(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

static inline bool trees_has(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline void trees_holds(int dir, const char *name, const void *bytes, size_t len)
{
	struct dr_buf buf dr_cleanup(dr_buf_fini) = { 0 };
	ck_assert_int_eq(dr_read_file(dir, name, 1u << 30, &buf), 0);
	ck_assert_uint_eq(buf.len, len);
	ck_assert(len == 0 || memcmp(buf.data, bytes, len) == 0);
}

/* The number of entries of a directory. */
static inline int trees_count(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY), n = 0;
	DIR *stream = fdopendir(fd);
	ck_assert_ptr_nonnull(stream);
	while (readdir(stream)) {
		n++;
	}
	(void)closedir(stream);
	return n - 2;
}

static inline void trees_is(struct trees *t, enum dr_class class, enum dr_step step, int error)
{
	ck_assert_msg(
		t->outcome.class == class && t->outcome.step == step && t->outcome.error == error,
		"%s %s %d", dr_class_name(t->outcome.class), dr_step_name(t->outcome.step),
		t->outcome.error);
}

static inline void trees_clone(struct trees *t, const char *name)
{
	dr_clone_entry(&t->cloner, t->from, t->to, name, 0, 1, false, &t->outcome);
}

/* Clones it, which must work, and leave nothing else behind. */
static inline void trees_cloned(struct trees *t, const char *name)
{
	trees_clone(t, name);
	trees_is(t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	struct stat a = trees_stat(t->from, name), b = trees_stat(t->to, name);
	ck_assert_uint_eq(a.st_mode, b.st_mode);
	ck_assert_uint_eq(a.st_uid, b.st_uid);
	ck_assert_uint_eq(a.st_gid, b.st_gid);
	ck_assert_uint_eq(a.st_rdev, b.st_rdev);
	ck_assert_int_eq(a.st_size, b.st_size);
	ck_assert_int_eq(a.st_mtim.tv_sec, b.st_mtim.tv_sec);
	ck_assert_int_eq(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
}

static inline void trees_unneeded(struct trees *t, const char *name)
{
	trees_clone(t, name);
	trees_is(t, DR_UNNEEDED, DR_STEP_DONE, 0);
}

#endif
