/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/layout.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * Sizes and offsets of the structures, lustre_user.h. All integers are little endian, and nothing
 * is aligned.
 */
enum {
	V1_SIZE = 32,      /* lov_user_md_v1, without objects */
	V3_SIZE = 48,      /* lov_user_md_v3 */
	OBJECT_SIZE = 24,  /* lov_user_ost_data_v1 */
	COMP_SIZE = 32,    /* lov_comp_md_v1, without entries */
	ENTRY_SIZE = 48,   /* lov_comp_md_entry_v1 */
	FOREIGN_SIZE = 16, /* lov_foreign_md, without its value */
	POOL_SIZE = 16,    /* lmm_pool_name */
};

static inline uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t le64(const uint8_t *p)
{
	return (uint64_t)le32(p) | (uint64_t)le32(p + 4) << 32;
}

/*
 * One component as it lies in the bytes, found valid: the header and n_objects objects are there.
 */
struct view {
	const uint8_t *entry; /* NULL: the layout is plain */
	const uint8_t *md;    /* lov_user_md_v1 or v3 */
	const uint8_t *objects;
	uint32_t magic, pattern, flags;
	uint32_t n_objects;
	uint32_t room_bytes; /* after the objects */
};

/*
 * The one reading of the format, which decode and look share so that they cannot disagree: start,
 * then next until it says 0.
 */
struct walk {
	const uint8_t *bytes;
	size_t size; /* of what counts: lcm_size for a composite */
	size_t free; /* composite: the first byte that no component has taken yet */
	uint32_t magic;
	enum dr_layout_kind kind;
	uint32_t n_comps;
	uint32_t i; /* the next component */
};

static int walk_start(struct walk *walk, const void *bytes, size_t len)
{
	if (len > DR_LAYOUT_MAX) {
		return -E2BIG;
	}
	if (len < sizeof(uint32_t)) {
		return -EINVAL;
	}
	*walk = (struct walk){ .bytes = bytes, .size = len, .magic = le32(bytes) };
	switch (walk->magic) {
	case DR_LOV_MAGIC_V1:
	case DR_LOV_MAGIC_V3:
	case DR_LOV_MAGIC_SPECIFIC:
		walk->kind = DR_LAYOUT_PLAIN;
		walk->n_comps = 1;
		return 0;
	case DR_LOV_MAGIC_COMP_V1:
	case DR_LOV_MAGIC_SEL:
		walk->kind = DR_LAYOUT_COMPOSITE;
		if (len < COMP_SIZE || le32(walk->bytes + 4) > len) {
			return -EINVAL;
		}
		walk->size = le32(walk->bytes + 4);
		walk->n_comps = le16(walk->bytes + 14);
		walk->free = COMP_SIZE + (size_t)walk->n_comps * ENTRY_SIZE;
		return walk->n_comps && walk->free <= walk->size ? 0 : -EINVAL;
	case DR_LOV_MAGIC_FOREIGN:
		walk->kind = DR_LAYOUT_FOREIGN;
		if (len < FOREIGN_SIZE || le32(walk->bytes + 4) > len - FOREIGN_SIZE) {
			return -EINVAL;
		}
		return 0;
	default:
		return -EINVAL;
	}
}

/* Fills what the component's own header says; entry, md and flags are set. */
static int view_component(struct view *view, size_t size)
{
	if (size < V1_SIZE) {
		return -EINVAL;
	}
	view->magic = le32(view->md);
	view->pattern = le32(view->md + 4);
	size_t header = view->magic == DR_LOV_MAGIC_V1 ? V1_SIZE : V3_SIZE;
	if (header == V3_SIZE && view->magic != DR_LOV_MAGIC_V3 &&
		view->magic != DR_LOV_MAGIC_SPECIFIC) {
		return -EINVAL;
	}
	if (size < header) {
		return -EINVAL;
	}
	size_t room = size - header;
	size_t n = le16(view->md + 28);
	if (view->pattern & (DR_PATTERN_F_RELEASED | DR_PATTERN_MDT)) {
		n = 0;
	} else if (!view->entry) {
		n = room ? n : 0; /* a template has a stripe count, and no objects */
	} else if (!(view->flags & DR_COMP_INIT)) {
		bool pinned = view->magic == DR_LOV_MAGIC_SPECIFIC && n * OBJECT_SIZE <= room;
		n = pinned ? n : 0;
	}
	if (n * OBJECT_SIZE > room) {
		return -EINVAL;
	}
	view->objects = view->md + header;
	view->n_objects = (uint32_t)n;
	view->room_bytes = (uint32_t)(room - n * OBJECT_SIZE);
	return 0;
}

/* @return 1 with the next component, 0 at the end (foreign: at once), -EINVAL */
static int walk_next(struct walk *walk, struct view *view)
{
	if (walk->i == walk->n_comps) {
		return 0;
	}
	size_t size = walk->size;
	if (walk->kind == DR_LAYOUT_PLAIN) {
		*view = (struct view){ .md = walk->bytes, .flags = DR_COMP_INIT };
	} else {
		const uint8_t *entry = walk->bytes + COMP_SIZE + (size_t)walk->i * ENTRY_SIZE;
		size_t offset = le32(entry + 24);
		size = le32(entry + 28);
		if (offset < walk->free || offset > walk->size || size > walk->size - offset ||
			le64(entry + 8) > le64(entry + 16)) {
			return -EINVAL;
		}
		walk->free = offset + size;
		*view = (struct view){
			.entry = entry,
			.md = walk->bytes + offset,
			.flags = le32(entry + 4),
		};
	}
	int r = view_component(view, size);
	if (r < 0) {
		return r;
	}
	walk->i++;
	return 1;
}

/* lmm_oi is a struct ost_id in its (oi_id, oi_seq) form; oi_id is the FID's oid, and ver above it. */
static struct dr_fid get_oi(const uint8_t *md)
{
	uint64_t id = le64(md + 8);
	return (struct dr_fid){
		.seq = le64(md + 16),
		.oid = (uint32_t)id,
		.ver = (uint32_t)(id >> 32),
	};
}

static uint32_t object_ost(const uint8_t *object)
{
	return le32(object + 20);
}

static struct dr_layout_object get_object(const uint8_t *object)
{
	return (struct dr_layout_object){
		.fid = { .seq = le64(object), .oid = le32(object + 8), .ver = le32(object + 12) },
		.gen = le32(object + 16),
		.ost = object_ost(object),
	};
}

static int decode_component(const struct view *view, struct dr_layout_comp *comp)
{
	const uint8_t *md = view->md;
	*comp = (struct dr_layout_comp){
		.flags = view->flags,
		.end = DR_EOF,
		.magic = view->magic,
		.pattern = view->pattern,
		.oi = get_oi(md),
		.stripe_size = le32(md + 24),
		.stripe_count = le16(md + 28),
		.stripe_offset = le16(md + 30),
		.room_bytes = view->room_bytes,
	};
	if (view->entry) {
		comp->id = le32(view->entry);
		comp->start = le64(view->entry + 8);
		comp->end = le64(view->entry + 16);
		comp->layout_gen = le32(view->entry + 32);
		comp->timestamp = le64(view->entry + 36);
		memcpy(comp->coding, view->entry + 44, sizeof(comp->coding));
	}
	if (view->magic != DR_LOV_MAGIC_V1) {
		memcpy(comp->pool, md + V1_SIZE, strnlen((const char *)md + V1_SIZE, DR_POOL_MAX));
	}
	if (view->n_objects) {
		comp->objects = calloc(view->n_objects, sizeof(*comp->objects));
		if (!comp->objects) {
			return -ENOMEM;
		}
	}
	comp->n_objects = view->n_objects;
	for (uint32_t i = 0; i < view->n_objects; i++) {
		comp->objects[i] = get_object(view->objects + (size_t)i * OBJECT_SIZE);
	}
	return 0;
}

static int decode_foreign(const struct walk *walk, struct dr_layout *layout)
{
	layout->foreign_len = le32(walk->bytes + 4);
	layout->foreign_type = le32(walk->bytes + 8);
	layout->foreign_flags = le32(walk->bytes + 12);
	layout->foreign_value = malloc(layout->foreign_len ? layout->foreign_len : 1);
	if (!layout->foreign_value) {
		return -ENOMEM;
	}
	memcpy(layout->foreign_value, walk->bytes + FOREIGN_SIZE, layout->foreign_len);
	return 0;
}

static int decode_components(struct walk *walk, struct dr_layout *layout)
{
	layout->comps = calloc(walk->n_comps, sizeof(*layout->comps));
	if (!layout->comps) {
		return -ENOMEM;
	}
	struct view view;
	int r;
	while ((r = walk_next(walk, &view)) > 0) {
		r = decode_component(&view, &layout->comps[layout->n_comps++]);
		if (r < 0) {
			return r;
		}
	}
	if (r == 0 && walk->kind == DR_LAYOUT_COMPOSITE) {
		layout->magic = walk->magic;
		layout->gen = le32(walk->bytes + 8);
		layout->flags = le16(walk->bytes + 12);
		layout->mirror_count = le16(walk->bytes + 16);
		layout->ec_count = walk->bytes[18];
		layout->tail_bytes = (uint32_t)(walk->size - walk->free);
	}
	return r;
}

int dr_layout_decode(const void *bytes, size_t len, struct dr_layout **ret_layout)
{
	struct walk walk;
	int r = walk_start(&walk, bytes, len);
	if (r < 0) {
		return r;
	}
	struct dr_layout *layout = calloc(1, sizeof(*layout));
	if (!layout) {
		return -ENOMEM;
	}
	layout->kind = walk.kind;
	r = walk.kind == DR_LAYOUT_FOREIGN ? decode_foreign(&walk, layout)
					   : decode_components(&walk, layout);
	if (r < 0) {
		dr_layout_free(layout);
		return r;
	}
	*ret_layout = layout;
	return 0;
}

void dr_layout_free(struct dr_layout *layout)
{
	if (!layout) {
		return;
	}
	for (uint32_t i = 0; i < layout->n_comps; i++) {
		free(layout->comps[i].objects);
	}
	free(layout->comps);
	free(layout->foreign_value);
	free(layout);
}

struct dr_layout *dr_layout_copy(const struct dr_layout *layout)
{
	struct dr_layout *copy = dr_xmemdup(layout, sizeof(*layout));
	if (layout->comps) {
		copy->comps = dr_xmemdup(layout->comps, layout->n_comps * sizeof(*layout->comps));
	}
	for (uint32_t i = 0; i < copy->n_comps; i++) {
		struct dr_layout_comp *comp = &copy->comps[i];
		if (comp->objects) {
			comp->objects =
				dr_xmemdup(comp->objects, comp->n_objects * sizeof(*comp->objects));
		}
	}
	if (layout->foreign_value) {
		copy->foreign_value = dr_xmemdup(layout->foreign_value, layout->foreign_len);
	}
	return copy;
}

struct dr_layout *dr_layout_new(enum dr_layout_kind kind, uint32_t n_comps)
{
	struct dr_layout *layout = dr_xcalloc(1, sizeof(*layout));
	layout->kind = kind;
	layout->magic = kind == DR_LAYOUT_COMPOSITE ? DR_LOV_MAGIC_COMP_V1 : 0;
	layout->n_comps = n_comps;
	layout->comps = dr_xcalloc(n_comps, sizeof(*layout->comps));
	for (uint32_t i = 0; i < n_comps; i++) {
		layout->comps[i].magic = DR_LOV_MAGIC_V1;
		layout->comps[i].end = DR_EOF;
		layout->comps[i].flags = kind == DR_LAYOUT_PLAIN ? DR_COMP_INIT : 0;
	}
	return layout;
}

void dr_layout_set_objects(struct dr_layout *layout, uint32_t comp, uint32_t n)
{
	struct dr_layout_comp *c = &layout->comps[comp];
	free(c->objects);
	c->objects = n ? dr_xcalloc(n, sizeof(*c->objects)) : NULL;
	c->n_objects = n;
	c->room_bytes = 0;
}

static void put_zeros(struct dr_buf *out, size_t n)
{
	if (n) {
		dr_buf_reserve(out, n);
		memset(out->data + out->len, 0, n);
		out->len += n;
	}
}

static size_t component_size(const struct dr_layout_comp *comp)
{
	size_t header = comp->magic == DR_LOV_MAGIC_V1 ? V1_SIZE : V3_SIZE;
	return header + (size_t)comp->n_objects * OBJECT_SIZE + comp->room_bytes;
}

static void encode_component(const struct dr_layout_comp *comp, struct dr_buf *out)
{
	dr_buf_put_u32(out, comp->magic);
	dr_buf_put_u32(out, comp->pattern);
	dr_buf_put_u64(out, comp->oi.oid | (uint64_t)comp->oi.ver << 32);
	dr_buf_put_u64(out, comp->oi.seq);
	dr_buf_put_u32(out, comp->stripe_size);
	dr_buf_put_u16(out, comp->stripe_count);
	dr_buf_put_u16(out, comp->stripe_offset);
	if (comp->magic != DR_LOV_MAGIC_V1) {
		size_t len = strnlen(comp->pool, DR_POOL_MAX);
		dr_buf_put(out, comp->pool, len);
		put_zeros(out, POOL_SIZE - len);
	}
	if (comp->pattern & DR_PATTERN_F_RELEASED) {
		put_zeros(out, (size_t)comp->n_objects * OBJECT_SIZE);
	} else {
		for (uint32_t i = 0; i < comp->n_objects; i++) {
			const struct dr_layout_object *object = &comp->objects[i];
			dr_buf_put_u64(out, object->fid.seq);
			dr_buf_put_u32(out, object->fid.oid);
			dr_buf_put_u32(out, object->fid.ver);
			dr_buf_put_u32(out, object->gen);
			dr_buf_put_u32(out, object->ost);
		}
	}
	put_zeros(out, comp->room_bytes);
}

static void encode_composite(const struct dr_layout *layout, struct dr_buf *out)
{
	size_t offset = COMP_SIZE + (size_t)layout->n_comps * ENTRY_SIZE;
	size_t size = offset + layout->tail_bytes;
	for (uint32_t i = 0; i < layout->n_comps; i++) {
		size += component_size(&layout->comps[i]);
	}
	dr_buf_put_u32(out, layout->magic);
	dr_buf_put_u32(out, (uint32_t)size);
	dr_buf_put_u32(out, layout->gen);
	dr_buf_put_u16(out, layout->flags);
	dr_buf_put_u16(out, (uint16_t)layout->n_comps);
	dr_buf_put_u16(out, layout->mirror_count);
	dr_buf_put_u8(out, layout->ec_count);
	put_zeros(out, 13);
	for (uint32_t i = 0; i < layout->n_comps; i++) {
		const struct dr_layout_comp *comp = &layout->comps[i];
		dr_buf_put_u32(out, comp->id);
		dr_buf_put_u32(out, comp->flags);
		dr_buf_put_u64(out, comp->start);
		dr_buf_put_u64(out, comp->end);
		dr_buf_put_u32(out, (uint32_t)offset);
		dr_buf_put_u32(out, (uint32_t)component_size(comp));
		dr_buf_put_u32(out, comp->layout_gen);
		dr_buf_put_u64(out, comp->timestamp);
		dr_buf_put(out, comp->coding, sizeof(comp->coding));
		offset += component_size(comp);
	}
	for (uint32_t i = 0; i < layout->n_comps; i++) {
		encode_component(&layout->comps[i], out);
	}
	put_zeros(out, layout->tail_bytes);
}

void dr_layout_encode(const struct dr_layout *layout, struct dr_buf *out)
{
	switch (layout->kind) {
	case DR_LAYOUT_PLAIN:
		encode_component(&layout->comps[0], out);
		break;
	case DR_LAYOUT_COMPOSITE:
		encode_composite(layout, out);
		break;
	case DR_LAYOUT_FOREIGN:
		dr_buf_put_u32(out, DR_LOV_MAGIC_FOREIGN);
		dr_buf_put_u32(out, layout->foreign_len);
		dr_buf_put_u32(out, layout->foreign_type);
		dr_buf_put_u32(out, layout->foreign_flags);
		dr_buf_put(out, layout->foreign_value, layout->foreign_len);
		break;
	}
}

static uint32_t look_at_component(const struct view *view, const struct dr_rangeset *set)
{
	uint32_t flags = 0;
	if (view->pattern & DR_PATTERN_F_RELEASED) {
		flags |= DR_LAYOUT_RELEASED;
	}
	if (view->pattern & DR_PATTERN_MDT) {
		flags |= DR_LAYOUT_HAS_DOM;
	}
	bool ready = view->flags & DR_COMP_INIT;
	if (ready && view->n_objects) {
		flags |= DR_LAYOUT_HAS_OBJECTS;
	}
	for (uint32_t i = 0; set && i < view->n_objects; i++) {
		if (dr_rangeset_has(set, object_ost(view->objects + (size_t)i * OBJECT_SIZE))) {
			return flags | (ready ? DR_LAYOUT_ON_SET : DR_LAYOUT_PINNED);
		}
	}
	return flags;
}

int dr_layout_look(const void *bytes, size_t len, const struct dr_rangeset *set,
	struct dr_layout_look *ret_look)
{
	struct walk walk;
	struct view view;
	struct dr_layout_look look = { 0 };
	int r = walk_start(&walk, bytes, len);
	if (r < 0) {
		return r;
	}
	if (walk.kind == DR_LAYOUT_FOREIGN) {
		look.flags |= DR_LAYOUT_IS_FOREIGN;
	} else if (walk.kind == DR_LAYOUT_COMPOSITE && le16(walk.bytes + 16) > 0) {
		look.flags |= DR_LAYOUT_MIRRORED;
	}
	while ((r = walk_next(&walk, &view)) > 0) {
		if (walk.i == 1) {
			look.fid = get_oi(view.md);
		}
		look.flags |= look_at_component(&view, set);
	}
	if (r < 0) {
		return r;
	}
	*ret_look = look;
	return 0;
}

void dr_layout_map(const struct dr_layout_comp *comp, uint32_t n_stripes, uint64_t off,
	uint32_t *ret_stripe, uint64_t *ret_object_off, uint64_t *ret_run)
{
	uint64_t chunk = off / comp->stripe_size;
	uint64_t within = off % comp->stripe_size;
	uint64_t left = comp->end - off;
	uint64_t run = comp->stripe_size - within;
	*ret_stripe = (uint32_t)(chunk % n_stripes);
	*ret_object_off = chunk / n_stripes * comp->stripe_size + within;
	/* With one stripe the chunks of a file follow one another in the object too. */
	*ret_run = n_stripes == 1 || left < run ? left : run;
}

uint64_t dr_layout_object_size(
	const struct dr_layout_comp *comp, uint32_t n_stripes, uint32_t stripe, uint64_t size)
{
	uint64_t end = size < comp->end ? size : comp->end;
	if (end <= comp->start) {
		return 0;
	}
	uint64_t stripe_size = comp->stripe_size;
	uint64_t last = (end - 1) / stripe_size; /* the chunk that holds the last byte */
	uint64_t back = (last % n_stripes + n_stripes - stripe) % n_stripes;
	if (back > last) {
		return 0; /* the file ends before this stripe's first chunk */
	}
	uint64_t chunk = last - back; /* the stripe's own last chunk */
	uint64_t len = back ? stripe_size : (end - 1) % stripe_size + 1;
	if (chunk * stripe_size + len <= comp->start) {
		return 0; /* it lies in an earlier component */
	}
	return chunk / n_stripes * stripe_size + len;
}

char *dr_fid_format(const struct dr_fid *fid, char *buf)
{
	(void)snprintf(buf, DR_FID_TEXT_SIZE, "0x%" PRIx64 ":0x%" PRIx32 ":0x%" PRIx32, fid->seq,
		fid->oid, fid->ver);
	return buf;
}

/* "64K", "4M": the largest unit that leaves no rest. */
static void describe_size(uint32_t bytes, struct dr_buf *out)
{
	static const char *const units[] = { "", "K", "M", "G" };
	size_t unit = 0;
	while (bytes && bytes % 1024 == 0 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	dr_buf_printf(out, "%u%s", bytes, units[unit]);
}

/* "3,4", "-", "dom", "released", "(3,4)". */
static void describe_place(const struct dr_layout_comp *comp, struct dr_buf *out)
{
	bool pinned = !(comp->flags & DR_COMP_INIT);
	if (comp->pattern & DR_PATTERN_F_RELEASED) {
		dr_buf_put_str(out, "released");
	} else if (comp->pattern & DR_PATTERN_MDT) {
		dr_buf_put_str(out, "dom");
	} else if (comp->n_objects == 0) {
		dr_buf_put_str(out, "-");
	} else {
		dr_buf_put_str(out, pinned ? "(" : "");
		for (uint32_t i = 0; i < comp->n_objects; i++) {
			dr_buf_printf(out, "%s%u", i ? "," : "", comp->objects[i].ost);
		}
		dr_buf_put_str(out, pinned ? ")" : "");
	}
	if (comp->flags & DR_COMP_STALE) {
		dr_buf_put_str(out, " stale");
	}
}

static void describe_plain(const struct dr_layout_comp *comp, struct dr_buf *out)
{
	const char *pattern = comp->pattern & DR_PATTERN_MDT            ? "dom"
			      : comp->pattern & DR_PATTERN_OVERSTRIPING ? "overstriped"
									: "raid0";
	if (comp->stripe_count == UINT16_MAX) {
		dr_buf_printf(out, "%s allx", pattern);
	} else {
		dr_buf_printf(out, "%s %ux", pattern, comp->stripe_count);
	}
	describe_size(comp->stripe_size, out);
	if (comp->pool[0]) {
		dr_buf_put_str(out, " pool ");
		dr_text_escape(out, comp->pool, strlen(comp->pool));
	}
	dr_buf_put_str(out, " [");
	describe_place(comp, out);
	dr_buf_put_str(out, "]");
}

void dr_layout_describe(const struct dr_layout *layout, struct dr_buf *out)
{
	if (layout->kind == DR_LAYOUT_FOREIGN) {
		dr_buf_printf(out, "foreign type 0x%x %u bytes", layout->foreign_type,
			layout->foreign_len);
		return;
	}
	if (layout->kind == DR_LAYOUT_PLAIN) {
		describe_plain(&layout->comps[0], out);
		return;
	}
	if (layout->mirror_count) {
		dr_buf_printf(out, "flr %u mirrors ", layout->mirror_count + 1u);
	} else {
		dr_buf_put_str(out, "pfl ");
	}
	dr_buf_printf(out, "%u comp%s [", layout->n_comps, layout->n_comps == 1 ? "" : "s");
	for (uint32_t i = 0; i < layout->n_comps; i++) {
		dr_buf_put_str(out, i ? "|" : "");
		describe_place(&layout->comps[i], out);
	}
	dr_buf_put_str(out, "]");
}
