/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "work/evacuate.h"
#include "work/worker.h"

/*
 * A move job: takes the files of a chunk in their order, some at a time, and settles as it goes, so that a
 * crash loses little and a long chunk shows its progress.
 */

#define SETTLE_NS 1000000000ull
#define SHARE_NS 100000000ull /* the least, when movers of this process are idle */
#define SHARES 4

struct job {
	struct dr_worker *worker;
	struct dr_claim *claim;
	struct dr_chunk chunk;
	struct dr_outcome *outcomes; /* of files [claim->next, done) at the start of the array */
	size_t done;
	struct dr_queue_state state;
	uint64_t settled_ns;
};

static void count(struct dr_worker *worker, const struct dr_outcome *outcomes, size_t n)
{
	uint64_t by_class[DR_N_CLASSES] = { 0 }, bytes = 0;

	for (size_t i = 0; i < n; i++) {
		by_class[outcomes[i].class]++;
		bytes += outcomes[i].class == DR_SUCCEEDED ? outcomes[i].bytes : 0;
	}
	dr_count(&worker->counters, DR_COUNT_SUCCEEDED, by_class[DR_SUCCEEDED]);
	dr_count(&worker->counters, DR_COUNT_SKIPPED, by_class[DR_BUSY] + by_class[DR_CHANGED]);
	dr_count(&worker->counters, DR_COUNT_FAILED,
		by_class[DR_REFUSED] + by_class[DR_NO_SPACE] + by_class[DR_FAILED]);
	dr_count(&worker->counters, DR_COUNT_BYTES, bytes);
}

/* parts > 0: hands the rest back in so many chunks. @return 1 settled; 0 the claim is lost */
static int settle(struct job *job, unsigned parts)
{
	struct dr_worker *worker = job->worker;
	int r;

	dr_audit_flush(&worker->audit);
	r = dr_ledger_settle_move(worker->store, job->claim, &job->chunk, job->outcomes, job->done,
		parts, &worker->work->rules, &job->state);
	job->settled_ns = dr_now_ns();
	/* What a full log did not take before, it may take after an outage that the settle has waited for. */
	dr_audit_flush(&worker->audit);
	if (r <= 0) {
		return r;
	}
	dr_rangeset_fini(&worker->aside);
	worker->aside = job->state.aside;
	job->state.aside = (struct dr_rangeset){ 0 };
	if (job->state.drained) {
		dr_worker_drained(worker);
	}
	return 1;
}

/* Moves the rest of the chunk. @return 1 all of it settled; 0 lost or given back */
static int run(struct job *job, struct dr_evacuation *evacuation)
{
	struct dr_worker *worker = job->worker;
	struct dr_claim *claim = job->claim;
	size_t n = job->chunk.n_files;

	do {
		if (job->done < n) {
			const struct dr_chunk_file *file = &job->chunk.files[job->done];

			dr_worker_show(
				worker, file->dir, file->dir_len, file->name, file->name_len);
			struct dr_outcome *outcomes = job->outcomes + (job->done - claim->next);
			size_t taken = dr_evacuate_some(evacuation, file, n - job->done, outcomes);

			/* No lease is held now, so a log that hangs holds nobody up who opens a file. */
			dr_audit_flush(&worker->audit);
			count(worker, outcomes, taken);
			job->done += taken;
		}
		if (dr_claim_is_lost(&worker->work->claims, claim)) {
			return 0;
		}
		bool yield = dr_worker_should_yield(worker);

		bool idle =
			atomic_load_explicit(&worker->work->idle_movers, memory_order_relaxed) > 0;

		if (job->done < n && !yield &&
			dr_now_ns() - job->settled_ns < (idle ? SHARE_NS : SETTLE_NS)) {
			continue;
		}
		int r = settle(job, 0);

		if (r <= 0) {
			return r;
		}
		if (job->done + 1 < n && job->state.hungry && !yield) {
			/* Others have nothing to do: each gets a share, and so do we. */
			int shared = settle(job, SHARES);

			dr_work_wake(worker->work);
			return shared;
		}
		if (job->done < n && (yield || !job->state.running)) {
			dr_claim_give_back(worker->store, claim);
			return 0;
		}
	} while (job->done < n);
	return 1;
}

int dr_move_job(struct dr_worker *worker, struct dr_claim *claim)
{
	const struct dr_work_config *config = &worker->work->config;
	struct job job = { .worker = worker, .claim = claim, .settled_ns = dr_now_ns() };
	struct dr_evacuation evacuation = {
		.fs = config->fs,
		.targets = worker->work->targets,
		.sources = &config->spec->osts,
		.aside = &worker->aside,
		.audit = &worker->audit,
		.mover = worker->work->mover.words ? &worker->work->mover : NULL,
		.buffer = worker->buffer,
		.buffer_bytes = worker->work->buffer_bytes,
		.pool = worker->work->pool,
		.dry_run = config->dry_run,
		.fsync = config->options->fsync,
		.verify = config->options->verify,
		.stop = &worker->work->stopping,
		.again = claim->again,
	};
	int r = dr_chunk_decode(claim->payload.data, claim->payload.len, &job.chunk);

	if (r == 0 && (job.chunk.n_files != claim->n_files || claim->next > claim->n_files)) {
		dr_chunk_fini(&job.chunk);
		r = -EBADMSG;
	}
	if (r == 0) {
		job.done = (size_t)claim->next;
		job.outcomes = dr_xcalloc(job.chunk.n_files - job.done + 1, sizeof(*job.outcomes));
		r = run(&job, &evacuation);
		free(job.outcomes);
	} else {
		dr_log(DR_LOG_ERROR, "chunk-unreadable", "id=%s bytes=%zu", claim->id,
			claim->payload.len);
	}
	dr_evacuation_fini(&evacuation);
	dr_chunk_fini(&job.chunk);
	dr_rangeset_fini(&job.state.aside);
	dr_claim_drop(&worker->work->claims, claim);
	return r < 0 ? r : 0;
}
