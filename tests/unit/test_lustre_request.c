/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/lustre_priv.h"

#include "unit.h"

#define N_OSTS 6
#define SIZE (2u << 20) /* bytes: all components of the sample have data */

/* Three components: on the MDT, on OSTs 4 and 1, and one that is not there yet. */
static struct dr_layout *sample(void)
{
	struct dr_layout *layout = dr_layout_new(DR_LAYOUT_COMPOSITE, 3);
	static const struct {
		uint64_t start, end;
		uint32_t pattern;
		uint16_t stripes;
	} comps[] = {
		{ 0, 65536, DR_PATTERN_MDT, 0 },
		{ 65536, 1u << 20, DR_PATTERN_RAID0, 2 },
		{ 1u << 20, DR_EOF, DR_PATTERN_RAID0, 3 },
	};

	for (uint32_t c = 0; c < 3; c++) {
		struct dr_layout_comp *comp = &layout->comps[c];

		comp->id = c + 7;
		comp->flags = c < 2 ? DR_COMP_INIT : 0;
		comp->start = comps[c].start;
		comp->end = comps[c].end;
		comp->magic = DR_LOV_MAGIC_V1;
		comp->pattern = comps[c].pattern;
		comp->stripe_size = 65536;
		comp->stripe_count = comps[c].stripes;
		comp->stripe_offset = 5;
		comp->oi = (struct dr_fid){ 1, 2, 3 };
	}
	dr_layout_set_objects(layout, 1, 2);
	layout->comps[1].objects[0] = (struct dr_layout_object){ .fid = { 9, 9, 0 }, .ost = 4 };
	layout->comps[1].objects[1] = (struct dr_layout_object){ .fid = { 9, 8, 0 }, .ost = 1 };
	layout->gen = 12;
	return layout;
}

static struct dr_layout *request_of(const struct dr_layout *layout)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *request;

	ck_assert_int_eq(dr_lustre_request(layout, N_OSTS, &bytes), 0);
	ck_assert_int_eq(dr_layout_decode(bytes.data, bytes.len, &request), 0);
	return request;
}

START_TEST(request__names_each_ost_of_what_has_objects)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = sample();
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	ck_assert_int_eq(dr_lustre_request(layout, N_OSTS, &bytes), 0);
	/* The second component's blob follows the header, three entries and the first blob. */
	const size_t at = 32 + 3 * 48 + 32;
	uint32_t magic, ost[2];
	uint16_t count, offset;

	memcpy(&magic, bytes.data + at, 4);
	memcpy(&count, bytes.data + at + 28, 2);
	memcpy(&offset, bytes.data + at + 30, 2);
	memcpy(&ost[0], bytes.data + at + 48 + 20, 4);
	memcpy(&ost[1], bytes.data + at + 48 + 24 + 20, 4);
	ck_assert_uint_eq(magic, DR_LOV_MAGIC_SPECIFIC);
	ck_assert_uint_eq(count, 2);
	ck_assert_uint_eq(offset, 4); /* or the list would be turned to begin at another one */
	ck_assert_uint_eq(ost[0], 4);
	ck_assert_uint_eq(ost[1], 1);
}
END_TEST

START_TEST(request__leaves_the_rest_to_the_server)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = sample();
	struct dr_layout *request dr_cleanup(dr_layout_freep) = request_of(layout);

	ck_assert_uint_eq(request->n_comps, 3);
	ck_assert_uint_eq(request->gen, 0);
	for (uint32_t c = 0; c < 3; c++) {
		ck_assert_uint_eq(request->comps[c].id, 0);
		ck_assert_uint_eq(request->comps[c].flags, 0);
		ck_assert(dr_fid_is_zero(&request->comps[c].oi));
		ck_assert_uint_eq(request->comps[c].start, layout->comps[c].start);
		ck_assert_uint_eq(request->comps[c].end, layout->comps[c].end);
		ck_assert_uint_eq(request->comps[c].pattern, layout->comps[c].pattern);
	}
	/* A start index, as generations look like in what the ioctl gives, would bind all such files to one OST. */
	ck_assert_uint_eq(request->comps[0].stripe_offset, 0xffff);
	ck_assert_uint_eq(request->comps[2].stripe_offset, 0xffff);
	ck_assert_uint_eq(request->comps[2].stripe_count, 3);
}
END_TEST

START_TEST(request__with_an_index_past_the_last_ost_is_never_sent)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = sample();
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	layout->comps[1].objects[1].ost = N_OSTS;
	ck_assert_int_eq(dr_lustre_request(layout, N_OSTS, &bytes), -EINVAL);
	layout->comps[1].objects[1].ost = 77;
	ck_assert_int_eq(dr_lustre_request(layout, N_OSTS, &bytes), -EINVAL);
	ck_assert_uint_eq(bytes.len, 0);
	layout->comps[1].objects[1].ost = N_OSTS - 1;
	ck_assert_int_eq(dr_lustre_request(layout, N_OSTS, &bytes), 0);
}
END_TEST

START_TEST(request__refuses_mirrors_parity_and_foreign)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = sample();
	struct dr_layout *foreign dr_cleanup(dr_layout_freep) = dr_layout_new(DR_LAYOUT_FOREIGN, 0);
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	ck_assert_int_eq(dr_lustre_request(foreign, N_OSTS, &bytes), -EOPNOTSUPP);
	layout->mirror_count = 1;
	ck_assert_int_eq(dr_lustre_request(layout, N_OSTS, &bytes), -EOPNOTSUPP);
	layout->mirror_count = 0;
	layout->comps[1].flags |= DR_COMP_PARITY;
	ck_assert_int_eq(dr_lustre_request(layout, N_OSTS, &bytes), -EOPNOTSUPP);
}
END_TEST

START_TEST(made__is_believed_only_when_every_object_is_where_it_was_asked_for)
{
	struct dr_layout *asked dr_cleanup(dr_layout_freep) = sample();
	struct dr_layout *made dr_cleanup(dr_layout_freep) = sample();

	/* The server numbers components and makes objects of its own. */
	made->comps[0].id = 1;
	made->comps[1].objects[0].fid.oid = 4711;
	made->gen = 1;
	ck_assert(dr_lustre_is_as_asked(asked, made, SIZE));
	made->comps[1].objects[0].ost = 3;
	ck_assert(!dr_lustre_is_as_asked(asked, made, SIZE));
	made->comps[1].objects[0].ost = 4;
	dr_layout_set_objects(made, 1, 1);
	ck_assert(!dr_lustre_is_as_asked(asked, made, SIZE));
}
END_TEST

START_TEST(made__with_objects_that_nobody_asked_for_is_not_believed)
{
	struct dr_layout *asked dr_cleanup(dr_layout_freep) = sample();
	struct dr_layout *made dr_cleanup(dr_layout_freep) = sample();

	dr_layout_set_objects(made, 2, 3);
	ck_assert(!dr_lustre_is_as_asked(asked, made, SIZE));
}
END_TEST

START_TEST(made__may_lack_the_objects_of_what_begins_after_the_end)
{
	struct dr_layout *asked dr_cleanup(dr_layout_freep) = sample();
	struct dr_layout *made dr_cleanup(dr_layout_freep) = sample();

	dr_layout_set_objects(made, 1, 0);
	made->comps[1].flags = 0;
	ck_assert(dr_lustre_is_as_asked(asked, made, 65536));
	ck_assert(!dr_lustre_is_as_asked(asked, made, 65537));
}
END_TEST

START_TEST(made__of_another_shape_is_not_believed)
{
	for (int what = 0; what < 6; what++) {
		struct dr_layout *asked dr_cleanup(dr_layout_freep) = sample();
		struct dr_layout *made dr_cleanup(dr_layout_freep) = sample();

		switch (what) {
		case 0:
			made->comps[0].pattern = DR_PATTERN_RAID0;
			break;
		case 1:
			made->comps[1].end += 65536;
			break;
		case 2:
			made->comps[1].stripe_size *= 2;
			break;
		case 3:
			made->comps[2].stripe_count = 1;
			break;
		case 4:
			memcpy(made->comps[1].pool, "p", 2);
			break;
		default:
			made->n_comps = 2;
			break;
		}
		ck_assert(!dr_lustre_is_as_asked(asked, made, SIZE));
	}
}
END_TEST

DR_UNIT_MAIN("lustre_request", request__names_each_ost_of_what_has_objects,
	request__leaves_the_rest_to_the_server,
	request__with_an_index_past_the_last_ost_is_never_sent,
	request__refuses_mirrors_parity_and_foreign,
	made__is_believed_only_when_every_object_is_where_it_was_asked_for,
	made__with_objects_that_nobody_asked_for_is_not_believed,
	made__may_lack_the_objects_of_what_begins_after_the_end,
	made__of_another_shape_is_not_believed)
