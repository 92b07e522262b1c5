/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "work/copy.h"
#include "work/file_move.h"
#include "work/mover_file.h"

#include <stdatomic.h>

#define GROUP_FILES 64
#define GROUP_FILE_BYTES (4u << 20) /* a larger file is moved alone */
#define GROUP_BYTES (32u << 20)
#define GROUP_NS                                                                                   \
	50000000ull /* a group that took longer to copy is closed: its leases keep writers waiting meanwhile */
#define GROUP_YIELDING_NS 1000000000ull /* where they keep nobody waiting */
#define TICK_NS 50000000ull
#define CALL_NS 500000000ull   /* after which no further file is taken */
#define FLUSH_BYTES (8u << 20) /* of a large file: its sync then waits for little */
#define PLACE_TRIES 64
#define POOL_TRIES 3
#define OTHER_MOVER_NS 2000000000ull

struct group {
	struct dr_evacuation *e;
	struct dr_file_move moves[GROUP_FILES];
	size_t n;
	const struct dr_file_move *in_hand; /* its own steps look after its lease */
	uint64_t ticked_ns;
};

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

static int open_and_lease(struct dr_file_move *move, enum dr_step *ret_step)
{
	const struct dr_evacuation *e = move->e;
	const struct dr_fs_driver *ops = e->fs->ops;
	const struct dr_chunk_file *file = move->file;
	int r = 0;

	*ret_step = DR_STEP_OPEN;
	if (!move->source) {
		r = ops->file_open(e->dir, file->name,
			dr_fid_is_zero(&file->fid) ? NULL : &file->fid,
			e->dry_run ? DR_OPEN_LOOK : DR_OPEN_MOVE, &move->source);
	}
	if (r < 0) {
		return r;
	}
	*ret_step = DR_STEP_LEASE;
	return ops->lease_take(move->source);
}

/*
 * Opens the file and takes its lease; waits a little for another mover, which will most likely have moved the file then (it has two
 * names, or it is on two queues). in_group: the other mover may be this very group, so it does not wait.
 */
static int take(struct dr_file_move *move, bool in_group, enum dr_step *ret_step)
{
	uint64_t until = 0;
	int r;

	while ((r = open_and_lease(move, ret_step)) == -EALREADY && !in_group) {
		uint64_t now = dr_now_ns();

		until = until ? until : now + OTHER_MOVER_NS;
		if (now > until) {
			break;
		}
		dr_sleep_ms(10);
	}
	return r;
}

/* The layout under the lease; what a mover that died has left of a mirrored file is mended first. */
static int read_layout(struct dr_file_move *move, struct dr_layout_look *ret_look)
{
	const struct dr_fs_driver *ops = move->e->fs->ops;
	struct dr_buf *bytes = &move->layout_bytes;

	for (bool mended = false;; mended = true) {
		dr_buf_clear(bytes);
		int r = ops->file_layout(move->source, bytes);

		if (r < 0) {
			return r;
		}
		if (dr_layout_look(bytes->data, bytes->len, move->e->sources, ret_look) < 0) {
			return -EBADMSG;
		}
		if (mended || move->e->dry_run || !ops->mirror_mend ||
			!(ret_look->flags & DR_LAYOUT_MIRRORED)) {
			return 0;
		}
		r = ops->mirror_mend(move->source);
		if (r <= 0) {
			return r;
		}
	}
}

/* Looks at the layout under the lease. @return 1 go on; 0 concluded */
static int look_at_layout(struct dr_file_move *move)
{
	const struct dr_fs_driver *ops = move->e->fs->ops;
	struct dr_layout_look look = { 0 };
	int r = read_layout(move, &look);

	if (r == -ENODATA) {
		dr_file_move_conclude(move, DR_UNNEEDED, DR_STEP_LAYOUT, 0);
		return 0;
	}
	if (r < 0) {
		/* A driver may notice only now that the name is another file's. */
		dr_file_move_conclude_error(move, r == -ENOENT ? DR_STEP_OPEN : DR_STEP_LAYOUT, r);
		return 0;
	}
	if (look.flags & (DR_LAYOUT_RELEASED | DR_LAYOUT_IS_FOREIGN)) {
		dr_file_move_conclude(move, DR_REFUSED, DR_STEP_LAYOUT, -EOPNOTSUPP);
		return 0;
	}
	if (!(look.flags & DR_LAYOUT_ON_SET)) {
		r = ops->file_stat(move->source, &move->st);
		if (r == 0 && dr_evacuation_is_cut(move->file, move->st.size)) {
			*move->outcome = move->file->outcome;
			dr_file_move_conclude(move, DR_FAILED, DR_STEP_VERIFY, -EILSEQ);
			return 0;
		}
		dr_file_move_conclude(move, move->e->again && r == 0 ? DR_SUCCEEDED : DR_UNNEEDED,
			move->e->again ? DR_STEP_DONE : DR_STEP_LAYOUT, 0);
		return 0;
	}
	r = dr_layout_decode(move->layout_bytes.data, move->layout_bytes.len, &move->layout);
	if (r < 0) {
		dr_file_move_conclude_error(move, DR_STEP_LAYOUT, -EBADMSG);
		return 0;
	}
	bool one_by_one = ops->mirror_replace && move->layout->mirror_count > 0;

	move->mirror = one_by_one ? dr_layout_next_mirror_on(move->layout, move->e->sources) : 0;
	dr_evacuation_note_sources(move->e, move->layout, move->outcome);
	for (uint32_t i = 0; i < move->outcome->n_osts; i++) {
		if (dr_rangeset_has(move->e->aside, move->outcome->osts[i])) {
			dr_file_move_conclude(move, DR_FAILED, DR_STEP_ASIDE, -EIO);
			return 0;
		}
	}
	return 1;
}

/* Under the lease: what the file is. @return 1 it is to be moved; 0 concluded */
static int examine(struct dr_file_move *move)
{
	const struct dr_fs_driver *ops = move->e->fs->ops;

	if (look_at_layout(move) == 0) {
		return 0;
	}
	int r = ops->file_stat(move->source, &move->st);

	if (r == 0) {
		r = ops->data_version(move->source, &move->st, &move->version);
	}
	if (r < 0) {
		dr_file_move_conclude_error(move, r == -ENOENT ? DR_STEP_OPEN : DR_STEP_VERSION, r);
		return 0;
	}
	if (move->st.immutable || move->st.append) {
		dr_file_move_conclude(move, DR_REFUSED, DR_STEP_OPEN, -EPERM);
		return 0;
	}
	return 1;
}

/*
 * Opens the file, takes its lease, and then, under it, looks at what it is. @return 1 it is to be moved; 0 its
 * outcome is certain; -EALREADY it is in this group already (in_group only), nothing was concluded
 */
static int prepare(struct dr_file_move *move, bool in_group)
{
	struct dr_evacuation *e = move->e;
	const struct dr_fs_driver *ops = e->fs->ops;
	enum dr_step step = DR_STEP_OPEN;
	int r = dr_evacuation_enter(e, move->file);

	*move->outcome = (struct dr_outcome){ 0 };
	r = r < 0 ? r : take(move, in_group, &step);
	if (r == -EALREADY && in_group) {
		dr_file_move_end(move);
		return -EALREADY;
	}
	if (r < 0) {
		/* Which sources it is on is told even of a file that is not touched. */
		if (move->source && ops->file_layout(move->source, &move->layout_bytes) == 0 &&
			dr_layout_decode(move->layout_bytes.data, move->layout_bytes.len,
				&move->layout) == 0) {
			dr_evacuation_note_sources(move->e, move->layout, move->outcome);
		}
		dr_file_move_conclude_error(move, step, r);
		return 0;
	}
	return examine(move);
}

static bool names_pool(const struct dr_layout *layout)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		if (layout->comps[c].pool[0]) {
			return true;
		}
	}
	return false;
}

/* Chooses targets and makes the volatile there; an OST that refuses is avoided, and others are chosen. */
static int make_volatile(struct dr_file_move *move)
{
	struct dr_evacuation *e = move->e;
	const struct dr_fs_driver *ops = e->fs->ops;
	int pool_tries = names_pool(move->layout) ? POOL_TRIES : 0;

	for (int i = 0; i < PLACE_TRIES; i++) {
		uint32_t ost = UINT32_MAX;
		int r = dr_targets_place(
			e->targets, move->layout, move->mirror, move->st.size, &move->placed);

		if (r < 0) {
			dr_file_move_conclude_error(move, DR_STEP_TARGET, r);
			return 0;
		}
		if (e->dry_run) {
			dr_file_move_conclude(move, DR_SUCCEEDED, DR_STEP_DONE, 0);
			return 0;
		}
		r = ops->vol_create(move->source, move->placed, &move->vol, &ost);
		if (r == 0) {
			return 1;
		}
		dr_file_move_drop_vol(move);
		if (r == -EINVAL && pool_tries > 0) {
			/* An OST may have left its pool since the pool was looked up. */
			dr_targets_forget_pools(e->targets);
			pool_tries--;
			continue;
		}
		bool ost_refuses = r == -ENOBUFS || r == -ENOSPC || r == -ENODEV;

		if (!ost_refuses || ost == UINT32_MAX) {
			dr_file_move_conclude_error(move, DR_STEP_CREATE, r);
			return 0;
		}
		dr_targets_avoid(e->targets, ost);
	}
	dr_file_move_conclude_error(move, DR_STEP_CREATE, -ENOSPC);
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
		struct dr_file_move *move = &group->moves[i];

		if (dr_file_move_is_open(move) && move != group->in_hand &&
			move->e->fs->ops->lease_check(move->source) != 1) {
			dr_file_move_conclude(move, DR_BUSY, DR_STEP_COPY, -EBUSY);
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
static int copy(struct group *group, struct dr_file_move *move)
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
			.skip_zeros = move->st.sparse,
			.buffer = e->buffer,
			.buffer_bytes = e->buffer_bytes,
			.pool = e->pool,
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
			dr_file_move_end(move);
			return r;
		}
		if (!writing || r == -ECANCELED || ost == UINT32_MAX) {
			dr_file_move_conclude_error(
				move, writing ? DR_STEP_WRITE : DR_STEP_COPY, r);
			return 0;
		}
		/* A target filled up, or fails: all of the file goes elsewhere. */
		dr_targets_avoid(e->targets, ost);
		dr_file_move_drop_vol(move);
	}
	dr_file_move_conclude_error(move, DR_STEP_WRITE, -ENOSPC);
	return 0;
}

/* Moves the next mirror of a file of which one was moved. @return 1 its copy is made; 0 concluded */
static int next_mirror(struct group *group, struct dr_file_move *move)
{
	dr_file_move_drop_vol(move);
	dr_layout_free(move->layout);
	move->layout = NULL;
	int r = move->e->fs->ops->lease_take(move->source);

	if (r < 0) {
		dr_file_move_conclude_error(move, DR_STEP_LEASE, r);
		return 0;
	}
	r = examine(move) ? copy(group, move) : 0;
	if (r < 0) {
		/* Stopped: the mirrors that are left are moved when the file is tried again. */
		dr_file_move_conclude(move, DR_CHANGED, DR_STEP_COPY, -EAGAIN);
		return 0;
	}
	return r;
}

static void finish_group(struct group *group)
{
	/* All data is sent on its way first; then each sync waits for what is nearly done. */
	for (size_t i = 0; i < group->n && group->n > 1; i++) {
		struct dr_file_move *move = &group->moves[i];

		if (dr_file_move_is_open(move) && move->e->fsync &&
			move->e->fs->ops->vol_flush(move->vol) < 0) {
			dr_log_limited(
				60, DR_LOG_DEBUG, "flush-ahead-failed", "next=\"the sync tells\"");
		}
	}
	for (size_t i = 0; i < group->n; i++) {
		struct dr_file_move *move = &group->moves[i];

		group->in_hand = move;
		tick_leases(group);
		while (dr_file_move_is_open(move) && dr_file_move_commit(move) > 0 &&
			next_mirror(group, move) > 0) {
		}
	}
}

static size_t move_group(struct dr_evacuation *e, const struct dr_chunk_file *files, size_t n,
	struct dr_outcome *outcomes)
{
	struct group
		group; /* its moves are set one by one: clearing all of them costs more than a small file's look */
	uint64_t began = dr_now_ns(), started = 0, bytes = 0;
	uint64_t group_ns = e->fs->ops->lease_yields ? GROUP_YIELDING_NS : GROUP_NS;
	size_t taken = 0;

	group.e = e;
	group.n = 0;
	group.in_hand = NULL;
	group.ticked_ns = 0;
	dr_fs_wait = (struct dr_fs_wait){ .fn = tick_leases, .ctx = &group };
	while (taken < n && group.n < GROUP_FILES && bytes < GROUP_BYTES) {
		/* Files that fail slowly one by one must not keep the books, a pause or a stop waiting. */
		if (taken > 0 &&
			(dr_now_ns() - began > CALL_NS ||
				(e->stop && atomic_load_explicit(e->stop, memory_order_relaxed)))) {
			break;
		}
		const struct dr_chunk_file *file = &files[taken];
		struct dr_file_move *move = &group.moves[group.n];

		if (group.n > 0 &&
			(file->size > GROUP_FILE_BYTES || dr_now_ns() - started > group_ns)) {
			break;
		}
		*move = (struct dr_file_move){ .e = e, .file = file, .outcome = &outcomes[taken] };
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

size_t dr_evacuate_some(struct dr_evacuation *e, const struct dr_chunk_file *files, size_t n,
	struct dr_outcome *outcomes)
{
	if (e->mover && !e->dry_run) {
		return n > 0 ? dr_mover_move(e, files, outcomes) : 0;
	}
	size_t taken = move_group(e, files, n, outcomes);

	for (size_t i = 0; i < taken; i++) {
		const struct dr_outcome first = outcomes[i];

		if (!dr_evacuation_tries_again(e, &first)) {
			continue;
		}
		e->second_try = true;
		if (move_group(e, &files[i], 1, &outcomes[i]) == 0) {
			outcomes[i] = first; /* stopped */
			if (e->audit) {
				dr_audit_not_moved(e->audit, &files[i], &first);
			}
		}
		e->second_try = false;
	}
	return taken;
}

void dr_evacuation_fini(struct dr_evacuation *e)
{
	dr_dir_closep(&e->dir);
	dr_buf_fini(&e->dir_path);
	*e = (struct dr_evacuation){ 0 };
}
