/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/mold.h"

#include <string.h>
#include <xxhash.h>

#define KIB 1024u
#define MIB (1024u * 1024u)

#define PLAIN_STRIPE_SIZE (4 * MIB)
#define DOM_SIZE UINT64_C(65536)
/* PFL: one stripe up to UNIT, two up to FACTOR units, then more. Small, so that small trees have all three. */
#define PFL_UNIT (64 * KIB)
#define PFL_FACTOR 16u
#define PFL_WIDE 4

uint64_t dr_mold_hash(uint64_t seed, const void *bytes, size_t len)
{
	return XXH64(bytes, len, seed);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/*
 * Sets up a RAID0 component. With more stripes than targets it is overstriped.
 * A component that begins behind the file's end has no objects yet, but a file's first always has.
 */
static void set_raid0(
	struct dr_layout_comp *comp, uint32_t stripes, uint32_t stripe_size, uint32_t n_osts)
{
	comp->magic = DR_LOV_MAGIC_V1;
	comp->pattern = DR_PATTERN_RAID0;
	if (stripes > n_osts) {
		comp->pattern |= DR_PATTERN_OVERSTRIPING;
	}
	comp->stripe_count = (uint16_t)min_u32(stripes, DR_STRIPE_MAX);
	comp->stripe_size = stripe_size;
}

static void set_extent(
	struct dr_layout_comp *comp, uint32_t id, uint64_t start, uint64_t end, uint64_t size)
{
	comp->id = id;
	comp->start = start;
	comp->end = end;
	if (start == 0 || start < size) {
		comp->flags |= DR_COMP_INIT;
	} else {
		comp->stripe_offset = UINT16_MAX;
	}
}

static struct dr_layout *make_plain(uint32_t stripes, uint32_t stripe_size, uint32_t n_osts)
{
	struct dr_layout *layout = dr_layout_new(DR_LAYOUT_PLAIN, 1);

	set_raid0(&layout->comps[0], stripes, stripe_size, n_osts);
	layout->comps[0].flags = DR_COMP_INIT;
	layout->comps[0].end = DR_EOF;
	return layout;
}

static struct dr_layout *make_pfl(uint32_t wide, uint32_t unit, uint64_t size, uint32_t n_osts)
{
	struct dr_layout *layout = dr_layout_new(DR_LAYOUT_COMPOSITE, 3);
	uint64_t second = (uint64_t)unit * PFL_FACTOR;

	layout->gen = 3;
	set_extent(&layout->comps[0], 1, 0, unit, size);
	set_raid0(&layout->comps[0], 1, unit, n_osts);
	set_extent(&layout->comps[1], 2, unit, second, size);
	set_raid0(&layout->comps[1], min_u32(2, n_osts), unit, n_osts);
	set_extent(&layout->comps[2], 3, second, DR_EOF, size);
	set_raid0(&layout->comps[2], wide, unit, n_osts);
	return layout;
}

/* The first bytes on the MDT; the rest, if there may be one, on an OST. */
static struct dr_layout *make_dom(bool alone, uint32_t stripe_size, uint64_t size, uint32_t n_osts)
{
	struct dr_layout *layout = dr_layout_new(DR_LAYOUT_COMPOSITE, alone ? 1 : 2);

	layout->gen = layout->n_comps;
	set_extent(&layout->comps[0], 1, 0, DOM_SIZE, size);
	layout->comps[0].magic = DR_LOV_MAGIC_V1;
	layout->comps[0].pattern = DR_PATTERN_MDT;
	layout->comps[0].stripe_size = (uint32_t)DOM_SIZE;
	if (!alone) {
		set_extent(&layout->comps[1], 2, DOM_SIZE, DR_EOF, size);
		set_raid0(&layout->comps[1], 1, stripe_size, n_osts);
	}
	return layout;
}

static struct dr_layout *make_mirrored(uint32_t stripe_size, uint64_t size, uint32_t n_osts)
{
	struct dr_layout *layout = dr_layout_new(DR_LAYOUT_COMPOSITE, 2);

	layout->gen = 2;
	layout->flags = DR_LCM_RDONLY;
	layout->mirror_count = 1;
	for (uint32_t i = 0; i < 2; i++) {
		set_extent(&layout->comps[i], (i + 1) << 16 | (i + 1), 0, DR_EOF, size);
		set_raid0(&layout->comps[i], 1, stripe_size, n_osts);
	}
	return layout;
}

static struct dr_layout *make_mixed(
	const struct dr_mold *mold, uint32_t wide, uint64_t size, uint64_t random, uint32_t n_osts)
{
	static const uint32_t sizes[] = { 64 * KIB, 1 * MIB, PLAIN_STRIPE_SIZE, PLAIN_STRIPE_SIZE };
	uint64_t dice = dr_mold_random(&random) % 100;
	uint64_t more = dr_mold_random(&random);
	uint32_t stripe_size =
		mold->stripe_size ? mold->stripe_size : sizes[dr_mold_random(&random) % 4];
	struct dr_layout *layout;

	if (dice < 30) {
		return make_plain(1, stripe_size, n_osts);
	}
	if (dice < 50) {
		uint32_t most = wide ? wide : min_u32(PFL_WIDE, n_osts);
		return make_plain(min_u32(2, most) + (uint32_t)(more % (most > 2 ? most - 1 : 1)),
			stripe_size, n_osts);
	}
	if (dice < 58) {
		/* More stripes than OSTs that they lie on; dr_mold_file_make() bounds those. */
		layout = make_plain(
			min_u32(n_osts, PFL_WIDE) + 1 + (uint32_t)(more % 4), stripe_size, n_osts);
		layout->comps[0].pattern |= DR_PATTERN_OVERSTRIPING;
		return layout;
	}
	if (dice < 75) {
		return make_pfl(wide ? wide : min_u32(PFL_WIDE, n_osts),
			mold->stripe_size ? mold->stripe_size : PFL_UNIT, size, n_osts);
	}
	if (dice < 85) {
		return make_dom(false, stripe_size, size, n_osts);
	}
	if (dice < 90 && size <= DOM_SIZE) {
		return make_dom(true, stripe_size, size, n_osts);
	}
	if (dice < 95 && n_osts > 1) {
		return make_mirrored(stripe_size, size, n_osts);
	}
	layout = make_plain(1, stripe_size, n_osts);
	layout->comps[0].magic = DR_LOV_MAGIC_V3;
	memcpy(layout->comps[0].pool, "pool0", sizeof("pool0"));
	return layout;
}

static struct dr_layout *make_kind(
	const struct dr_mold *mold, uint64_t size, uint64_t random, uint32_t n_osts)
{
	uint32_t wide = mold->stripe_count == DR_MOLD_ALL_STRIPES ? min_u32(n_osts, DR_STRIPE_MAX)
								  : (uint32_t)mold->stripe_count;

	switch (mold->kind) {
	case DR_MOLD_PFL:
		return make_pfl(wide ? wide : min_u32(PFL_WIDE, n_osts),
			mold->stripe_size ? mold->stripe_size : PFL_UNIT, size, n_osts);
	case DR_MOLD_MIXED:
		return make_mixed(mold, wide, size, random, n_osts);
	case DR_MOLD_PLAIN:
	default:
		return make_plain(wide ? wide : 1,
			mold->stripe_size ? mold->stripe_size : PLAIN_STRIPE_SIZE, n_osts);
	}
}

static void name_pool(struct dr_layout *layout, const char *pool)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		struct dr_layout_comp *comp = &layout->comps[c];

		if (!(comp->pattern & DR_PATTERN_MDT)) {
			comp->magic = DR_LOV_MAGIC_V3;
			memset(comp->pool, 0, sizeof(comp->pool));
			memcpy(comp->pool, pool, strnlen(pool, DR_POOL_MAX));
		}
	}
}

struct dr_layout *dr_mold_layout(
	const struct dr_mold *mold, uint64_t size, uint64_t random, uint32_t n_osts)
{
	struct dr_layout *layout = make_kind(mold, size, random, n_osts);

	if (mold->pool) {
		name_pool(layout, mold->pool);
	}
	return layout;
}

static bool takes_objects(const struct dr_ost *ost)
{
	return !(ost->state &
		 (DR_OST_DOWN | DR_OST_NOCREATE | DR_OST_ENOSPC | DR_OST_ENOINO | DR_OST_READONLY));
}

static int compare_avail(const void *a, const void *b)
{
	const struct dr_ost *x = a, *y = b;

	if (x->avail_bytes != y->avail_bytes) {
		return x->avail_bytes < y->avail_bytes ? 1 : -1;
	}
	return (x->index > y->index) - (x->index < y->index);
}

static void place_init(
	struct dr_mold_place *place, struct dr_lab *lab, const struct dr_mold *mold, bool by_space)
{
	dr_cleanup(dr_freep) struct dr_ost *osts = dr_xcalloc(lab->n_osts, sizeof(*osts));

	*place = (struct dr_mold_place){ .osts = dr_xcalloc(lab->n_osts, sizeof(*place->osts)) };
	dr_lab_osts(lab, osts);
	if (by_space) {
		qsort(osts, lab->n_osts, sizeof(*osts), compare_avail);
	}
	for (uint32_t i = 0; i < lab->n_osts; i++) {
		bool allowed = mold->pool_osts.count == 0 ||
			       dr_rangeset_has(&mold->pool_osts, osts[i].index);

		if (allowed && takes_objects(&osts[i])) {
			place->osts[place->n++] = osts[i].index;
		}
	}
}

void dr_mold_place_init(struct dr_mold_place *place, struct dr_lab *lab, const struct dr_mold *mold)
{
	place_init(place, lab, mold, false);
}

void dr_mold_place_fini(struct dr_mold_place *place)
{
	free(place->osts);
	place->osts = NULL;
	place->n = 0;
}

static void place_objects(void *ctx, struct dr_layout_object *objects, uint32_t n, bool overstripe)
{
	struct dr_mold_place *place = ctx;
	uint32_t width =
		overstripe && place->width && place->width < place->n ? place->width : place->n;

	for (uint32_t i = 0; i < n; i++) {
		objects[i].ost = place->osts[(place->at + i % width) % place->n];
	}
	place->at += min_u32(n, width);
}

static int make_at(struct dr_lab *lab, const struct dr_mold *mold, struct dr_mold_place *place,
	const struct dr_mold_file *file, int *ret_fd)
{
	dr_cleanup(dr_layout_freep) struct dr_layout *layout = NULL;

	if (place->n == 0) {
		return -ENOBUFS;
	}
	/* Only `mixed` overstripes where there are targets enough, and then on fewer of them. */
	place->width = mold->kind == DR_MOLD_MIXED && mold->stripe_count == 0 ? PFL_WIDE : 0;
	layout = dr_mold_layout(mold, file->size, file->random, place->n);
	return dr_lab_file_make(lab, file->dirfd, file->name, file->mode, layout, place_objects,
		place, file->src_fd, ret_fd);
}

int dr_mold_file_make(struct dr_lab *lab, const struct dr_mold *mold, struct dr_mold_place *place,
	const struct dr_mold_file *file, int *ret_fd)
{
	struct dr_mold_place other;
	int r = make_at(lab, mold, place, file, ret_fd);

	if (r != -ENOSPC && r != -ENOBUFS && r != -ENODEV) {
		return r;
	}
	place_init(&other, lab, mold, true);
	r = make_at(lab, mold, &other, file, ret_fd);
	dr_mold_place_fini(&other);
	return r;
}
