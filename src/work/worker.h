/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_WORKER_H
#define DR_WORK_WORKER_H

/* What the files of src/work share; nothing outside includes it. */

#include "campaign/ledger.h"
#include "work/audit.h"
#include "work/copy.h"
#include "work/mover.h"
#include "work/target.h"
#include "work/work.h"

#include <pthread.h>
#include <stdatomic.h>

#define DR_COPY_BUFFER_BYTES (1u << 20)
#define DR_COPY_PARALLEL_BYTES                                                                     \
	(4u << 20) /* where several threads copy one file: large requests to each OST */

struct dr_work {
	struct dr_work_config config;
	struct dr_claim_table claims;
	struct dr_targets *targets;
	struct dr_copy_pool
		*pool; /* NULL where the file system takes one thread a file, or none is wanted */
	size_t buffer_bytes; /* of each copying thread */
	struct dr_ledger_rules rules;
	struct dr_mover mover;       /* of mover = lfs; else zero */
	struct dr_clone_work *clone; /* of a clone; else NULL */
	_Atomic bool stopping;
	_Atomic bool running; /* not paused, not over, as far as this process knows */
	_Atomic unsigned idle_scanners,
		idle_movers; /* threads of this process that found nothing */
	pthread_mutex_t lock;
	pthread_cond_t wake; /* with lock */
	uint64_t wakes;      /* under lock: counts dr_work_wake() */
	struct dr_worker *workers;
	size_t n_workers;
};

struct dr_worker {
	struct dr_work *work;
	enum dr_job job;
	unsigned number;
	char name[32]; /* "move-3" */
	char who[DR_WHO_SIZE];
	unsigned slot; /* of its consumer's name, where it has one for each claim */
	pthread_t thread;
	bool started;
	struct dr_store *store;
	struct dr_counters counters;
	struct dr_audit audit;
	uint8_t *buffer;          /* work->buffer_bytes, aligned to a page; movers only */
	struct dr_rangeset aside; /* sources whose files are not tried */
	pthread_mutex_t lock;     /* guards what follows */
	struct dr_buf current_dir, current_name;
};

/* Whether the worker should end what it does at the next safe place. */
static inline bool dr_worker_should_yield(const struct dr_worker *worker)
{
	return atomic_load_explicit(&worker->work->stopping, memory_order_relaxed) ||
	       !atomic_load_explicit(&worker->work->running, memory_order_relaxed);
}

/* Shows what the worker has in hand; name NULL: the directory itself; dir NULL: nothing. */
void dr_worker_show(struct dr_worker *worker, const char *dir, size_t dir_len, const char *name,
	size_t name_len);
/* Tells the control loop that the queue may be dry. */
void dr_worker_drained(struct dr_worker *worker);

/*
 * The two kinds of job. Both settle and end the claim themselves: done, given back, or lost.
 * @error ECANCELED stopping; EPROTO the server and we disagree: the claim is left to go stale
 */
dr_nodiscard int dr_scan_job(struct dr_worker *worker, struct dr_claim *claim);
dr_nodiscard int dr_move_job(struct dr_worker *worker, struct dr_claim *claim);

#endif
