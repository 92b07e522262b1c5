/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_CLONE_WORK_H
#define DR_WORK_CLONE_WORK_H

/* What the parts of a clone's workers share; nothing else includes it. */

#include "campaign/stages.h"
#include "work/clone.h"
#include "work/clone_filter.h"
#include "work/clone_layout.h"
#include "work/worker.h"

/* Of a process. Threads: all read it; `sync` has locks of its own. */
struct dr_clone_work {
	const struct dr_spec *spec;
	struct dr_tree *from, *to;
	struct dr_clone_filter filter;
	struct dr_clone_layouts *layouts;
	char word[17];    /* of temporary names */
	bool no_projects; /* the source has no project IDs */
	enum dr_stage stages[DR_N_STAGES];
	size_t n_stages;
	uint32_t *
		mdts; /* of the target, for directories of the first level; NULL: wherever the root is */
	size_t n_mdts;
	_Atomic uint64_t next_mdt;
	struct dr_clone_sync *sync;
};

/*
 * Opens both trees, proves that they are those of the campaign, and reads what its folder has for them.
 * @error ESTALE another tree than the campaign's; others of opening; each is logged
 */
dr_nodiscard int dr_clone_work_new(
	const struct dr_work_config *config, struct dr_clone_work **ret_clone);
void dr_clone_work_free(struct dr_clone_work *clone);
/* Whether both paths still lead to the trees that are held: asked before every claim. What is wrong is logged once in a while. */
bool dr_clone_roots_hold(const struct dr_clone_work *clone);

/* Room that is missing may be made: pauses the campaign, when the error says so. @return false it is something else, or nobody is there to be told */
bool dr_clone_pauses_for_room(struct dr_store *store, int error);

/* A cloner of a worker. buffer NULL: for comparing alone. */
struct dr_cloner dr_clone_cloner(const struct dr_worker *worker);
/* Whether the path is excluded or excepted: neither copied nor deleted. */
bool dr_clone_leaves_out(const struct dr_clone_work *clone, const char *path, size_t len);

/* The two kinds of job, as dr_scan_job() and dr_move_job(). The second takes the claim over, which was allocated by itself: it is settled by the syncer. */
dr_nodiscard int dr_clone_scan_job(struct dr_worker *worker, struct dr_claim *claim);
dr_nodiscard int dr_clone_move_job(struct dr_worker *worker, struct dr_claim *claim);

/* ---- clone_sync.c: what a settle calls done is on disk ---- */

/*
 * A thread that takes finished jobs, syncs the target's file system once for all that are there, and settles them, while the workers go on.
 * Threads: dr_clone_sync_put() from all workers.
 */
struct dr_clone_sync;

/* A job as far as it was done. */
struct dr_finished {
	struct dr_claim *claim;      /* owned */
	struct dr_chunk chunk;       /* owned */
	struct dr_outcome *outcomes; /* of files [claim->next, done); owned */
	size_t done;                 /* fewer than chunk.n_files: the rest is given back */
	unsigned slot;               /* of dr_clone_sync_slot() */
};

/*
 * A consumer of the queue holds one claim at a time, and a mover's is still held when it takes the next: so each claim has a consumer's name of its own, from a
 * bounded stock. Waits while all are in use.
 */
unsigned dr_clone_sync_slot(struct dr_clone_sync *sync);
/* Where no job came of it. */
void dr_clone_sync_slot_back(struct dr_clone_sync *sync, unsigned slot);

/* @param to the target: opened anew, for Linux tells of a lost write once to each open file. Before the first job is taken. */
dr_nodiscard int dr_clone_sync_new(
	struct dr_work *work, const struct dr_tree *to, struct dr_clone_sync **ret_sync);
/* Takes the job over. Waits while too many are not settled yet. */
void dr_clone_sync_put(struct dr_clone_sync *sync, struct dr_finished *finished);
/* Settles all that is there, and ends the thread. The link must still work, or be stopped. */
void dr_clone_sync_free(struct dr_clone_sync *sync);

#endif
