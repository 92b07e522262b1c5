/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_LAB_TREE_H
#define DR_LAB_TREE_H

#include "base/buf.h"

#include <sys/stat.h>

/*
 * Copies one tree into an empty directory, as `cp -a TREE/. DIR` does: directories, symlinks, fifos, devices,
 * sockets and hard links, with owners (as root), modes, times and xattrs. What a regular file is made
 * of is the caller's business, because on one side it is a file of a lab. Paths may be of any length.
 */

/* What is not copied: a lab's own xattr. */
#define DR_TREE_SKIP_XATTR "user.lov"

struct dr_tree_file {
	int src_fd; /* open for reading */
	struct stat st;
	int dst_dir_fd;
	const char *name;
	const char *path; /* from the tree's root on */
	size_t path_len;
};

/*
 * Makes dst_dir_fd/name with the file's data; *ret_fd is open, for the attributes. After an error nothing is left of it.
 * @return 0; 1 the source could not be read: it was told, and the copy goes on; or negative errno: the copy ends
 */
typedef int dr_tree_file_fn(void *ctx, const struct dr_tree_file *file, int *ret_fd);

struct dr_tree_counts {
	uint64_t files, bytes, dirs, links, hard_links, others;
	uint64_t unreadable; /* told, and left out */
};

/*
 * Takes both descriptors. What goes wrong is told on stderr.
 * @error the first error that ended the copy, negative errno
 */
dr_nodiscard int dr_tree_copy(
	int src_fd, int dst_fd, dr_tree_file_fn *fn, void *ctx, struct dr_tree_counts *ret_counts);

/* Whether one of two absolute paths, as realpath() gives them, lies in the other or is it. */
bool dr_tree_overlap(const char *a, const char *b);

/* Opens a regular file to read it, leaving its access time alone where that is allowed. */
dr_nodiscard int dr_tree_open_file(int dirfd, const char *name);

#endif
