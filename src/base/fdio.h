/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_FDIO_H
#define DR_BASE_FDIO_H

#include "base/buf.h"

#include <sys/types.h>

/* Whole writes and reads; EINTR is handled. All return 0 or more, or a negative errno. */
dr_nodiscard int dr_write_full(int fd, const void *bytes, size_t len);
dr_nodiscard int dr_pwrite_full(int fd, const void *bytes, size_t len, off_t off);
/* @return bytes read; less than len only at the end of the file */
dr_nodiscard ssize_t dr_pread_full(int fd, void *bytes, size_t len, off_t off);
/* Appends the whole file to buf. @error EFBIG larger than max */
dr_nodiscard int dr_read_file(int dirfd, const char *path, size_t max, struct dr_buf *buf);
/*
 * Replaces a file so that a reader sees the old or the new one, whole: a temporary
 * file beside it, fsync, rename, fsync of the folder.
 */
dr_nodiscard int dr_replace_file(
	int dirfd, const char *path, mode_t mode, const void *bytes, size_t len);
/* The same without fsync: for what may be lost when the machine dies. */
dr_nodiscard int dr_replace_file_fast(
	int dirfd, const char *path, mode_t mode, const void *bytes, size_t len);
/* mkdir -p */
dr_nodiscard int dr_mkdirs(const char *path, mode_t mode);
/* rm -r; a missing path is no error. */
dr_nodiscard int dr_remove_tree(int dirfd, const char *path);
/*
 * Opens a directory by a path relative to dirfd, of any length, one component at a
 * time; no component may be a symlink, and ".." is refused. "" is dirfd itself.
 * @error ELOOP a component is a symlink; ENOTDIR; ENOENT; EINVAL ".."
 */
dr_nodiscard int dr_open_dir_beneath(int dirfd, const void *path, size_t len);

#endif
