/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/layout.h"

static uint32_t mirror_of(const struct dr_layout_comp *comp)
{
	return comp->id >> 16;
}

struct dr_layout *dr_layout_mirror(const struct dr_layout *layout, uint32_t mirror)
{
	uint32_t n = 0;

	for (uint32_t c = 0; c < layout->n_comps; c++) {
		n += mirror_of(&layout->comps[c]) == mirror;
	}
	if (n == 0 || layout->kind != DR_LAYOUT_COMPOSITE) {
		return NULL;
	}
	struct dr_layout *one = dr_layout_new(DR_LAYOUT_COMPOSITE, n);
	struct dr_layout_comp *to = one->comps;

	one->magic = layout->magic;
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *from = &layout->comps[c];

		if (mirror_of(from) != mirror) {
			continue;
		}
		*to = *from;
		to->id = 0;
		to->flags &= ~DR_COMP_OF_MIRROR;
		to->timestamp = 0;
		to->layout_gen = 0;
		if (from->objects) {
			to->objects =
				dr_xmemdup(from->objects, from->n_objects * sizeof(*from->objects));
		}
		to++;
	}
	return one;
}

static bool is_on(const struct dr_layout_comp *comp, const struct dr_rangeset *set)
{
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		if (dr_rangeset_has(set, comp->objects[i].ost)) {
			return true;
		}
	}
	return false;
}

uint32_t dr_layout_next_mirror_on(const struct dr_layout *layout, const struct dr_rangeset *set)
{
	for (uint32_t c = 0; layout->mirror_count > 0 && c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];

		if (comp->flags & DR_COMP_INIT && is_on(comp, set)) {
			return mirror_of(comp);
		}
	}
	return 0;
}
