/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_CLONE_PRUNE_H
#define DR_WORK_CLONE_PRUNE_H

#include "work/clone.h"

/*
 * The delete pass in one directory: what the target has and the source has not.
 *
 * Nothing is deleted but names that are positively absent: the source's directory was read whole, without an error, now; the name was not in it; and asking the source for it by name says ENOENT.
 * Any other answer keeps it. Names that `keeps` keeps (excluded, excepted) are kept with all below them, and so are the directories above them.
 */
typedef bool dr_prune_keeps_fn(void *arg, const char *name, size_t len);
/* Told of each entry that was removed (or would be), deepest first: its path below the directory, escaped by nobody. */
typedef void dr_prune_tell_fn(void *arg, const char *path, size_t len, enum dr_type type);

struct dr_prune {
	struct dr_cloner *cloner;
	dr_prune_keeps_fn *
		keeps; /* NULL: nothing; called with the path of an entry below the directory, "a/b" */
	dr_prune_tell_fn *tell; /* NULL: nobody */
	void *arg;
	uint64_t
		n_removed; /* entries, counted also when only looked at; directories and what is in them each */
	uint64_t n_errors; /* entries that should go and did not; each is logged */
};

/*
 * @param looks_only counts and tells what would go
 * @param most stops (EDQUOT) before n_removed would pass it; UINT64_MAX: no bound
 * @return 0 done, or as far as n_errors tells
 * @error those of reading either directory: nothing more is removed; EDQUOT; ECANCELED stopping
 */
dr_nodiscard int dr_clone_prune(
	struct dr_prune *prune, int from_dir_fd, int to_dir_fd, bool looks_only, uint64_t most);

#endif
