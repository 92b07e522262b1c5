/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_TARGET_H
#define DR_WORK_TARGET_H

#include "campaign/outcome.h"
#include "fs/fs.h"

/*
 * Where new objects go: weighted by free space less what is on its way there; never a source, never an OST that is
 * down, degraded, read-only, closed or full, that would fall below its reserve, or that refused
 * an object a moment ago. Threads: any.
 */
struct dr_targets;

struct dr_targets *dr_targets_new(
	struct dr_fs *fs, const struct dr_rangeset *sources, unsigned reserve_percent);
void dr_targets_free(struct dr_targets *targets);
/* Looks at the OSTs again, when the last look is older than a second. @error of the driver */
dr_nodiscard int dr_targets_refresh(struct dr_targets *targets);
/* Not to be chosen for some seconds. */
void dr_targets_avoid(struct dr_targets *targets, uint32_t ost);
/* Whether the index is a source of the campaign. */
bool dr_targets_is_source(const struct dr_targets *targets, uint32_t ost);

/*
 * Makes the layout of the volatile from the file's: each object of an initialised component on a source (or on an
 * OST that takes no objects now) goes elsewhere, the others keep their OST; stripes of a component on
 * different OSTs, and overstriped where fewer are left. What was chosen counts as on its way until dr_targets_done().
 * @error ENOSPC no target has room
 */
dr_nodiscard int dr_targets_place(struct dr_targets *targets, const struct dr_layout *file,
	uint32_t mirror, uint64_t size, struct dr_layout **ret_layout);
/* The bytes of a placement have arrived, or never will. */
void dr_targets_done(struct dr_targets *targets, const struct dr_layout *placed, uint64_t size);

#endif
