/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_SOURCE_H
#define DR_HSM_SOURCE_H

#include "hsm/action.h"

/*
 * The actions files of the MDTs that this server serves. A file is there as long as the MDT is: after a fail-over it is on another server.
 * Threads: one at a time.
 */
struct dr_source {
	char *path;
	char *mdt; /* the name of the folder two above it */
};

/*
 * The files that match, one for each MDT, sorted by MDT. Of two with the same MDT the first counts, and one whose MDT is not UTF-8 does not;
 * both are logged. The caller frees by dr_sources_free().
 * @error ENOMEM; EIO a folder could not be read
 */
dr_nodiscard int dr_sources_find(
	const char *pattern, struct dr_source **ret_sources, size_t *ret_n);
void dr_sources_free(struct dr_source *sources, size_t n);

/* What a reading came to. */
struct dr_reading {
	uint64_t n_lines; /* that are not empty */
	uint64_t n_bad;   /* of them, no actions */
	bool is_stable; /* nobody changed the file meanwhile, and its end is a whole line: what is not in it is gone */
};

/*
 * A line, stripped and not empty; `is_last_and_open`: the last one, and no newline ends it. Lines longer than DR_ACTION_MAX_LINE come cut off one byte
 * later, so that they are too long.
 * @return 1 it is an action; 0 it is none; negative ends the reading
 */
typedef int dr_line_fn(void *arg, struct dr_span line, bool is_last_and_open);

/*
 * Reads a file once, from its beginning. Memory: 1 MiB.
 * @error ENOENT it is not there; others of open and read: what it did not hold is not known to be gone; what the function returned
 */
dr_nodiscard int dr_source_read(
	const char *path, dr_line_fn *fn, void *arg, struct dr_reading *ret_reading);

#endif
