/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_FS_LOCAL_H
#define DR_FS_LOCAL_H

#include "fs/fs.h"

#include <sys/stat.h>

/* What drivers on ordinary files share: reading directories by position, attributes, extents. */

#define DR_LOCAL_BUFFER 65536 /* bytes of one getdents64 */
#define DR_LOCAL_BATCH 4096   /* entries that one dir_read gives at most */

/* The state of reading one directory. Belongs to one thread at a time. */
struct dr_local_dir {
	int fd;
	uint64_t position; /* what comes next in buf, or in the kernel */
	size_t at, len;    /* of buf */
	uint8_t *buf;      /* DR_LOCAL_BUFFER bytes, from the first read on */
};

/* @error as dir_open; EXDEV another file system is mounted there */
dr_nodiscard int dr_local_dir_open(
	int root_fd, uint64_t dev, const void *path, size_t len, struct dr_local_dir *ret_dir);
void dr_local_dir_fini(struct dr_local_dir *dir);
dr_nodiscard int dr_local_dir_seek(struct dr_local_dir *dir, uint64_t position);
/* The next entry (name, type, ino, position; the rest zero), lent until the next call. @return 1, or 0 at the end */
dr_nodiscard int dr_local_dir_next(struct dr_local_dir *dir, struct dr_entry *ret_entry);

enum dr_type dr_local_type(uint32_t mode);
struct dr_stat dr_local_stat_of(const struct statx *sx);
/* The mount point above a path (absolute, existing): as far up as the device stays the same; malloc'ed. */
dr_nodiscard int dr_local_mount_root(const char *path, char **ret_root);
/* statx of name in fd, or of fd itself ("", AT_EMPTY_PATH). */
dr_nodiscard int dr_local_stat(int fd, const char *name, int flags, struct dr_stat *ret_stat);
/* Opens whatever the name is of, for reading, as the next one does. */
dr_nodiscard int dr_local_open(int dirfd, const char *name);
/*
 * Opens a regular file for reading, without following a symlink and without touching its atime.
 * @error ENOENT also for what is no regular file; EBUSY a write lease on it
 */
dr_nodiscard int dr_local_file_open(int dirfd, const char *name, struct dr_stat *ret_stat);
/* The first extent of data in [off, end). @error ENXIO none */
dr_nodiscard int dr_local_next_data(
	int fd, uint64_t off, uint64_t end, uint64_t *ret_start, uint64_t *ret_end);

#endif
