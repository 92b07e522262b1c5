/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_CLONE_WALK_H
#define DR_WORK_CLONE_WALK_H

/* What the scanner of a clone is made of (clone_walk.c, clone_walk_target.c); nothing else includes it. */

#include "work/clone_prune.h"
#include "work/clone_work.h"
#include "work/filter.h"
#include "work/scan_job.h"

/* A name of a file with several, before it is known which of them is copied. */
struct dr_walk_name {
	struct dr_path path; /* bytes owned */
	size_t name;         /* offset of the last component */
	struct dr_chunk_file file;
	bool is_same; /* the target's entry agrees */
};

/* A scan job of a clone. Its thread alone uses it. */
struct dr_walk {
	struct dr_scan job;
	struct dr_clone_work *clone;
	struct dr_cloner cloner;
	enum dr_stage stage;
	struct dr_filter_dir filter;
	int sync_fd;        /* of the target, for syncfs() */
	int from_fd, to_fd; /* of the directory in hand */
	bool is_fresh;      /* the target's is empty */
	struct dr_chunk_builder builder, held;
	struct dr_walk_name *names;
	size_t n_names;
	struct dr_prune prune; /* counts over all directories of the job */
	struct dr_buf deleted; /* lines for the log */
	int broken; /* what was found cannot be settled: the job ends, and goes on later from its last settle */
};

static inline void dr_walk_count(struct dr_walk *walk, enum dr_clone_count which, uint64_t by)
{
	walk->job.results.counts[which] += by;
}

/* ---- clone_walk.c ---- */

/* What a filter and a chunk need to know of an entry of the source's directory in hand. @error ENOENT; others of lstat */
dr_nodiscard int dr_walk_look(struct dr_walk *walk, const char *name, struct dr_meta *meta);

/* ---- clone_walk_target.c: the target's directory in hand, as a whole ---- */

/* Logs a difference, and counts it. path "": the root */
void dr_walk_tell_difference(struct dr_walk *walk, const char *path, size_t len, const char *what);
/* Compares the attributes of the two directories. What cannot be read is told as an error of the scan. */
void dr_walk_verify_dir(struct dr_walk *walk);
/*
 * What the target has and the source has not: counted, deleted or told, as the stage wants it.
 * @return 0 @error ECHILD the campaign was failed, for more was to go than --max-delete; others of reading either directory: nothing of it is gone that the source has
 */
dr_nodiscard int dr_walk_prune(struct dr_walk *walk);
/*
 * A delete pass begins at the root: whether the target is still this source's alone. The leader asks it before the stage, but for one that is the campaign's first.
 * Where it is not, the campaign is failed.
 */
dr_nodiscard bool dr_walk_may_delete(struct dr_walk *walk);

#endif
