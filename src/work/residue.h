/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_RESIDUE_H
#define DR_WORK_RESIDUE_H

#include "fs/fs.h"

/*
 * What names a source without having an object on it: a directory whose new files are to go there, a component of a file that will have its
 * objects there once it is written. An OST that is removed while something names it makes those files fail later. Pure.
 */

/* Whether a directory's default layout, as bytes, names a source by a start index or by a list. @return 1, *ret_ost the first; 0 */
int dr_residue_of_default(
	const void *bytes, size_t len, const struct dr_rangeset *sources, uint32_t *ret_ost);
/* Whether a component of a file's layout that has no objects yet names one. @return as above */
int dr_residue_of_file(
	const void *bytes, size_t len, const struct dr_rangeset *sources, uint32_t *ret_ost);

#endif
