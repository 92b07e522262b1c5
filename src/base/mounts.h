/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_MOUNTS_H
#define DR_BASE_MOUNTS_H

#include "base/buf.h"

/*
 * Whether a lock on this file is seen by every host that mounts the same file system. A leader's lock that is
 * only local would make two leaders.
 * fd: of the file or its folder. The mount is found by fd's mount id (statx) in /proc/self/mountinfo.
 * @return 0 it is, or the file system is local to this host anyway. *ret_why (malloc'ed; NULL: unknown to us, taken for good)
 * @error ENOLCK it is not: *ret_why (malloc'ed) says which mount and option, e.g.
 *        "/mnt/lustre is mounted with localflock: locks do not reach other hosts; mount it with flock"
 */
dr_nodiscard int dr_mount_locks(int fd, char **ret_why);

/* The id of the mount that an open file is on, as mountinfo(5) has it. @error ENOENT this kernel does not tell */
dr_nodiscard int dr_mount_id(int fd, uint64_t *ret_id);

/* The rule alone, on one line of mountinfo(5). @return 0, or -ENOLCK with *ret_why */
dr_nodiscard int dr_mount_locks_line(const char *line, char **ret_why);

#endif
