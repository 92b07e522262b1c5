/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_FRONTIER_H
#define DR_CAMPAIGN_FRONTIER_H

#include "base/buf.h"

/*
 * A scan job: directories still to be read, each with the position to go on from. A stack: the last
 * directory is read next, so that it stays small whatever the tree's size.
 *
 * In a directory's place there may be a range of the campaign's list of candidates (campaign/candidates.h).
 *
 * Bytes: version, varint round, varint directories, then per directory varint of path bytes shared with the one
 * before, rest of the path: blob, varint position. For a range the path is a NUL, which no path holds, and the varint of its end.
 */
#define DR_FRONTIER_DIRS_MAX 1000000

/* Scans after the first one; what the last of them finds is reported, not moved. */
#define DR_ROUNDS 3

struct dr_frontier_dir {
	char *path; /* relative to the file system's root; NUL-terminated; owned */
	size_t len;
	uint64_t position;
	uint64_t
		list_to; /* 0: a directory; else the range [position, list_to) of the list, and the path is "" */
};

struct dr_frontier {
	uint64_t round; /* 0: the first scan; 1 and above: the scans that prove emptiness */
	struct dr_frontier_dir *dirs;
	size_t n, cap;
};

void dr_frontier_fini(struct dr_frontier *frontier);
/* Copies the path. */
void dr_frontier_push(
	struct dr_frontier *frontier, const void *path, size_t len, uint64_t position);
/* A range of the list, to > 0. */
void dr_frontier_push_list(struct dr_frontier *frontier, uint64_t position, uint64_t to);
/* Drops the last one. */
void dr_frontier_pop(struct dr_frontier *frontier);
/* Appends the directories [from, to) as a job. */
void dr_frontier_encode(
	const struct dr_frontier *frontier, size_t from, size_t to, struct dr_buf *out);
/* Forgets the first n. */
void dr_frontier_drop(struct dr_frontier *frontier, size_t n);
/* Replaces what *frontier held. @error EBADMSG torn or not a frontier; *frontier is untouched */
dr_nodiscard int dr_frontier_decode(const void *bytes, size_t len, struct dr_frontier *frontier);

#endif
