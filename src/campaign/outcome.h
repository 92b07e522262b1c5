/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_OUTCOME_H
#define DR_CAMPAIGN_OUTCOME_H

#include "base/prelude.h"

/* What became of one file. */
enum dr_class {
	DR_SUCCEEDED,
	DR_UNNEEDED, /* no longer on a source */
	DR_GONE,     /* the name leads to no file, or to another one */
	DR_BUSY,     /* somebody has it open for writing, or opened it while it moved */
	DR_CHANGED,  /* its data changed while it moved */
	DR_REFUSED,  /* immutable, released, an unsupported layout, no permission */
	DR_NO_SPACE, /* no target had room */
	DR_FAILED,   /* an error, with its step and errno */
	DR_N_CLASSES,
};

/* The step of the move that decided. Leftovers keep its number: a new one goes to the end. */
enum dr_step {
	DR_STEP_OPEN,
	DR_STEP_LEASE,
	DR_STEP_LAYOUT,
	DR_STEP_VERSION,
	DR_STEP_TARGET,
	DR_STEP_CREATE,
	DR_STEP_COPY,  /* reading the source */
	DR_STEP_WRITE, /* writing to a target */
	DR_STEP_SYNC,
	DR_STEP_VERIFY,
	DR_STEP_ATTRS,
	DR_STEP_SWAP,
	DR_STEP_ASIDE, /* not tried: its source failed too often in a row */
	DR_STEP_DONE,
	DR_STEP_COMMAND, /* mover = lfs: the command itself */
	DR_N_STEPS,
};

#define DR_OUTCOME_OSTS                                                                            \
	8 /* sources of one file that an outcome names; more are rare, and left out */

struct dr_outcome {
	enum dr_class class;
	enum dr_step step;
	int error;      /* negative errno, or 0 */
	uint64_t bytes; /* of the file */
	uint32_t n_osts;
	uint32_t osts[DR_OUTCOME_OSTS]; /* the sources that it had objects on */
};

const char *dr_class_name(enum dr_class class);
const char *dr_step_name(enum dr_step step);

/* Whether a file of this class stays on its source and is listed as a leftover. */
static inline bool dr_class_is_leftover(enum dr_class class)
{
	return class >= DR_BUSY;
}

/* Whether it is retried by itself after a while. */
static inline bool dr_class_is_skipped(enum dr_class class)
{
	return class == DR_BUSY || class == DR_CHANGED;
}

/*
 * The class of an error at a step, by the tables in docs/moving.md: EBUSY busy; ENOENT gone; EPERM,
 * EACCES, EROFS, ETXTBSY, ENOKEY, EOPNOTSUPP, EBADMSG refused; ENOSPC, EDQUOT, EFBIG, ENOBUFS no_space; ESTALE, EAGAIN changed;
 * all else failed.
 */
enum dr_class dr_class_of(enum dr_step step, int error);

#endif
