/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/log.h"
#include "base/text.h"
#include "campaign/clone_record.h"
#include "campaign/control.h"
#include "work/clone_priv.h"
#include "work/clone_verify.h"
#include "work/clone_walk.h"

#include <fcntl.h>

#define LOST "lost+found"

/* ---- verify ---- */

void dr_walk_tell_difference(struct dr_walk *walk, const char *path, size_t len, const char *what)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	dr_text_escape(&text, len ? path : ".", len ? len : 1);
	dr_log(DR_LOG_WARNING, "difference", "path=\"%s\" what=\"%s\"", dr_buf_cstr(&text), what);
	dr_walk_count(walk, DR_CLONED_DIFFERENCES, 1);
}

void dr_walk_verify_dir(struct dr_walk *walk)
{
	struct dr_meta from dr_cleanup(dr_meta_fini) = { 0 };
	struct dr_meta to dr_cleanup(dr_meta_fini) = { 0 };
	uint32_t ns = walk->clone->from->time_ns > walk->clone->to->time_ns
			      ? walk->clone->from->time_ns
			      : walk->clone->to->time_ns;
	int r = dr_meta_read(walk->from_fd, "", walk->from_fd, &from);

	r = r < 0 ? r : dr_meta_read(walk->to_fd, "", walk->to_fd, &to);
	if (r < 0) {
		dr_scan_error(&walk->job, walk->job.dir, walk->job.dir_len, r);
		return;
	}
	unsigned parts = dr_meta_compare(&from, &to, ns);
	char words[128];

	if (parts) {
		unsigned differences = (parts & DR_META_OWNER ? DR_VERIFY_OWNER : 0) |
				       (parts & DR_META_MODE ? DR_VERIFY_MODE : 0) |
				       (parts & DR_META_XATTRS ? DR_VERIFY_XATTRS : 0) |
				       (parts & DR_META_PROJECT ? DR_VERIFY_PROJECT : 0) |
				       (parts & DR_META_FLAGS ? DR_VERIFY_FLAGS : 0) |
				       (parts & DR_META_TIMES ? DR_VERIFY_TIMES : 0);

		dr_walk_tell_difference(walk, walk->job.dir, walk->job.dir_len,
			dr_verify_words(differences, words, sizeof(words)));
	}
}

/* ---- deleting ---- */

/* What this campaign has copied in parts, and could not end yet: it is tried again. */
static bool is_in_parts(const struct dr_walk *walk, const char *path)
{
	bool is_ours = false;

	return walk->stage != DR_STAGE_VERIFY && (walk->clone->spec->clone.passes & DR_PASS_COPY) &&
	       !strchr(path, '/') && dr_clone_is_temporary(&walk->cloner, path, &is_ours) &&
	       is_ours && strstr(path, ".0-");
}

static bool keeps(void *arg, const char *name, size_t len)
{
	struct dr_walk *walk = arg;

	if (walk->job.dir_len == 0 && len == strlen(LOST) && memcmp(name, LOST, len) == 0) {
		return true; /* the file system's own */
	}
	if (is_in_parts(walk, name)) {
		return true;
	}
	dr_scan_child(&walk->job, name, len);
	return dr_clone_leaves_out(
		walk->clone, (const char *)walk->job.path.data, walk->job.path.len);
}

/* A file of the source that is copied takes the place of a directory; one that is left out does not. */
static bool replaces(void *arg, const char *name, size_t len)
{
	struct dr_walk *walk = arg;
	struct dr_meta meta dr_cleanup(dr_meta_fini) = { 0 };

	(void)len;
	return dr_walk_look(walk, name, &meta) == 0 && !S_ISDIR(meta.mode) &&
	       dr_clone_filter_takes(&walk->clone->filter, &meta);
}

static void tell_gone(void *arg, const char *path, size_t len, enum dr_type type)
{
	struct dr_walk *walk = arg;

	(void)type;
	if (walk->stage == DR_STAGE_VERIFY) {
		dr_scan_child(&walk->job, path, len);
		dr_walk_tell_difference(walk, (const char *)walk->job.path.data, walk->job.path.len,
			"only in the target");
		return;
	}
	if (walk->stage == DR_STAGE_LOOK && !walk->cloner.dry_run) {
		return;
	}
	struct dr_buf *out = &walk->deleted;

	dr_buf_printf(out, "%s ", walk->cloner.dry_run ? "would-delete" : "deleted");
	dr_scan_child(&walk->job, path, len);
	dr_buf_put_u8(out, '"');
	dr_text_escape(out, walk->job.path.data, walk->job.path.len);
	dr_buf_put_str(out, "\"\n");
}

static int count_entry(void *arg, const char *name, size_t len, enum dr_type type, uint64_t ino)
{
	(void)name;
	(void)len;
	(void)type;
	(void)ino;
	++*(uint64_t *)arg;
	return 0;
}

/* The log of what was deleted, by name: it must be written before the count of it is told. */
static void write_deleted(struct dr_walk *walk)
{
	const struct dr_work_config *config = &walk->job.worker->work->config;
	struct dr_buf *lines = &walk->deleted;

	if (lines->len == 0) {
		return;
	}
	char *name dr_cleanup(dr_freep) = dr_xasprintf("%s.deleted.log", config->host);
	int fd dr_cleanup(dr_fd_closep) =
		openat(config->logs_fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	int r = fd < 0 ? -errno : dr_write_full(fd, lines->data, lines->len);

	if (r < 0) {
		dr_log_limited(10, DR_LOG_ERROR, "deleted-not-logged", "bytes=%zu error=%s",
			lines->len, strerrorname_np(-r));
	}
	dr_buf_clear(lines);
}

/* No one directory loses more than the whole campaign may; the sum of all is looked at when they are settled. */
static uint64_t most_of(const struct dr_walk *walk, bool looks)
{
	const struct dr_spec_clone *spec = &walk->clone->spec->clone;

	return looks || spec->max_delete_is_percent ? UINT64_MAX : spec->max_delete;
}

int dr_walk_prune(struct dr_walk *walk)
{
	bool looks = walk->stage != DR_STAGE_DELETE || walk->cloner.dry_run;
	struct dr_prune *prune = &walk->prune;
	uint64_t before = prune->n_removed;
	uint64_t errors = prune->n_errors;
	uint64_t seen = 0;
	int r = walk->stage == DR_STAGE_LOOK ? dr_tree_read(walk->to_fd, count_entry, &seen) : 0;

	prune->cloner = &walk->cloner;
	prune->keeps = keeps;
	prune->tell = tell_gone;
	prune->arg = walk;
	prune->replaces = walk->stage == DR_STAGE_VERIFY ? NULL : replaces;
	if (r == 0) {
		r = dr_clone_prune(prune, walk->from_fd, walk->to_fd, looks, most_of(walk, looks));
	}
	write_deleted(walk);
	if (walk->stage == DR_STAGE_LOOK) {
		dr_walk_count(walk, DR_CLONED_WOULD_DELETE, prune->n_removed - before);
		dr_walk_count(walk, DR_CLONED_TARGET_ENTRIES, seen);
	} else if (walk->stage == DR_STAGE_DELETE) {
		dr_walk_count(walk, DR_CLONED_DELETED, prune->n_removed - before);
	}
	if (prune->n_errors > errors && walk->stage == DR_STAGE_DELETE) {
		dr_scan_error(&walk->job, walk->job.dir, walk->job.dir_len, -ENOTEMPTY);
	}
	if (r == -EDQUOT) {
		/* The look found less: the source was changed since, or is not what it was. */
		const char *why =
			"more would be deleted than --max-delete, and than was seen before: stopped";
		int failed = dr_control_fail(walk->job.worker->store, why);

		dr_log(DR_LOG_ERROR, "failed", "reason=\"%s\" result=%d", why, failed);
		return -ECHILD;
	}
	return r;
}

bool dr_walk_may_delete(struct dr_walk *walk)
{
	struct dr_work *work = walk->job.worker->work;
	int r = dr_clone_record_allows_delete(work->config.options->base_path, walk->job.spec);

	/* No record is what other hosts have, where a server of the site's own has the queue. */
	if (r == 0 || r == -ENOENT) {
		return true;
	}
	const char *why =
		"something else was copied into the target since the start: nothing was deleted";

	r = dr_control_fail(walk->job.worker->store, why);
	dr_log(DR_LOG_ERROR, "failed", "reason=\"%s\" result=%d", why, r);
	return false;
}
