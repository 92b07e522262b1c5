/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_CLAIM_H
#define DR_CAMPAIGN_CLAIM_H

#include "base/rangeset.h"
#include "store/store.h"

#include <pthread.h>

/*
 * A job that a worker holds. Its token is (consumer name, delivery count): the name is unique to
 * process, thread and epoch; the count rises whenever the job changes hands. Whoever settles with a token
 * that no longer stands is refused, and drops what it found.
 */
enum dr_job { DR_JOB_SCAN, DR_JOB_MOVE };

#define DR_WHO_SIZE 176

struct dr_claim {
	enum dr_job job;
	char who[DR_WHO_SIZE];  /* consumer */
	char id[48];            /* entry of the stream */
	uint64_t deliveries;    /* 1 the first time it is handed out */
	struct dr_buf payload;  /* a frontier or a chunk */
	struct dr_buf progress; /* of a scan: the frontier as it was last settled; empty at first */
	uint64_t n_files;       /* of a chunk */
	uint64_t next;          /* of a chunk: files before this one are settled */
	uint64_t attempt;       /* of a chunk of leftovers: how often it was retried by itself */
	bool again;   /* of a chunk: a holder that died may have moved some of its files */
	uint64_t seq; /* of a scan: settles so far, whoever made them */
	struct dr_claim *newer, *older; /* in the table, under its lock */
	bool lost;                      /* under the table's lock */
};

/* All claims that a process holds, so that one thread can keep them fresh. Threads: any. */
struct dr_claim_table {
	pthread_mutex_t lock;
	struct dr_claim *first;
};

void dr_claim_table_init(struct dr_claim_table *table);
void dr_claim_table_fini(struct dr_claim_table *table);

enum dr_claim_none {
	DR_NONE_EMPTY = 0,  /* nothing is queued now */
	DR_NONE_HOLD = 1,   /* scanners rest: enough is queued */
	DR_NONE_PAUSED = 2, /* or not started */
	DR_NONE_OVER = 3,   /* the campaign is in a final state */
};

/*
 * Takes a job for consumer who; a scan only while fewer files than max_pending are queued. On success the claim is in the table, until dr_claim_drop().
 * aside: the sources whose files are not to be tried; may be NULL.
 * @return 1 taken; 0 none, *ret_none says why. @error ECANCELED stopping; EPROTO
 */
dr_nodiscard int dr_claim_take(struct dr_store *store, struct dr_claim_table *table,
	enum dr_job job, uint64_t max_pending, const char *who, struct dr_claim *claim,
	struct dr_rangeset *aside, enum dr_claim_none *ret_none);
/* Gives it back for another worker, with the progress that was settled. Best effort: what fails goes stale by itself. */
void dr_claim_give_back(struct dr_store *store, struct dr_claim *claim);
/* Takes it out of the table and frees what it holds. Settled, given back or lost. */
void dr_claim_drop(struct dr_claim_table *table, struct dr_claim *claim);

/* Whether a refresh found the claim in other hands: what is done for it is done twice. */
bool dr_claim_is_lost(struct dr_claim_table *table, const struct dr_claim *claim);

/* Keeps every claim of the table; those that are lost are marked. */
dr_nodiscard int dr_claim_refresh(struct dr_claim_table *table, struct dr_store *store);
/*
 * Returns to the queue what was idle for longer than timeout_ms, and what the dead processes held, and forgets
 * those. *ret_holders (malloc'ed, each malloc'ed) are the processes that hold claims or say that they live.
 * @return how many jobs were returned
 */
dr_nodiscard int dr_claim_reap(struct dr_store *store, uint64_t timeout_ms, char *const *dead,
	size_t n_dead, char ***ret_holders, size_t *ret_n_holders);

#endif
