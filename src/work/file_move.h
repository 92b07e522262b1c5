/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_FILE_MOVE_H
#define DR_WORK_FILE_MOVE_H

/* One file on its way: what evacuate.c and commit.c share; nothing else includes it. */

#include "work/evacuate.h"

struct dr_file_move {
	struct dr_evacuation *e;
	const struct dr_chunk_file *file;
	struct dr_outcome *outcome;
	struct dr_file *source; /* NULL once the outcome is certain */
	struct dr_vol *vol;
	struct dr_buf layout_bytes; /* as under the lease */
	struct dr_layout *layout;   /* of layout_bytes */
	struct dr_layout *placed;   /* of the volatile */
	uint32_t mirror;            /* the one that the volatile stands for; 0: the whole file */
	struct dr_stat st;          /* under the lease */
	uint64_t version;
};

static inline bool dr_file_move_is_open(const struct dr_file_move *move)
{
	return move->source != NULL;
}

/* The file's outcome is certain: it is written down, and all that was held for the file is given back. */
void dr_file_move_conclude(
	struct dr_file_move *move, enum dr_class class, enum dr_step step, int error);
/* The same, with the class that the error has at that step. */
void dr_file_move_conclude_error(struct dr_file_move *move, enum dr_step step, int error);
/* Gives all back without an outcome. */
void dr_file_move_end(struct dr_file_move *move);
/* Gives the volatile back, and what was placed for it. */
void dr_file_move_drop_vol(struct dr_file_move *move);

/*
 * Proves that the copy is whole and on the disks, then puts it in the file's place.
 * @return 0 the outcome is certain; 1 one mirror is off the sources, another is still on one: the lease is gone, the source is open
 */
int dr_file_move_commit(struct dr_file_move *move);

#endif
