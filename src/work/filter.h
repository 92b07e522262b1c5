/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_FILTER_H
#define DR_WORK_FILTER_H

#include "campaign/spec.h"

/*
 * What a scan leaves out. Exclusions are compared component by component: excluding a/b leaves out a/b and all
 * below it, never a/bc.
 */

/* Whether a path (relative to the root) is an exclusion of the spec or lies below one. */
bool dr_filter_excludes(const struct dr_spec *spec, const char *path, size_t len);

/* Whether a path lies below a scan path of the spec, or is one. */
bool dr_filter_scans(const struct dr_spec *spec, const char *path, size_t len);

/*
 * The names that are excluded directly in one directory, found once when it is opened, so that an entry
 * costs nothing where there are none.
 */
struct dr_filter_dir {
	const char **names; /* lent by the spec */
	size_t *lens;
	size_t n, cap;
};

/* Replaces what *filter held. */
void dr_filter_enter(
	struct dr_filter_dir *filter, const struct dr_spec *spec, const char *dir, size_t len);
void dr_filter_dir_fini(struct dr_filter_dir *filter);

static inline bool dr_filter_entry(const struct dr_filter_dir *filter, const char *name, size_t len)
{
	for (size_t i = 0; i < filter->n; i++) {
		if (filter->lens[i] == len && __builtin_memcmp(filter->names[i], name, len) == 0) {
			return true;
		}
	}
	return false;
}

#endif
