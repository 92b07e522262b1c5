/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "campaign/control.h"
#include "work/clone_work.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#define SCAN_NICE 10
#define IDLE_FIRST_MS 2
#define IDLE_MOST_MS 200
#define IDLE_PAUSED_MS 500
#define FAILED_MS_LEAST 100
#define FAILED_MS_MOST 1000

void dr_worker_show(struct dr_worker *worker, const char *dir, size_t dir_len, const char *name,
	size_t name_len)
{
	(void)pthread_mutex_lock(&worker->lock);
	dr_buf_clear(&worker->current_dir);
	dr_buf_clear(&worker->current_name);
	if (dir) {
		dr_buf_put(&worker->current_dir, dir, dir_len);
		dr_buf_put(&worker->current_name, name ? name : ".", name ? name_len : 1);
	}
	(void)pthread_mutex_unlock(&worker->lock);
}

void dr_worker_drained(struct dr_worker *worker)
{
	(void)eventfd_write(worker->work->config.wake_fd, 1);
}

/* Waits for dr_work_wake() or some time, longer each time. */
static void idle(struct dr_worker *worker, enum dr_claim_none why, unsigned *ms)
{
	struct dr_work *work = worker->work;
	struct timespec until;
	unsigned most = why == DR_NONE_EMPTY ? IDLE_MOST_MS : IDLE_PAUSED_MS;

	*ms = *ms ? *ms * 2 : IDLE_FIRST_MS;
	*ms = *ms > most ? most : *ms;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)*ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	_Atomic unsigned *idlers =
		worker->job == DR_JOB_SCAN ? &work->idle_scanners : &work->idle_movers;

	if (why == DR_NONE_EMPTY) {
		(void)atomic_fetch_add(idlers, 1);
	}
	(void)pthread_mutex_lock(&work->lock);
	uint64_t seen = work->wakes;
	while (!atomic_load(&work->stopping) && work->wakes == seen) {
		if (pthread_cond_timedwait(&work->wake, &work->lock, &until) == ETIMEDOUT) {
			break;
		}
	}
	if (work->wakes != seen) {
		*ms = 0;
	}
	(void)pthread_mutex_unlock(&work->lock);
	if (why == DR_NONE_EMPTY) {
		(void)atomic_fetch_sub(idlers, 1);
	}
}

/*
 * Does the job. Those of evacuations end their claims themselves, and leave the memory to us; a clone's mover hands both on.
 */
static int do_job(struct dr_worker *worker, struct dr_claim *claim)
{
	bool scans = worker->job == DR_JOB_SCAN;

	if (worker->work->clone && !scans) {
		return dr_clone_move_job(worker, claim);
	}
	int r = worker->work->clone ? dr_clone_scan_job(worker, claim)
		: scans             ? dr_scan_job(worker, claim)
				    : dr_move_job(worker, claim);

	free(claim);
	return r;
}

/* A clone's movers take the next job while the last one waits to be settled. */
static bool has_slots(const struct dr_worker *worker)
{
	return worker->work->clone && worker->job == DR_JOB_MOVE;
}

static void name_consumer(struct dr_worker *worker, const char *epoch)
{
	const char *process = worker->work->config.process;

	if (has_slots(worker)) {
		worker->slot = dr_clone_sync_slot(worker->work->clone->sync);
		(void)snprintf(worker->who, sizeof(worker->who), "%s/move-%u@%s", process,
			worker->slot, epoch);
	} else {
		(void)snprintf(
			worker->who, sizeof(worker->who), "%s/%s@%s", process, worker->name, epoch);
	}
}

static void *worker_main(void *arg)
{
	struct dr_worker *worker = arg;
	struct dr_work *work = worker->work;
	unsigned ms = 0, failed_ms = 0;
	int r = 0;

	if (worker->job == DR_JOB_SCAN) {
		/*
		 * Where the processor is what is short, movers go first: they find what was scanned a moment
		 * ago in its caches. Where they wait for disks, scanners run ahead all the same.
		 */
		(void)setpriority(PRIO_PROCESS, (id_t)gettid(), SCAN_NICE);
	}
	while (!atomic_load(&work->stopping) && r != -ECANCELED) {
		enum dr_claim_none none = DR_NONE_EMPTY;

		if (!atomic_load(&work->running) ||
			(work->clone && !dr_clone_roots_hold(work->clone))) {
			idle(worker, DR_NONE_PAUSED, &ms);
			continue;
		}
		char epoch[DR_EPOCH_SIZE];

		dr_link_epoch(work->config.link, epoch);
		name_consumer(worker, epoch);
		struct dr_claim *claim = dr_xcalloc(1, sizeof(*claim));

		r = dr_claim_take(worker->store, &work->claims, worker->job,
			work->config.options->max_pending_migrations, worker->who, claim,
			&worker->aside, &none);
		if (r <= 0) {
			free(claim);
			if (has_slots(worker)) {
				dr_clone_sync_slot_back(work->clone->sync, worker->slot);
			}
		}
		if (r == 0) {
			idle(worker, none, &ms);
		} else if (r > 0) {
			ms = 0;
			r = do_job(worker, claim);
			dr_worker_show(worker, NULL, 0, NULL, 0);
			if (r == -EBADMSG) {
				/* Whoever takes it cannot read it either: a person must know. */
				r = dr_control_fail(worker->store,
					"a job in the queue cannot be read: see the daemon's log");
			}
		}
		if (r < 0 && r != -ECANCELED) {
			dr_log_limited(10, DR_LOG_ERROR, "job-failed",
				"worker=%s errno=%d next=\"it is taken up again\"", worker->name,
				-r);
			failed_ms = failed_ms == 0 ? FAILED_MS_LEAST : failed_ms * 2;
			failed_ms = failed_ms > FAILED_MS_MOST ? FAILED_MS_MOST : failed_ms;
			dr_sleep_ms(failed_ms);
		} else {
			failed_ms = 0;
		}
	}
	return NULL;
}

static int worker_init(
	struct dr_work *work, struct dr_worker *worker, enum dr_job job, unsigned number)
{
	worker->work = work;
	worker->job = job;
	worker->number = number;
	(void)snprintf(worker->name, sizeof(worker->name), "%s-%u",
		job == DR_JOB_SCAN ? "scan" : "move", number);
	(void)pthread_mutex_init(&worker->lock, NULL);
	worker->store = dr_store_new(work->config.link);
	worker->audit = (struct dr_audit){ .fd_succeeded = -1, .fd_failed = -1 };
	if (job == DR_JOB_SCAN) {
		return 0;
	}
	if (posix_memalign((void **)&worker->buffer, (size_t)sysconf(_SC_PAGESIZE),
		    work->buffer_bytes) != 0) {
		return -ENOMEM;
	}
	return dr_audit_open(&worker->audit, work->config.logs_fd, work->config.host);
}

int dr_work_start(const struct dr_work_config *config, struct dr_work **ret_work)
{
	struct dr_work *work = dr_xcalloc(1, sizeof(*work));
	const struct dr_options *options = config->options;
	/* Not by work->clone: a clone whose trees were refused has none. */
	const bool is_clone = config->spec->kind == DR_CLONE;
	pthread_condattr_t attr;
	int r = 0;

	work->config = *config;
	dr_claim_table_init(&work->claims);
	work->targets =
		dr_targets_new(config->fs, &config->spec->osts, (unsigned)options->reserve_percent);
	int n_delays = dr_options_parse_delays(options->retry_delays, work->rules.retry_delays_s);
	work->rules.n_retry_delays = n_delays > 0 ? (unsigned)n_delays : 0;
	work->rules.max_leftovers = options->max_leftovers;
	if (is_clone) {
		/* What changed while it was copied is for the next pass. */
		work->rules.n_retry_delays = 0;
		r = dr_clone_work_new(config, &work->clone);
		if (r == 0) {
			r = dr_clone_sync_new(work, work->clone->to, &work->clone->sync);
		}
	}
	if (!is_clone && dr_options_command(options) && !config->dry_run) {
		char *message dr_cleanup(dr_freep) = NULL;

		r = dr_mover_init(&work->mover, dr_options_command(options),
			options->lfs_migrate_timeout, &message);
		if (r < 0) {
			dr_log(DR_LOG_ERROR, "command-refused", "why=\"%s\"", message);
		}
	}
	atomic_init(&work->running, true);
	(void)pthread_mutex_init(&work->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&work->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	work->n_workers = (size_t)(options->scan_workers + options->migration_workers);
	/* Counters are aligned to a cache line, so calloc's alignment is not enough. */
	if (posix_memalign((void **)&work->workers, 64, work->n_workers * sizeof(*work->workers)) !=
		0) {
		abort();
	}
	memset(work->workers, 0, work->n_workers * sizeof(*work->workers));
	bool parallel = !is_clone && config->fs->ops->parallel && options->copy_threads > 0;

	work->buffer_bytes = parallel ? DR_COPY_PARALLEL_BYTES : DR_COPY_BUFFER_BYTES;
	if (parallel && r == 0) {
		r = dr_copy_pool_new(
			(unsigned)options->copy_threads, work->buffer_bytes, &work->pool);
	}
	for (size_t i = 0; i < work->n_workers; i++) {
		bool scans = i < options->scan_workers;
		int rr = worker_init(work, &work->workers[i], scans ? DR_JOB_SCAN : DR_JOB_MOVE,
			(unsigned)(scans ? i : i - options->scan_workers) + 1);
		r = r < 0 ? r : rr;
	}
	for (size_t i = 0; r == 0 && i < work->n_workers; i++) {
		r = -pthread_create(&work->workers[i].thread, NULL, worker_main, &work->workers[i]);
		work->workers[i].started = r == 0;
	}
	if (r < 0) {
		dr_work_stop(work);
		dr_work_free(work);
		return r;
	}
	*ret_work = work;
	return 0;
}

void dr_work_stop(struct dr_work *work)
{
	atomic_store(&work->stopping, true);
	dr_work_wake(work);
	for (size_t i = 0; i < work->n_workers; i++) {
		if (work->workers[i].started) {
			(void)pthread_join(work->workers[i].thread, NULL);
			work->workers[i].started = false;
		}
	}
	if (work->clone) {
		dr_clone_sync_free(work->clone->sync);
		work->clone->sync = NULL;
	}
}

uint64_t dr_work_stop_ns(const struct dr_work *work)
{
	return work->mover.words ? DR_MOVER_STOP_NS : 0;
}

void dr_work_free(struct dr_work *work)
{
	if (!work) {
		return;
	}
	for (size_t i = 0; i < work->n_workers; i++) {
		struct dr_worker *worker = &work->workers[i];

		dr_store_free(worker->store);
		dr_audit_fini(&worker->audit);
		free(worker->buffer);
		dr_rangeset_fini(&worker->aside);
		dr_buf_fini(&worker->current_dir);
		dr_buf_fini(&worker->current_name);
		(void)pthread_mutex_destroy(&worker->lock);
	}
	free(work->workers);
	dr_clone_work_free(work->clone);
	dr_copy_pool_free(work->pool);
	dr_targets_free(work->targets);
	dr_mover_fini(&work->mover);
	dr_claim_table_fini(&work->claims);
	(void)pthread_cond_destroy(&work->wake);
	(void)pthread_mutex_destroy(&work->lock);
	free(work);
}

int dr_work_refresh(struct dr_work *work, struct dr_store *store)
{
	return dr_claim_refresh(&work->claims, store);
}

void dr_work_tell_flight(struct dr_work *work, struct dr_buf *out)
{
	if (work) {
		dr_targets_tell_flight(work->targets, out);
	}
}

int dr_work_hear_flight(struct dr_work *work, const char *sum, size_t len, uint64_t number)
{
	return work ? dr_targets_hear_flight(work->targets, sum, len, number) : 0;
}

void dr_work_flight_bytes(struct dr_work *work, uint64_t *ret_own_bytes, uint64_t *ret_others_bytes)
{
	dr_targets_flight_bytes(work->targets, ret_own_bytes, ret_others_bytes);
}

void dr_work_wake(struct dr_work *work)
{
	(void)pthread_mutex_lock(&work->lock);
	work->wakes++;
	(void)pthread_cond_broadcast(&work->wake);
	(void)pthread_mutex_unlock(&work->lock);
}

void dr_work_set_running(struct dr_work *work, bool running)
{
	if (atomic_exchange(&work->running, running) != running && running) {
		dr_work_wake(work);
	}
}

uint64_t dr_work_counted(struct dr_work *work, enum dr_counter which)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < work->n_workers; i++) {
		sum += dr_counted(&work->workers[i].counters, which);
	}
	return sum;
}

void dr_work_current(struct dr_work *work, dr_work_current_fn *fn, void *ctx)
{
	for (size_t i = 0; i < work->n_workers; i++) {
		struct dr_worker *worker = &work->workers[i];
		struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };

		(void)pthread_mutex_lock(&worker->lock);
		bool busy = worker->current_name.len > 0;
		if (busy) {
			dr_text_escape(&path, worker->current_dir.data, worker->current_dir.len);
			dr_buf_put(&path, "/", worker->current_dir.len > 0);
			dr_text_escape(&path, worker->current_name.data, worker->current_name.len);
		}
		(void)pthread_mutex_unlock(&worker->lock);
		if (busy) {
			fn(ctx, worker->name, dr_buf_cstr(&path));
		}
	}
}
