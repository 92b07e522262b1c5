/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "work/filter.h"
#include "work/look.h"
#include "work/newcomers.h"
#include "work/residue.h"
#include "work/scan_job.h"

#include <string.h>

/*
 * The scanner of an evacuation: puts the files that lie on a source into chunks. The job around it is scan_job.c.
 */

struct scan {
	struct dr_scan job;
	struct dr_filter_dir filter;
	struct dr_look look; /* at candidates */
	struct dr_chunk_builder builder;
	struct dr_newcomers newcomers; /* of the chunk in the making */
};

static struct scan *scan_of(struct dr_scan *job)
{
	return dr_container_of(job, struct scan, job);
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
	r = dr_ledger_known(scan->job.worker->store, fids, chunk.n_files, known);
	for (size_t i = 0; r == 0 && i < chunk.n_files; i++) {
		if (!known[i]) {
			dr_chunk_add(&scan->builder, &chunk.files[i]);
		}
	}
	if (r == 0) {
		dr_newcomers_tell(&scan->newcomers, known, &scan->job.results);
	}
	return r;
}

static int flush_chunk(struct dr_scan *job)
{
	struct scan *scan = scan_of(job);
	int r = 0;

	if (scan->builder.n_files > 0 && scan->job.frontier.round > 0) {
		scan->builder.outcomes = false;
		r = drop_known(scan);
	} else {
		dr_newcomers_tell(&scan->newcomers, NULL, &scan->job.results);
	}
	if (r == 0 && scan->builder.n_files > 0) {
		dr_count(&scan->job.worker->counters, DR_COUNT_FOUND, scan->builder.n_files);
		if (dr_scan_reports_only(&scan->job)) {
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
		dr_scan_results_add_chunk(&scan->job.results, &scan->builder);
		scan->builder.outcomes = false;
	}
	return r;
}

/* The scans that prove emptiness see the list again. */
static void count_listed(const struct scan *scan, uint64_t *count)
{
	*count += scan->job.frontier.round == 0;
}

static void tell_residue(
	struct scan *scan, const char *path, size_t len, const char *what, uint32_t ost)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	dr_text_escape(&text, path, len);
	dr_buf_printf(&text, "%s: %s OST %u", len ? "" : ".", what, ost);
	dr_scan_results_add_residue(&scan->job.results, dr_buf_cstr(&text));
}

/* The proving scans also look for what names a source and has no object there. */
static void look_at_default(struct scan *scan, struct dr_dir *dir)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	uint32_t ost;

	if (scan->job.frontier.round > 0 && dir->fs->ops->dir_default &&
		dir->fs->ops->dir_default(dir, &bytes) == 0 &&
		dr_residue_of_default(bytes.data, bytes.len, &scan->job.spec->osts, &ost)) {
		tell_residue(
			scan, scan->job.here.path, scan->job.here.len, "its new files go to", ost);
	}
}

static int add_file(struct scan *scan, struct dr_dir *dir, const struct dr_entry *entry)
{
	const struct dr_options *options = scan->job.worker->work->config.options;
	uint32_t ost;
	struct dr_layout_look look;
	struct dr_stat st;

	if (entry->error < 0) {
		dr_scan_entry_error(&scan->job, entry, entry->error);
		return 0;
	}
	if (!entry->layout) {
		return 0;
	}
	int r = dr_layout_look(entry->layout, entry->layout_len, &scan->job.spec->osts, &look);

	if (r < 0) {
		dr_scan_entry_error(&scan->job, entry, -EBADMSG);
		return 0;
	}
	if (look.flags & DR_LAYOUT_PINNED && scan->job.frontier.round > 0 &&
		dr_residue_of_file(entry->layout, entry->layout_len, &scan->job.spec->osts, &ost)) {
		dr_scan_child(&scan->job, entry->name, entry->name_len);
		tell_residue(scan, (char *)scan->job.path.data, scan->job.path.len,
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
		dr_scan_entry_error(&scan->job, entry, r);
		return 0;
	}
	const struct dr_chunk_file file = {
		.dir = scan->job.dir,
		.dir_len = scan->job.dir_len,
		.name = entry->name,
		.name_len = entry->name_len,
		.fid = entry->fid,
		.size = st.size,
	};

	if (scan->job.frontier.round > 0 ||
		dr_newcomers_born_since(&st, scan->job.spec->created_ms)) {
		dr_newcomers_add(&scan->newcomers, entry, &scan->job.spec->osts,
			(size_t)scan->builder.n_files);
	}
	dr_chunk_add(&scan->builder, &file);
	if (scan->job.here.list_to > 0) {
		count_listed(scan, &scan->job.results.listed.on_sources);
	}
	if (scan->builder.n_files >= options->scan_batch_size ||
		scan->builder.bytes >= options->chunk_bytes) {
		return flush_chunk(&scan->job);
	}
	return 0;
}

static int visit(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	struct scan *scan = ctx;
	int r = 0;

	scan->job.results.entries++;
	dr_count(&scan->job.worker->counters, DR_COUNT_ENTRIES, 1);
	scan->job.here.position = entry->position;
	if (dr_filter_entry(&scan->filter, entry->name, entry->name_len)) {
		r = 0;
	} else if (entry->type == DR_TYPE_FILE) {
		r = add_file(scan, dir, entry);
	} else if (entry->type == DR_TYPE_DIR) {
		dr_scan_child(&scan->job, entry->name, entry->name_len);
		dr_frontier_push(&scan->job.frontier, scan->job.path.data, scan->job.path.len, 0);
	}
	if (r == 0 && dr_scan_is_due(&scan->job)) {
		r = dr_scan_settle(&scan->job);
		return r < 0 ? r : r == 0; /* 1 stops the reading: the claim is over */
	}
	return r;
}

static int read_here(struct dr_scan *job)
{
	struct scan *scan = scan_of(job);
	struct dr_fs *fs = scan->job.worker->work->config.fs;
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = NULL;
	int r = fs->ops->dir_open(fs, scan->job.here.path, scan->job.here.len, &dir);

	if (r < 0) {
		dr_scan_directory_error(&scan->job, r);
		return 0;
	}
	scan->job.dir = scan->job.here.path;
	scan->job.dir_len = scan->job.here.len;
	dr_filter_enter(&scan->filter, scan->job.spec, scan->job.here.path, scan->job.here.len);
	if (scan->job.here.position == 0) {
		look_at_default(scan, dir);
	}
	dr_worker_show(scan->job.worker, scan->job.here.path, scan->job.here.len, NULL, 0);
	do {
		r = fs->ops->dir_read(dir, scan->job.here.position, visit, scan);
	} while (r == DR_DIR_MORE);
	if (scan->job.ended) {
		return 1;
	}
	if (r < 0 && r != -ECANCELED && r != -EPROTO) {
		dr_scan_directory_error(&scan->job, r);
		return 0;
	}
	return r < 0 ? r : 0;
}

static int visit_candidate(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	struct scan *scan = ctx;

	scan->job.dir = (const char *)scan->look.dir_path.data;
	scan->job.dir_len = scan->look.dir_path.len;
	if (entry->type == DR_TYPE_FILE) {
		return add_file(scan, dir, entry);
	}
	if (entry->type == DR_TYPE_DIR) {
		/* Whether all below it was meant, a list does not say; that it was not looked at must not go unsaid. */
		dr_scan_entry_error(&scan->job, entry, -EISDIR);
	}
	return 0;
}

/* @return 0; -errno the job cannot go on */
static int look_at(struct scan *scan, const struct dr_candidate *candidate)
{
	struct dr_look *look = &scan->look;
	struct dr_listed *listed = &scan->job.results.listed;
	uint64_t opened = look->opened;
	int result = 0;
	int r = dr_look_at(look, candidate, visit_candidate, scan, &result);

	scan->job.results.entries++;
	dr_count(&scan->job.worker->counters, DR_COUNT_ENTRIES, 1);
	count_listed(scan, &listed->looked_at);
	if (r < 0) {
		char fid[DR_FID_TEXT_SIZE];
		bool known = look->path.len > 0;

		if (!known) {
			(void)dr_fid_format(&candidate->fid, fid);
		}
		dr_scan_error(&scan->job, known ? (const char *)look->path.data : fid,
			known ? look->path.len : strlen(fid), r);
	} else if (r == DR_LOOKED_GONE) {
		count_listed(scan, &listed->gone);
	} else if (r == DR_LOOKED_OUT) {
		count_listed(scan, &listed->excluded);
	} else if (r == DR_LOOKED_BELOW) {
		count_listed(scan, &listed->below_paths);
	}
	if (look->opened != opened) {
		dr_worker_show(scan->job.worker, (const char *)look->dir_path.data,
			look->dir_path.len, NULL, 0);
	}
	return result;
}

/* Looks at the candidates in the range in hand. @return as read_here() */
static int read_list(struct dr_scan *job)
{
	struct scan *scan = scan_of(job);
	const struct dr_work_config *config = &scan->job.worker->work->config;
	struct dr_candidate_reader reader dr_cleanup(dr_candidate_reader_fini) = { .fd = -EBADF };
	struct dr_candidate candidate;
	int r = dr_candidate_reader_init(
		&reader, config->folder_fd, scan->job.here.position, scan->job.here.list_to);

	while (r == 0 && (r = dr_candidate_next(&reader, &candidate)) > 0) {
		scan->job.here.position = reader.position;
		r = look_at(scan, &candidate);
		if (r == 0 && dr_scan_is_due(&scan->job)) {
			r = dr_scan_settle(&scan->job);
			if (r == 0) {
				return 1;
			}
			r = r < 0 ? r : 0;
			reader.to = scan->job.here.list_to; /* others may have the rest now */
		}
		if (r < 0) {
			return r;
		}
	}
	if (r < 0) {
		dr_scan_error(&scan->job, DR_CANDIDATES_FILE, strlen(DR_CANDIDATES_FILE), r);
	}
	return 0;
}

int dr_scan_job(struct dr_worker *worker, struct dr_claim *claim)
{
	static const struct dr_scan_ops ops = {
		.flush = flush_chunk,
		.read_dir = read_here,
		.read_list = read_list,
	};
	const struct dr_work_config *config = &worker->work->config;
	struct scan scan = {
		.job = {
			.ops = &ops,
			.worker = worker,
			.claim = claim,
			.spec = config->spec,
			.settled_ns = dr_now_ns(),
		},
		.look = { .fs = config->fs, .spec = config->spec },
	};
	int r = dr_scan_run(&scan.job);

	dr_claim_drop(&worker->work->claims, claim);
	dr_filter_dir_fini(&scan.filter);
	dr_look_fini(&scan.look);
	dr_chunk_builder_fini(&scan.builder);
	dr_newcomers_fini(&scan.newcomers);
	dr_scan_fini(&scan.job);
	return r < 0 ? r : 0;
}
