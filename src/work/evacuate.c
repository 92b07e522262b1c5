/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/evacuate.h"

#include "base/clock.h"
#include "base/log.h"
#include "work/command_move.h"
#include "work/copy.h"

#include <stdatomic.h>

#define GROUP_FILES 64
#define GROUP_FILE_BYTES (4u << 20) /* a larger file is moved alone */
#define GROUP_BYTES (32u << 20)
#define GROUP_NS                                                                                   \
	50000000ull /* a group that took longer to copy is closed, for its leases are held meanwhile */
#define TICK_NS 50000000ull
#define CALL_NS 500000000ull   /* after which no further file is taken */
#define FLUSH_BYTES (8u << 20) /* of a large file: its sync then waits for little */
#define PLACE_TRIES 64
#define OTHER_MOVER_NS 2000000000ull

/* One file on its way. */
struct move {
	struct dr_evacuation *e;
	const struct dr_chunk_file *file;
	struct dr_outcome *outcome;
	struct dr_file *source; /* NULL once the outcome is certain */
	struct dr_vol *vol;
	struct dr_buf layout_bytes; /* as under the lease */
	struct dr_layout *layout;   /* of layout_bytes */
	struct dr_layout *placed;   /* of the volatile */
	struct dr_stat st;          /* under the lease */
	uint64_t version;
};

struct group {
	struct dr_evacuation *e;
	struct move moves[GROUP_FILES];
	size_t n;
	const struct move *in_hand; /* its own steps look after its lease */
	uint64_t ticked_ns;
};

static void end_move(struct move *move)
{
	/* Taken first: a driver that waits in its close calls tick_leases(), which looks at this very move. */
	struct dr_vol *vol = move->vol;
	struct dr_file *source = move->source;

	move->vol = NULL;
	move->source = NULL;
	if (vol) {
		move->e->fs->ops->vol_close(vol);
	}
	if (source) {
		move->e->fs->ops->file_close(source);
	}
	if (move->placed) {
		dr_targets_done(move->e->targets, move->placed, move->st.size);
		dr_layout_free(move->placed);
		move->placed = NULL;
	}
	dr_layout_free(move->layout);
	move->layout = NULL;
	dr_buf_fini(&move->layout_bytes);
}

void dr_evacuation_tell(struct dr_evacuation *e, const struct dr_chunk_file *file,
	const struct dr_outcome *outcome, const struct dr_layout *from, const struct dr_layout *to)
{
	if (e->audit && !e->dry_run && outcome->class == DR_SUCCEEDED) {
		struct dr_buf was dr_cleanup(dr_buf_fini) = { 0 },
				  is dr_cleanup(dr_buf_fini) = { 0 };

		if (from) {
			dr_layout_describe(from, &was);
		}
		if (to) {
			dr_layout_describe(to, &is);
		}
		dr_audit_moved(e->audit, file, outcome->bytes, dr_buf_cstr(&was), dr_buf_cstr(&is));
	} else if (e->audit && dr_class_is_leftover(outcome->class)) {
		dr_audit_not_moved(e->audit, file, outcome);
	}
}

/* The file's outcome is certain: it is written down, and all that was held for the file is given back. */
static void conclude(struct move *move, enum dr_class class, enum dr_step step, int error)
{
	struct dr_outcome *outcome = move->outcome;

	outcome->class = class;
	outcome->step = step;
	outcome->error = error;
	outcome->bytes = move->st.size ? move->st.size : move->file->size;
	dr_evacuation_tell(move->e, move->file, outcome, move->layout, move->placed);
	end_move(move);
}

static void conclude_error(struct move *move, enum dr_step step, int error)
{
	conclude(move, dr_class_of(step, error), step, error);
}

static bool is_open(const struct move *move)
{
	return move->source != NULL;
}

int dr_evacuation_enter(struct dr_evacuation *e, const struct dr_chunk_file *file)
{
	bool same = (e->dir || e->dir_error) && e->dir_path.len == file->dir_len &&
		    (file->dir_len == 0 || memcmp(e->dir_path.data, file->dir, file->dir_len) == 0);

	if (same) {
		return e->dir_error;
	}
	dr_dir_closep(&e->dir);
	e->dir = NULL;
	dr_buf_clear(&e->dir_path);
	dr_buf_put(&e->dir_path, file->dir, file->dir_len);
	e->dir_error = e->fs->ops->dir_open(e->fs, file->dir, file->dir_len, &e->dir);
	/* A directory that is gone, or became something else, took its files along. */
	if (e->dir_error == -ENOTDIR || e->dir_error == -ELOOP || e->dir_error == -ESTALE) {
		e->dir_error = -ENOENT;
	}
	return e->dir_error;
}

void dr_evacuation_note_sources(
	const struct dr_evacuation *e, const struct dr_layout *layout, struct dr_outcome *outcome)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		for (uint32_t i = 0; i < layout->comps[c].n_objects; i++) {
			uint32_t ost = layout->comps[c].objects[i].ost;
			bool noted = !dr_rangeset_has(e->sources, ost);

			for (uint32_t k = 0; k < outcome->n_osts; k++) {
				noted = noted || outcome->osts[k] == ost;
			}
			if (!noted && outcome->n_osts < DR_OUTCOME_OSTS) {
				outcome->osts[outcome->n_osts++] = ost;
			}
		}
	}
}

/*
 * Takes the lease; waits a little for another mover, which will most likely have moved the file then (it has two names,
 * or it is on two queues). in_group: the other mover may be this very group, so it does not wait.
 */
static int take_lease(struct move *move, bool in_group)
{
	const struct dr_fs_driver *ops = move->e->fs->ops;
	uint64_t until = 0;
	int r;

	while ((r = ops->lease_take(move->source)) == -EALREADY && !in_group) {
		uint64_t now = dr_now_ns();

		until = until ? until : now + OTHER_MOVER_NS;
		if (now > until) {
			break;
		}
		dr_sleep_ms(10);
	}
	return r;
}

/* Looks at the layout under the lease. @return 1 go on; 0 concluded */
static int look_at_layout(struct move *move)
{
	const struct dr_fs_driver *ops = move->e->fs->ops;
	struct dr_layout_look look = { 0 };
	int r = ops->file_layout(move->source, &move->layout_bytes);

	if (r == -ENODATA) {
		conclude(move, DR_UNNEEDED, DR_STEP_LAYOUT, 0);
		return 0;
	}
	if (r == 0) {
		r = dr_layout_look(
			move->layout_bytes.data, move->layout_bytes.len, move->e->sources, &look);
		r = r < 0 ? -EBADMSG : 0;
	}
	if (r < 0) {
		/* A driver may notice only now that the name is another file's. */
		conclude_error(move, r == -ENOENT ? DR_STEP_OPEN : DR_STEP_LAYOUT, r);
		return 0;
	}
	if (look.flags & (DR_LAYOUT_RELEASED | DR_LAYOUT_IS_FOREIGN)) {
		conclude(move, DR_REFUSED, DR_STEP_LAYOUT, -EOPNOTSUPP);
		return 0;
	}
	if (!(look.flags & DR_LAYOUT_ON_SET)) {
		r = ops->file_stat(move->source, &move->st);
		if (r == 0 && dr_evacuation_is_cut(move->file, move->st.size)) {
			*move->outcome = move->file->outcome;
			conclude(move, DR_FAILED, DR_STEP_VERIFY, -EILSEQ);
			return 0;
		}
		conclude(move, move->e->again && r == 0 ? DR_SUCCEEDED : DR_UNNEEDED,
			move->e->again ? DR_STEP_DONE : DR_STEP_LAYOUT, 0);
		return 0;
	}
	r = dr_layout_decode(move->layout_bytes.data, move->layout_bytes.len, &move->layout);
	if (r < 0) {
		conclude_error(move, DR_STEP_LAYOUT, -EBADMSG);
		return 0;
	}
	dr_evacuation_note_sources(move->e, move->layout, move->outcome);
	for (uint32_t i = 0; i < move->outcome->n_osts; i++) {
		if (dr_rangeset_has(move->e->aside, move->outcome->osts[i])) {
			conclude(move, DR_FAILED, DR_STEP_ASIDE, -EIO);
			return 0;
		}
	}
	return 1;
}

/*
 * Opens the file, takes its lease, and then, under it, looks at what it is. @return 1 it is to be moved; 0 its
 * outcome is certain; -EALREADY it is in this group already (in_group only), nothing was concluded
 */
static int prepare(struct move *move, bool in_group)
{
	struct dr_evacuation *e = move->e;
	const struct dr_fs_driver *ops = e->fs->ops;
	const struct dr_chunk_file *file = move->file;
	int r = dr_evacuation_enter(e, file);

	*move->outcome = (struct dr_outcome){ 0 };
	if (r == 0) {
		r = ops->file_open(e->dir, file->name,
			dr_fid_is_zero(&file->fid) ? NULL : &file->fid,
			e->dry_run ? DR_OPEN_LOOK : DR_OPEN_MOVE, &move->source);
	}
	if (r < 0) {
		conclude_error(move, DR_STEP_OPEN, r);
		return 0;
	}
	r = take_lease(move, in_group);
	if (r == -EALREADY && in_group) {
		end_move(move);
		return -EALREADY;
	}
	if (r < 0) {
		/* Which sources it is on is told even of a file that is not touched. */
		if (ops->file_layout(move->source, &move->layout_bytes) == 0 &&
			dr_layout_decode(move->layout_bytes.data, move->layout_bytes.len,
				&move->layout) == 0) {
			dr_evacuation_note_sources(move->e, move->layout, move->outcome);
		}
		conclude_error(move, DR_STEP_LEASE, r);
		return 0;
	}
	if (look_at_layout(move) == 0) {
		return 0;
	}
	r = ops->file_stat(move->source, &move->st);
	if (r == 0) {
		r = ops->data_version(move->source, &move->st, &move->version);
	}
	if (r < 0) {
		conclude_error(move, r == -ENOENT ? DR_STEP_OPEN : DR_STEP_VERSION, r);
		return 0;
	}
	if (move->st.immutable || move->st.append) {
		conclude(move, DR_REFUSED, DR_STEP_OPEN, -EPERM);
		return 0;
	}
	return 1;
}

/* Chooses targets and makes the volatile there; an OST that refuses is avoided, and others are chosen. */
static int make_volatile(struct move *move)
{
	struct dr_evacuation *e = move->e;
	const struct dr_fs_driver *ops = e->fs->ops;

	for (int i = 0; i < PLACE_TRIES; i++) {
		uint32_t ost = UINT32_MAX;
		int r = dr_targets_place(e->targets, move->layout, move->st.size, &move->placed);

		if (r < 0) {
			conclude_error(move, DR_STEP_TARGET, r);
			return 0;
		}
		if (e->dry_run) {
			conclude(move, DR_SUCCEEDED, DR_STEP_DONE, 0);
			return 0;
		}
		r = ops->vol_create(move->source, move->placed, &move->vol, &ost);
		if (r == 0) {
			return 1;
		}
		dr_targets_done(e->targets, move->placed, move->st.size);
		dr_layout_free(move->placed);
		move->placed = NULL;
		bool ost_refuses = r == -ENOBUFS || r == -ENOSPC || r == -ENODEV;

		if (!ost_refuses || ost == UINT32_MAX) {
			conclude_error(move, DR_STEP_CREATE, r);
			return 0;
		}
		dr_targets_avoid(e->targets, ost);
	}
	conclude_error(move, DR_STEP_CREATE, -ENOSPC);
	return 0;
}

/* The lease of every file of the group is looked at now and then, also of those that wait for the others. */
static void tick_leases(void *ctx)
{
	struct group *group = ctx;
	uint64_t now = dr_now_ns();

	if (now - group->ticked_ns < TICK_NS) {
		return;
	}
	group->ticked_ns = now;
	for (size_t i = 0; i < group->n; i++) {
		struct move *move = &group->moves[i];

		if (is_open(move) && move != group->in_hand &&
			move->e->fs->ops->lease_check(move->source) != 1) {
			conclude(move, DR_BUSY, DR_STEP_COPY, -EBUSY);
		}
	}
}

static int tick(void *ctx)
{
	struct group *group = ctx;

	tick_leases(group);
	return group->e->stop && atomic_load_explicit(group->e->stop, memory_order_relaxed) ? -EINTR
											    : 0;
}

/* Fills the volatile. @return 1 filled; 0 concluded; -EINTR stopped, nothing was concluded */
static int copy(struct group *group, struct move *move)
{
	struct dr_evacuation *e = move->e;

	for (int i = 0; i < PLACE_TRIES; i++) {
		uint32_t ost = UINT32_MAX;

		if (make_volatile(move) == 0) {
			return 0;
		}
		const struct dr_copy job = {
			.file = move->source,
			.vol = move->vol,
			.size = move->st.size,
			.buffer = e->buffer,
			.buffer_bytes = e->buffer_bytes,
			.flush_bytes = e->fsync ? FLUSH_BYTES : 0,
			.tick = tick,
			.ctx = group,
		};
		bool writing = false;
		int r = dr_copy_data(&job, &writing, &ost);
		if (r == 0) {
			return 1;
		}
		if (r == -EINTR) {
			end_move(move);
			return r;
		}
		if (!writing || r == -ECANCELED || ost == UINT32_MAX) {
			conclude_error(move, writing ? DR_STEP_WRITE : DR_STEP_COPY, r);
			return 0;
		}
		/* A target filled up, or fails: all of the file goes elsewhere. */
		dr_targets_avoid(e->targets, ost);
		e->fs->ops->vol_close(move->vol);
		move->vol = NULL;
		dr_targets_done(e->targets, move->placed, move->st.size);
		dr_layout_free(move->placed);
		move->placed = NULL;
	}
	conclude_error(move, DR_STEP_WRITE, -ENOSPC);
	return 0;
}

/* After an error of the swap, and after its success, the layout decides what happened. */
static void conclude_by_layout(struct move *move, int swap_result)
{
	struct dr_buf now dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout_look look = { 0 };
	int r = move->e->fs->ops->file_layout(move->source, &now);

	if (r == 0) {
		r = dr_layout_look(now.data, now.len, move->e->sources, &look);
	}
	if (r == 0 && !(look.flags & DR_LAYOUT_ON_SET)) {
		conclude(move, DR_SUCCEEDED, DR_STEP_DONE, 0);
	} else if (swap_result < 0) {
		conclude_error(move, DR_STEP_SWAP, swap_result);
	} else {
		conclude_error(move, DR_STEP_SWAP, r < 0 ? r : -EIO);
	}
}

/* Proves that the copy is whole and on the disks, then swaps. */
static void finish(struct move *move)
{
	struct dr_evacuation *e = move->e;
	const struct dr_fs_driver *ops = e->fs->ops;
	uint64_t size = 0, version = 0;
	int r = e->fsync ? ops->vol_sync(move->vol) : 0;

	if (r < 0) {
		conclude_error(move, DR_STEP_SYNC, r);
		return;
	}
	if (e->verify) {
		const struct dr_copy job = {
			.file = move->source,
			.vol = move->vol,
			.size = move->st.size,
			.buffer = e->buffer,
			.buffer_bytes = e->buffer_bytes,
		};
		r = dr_copy_verify(&job);
		if (r < 0) {
			conclude_error(move, DR_STEP_VERIFY, r);
			return;
		}
	}
	r = ops->vol_attrs(move->vol, move->source);
	if (r < 0) {
		conclude_error(move, DR_STEP_ATTRS, r);
		return;
	}
	r = ops->vol_size(move->vol, &size);
	if (r == 0 && size != move->st.size) {
		r = -EIO;
	}
	if (r == 0) {
		r = ops->data_version(move->source, NULL, &version);
	}
	if (r < 0) {
		conclude_error(move, DR_STEP_VERSION, r);
		return;
	}
	if (ops->lease_check(move->source) != 1) {
		conclude(move, DR_BUSY, DR_STEP_SWAP, -EBUSY);
		return;
	}
	if (version != move->version) {
		conclude(move, DR_CHANGED, DR_STEP_VERSION, -EAGAIN);
		return;
	}
	conclude_by_layout(move, ops->swap(move->source, move->vol, move->layout_bytes.data,
					 move->layout_bytes.len));
}

static void finish_group(struct group *group)
{
	/* All data is sent on its way first; then each sync waits for what is nearly done. */
	for (size_t i = 0; i < group->n && group->n > 1; i++) {
		struct move *move = &group->moves[i];

		if (is_open(move) && move->e->fsync && move->e->fs->ops->vol_flush(move->vol) < 0) {
			dr_log_limited(
				60, DR_LOG_DEBUG, "flush-ahead-failed", "next=\"the sync tells\"");
		}
	}
	for (size_t i = 0; i < group->n; i++) {
		struct move *move = &group->moves[i];

		group->in_hand = move;
		tick_leases(group);
		if (is_open(move)) {
			finish(move);
		}
	}
}

size_t dr_evacuate_some(struct dr_evacuation *e, const struct dr_chunk_file *files, size_t n,
	struct dr_outcome *outcomes)
{
	struct group
		group; /* its moves are set one by one: clearing all of them costs more than a small file's look */
	uint64_t began = dr_now_ns(), started = 0, bytes = 0;
	size_t taken = 0;

	group.e = e;
	group.n = 0;
	group.in_hand = NULL;
	group.ticked_ns = 0;
	if (e->command && !e->dry_run) {
		return n > 0 ? dr_command_move(e, files, outcomes) : 0;
	}
	dr_fs_wait = (struct dr_fs_wait){ .fn = tick_leases, .ctx = &group };
	while (taken < n && group.n < GROUP_FILES && bytes < GROUP_BYTES) {
		/* Files that fail slowly one by one must not keep the books, a pause or a stop waiting. */
		if (taken > 0 &&
			(dr_now_ns() - began > CALL_NS ||
				(e->stop && atomic_load_explicit(e->stop, memory_order_relaxed)))) {
			break;
		}
		const struct dr_chunk_file *file = &files[taken];
		struct move *move = &group.moves[group.n];

		if (group.n > 0 &&
			(file->size > GROUP_FILE_BYTES || dr_now_ns() - started > GROUP_NS)) {
			break;
		}
		*move = (struct move){ .e = e, .file = file, .outcome = &outcomes[taken] };
		int r = prepare(move, group.n > 0);

		if (r == -EALREADY) {
			break; /* its other name is in this group: next time it is off the sources */
		}
		taken++;
		if (r == 0) {
			if (e->dry_run && taken >= GROUP_FILES) {
				break;
			}
			continue;
		}
		if (e->dry_run) {
			(void)make_volatile(move);
			continue;
		}
		started = started ? started : dr_now_ns();
		group.n++;
		group.in_hand = move;
		r = copy(&group, move);
		group.in_hand = NULL; /* from here on it waits like the others */
		if (r < 0) {
			group.n--;
			taken--;
			break;
		}
		if (r == 0) {
			group.n--;
			continue;
		}
		bytes += move->st.size;
		if (move->st.size > GROUP_FILE_BYTES) {
			break;
		}
	}
	finish_group(&group);
	dr_fs_wait = (struct dr_fs_wait){ 0 };
	return taken;
}

void dr_evacuation_fini(struct dr_evacuation *e)
{
	dr_dir_closep(&e->dir);
	dr_buf_fini(&e->dir_path);
	*e = (struct dr_evacuation){ 0 };
}
