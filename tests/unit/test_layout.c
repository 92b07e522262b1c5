/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/layout.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "unit.h"

/*
 * What each vector of data/ means, as lfs getstripe showed it on the machine that wrote it. A component:
 * [id flags start-end gen time coding:] version pattern oi countxsize offset <pool> ost=fid... room
 */
static const struct expected {
	const char *name, *form, *text;
} expectations[] = {
	/* clang-format off */
	{ "d", "lustre.lov", "plain\n"
		"v1 1 oi 0:0:0 3x0 off ffff <> room 0\n" },
	{ "dom", "lustre.lov", "composite gen 2 flags 0 mirrors 0 tail 0\n"
		"1 10 0-10000 gen 0 time 0 coding 0: v1 100 oi 0:0:0 0x65536 off ffff <> room 0\n"
		"2 0 10000-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 0:0:0 1x4194304 off ffff <> room 0\n" },
	{ "empty", "lustre.lov", "plain\n"
		"v1 1 oi 200000402:11:0 1x4194304 off ffff <> 0=280000401:4:0 room 0\n" },
	{ "flr", "lustre.lov", "composite gen 5 flags 1 mirrors 1 tail 0\n"
		"10001 10 0-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 0:0:0 1x4194304 off ffff <> 1=2c0000400:3:0 room 0\n"
		"20002 10 0-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 0:0:0 1x4194304 off ffff <> 2=300000401:3:0 room 0\n" },
	{ "h1", "lustre.lov", "plain\n"
		"v1 80000001 oi 200000402:50:0 1x4194304 off ffff <> room 24\n" },
	{ "oversub", "lustre.lov", "plain\n"
		"v1 1 oi 200000402:e:0 3x65536 off ffff <> 3=340000401:3:0 4=380000401:3:0 5=3c0000401:3:0 room 0\n" },
	{ "pfl", "lustre.lov", "composite gen 4 flags 0 mirrors 0 tail 0\n"
		"1 10 0-100000 gen 0 time 0 coding 0: v1 1 oi 0:0:0 1x1048576 off ffff <> 3=340000401:2:0 room 0\n"
		"2 10 100000-1000000 gen 0 time 0 coding 0: v1 1 oi 0:0:0 2x4194304 off ffff <> 4=380000401:2:0 5=3c0000401:2:0 room 0\n"
		"3 0 1000000-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 0:0:0 4x4194304 off ffff <> room 0\n" },
	{ "plain0", "lustre.lov", "plain\n"
		"v1 1 oi 200000402:4:0 1x4194304 off ffff <> 0=280000401:2:0 room 0\n" },
	{ "plain2", "lustre.lov", "plain\n"
		"v1 1 oi 200000402:2:0 2x1048576 off ffff <> 1=2c0000400:2:0 2=300000401:2:0 room 0\n" },
	{ "fgn", "lustre.lov", "foreign 0 da08 blob\n" },
	{ "mine", "lustre.lov", "plain\n"
		"v1 1 oi 200000402:3842:0 1x4194304 off ffff <> 2=300000401:69c:0 room 0\n" },
	{ "ov8", "lustre.lov", "plain\n"
		"v1 201 oi 200000402:384d:0 8x4194304 off ffff <> 0=280000401:f44:0 1=2c0000400:69a:0 2=300000401:69e:0 3=340000401:e2f:0 4=380000401:6ca:0 5=3c0000401:6cb:0 0=280000401:f45:0 1=2c0000400:69b:0 room 0\n" },
	{ "pp", "lustre.lov", "plain\n"
		"v3 1 oi 200000402:384a:0 1x4194304 off ffff <p1> 3=340000401:e2e:0 room 0\n" },
	{ "sel", "lustre.lov", "composite gen 3 flags 0 mirrors 0 tail 0\n"
		"1 10 0-4000000 gen 0 time 0 coding 0: v1 1 oi 0:0:0 1x4194304 off ffff <> 5=3c0000401:6ca:0 room 0\n"
		"2 0 4000000-4000000 gen 0 time 0 coding 0: v1 1 oi 0:0:0 1x4194304 off ffff <> room 0\n"
		"3 40 4000000-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 0:0:0 1x65536 off ffff <> room 0\n" },
	{ "pflpool", "lustre.lov", "composite gen 3 flags 0 mirrors 0 tail 0\n"
		"1 10 0-100000 gen 0 time 0 coding 0: v3 1 oi 0:0:0 1x1048576 off ffff <p1> 3=340000401:e87:0 room 0\n"
		"2 10 100000-ffffffffffffffff gen 0 time 0 coding 0: v3 1 oi 0:0:0 2x4194304 off ffff <p1> 2=300000401:706:0 3=340000401:e88:0 room 0\n" },
	{ "pflpool", "ioctl", "composite gen 3 flags 0 mirrors 0 tail 0\n"
		"1 10 0-100000 gen 705 time 0 coding 1: v3 1 oi 200002341:14:0 1x1048576 off 0 <p1> 3=340000401:e87:0 room 0\n"
		"2 10 100000-ffffffffffffffff gen 0 time 0 coding 0: v3 1 oi 200002341:14:0 2x4194304 off 0 <p1> 2=300000401:706:0 3=340000401:e88:0 room 0\n" },
	{ "oversame", "lustre.lov", "plain\n"
		"v1 201 oi 200002341:16:0 2x65536 off ffff <> 5=3c0000401:725:0 5=3c0000401:726:0 room 0\n" },
	{ "oversame", "ioctl", "plain\n"
		"v1 201 oi 200002341:16:0 2x65536 off 0 <> 5=3c0000401:725:0 5=3c0000401:726:0 room 0\n" },
	{ "flrdom", "lustre.lov", "composite gen 5 flags 2 mirrors 1 tail 0\n"
		"10001 10 0-10000 gen 0 time 0 coding 0: v1 100 oi 0:0:0 0x65536 off ffff <> room 0\n"
		"10002 10 10000-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 0:0:0 1x4194304 off ffff <> 2=300000401:707:0 room 0\n"
		"20003 11 0-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 0:0:0 1x4194304 off ffff <> 1=2c0000400:706:0 room 0\n" },
	{ "flrdom", "ioctl", "composite gen 5 flags 2 mirrors 1 tail 0\n"
		"10001 10 0-10000 gen 726 time 0 coding 5: v1 100 oi 200002341:17:0 0x65536 off 0 <> room 0\n"
		"10002 10 10000-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 200002341:17:0 1x4194304 off 0 <> 2=300000401:707:0 room 0\n"
		"20003 11 0-ffffffffffffffff gen 40003170 time e8400000003 coding 0: v1 1 oi 200002341:17:0 1x4194304 off 0 <> 1=2c0000400:706:0 room 0\n" },
	{ "fgn", "lustre.lov", "foreign 0 da08 blob\n" },
	{ "fgn", "ioctl", "foreign 0 da08 blob\n" },
	{ "six", "lustre.lov", "plain\n"
		"v1 1 oi 200002341:1a:0 6x65536 off ffff <> 5=3c0000401:727:0 0=280000401:fa5:0 3=340000401:e89:0 1=2c0000400:707:0 4=380000401:726:0 2=300000401:708:0 room 0\n" },
	{ "six", "ioctl", "plain\n"
		"v1 1 oi 200002341:1a:0 6x65536 off 0 <> 5=3c0000401:727:0 0=280000401:fa5:0 3=340000401:e89:0 1=2c0000400:707:0 4=380000401:726:0 2=300000401:708:0 room 0\n" },
	{ "relc", "lustre.lov", "composite gen 4 flags 0 mirrors 0 tail 72\n"
		"1 10 0-100000 gen 0 time 0 coding 0: v1 80000001 oi 0:0:0 1x1048576 off ffff <> room 0\n"
		"2 10 100000-ffffffffffffffff gen 0 time 0 coding 0: v1 80000001 oi 0:0:0 2x4194304 off ffff <> room 0\n" },
	{ "relc", "ioctl", "composite gen 4 flags 0 mirrors 0 tail 0\n"
		"1 10 0-100000 gen 0 time 0 coding 0: v1 80000001 oi 200002341:1c:0 1x1048576 off 0 <> room 24\n"
		"2 10 100000-ffffffffffffffff gen 0 time 0 coding 0: v1 80000001 oi 200002341:1c:0 2x4194304 off 0 <> room 48\n" },
	/* clang-format on */
};
#define N_EXPECTATIONS (sizeof(expectations) / sizeof(expectations[0]))

struct vector {
	char name[32];
	char form[16];
	uint8_t *
		bytes; /* of an allocation that ends with them, so that a read past the end is seen */
	size_t len;
};

#define VECTORS_MAX 64
struct vectors {
	struct vector v[VECTORS_MAX];
	size_t n;
};

static void vectors_fini(struct vectors *vectors)
{
	for (size_t i = 0; i < vectors->n; i++) {
		free(vectors->v[i].bytes);
	}
}

static uint8_t *hex_bytes(const char *hex, size_t *ret_len)
{
	ck_assert(strncmp(hex, "0x", 2) == 0);
	size_t len = strlen(hex) / 2 - 1;
	uint8_t *bytes = dr_xcalloc(1, len);
	for (size_t i = 0; i < len; i++) {
		const char pair[] = { hex[2 + 2 * i], hex[3 + 2 * i], 0 };
		char *end = NULL;
		bytes[i] = (uint8_t)strtoul(pair, &end, 16);
		ck_assert_ptr_eq(end, pair + 2);
	}
	*ret_len = len;
	return bytes;
}

static void load_file(struct vectors *vectors, const char *name)
{
	int folder dr_cleanup(dr_fd_closep) =
		open(DR_TEST_DATA, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dr_buf file dr_cleanup(dr_buf_fini) = { 0 };
	ck_assert_int_eq(dr_read_file(folder, name, 1 << 20, &file), 0);
	char *state = NULL;
	for (char *line = strtok_r(dr_buf_cstr(&file), "\n", &state); line;
		line = strtok_r(NULL, "\n", &state)) {
		char *fields = NULL;
		const char *file_name = strtok_r(line, "\t", &fields);
		const char *form = strtok_r(NULL, "\t", &fields);
		const char *hex = strtok_r(NULL, "\t", &fields);
		if (line[0] == '#' ||
			(strcmp(form, "lustre.lov") != 0 && strcmp(form, "ioctl") != 0)) {
			continue;
		}
		ck_assert_uint_lt(vectors->n, VECTORS_MAX);
		struct vector *v = &vectors->v[vectors->n++];
		(void)snprintf(v->name, sizeof(v->name), "%s", file_name);
		(void)snprintf(v->form, sizeof(v->form), "%s", form);
		v->bytes = hex_bytes(hex, &v->len);
	}
}

static struct vectors load(void)
{
	struct vectors vectors = { 0 };
	load_file(&vectors, "xattrs.tsv");
	load_file(&vectors, "ioctl.tsv");
	ck_assert_uint_eq(vectors.n, N_EXPECTATIONS);
	return vectors;
}

/* The vector of that name, among the values of lustre.lov in xattrs.tsv. */
static const struct vector *find(const struct vectors *vectors, const char *name)
{
	for (size_t i = 0; i < vectors->n; i++) {
		if (strcmp(vectors->v[i].name, name) == 0) {
			return &vectors->v[i];
		}
	}
	ck_abort_msg("no vector %s", name);
}

static void dump_fid(const struct dr_fid *fid, struct dr_buf *out)
{
	dr_buf_printf(out, "%" PRIx64 ":%x:%x", fid->seq, fid->oid, fid->ver);
}

static void dump_component(const struct dr_layout_comp *comp, bool plain, struct dr_buf *out)
{
	if (plain) {
		ck_assert_uint_eq(comp->id, 0);
		ck_assert_uint_eq(comp->flags, DR_COMP_INIT);
		ck_assert_uint_eq(comp->start, 0);
		ck_assert_uint_eq(comp->end, DR_EOF);
	} else {
		dr_buf_printf(out,
			"%x %x %" PRIx64 "-%" PRIx64 " gen %x time %" PRIx64 " coding %x: ",
			comp->id, comp->flags, comp->start, comp->end, comp->layout_gen,
			comp->timestamp, comp->coding[0]);
	}
	dr_buf_printf(out, "v%x %x oi ", comp->magic >> 16 & 0xf, comp->pattern);
	dump_fid(&comp->oi, out);
	dr_buf_printf(out, " %ux%u off %x <%s>", comp->stripe_count, comp->stripe_size,
		comp->stripe_offset, comp->pool);
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		dr_buf_printf(out, " %u=", comp->objects[i].ost);
		dump_fid(&comp->objects[i].fid, out);
		ck_assert_uint_eq(comp->objects[i].gen, 0);
	}
	dr_buf_printf(out, " room %u\n", comp->room_bytes);
}

static void dump(const struct dr_layout *layout, struct dr_buf *out)
{
	bool plain = layout->kind == DR_LAYOUT_PLAIN;
	if (layout->kind == DR_LAYOUT_FOREIGN) {
		ck_assert_uint_eq(layout->n_comps, 0);
		dr_buf_printf(out, "foreign %x %x %.*s\n", layout->foreign_type,
			layout->foreign_flags, (int)layout->foreign_len,
			(const char *)layout->foreign_value);
		return;
	}
	if (plain) {
		ck_assert_uint_eq(layout->n_comps, 1);
		dr_buf_put_str(out, "plain\n");
	} else {
		dr_buf_printf(out, "composite gen %u flags %x mirrors %u tail %u\n", layout->gen,
			layout->flags, layout->mirror_count, layout->tail_bytes);
	}
	for (uint32_t i = 0; i < layout->n_comps; i++) {
		dump_component(&layout->comps[i], plain, out);
	}
}

static struct dr_layout *decode(const void *bytes, size_t len)
{
	struct dr_layout *layout = NULL;
	ck_assert_int_eq(dr_layout_decode(bytes, len, &layout), 0);
	ck_assert_ptr_nonnull(layout);
	return layout;
}

START_TEST(decode__reads_every_vector)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	for (size_t i = 0; i < vectors.n; i++) {
		const struct vector *v = &vectors.v[i];
		struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
		struct dr_layout *layout dr_cleanup(dr_layout_freep) = decode(v->bytes, v->len);
		dump(layout, &text);
		ck_assert_str_eq(v->name, expectations[i].name);
		ck_assert_str_eq(v->form, expectations[i].form);
		dr_unit_text(&text, expectations[i].text);
	}
}
END_TEST

/* The bytes with what Lustre leaves undefined made zero, found without the decoder. */
static void make_canonical(struct vector *v)
{
	uint32_t magic;
	memcpy(&magic, v->bytes, 4);
	if (magic != DR_LOV_MAGIC_COMP_V1) {
		return; /* the plain vectors have no garbage */
	}
	memset(v->bytes + 19, 0, 13);
	for (uint16_t i = 0; i < v->bytes[14]; i++) {
		uint32_t offset;
		memcpy(&offset, v->bytes + 32 + (size_t)48 * i + 24, 4);
		memcpy(&magic, v->bytes + offset, 4);
		if (magic == DR_LOV_MAGIC_V3) {
			char *pool = (char *)v->bytes + offset + 32;
			size_t len = strnlen(pool, 16);
			memset(pool + len, 0, 16 - len);
		}
	}
}

START_TEST(encode__gives_every_vector_back)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	for (size_t i = 0; i < vectors.n; i++) {
		struct vector *v = &vectors.v[i];
		struct dr_layout *layout dr_cleanup(dr_layout_freep) = decode(v->bytes, v->len);
		struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
		dr_buf_put_str(&out, "kept");
		dr_layout_encode(layout, &out);
		if (strcmp(v->form, "ioctl") == 0) {
			make_canonical(v);
		}
		ck_assert_uint_eq(out.len, 4 + v->len);
		ck_assert_mem_eq(out.data, "kept", 4);
		ck_assert_msg(
			memcmp(out.data + 4, v->bytes, v->len) == 0, "%s %s", v->name, v->form);
	}
}
END_TEST

static bool is_on_set(const struct dr_rangeset *set, const struct dr_layout_comp *comp)
{
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		if (dr_rangeset_has(set, comp->objects[i].ost)) {
			return true;
		}
	}
	return false;
}

/* What look must say, from what decode said. */
static uint32_t expected_flags(const struct dr_layout *layout, const struct dr_rangeset *set)
{
	uint32_t flags = layout->kind == DR_LAYOUT_FOREIGN ? DR_LAYOUT_IS_FOREIGN : 0;
	flags |= layout->mirror_count ? DR_LAYOUT_MIRRORED : 0;
	for (uint32_t i = 0; i < layout->n_comps; i++) {
		const struct dr_layout_comp *comp = &layout->comps[i];
		bool ready = comp->flags & DR_COMP_INIT;
		flags |= comp->pattern & DR_PATTERN_F_RELEASED ? DR_LAYOUT_RELEASED : 0;
		flags |= comp->pattern & DR_PATTERN_MDT ? DR_LAYOUT_HAS_DOM : 0;
		flags |= ready && comp->n_objects ? DR_LAYOUT_HAS_OBJECTS : 0;
		if (is_on_set(set, comp)) {
			flags |= ready ? DR_LAYOUT_ON_SET : DR_LAYOUT_PINNED;
		}
	}
	return flags;
}

/* decode and look agree on these bytes, and decode, encode, decode is stable. @return decode's result */
static int check_agreement(const void *bytes, size_t len, const struct dr_rangeset *set)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	struct dr_layout_look look = { .flags = 0xabcd };
	int r = dr_layout_decode(bytes, len, &layout);
	ck_assert_int_eq(dr_layout_look(bytes, len, set, &look), r);
	if (r < 0) {
		ck_assert_ptr_null(layout);
		ck_assert_uint_eq(look.flags, 0xabcd);
		return r;
	}
	ck_assert_uint_eq(look.flags, expected_flags(layout, set));
	struct dr_fid zero = { 0 };
	ck_assert(dr_fid_equal(&look.fid, layout->n_comps ? &layout->comps[0].oi : &zero));

	struct dr_buf first dr_cleanup(dr_buf_fini) = { 0 }, second dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_encode(layout, &first);
	ck_assert_uint_le(first.len, len);
	struct dr_layout *again dr_cleanup(dr_layout_freep) = decode(first.data, first.len);
	dr_layout_encode(again, &second);
	ck_assert_uint_eq(first.len, second.len);
	ck_assert(memcmp(first.data, second.data, first.len) == 0);
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_describe(layout, &text);
	ck_assert_uint_gt(text.len, 0);
	return r;
}

static uint32_t look_flags(const struct vector *v, const char *osts)
{
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = { 0 };
	struct dr_layout_look look;
	ck_assert_int_eq(dr_rangeset_parse(osts, &set), 0);
	ck_assert_int_eq(dr_layout_look(v->bytes, v->len, &set, &look), 0);
	return look.flags;
}

START_TEST(look__answers_for_every_kind_of_file)
{
	static const struct {
		const char *name, *osts;
		uint32_t flags;
	} cases[] = {
		{ "plain0", "0", DR_LAYOUT_ON_SET | DR_LAYOUT_HAS_OBJECTS },
		{ "plain0", "1-65535", DR_LAYOUT_HAS_OBJECTS },
		{ "plain2", "2", DR_LAYOUT_ON_SET | DR_LAYOUT_HAS_OBJECTS },
		{ "plain2", "0,3", DR_LAYOUT_HAS_OBJECTS },
		{ "pfl", "5", DR_LAYOUT_ON_SET | DR_LAYOUT_HAS_OBJECTS },
		{ "pfl", "0-2", DR_LAYOUT_HAS_OBJECTS },
		{ "flr", "2", DR_LAYOUT_ON_SET | DR_LAYOUT_HAS_OBJECTS | DR_LAYOUT_MIRRORED },
		{ "flr", "0", DR_LAYOUT_HAS_OBJECTS | DR_LAYOUT_MIRRORED },
		{ "flrdom", "1",
			DR_LAYOUT_ON_SET | DR_LAYOUT_HAS_OBJECTS | DR_LAYOUT_MIRRORED |
				DR_LAYOUT_HAS_DOM },
		{ "dom", "0-65535", DR_LAYOUT_HAS_DOM },
		{ "h1", "0-65535", DR_LAYOUT_RELEASED },
		{ "relc", "0-65535", DR_LAYOUT_RELEASED },
		{ "fgn", "0-65535", DR_LAYOUT_IS_FOREIGN },
		{ "d", "0-65535", 0 },
		{ "sel", "5", DR_LAYOUT_ON_SET | DR_LAYOUT_HAS_OBJECTS },
		{ "pp", "3", DR_LAYOUT_ON_SET | DR_LAYOUT_HAS_OBJECTS },
	};
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t flags = look_flags(find(&vectors, cases[i].name), cases[i].osts);
		ck_assert_msg(flags == cases[i].flags, "%s on %s: 0x%x", cases[i].name,
			cases[i].osts, flags);
	}
}
END_TEST

START_TEST(look__gives_the_fid_and_takes_no_set)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	const struct vector *v = find(&vectors, "plain0");
	struct dr_layout_look look;
	char text[DR_FID_TEXT_SIZE];
	ck_assert_int_eq(dr_layout_look(v->bytes, v->len, NULL, &look), 0);
	ck_assert_uint_eq(look.flags, DR_LAYOUT_HAS_OBJECTS);
	ck_assert_str_eq(dr_fid_format(&look.fid, text), "0x200000402:0x4:0x0");
}
END_TEST

/* Whatever stands in the object area of a released file, it names no OST. */
START_TEST(decode__takes_no_objects_from_a_released_file)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	const struct vector *v = find(&vectors, "h1");
	memset(v->bytes + 32, 0x01, 24);
	ck_assert_uint_eq(look_flags(v, "0-65535"), DR_LAYOUT_RELEASED);
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = decode(v->bytes, v->len);
	ck_assert_uint_eq(layout->comps[0].n_objects, 0);
	ck_assert_uint_eq(layout->comps[0].room_bytes, 24);
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	static const uint8_t zeros[24];
	dr_layout_encode(layout, &out);
	ck_assert_uint_eq(out.len, v->len);
	ck_assert_mem_eq(out.data, v->bytes, 32);
	ck_assert_mem_eq(out.data + 32, zeros, 24);
}
END_TEST

/* Every prefix, in memory that ends with it. */
START_TEST(decode__refuses_what_is_torn)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = { 0 };
	ck_assert_int_eq(dr_rangeset_parse("0-2", &set), 0);
	for (size_t i = 0; i < vectors.n; i++) {
		const struct vector *v = &vectors.v[i];
		uint32_t magic;
		memcpy(&magic, v->bytes, 4);
		bool plain = magic == DR_LOV_MAGIC_V1 || magic == DR_LOV_MAGIC_V3;
		size_t header = magic == DR_LOV_MAGIC_V1 ? 32 : 48;
		for (size_t len = 0; len < v->len; len++) {
			uint8_t *prefix dr_cleanup(dr_freep) = malloc(len ? len : 1);
			ck_assert_ptr_nonnull(prefix);
			memcpy(prefix, v->bytes, len);
			int r = check_agreement(prefix, len, &set);
			/* A plain header alone is a template; a released file needs no object area. */
			bool whole =
				plain && (len == header || (len > header && (v->bytes[7] & 0x80)));
			ck_assert_msg(r == (whole ? 0 : -EINVAL), "%s: %zu of %zu bytes: %d",
				v->name, len, v->len, r);
		}
		ck_assert_int_eq(check_agreement(v->bytes, v->len, &set), 0);
	}
}
END_TEST

START_TEST(decode__survives_any_damage)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = { 0 };
	ck_assert_int_eq(dr_rangeset_parse("0-2,500-9000", &set), 0);
	uint64_t state = 20261122;
	size_t good = 0, bad = 0;
	for (int round = 0; round < 4000; round++) {
		for (size_t i = 0; i < vectors.n; i++) {
			const struct vector *v = &vectors.v[i];
			uint8_t *bytes dr_cleanup(dr_freep) = dr_xmemdup(v->bytes, v->len);
			uint64_t flips = 1 + dr_unit_random(&state) % 4;
			while (flips--) {
				uint64_t at = dr_unit_random(&state) % (v->len * 8);
				bytes[at / 8] ^= (uint8_t)(1u << at % 8);
			}
			size_t len = v->len;
			if (dr_unit_random(&state) % 8 == 0) {
				len -= dr_unit_random(&state) % len;
			}
			int r = check_agreement(bytes, len, &set);
			ck_assert(r == 0 || r == -EINVAL);
			good += r == 0;
			bad += r < 0;
		}
	}
	ck_assert_uint_gt(good, 1000);
	ck_assert_uint_gt(bad, 1000);
}
END_TEST

/* Bytes of a composite with two components of one object each, V1, INIT. */
static struct dr_buf two_components(void)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) =
		dr_layout_new(DR_LAYOUT_COMPOSITE, 2);
	for (uint32_t i = 0; i < 2; i++) {
		struct dr_layout_comp *comp = &layout->comps[i];
		comp->id = i + 1;
		comp->flags = DR_COMP_INIT;
		comp->pattern = DR_PATTERN_RAID0;
		comp->stripe_size = 1 << 20;
		comp->stripe_count = 1;
		comp->start = i ? 1 << 20 : 0;
		comp->end = i ? DR_EOF : 1 << 20;
		dr_layout_set_objects(layout, i, 1);
		comp->objects[0] =
			(struct dr_layout_object){ .fid = { 5, 6, 7 }, .gen = 8, .ost = i };
	}
	struct dr_buf out = { 0 };
	dr_layout_encode(layout, &out);
	ck_assert_uint_eq(out.len, 32 + 2 * 48 + 2 * 56);
	return out;
}

static void check_patched(size_t at, uint64_t value, size_t width, int expected)
{
	struct dr_buf buf dr_cleanup(dr_buf_fini) = two_components();
	struct dr_rangeset set = { 0 };
	ck_assert_int_eq(check_agreement(buf.data, buf.len, &set), 0);
	memcpy(buf.data + at, &value, width);
	int r = check_agreement(buf.data, buf.len, &set);
	ck_assert_msg(r == expected, "%zu bytes at %zu: %d", width, at, r);
}

START_TEST(decode__refuses_a_composite_that_does_not_fit_together)
{
	const size_t first = 32, second = 80;
	check_patched(0, 0x0bd90bd0, 4, -EINVAL); /* an unknown magic */
	check_patched(0, DR_LOV_MAGIC_SEL, 4, 0);
	check_patched(4, 240 + 1, 4, -EINVAL);              /* longer than the value */
	check_patched(4, 240 - 1, 4, -EINVAL);              /* the last component leaves it */
	check_patched(4, 31, 4, -EINVAL);                   /* shorter than its header */
	check_patched(14, 0, 2, -EINVAL);                   /* no component */
	check_patched(14, 3, 2, -EINVAL);                   /* an entry where a component lies */
	check_patched(14, 0xffff, 2, -EINVAL);              /* more entries than bytes */
	check_patched(first + 24, 127, 4, -EINVAL);         /* a component on the entries */
	check_patched(second + 24, 128 + 55, 4, -EINVAL);   /* components that overlap */
	check_patched(second + 24, 0xffffffff, 4, -EINVAL); /* far outside */
	check_patched(second + 28, 57, 4, -EINVAL);
	check_patched(second + 28, 0xffffffff, 4, -EINVAL);
	check_patched(second + 28, 55, 4, -EINVAL); /* no room for its object */
	check_patched(second + 28, 31, 4, -EINVAL); /* no room for its header */
	check_patched(second + 8, 0, 8, 0);
	check_patched(second + 16, 0, 8, -EINVAL); /* ends before it starts */
	check_patched(128, DR_LOV_MAGIC_FOREIGN, 4, -EINVAL);
	check_patched(128, DR_LOV_MAGIC_COMP_V1, 4, -EINVAL);
	check_patched(128, DR_LOV_MAGIC_V3, 4, -EINVAL); /* 8 bytes after the pool are no object */
	check_patched(128 + 28, 2, 2, -EINVAL);          /* two stripes, one object */
	check_patched(128 + 28, 0xffff, 2, -EINVAL);
	check_patched(first + 4, 0, 4, 0); /* not initialised: nothing is there to check */
}
END_TEST

START_TEST(decode__refuses_what_is_too_long)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	const struct vector *v = find(&vectors, "h1");
	uint8_t *bytes dr_cleanup(dr_freep) = dr_xcalloc(1, DR_LAYOUT_MAX + 1);
	struct dr_rangeset set = { 0 };
	memcpy(bytes, v->bytes, v->len);
	ck_assert_int_eq(check_agreement(bytes, DR_LAYOUT_MAX, &set), 0);
	ck_assert_int_eq(check_agreement(bytes, DR_LAYOUT_MAX + 1, &set), -E2BIG);
}
END_TEST

START_TEST(decode__knows_pinned_components)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) =
		dr_layout_new(DR_LAYOUT_COMPOSITE, 2);
	layout->comps[0].flags = DR_COMP_INIT;
	layout->comps[0].pattern = DR_PATTERN_MDT;
	layout->comps[0].end = layout->comps[1].start = 65536;
	layout->comps[1].magic = DR_LOV_MAGIC_SPECIFIC;
	layout->comps[1].pattern = DR_PATTERN_RAID0;
	layout->comps[1].stripe_count = 2;
	dr_layout_set_objects(layout, 1, 2);
	layout->comps[1].objects[0].ost = 4;
	layout->comps[1].objects[1].ost = 1;
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 }, text dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_encode(layout, &out);

	struct vector v = { .bytes = out.data, .len = out.len };
	ck_assert_uint_eq(look_flags(&v, "1"), DR_LAYOUT_PINNED | DR_LAYOUT_HAS_DOM);
	ck_assert_uint_eq(look_flags(&v, "0,2,3"), DR_LAYOUT_HAS_DOM);
	struct dr_layout *back dr_cleanup(dr_layout_freep) = decode(out.data, out.len);
	ck_assert_uint_eq(back->comps[1].n_objects, 2);
	ck_assert_uint_eq(back->comps[1].objects[0].ost, 4);
	dr_layout_describe(back, &text);
	dr_unit_text(&text, "pfl 2 comps [dom|(4,1)]");

	/* The same with another magic, or without room for the list, is just not initialised. */
	memcpy(out.data + out.len - 96, "\xd0\x0b\xd3\x0b", 4);
	ck_assert_uint_eq(look_flags(&v, "1"), DR_LAYOUT_HAS_DOM);
	memcpy(out.data + out.len - 96, "\xd0\x0b\xd5\x0b", 4);
	out.data[out.len - 96 + 28] = 3;
	ck_assert_uint_eq(look_flags(&v, "1"), DR_LAYOUT_HAS_DOM);
}
END_TEST

START_TEST(decode__cuts_a_pool_at_its_first_nul)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	const struct vector *v = find(&vectors, "pp");
	memcpy(v->bytes + 32, "ab\0garbage\0\0xyz!", 16);
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = decode(v->bytes, v->len);
	ck_assert_str_eq(layout->comps[0].pool, "ab");
	memset(v->bytes + 32, 'p', 16);
	struct dr_layout *other dr_cleanup(dr_layout_freep) = decode(v->bytes, v->len);
	ck_assert_str_eq(other->comps[0].pool, "ppppppppppppppp");
}
END_TEST

START_TEST(encode__keeps_every_field)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) =
		dr_layout_new(DR_LAYOUT_COMPOSITE, 1);
	layout->magic = DR_LOV_MAGIC_SEL;
	layout->gen = 0x01020304;
	layout->flags = 0x0506;
	layout->mirror_count = 0x0708;
	layout->ec_count = 0x09;
	layout->tail_bytes = 3;
	layout->comps[0] = (struct dr_layout_comp){
		.id = 0x11121314,
		.flags = DR_COMP_INIT | DR_COMP_STALE,
		.start = 0x1516171819,
		.end = 0x2021222324,
		.timestamp = 0x2526272829,
		.layout_gen = 0x30313233,
		.coding = { 1, 2, 3, 4 },
		.magic = DR_LOV_MAGIC_V3,
		.pattern = DR_PATTERN_RAID0 | DR_PATTERN_F_HOLE,
		.oi = { .seq = 0x3435363738, .oid = 0x39404142, .ver = 0x43444546 },
		.stripe_size = 0x50515253,
		.stripe_count = 1,
		.stripe_offset = 0x5455,
		.pool = "fifteen_bytes_p",
	};
	dr_layout_set_objects(layout, 0, 1);
	layout->comps[0].room_bytes = 5;
	layout->comps[0].objects[0] = (struct dr_layout_object){
		.fid = { .seq = 0x6061626364, .oid = 0x65666768, .ver = 0x69707172 },
		.gen = 0x73747576,
		.ost = 0x77787980,
	};
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_encode(layout, &out);
	struct dr_layout *back dr_cleanup(dr_layout_freep) = decode(out.data, out.len);
	ck_assert_int_eq(back->kind, DR_LAYOUT_COMPOSITE);
	ck_assert_uint_eq(back->magic, layout->magic);
	ck_assert_uint_eq(back->gen, layout->gen);
	ck_assert_uint_eq(back->flags, layout->flags);
	ck_assert_uint_eq(back->mirror_count, layout->mirror_count);
	ck_assert_uint_eq(back->ec_count, layout->ec_count);
	ck_assert_uint_eq(back->tail_bytes, layout->tail_bytes);
	const struct dr_layout_comp *comp = &back->comps[0];
	ck_assert_mem_eq(comp->objects, layout->comps[0].objects, sizeof(*comp->objects));
	struct dr_buf a dr_cleanup(dr_buf_fini) = { 0 }, b dr_cleanup(dr_buf_fini) = { 0 };
	ck_assert_mem_eq(comp->coding, layout->comps[0].coding, sizeof(comp->coding));
	ck_assert(dr_fid_equal(&comp->oi, &layout->comps[0].oi));
	layout->comps[0].objects[0].gen = back->comps[0].objects[0].gen = 0; /* as dump wants it */
	dump(layout, &a);
	dump(back, &b);
	ck_assert_str_eq(dr_buf_cstr(&a), dr_buf_cstr(&b));
}
END_TEST

START_TEST(encode__zeroes_the_objects_of_what_becomes_released)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	const struct vector *v = find(&vectors, "plain2");
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = decode(v->bytes, v->len);
	layout->comps[0].pattern |= DR_PATTERN_F_RELEASED;
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_encode(layout, &out);
	static const uint8_t zeros[48];
	ck_assert_uint_eq(out.len, 32 + 48);
	ck_assert_mem_eq(out.data + 32, zeros, 48);
}
END_TEST

START_TEST(copy__shares_nothing)
{
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	for (size_t i = 0; i < vectors.n; i++) {
		const struct vector *v = &vectors.v[i];
		struct dr_layout *layout = decode(v->bytes, v->len);
		struct dr_layout *copy dr_cleanup(dr_layout_freep) = dr_layout_copy(layout);
		struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
		for (uint32_t c = 0; c < layout->n_comps; c++) {
			dr_layout_set_objects(layout, c, 1);
			layout->comps[c].objects[0].ost = 77;
		}
		dr_layout_free(layout);
		dump(copy, &text);
		dr_unit_text(&text, expectations[i].text);
	}
	dr_layout_free(NULL);
}
END_TEST

START_TEST(describe__is_one_short_line)
{
	static const struct {
		const char *name, *text;
	} cases[] = {
		{ "plain0", "raid0 1x4M [0]" },
		{ "plain2", "raid0 2x1M [1,2]" },
		{ "pfl", "pfl 3 comps [3|4,5|-]" },
		{ "flr", "flr 2 mirrors 2 comps [1|2]" },
		{ "flrdom", "flr 2 mirrors 3 comps [dom|2|1 stale]" },
		{ "dom", "pfl 2 comps [dom|-]" },
		{ "h1", "raid0 1x4M [released]" },
		{ "ov8", "overstriped 8x4M [0,1,2,3,4,5,0,1]" },
		{ "pp", "raid0 1x4M pool p1 [3]" },
		{ "d", "raid0 3x0 [-]" },
		{ "fgn", "foreign type 0x0 4 bytes" },
	};
	struct vectors vectors dr_cleanup(vectors_fini) = load();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct vector *v = find(&vectors, cases[i].name);
		struct dr_layout *layout dr_cleanup(dr_layout_freep) = decode(v->bytes, v->len);
		struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
		dr_layout_describe(layout, &text);
		dr_unit_text(&text, cases[i].text);
	}
}
END_TEST

static void check_map(const struct dr_layout_comp *comp, uint32_t n, uint64_t off, uint32_t stripe,
	uint64_t object_off, uint64_t run)
{
	uint32_t got_stripe = 99;
	uint64_t got_off = 99, got_run = 99;
	dr_layout_map(comp, n, off, &got_stripe, &got_off, &got_run);
	ck_assert_uint_eq(got_stripe, stripe);
	ck_assert_uint_eq(got_off, object_off);
	ck_assert_uint_eq(got_run, run);
}

START_TEST(map__goes_round_the_stripes_by_file_offset)
{
	struct dr_layout_comp comp = { .stripe_size = 65536, .start = 0, .end = DR_EOF };
	check_map(&comp, 3, 0, 0, 0, 65536);
	check_map(&comp, 3, 65535, 0, 65535, 1);
	check_map(&comp, 3, 65536, 1, 0, 65536);
	check_map(&comp, 3, 3 * 65536 + 10, 0, 65546, 65526);
	check_map(&comp, 1, 70000, 0, 70000, DR_EOF - 70000);
	/* A later component starts on the stripe that the file's offset says, behind a hole. */
	comp.start = 1 << 20;
	comp.end = (1 << 20) + 65536 + 100;
	check_map(&comp, 3, 1 << 20, 1, 5ul * 65536, 65536);
	check_map(&comp, 3, (1 << 20) + 65536, 2, 5ul * 65536, 100);
	check_map(&comp, 1, 1 << 20, 0, 1 << 20, 65536 + 100);
}
END_TEST

/* object_size against every byte of small files, placed by map. */
START_TEST(object_size__is_what_map_reaches)
{
	for (uint32_t n = 1; n <= 4; n++) {
		for (uint64_t start = 0; start <= 40; start += 5) {
			struct dr_layout_comp comp = {
				.stripe_size = 8, .start = start, .end = 90
			};
			uint64_t expected[4] = { 0 };
			for (uint64_t size = 0; size <= 100; size++) {
				if (size > start && size <= comp.end) {
					uint32_t stripe = 0;
					uint64_t off = 0, run = 0;
					dr_layout_map(&comp, n, size - 1, &stripe, &off, &run);
					expected[stripe] = off + 1;
				}
				for (uint32_t s = 0; s < n; s++) {
					ck_assert_uint_eq(dr_layout_object_size(&comp, n, s, size),
						expected[s]);
				}
			}
		}
	}
	struct dr_layout_comp comp = { .stripe_size = 65536, .end = DR_EOF };
	ck_assert_uint_eq(dr_layout_object_size(&comp, 1, 0, INT64_MAX), INT64_MAX);
}
END_TEST

static struct dr_layout *vector_layout(
	const struct vectors *vectors, const char *name, const char *form)
{
	for (size_t i = 0; i < vectors->n; i++) {
		const struct vector *v = &vectors->v[i];
		if (strcmp(v->name, name) == 0 && strcmp(v->form, form) == 0) {
			return decode(v->bytes, v->len);
		}
	}
	ck_abort_msg("no vector %s %s", name, form);
	return NULL;
}

START_TEST(mirror__alone_is_a_plain_composite)
{
	struct vectors vectors = load();
	struct dr_layout *layout dr_cleanup(dr_layout_freep) =
		vector_layout(&vectors, "flrdom", "ioctl");
	struct dr_layout *first dr_cleanup(dr_layout_freep) = dr_layout_mirror(layout, 1);
	struct dr_layout *second dr_cleanup(dr_layout_freep) = dr_layout_mirror(layout, 2);
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dump(first, &text);
	dr_unit_text(&text,
		"composite gen 0 flags 0 mirrors 0 tail 0\n"
		"0 10 0-10000 gen 0 time 0 coding 5: v1 100 oi 200002341:17:0 0x65536 off 0 <> room 0\n"
		"0 10 10000-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 200002341:17:0 1x4194304 off 0 <> 2=300000401:707:0 room 0\n");
	dr_buf_clear(&text);
	dump(second, &text); /* stale no more */
	dr_unit_text(&text,
		"composite gen 0 flags 0 mirrors 0 tail 0\n"
		"0 10 0-ffffffffffffffff gen 0 time 0 coding 0: v1 1 oi 200002341:17:0 1x4194304 off 0 <> 1=2c0000400:706:0 room 0\n");
	/* It can be stored, and shares nothing. */
	dr_buf_clear(&text);
	dr_layout_encode(second, &text);
	struct dr_layout *back dr_cleanup(dr_layout_freep) = decode(text.data, text.len);
	ck_assert_uint_eq(back->n_comps, 1);
	ck_assert_ptr_ne(second->comps[0].objects, layout->comps[2].objects);
	vectors_fini(&vectors);
}
END_TEST

START_TEST(mirror__that_a_layout_does_not_have_is_null)
{
	struct vectors vectors = load();
	struct dr_layout *flr dr_cleanup(dr_layout_freep) =
		vector_layout(&vectors, "flr", "lustre.lov");
	struct dr_layout *plain dr_cleanup(dr_layout_freep) =
		vector_layout(&vectors, "plain2", "lustre.lov");
	struct dr_layout *foreign dr_cleanup(dr_layout_freep) =
		vector_layout(&vectors, "fgn", "lustre.lov");
	ck_assert_ptr_null(dr_layout_mirror(flr, 0));
	ck_assert_ptr_null(dr_layout_mirror(flr, 3));
	ck_assert_ptr_null(dr_layout_mirror(plain, 0));
	ck_assert_ptr_null(dr_layout_mirror(foreign, 0));
	vectors_fini(&vectors);
}
END_TEST

static uint32_t next_mirror(const struct dr_layout *layout, const char *osts)
{
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = { 0 };
	ck_assert_int_eq(dr_rangeset_parse(osts, &set), 0);
	return dr_layout_next_mirror_on(layout, &set);
}

START_TEST(next_mirror__is_the_first_with_an_object_on_the_set)
{
	struct vectors vectors = load();
	struct dr_layout *flr dr_cleanup(dr_layout_freep) =
		vector_layout(&vectors, "flrdom", "lustre.lov");
	struct dr_layout *pfl dr_cleanup(dr_layout_freep) =
		vector_layout(&vectors, "pfl", "lustre.lov");
	ck_assert_uint_eq(next_mirror(flr, "0-5"), 1);
	ck_assert_uint_eq(next_mirror(flr, "2"), 1);
	ck_assert_uint_eq(next_mirror(flr, "1"), 2); /* stale, and on it all the same */
	ck_assert_uint_eq(next_mirror(flr, "0,3-5"), 0);
	/* A component that only names OSTs has no objects there. */
	flr->comps[1].flags &= ~DR_COMP_INIT;
	ck_assert_uint_eq(next_mirror(flr, "2"), 0);
	ck_assert_uint_eq(next_mirror(flr, "1-2"), 2);
	ck_assert_uint_eq(next_mirror(pfl, "0-5"), 0);
	/* The last mirror that is left of several keeps its number, and is no mirror any more. */
	flr->mirror_count = 0;
	ck_assert_uint_eq(next_mirror(flr, "1"), 0);
	vectors_fini(&vectors);
}
END_TEST

DR_UNIT_MAIN("layout", decode__reads_every_vector, encode__gives_every_vector_back,
	look__answers_for_every_kind_of_file, look__gives_the_fid_and_takes_no_set,
	decode__takes_no_objects_from_a_released_file, decode__refuses_what_is_torn,
	decode__survives_any_damage, decode__refuses_a_composite_that_does_not_fit_together,
	decode__refuses_what_is_too_long, decode__knows_pinned_components,
	decode__cuts_a_pool_at_its_first_nul, encode__keeps_every_field,
	encode__zeroes_the_objects_of_what_becomes_released, copy__shares_nothing,
	describe__is_one_short_line, map__goes_round_the_stripes_by_file_offset,
	object_size__is_what_map_reaches, mirror__alone_is_a_plain_composite,
	mirror__that_a_layout_does_not_have_is_null,
	next_mirror__is_the_first_with_an_object_on_the_set)
