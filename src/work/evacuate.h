/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_EVACUATE_H
#define DR_WORK_EVACUATE_H

#include "campaign/chunk.h"
#include "fs/fs.h"
#include "metric/metric.h"
#include "work/audit.h"
#include "work/copy.h"
#include "work/mover.h"
#include "work/target.h"

/*
 * Moves files off the sources. Needs no queue: a worker, a benchmark and a test call it alike. One thread each.
 */
struct dr_evacuation {
	struct dr_fs *fs; /* all lent */
	struct dr_targets *targets;
	const struct dr_rangeset *sources;
	const struct dr_rangeset *aside; /* sources whose files are not tried */
	struct dr_audit *audit;          /* may be NULL */
	const struct dr_mover *
		mover; /* moves the files, one a call; NULL: they are moved here. A dry run does not run it */
	uint8_t *buffer;
	size_t buffer_bytes;
	struct dr_copy_pool *pool; /* helps with large files; may be NULL */
	bool dry_run;              /* all but the volatile, the copy and the swap */
	bool fsync;
	bool verify;
	const _Atomic bool *
		stop; /* may be NULL; once set, a file in hand is put back untouched, not finished */
	bool again; /* the files may have been moved by a holder that could not tell: off the sources is success */

	/* private: the directory in hand; and whether files are tried once more, after a server had thrown us out */
	bool second_try;
	struct dr_dir *dir;
	struct dr_buf dir_path;
	int dir_error;
};

void dr_evacuation_fini(struct dr_evacuation *evacuation);

/* A server that evicted this client takes it back with the next call, so what failed by that is tried again at once. */
static inline bool dr_evacuation_tries_again(
	const struct dr_evacuation *evacuation, const struct dr_outcome *outcome)
{
	return !evacuation->second_try && outcome->error == -ESHUTDOWN;
}

/*
 * Moves some of the first n files: small ones together, so that their data reaches the disks together,
 * each under its own lease; a large one alone. Every file taken gets its outcome, whatever happens; no lease, lock or
 * volatile is left behind.
 * @return how many were taken, at least 1, or 0 when *stop was set in the midst of the first
 */
size_t dr_evacuate_some(struct dr_evacuation *evacuation, const struct dr_chunk_file *files,
	size_t n, struct dr_outcome *outcomes);

#endif
