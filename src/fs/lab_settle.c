/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/lab_priv.h"
#include "fs/local.h"

#include <fcntl.h>

/*
 * What a server's background threads do: the objects of removed files go. Where FIDs cannot be
 * opened nothing is removed: a walk over the name space can miss a file that is renamed
 * meanwhile, and its data would be gone.
 */
struct settle {
	struct dr_lab *lab;
	struct dr_fid owner; /* the last one looked up, and what came of it */
	int exists;
	uint64_t left;
};

static int owner_exists(struct settle *settle, const struct dr_fid *owner)
{
	if (!dr_fid_equal(&settle->owner, owner)) {
		int r = dr_lab_fid_exists(settle->lab, owner);
		if (r < 0) {
			return r == -ENOTSUP ? 1 : r;
		}
		settle->owner = *owner;
		settle->exists = r;
	}
	return settle->exists;
}

static int settle_object(void *ctx, int dirfd, const char *name, const struct dr_layout_object *obj,
	const struct dr_fid *owner)
{
	(void)dirfd;
	(void)name;
	struct settle *settle = ctx;
	int r = owner_exists(settle, owner);
	if (r < 0) {
		return r;
	}
	settle->left += r > 0;
	return r > 0 ? 0 : dr_lab_object_destroy(settle->lab, obj, owner);
}

/* Layouts of removed files that were too large for an xattr. */
static int settle_layouts(struct settle *settle)
{
	struct dr_local_dir dir dr_cleanup(dr_local_dir_fini) = {
		.fd = openat(settle->lab->layouts_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	};
	if (dir.fd < 0) {
		return -errno;
	}
	for (;;) {
		struct dr_entry entry;
		int r = dr_local_dir_next(&dir, &entry);
		if (r <= 0) {
			return r;
		}
		struct dr_fid fid;
		uint64_t generation;
		if (dr_lab_spill_parse(entry.name, &fid, &generation) < 0) {
			continue;
		}
		r = owner_exists(settle, &fid);
		if (r < 0) {
			return r;
		}
		if (r == 0) {
			dr_lab_spill_remove(settle->lab, &fid, generation);
		}
	}
}

int dr_lab_settle(struct dr_lab *lab, uint32_t ost, uint64_t *ret_objects)
{
	if (ost >= lab->n_osts) {
		return -EINVAL;
	}
	int r = dr_lab_recover(lab);
	struct settle settle = { .lab = lab };
	r = r < 0 ? r : dr_lab_each_object(lab, ost, settle_object, &settle);
	r = r < 0 ? r : settle_layouts(&settle);
	if (r < 0) {
		return r;
	}
	*ret_objects = settle.left;
	return 0;
}
