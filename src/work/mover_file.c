/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/mover_file.h"

#include "base/log.h"
#include "base/text.h"

#include <inttypes.h>
#include <limits.h>

/*
 * mover = lfs: a command of the site's moves the file, and knows it by its path alone. So the file is looked at before and
 * after, by descriptors that follow no link, and what was seen decides.
 */

/* One look at a file. */
struct look {
	struct dr_mover_seen seen;
	enum dr_step step; /* that seen.error came of */
	struct dr_stat st;
	struct dr_fid fid; /* as the layout has it */
	struct dr_buf bytes;
	struct dr_layout *layout; /* NULL: not read */
};

static void look_fini(struct look *look)
{
	dr_buf_fini(&look->bytes);
	dr_layout_free(look->layout);
}

static void set_outcome(
	struct dr_outcome *outcome, enum dr_class class, enum dr_step step, int error)
{
	outcome->class = class;
	outcome->step = step;
	outcome->error = error;
}

static int look_at_open(const struct dr_evacuation *e, struct dr_file *file, struct look *look)
{
	const struct dr_fs_driver *ops = e->fs->ops;
	struct dr_layout_look by_sources = { 0 };
	int r = ops->file_layout(file, &look->bytes);

	look->step = DR_STEP_LAYOUT;
	if (r == 0 &&
		(dr_layout_look(look->bytes.data, look->bytes.len, e->sources, &by_sources) < 0 ||
			dr_layout_decode(look->bytes.data, look->bytes.len, &look->layout) < 0)) {
		r = -EBADMSG;
	}
	if (r == 0) {
		/* The size that the OSTs know: what the scan or the metadata server says may be old. */
		look->step = DR_STEP_VERSION;
		r = ops->file_stat(file, &look->st);
	}
	look->seen.flags = by_sources.flags;
	look->seen.size = look->st.size;
	look->seen.mtime = look->st.mtime;
	look->fid = by_sources.fid;
	return r;
}

/* fid: which file it must be; zero: whichever has the name. */
static void look_at(struct dr_evacuation *e, const struct dr_chunk_file *chunk_file,
	const struct dr_fid *fid, struct look *look)
{
	struct dr_file *file dr_cleanup(dr_file_closep) = NULL;
	int r = dr_evacuation_enter(e, chunk_file);

	look->step = DR_STEP_OPEN;
	if (r == 0) {
		r = e->fs->ops->file_open(e->dir, chunk_file->name,
			dr_fid_is_zero(fid) ? NULL : fid, DR_OPEN_LOOK, &file);
	}
	if (r == 0) {
		r = look_at_open(e, file, look);
	}
	if (r == -ENOENT) {
		look->step =
			DR_STEP_OPEN; /* a driver may notice late that the name is another file's */
	}
	look->seen.error = r;
}

/* Is there anything to do? The same answers as of a move without a command. @return false the outcome is set */
static bool is_wanted(const struct dr_evacuation *e, const struct dr_chunk_file *file,
	const struct look *look, struct dr_outcome *outcome)
{
	bool is_on = look->seen.flags & DR_LAYOUT_ON_SET;
	/* Its size is of no interest then. */
	bool is_off = look->layout && !is_on && look->seen.error != -ENOENT;

	outcome->bytes = look->st.size ? look->st.size : file->size;
	if (look->seen.error == -ENODATA && look->step == DR_STEP_LAYOUT) {
		set_outcome(outcome, DR_UNNEEDED, DR_STEP_LAYOUT, 0);
	} else if (look->seen.error < 0 && !is_off) {
		set_outcome(outcome, dr_class_of(look->step, look->seen.error), look->step,
			look->seen.error);
	} else if (look->seen.flags & (DR_LAYOUT_RELEASED | DR_LAYOUT_IS_FOREIGN)) {
		set_outcome(outcome, DR_REFUSED, DR_STEP_LAYOUT, -EOPNOTSUPP);
	} else if (is_off && dr_evacuation_is_cut(file, look->st.size)) {
		*outcome = file->outcome;
		outcome->bytes = file->size;
	} else if (is_off) {
		bool moved = e->again && look->seen.error == 0;

		set_outcome(outcome, moved ? DR_SUCCEEDED : DR_UNNEEDED,
			moved ? DR_STEP_DONE : DR_STEP_LAYOUT, 0);
	} else {
		dr_evacuation_note_sources(e, look->layout, outcome);
		if (look->seen.flags & DR_LAYOUT_MIRRORED) {
			/* lfs migrate writes one mirror and leaves the others stale, with exit status 0. */
			set_outcome(outcome, DR_REFUSED, DR_STEP_COMMAND, -EOPNOTSUPP);
			return false;
		}
		for (uint32_t i = 0; i < outcome->n_osts; i++) {
			if (dr_rangeset_has(e->aside, outcome->osts[i])) {
				set_outcome(outcome, DR_FAILED, DR_STEP_ASIDE, -EIO);
				return false;
			}
		}
		if (look->st.immutable || look->st.append) {
			set_outcome(outcome, DR_REFUSED, DR_STEP_OPEN, -EPERM);
			return false;
		}
		return true;
	}
	return false;
}

/* What the command itself says, of a file that is where it was. */
static void judge_result(const struct dr_mover_result *result, struct dr_outcome *outcome)
{
	if (result->end == DR_MOVER_TIMED_OUT) {
		set_outcome(outcome, DR_FAILED, DR_STEP_COMMAND, -ETIMEDOUT);
	} else if (result->end == DR_MOVER_SIGNALLED) {
		set_outcome(outcome, DR_FAILED, DR_STEP_COMMAND, -EINTR);
	} else if (result->status == 0) {
		set_outcome(outcome, DR_FAILED, DR_STEP_SWAP, -EREMOTEIO);
	} else if (result->status == 126 || result->status == 127) {
		set_outcome(outcome, DR_FAILED, DR_STEP_COMMAND, -ENOEXEC);
	} else if (!strerrorname_np(result->status)) {
		set_outcome(outcome, DR_FAILED, DR_STEP_COMMAND, -EPROTO);
	} else {
		set_outcome(outcome, dr_class_of(DR_STEP_COMMAND, -result->status), DR_STEP_COMMAND,
			-result->status);
	}
}

bool dr_mover_verdict(const struct dr_mover_seen *before, const struct dr_mover_seen *after,
	const struct dr_mover_result *result, struct dr_outcome *outcome)
{
	bool same_mtime = before->mtime.tv_sec == after->mtime.tv_sec &&
			  before->mtime.tv_nsec == after->mtime.tv_nsec;

	if (after->error == -ENOENT) {
		set_outcome(outcome, DR_GONE, DR_STEP_OPEN, -ENOENT);
	} else if (after->error < 0) {
		/* Nobody knows where its data is now. */
		set_outcome(outcome, DR_FAILED, DR_STEP_VERIFY, after->error);
		return result->end != DR_MOVER_STOPPED;
	} else if (after->flags & (DR_LAYOUT_RELEASED | DR_LAYOUT_IS_FOREIGN)) {
		set_outcome(outcome, DR_CHANGED, DR_STEP_LAYOUT, -EAGAIN);
	} else if (after->other_layout && before->size != after->size) {
		/* A writer would have set the time; a copy that lost bytes puts the old one back. */
		set_outcome(outcome, same_mtime ? DR_FAILED : DR_CHANGED, DR_STEP_VERIFY,
			same_mtime ? -EILSEQ : -EAGAIN);
	} else if (!(after->flags & DR_LAYOUT_ON_SET)) {
		set_outcome(outcome, DR_SUCCEEDED, DR_STEP_DONE, 0);
	} else if (result->end == DR_MOVER_STOPPED) {
		return false;
	} else {
		judge_result(result, outcome);
	}
	return true;
}

/* ---- the log ---- */

static const char *describe_end(const struct dr_mover_result *result)
{
	static const char *const names[] = { "exit", "signal", "time-out", "stop" };
	return names[result->end];
}

/* One line for what a person should know; the log of moves has all of them. */
static void log_verdict(const char *path, const struct dr_mover_seen *before,
	const struct dr_mover_seen *after, const struct dr_mover_result *result,
	const struct dr_outcome *outcome)
{
	struct dr_buf name dr_cleanup(dr_buf_fini) = { 0 }, said dr_cleanup(dr_buf_fini) = { 0 };
	const char *error = outcome->error ? strerrorname_np(-outcome->error) : "none";

	dr_text_escape(&name, path, strlen(path));
	dr_text_escape(&said, result->line, strlen(result->line));
	const char *p = dr_buf_cstr(&name), *line = dr_buf_cstr(&said);

	if (outcome->step == DR_STEP_VERIFY && outcome->error == -EILSEQ) {
		dr_log(DR_LOG_ERROR, "size-differs-after-command",
			"path=\"%s\" bytes_before=%" PRIu64 " bytes_after=%" PRIu64
			" %s=%d said=\"%s\" next=\"failed; the command may have lost data\"",
			p, before->size, after->size, describe_end(result), result->status, line);
	} else if (outcome->step == DR_STEP_VERIFY && outcome->error == -EAGAIN) {
		dr_log_limited(10, DR_LOG_WARNING, "written-during-command",
			"path=\"%s\" bytes_before=%" PRIu64 " bytes_after=%" PRIu64
			" next=\"changed; looked at again\"",
			p, before->size, after->size);
	} else if (outcome->class == DR_GONE && result->end == DR_MOVER_EXITED &&
		   result->status == 0) {
		dr_log_limited(60, DR_LOG_WARNING, "moved-file-is-another",
			"path=\"%s\" next=\"gone; somebody removed or replaced it, or the command did\"",
			p);
	} else if (outcome->error == -ENOEXEC) {
		dr_log_limited(60, DR_LOG_ERROR, "command-not-run",
			"path=\"%s\" exit=%d said=\"%s\" next=\"failed; see lfs_migrate_command\"",
			p, result->status, line);
	} else if (outcome->error == -EREMOTEIO) {
		dr_log_limited(60, DR_LOG_WARNING, "command-left-file-on-source",
			"path=\"%s\" said=\"%s\" next=\"failed; close the OSTs of the campaign to new objects\"",
			p, line);
	} else if (dr_class_is_leftover(outcome->class) && !dr_class_is_skipped(outcome->class)) {
		dr_log_limited(10, DR_LOG_WARNING, "command-failed",
			"path=\"%s\" class=%s error=%s %s=%d said=\"%s\"", p,
			dr_class_name(outcome->class), error ? error : "unknown",
			describe_end(result), result->status, line);
	}
}

/* ---- one file ---- */

static void put_path(
	const struct dr_evacuation *e, const struct dr_chunk_file *file, struct dr_buf *path)
{
	dr_buf_put_str(path, e->fs->root);
	if (path->len > 1) {
		dr_buf_put(path, "/", 1);
	}
	dr_buf_put(path, file->dir, file->dir_len);
	if (file->dir_len > 0) {
		dr_buf_put(path, "/", 1);
	}
	dr_buf_put(path, file->name, file->name_len);
}

static bool is_same(const struct look *before, const struct look *after)
{
	return before->bytes.len == after->bytes.len && after->bytes.len > 0 &&
	       memcmp(before->bytes.data, after->bytes.data, after->bytes.len) == 0;
}

/* @return 1 the outcome is set; 0 stopped */
static size_t run_and_judge(struct dr_evacuation *e, const struct dr_chunk_file *file,
	const struct look *before, struct look *after, struct dr_outcome *outcome)
{
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_mover_result result = { 0 };

	put_path(e, file, &path);
	if (path.len >= PATH_MAX) {
		set_outcome(outcome, DR_REFUSED, DR_STEP_COMMAND, -ENAMETOOLONG);
		return 1;
	}
	const char *argument = dr_buf_cstr(&path);
	int r = dr_mover_run(e->mover, argument, e->stop, &result);

	if (r < 0) {
		set_outcome(outcome, DR_FAILED, DR_STEP_COMMAND, r);
		dr_log_limited(10, DR_LOG_ERROR, "command-not-started",
			"errno=%d error=\"%s\" next=\"failed\"", -r, strerrordesc_np(-r));
		return 1;
	}
	/* By its path once more: what was there before may be elsewhere now. */
	dr_dir_closep(&e->dir);
	e->dir_error = 0;
	look_at(e, file, dr_fid_is_zero(&file->fid) ? &before->fid : &file->fid, after);
	if (after->seen.error == 0) {
		after->seen.other_layout = !is_same(before, after);
		if (after->st.ino != before->st.ino) {
			after->seen.error = -ENOENT;
		}
	}
	if (!dr_mover_verdict(&before->seen, &after->seen, &result, outcome)) {
		return 0;
	}
	log_verdict(argument, &before->seen, &after->seen, &result, outcome);
	return 1;
}

size_t dr_mover_move(
	struct dr_evacuation *e, const struct dr_chunk_file *file, struct dr_outcome *outcome)
{
	struct look before dr_cleanup(look_fini) = { 0 }, after dr_cleanup(look_fini) = { 0 };

	*outcome = (struct dr_outcome){ 0 };
	look_at(e, file, &file->fid, &before);
	if (is_wanted(e, file, &before, outcome) &&
		run_and_judge(e, file, &before, &after, outcome) == 0) {
		return 0;
	}
	dr_evacuation_tell(e, file, outcome, before.layout, after.layout);
	return 1;
}
