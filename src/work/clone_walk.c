/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_walk.h"

#include "base/clock.h"
#include "base/log.h"
#include "fs/local.h"
#include "fs/tree_lustre.h"
#include "work/clone_priv.h"

#include <fcntl.h>

/*
 * The scanner of a clone. What it does in a directory depends on the stage:
 *   copy      reads the source's from the position in hand; makes the target's directories; what differs goes into chunks, names of files with several go
 *             into chunks that are copied or held for the links stage
 *   look, delete  both directories as a whole: what the target has and the source has not
 *   dirtimes  the times of the target's directory
 *   verify    the two directories' attributes; files go into chunks, what only the target has is told
 */

#define LINKS_AT_ONCE 500 /* names in one election */
#define PART_MOST 65536   /* of a file */

static struct dr_walk *walk_of(struct dr_scan *job)
{
	return dr_container_of(job, struct dr_walk, job);
}

static bool leaves_out(struct dr_walk *walk, const char *name, size_t len)
{
	if (dr_filter_entry(&walk->filter, name, len)) {
		return true;
	}
	if (!walk->clone->filter.exceptions) {
		return false;
	}
	dr_scan_child(&walk->job, name, len);
	return dr_clone_is_excepted(walk->clone->filter.exceptions,
		(const char *)walk->job.path.data, walk->job.path.len);
}

static void push_child(struct dr_walk *walk, const char *name, size_t len)
{
	dr_scan_child(&walk->job, name, len);
	dr_frontier_push(&walk->job.frontier, walk->job.path.data, walk->job.path.len, 0);
}

/* ---- chunks ---- */

static void finish(struct dr_walk *walk, struct dr_chunk_builder *builder, bool is_held)
{
	if (builder->n_files == 0) {
		return;
	}
	dr_count(&walk->job.worker->counters, DR_COUNT_FOUND, builder->n_files);
	if (is_held) {
		dr_scan_results_add_held(&walk->job.results, builder);
	} else {
		dr_scan_results_add_chunk(&walk->job.results, builder);
	}
}

static void add(
	struct dr_walk *walk, struct dr_chunk_builder *builder, const struct dr_chunk_file *file)
{
	const struct dr_options *options = walk->job.worker->work->config.options;

	dr_chunk_add(builder, file);
	if (builder->n_files >= options->scan_batch_size ||
		builder->bytes >= options->chunk_bytes) {
		finish(walk, builder, builder == &walk->held);
	}
}

/* One election for all names gathered: the elected are copied, the others wait. */
static int elect(struct dr_walk *walk)
{
	size_t n = walk->n_names;

	if (n == 0) {
		return 0;
	}
	uint64_t *inos dr_cleanup(dr_freep) = dr_xcalloc(n, sizeof(*inos));
	struct dr_path *paths dr_cleanup(dr_freep) = dr_xcalloc(n, sizeof(*paths));
	char **elected dr_cleanup(dr_freep) = dr_xcalloc(n, sizeof(*elected));

	for (size_t i = 0; i < n; i++) {
		inos[i] = walk->names[i].file.fid.seq;
		paths[i] = walk->names[i].path;
	}
	int r = dr_ledger_elect(walk->job.worker->store, inos, paths, n, elected);

	for (size_t i = 0; i < n; i++) {
		struct dr_walk_name *name = &walk->names[i];

		name->file.dir = name->path.bytes;
		name->file.name = name->path.bytes + name->name;
		if (r == 0 && elected[i]) {
			name->file.size = 0; /* its data is the elected one's */
			add(walk, &walk->held, &name->file);
		} else if (r == 0 && name->is_same) {
			dr_walk_count(walk, DR_CLONED_UNCHANGED, 1);
		} else if (r == 0) {
			add(walk, &walk->builder, &name->file);
		}
		free(elected[i]);
		free(name->path.bytes);
	}
	walk->n_names = 0;
	return r;
}

static int gather(struct dr_walk *walk, const struct dr_chunk_file *file, bool is_same)
{
	struct dr_walk_name *name = &walk->names[walk->n_names++];

	dr_scan_child(&walk->job, file->name, file->name_len);
	*name = (struct dr_walk_name){
		.path = { .bytes = dr_xstrdup(dr_buf_cstr(&walk->job.path)),
			.len = walk->job.path.len },
		.name = walk->job.path.len - file->name_len,
		.file = *file,
		.is_same = is_same,
	};
	return walk->n_names == LINKS_AT_ONCE ? elect(walk) : 0;
}

/* What a settle tells of directories must be on disk: the jobs that follow rely on them, and nobody looks at them again. */
static int sync_directories(struct dr_walk *walk)
{
	const uint64_t *counts = walk->job.results.counts;
	/* An earlier holder may have made what this one found, and not have come to its sync. */
	bool has_changed = walk->job.claim->deliveries > 1 || counts[DR_CLONED_DIRS_MADE] ||
			   counts[DR_CLONED_CORRECTED] || counts[DR_CLONED_DELETED];
	const struct dr_work_config *config = &walk->job.worker->work->config;

	if (!has_changed || walk->cloner.dry_run || !config->options->fsync ||
		syncfs(walk->sync_fd) == 0) {
		return 0;
	}
	int r = -errno;

	dr_log_limited(10, DR_LOG_ERROR, "target-not-synced",
		"error=%s next=\"the scan goes back to its last settle\"", strerrorname_np(-r));
	(void)dr_clone_pauses_for_room(walk->job.worker->store, r);
	return r;
}

static int flush(struct dr_scan *job)
{
	struct dr_walk *walk = walk_of(job);
	int r = elect(walk);

	r = r < 0 ? r : sync_directories(walk);

	if (r == 0) {
		finish(walk, &walk->builder, false);
		finish(walk, &walk->held, true);
	}
	return r;
}

/* Each part is a job of its own; the last of them to be done queues the one that ends the file. */
static void add_parts(struct dr_walk *walk, struct dr_chunk_file *file, const struct dr_meta *meta)
{
	const uint64_t part = walk->job.worker->work->config.options->chunk_bytes;
	struct dr_chunk_builder one dr_cleanup(dr_chunk_builder_fini) = { .kind = DR_CHUNK_END };
	uint64_t size = file->size;
	uint64_t step = size / PART_MOST > part ? size / PART_MOST + 1 : part;
	uint64_t n = 0;

	step = (step + 0xfffff) & ~UINT64_C(0xfffff);
	file->part =
		(struct dr_chunk_part){ .total = size, .mtime = meta->mtime, .ctime = meta->ctime };
	file->size = 0;
	dr_chunk_add(&one, file);
	for (uint64_t at = 0; at < size; at += step) {
		n++;
	}
	dr_scan_results_add_parts(&walk->job.results, file, n, &one);
	one.kind = DR_CHUNK_PART;
	for (uint64_t at = 0; at < size; at += step) {
		file->part.offset = at;
		file->size = size - at < step ? size - at : step;
		dr_chunk_add(&one, file);
		dr_scan_results_add_chunk(&walk->job.results, &one);
	}
	dr_count(&walk->job.worker->counters, DR_COUNT_FOUND, n);
}

/* ---- copy ---- */

/* What a filter and a chunk need to know of an entry whose target is known not to be there. */
int dr_walk_look(struct dr_walk *walk, const char *name, struct dr_meta *meta)
{
	struct dr_stat st;
	int r = dr_local_stat(walk->from_fd, name, AT_SYMLINK_NOFOLLOW, &st);

	if (r == 0) {
		meta->mode = st.mode;
		meta->uid = st.uid;
		meta->gid = st.gid;
		meta->nlink = st.nlink;
		meta->ino = st.ino;
		meta->size = st.size;
		meta->atime = st.atime;
		meta->mtime = st.mtime;
		meta->ctime = st.ctime;
	}
	return r;
}

/* Whether a file is large enough to be cut into parts, and is one whose data is read: of a released one that is not, one worker makes all there is. */
static bool is_cut(const struct dr_walk *walk, const char *name, const struct dr_meta *meta)
{
	const struct dr_cloner *cloner = &walk->cloner;

	if (!S_ISREG(meta->mode) || cloner->dry_run || cloner->checksum ||
		meta->size / 2 < walk->job.worker->work->config.options->chunk_bytes) {
		return false;
	}
	if (cloner->from->kind != DR_FS_LUSTRE || cloner->released == DR_RELEASED_COPY) {
		return true;
	}
	int fd dr_cleanup(dr_fd_closep) = dr_clone_open(walk->from_fd, name);

	return fd >= 0 && !dr_tree_is_released(fd);
}

static int copy_entry(struct dr_walk *walk, const struct dr_entry *entry)
{
	struct dr_meta meta dr_cleanup(dr_meta_fini) = { 0 };
	enum dr_clone_verdict verdict = DR_CLONE_DATA;
	bool filters_projects = walk->clone->filter.projects.n > 0;
	bool is_blind = (walk->is_fresh || walk->cloner.checksum) && !filters_projects;
	int r = is_blind ? dr_walk_look(walk, entry->name, &meta)
			 : dr_clone_compare(&walk->cloner, walk->from_fd, walk->to_fd, entry->name,
				   &meta, &verdict);

	if (r == -ENOENT) {
		return 0;
	}
	if (r < 0) {
		dr_scan_entry_error(&walk->job, entry, r);
		return 0;
	}
	if (!dr_clone_filter_takes(&walk->clone->filter, &meta)) {
		dr_walk_count(walk, DR_CLONED_FILTERED, 1);
		return 0;
	}
	bool is_file = S_ISREG(meta.mode);
	struct dr_chunk_file file = {
		.dir = walk->job.dir,
		.dir_len = walk->job.dir_len,
		.name = entry->name,
		.name_len = entry->name_len,
		.fid = { .seq = meta.ino },
		.size = is_file ? meta.size : 0,
	};

	if (meta.nlink > 1) {
		return gather(walk, &file, verdict == DR_CLONE_SAME);
	}
	if (verdict == DR_CLONE_SAME) {
		dr_walk_count(walk, DR_CLONED_UNCHANGED, 1);
	} else if (verdict == DR_CLONE_DATA && is_cut(walk, entry->name, &meta)) {
		add_parts(walk, &file, &meta);
	} else {
		add(walk, &walk->builder, &file);
	}
	return 0;
}

/* Directories of the first level are spread over the target's MDTs. */
static int mdt_of(struct dr_walk *walk)
{
	struct dr_clone_work *clone = walk->clone;

	if (walk->job.dir_len > 0 || clone->n_mdts < 2) {
		return -1;
	}
	return (int)clone->mdts[atomic_fetch_add(&clone->next_mdt, 1) % clone->n_mdts];
}

static int copy_dir(struct dr_walk *walk, const struct dr_entry *entry)
{
	if (walk->to_fd < 0) {
		/* A dry run, below a directory that it would have made. */
		dr_walk_count(walk, DR_CLONED_DIRS_MADE, 1);
		push_child(walk, entry->name, entry->name_len);
		return 0;
	}
	int r = dr_clone_dir(&walk->cloner, walk->from_fd, walk->to_fd, entry->name, mdt_of(walk));

	if (r == -ENOENT) {
		return 0;
	}
	if (r == -ENOSPC || r == -EDQUOT) {
		return r;
	}
	if (r < 0) {
		/* Nothing below it can be copied: it is told as one error. */
		dr_scan_entry_error(&walk->job, entry, r);
		return 0;
	}
	dr_walk_count(walk, DR_CLONED_DIRS_MADE, r == 1);
	push_child(walk, entry->name, entry->name_len);
	return 0;
}

static int copy_one(struct dr_walk *walk, const struct dr_entry *entry)
{
	return entry->type == DR_TYPE_DIR ? copy_dir(walk, entry) : copy_entry(walk, entry);
}

/* ---- verify ---- */

static int verify_one(struct dr_walk *walk, const struct dr_entry *entry)
{
	struct dr_meta meta dr_cleanup(dr_meta_fini) = { 0 };

	if (entry->type == DR_TYPE_DIR) {
		push_child(walk, entry->name, entry->name_len);
		return 0;
	}
	int r = dr_walk_look(walk, entry->name, &meta);

	if (r == -ENOENT) {
		return 0;
	}
	if (r < 0) {
		dr_scan_entry_error(&walk->job, entry, r);
		return 0;
	}
	if (!dr_clone_filter_takes(&walk->clone->filter, &meta)) {
		dr_walk_count(walk, DR_CLONED_FILTERED, 1);
		return 0;
	}
	const struct dr_chunk_file file = {
		.dir = walk->job.dir,
		.dir_len = walk->job.dir_len,
		.name = entry->name,
		.name_len = entry->name_len,
		.fid = { .seq = meta.ino },
		.size = S_ISREG(meta.mode) ? meta.size : 0,
	};

	add(walk, &walk->builder, &file);
	return 0;
}

/* ---- a directory ---- */

/* @return 1 the job is over; 0 go on */
static int settle(struct dr_walk *walk)
{
	int r = dr_scan_settle(&walk->job);

	walk->broken = r < 0 ? r : 0;
	return r < 0 ? r : r == 0;
}

/* The campaign waits for room, and this job goes on with the entry that had none. @return 1 the job is over; 0 go on */
static int wait_for_room(
	struct dr_walk *walk, const struct dr_entry *entry, uint64_t position, int error)
{
	struct dr_scan *job = &walk->job;

	if (!dr_clone_pauses_for_room(job->worker->store, error)) {
		dr_scan_entry_error(&walk->job, entry, error);
		return 0;
	}
	job->here.position = position;
	int r = settle(walk);

	if (r == 0) {
		/* Somebody resumed it at once. */
		dr_claim_give_back(job->worker->store, job->claim);
		job->ended = true;
	}
	return r < 0 ? r : 1;
}

static int visit(struct dr_walk *walk, const struct dr_entry *entry)
{
	struct dr_scan *job = &walk->job;
	uint64_t before = job->here.position;
	int r = 0;

	job->results.entries++;
	dr_count(&job->worker->counters, DR_COUNT_ENTRIES, 1);
	job->here.position = entry->position;
	if (leaves_out(walk, entry->name, entry->name_len)) {
		r = 0;
	} else if (entry->error < 0) {
		dr_scan_entry_error(&walk->job, entry, entry->error); /* what it is, nobody knows */
	} else if (walk->stage == DR_STAGE_COPY) {
		r = copy_one(walk, entry);
	} else if (walk->stage == DR_STAGE_VERIFY) {
		r = verify_one(walk, entry);
	} else if (entry->type == DR_TYPE_DIR) {
		push_child(walk, entry->name, entry->name_len);
	}
	if (r == -ENOSPC || r == -EDQUOT) {
		return wait_for_room(walk, entry, before, r);
	}
	if (r < 0) {
		walk->broken = r; /* an election: its names would be missing */
	}
	return r == 0 && dr_scan_is_due(job) ? settle(walk) : r;
}

static int stop_at_once(void *arg, const char *name, size_t len, enum dr_type type, uint64_t ino)
{
	(void)arg;
	(void)name;
	(void)len;
	(void)type;
	(void)ino;
	return 1;
}

/* What concerns the directory as a whole; done again when the job is taken over in the middle of it. @return 0; -errno: it is not read */
static int enter(struct dr_walk *walk)
{
	struct dr_clone_work *clone = walk->clone;
	struct dr_scan *job = &walk->job;
	int r = 0;

	walk->to_fd = dr_tree_dir(clone->to, job->here.path, job->here.len);
	if (walk->to_fd < 0) {
		bool is_absent = walk->to_fd == -ENOENT;

		if (is_absent && walk->stage == DR_STAGE_COPY && walk->cloner.dry_run) {
			walk->is_fresh = true;
			return 0;
		}
		if (is_absent && walk->stage == DR_STAGE_VERIFY) {
			dr_walk_tell_difference(walk, job->here.path, job->here.len, "missing");
		}
		/* Nothing to delete there, no times to set; but a copy made it a moment ago. */
		return is_absent && walk->stage != DR_STAGE_COPY ? -ECHILD
		       : is_absent                               ? -ESTALE
								 : walk->to_fd;
	}
	if (walk->stage == DR_STAGE_COPY) {
		r = dr_tree_read(walk->to_fd, stop_at_once, NULL);
		walk->is_fresh = r == 0;
		return r < 0 ? r : 0;
	}
	if (job->here.position > 0) {
		return 0;
	}
	if (walk->stage == DR_STAGE_DIRTIMES) {
		r = dr_clone_dir_times(&walk->cloner, walk->from_fd, walk->to_fd);
		dr_walk_count(walk, DR_CLONED_CORRECTED, r == 1);
		return r < 0 ? r : 0;
	}
	if (walk->stage == DR_STAGE_VERIFY) {
		dr_walk_verify_dir(walk);
	}
	return dr_walk_prune(walk);
}

static int read_entries(struct dr_walk *walk, struct dr_local_dir *local)
{
	struct dr_entry entry;
	int r = 0;

	while ((r = dr_local_dir_next(local, &entry)) > 0) {
		r = visit(walk, &entry);
		if (r != 0) {
			return r;
		}
	}
	return r;
}

/*
 * A directory of the source that is gone took all below it along; anything else leaves something behind, which is told: another file system
 * mounted in the source, too.
 */
static void dir_error(struct dr_walk *walk, int error, bool is_source)
{
	bool is_gone = error == -ENOENT || error == -ENOTDIR || error == -ELOOP;

	if (!is_source || !is_gone || walk->job.here.len == 0) {
		dr_scan_error(&walk->job, walk->job.here.path, walk->job.here.len, error);
	}
}

static int read_dir(struct dr_scan *job)
{
	struct dr_walk *walk = walk_of(job);
	struct dr_clone_work *clone = walk->clone;
	struct dr_local_dir local;
	int r = dr_local_dir_open(
		clone->from->fd, clone->from->dev, job->here.path, job->here.len, &local);

	if (r < 0) {
		dir_error(walk, r, true);
		return 0;
	}
	walk->from_fd = local.fd;
	walk->to_fd = -EBADF;
	walk->is_fresh = false;
	job->dir = job->here.path;
	job->dir_len = job->here.len;
	dr_filter_enter(&walk->filter, job->spec, job->here.path, job->here.len);
	dr_worker_show(job->worker, job->here.path, job->here.len, NULL, 0);
	r = enter(walk);
	if (r == 0) {
		r = dr_local_dir_seek(&local, job->here.position);
	}
	if (r == 0) {
		r = read_entries(walk, &local);
	}
	/* Names gathered lend nothing of the directory; builders neither. */
	dr_fd_closep(&walk->to_fd);
	dr_local_dir_fini(&local);
	if (job->ended) {
		return 1;
	}
	if (r == -ECANCELED || walk->broken) {
		return r;
	}
	if (r < 0 && r != -ECHILD) {
		dir_error(walk, r, false);
	}
	return 0;
}

static int begin(struct dr_walk *walk)
{
	const struct dr_claim *claim = walk->job.claim;
	const struct dr_buf *bytes = claim->progress.len > 0 ? &claim->progress : &claim->payload;
	struct dr_frontier frontier dr_cleanup(dr_frontier_fini) = { 0 };
	int r = dr_frontier_decode(bytes->data, bytes->len, &frontier);

	if (r < 0 || frontier.round >= walk->clone->n_stages) {
		dr_log(DR_LOG_ERROR, "frontier-unreadable", "id=%s bytes=%zu", claim->id,
			bytes->len);
		return -EBADMSG;
	}
	walk->stage = walk->clone->stages[frontier.round];
	if ((walk->stage == DR_STAGE_LOOK || walk->stage == DR_STAGE_DELETE) && frontier.n == 1 &&
		frontier.dirs[0].len == 0 && !dr_walk_may_delete(walk)) {
		return -EPERM;
	}
	walk->builder.kind = walk->stage == DR_STAGE_VERIFY ? DR_CHUNK_VERIFY : DR_CHUNK_COPY;
	walk->held.kind = DR_CHUNK_LINK;
	/* Opened before anything is made: Linux tells of a lost write once to each open file. */
	walk->sync_fd = dr_tree_dir(walk->clone->to, "", 0);
	return walk->sync_fd < 0 ? walk->sync_fd : 0;
}

int dr_clone_scan_job(struct dr_worker *worker, struct dr_claim *claim)
{
	static const struct dr_scan_ops ops = { .flush = flush, .read_dir = read_dir };
	struct dr_walk walk = {
		.job = {
			.ops = &ops,
			.worker = worker,
			.claim = claim,
			.spec = worker->work->config.spec,
			.settled_ns = dr_now_ns(),
		},
		.clone = worker->work->clone,
		.cloner = dr_clone_cloner(worker),
		.sync_fd = -EBADF,
		.from_fd = -EBADF,
		.to_fd = -EBADF,
		.names = dr_xcalloc(LINKS_AT_ONCE, sizeof(struct dr_walk_name)),
	};
	int r = begin(&walk);

	if (r == 0) {
		r = dr_scan_run(&walk.job);
	}
	dr_claim_drop(&worker->work->claims, claim);
	for (size_t i = 0; i < walk.n_names; i++) {
		free(walk.names[i].path.bytes);
	}
	free(walk.names);
	dr_filter_dir_fini(&walk.filter);
	dr_chunk_builder_fini(&walk.builder);
	dr_chunk_builder_fini(&walk.held);
	dr_buf_fini(&walk.deleted);
	dr_fd_closep(&walk.sync_fd);
	dr_scan_fini(&walk.job);
	return r < 0 ? r : 0;
}
