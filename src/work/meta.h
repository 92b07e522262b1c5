/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_META_H
#define DR_WORK_META_H

#include "base/buf.h"
#include "fs/fs.h"

/*
 * All of an entry but its data: what a clone compares and carries over.
 * Extended attributes: user.*, trusted.*, security.*, system.posix_acl_access and _default; not those in which a file system keeps its own books (trusted.lov, .lma,
 * .lmv, .link, .fid, .hsm, .som, .dmv, .version, .dummy, .lfsck_*, .SGI_ACL_*, .overlay.*, lustre.*, and ours, trusted.drover.*).
 * security.selinux is carried where both sides keep it; one side alone having it is no difference, and it is never removed.
 */
#define DR_META_ACL "system.posix_acl_access"
#define DR_META_DEFAULT_ACL "system.posix_acl_default"
#define DR_META_LABEL "security.selinux"

struct dr_meta {
	uint32_t mode; /* with the type */
	uint32_t uid, gid, nlink;
	uint64_t ino, dev, rdev, size, blocks;
	struct timespec atime, mtime, ctime;
	bool no_projects; /* the caller's: its file system keeps none (dr_meta_keeps_projects()), so none is asked for */
	bool has_project;      /* a file or directory, and the file system tells one */
	uint32_t project;      /* else 0 */
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
#define DR_META_ALL                                                                                \
	(DR_META_OWNER | DR_META_MODE | DR_META_XATTRS | DR_META_PROJECT | DR_META_FLAGS |         \
		DR_META_TIMES)

void dr_meta_fini(struct dr_meta *meta);
/*
 * Whether project ids are told there, by an open file or directory of the file system: once for each side, then dr_meta.no_projects spares an
 * ioctl a file, and for a name that is not open the opening of it. ext4 says yes whether it keeps them or not. @return 1 yes; 0 no
 */
dr_nodiscard int dr_meta_keeps_projects(int fd);
/*
 * Reads it of dir_fd/name, never following a symlink; or of dir_fd itself, when name is "". fd: the entry, open for reading or writing, or -1.
 * Zeroed memory, or what an earlier call filled.
 * @error ENOENT; EBUSY a write lease on it, where it must be opened; others of statx and listxattr; E2BIG attributes past 64 MiB; ENOSYS no /proc
 */
dr_nodiscard int dr_meta_read(int dir_fd, const char *name, int fd, struct dr_meta *meta);
/* One attribute of dr_meta.xattrs; lent. */
struct dr_meta_attr {
	const char *name;
	const uint8_t *value;
	uint32_t len;
};
/* The next one of a cursor over dr_meta.xattrs. @return false at the end */
bool dr_meta_next_attr(struct dr_cur *cur, struct dr_meta_attr *ret_attr);
/* Which parts of the source's (a) and the target's (b) differ; times at that resolution (struct dr_tree's time_ns, the coarser). */
unsigned dr_meta_compare(const struct dr_meta *a, const struct dr_meta *b, uint32_t time_ns);
/*
 * Gives dir_fd/name (or dir_fd itself; or fd) these parts, in the order that keeps them: owner, mode (which a change of owner strips of setuid), attributes and ACLs, project, times, flags.
 * `have` is what it has now, so that only what differs is set and what is too much is removed; NULL: a new one, which is read for what its directory
 * gave it.
 * A part that is not asked for is left as it is, also the setuid bits and capabilities that a change of owner takes.
 * Immutable and append-only are taken off first where something must change.
 * @param ret_part which part failed
 * @error EPERM, EACCES; ESTALE the name is of another inode than `have`, or of another type; EOPNOTSUPP the target cannot hold an attribute, ACL or project; ENOSPC, EDQUOT; others
 */
dr_nodiscard int dr_meta_apply(int dir_fd, const char *name, int fd, const struct dr_meta *want,
	const struct dr_meta *have, unsigned parts, enum dr_meta_part *ret_part);

#endif
