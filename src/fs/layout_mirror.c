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

/* The first mirror of which no component is stale; there is always one, but in a torn layout. */
static uint32_t good_mirror(const struct dr_layout *layout)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		uint32_t mirror = mirror_of(&layout->comps[c]);
		bool stale = false;

		for (uint32_t i = 0; i < layout->n_comps; i++) {
			const struct dr_layout_comp *comp = &layout->comps[i];
			stale = stale || (mirror_of(comp) == mirror && comp->flags & DR_COMP_STALE);
		}
		if (!stale) {
			return mirror;
		}
	}
	return mirror_of(&layout->comps[0]);
}

/* @return false such a component cannot be asked for */
static bool strip_component(struct dr_layout_comp *comp, bool plain)
{
	const uint32_t patterns = DR_PATTERN_RAID0 | DR_PATTERN_MDT | DR_PATTERN_OVERSTRIPING;

	if (comp->pattern & ~(patterns | DR_PATTERN_F_HOLE) || comp->flags & DR_COMP_PARITY) {
		return false;
	}
	comp->id = 0;
	comp->flags = plain ? DR_COMP_INIT : comp->flags & DR_COMP_EXTENSION;
	comp->timestamp = 0;
	comp->layout_gen = 0;
	memset(comp->coding, 0, sizeof(comp->coding));
	comp->magic = comp->pool[0] ? DR_LOV_MAGIC_V3 : DR_LOV_MAGIC_V1;
	comp->pattern &= patterns;
	comp->oi = (struct dr_fid){ 0 };
	comp->stripe_offset = UINT16_MAX; /* wherever */
	return true;
}

struct dr_layout *dr_layout_template(const struct dr_layout *layout, bool mirrors)
{
	if (layout->kind == DR_LAYOUT_FOREIGN || layout->ec_count > 0) {
		return NULL;
	}
	struct dr_layout *template = layout->mirror_count > 0 && !mirrors
					     ? dr_layout_mirror(layout, good_mirror(layout))
					     : dr_layout_copy(layout);
	if (!template) {
		return NULL;
	}
	template->gen = 0;
	template->flags = 0;
	template->tail_bytes = 0;
	for (uint32_t c = 0; c < template->n_comps; c++) {
		if (!strip_component(&template->comps[c], template->kind == DR_LAYOUT_PLAIN)) {
			dr_layout_free(template);
			return NULL;
		}
		dr_layout_set_objects(template, c, 0);
	}
	return template;
}
