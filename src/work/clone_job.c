/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/log.h"
#include "base/text.h"
#include "work/clone_verify.h"
#include "work/clone_work.h"

#include <fcntl.h>
#include <stdio.h>

/*
 * A job of a clone's movers: the files of a chunk, in their order. A job that is done goes to the syncer, which settles it; so does the part of one that was
 * cut short, whose rest goes back to the queue.
 */

/* The directories of the file in hand, open in both trees. */
struct place {
	char *dir; /* NULL: none */
	int from_fd, to_fd;
};

struct job {
	struct dr_worker *worker;
	struct dr_clone_work *clone;
	struct dr_cloner cloner;
	struct dr_claim *claim;
	struct dr_chunk chunk;
	struct dr_outcome *outcomes;
	struct place at, with; /* of the file; of the name that it is linked to */
	char **elected; /* of a LINK chunk: for each file the path of the name that was copied */
	size_t n_elected;
	size_t done;
};

static void leave(struct place *place)
{
	free(place->dir);
	place->dir = NULL;
	dr_fd_closep(&place->from_fd);
	dr_fd_closep(&place->to_fd);
}

/* @return 1 another directory; 0 the same as before @error ENOENT the source does not have it; ENOTDIR the target does not */
static int enter(
	const struct dr_clone_work *clone, struct place *place, const char *dir, size_t len)
{
	if (place->dir && strlen(place->dir) == len && memcmp(place->dir, dir, len) == 0) {
		return 0;
	}
	leave(place);
	place->from_fd = dr_tree_dir(clone->from, dir, len);
	if (place->from_fd < 0) {
		return place->from_fd;
	}
	place->to_fd = dr_tree_dir(clone->to, dir, len);
	if (place->to_fd < 0) {
		int r = place->to_fd;

		leave(place);
		return r == -ENOENT ? -ENOTDIR : r;
	}
	place->dir = dr_xcalloc(1, len + 1);
	memcpy(place->dir, dir, len);
	return 1;
}

static void conclude(struct dr_outcome *outcome, enum dr_class class, enum dr_step step, int error)
{
	*outcome = (struct dr_outcome){ .class = class, .step = step, .error = error };
}

static struct dr_clone_stamp stamp_of(const struct dr_chunk_file *file)
{
	return (struct dr_clone_stamp){
		.ino = file->fid.seq,
		.size = file->part.total,
		.mtime = file->part.mtime,
		.ctime = file->part.ctime,
	};
}

static void link_one(struct job *job, const struct dr_chunk_file *file, struct dr_outcome *outcome)
{
	const char *path = job->elected[job->done];
	const struct dr_claim *claim = job->claim;

	if (!path) {
		/* Nobody was elected before it, so it is the one. */
		dr_clone_entry(&job->cloner, job->at.from_fd, job->at.to_fd, file->name,
			file->fid.seq, claim->deliveries, claim->again, outcome);
		return;
	}
	const char *slash = strrchr(path, '/');
	int r = enter(job->clone, &job->with, path, slash ? (size_t)(slash - path) : 0);

	if (r < 0) {
		conclude(outcome, r == -ENOENT ? DR_CHANGED : dr_class_of(DR_STEP_OPEN, r),
			DR_STEP_OPEN, r);
		return;
	}
	dr_clone_link(&job->cloner, job->at.from_fd, job->at.to_fd, file->name, job->with.from_fd,
		job->with.to_fd, slash ? slash + 1 : path, file->fid.seq, claim->deliveries,
		outcome);
}

/* Appends to the manifest of this host; its lines are whole. */
static void write_manifest(
	struct job *job, const struct dr_chunk_file *file, const struct dr_verify_digest *digest)
{
	const struct dr_work_config *config = &job->worker->work->config;
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_buf line dr_cleanup(dr_buf_fini) = { 0 };
	char *name dr_cleanup(dr_freep) = dr_xasprintf("manifest.%s", config->host);
	int fd dr_cleanup(dr_fd_closep) =
		openat(config->folder_fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	int r = fd < 0 ? -errno : 0;

	dr_buf_put(&path, file->dir, file->dir_len);
	dr_buf_put(&path, "/", file->dir_len > 0);
	dr_buf_put(&path, file->name, file->name_len);
	dr_verify_manifest_line(&line, digest, (const char *)path.data, path.len);
	r = fd < 0 ? r : dr_write_full(fd, line.data, line.len);
	if (r < 0) {
		dr_log_limited(
			10, DR_LOG_ERROR, "manifest-not-written", "error=%s", strerrorname_np(-r));
	}
}

static void verify_one(
	struct job *job, const struct dr_chunk_file *file, struct dr_outcome *outcome)
{
	struct dr_verify_digest digest = { 0 };
	unsigned differences = 0;
	uint64_t bytes = 0;
	bool wants_manifest = job->clone->spec->clone.manifest;
	int r = dr_clone_verify(&job->cloner, job->at.from_fd, job->at.to_fd, file->name,
		wants_manifest, &differences, &digest, &bytes);

	if (r < 0) {
		conclude(outcome, dr_class_of(DR_STEP_VERIFY, r), DR_STEP_VERIFY, r);
		return;
	}
	/* Of what was read whole, and is a regular file; also where the target has something else. */
	if (digest.is_sha256 && bytes == file->size) {
		write_manifest(job, file, &digest);
	}
	if (differences) {
		struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
		char words[128];

		dr_text_escape(&text, file->dir, file->dir_len);
		dr_buf_put(&text, "/", file->dir_len > 0);
		dr_text_escape(&text, file->name, file->name_len);
		dr_log(DR_LOG_WARNING, "difference", "path=\"%s\" what=\"%s\"", dr_buf_cstr(&text),
			dr_verify_words(differences, words, sizeof(words)));
		conclude(outcome, DR_FAILED, DR_STEP_VERIFY, -EILSEQ);
		return;
	}
	conclude(outcome, DR_SUCCEEDED, DR_STEP_DONE, 0);
	outcome->bytes = bytes;
}

static void do_one(struct job *job, struct dr_outcome *outcome)
{
	const struct dr_chunk_file *file = &job->chunk.files[job->done];
	const struct dr_claim *claim = job->claim;
	const struct dr_clone_stamp stamp = stamp_of(file);
	int r = enter(job->clone, &job->at, file->dir, file->dir_len);

	if (r == 1 && dr_clone_enter(&job->cloner, job->at.to_fd) < 0) {
		/* What it did not learn costs some calls a file, and nothing else. */
		job->cloner.is_bare = false;
	}
	if (r == -ENOTDIR && job->cloner.dry_run) {
		/* Where its directory would be made, it would be copied. */
		conclude(outcome, DR_SUCCEEDED, DR_STEP_DONE, 0);
		outcome->bytes = file->size;
		return;
	}
	if (r < 0) {
		conclude(outcome, dr_class_of(DR_STEP_OPEN, r), DR_STEP_OPEN, r);
		return;
	}
	switch (job->chunk.kind) {
	case DR_CHUNK_COPY:
		dr_clone_entry(&job->cloner, job->at.from_fd, job->at.to_fd, file->name,
			file->fid.seq, claim->deliveries, claim->again, outcome);
		return;
	case DR_CHUNK_LINK:
		link_one(job, file, outcome);
		return;
	case DR_CHUNK_PART:
		dr_clone_part(&job->cloner, job->at.from_fd, job->at.to_fd, file->name, &stamp,
			file->part.offset, file->size, outcome);
		return;
	case DR_CHUNK_END:
		dr_clone_end_parts(
			&job->cloner, job->at.from_fd, job->at.to_fd, file->name, &stamp, outcome);
		return;
	case DR_CHUNK_VERIFY:
		verify_one(job, file, outcome);
		return;
	default:
		conclude(outcome, DR_FAILED, DR_STEP_OPEN, -EBADMSG);
	}
}

/* A directory of the target that is in a file's place goes with the delete pass; the file is tried again after it. */
static void wait_for_delete(const struct job *job, struct dr_outcome *outcome)
{
	if (outcome->class == DR_REFUSED && outcome->error == -EISDIR &&
		(job->clone->spec->clone.passes & DR_PASS_DELETE)) {
		outcome->class = DR_CHANGED;
	}
}

static void count_one(struct dr_worker *worker, const struct dr_outcome *outcome)
{
	struct dr_counters *counters = &worker->counters;

	if (outcome->class == DR_SUCCEEDED) {
		dr_count(counters, DR_COUNT_SUCCEEDED, 1);
		dr_count(counters, DR_COUNT_BYTES, outcome->bytes);
	} else if (dr_class_is_skipped(outcome->class)) {
		dr_count(counters, DR_COUNT_SKIPPED, 1);
	} else if (dr_class_is_leftover(outcome->class)) {
		dr_count(counters, DR_COUNT_FAILED, 1);
	}
}

/* Room that is missing now may be made: the campaign waits for it, with this file and all others. */
static bool pauses_for_room(struct job *job, const struct dr_outcome *outcome)
{
	return outcome->class == DR_NO_SPACE &&
	       dr_clone_pauses_for_room(job->worker->store, outcome->error);
}

static int elect(struct job *job)
{
	size_t n = job->chunk.n_files;
	uint64_t *inos dr_cleanup(dr_freep) = dr_xcalloc(n, sizeof(*inos));
	struct dr_path *paths dr_cleanup(dr_freep) = dr_xcalloc(n, sizeof(*paths));

	job->elected = dr_xcalloc(n, sizeof(*job->elected));
	job->n_elected = n;
	for (size_t i = 0; i < n; i++) {
		const struct dr_chunk_file *file = &job->chunk.files[i];

		inos[i] = file->fid.seq;
		paths[i].bytes =
			dr_xasprintf("%s%s%s", file->dir, file->dir_len ? "/" : "", file->name);
		paths[i].len = strlen(paths[i].bytes);
	}
	int r = dr_ledger_elect(job->worker->store, inos, paths, n, job->elected);

	for (size_t i = 0; i < n; i++) {
		free(paths[i].bytes);
	}
	return r;
}

/* The chunk's files, to the end or as far as it is to go. */
static void run(struct job *job)
{
	struct dr_worker *worker = job->worker;

	while (job->done < job->chunk.n_files) {
		const struct dr_chunk_file *file = &job->chunk.files[job->done];
		struct dr_outcome *outcome = &job->outcomes[job->done - job->claim->next];

		dr_worker_show(worker, file->dir, file->dir_len, file->name, file->name_len);
		do_one(job, outcome);
		if (atomic_load(&worker->work->stopping) && outcome->error == -ECANCELED) {
			return;
		}
		if (pauses_for_room(job, outcome)) {
			return;
		}
		wait_for_delete(job, outcome);
		count_one(worker, outcome);
		job->done++;
		if (job->done < job->chunk.n_files &&
			(dr_worker_should_yield(worker) ||
				dr_claim_is_lost(&worker->work->claims, job->claim))) {
			return;
		}
	}
}

static int load(struct job *job)
{
	struct dr_claim *claim = job->claim;
	int r = dr_chunk_decode(claim->payload.data, claim->payload.len, &job->chunk);

	if (r == 0 && (job->chunk.n_files != claim->n_files || claim->next > claim->n_files)) {
		r = -EBADMSG;
	}
	if (r < 0) {
		dr_log(DR_LOG_ERROR, "chunk-unreadable", "id=%s bytes=%zu", claim->id,
			claim->payload.len);
		return r;
	}
	job->done = (size_t)claim->next;
	job->outcomes = dr_xcalloc(job->chunk.n_files - job->done + 1, sizeof(*job->outcomes));
	return job->chunk.kind == DR_CHUNK_LINK ? elect(job) : 0;
}

int dr_clone_move_job(struct dr_worker *worker, struct dr_claim *claim)
{
	struct job job = {
		.worker = worker,
		.clone = worker->work->clone,
		.cloner = dr_clone_cloner(worker),
		.claim = claim,
		.at = { .from_fd = -EBADF, .to_fd = -EBADF },
		.with = { .from_fd = -EBADF, .to_fd = -EBADF },
	};
	int r = load(&job);

	if (r == 0) {
		run(&job);
		struct dr_finished finished = { .claim = claim,
			.chunk = job.chunk,
			.outcomes = job.outcomes,
			.done = job.done,
			.slot = worker->slot };

		dr_clone_sync_put(job.clone->sync, &finished);
	} else {
		dr_claim_drop(&worker->work->claims, claim);
		free(claim);
		dr_clone_sync_slot_back(job.clone->sync, worker->slot);
		dr_chunk_fini(&job.chunk);
		free(job.outcomes);
	}
	for (size_t i = 0; i < job.n_elected; i++) {
		free(job.elected[i]);
	}
	free(job.elected);
	leave(&job.at);
	leave(&job.with);
	return r;
}
