/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_CLONE_PRUNE_H
#define DR_WORK_CLONE_PRUNE_H

#include "work/clone.h"

/*
 * The delete pass in one directory: what the target has and the source has not.
 *
 * A delete pass deletes nothing unless the source was positively seen, whole, in that directory. Nothing goes but names that are positively absent: the source's
 * directory was read whole, without an error, now; the name was not in it; and asking the source for it by name says ENOENT. Any other answer keeps it. A name
 * that the source has as another type is not absent: that is the copy pass's. But one that is no directory in the source, and one in the target, has positively
 * nothing of what is in that: such a directory goes like an absent one when `replaces` says that what the source has is to take its place.
 *
 * A directory that is absent goes with all below it, deepest first, and the source is asked for its name again before each directory below it is read or removed,
 * and after some tens of other entries: one that appears there meanwhile ends its removal. An entry that is made in the source between the last question and the
 * removal that follows at once is in the source all the same, and comes back with the next copy pass; no interface closes that window.
 *
 * Names that `keeps` keeps (excluded, excepted) are kept with all below them, and so are the directories above them. Nothing in another mount is touched, nor the
 * directories above it. Temporary names of any campaign go like all others.
 *
 * Memory: about 16 bytes for each entry of the source's directory, whatever the length of its name, and the names of the directories that are to go, of one
 * directory at each level. Descriptors: one more than given, at any depth.
 */
typedef bool dr_prune_keeps_fn(void *arg, const char *name, size_t len);
/* Told of each entry that was removed (or would be), deepest first: its path below the directory, escaped by nobody. */
typedef void dr_prune_tell_fn(void *arg, const char *path, size_t len, enum dr_type type);
typedef int dr_prune_read_fn(int dir_fd, dr_tree_entry_fn *fn, void *arg);

struct dr_prune {
	struct dr_cloner *cloner;
	dr_prune_keeps_fn *
		keeps; /* NULL: nothing; called with the path of an entry below the directory, "a/b" */
	/* NULL: no directory is replaced; called with a name of the source's directory that is no directory */
	dr_prune_keeps_fn *replaces;
	dr_prune_tell_fn *tell; /* NULL: nobody */
	void *arg;
	dr_prune_read_fn *read; /* NULL: dr_tree_read(); a test's, that fails */
	uint64_t
		n_removed; /* entries, counted also when only looked at; directories and what is in them each */
	/* Entries that should go and did not, or of which the source did not say whether it has them; each is logged. What lies above them stays uncounted. */
	uint64_t n_errors;
};

/*
 * Flags that forbid removing (immutable, append-only) are taken off what goes; the directory itself gets them back.
 * @param looks_only counts and tells what would go
 * @param most stops (EDQUOT) before n_removed, of all calls with this struct, would pass it; UINT64_MAX: no bound
 * @return 0 done, or as far as n_errors tells
 * @error those of reading either directory: nothing more is removed; EDQUOT; ECANCELED stopping
 */
dr_nodiscard int dr_clone_prune(
	struct dr_prune *prune, int from_dir_fd, int to_dir_fd, bool looks_only, uint64_t most);

#endif
