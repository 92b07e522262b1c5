/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_PATHS_H
#define DR_HSM_PATHS_H

#include "fs/fs.h"

/*
 * Paths of FIDs, as the file system that is mounted somewhere knows them, asked by one call each and kept: at most so many, the oldest out
 * first. What was found is believed for five minutes, for files are renamed; that nothing was found, for five seconds.
 * Threads: one at a time.
 */
struct dr_paths;

#define DR_PATHS_MAX 16384u
#define DR_PATHS_KEEP_NS UINT64_C(300000000000)
#define DR_PATHS_KEEP_NONE_NS UINT64_C(5000000000)

/*
 * @param max how many are kept; 0: DR_PATHS_MAX
 * @error EOPNOTSUPP there is no file system with FIDs; ENOENT and others of dr_fs_open()
 */
dr_nodiscard int dr_paths_open(const char *mountpoint, size_t max, struct dr_paths **ret_paths);
void dr_paths_close(struct dr_paths *paths);

/*
 * The absolute path of that file at now_ns (dr_now_ns()), lent until the next call. Bytes of any kind, with a NUL.
 * @error ENOENT no such file, or none with a name; EPERM this user may not ask; others of the file system: not kept
 */
dr_nodiscard int dr_paths_find(
	struct dr_paths *paths, const struct dr_fid *fid, uint64_t now_ns, const char **ret_path);

/* How often the file system was asked. */
uint64_t dr_paths_n_asked(const struct dr_paths *paths);

#endif
