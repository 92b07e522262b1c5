/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_META_H
#define DR_WORK_META_H

#include "base/buf.h"
#include "fs/fs.h"

/*
 * All of an entry but its data: what a clone compares and carries over.
 * Extended attributes: user.*, trusted.*, security.*, system.posix_acl_access and _default; not those in which a file system keeps its own books (trusted.lov, .lma,
 * .lmv, .link, .fid, .hsm, .som, .dmv, .version, .dummy, .overlay.*, lustre.*, and ours, trusted.drover.*).
 */
struct dr_meta {
	uint32_t mode; /* with the type */
	uint32_t uid, gid, nlink;
	uint64_t ino, dev, rdev, size, blocks;
	struct timespec atime, mtime, ctime;
	bool has_project; /* the file system keeps them */
	uint32_t project;
	bool project_inherits; /* FS_XFLAG_PROJINHERIT, of directories */
	bool is_immutable, is_append;
	struct dr_buf xattrs; /* sorted by name: name, NUL, u32 length, value */
};

enum dr_meta_part {
	DR_META_OWNER = 1,
	DR_META_MODE = 2,
	DR_META_XATTRS = 4, /* with ACLs */
	DR_META_PROJECT = 8,
	DR_META_FLAGS = 16,
	DR_META_TIMES = 32, /* atime is carried, never compared */
};

void dr_meta_fini(struct dr_meta *meta);
/*
 * Reads it of dir_fd/name, never following a symlink; or of dir_fd itself, when name is "". fd: the entry, open, or -1.
 * Zeroed memory, or what an earlier call filled.
 * @error ENOENT; others of statx and listxattr; E2BIG attributes past 64 MiB
 */
dr_nodiscard int dr_meta_read(int dir_fd, const char *name, int fd, struct dr_meta *meta);
/* Which parts differ; times at that resolution (struct dr_tree's time_ns, the coarser). */
unsigned dr_meta_compare(const struct dr_meta *a, const struct dr_meta *b, uint32_t time_ns);
/*
 * Gives dir_fd/name (or dir_fd itself; or fd) these parts, in the order that keeps them: owner, mode (which a change of owner strips of setuid), attributes and ACLs, project, times, flags.
 * `have` is what it has now, so that only what differs is set and what is too much is removed; NULL: a new one.
 * Immutable and append-only are taken off first where something must change.
 * @param ret_part which part failed
 * @error EPERM, EACCES; EOPNOTSUPP the target cannot hold an attribute, ACL or project; ENOSPC, EDQUOT; others
 */
dr_nodiscard int dr_meta_apply(int dir_fd, const char *name, int fd, const struct dr_meta *want,
	const struct dr_meta *have, unsigned parts, enum dr_meta_part *ret_part);

#endif
