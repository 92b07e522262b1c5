/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/residue.h"

#define ANY_OFFSET 0xffffu /* of a template: wherever there is room */

/* The first object of the component on a source. @return 1; 0 none */
static int named_object(
	const struct dr_layout_comp *comp, const struct dr_rangeset *sources, uint32_t *ret_ost)
{
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		if (dr_rangeset_has(sources, comp->objects[i].ost)) {
			*ret_ost = comp->objects[i].ost;
			return 1;
		}
	}
	return 0;
}

int dr_residue_of_default(
	const void *bytes, size_t len, const struct dr_rangeset *sources, uint32_t *ret_ost)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;

	if (dr_layout_decode(bytes, len, &layout) < 0) {
		return 0;
	}
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];

		if (comp->pattern & DR_PATTERN_MDT) {
			continue;
		}
		if (named_object(comp, sources, ret_ost)) {
			return 1;
		}
		if (comp->n_objects == 0 && comp->stripe_offset != ANY_OFFSET &&
			dr_rangeset_has(sources, comp->stripe_offset)) {
			*ret_ost = comp->stripe_offset;
			return 1;
		}
	}
	return 0;
}

int dr_residue_of_file(
	const void *bytes, size_t len, const struct dr_rangeset *sources, uint32_t *ret_ost)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;

	if (dr_layout_decode(bytes, len, &layout) < 0) {
		return 0;
	}
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		/* Start indices of such components are not told apart from layout generations, so lists alone count. */
		if (!(layout->comps[c].flags & DR_COMP_INIT) &&
			named_object(&layout->comps[c], sources, ret_ost)) {
			return 1;
		}
	}
	return 0;
}
