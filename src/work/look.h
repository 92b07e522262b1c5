/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_LOOK_H
#define DR_WORK_LOOK_H

#include "campaign/candidates.h"
#include "campaign/spec.h"
#include "fs/fs.h"

/*
 * Looks at the candidates of a list, one by one. The directory of the last one stays open, for lists come in the order of
 * some walk more often than not. Belongs to one thread.
 */
struct dr_look {
	struct dr_fs *fs; /* lent, both */
	const struct dr_spec *spec;
	struct dr_dir *dir; /* NULL: none is open */
	struct dr_buf dir_path;
	uint64_t opened;    /* directories so far */
	struct dr_buf path; /* of the candidate at hand, as far as it is known; a NUL follows */
};

enum dr_looked {
	DR_LOOKED_AT, /* it is there, and fn was called */
	DR_LOOKED_GONE, /* the name or FID leads to nothing in this file system, or to another file by now */
	DR_LOOKED_OUT,   /* excluded by the campaign */
	DR_LOOKED_BELOW, /* below a scan path, which is scanned anyway */
};

/*
 * Gives the candidate's entry to fn, as dir_read would; while fn runs, look->dir_path is the path of the directory.
 * *ret_result is what fn returned.
 * @return enum dr_looked. @error of the file system: whether it is there cannot be told; EOPNOTSUPP a FID, and the file system does not
 *         look files up by FID
 */
dr_nodiscard int dr_look_at(struct dr_look *look, const struct dr_candidate *candidate,
	dr_entry_fn *fn, void *ctx, int *ret_result);
void dr_look_fini(struct dr_look *look);

#endif
