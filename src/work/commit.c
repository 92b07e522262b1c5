/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "base/text.h"
#include "work/copy.h"
#include "work/file_move.h"
#include "work/mover_file.h"

/*
 * The end of a move. Up to the swap everything can be dropped without a trace; once it was sent, the layout alone tells what
 * happened.
 */

void dr_file_move_drop_vol(struct dr_file_move *move)
{
	/* Taken first: a driver that waits in its close ticks, and the tick looks at this very move. */
	struct dr_vol *vol = move->vol;

	move->vol = NULL;
	if (vol) {
		move->e->fs->ops->vol_close(vol);
	}
	if (move->placed) {
		dr_targets_done(move->e->targets, move->placed, move->st.size);
		dr_layout_free(move->placed);
		move->placed = NULL;
	}
}

void dr_file_move_end(struct dr_file_move *move)
{
	struct dr_file *source = move->source;

	move->source = NULL;
	dr_file_move_drop_vol(move);
	if (source) {
		move->e->fs->ops->file_close(source);
	}
	dr_layout_free(move->layout);
	move->layout = NULL;
	dr_buf_fini(&move->layout_bytes);
}

void dr_evacuation_tell(struct dr_evacuation *e, const struct dr_chunk_file *file,
	const struct dr_outcome *outcome, const struct dr_layout *from, const struct dr_layout *to)
{
	if (e->audit && !e->dry_run && outcome->class == DR_SUCCEEDED) {
		struct dr_buf was dr_cleanup(dr_buf_fini) = { 0 };
		struct dr_buf is dr_cleanup(dr_buf_fini) = { 0 };

		if (from) {
			dr_layout_describe(from, &was);
		}
		if (to) {
			dr_layout_describe(to, &is);
		}
		dr_audit_moved(e->audit, file, outcome->bytes, dr_buf_cstr(&was), dr_buf_cstr(&is));
	} else if (e->audit && dr_class_is_leftover(outcome->class) &&
		   !dr_evacuation_tries_again(e, outcome)) {
		dr_audit_not_moved(e->audit, file, outcome);
	}
}

void dr_file_move_conclude(
	struct dr_file_move *move, enum dr_class class, enum dr_step step, int error)
{
	struct dr_outcome *outcome = move->outcome;

	outcome->class = class;
	outcome->step = step;
	outcome->error = error;
	outcome->bytes = move->st.size ? move->st.size : move->file->size;
	dr_evacuation_tell(move->e, move->file, outcome, move->layout, move->placed);
	dr_file_move_end(move);
}

void dr_file_move_conclude_error(struct dr_file_move *move, enum dr_step step, int error)
{
	enum dr_class class = dr_class_of(step, error);
	struct dr_stat now;

	/* The lease of a file that was removed may go with its last name. */
	if (class == DR_BUSY && move->source &&
		move->e->fs->ops->file_stat(move->source, &now) == 0 && now.nlink == 0) {
		dr_file_move_conclude(move, DR_GONE, DR_STEP_OPEN, -ENOENT);
		return;
	}
	dr_file_move_conclude(move, class, step, error);
}

/* @return as dr_file_move_commit() */
static int conclude_by_layout(struct dr_file_move *move, int swap_result)
{
	struct dr_buf now dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout_look look = { 0 };
	int r = move->e->fs->ops->file_layout(move->source, &now);

	if (r == 0) {
		r = dr_layout_look(now.data, now.len, move->e->sources, &look);
	}
	if (r == 0 && !(look.flags & DR_LAYOUT_ON_SET)) {
		dr_file_move_conclude(move, DR_SUCCEEDED, DR_STEP_DONE, 0);
	} else if (r == 0 && swap_result == 0 && move->mirror) {
		return 1;
	} else if (swap_result < 0) {
		dr_file_move_conclude_error(move, DR_STEP_SWAP, swap_result);
	} else {
		dr_file_move_conclude_error(move, DR_STEP_SWAP, r < 0 ? r : -EIO);
	}
	return 0;
}

static int read_back(const struct dr_file_move *move)
{
	const struct dr_copy job = {
		.file = move->source,
		.vol = move->vol,
		.size = move->st.size,
		.buffer = move->e->buffer,
		.buffer_bytes = move->e->buffer_bytes,
	};

	return dr_copy_verify(&job);
}

/* Everything that must be so before the swap is sent. @return 0, or the negative errno of *ret_step */
static int prove(struct dr_file_move *move, enum dr_step *ret_step)
{
	const struct dr_evacuation *e = move->e;
	const struct dr_fs_driver *ops = e->fs->ops;
	uint64_t size = 0, version = 0;
	int r;

	*ret_step = DR_STEP_SYNC;
	r = e->fsync ? ops->vol_sync(move->vol) : 0;
	if (r == 0 && e->verify) {
		*ret_step = DR_STEP_VERIFY;
		r = read_back(move);
	}
	if (r == 0) {
		*ret_step = DR_STEP_ATTRS;
		r = ops->vol_attrs(move->vol, move->source);
	}
	if (r < 0) {
		return r;
	}
	*ret_step = DR_STEP_VERSION;
	r = ops->vol_size(move->vol, &size);
	if (r == 0 && size != move->st.size) {
		r = -EIO;
	}
	r = r < 0 ? r : ops->data_version(move->source, NULL, &version);
	if (r < 0) {
		return r;
	}
	if (ops->lease_check(move->source) != 1) {
		*ret_step = DR_STEP_SWAP;
		return -EBUSY;
	}
	return version == move->version ? 0 : -EAGAIN;
}

int dr_file_move_commit(struct dr_file_move *move)
{
	const struct dr_fs_driver *ops = move->e->fs->ops;
	const void *expect = move->layout_bytes.data;
	size_t expect_len = move->layout_bytes.len;
	enum dr_step step;
	int r = prove(move, &step);

	if (r < 0) {
		dr_file_move_conclude_error(move, step, r);
		return 0;
	}
	r = move->mirror
		    ? ops->mirror_replace(move->source, move->vol, move->mirror, expect, expect_len)
		    : ops->swap(move->source, move->vol, expect, expect_len);
	return conclude_by_layout(move, r);
}
