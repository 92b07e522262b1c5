/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_priv.h"

#include <fcntl.h>

/*
 * Two names of one inode in one directory have one temporary name: their workers may take it from each other. That does no harm, for it leads to the elected
 * one's inode whoever made it, but a rename may find it gone.
 */
#define TRIES 8

struct linking {
	struct dr_cloner *cloner;
	int from_fd, to_fd, from_with_fd, with_fd;
	const char *name, *with;
	uint64_t ino;
	struct dr_clone_temp temp;
	struct stat from, elected;
	/* The elected one's, when its flags had to be taken off: an immutable file gets no names. */
	struct dr_meta locked;
	enum dr_step step;
};

/* The name of the source and that of the elected one lead to the same file still. */
static int check_source(struct linking *linking)
{
	struct stat st;

	linking->step = DR_STEP_OPEN;
	if (fstatat(linking->from_fd, linking->name, &linking->from, AT_SYMLINK_NOFOLLOW) < 0) {
		return -errno;
	}
	linking->step = DR_STEP_VERSION;
	if (linking->ino && linking->from.st_ino != linking->ino) {
		return -ESTALE;
	}
	if (fstatat(linking->from_with_fd, linking->with, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return errno == ENOENT ? -ESTALE : -errno;
	}
	return st.st_ino == linking->from.st_ino && st.st_dev == linking->from.st_dev ? 0 : -ESTALE;
}

/* The target's elected one is the copy of that file, as far as can be seen without attributes. */
static int check_elected(struct linking *linking)
{
	const struct stat *from = &linking->from, *elected = &linking->elected;

	linking->step = DR_STEP_TARGET;
	if (fstatat(linking->with_fd, linking->with, &linking->elected, AT_SYMLINK_NOFOLLOW) < 0) {
		return errno == ENOENT ? -ESTALE : -errno;
	}
	if ((from->st_mode & S_IFMT) != (elected->st_mode & S_IFMT) || S_ISDIR(from->st_mode)) {
		return -ESTALE;
	}
	if (S_ISREG(from->st_mode) &&
		(from->st_size != elected->st_size || dr_clone_compare_times(linking->cloner,
							      &from->st_mtim, &elected->st_mtim))) {
		return -ESTALE;
	}
	return 0;
}

/* @return 1 it is a name of the elected one already; 0 not */
static int is_linked(struct linking *linking)
{
	struct stat st;

	linking->step = DR_STEP_TARGET;
	if (fstatat(linking->to_fd, linking->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return errno == ENOENT ? 0 : -errno;
	}
	if (S_ISDIR(st.st_mode)) {
		int r = dr_clone_is_full_dir(linking->to_fd, linking->name);

		return r > 0 ? -EISDIR : r;
	}
	return st.st_ino == linking->elected.st_ino && st.st_dev == linking->elected.st_dev;
}

static int unlock(struct linking *linking)
{
	bool again = linking->locked.is_immutable || linking->locked.is_append;
	/* Another worker that links to it may have put them on again: they are known by then. */
	int r = again ? 0 : dr_meta_read(linking->with_fd, linking->with, -1, &linking->locked);

	return r < 0 ? r : dr_clone_unlock(linking->with_fd, linking->with);
}

/* @return 1 once more: somebody was faster */
static int link_once(struct linking *linking)
{
	struct dr_clone_temp *temp = &linking->temp;

	linking->step = DR_STEP_CREATE;
	if (linkat(linking->with_fd, linking->with, temp->dir_fd, temp->name, 0) < 0) {
		int r = -errno;

		if (r == -EEXIST && unlinkat(temp->dir_fd, temp->name, 0) < 0 && errno == EPERM) {
			r = dr_clone_unlock(temp->dir_fd, temp->name);
			return r < 0 ? r : 1;
		}
		if (r == -EPERM) {
			int unlocked = unlock(linking);

			return unlocked < 0 ? unlocked : 1;
		}
		return r == -EEXIST || r == -ENOENT ? 1 : r;
	}
	int r = dr_clone_temp_made(temp, -1);

	if (r < 0 || temp->ino != linking->elected.st_ino) {
		dr_clone_temp_drop(temp);
		return 1;
	}
	/* Of two names of one inode rename() removes none, and says that it did. */
	linking->step = DR_STEP_SWAP;
	r = is_linked(linking);
	if (r == 0) {
		linking->step = DR_STEP_SWAP;
		r = dr_clone_place(temp, linking->name);
	} else {
		dr_clone_temp_drop(temp);
		return r < 0 ? r : 0;
	}
	if (r < 0) {
		dr_clone_temp_drop(temp);
	}
	if (r == -EPERM && (linking->locked.is_immutable || linking->locked.is_append)) {
		r = unlock(linking);
		return r < 0 ? r : 1;
	}
	return r == -ESTALE ? 1 : r;
}

static int run(struct linking *linking, bool *ret_unneeded)
{
	int r = 1;

	for (int tries = 0; r == 1 && tries < TRIES; tries++) {
		r = check_source(linking);
		r = r < 0 ? r : check_elected(linking);
		r = r < 0 ? r : is_linked(linking);
		if (r != 0) {
			*ret_unneeded = r == 1 && tries == 0;
			return r < 0 ? r : 0;
		}
		if (linking->cloner->dry_run) {
			return 0;
		}
		r = link_once(linking);
	}
	return r == 1 ? -ESTALE : r;
}

/* Who had the job before may have died when the flags of the elected one were off: they are the source's. */
static int lock_after_another(const struct linking *linking)
{
	struct dr_meta want dr_cleanup(dr_meta_fini) = { .no_projects = true };
	int r = dr_meta_read(linking->from_fd, linking->name, -1, &want);

	return r < 0 ? r : dr_clone_lock(linking->with_fd, linking->with, &want);
}

void dr_clone_link(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	int from_with_fd, int with_fd, const char *with, uint64_t ino, uint64_t delivery,
	struct dr_outcome *ret_outcome)
{
	struct linking linking = { .cloner = cloner,
		.from_fd = from_fd,
		.to_fd = to_fd,
		.from_with_fd = from_with_fd,
		.with_fd = with_fd,
		.name = name,
		.with = with,
		.ino = ino };
	bool unneeded = false;

	*ret_outcome = (struct dr_outcome){ 0 };
	dr_clone_temp_init(&linking.temp, cloner, to_fd, ino, delivery);
	if (!cloner->dry_run) {
		dr_clone_sweep(cloner, to_fd, ino, delivery);
	}
	int r = run(&linking, &unneeded);

	if (linking.locked.is_immutable || linking.locked.is_append) {
		int locked = dr_clone_lock(with_fd, with, &linking.locked);

		if (r == 0 && locked < 0) {
			linking.step = DR_STEP_ATTRS;
			r = locked;
		}
	}
	dr_meta_fini(&linking.locked);
	if (r == 0 && delivery > 1 && !cloner->dry_run) {
		linking.step = DR_STEP_ATTRS;
		r = lock_after_another(&linking);
	}
	if (r < 0) {
		dr_clone_conclude_error(ret_outcome, linking.step, r);
	} else {
		dr_clone_conclude(
			ret_outcome, unneeded ? DR_UNNEEDED : DR_SUCCEEDED, DR_STEP_DONE, 0);
	}
}
