/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_CLONE_FILTER_H
#define DR_WORK_CLONE_FILTER_H

#include "base/idset.h"
#include "work/meta.h"

/*
 * Which files a copy pass takes. Only files (and whatever else is no directory) are filtered: directories always come, so that what lies below can. What is filtered out exists in the source, and
 * is never deleted from the target. A file that a filter leaves out and that the target has is left there as it is.
 */
struct dr_clone_filter {
	int64_t now_s;               /* when the campaign began, seconds since 1970 */
	uint64_t oldest_s;           /* not those whose atime is longer ago; 0: all */
	uint64_t newest_s;           /* not those whose mtime is less long ago; 0: all */
	uint64_t min_size, max_size; /* bytes, of regular files; max 0: no bound */
	/* Only those of these owners, groups, projects; empty: of all. A file system without projects has project 0 alone. */
	struct dr_idset uids, gids, projects;
	struct dr_clone_exceptions *exceptions; /* NULL: none */
};

bool dr_clone_filter_takes(const struct dr_clone_filter *filter, const struct dr_meta *meta);

/*
 * The exceptions file: one path a line, relative to the source's root or absolute below it; each excepts that entry and all below it, by whole components. Blank lines and
 * lines that begin with '#' are passed over; a backslash escapes as dr_text_escape() does, so that any name can be written: "\x23" where one begins with '#'.
 * Blanks at either end belong to the name.
 * On an error *ret_message (malloc'ed) is "LINE: what".
 * @error EINVAL a path with "..", or absolute and not below the root; the root itself; a line that ends as on Windows, which would except nothing
 */
dr_nodiscard int dr_clone_exceptions_new(const char *root, const char *text, size_t len,
	struct dr_clone_exceptions **ret_exceptions, char **ret_message);
void dr_clone_exceptions_free(struct dr_clone_exceptions *exceptions);
/* Whether the path (relative to the root) is one, or lies below one. Costs the path's length, whatever the number of exceptions. */
bool dr_clone_is_excepted(
	const struct dr_clone_exceptions *exceptions, const char *path, size_t len);
size_t dr_clone_n_exceptions(const struct dr_clone_exceptions *exceptions);

#endif
