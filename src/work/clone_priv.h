/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_CLONE_PRIV_H
#define DR_WORK_CLONE_PRIV_H

#include "work/clone.h"

#include <sys/stat.h>

/* What the files clone*.c share; for none but them. */

#define DR_CLONE_NEW                                                                               \
	(DR_META_OWNER | DR_META_MODE | DR_META_XATTRS | DR_META_PROJECT |                         \
		DR_META_TIMES) /* flags come after the rename: an immutable file cannot be renamed */

/* ---- clone_place.c: temporary names, and how one becomes the entry. ---- */

#define DR_CLONE_NAME_SIZE 96
struct dr_clone_temp {
	int dir_fd; /* lent */
	char name[DR_CLONE_NAME_SIZE];
	uint64_t dev, ino;       /* of what was made under it; ino 0: nothing yet */
	uint32_t mode, uid, gid; /* that it was made with */
	int fd; /* of a file that has no name at all yet, and goes when this is closed; else -EBADF */
};

void dr_clone_temp_init(struct dr_clone_temp *temp, const struct dr_cloner *cloner, int to_fd,
	uint64_t ino, uint64_t delivery);
/* The one that all parts of that version of a file share, and no other version. */
void dr_clone_temp_init_parts(struct dr_clone_temp *temp, const struct dr_cloner *cloner, int to_fd,
	const struct dr_clone_stamp *stamp);
/* Notes the inode of what was made: that of fd, or of the name when fd is -1. */
dr_nodiscard int dr_clone_temp_made(struct dr_clone_temp *temp, int fd);
/* Removes it, when the name still is what was made. A file without a name is closed. */
void dr_clone_temp_drop(struct dr_clone_temp *temp);
/*
 * Renames it to the name; what has that name is replaced: a directory when it is empty.
 * @error ESTALE the temporary name is gone, or leads to another inode: a newer worker has the job; EISDIR a directory that is not empty; others of renameat
 */
dr_nodiscard int dr_clone_place(const struct dr_clone_temp *temp, const char *name);
/*
 * Gives a file without a name its name, which nobody must have: nothing is replaced, so that a late worker cannot take the place of what a newer one made.
 * @error ESTALE somebody has it by now; others of linkat, of which those that say that it cannot be done here set cloner->no_nameless
 */
dr_nodiscard int dr_clone_place_nameless(
	struct dr_cloner *cloner, const struct dr_clone_temp *temp, const char *name);
/* Removes what workers with smaller deliveries left, without reading the directory. */
void dr_clone_sweep(const struct dr_cloner *cloner, int to_fd, uint64_t ino, uint64_t delivery);
/* Takes the immutable and append-only flags off. @error EPERM there are none */
dr_nodiscard int dr_clone_unlock(int dir_fd, const char *name);
/* @return 1 it is a directory with entries; 0 it is not */
dr_nodiscard int dr_clone_is_full_dir(int dir_fd, const char *name);

/* ---- clone_data.c ---- */

/* Copies [offset, end) between open files; holes of the source are left out. @param ret_step the side that failed @error ESTALE the source ends before */
dr_nodiscard int dr_clone_copy_data(struct dr_cloner *cloner, int from, int to, uint64_t offset,
	uint64_t end, bool is_sparse, enum dr_step *ret_step);
/* Compares the contents, both of that size. @return 1 they agree; 0 not, or the target cannot be read @error of reading the source */
dr_nodiscard int dr_clone_same_data(
	const struct dr_cloner *cloner, int from, int to, uint64_t size);
/* Whether a file of that size and so many blocks of 512 bytes may have holes. */
static inline bool dr_clone_is_sparse(uint64_t size, uint64_t blocks)
{
	return blocks < (size + 511) / 512;
}

/* Whether what is made in the directory begins with nothing of its parent's, as far as that was asked. */
static inline bool dr_clone_is_bare(const struct dr_cloner *cloner, int to_fd)
{
	return cloner->is_bare && cloner->bare_fd == to_fd;
}

/* ---- clone.c ---- */

/*
 * Opens a file of the source for reading, which leaves its atime alone.
 * @error ESTALE it is no regular file any more; those of openat
 */
dr_nodiscard int dr_clone_open(int from_fd, const char *name);
bool dr_clone_stamp_is(const struct dr_clone_stamp *stamp, const struct stat *st);
/*
 * Waits until a change of the source would give it another ctime than this: the clock of times only ticks, and a change within the tick in which the stamp was taken
 * would not be seen.
 * @return it waited: what was read of the source is to be read again
 */
bool dr_clone_let_tick(const struct dr_cloner *cloner, const struct timespec *ctime);
/* An attribute that does not fit in its file system is ENOSPC to some, though that has room: then E2BIG. */
int dr_clone_attrs_error(int to_fd, int error, enum dr_meta_part part);
/*
 * Makes the temporary file with the layout that the source's file asks for. One that is there already goes, unless it is shared: then EEXIST.
 * @return the descriptor
 */
dr_nodiscard int dr_clone_create(const struct dr_cloner *cloner, const struct dr_clone_temp *temp,
	int from, uint64_t size, bool is_shared);
/*
 * Makes a file without a name, which leaves nothing behind when its worker dies, and costs half of a rename. For what the target does not have, in a directory that hands down nothing.
 * @param mode its permissions, which nobody can use yet
 * @return the descriptor @error those of openat, of which those that say that it cannot be done here set cloner->no_nameless
 */
dr_nodiscard int dr_clone_create_nameless(
	struct dr_cloner *cloner, const struct dr_clone_temp *temp, uint32_t mode);
/* Everything but flags, of what dr_clone_temp_made() was told. */
dr_nodiscard int dr_clone_dress(const struct dr_cloner *cloner, const struct dr_clone_temp *temp,
	int fd, const struct dr_meta *want);
/* Flags, of a file that has its name. */
dr_nodiscard int dr_clone_lock(int to_fd, const char *name, const struct dr_meta *want);
/* What a file that has its name is given last: the project, where the rename took it, and flags. */
dr_nodiscard int dr_clone_placed(
	const struct dr_cloner *cloner, int to_fd, const char *name, const struct dr_meta *want);
/* Whether the released data of an open source file is to be left out: @return 1 a stub; 0 not; ENODATA it is to be refused */
dr_nodiscard int dr_clone_stub(const struct dr_cloner *cloner, int from);
void dr_clone_conclude(
	struct dr_outcome *outcome, enum dr_class class, enum dr_step step, int error);
/* The class by dr_class_of(), but for what only a clone meets: a name, size or attribute that the target cannot hold is refused. */
void dr_clone_conclude_error(struct dr_outcome *outcome, enum dr_step step, int error);
int dr_clone_compare_times(
	const struct dr_cloner *cloner, const struct timespec *a, const struct timespec *b);

#endif
