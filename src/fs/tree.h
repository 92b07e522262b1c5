/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_FS_TREE_H
#define DR_FS_TREE_H

#include "fs/fs.h"

/*
 * A tree that is cloned, or cloned into: one directory, held open, and what lies below it on the same file system. Everything is reached from that descriptor,
 * component by component, never through a symlink, never into another mount: a tree whose file system is gone, or was mounted over, gives errors and not
 * another tree's files. Plain system calls serve Lustre and all others alike; what is Lustre's own is asked for in fs/tree_lustre.h.
 *
 * Threads: all functions from all threads.
 */
struct dr_tree {
	int fd;
	char *path;           /* absolute, as resolved at dr_tree_open() */
	enum dr_fs_kind kind; /* DR_FS_LUSTRE, DR_FS_POSIX */
	uint64_t dev, ino;    /* of the directory */
	/* Times are kept in whole multiples of so many nanoseconds: 1, or 1,000,000,000 on Lustre and on ext3; 2 s on FAT. */
	uint32_t time_ns;
	char *fs_identity; /* as the driver gives it, of when the directory was opened */
};

/*
 * Opens the directory. Symlinks in the path are followed here, once.
 * On an error *ret_message (malloc'ed, one line) says what is wrong.
 * @error ENOENT, ENOTDIR, EACCES; EOPNOTSUPP a lab: its files are stubs
 */
dr_nodiscard int dr_tree_open(const char *path, struct dr_tree **ret_tree, char **ret_message);
void dr_tree_free(struct dr_tree *tree);
static inline void dr_tree_freep(struct dr_tree **tree)
{
	dr_tree_free(*tree);
}

#define DR_TREE_IDENTITY_SIZE 256
/*
 * A text that tells this directory from every other: the file system's identity (fs.h), and the directory's FID on Lustre, elsewhere its inode and the
 * time of its birth, where there is one. It stays the same over remounts and on other nodes.
 * @error ENAMETOOLONG a file system that is told by its mount point alone, whose path is too long
 */
dr_nodiscard int dr_tree_identity(const struct dr_tree *tree, char text[DR_TREE_IDENTITY_SIZE]);
/* Whether the path still leads to the directory that is held. @return 1 yes; 0 no */
dr_nodiscard int dr_tree_is_there(const struct dr_tree *tree);

/*
 * Opens a directory of the tree for reading; the caller closes it. "" is the tree's own.
 * Reading it leaves its atime as it is, where its owner or root does.
 * @error ENOENT; ENOTDIR; ELOOP a component is a symlink; EXDEV something is mounted there, be it of the same file system, or it is Lustre's .lustre; EINVAL ".."
 */
dr_nodiscard int dr_tree_dir(const struct dr_tree *tree, const void *path, size_t len);

/* An entry of a directory: its name, lent until the callback returns, and what getdents() says of it; DR_TYPE_UNKNOWN: nobody says. */
typedef int dr_tree_entry_fn(
	void *arg, const char *name, size_t len, enum dr_type type, uint64_t ino);
/*
 * Gives all entries but "." and ".." of an open directory, from its beginning. fn ends it by a value that is not 0.
 * @return 0 the directory was read whole, without an error; what fn returned
 * @error those of getdents(): then nothing is known about what was not given
 */
dr_nodiscard int dr_tree_read(int dir_fd, dr_tree_entry_fn *fn, void *arg);

#endif
