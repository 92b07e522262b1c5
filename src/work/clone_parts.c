/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_priv.h"

#include <fcntl.h>

#define OPEN_TRIES 8

struct part {
	struct dr_cloner *cloner;
	int from_fd, to_fd;
	const char *name;
	const struct dr_clone_stamp *stamp;
	struct dr_clone_temp temp;
	struct stat st; /* of the source */
	enum dr_step step;
};

static int check_version(struct part *part, int from)
{
	part->step = DR_STEP_COPY;
	if (fstat(from, &part->st) < 0) {
		return -errno;
	}
	part->step = DR_STEP_VERSION;
	return dr_clone_stamp_is(part->stamp, &part->st) ? 0 : -ESTALE;
}

/* Opens the source, when it is the version that was cut. */
static int open_source(struct part *part)
{
	int from dr_cleanup(dr_fd_closep) = dr_clone_open(part->from_fd, part->name);

	part->step = from == -ESTALE ? DR_STEP_VERSION : DR_STEP_OPEN;
	if (from < 0) {
		return from;
	}
	int r = check_version(part, from);

	return r < 0 ? r : dr_steal_fd(&from);
}

static int open_temp(const struct dr_clone_temp *temp)
{
	int fd = openat(temp->dir_fd, temp->name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Opens the file that all parts share, and makes it when it is not there yet. */
static int join(struct part *part, int from)
{
	part->step = DR_STEP_CREATE;
	for (int tries = 0; tries < OPEN_TRIES; tries++) {
		int fd = open_temp(&part->temp);

		if (fd != -ENOENT) {
			return fd;
		}
		fd = dr_clone_create(part->cloner, &part->temp, from, part->stamp->size, true);
		if (fd != -EEXIST) {
			return fd;
		}
	}
	return -ESTALE;
}

/* What was made of a version that is no more: whichever worker sees that first removes it. */
static void drop_if_changed(struct part *part, int error)
{
	bool changed = (error == -ESTALE && part->step == DR_STEP_VERSION) ||
		       (error == -ENOENT && part->step == DR_STEP_OPEN);

	if (changed && !part->cloner->dry_run) {
		(void)unlinkat(part->temp.dir_fd, part->temp.name, 0);
	}
}

static int fit(int to, uint64_t size)
{
	struct stat st;

	if (fstat(to, &st) < 0) {
		return -errno;
	}
	return (uint64_t)st.st_size != size && ftruncate(to, (off_t)size) < 0 ? -errno : 0;
}

static int copy_part(struct part *part, uint64_t offset, uint64_t end)
{
	int from dr_cleanup(dr_fd_closep) = open_source(part);

	if (from < 0 || part->cloner->dry_run) {
		return from < 0 ? from : 0;
	}
	/* It may have been released since it was cut. A part of a stub is none: the next pass makes it whole. */
	part->step = DR_STEP_LAYOUT;
	int stub = dr_clone_stub(part->cloner, from);

	if (stub != 0) {
		return stub < 0 ? stub : -ENODATA;
	}
	(void)dr_clone_let_tick(part->cloner, &part->stamp->ctime);
	int to = join(part, from);

	if (to < 0) {
		return to;
	}
	part->step = DR_STEP_WRITE;
	int r = fit(to, part->stamp->size);

	if (r == 0) {
		r = dr_clone_copy_data(part->cloner, from, to, offset, end,
			dr_clone_is_sparse(part->stamp->size, (uint64_t)part->st.st_blocks),
			&part->step);
	}
	if (r == 0) {
		r = check_version(part, from);
	}
	if (close(to) < 0 && r == 0 && errno != EINTR) {
		part->step = DR_STEP_WRITE;
		r = -errno;
	}
	return r;
}

void dr_clone_part(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	const struct dr_clone_stamp *stamp, uint64_t offset, uint64_t length,
	struct dr_outcome *ret_outcome)
{
	struct part part = {
		.cloner = cloner, .from_fd = from_fd, .to_fd = to_fd, .name = name, .stamp = stamp
	};
	uint64_t left = offset < stamp->size ? stamp->size - offset : 0;
	uint64_t bytes = length < left ? length : left;

	*ret_outcome = (struct dr_outcome){ 0 };
	dr_clone_temp_init_parts(&part.temp, cloner, to_fd, stamp);
	int r = copy_part(&part, offset, offset + bytes);

	drop_if_changed(&part, r);
	if (r < 0) {
		dr_clone_conclude_error(ret_outcome, part.step, r);
		return;
	}
	ret_outcome->bytes = bytes;
	dr_clone_conclude(ret_outcome, DR_SUCCEEDED, DR_STEP_DONE, 0);
}

/* Gives the whole file its attributes and its name. */
static int finish(struct part *part, int from, int to, struct dr_meta *want)
{
	part->step = DR_STEP_WRITE;
	int r = fit(to, part->stamp->size);

	if (r < 0) {
		return r;
	}
	part->step = DR_STEP_OPEN;
	r = dr_meta_read(part->from_fd, part->name, from, want);
	if (r < 0) {
		return r;
	}
	part->step = DR_STEP_ATTRS;
	r = dr_clone_temp_made(&part->temp, to);
	if (r == 0) {
		r = dr_clone_dress(part->cloner, &part->temp, to, want);
	}
	if (r == 0) {
		r = check_version(part, from);
	}
	if (r == 0) {
		part->step = DR_STEP_SWAP;
		r = dr_clone_place(&part->temp, part->name);
	}
	if (r == 0) {
		part->step = DR_STEP_ATTRS;
		r = dr_clone_placed(part->cloner, part->to_fd, part->name, want);
	}
	return r;
}

static int end_parts(struct part *part, bool *ret_is_placed)
{
	struct dr_meta want dr_cleanup(dr_meta_fini) = { .no_projects = part->cloner->no_projects };
	int from dr_cleanup(dr_fd_closep) = open_source(part);

	if (from < 0 || part->cloner->dry_run) {
		return from < 0 ? from : 0;
	}
	part->step = DR_STEP_CREATE;
	int to = open_temp(&part->temp);

	if (to == -ENOENT) {
		*ret_is_placed = true;
		return 0;
	}
	if (to < 0) {
		return to;
	}
	int r = finish(part, from, to, &want);

	(void)close(to);
	return r;
}

void dr_clone_end_parts(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	const struct dr_clone_stamp *stamp, struct dr_outcome *ret_outcome)
{
	struct part part = {
		.cloner = cloner, .from_fd = from_fd, .to_fd = to_fd, .name = name, .stamp = stamp
	};
	struct dr_meta meta dr_cleanup(dr_meta_fini) = { 0 };
	enum dr_clone_verdict verdict = DR_CLONE_DATA;
	bool is_placed = false;

	*ret_outcome = (struct dr_outcome){ 0 };
	dr_clone_temp_init_parts(&part.temp, cloner, to_fd, stamp);
	int r = end_parts(&part, &is_placed);

	drop_if_changed(&part, r);
	/* There is no temporary file: a worker that died after its rename has ended them; or somebody removed it, and nothing is there to be ended. */
	if (r == 0 && is_placed) {
		part.step = DR_STEP_SWAP;
		r = dr_clone_compare(cloner, from_fd, to_fd, name, &meta, &verdict);
		r = r == 0 && verdict == DR_CLONE_DATA ? -ESTALE : r;
	}
	if (r == 0 && verdict == DR_CLONE_META) {
		/* It died between the rename and the flags. */
		dr_clone_entry(cloner, from_fd, to_fd, name, stamp->ino, 1, false, ret_outcome);
		return;
	}
	if (r < 0) {
		dr_clone_conclude_error(ret_outcome, part.step, r);
	} else {
		dr_clone_conclude(ret_outcome, DR_SUCCEEDED, DR_STEP_DONE, 0);
	}
}
