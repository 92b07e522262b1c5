/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/residue.h"

#include "unit.h"

static struct dr_rangeset sources(void)
{
	struct dr_rangeset set = { 0 };

	ck_assert_int_eq(dr_rangeset_parse("0,3", &set), 0);
	return set;
}

/* A template of one component. */
static struct dr_layout *template_of(uint32_t pattern, uint16_t offset)
{
	struct dr_layout *layout = dr_layout_new(DR_LAYOUT_COMPOSITE, 1);
	struct dr_layout_comp *comp = &layout->comps[0];

	comp->end = DR_EOF;
	comp->magic = DR_LOV_MAGIC_V1;
	comp->pattern = pattern;
	comp->stripe_size = 1u << 20;
	comp->stripe_count = 1;
	comp->stripe_offset = offset;
	return layout;
}

static int default_names(const struct dr_layout *layout, uint32_t *ost)
{
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = sources();
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	dr_layout_encode(layout, &bytes);
	return dr_residue_of_default(bytes.data, bytes.len, &set, ost);
}

START_TEST(default__names_a_source_by_its_start_index)
{
	struct dr_layout *on dr_cleanup(dr_layout_freep) = template_of(DR_PATTERN_RAID0, 3);
	struct dr_layout *off dr_cleanup(dr_layout_freep) = template_of(DR_PATTERN_RAID0, 4);
	struct dr_layout *any dr_cleanup(dr_layout_freep) = template_of(DR_PATTERN_RAID0, 0xffff);
	struct dr_layout *dom dr_cleanup(dr_layout_freep) = template_of(DR_PATTERN_MDT, 3);
	uint32_t ost = 99;

	ck_assert_int_eq(default_names(off, &ost), 0);
	ck_assert_int_eq(default_names(any, &ost), 0);
	ck_assert_int_eq(default_names(dom, &ost), 0);
	ck_assert_uint_eq(ost, 99);
	ck_assert_int_eq(default_names(on, &ost), 1);
	ck_assert_uint_eq(ost, 3);
}
END_TEST

START_TEST(default__names_a_source_in_a_list)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = template_of(DR_PATTERN_RAID0, 1);
	uint32_t ost = 99;

	layout->comps[0].magic = DR_LOV_MAGIC_SPECIFIC;
	layout->comps[0].stripe_count = 2;
	dr_layout_set_objects(layout, 0, 2);
	layout->comps[0].objects[0].ost = 1;
	layout->comps[0].objects[1].ost = 2;
	ck_assert_int_eq(default_names(layout, &ost), 0);
	layout->comps[0].objects[1].ost = 0;
	ck_assert_int_eq(default_names(layout, &ost), 1);
	ck_assert_uint_eq(ost, 0);
}
END_TEST

START_TEST(file__names_a_source_by_a_pinned_component_only)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = template_of(DR_PATTERN_RAID0, 3);
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = sources();
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	uint32_t ost = 99;

	/* Bytes 30 and 31 are a generation in what the client gives of a file. */
	dr_layout_encode(layout, &bytes);
	ck_assert_int_eq(dr_residue_of_file(bytes.data, bytes.len, &set, &ost), 0);
	layout->comps[0].magic = DR_LOV_MAGIC_SPECIFIC;
	dr_layout_set_objects(layout, 0, 1);
	layout->comps[0].objects[0].ost = 3;
	dr_buf_clear(&bytes);
	dr_layout_encode(layout, &bytes);
	ck_assert_int_eq(dr_residue_of_file(bytes.data, bytes.len, &set, &ost), 1);
	ck_assert_uint_eq(ost, 3);
	/* Objects that are there are the move's business. */
	layout->comps[0].flags = DR_COMP_INIT;
	dr_buf_clear(&bytes);
	dr_layout_encode(layout, &bytes);
	ck_assert_int_eq(dr_residue_of_file(bytes.data, bytes.len, &set, &ost), 0);
}
END_TEST

START_TEST(residue__of_what_is_no_layout_is_nothing)
{
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = sources();
	uint32_t ost;

	ck_assert_int_eq(dr_residue_of_default("garbage", 7, &set, &ost), 0);
	ck_assert_int_eq(dr_residue_of_file("", 0, &set, &ost), 0);
}
END_TEST

DR_UNIT_MAIN("residue", default__names_a_source_by_its_start_index,
	default__names_a_source_in_a_list, file__names_a_source_by_a_pinned_component_only,
	residue__of_what_is_no_layout_is_nothing)
