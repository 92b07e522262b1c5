/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/lustre_priv.h"

#include <string.h>

/*
 * Asking for a layout. Only lists of single OSTs bind: a start index, a pool, a count are wishes, which the metadata server may
 * answer with something else and rc 0. So every component that has objects names each OST, and what was made is compared
 * with what was asked for.
 */

/* lustre_user.h: in a template, "wherever you like" */
#define ANY_OFFSET 0xffffu

static int check_objects(const struct dr_layout_comp *comp, uint32_t n_osts)
{
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		/* Servers up to 2.17 at least look an index up without a bound: one past the list is a panic. */
		if (comp->objects[i].ost >= n_osts) {
			return -EINVAL;
		}
	}
	return 0;
}

static int ask_for(struct dr_layout_comp *comp, uint32_t n_osts)
{
	int r = check_objects(comp, n_osts);

	if (r < 0 || comp->flags & DR_COMP_PARITY) {
		return r < 0 ? r : -EOPNOTSUPP;
	}
	comp->flags &= DR_COMP_EXTENSION;
	comp->id = 0;
	comp->timestamp = 0;
	comp->layout_gen = 0;
	memset(comp->coding, 0, sizeof(comp->coding));
	comp->oi = (struct dr_fid){ 0 };
	comp->room_bytes = 0;
	comp->pattern &= ~(DR_PATTERN_F_HOLE | DR_PATTERN_F_RELEASED);
	if (comp->n_objects == 0) {
		comp->magic = comp->pool[0] ? DR_LOV_MAGIC_V3 : DR_LOV_MAGIC_V1;
		comp->stripe_offset = ANY_OFFSET;
		return 0;
	}
	comp->magic = DR_LOV_MAGIC_SPECIFIC;
	comp->stripe_count = (uint16_t)comp->n_objects;
	comp->stripe_offset = (uint16_t)comp->objects[0].ost;
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		comp->objects[i].fid = (struct dr_fid){ 0 };
		comp->objects[i].gen = 0;
	}
	return 0;
}

int dr_lustre_request(const struct dr_layout *layout, uint32_t n_osts, struct dr_buf *out)
{
	struct dr_layout *ask dr_cleanup(dr_layout_freep) = dr_layout_copy(layout);

	if (ask->kind == DR_LAYOUT_FOREIGN || ask->mirror_count > 0 || ask->ec_count > 0) {
		return -EOPNOTSUPP;
	}
	for (uint32_t c = 0; c < ask->n_comps; c++) {
		int r = ask_for(&ask->comps[c], n_osts);

		if (r < 0) {
			return r;
		}
	}
	ask->gen = 0;
	ask->flags = 0;
	ask->tail_bytes = 0;
	dr_layout_encode(ask, out);
	return 0;
}

static bool same_comp(
	const struct dr_layout_comp *asked, const struct dr_layout_comp *made, uint64_t size)
{
	const uint32_t patterns = DR_PATTERN_RAID0 | DR_PATTERN_MDT | DR_PATTERN_OVERSTRIPING;

	if (asked->start != made->start || asked->end != made->end ||
		(asked->flags ^ made->flags) & DR_COMP_EXTENSION ||
		strcmp(asked->pool, made->pool) != 0) {
		return false;
	}
	/* An overstriped component whose objects found an OST each may come back as a plain one. */
	if ((asked->pattern ^ made->pattern) & patterns & ~DR_PATTERN_OVERSTRIPING) {
		return false;
	}
	if (asked->stripe_size != made->stripe_size) {
		return false;
	}
	if (made->n_objects == 0 && (asked->n_objects == 0 || asked->start >= size)) {
		return asked->stripe_count == made->stripe_count;
	}
	if (asked->n_objects != made->n_objects) {
		return false;
	}
	for (uint32_t i = 0; i < asked->n_objects; i++) {
		if (asked->objects[i].ost != made->objects[i].ost) {
			return false;
		}
	}
	return true;
}

bool dr_lustre_is_as_asked(
	const struct dr_layout *asked, const struct dr_layout *made, uint64_t size)
{
	if (asked->kind != made->kind || asked->n_comps != made->n_comps) {
		return false;
	}
	for (uint32_t c = 0; c < asked->n_comps; c++) {
		if (!same_comp(&asked->comps[c], &made->comps[c], size)) {
			return false;
		}
	}
	return true;
}
