/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_CLONE_H
#define DR_WORK_CLONE_H

#include "campaign/outcome.h"
#include "fs/tree.h"
#include "work/meta.h"

#include <stdatomic.h>

/*
 * One entry of a tree into another tree. What a name of the target holds is at every moment its old version or the new one, whole: a new version
 * is made beside it under a temporary name and renamed over it.
 *
 * Temporary names: ".drover-WORD-INO.DELIVERY", of the campaign's word, the source's inode, and how often the job was handed out. A worker begins
 * by removing those of smaller deliveries; whose temporary name was removed cannot rename it, and gives up (changed).
 * That which the parts of a huge file share is ".drover-WORD-INO.0-VERSION", 16 hexadecimal digits of its stamp: parts of two versions never meet in one file.
 * Nothing here syncs: who settles does, once for many (clone_sync.h).
 *
 * Threads: a cloner belongs to one. Directories are given as open descriptors, one of each tree.
 */

/*
 * What becomes of a released file whose data the target has not:
 *   skip  refused, at DR_STEP_LAYOUT with ENODATA
 *   stub  a sparse file of its size, without data and with all attributes (bytes: 0). By size and mtime it is the same from then on: only `checksum` finds, of a file that was restored
 *         since, that its data is missing.
 *   copy  read, which restores it
 */
enum dr_released { DR_RELEASED_SKIP, DR_RELEASED_STUB, DR_RELEASED_COPY };

struct dr_cloner {
	const struct dr_tree *from, *to; /* lent, as all below */
	const char *word;                /* of the campaign: 16 hexadecimal digits */
	bool checksum;                   /* data is compared, not size and mtime */
	/* Nothing is made, changed or removed; outcomes as if. to_fd may be negative then: a directory that was not made. */
	bool dry_run;
	enum dr_released released; /* files whose data is in an archive alone */
	const struct dr_clone_layouts
		*layouts; /* NULL: a file's layout is the target directory's default */
	uint8_t *buffer;  /* aligned to a page */
	size_t buffer_bytes;
	const _Atomic bool *stop; /* then a copy ends with ECANCELED, outcome busy */
	/* What the cloner has learned; zero where it has not. */
	bool no_range_copy; /* these two file systems have no copy_file_range() */
	bool no_nameless;   /* the target has no O_TMPFILE, or does not link such files */
	bool no_projects;   /* by dr_clone_begin() */
	bool is_bare;       /* by dr_clone_enter(): that directory hands down nothing */
	int bare_fd;
};

/*
 * Neither has to be called; each spares some calls of the kernel a file.
 * dr_clone_begin(): once; whether the source has project IDs at all.
 * dr_clone_enter(): for each directory of the target before its first entry, and after dr_clone_dir() changed it; whether what is made in it begins with an ACL or a project.
 * Who calls it for one directory calls it for all.
 */
dr_nodiscard int dr_clone_begin(struct dr_cloner *cloner);
dr_nodiscard int dr_clone_enter(struct dr_cloner *cloner, int to_fd);

/* How an entry of the source stands to the target's of the same name. */
enum dr_clone_verdict {
	DR_CLONE_SAME,
	DR_CLONE_META, /* data and type agree, something else does not */
	DR_CLONE_DATA, /* there is no such entry, or its data or type is another */
};

/*
 * Compares by metadata alone, but with `checksum`. Data is the same when type and size agree, and mtime at the coarser side's resolution; a symlink's when
 * its target agrees, a device's when its number does. A file with one name whose target has several is not the same: the others are not its own;
 * nor is one whose attributes differ and whose target has more names than it: correcting them in place could be wrong for the others.
 * @param ret_meta of the source; the caller's (dr_meta_fini())
 * @error ENOENT the source's entry is gone; others of lstat and of reading attributes
 */
dr_nodiscard int dr_clone_compare(const struct dr_cloner *cloner, int from_fd, int to_fd,
	const char *name, struct dr_meta *ret_meta, enum dr_clone_verdict *ret_verdict);

/*
 * Makes the target's entry like the source's: any type but directories. Total: every way that it can end is an outcome.
 *   succeeded  copied, or corrected (bytes: of data that was copied)
 *   unneeded   it was the same; with `again` it is copied all the same, because a worker that died may have made it and not synced it
 *   gone       the source's name leads to nothing, or to another inode
 *   changed    the source changed while it was copied, twice; or a newer worker has the job
 *   refused    released (DR_RELEASED_SKIP), a socket that is no longer there, a name or attribute that the target cannot hold
 *   no_space, failed
 * A source that changed within the last tick of its file system's clock (10 ms; a second on Lustre) is waited for, so that a change during the copy shows in its ctime.
 * Changed is DR_STEP_VERSION, when it is the source that did, and DR_STEP_SWAP for a newer worker. A directory of the target that is empty is removed; one that is not: refused, EISDIR.
 * Two names of one inode in one directory have the same temporary name: they must not be copied at the same time (of hard links one is elected).
 * Times, owner, mode, ACLs, xattrs, project, and immutable flags last.
 * @param ino of the source as it was scanned; 0: any
 */
void dr_clone_entry(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	uint64_t ino, uint64_t delivery, bool again, struct dr_outcome *ret_outcome);

/*
 * Makes the target's name a hard link to another name of the target, the elected one of the same source inode. Nothing is done when it is one already (unneeded).
 * An elected one that is not there, or has not the source's type, size and mtime, is `changed` too.
 * @param with_fd, with the directory and name of the elected one
 * @param ino of the source: another by now, or not with the elected name any more (from_with_fd), is `changed`
 */
void dr_clone_link(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	int from_with_fd, int with_fd, const char *with, uint64_t ino, uint64_t delivery,
	struct dr_outcome *ret_outcome);

/* ---- Huge files: parts by several workers, one of whom ends it. ---- */

/* What a file was when it was cut; every worker checks it. */
struct dr_clone_stamp {
	uint64_t ino, size;
	struct timespec mtime, ctime;
};
/*
 * Copies [offset, offset + length) into the temporary file that all parts share (delivery 0), which the first makes. Holes stay holes.
 *   succeeded (bytes: of the part); changed: the source is not what the stamp says, the temporary file is removed; gone; no_space; failed
 */
void dr_clone_part(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	const struct dr_clone_stamp *stamp, uint64_t offset, uint64_t length,
	struct dr_outcome *ret_outcome);
/*
 * All parts are on disk: attributes, then the rename, only while the source is still what the stamp says. The temporary file goes when it is not.
 *   succeeded (bytes: 0, the parts counted theirs), also when a worker that died had done it; changed also when there is no temporary file and the target is not the same: no part's work is left
 */
void dr_clone_end_parts(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	const struct dr_clone_stamp *stamp, struct dr_outcome *ret_outcome);

/* ---- Directories ---- */

/*
 * Makes a directory of the target, or corrects one that is there: owner, mode, ACLs, xattrs, project, default layout; times are left to dr_clone_dir_times().
 * Something else of that name is removed first when it is no directory. Immutable and append-only flags are taken off, and come with the times: entries have to be made in it.
 * @param mdt where a new one is made on Lustre; -1: where the parent is
 * @return 1 it was made, and is empty; 0 it was there
 */
dr_nodiscard int dr_clone_dir(
	struct dr_cloner *cloner, int from_fd, int to_fd, const char *name, int mdt);
/* Gives an open directory of the target the times, and what else differs, of the source's. @return 1 changed; 0 they agreed */
dr_nodiscard int dr_clone_dir_times(struct dr_cloner *cloner, int from_dir_fd, int to_dir_fd);

/* Whether the name is a temporary one of some campaign of drover's; *ret_is_ours: of this one. */
bool dr_clone_is_temporary(const struct dr_cloner *cloner, const char *name, bool *ret_is_ours);

#endif
