/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "campaign/control.h"
#include "work/clone_work.h"

#include <sys/eventfd.h>

#define MOST_UNSETTLED 64 /* jobs; more, and workers wait */
#define N_SLOTS 256       /* jobs that are done, being settled, and in the workers' hands */

struct dr_clone_sync {
	struct dr_work *work;
	int to_fd; /* its own */
	pthread_t thread;
	struct dr_store *store; /* the thread's */
	struct dr_audit audit;  /* the thread's */
	pthread_mutex_t lock;   /* guards what follows */
	pthread_cond_t changed;
	struct dr_finished *jobs;
	size_t n, cap;
	bool is_taken[N_SLOTS];
	bool stop;
};

static void finished_fini(struct dr_clone_sync *sync, struct dr_finished *job)
{
	dr_claim_drop(&sync->work->claims, job->claim);
	free(job->claim);
	dr_chunk_fini(&job->chunk);
	free(job->outcomes);
	dr_clone_sync_slot_back(sync, job->slot);
}

static void tell_audit(struct dr_clone_sync *sync, const struct dr_finished *job)
{
	for (size_t i = (size_t)job->claim->next; i < job->done; i++) {
		const struct dr_outcome *outcome = &job->outcomes[i - job->claim->next];

		if (outcome->class == DR_SUCCEEDED) {
			dr_audit_moved(&sync->audit, &job->chunk.files[i], outcome->bytes, "", "");
		} else if (outcome->class != DR_UNNEEDED) {
			dr_audit_not_moved(&sync->audit, &job->chunk.files[i], outcome);
		}
	}
	dr_audit_flush(&sync->audit);
}

/* What was written and is not on the disks is not done. */
static void spoil(struct dr_finished *job, int error)
{
	/* They look as if they were done: whoever tries again is to copy them all the same. */
	job->claim->again = true;
	for (size_t i = 0; i < job->done - job->claim->next; i++) {
		struct dr_outcome *outcome = &job->outcomes[i];

		if (outcome->class == DR_SUCCEEDED) {
			outcome->class = dr_class_of(DR_STEP_SYNC, error);
			outcome->step = DR_STEP_SYNC;
			outcome->error = error;
		}
	}
}

static void settle(struct dr_clone_sync *sync, struct dr_finished *job)
{
	struct dr_queue_state state = { 0 };
	struct dr_claim *claim = job->claim;
	bool is_part = job->done < job->chunk.n_files;
	int r = 1;

	if (!dr_claim_is_lost(&sync->work->claims, claim)) {
		tell_audit(sync, job);
		if (job->done > claim->next || !is_part) {
			r = dr_ledger_settle_move(sync->store, claim, &job->chunk, job->outcomes,
				job->done, 0, &sync->work->rules, &state);
		}
		if (r > 0 && is_part) {
			dr_claim_give_back(sync->store, claim);
		}
		if (r < 0 && r != -ECANCELED) {
			dr_log_limited(10, DR_LOG_ERROR, "settle-failed",
				"errno=%d next=\"it is taken up again\"", -r);
		}
	}
	dr_rangeset_fini(&state.aside);
	if (state.drained) {
		(void)eventfd_write(sync->work->config.wake_fd, 1);
	}
}

static void settle_all(struct dr_clone_sync *sync, struct dr_finished *jobs, size_t n)
{
	const struct dr_work_config *config = &sync->work->config;
	int r = config->dry_run || !config->options->fsync || syncfs(sync->to_fd) == 0 ? 0 : -errno;

	if (r < 0) {
		dr_log_limited(10, DR_LOG_ERROR, "target-not-synced",
			"error=%s next=\"what was written since is not counted as done\"",
			strerrorname_np(-r));
	}
	/* What the target had no room for is done again, whole, when somebody has resumed: each claim is still its consumer's, who takes it up as the next; one that nobody beats for gets stale. */
	bool waits = r < 0 && dr_clone_pauses_for_room(sync->store, r);

	for (size_t i = 0; i < n; i++) {
		if (r < 0) {
			spoil(&jobs[i], r);
		}
		if (!waits) {
			settle(sync, &jobs[i]);
		}
		finished_fini(sync, &jobs[i]);
	}
}

static void *sync_thread(void *arg)
{
	struct dr_clone_sync *sync = arg;

	(void)pthread_mutex_lock(&sync->lock);
	while (sync->n > 0 || !sync->stop) {
		if (sync->n == 0) {
			(void)pthread_cond_wait(&sync->changed, &sync->lock);
			continue;
		}
		struct dr_finished *jobs = sync->jobs;
		size_t n = sync->n;

		sync->jobs = NULL;
		sync->n = sync->cap = 0;
		(void)pthread_cond_broadcast(&sync->changed);
		(void)pthread_mutex_unlock(&sync->lock);
		settle_all(sync, jobs, n);
		free(jobs);
		(void)pthread_mutex_lock(&sync->lock);
	}
	(void)pthread_mutex_unlock(&sync->lock);
	return NULL;
}

unsigned dr_clone_sync_slot(struct dr_clone_sync *sync)
{
	unsigned slot = 0;

	(void)pthread_mutex_lock(&sync->lock);
	while (sync->is_taken[slot]) {
		if (++slot == N_SLOTS) {
			slot = 0;
			(void)pthread_cond_wait(&sync->changed, &sync->lock);
		}
	}
	sync->is_taken[slot] = true;
	(void)pthread_mutex_unlock(&sync->lock);
	return slot;
}

void dr_clone_sync_slot_back(struct dr_clone_sync *sync, unsigned slot)
{
	(void)pthread_mutex_lock(&sync->lock);
	sync->is_taken[slot] = false;
	(void)pthread_cond_broadcast(&sync->changed);
	(void)pthread_mutex_unlock(&sync->lock);
}

static void fini(struct dr_clone_sync *sync)
{
	dr_audit_fini(&sync->audit);
	dr_store_free(sync->store);
	free(sync->jobs);
	dr_fd_closep(&sync->to_fd);
	(void)pthread_cond_destroy(&sync->changed);
	(void)pthread_mutex_destroy(&sync->lock);
	free(sync);
}

int dr_clone_sync_new(
	struct dr_work *work, const struct dr_tree *to, struct dr_clone_sync **ret_sync)
{
	struct dr_clone_sync *sync = dr_xcalloc(1, sizeof(*sync));

	sync->work = work;
	sync->audit = (struct dr_audit){ .fd_succeeded = -1, .fd_failed = -1 };
	sync->store = dr_store_new(work->config.link);
	(void)pthread_mutex_init(&sync->lock, NULL);
	(void)pthread_cond_init(&sync->changed, NULL);
	sync->to_fd = dr_tree_dir(to, "", 0);
	int r = sync->to_fd < 0 ? sync->to_fd : 0;

	if (r == 0) {
		r = dr_audit_open(&sync->audit, work->config.logs_fd, work->config.host);
	}
	if (r == 0) {
		r = -pthread_create(&sync->thread, NULL, sync_thread, sync);
	}
	if (r < 0) {
		fini(sync);
		return r;
	}
	(void)pthread_setname_np(sync->thread, "sync");
	*ret_sync = sync;
	return 0;
}

void dr_clone_sync_put(struct dr_clone_sync *sync, struct dr_finished *finished)
{
	(void)pthread_mutex_lock(&sync->lock);
	while (sync->n >= MOST_UNSETTLED) {
		(void)pthread_cond_wait(&sync->changed, &sync->lock);
	}
	if (sync->n == sync->cap) {
		sync->cap = sync->cap ? sync->cap * 2 : 16;
		sync->jobs = dr_xrealloc(sync->jobs, sync->cap * sizeof(*sync->jobs));
	}
	sync->jobs[sync->n++] = *finished;
	*finished = (struct dr_finished){ 0 };
	(void)pthread_cond_broadcast(&sync->changed);
	(void)pthread_mutex_unlock(&sync->lock);
}

void dr_clone_sync_free(struct dr_clone_sync *sync)
{
	if (!sync) {
		return;
	}
	(void)pthread_mutex_lock(&sync->lock);
	sync->stop = true;
	(void)pthread_cond_broadcast(&sync->changed);
	(void)pthread_mutex_unlock(&sync->lock);
	(void)pthread_join(sync->thread, NULL);
	fini(sync);
}
