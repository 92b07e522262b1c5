/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_EVACUATE_H
#define DR_WORK_EVACUATE_H

#include "campaign/chunk.h"
#include "fs/fs.h"
#include "metric/metric.h"
#include "work/audit.h"
#include "work/command.h"
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
	const struct dr_command *
		command; /* moves the files, one a call; NULL: they are moved here. A dry run does not run it */
	uint8_t *buffer;
	size_t buffer_bytes;
	bool dry_run; /* all but the volatile, the copy and the swap */
	bool fsync;
	bool verify;
	const _Atomic bool *
		stop; /* may be NULL; once set, a file in hand is put back untouched, not finished */
	bool again; /* the files may have been moved by a holder that could not tell: off the sources is success */

	/* private: the directory in hand */
	struct dr_dir *dir;
	struct dr_buf dir_path;
	int dir_error;
};

void dr_evacuation_fini(struct dr_evacuation *evacuation);

/*
 * Moves some of the first n files: small ones together, so that their data reaches the disks together,
 * each under its own lease; a large one alone. Every file taken gets its outcome, whatever happens; no lease, lock or
 * volatile is left behind.
 * @return how many were taken, at least 1, or 0 when *stop was set in the midst of the first
 */
size_t dr_evacuate_some(struct dr_evacuation *evacuation, const struct dr_chunk_file *files,
	size_t n, struct dr_outcome *outcomes);

#endif
