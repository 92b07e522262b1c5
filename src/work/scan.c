/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "campaign/frontier.h"
#include "work/filter.h"
#include "work/worker.h"

#include <inttypes.h>
#include <string.h>

/*
 * A scan job: takes directories off its frontier, last first, reads each to its end, puts the files
 * that lie on a source into chunks and the directories it meets onto the frontier. Now and then it settles: in one
 * step the chunks are queued and the rest of the frontier, with the position in the directory in hand, is
 * stored. Whoever takes the job after a crash goes on from there, so nothing is queued twice and nothing is missed.
 */

#define LOOK_EVERY 64           /* entries between two looks at the clock and the flags */
#define SETTLE_NS 1000000000ull /* between settles at the most */
#define SHARE_NS 5000000ull     /* between settles at the least, when others are idle */
#define SETTLE_CHUNKS 4         /* at once, while movers have enough */
#define FRONTIER_KEEP 512  /* directories that stay with a job when it hands work to the queue */
#define FRONTIER_MOST 1024 /* directories after which it does */
#define FRONTIER_LIMIT ((size_t)4 * FRONTIER_MOST) /* within one directory, too */
#define FRONTIER_JOB 256                           /* directories in a job that is handed over */

/* A file of the chunk in the making that may be new since the campaign began. */
struct candidate {
	size_t file; /* its number in the chunk */
	struct dr_fid fid;
	char *sources; /* that it has objects on, "0,3" */
};

struct scan {
	struct dr_worker *worker;
	struct dr_claim *claim;
	const struct dr_spec *spec;
	struct dr_frontier frontier; /* without the directory in hand */
	struct dr_frontier_dir here; /* the directory in hand; path NULL: none */
	struct dr_filter_dir filter;
	struct dr_chunk_builder builder;
	struct candidate *candidates;
	size_t n_candidates, cap_candidates;
	struct dr_scan_results results;
	struct dr_buf path; /* scratch */
	struct dr_queue_state state;
	uint64_t settled_ns;
	unsigned unseen; /* entries since the last look */
	bool ended;      /* the claim was settled for good, given back, or lost */
};

static bool reports_only(const struct scan *scan)
{
	return scan->frontier.round >= DR_ROUNDS;
}

static void child_path(struct scan *scan, const char *name, size_t len)
{
	dr_buf_clear(&scan->path);
	dr_buf_put(&scan->path, scan->here.path, scan->here.len);
	if (scan->here.len > 0) {
		dr_buf_put_u8(&scan->path, '/');
	}
	dr_buf_put(&scan->path, name, len);
}

static void scan_error(struct scan *scan, const char *name, size_t name_len, int error)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	if (name) {
		child_path(scan, name, name_len);
	}
	dr_text_escape(&text, name ? scan->path.data : (uint8_t *)scan->here.path,
		name ? scan->path.len : scan->here.len);
	dr_log_limited(1, DR_LOG_WARNING, "scan-error",
		"path=\"%s\" error=%s next=\"listed in the report\"", dr_buf_cstr(&text),
		strerrorname_np(-error));
	dr_buf_printf(&text, ": %s", strerrorname_np(-error));
	dr_scan_results_add_error(&scan->results, dr_buf_cstr(&text));
}

/* "0,3": the sources that the layout has objects on; malloc'ed. "": none, or the layout cannot be read */
static char *sources_of(const struct scan *scan, const struct dr_entry *entry)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	struct dr_rangeset met = { 0 };
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	if (dr_layout_decode(entry->layout, entry->layout_len, &layout) < 0) {
		return dr_xstrdup("");
	}
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];

		for (uint32_t i = 0; comp->flags & DR_COMP_INIT && i < comp->n_objects; i++) {
			uint32_t ost = comp->objects[i].ost;

			if (dr_rangeset_has(&scan->spec->osts, ost) &&
				!dr_rangeset_has(&met, ost)) {
				dr_rangeset_add(&met, ost);
				dr_buf_printf(&text, "%s%" PRIu32, text.len ? "," : "", ost);
			}
		}
	}
	dr_rangeset_fini(&met);
	return dr_xstrdup(dr_buf_cstr(&text));
}

/*
 * What the proving scans find is new when nobody has heard of it; what the first scan finds, when it was born after the
 * campaign was made.
 */
static void note_candidate(
	struct scan *scan, const struct dr_entry *entry, const struct dr_stat *st)
{
	int64_t born_ms = (int64_t)st->btime.tv_sec * 1000 + st->btime.tv_nsec / 1000000;

	if (scan->frontier.round == 0 && born_ms <= (int64_t)scan->spec->created_ms) {
		return;
	}
	if (scan->n_candidates == scan->cap_candidates) {
		scan->cap_candidates = scan->cap_candidates ? scan->cap_candidates * 2 : 64;
		scan->candidates = dr_xrealloc(
			scan->candidates, scan->cap_candidates * sizeof(*scan->candidates));
	}
	scan->candidates[scan->n_candidates++] = (struct candidate){
		.file = (size_t)scan->builder.n_files,
		.fid = entry->fid,
		.sources = sources_of(scan, entry),
	};
}

/* Tells those whose file nobody has heard of. known NULL: of none. */
static void take_candidates(struct scan *scan, const uint8_t *known)
{
	for (size_t i = 0; i < scan->n_candidates; i++) {
		struct candidate *candidate = &scan->candidates[i];

		if (!known || !known[candidate->file]) {
			dr_scan_results_add_appeared(
				&scan->results, &candidate->fid, candidate->sources);
		}
		free(candidate->sources);
	}
	scan->n_candidates = 0;
}

/*
 * In the scans that prove emptiness, a file that is a leftover is known already; only what nobody has
 * heard of is kept. The builder is taken apart and filled again.
 */
static int drop_known(struct scan *scan)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_chunk chunk dr_cleanup(dr_chunk_fini) = { 0 };

	dr_chunk_finish(&scan->builder, &bytes);
	int r = dr_chunk_decode(bytes.data, bytes.len, &chunk);

	if (r < 0) {
		return r;
	}
	struct dr_fid *fids dr_cleanup(dr_freep) = dr_xcalloc(chunk.n_files, sizeof(*fids));
	uint8_t *known dr_cleanup(dr_freep) = dr_xcalloc(chunk.n_files, 1);

	for (size_t i = 0; i < chunk.n_files; i++) {
		fids[i] = chunk.files[i].fid;
	}
	r = dr_ledger_known(scan->worker->store, fids, chunk.n_files, known);
	for (size_t i = 0; r == 0 && i < chunk.n_files; i++) {
		if (!known[i]) {
			dr_chunk_add(&scan->builder, &chunk.files[i]);
		}
	}
	if (r == 0) {
		take_candidates(scan, known);
	}
	return r;
}

static int flush_chunk(struct scan *scan)
{
	int r = 0;

	if (scan->builder.n_files > 0 && scan->frontier.round > 0) {
		scan->builder.outcomes = false;
		r = drop_known(scan);
	} else {
		take_candidates(scan, NULL);
	}
	if (r == 0 && scan->builder.n_files > 0) {
		dr_count(&scan->worker->counters, DR_COUNT_FOUND, scan->builder.n_files);
		if (reports_only(scan)) {
			/* Listed as leftovers are, with no outcome but that they are there. */
			struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
			struct dr_chunk chunk dr_cleanup(dr_chunk_fini) = { 0 };

			dr_chunk_finish(&scan->builder, &bytes);
			r = dr_chunk_decode(bytes.data, bytes.len, &chunk);
			if (r < 0) {
				return r;
			}
			scan->builder.outcomes = true;
			for (size_t i = 0; i < chunk.n_files; i++) {
				dr_chunk_add(&scan->builder, &chunk.files[i]);
			}
		}
		dr_scan_results_add_chunk(&scan->results, &scan->builder);
		scan->builder.outcomes = false;
	}
	return r;
}

/* Hands directories to the queue: what is too much for one job, and what idle scanners could read now. */
static void share_frontier(struct scan *scan)
{
	struct dr_frontier *frontier = &scan->frontier;
	unsigned idle =
		atomic_load_explicit(&scan->worker->work->idle_scanners, memory_order_relaxed);
	size_t give = 0, per_job = FRONTIER_JOB;

	if (frontier->n > FRONTIER_MOST) {
		give = frontier->n - FRONTIER_KEEP;
	} else if ((idle > 0 || scan->state.hungry) && frontier->n > 0) {
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
static int settle(struct scan *scan)
{
	struct dr_worker *worker = scan->worker;
	struct dr_buf progress dr_cleanup(dr_buf_fini) = { 0 };
	int r = flush_chunk(scan);

	if (r < 0) {
		return r;
	}
	share_frontier(scan);
	if (scan->here.path) {
		dr_frontier_push(
			&scan->frontier, scan->here.path, scan->here.len, scan->here.position);
	}
	bool last = scan->frontier.n == 0;
	size_t shared = scan->results.n_frontiers;
	bool found = scan->results.n_chunks > 0;

	dr_frontier_encode(&scan->frontier, 0, scan->frontier.n, &progress);
	if (scan->here.path) {
		dr_frontier_pop(&scan->frontier);
	}
	while ((r = dr_ledger_settle_scan(worker->store, scan->claim, last, &progress,
			reports_only(scan), &scan->results, &scan->state)) == -ENOMEM) {
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

static bool is_due(struct scan *scan)
{
	struct dr_work *work = scan->worker->work;

	uint64_t few = 4 * work->config.options->scan_batch_size;
	/* At once, when movers have little, or when it is nearly enough. */
	bool soon = scan->state.files_pending < few ||
		    scan->state.files_pending + few >= work->config.options->max_pending_migrations;

	if (scan->results.n_chunks >= (soon ? 1 : SETTLE_CHUNKS)) {
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
	       (since > SHARE_NS && others_idle && scan->frontier.n > 0);
}

static int add_file(struct scan *scan, struct dr_dir *dir, const struct dr_entry *entry)
{
	const struct dr_options *options = scan->worker->work->config.options;
	struct dr_layout_look look;
	struct dr_stat st;

	if (entry->error < 0) {
		scan_error(scan, entry->name, entry->name_len, entry->error);
		return 0;
	}
	if (!entry->layout) {
		return 0;
	}
	int r = dr_layout_look(entry->layout, entry->layout_len, &scan->spec->osts, &look);

	if (r < 0) {
		scan_error(scan, entry->name, entry->name_len, -EBADMSG);
		return 0;
	}
	if (!(look.flags & DR_LAYOUT_ON_SET) ||
		(look.flags & (DR_LAYOUT_RELEASED | DR_LAYOUT_IS_FOREIGN))) {
		return 0;
	}
	if (entry->stat) {
		st = *entry->stat;
	} else {
		r = dir->fs->ops->entry_stat(dir, entry->name, &st);
	}
	if (r == -ENOENT) {
		return 0;
	}
	if (r < 0) {
		scan_error(scan, entry->name, entry->name_len, r);
		return 0;
	}
	const struct dr_chunk_file file = {
		.dir = scan->here.path,
		.dir_len = scan->here.len,
		.name = entry->name,
		.name_len = entry->name_len,
		.fid = entry->fid,
		.size = st.size,
	};

	note_candidate(scan, entry, &st);
	dr_chunk_add(&scan->builder, &file);
	if (scan->builder.n_files >= options->scan_batch_size ||
		scan->builder.bytes >= options->chunk_bytes) {
		return flush_chunk(scan);
	}
	return 0;
}

static int visit(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	struct scan *scan = ctx;
	int r = 0;

	scan->results.entries++;
	dr_count(&scan->worker->counters, DR_COUNT_ENTRIES, 1);
	scan->here.position = entry->position;
	if (dr_filter_entry(&scan->filter, entry->name, entry->name_len)) {
		r = 0;
	} else if (entry->type == DR_TYPE_FILE) {
		r = add_file(scan, dir, entry);
	} else if (entry->type == DR_TYPE_DIR) {
		child_path(scan, entry->name, entry->name_len);
		dr_frontier_push(&scan->frontier, scan->path.data, scan->path.len, 0);
	}
	if (r == 0 && is_due(scan)) {
		r = settle(scan);
		return r < 0 ? r : r == 0; /* 1 stops the reading: the claim is over */
	}
	return r;
}

static bool is_scan_path(const struct scan *scan)
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
static void directory_error(struct scan *scan, int error)
{
	if (is_scan_path(scan)) {
		scan_error(scan, NULL, 0, error);
		return;
	}
	if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -ESTALE) {
		return;
	}
	if (error == -EXDEV) {
		dr_log_limited(10, DR_LOG_INFO, "other-file-system", "next=\"not entered\"");
		return;
	}
	scan_error(scan, NULL, 0, error);
}

/* Reads the directory in hand to its end. @return 0; 1 the claim is over; -errno */
static int read_here(struct scan *scan)
{
	struct dr_fs *fs = scan->worker->work->config.fs;
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = NULL;
	int r = fs->ops->dir_open(fs, scan->here.path, scan->here.len, &dir);

	if (r < 0) {
		directory_error(scan, r);
		return 0;
	}
	dr_filter_enter(&scan->filter, scan->spec, scan->here.path, scan->here.len);
	dr_worker_show(scan->worker, scan->here.path, scan->here.len, NULL, 0);
	do {
		r = fs->ops->dir_read(dir, scan->here.position, visit, scan);
	} while (r == DR_DIR_MORE);
	if (scan->ended) {
		return 1;
	}
	if (r < 0 && r != -ECANCELED && r != -EPROTO) {
		directory_error(scan, r);
		return 0;
	}
	return r < 0 ? r : 0;
}

static int load_frontier(struct scan *scan)
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

static int run(struct scan *scan)
{
	int r = load_frontier(scan);

	while (r == 0 && scan->frontier.n > 0) {
		/* The frontier's last becomes the one in hand. */
		scan->here = scan->frontier.dirs[--scan->frontier.n];
		if (!dr_filter_excludes(scan->spec, scan->here.path, scan->here.len)) {
			scan->results.directories++;
			r = read_here(scan);
		}
		free(scan->here.path);
		scan->here = (struct dr_frontier_dir){ 0 };
		if (r == 0 && scan->frontier.n > 0 && is_due(scan)) {
			r = settle(scan);
			r = r > 0 ? 0 : r < 0 ? r : 1;
		}
	}
	return r == 0 && !scan->ended ? settle(scan) : r;
}

int dr_scan_job(struct dr_worker *worker, struct dr_claim *claim)
{
	struct scan scan = {
		.worker = worker,
		.claim = claim,
		.spec = worker->work->config.spec,
		.settled_ns = dr_now_ns(),
	};
	int r = run(&scan);

	dr_claim_drop(&worker->work->claims, claim);
	dr_frontier_fini(&scan.frontier);
	dr_filter_dir_fini(&scan.filter);
	dr_chunk_builder_fini(&scan.builder);
	for (size_t i = 0; i < scan.n_candidates; i++) {
		free(scan.candidates[i].sources);
	}
	free(scan.candidates);
	dr_scan_results_fini(&scan.results);
	dr_buf_fini(&scan.path);
	return r < 0 ? r : 0;
}
