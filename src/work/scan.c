/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "campaign/frontier.h"
#include "work/filter.h"
#include "work/look.h"
#include "work/newcomers.h"
#include "work/residue.h"
#include "work/worker.h"

#include <string.h>

/*
 * A scan job: takes directories off its frontier, last first, reads each to its end, puts the files
 * that lie on a source into chunks and the directories it meets onto the frontier. Now and then it settles: in one
 * step the chunks are queued and the rest of the frontier, with the position in the directory in hand, is
 * stored. Whoever takes the job after a crash goes on from there, so nothing is queued twice and nothing is missed.
 *
 * A range of the campaign's list stands on the frontier like a directory; its position is an offset in the list.
 */

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

struct scan {
	struct dr_worker *worker;
	struct dr_claim *claim;
	const struct dr_spec *spec;
	struct dr_frontier frontier; /* without the directory in hand */
	struct dr_frontier_dir here; /* the directory or the range in hand; path NULL: none */
	const char *
		dir; /* lent: where the entries at hand lie; the directory in hand, or that of a candidate */
	size_t dir_len;
	struct dr_filter_dir filter;
	struct dr_look look; /* at candidates */
	struct dr_chunk_builder builder;
	struct dr_newcomers newcomers; /* of the chunk in the making */
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
	dr_buf_put(&scan->path, scan->dir, scan->dir_len);
	if (scan->dir_len > 0) {
		dr_buf_put_u8(&scan->path, '/');
	}
	dr_buf_put(&scan->path, name, len);
}

/* path: bytes to be shown, of a file or a directory. */
static void path_error(struct scan *scan, const void *path, size_t len, int error)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	dr_text_escape(&text, path, len);
	dr_log_limited(1, DR_LOG_WARNING, "scan-error",
		"path=\"%s\" error=%s next=\"listed in the report\"", dr_buf_cstr(&text),
		strerrorname_np(-error));
	dr_buf_printf(&text, ": %s", strerrorname_np(-error));
	dr_scan_results_add_error(&scan->results, dr_buf_cstr(&text));
}

static void entry_error(struct scan *scan, const struct dr_entry *entry, int error)
{
	child_path(scan, entry->name, entry->name_len);
	path_error(scan, scan->path.data, scan->path.len, error);
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
		dr_newcomers_tell(&scan->newcomers, known, &scan->results);
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
		dr_newcomers_tell(&scan->newcomers, NULL, &scan->results);
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

/* How much of the range in hand could be given away and kept, in bytes; 0 when it is a directory, or too little. */
static uint64_t list_to_share(const struct scan *scan)
{
	uint64_t left = scan->here.list_to > 0 ? scan->here.list_to - scan->here.position : 0;

	return left >= 2 * LIST_PART ? left : 0;
}

/* Hands parts of the range in hand to so many others, from its end. */
static void share_list(struct scan *scan, size_t jobs)
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
static void share_frontier(struct scan *scan)
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

/* The scans that prove emptiness see the list again. */
static void count_listed(const struct scan *scan, uint64_t *count)
{
	*count += scan->frontier.round == 0;
}

static void tell_residue(
	struct scan *scan, const char *path, size_t len, const char *what, uint32_t ost)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	dr_text_escape(&text, path, len);
	dr_buf_printf(&text, "%s: %s OST %u", len ? "" : ".", what, ost);
	dr_scan_results_add_residue(&scan->results, dr_buf_cstr(&text));
}

/* The proving scans also look for what names a source and has no object there. */
static void look_at_default(struct scan *scan, struct dr_dir *dir)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	uint32_t ost;

	if (scan->frontier.round > 0 && dir->fs->ops->dir_default &&
		dir->fs->ops->dir_default(dir, &bytes) == 0 &&
		dr_residue_of_default(bytes.data, bytes.len, &scan->spec->osts, &ost)) {
		tell_residue(scan, scan->here.path, scan->here.len, "its new files go to", ost);
	}
}

static int add_file(struct scan *scan, struct dr_dir *dir, const struct dr_entry *entry)
{
	const struct dr_options *options = scan->worker->work->config.options;
	uint32_t ost;
	struct dr_layout_look look;
	struct dr_stat st;

	if (entry->error < 0) {
		entry_error(scan, entry, entry->error);
		return 0;
	}
	if (!entry->layout) {
		return 0;
	}
	int r = dr_layout_look(entry->layout, entry->layout_len, &scan->spec->osts, &look);

	if (r < 0) {
		entry_error(scan, entry, -EBADMSG);
		return 0;
	}
	if (look.flags & DR_LAYOUT_PINNED && scan->frontier.round > 0 &&
		dr_residue_of_file(entry->layout, entry->layout_len, &scan->spec->osts, &ost)) {
		child_path(scan, entry->name, entry->name_len);
		tell_residue(scan, (char *)scan->path.data, scan->path.len,
			"a part not written yet goes to", ost);
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
		entry_error(scan, entry, r);
		return 0;
	}
	const struct dr_chunk_file file = {
		.dir = scan->dir,
		.dir_len = scan->dir_len,
		.name = entry->name,
		.name_len = entry->name_len,
		.fid = entry->fid,
		.size = st.size,
	};

	if (scan->frontier.round > 0 || dr_newcomers_born_since(&st, scan->spec->created_ms)) {
		dr_newcomers_add(
			&scan->newcomers, entry, &scan->spec->osts, (size_t)scan->builder.n_files);
	}
	dr_chunk_add(&scan->builder, &file);
	if (scan->here.list_to > 0) {
		count_listed(scan, &scan->results.listed.on_sources);
	}
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
		path_error(scan, scan->here.path, scan->here.len, error);
		return;
	}
	if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -ESTALE) {
		return;
	}
	if (error == -EXDEV) {
		dr_log_limited(10, DR_LOG_INFO, "other-file-system", "next=\"not entered\"");
		return;
	}
	path_error(scan, scan->here.path, scan->here.len, error);
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
	scan->dir = scan->here.path;
	scan->dir_len = scan->here.len;
	dr_filter_enter(&scan->filter, scan->spec, scan->here.path, scan->here.len);
	if (scan->here.position == 0) {
		look_at_default(scan, dir);
	}
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

static int visit_candidate(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	struct scan *scan = ctx;

	scan->dir = (const char *)scan->look.dir_path.data;
	scan->dir_len = scan->look.dir_path.len;
	if (entry->type == DR_TYPE_FILE) {
		return add_file(scan, dir, entry);
	}
	if (entry->type == DR_TYPE_DIR) {
		/* Whether all below it was meant, a list does not say; that it was not looked at must not go unsaid. */
		entry_error(scan, entry, -EISDIR);
	}
	return 0;
}

/* @return 0; -errno the job cannot go on */
static int look_at(struct scan *scan, const struct dr_candidate *candidate)
{
	struct dr_look *look = &scan->look;
	struct dr_listed *listed = &scan->results.listed;
	uint64_t opened = look->opened;
	int result = 0;
	int r = dr_look_at(look, candidate, visit_candidate, scan, &result);

	scan->results.entries++;
	dr_count(&scan->worker->counters, DR_COUNT_ENTRIES, 1);
	count_listed(scan, &listed->looked_at);
	if (r < 0) {
		char fid[DR_FID_TEXT_SIZE];
		bool known = look->path.len > 0;

		if (!known) {
			(void)dr_fid_format(&candidate->fid, fid);
		}
		path_error(scan, known ? (const char *)look->path.data : fid,
			known ? look->path.len : strlen(fid), r);
	} else if (r == DR_LOOKED_GONE) {
		count_listed(scan, &listed->gone);
	} else if (r == DR_LOOKED_OUT) {
		count_listed(scan, &listed->excluded);
	} else if (r == DR_LOOKED_BELOW) {
		count_listed(scan, &listed->below_paths);
	}
	if (look->opened != opened) {
		dr_worker_show(scan->worker, (const char *)look->dir_path.data, look->dir_path.len,
			NULL, 0);
	}
	return result;
}

/* Looks at the candidates in the range in hand. @return as read_here() */
static int read_list(struct scan *scan)
{
	const struct dr_work_config *config = &scan->worker->work->config;
	struct dr_candidate_reader reader dr_cleanup(dr_candidate_reader_fini) = { .fd = -EBADF };
	struct dr_candidate candidate;
	int r = dr_candidate_reader_init(
		&reader, config->folder_fd, scan->here.position, scan->here.list_to);

	while (r == 0 && (r = dr_candidate_next(&reader, &candidate)) > 0) {
		scan->here.position = reader.position;
		r = look_at(scan, &candidate);
		if (r == 0 && is_due(scan)) {
			r = settle(scan);
			if (r == 0) {
				return 1;
			}
			r = r < 0 ? r : 0;
			reader.to = scan->here.list_to; /* others may have the rest now */
		}
		if (r < 0) {
			return r;
		}
	}
	if (r < 0) {
		path_error(scan, DR_CANDIDATES_FILE, strlen(DR_CANDIDATES_FILE), r);
	}
	return 0;
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
		if (scan->here.list_to > 0) {
			r = read_list(scan);
		} else if (!dr_filter_excludes(scan->spec, scan->here.path, scan->here.len)) {
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
		.look = { .fs = worker->work->config.fs, .spec = worker->work->config.spec },
		.settled_ns = dr_now_ns(),
	};
	int r = run(&scan);

	dr_claim_drop(&worker->work->claims, claim);
	dr_frontier_fini(&scan.frontier);
	dr_filter_dir_fini(&scan.filter);
	dr_look_fini(&scan.look);
	dr_chunk_builder_fini(&scan.builder);
	dr_newcomers_fini(&scan.newcomers);
	dr_scan_results_fini(&scan.results);
	dr_buf_fini(&scan.path);
	return r < 0 ? r : 0;
}
