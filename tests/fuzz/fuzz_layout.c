/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/layout.h"

#include "fuzz.h"

static bool is_on_set(const struct dr_rangeset *set, const struct dr_layout_comp *comp)
{
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		if (dr_rangeset_has(set, comp->objects[i].ost)) {
			return true;
		}
	}
	return false;
}

/* Every byte that a component maps lies within what its object's size says. */
static void check_map(const struct dr_layout_comp *comp)
{
	if (!comp->stripe_size || !comp->n_objects || comp->start == comp->end) {
		return;
	}
	uint64_t offs[] = { comp->start, comp->end - 1,
		comp->start + (comp->end - comp->start) / 3 };
	for (size_t i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
		uint32_t stripe;
		uint64_t off, run;
		dr_layout_map(comp, comp->n_objects, offs[i], &stripe, &off, &run);
		FUZZ_CHECK(stripe < comp->n_objects);
		FUZZ_CHECK(run > 0 && run <= comp->end - offs[i]);
		FUZZ_CHECK(dr_layout_object_size(comp, comp->n_objects, stripe, offs[i]) <= off);
		FUZZ_CHECK(dr_layout_object_size(comp, comp->n_objects, stripe, offs[i] + 1) ==
			   off + 1);
	}
}

/* look says of the bytes what decode says of the layout. */
static void check_look(const struct dr_layout *layout, const struct dr_layout_look *look,
	const struct dr_rangeset *set)
{
	bool on_set = false, pinned = false, released = false;
	for (uint32_t i = 0; i < layout->n_comps; i++) {
		const struct dr_layout_comp *comp = &layout->comps[i];
		bool here = is_on_set(set, comp);
		on_set |= here && (comp->flags & DR_COMP_INIT);
		pinned |= here && !(comp->flags & DR_COMP_INIT);
		released |= (comp->pattern & DR_PATTERN_F_RELEASED) != 0;
		check_map(comp);
	}
	FUZZ_CHECK(on_set == !!(look->flags & DR_LAYOUT_ON_SET));
	FUZZ_CHECK(pinned == !!(look->flags & DR_LAYOUT_PINNED));
	FUZZ_CHECK(released == !!(look->flags & DR_LAYOUT_RELEASED));
	FUZZ_CHECK((layout->kind == DR_LAYOUT_FOREIGN) == !!(look->flags & DR_LAYOUT_IS_FOREIGN));
	FUZZ_CHECK((layout->mirror_count > 0) == !!(look->flags & DR_LAYOUT_MIRRORED));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = { 0 };
	dr_rangeset_add(&set, 0);
	dr_rangeset_add(&set, 5);
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	struct dr_layout_look look = { 0 };
	int r = dr_layout_decode(data, size, &layout);
	FUZZ_CHECK(dr_layout_look(data, size, &set, &look) == r);
	if (r < 0) {
		FUZZ_CHECK(!layout);
		return 0;
	}
	check_look(layout, &look, &set);

	/* A copy encodes like the original, and what was encoded is stable. */
	struct dr_buf first dr_cleanup(dr_buf_fini) = { 0 }, second dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_buf third dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *copy dr_cleanup(dr_layout_freep) = dr_layout_copy(layout);
	struct dr_layout *again dr_cleanup(dr_layout_freep) = NULL;
	dr_layout_encode(layout, &first);
	FUZZ_CHECK(first.len <= size);
	dr_layout_encode(copy, &second);
	FUZZ_CHECK(fuzz_same(&first, &second));
	FUZZ_CHECK(dr_layout_decode(first.data, first.len, &again) == 0);
	dr_layout_encode(again, &third);
	FUZZ_CHECK(fuzz_same(&first, &third));
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_describe(layout, &text);
	FUZZ_CHECK(text.len > 0);
	return 0;
}
