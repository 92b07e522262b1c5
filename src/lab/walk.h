/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_LAB_WALK_H
#define DR_LAB_WALK_H

#include "base/buf.h"

#include <sys/types.h>

/*
 * Walks a tree from a directory on, without following symlinks, to any depth with two descriptors:
 * down by openat, up by "..", which must be the directory that was left. Entries come in the order
 * in which their paths, compared byte by byte, are sorted. For one thread.
 */
enum dr_walk_event {
	DR_WALK_END,
	DR_WALK_ENTRY, /* anything but a directory */
	DR_WALK_ENTER, /* a directory; `fd` is it already */
	DR_WALK_LEAVE, /* the directory `fd`, after all in it; the root too, with the path "" */
	DR_WALK_ERROR, /* the directory at `path` cannot be read; the walk goes on behind it */
};

struct dr_walk_level;

struct dr_walk {
	/* About the event: lent until the next one. */
	const char *path; /* relative to the root, of any length */
	size_t path_len;
	const char *name;   /* its last component */
	unsigned char type; /* DT_*; never DT_UNKNOWN unless the entry vanished */
	int fd;    /* the current directory: the one that holds an entry, is entered, or left */
	int error; /* negative errno of DR_WALK_ERROR */

	/* The walk's own. */
	struct dr_buf path_buf;
	struct dr_walk_level *levels;
	size_t n_levels, cap_levels;
	bool leaving;
};

/* Takes the descriptor. @error what reading a directory gives */
dr_nodiscard int dr_walk_init(struct dr_walk *walk, int root_fd);
void dr_walk_fini(struct dr_walk *walk);
/* @return an event; or negative errno when the walk cannot go on (the way up is lost) */
dr_nodiscard int dr_walk_next(struct dr_walk *walk);

#endif
