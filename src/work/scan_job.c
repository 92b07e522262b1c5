/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/scan_job.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "work/filter.h"

#include <string.h>

#define LOOK_EVERY 64           /* entries between two looks at the clock and the flags */
#define SETTLE_NS 1000000000ull /* between settles at the most */
#define SHARE_NS 5000000ull     /* between settles at the least, when others are idle */
#define SETTLE_CHUNKS 4         /* at once, while movers have enough */
#define FRONTIER_KEEP 512  /* directories that stay with a job when it hands work to the queue */
#define FRONTIER_MOST 1024 /* directories after which it does */
#define FRONTIER_LIMIT ((size_t)4 * FRONTIER_MOST) /* within one directory, too */
#define FRONTIER_JOB 256                           /* directories in a job that is handed over */
#define LIST_PART UINT64_C(65536) /* bytes of the list that are worth a job of their own */
#define ERRORS_MOST 1000          /* in one settle: as many as are kept */

bool dr_scan_reports_only(const struct dr_scan *scan)
{
	return scan->frontier.round >= DR_ROUNDS;
}

void dr_scan_child(struct dr_scan *scan, const char *name, size_t len)
{
	dr_buf_clear(&scan->path);
	dr_buf_put(&scan->path, scan->dir, scan->dir_len);
	if (scan->dir_len > 0) {
		dr_buf_put_u8(&scan->path, '/');
	}
	dr_buf_put(&scan->path, name, len);
}

/* path: bytes to be shown, of a file or a directory. */
void dr_scan_error(struct dr_scan *scan, const void *path, size_t len, int error)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	dr_text_escape(&text, path, len);
	dr_log_limited(1, DR_LOG_WARNING, "scan-error",
		"path=\"%s\" error=%s next=\"listed in the report\"", dr_buf_cstr(&text),
		strerrorname_np(-error));
	dr_buf_printf(&text, ": %s", strerrorname_np(-error));
	dr_scan_results_add_error(&scan->results, dr_buf_cstr(&text));
}

void dr_scan_entry_error(struct dr_scan *scan, const struct dr_entry *entry, int error)
{
	dr_scan_child(scan, entry->name, entry->name_len);
	dr_scan_error(scan, scan->path.data, scan->path.len, error);
}

/* How much of the range in hand could be given away and kept, in bytes; 0 when it is a directory, or too little. */
static uint64_t list_to_share(const struct dr_scan *scan)
{
	uint64_t left = scan->here.list_to > 0 ? scan->here.list_to - scan->here.position : 0;

	return left >= 2 * LIST_PART ? left : 0;
}

/* Hands parts of the range in hand to so many others, from its end. */
static void share_list(struct dr_scan *scan, size_t jobs)
{
	uint64_t left = list_to_share(scan);
	uint64_t parts = left / LIST_PART < jobs + 1 ? left / LIST_PART : jobs + 1;

	for (uint64_t i = 1; i < parts; i++) {
		struct dr_buf job dr_cleanup(dr_buf_fini) = { 0 };
		struct dr_frontier part dr_cleanup(dr_frontier_fini) = {
			.round = scan->frontier.round,
		};
		uint64_t from = scan->here.list_to - left / parts;

		dr_frontier_push_list(&part, from, scan->here.list_to);
		dr_frontier_encode(&part, 0, 1, &job);
		dr_scan_results_add_frontier(&scan->results, job.data, job.len);
		scan->here.list_to = from;
	}
}

/* Hands directories to the queue: what is too much for one job, and what idle scanners could read now. */
static void share_frontier(struct dr_scan *scan)
{
	struct dr_frontier *frontier = &scan->frontier;
	unsigned idle =
		atomic_load_explicit(&scan->worker->work->idle_scanners, memory_order_relaxed);
	size_t give = 0, per_job = FRONTIER_JOB;

	if (frontier->n > FRONTIER_MOST) {
		give = frontier->n - FRONTIER_KEEP;
	} else if ((idle > 0 || scan->state.hungry) && frontier->n == 0) {
		share_list(scan, idle > 0 ? idle : 1);
	} else if (idle > 0 || scan->state.hungry) {
		size_t jobs = idle > 0 ? idle : 1;

		/* The directory in hand, if there is one, is our own share. */
		give = scan->here.path ? frontier->n - frontier->n / (jobs + 1)
				       : frontier->n - (frontier->n + jobs) / (jobs + 1);
		per_job = give ? (give + jobs - 1) / jobs : 1;
	}
	for (size_t at = 0; at < give; at += per_job) {
		struct dr_buf job dr_cleanup(dr_buf_fini) = { 0 };

		dr_frontier_encode(frontier, at, at + per_job < give ? at + per_job : give, &job);
		dr_scan_results_add_frontier(&scan->results, job.data, job.len);
	}
	dr_frontier_drop(frontier, give);
}

/*
 * Settles what was found up to here. @return 1 go on; 0 the claim is over (scan->ended). -errno
 */
int dr_scan_settle(struct dr_scan *scan)
{
	struct dr_worker *worker = scan->worker;
	struct dr_buf progress dr_cleanup(dr_buf_fini) = { 0 };
	int r = scan->ops->flush(scan);

	if (r < 0) {
		return r;
	}
	share_frontier(scan);
	if (scan->here.path) {
		dr_frontier_push(
			&scan->frontier, scan->here.path, scan->here.len, scan->here.position);
		scan->frontier.dirs[scan->frontier.n - 1].list_to = scan->here.list_to;
	}
	bool last = scan->frontier.n == 0;
	size_t shared = scan->results.n_frontiers;
	bool found = scan->results.n_chunks > 0;

	dr_frontier_encode(&scan->frontier, 0, scan->frontier.n, &progress);
	if (scan->here.path) {
		dr_frontier_pop(&scan->frontier);
	}
	while ((r = dr_ledger_settle_scan(worker->store, scan->claim, last, &progress,
			dr_scan_reports_only(scan), &scan->results, &scan->state)) == -ENOMEM) {
		/* The queue is full: movers drain it. What was found is kept here until then. */
		if (atomic_load(&worker->work->stopping)) {
			return -ECANCELED;
		}
		dr_log_limited(60, DR_LOG_WARNING, "queue-full",
			"worker=%s next=\"waits for the movers\"", worker->name);
		dr_sleep_ms(200);
	}
	if (r < 0) {
		return r;
	}
	scan->settled_ns = dr_now_ns();
	if (shared > 0 || found) {
		dr_work_wake(worker->work);
	}
	if (r == 0 || last) {
		scan->ended = true;
		if (r > 0) {
			dr_count(&worker->counters, DR_COUNT_SCANS, 1);
			if (scan->state.drained) {
				dr_worker_drained(worker);
			}
		}
		return 0;
	}
	if (!scan->state.running || dr_worker_should_yield(worker) ||
		scan->state.files_pending >= worker->work->config.options->max_pending_migrations) {
		dr_claim_give_back(worker->store, scan->claim);
		scan->ended = true;
		return 0;
	}
	return 1;
}

bool dr_scan_is_due(struct dr_scan *scan)
{
	struct dr_work *work = scan->worker->work;

	uint64_t few = 4 * work->config.options->scan_batch_size;
	/* At once, when movers have little, or when it is nearly enough. */
	bool soon = scan->state.files_pending < few ||
		    scan->state.files_pending + few >= work->config.options->max_pending_migrations;

	if (scan->results.n_chunks >= (soon ? 1 : SETTLE_CHUNKS) ||
		scan->results.n_errors >= ERRORS_MOST) {
		return true;
	}
	if (++scan->unseen < LOOK_EVERY) {
		return false;
	}
	scan->unseen = 0;
	uint64_t since = dr_now_ns() - scan->settled_ns;
	bool others_idle = atomic_load_explicit(&work->idle_scanners, memory_order_relaxed) > 0 ||
			   scan->state.hungry;

	return since > SETTLE_NS || dr_worker_should_yield(scan->worker) ||
	       scan->frontier.n > FRONTIER_LIMIT ||
	       (since > SHARE_NS && others_idle &&
		       (scan->frontier.n > 0 || list_to_share(scan) > 0));
}

static bool is_scan_path(const struct dr_scan *scan)
{
	for (size_t i = 0; i < scan->spec->n_scan_paths; i++) {
		const struct dr_path *path = &scan->spec->scan_paths[i];

		if (path->len == scan->here.len &&
			memcmp(path->bytes, scan->here.path, path->len) == 0) {
			return true;
		}
	}
	return false;
}

/* A directory that is gone took its files along; but a scan path that is gone was never looked at, which is told. */
void dr_scan_directory_error(struct dr_scan *scan, int error)
{
	if (is_scan_path(scan)) {
		dr_scan_error(scan, scan->here.path, scan->here.len, error);
		return;
	}
	if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -ESTALE) {
		return;
	}
	if (error == -EXDEV) {
		dr_log_limited(10, DR_LOG_INFO, "other-file-system", "next=\"not entered\"");
		return;
	}
	dr_scan_error(scan, scan->here.path, scan->here.len, error);
}

static int load_frontier(struct dr_scan *scan)
{
	const struct dr_claim *claim = scan->claim;
	const struct dr_buf *bytes = claim->progress.len > 0 ? &claim->progress : &claim->payload;
	int r = dr_frontier_decode(bytes->data, bytes->len, &scan->frontier);

	if (r < 0) {
		dr_log(DR_LOG_ERROR, "frontier-unreadable", "id=%s bytes=%zu", claim->id,
			bytes->len);
	}
	return r;
}

int dr_scan_run(struct dr_scan *scan)
{
	int r = load_frontier(scan);

	while (r == 0 && scan->frontier.n > 0) {
		/* The frontier's last becomes the one in hand. */
		scan->here = scan->frontier.dirs[--scan->frontier.n];
		if (scan->here.list_to > 0) {
			r = scan->ops->read_list(scan);
		} else if (!dr_filter_excludes(scan->spec, scan->here.path, scan->here.len)) {
			scan->results.directories++;
			r = scan->ops->read_dir(scan);
		}
		free(scan->here.path);
		scan->here = (struct dr_frontier_dir){ 0 };
		if (r == 0 && scan->frontier.n > 0 && dr_scan_is_due(scan)) {
			r = dr_scan_settle(scan);
			r = r > 0 ? 0 : r < 0 ? r : 1;
		}
	}
	return r == 0 && !scan->ended ? dr_scan_settle(scan) : r;
}

void dr_scan_fini(struct dr_scan *scan)
{
	dr_frontier_fini(&scan->frontier);
	dr_scan_results_fini(&scan->results);
	dr_buf_fini(&scan->path);
}
