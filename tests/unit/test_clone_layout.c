/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/tree_lustre.h"
#include "work/clone_layout.h"

#include <fcntl.h>
#include <stdio.h>

#include "unit.h"

static struct dr_clone_layouts *rules(const char *text)
{
	struct dr_clone_layouts *layouts = NULL;
	char *message = NULL;
	int r = dr_clone_layouts_new(text, text ? strlen(text) : 0, &layouts, &message);
	ck_assert_msg(r == 0, "%s", message);
	return layouts;
}

/* What a file of that size gets, as text; "" the default. */
static void gets(const struct dr_clone_layouts *layouts, uint64_t size, const char *expected)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 }, text dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	ck_assert_int_eq(dr_clone_layout_for(layouts, -1, size, &bytes), 0);
	if (bytes.len > 0) {
		ck_assert_int_eq(dr_layout_decode(bytes.data, bytes.len, &layout), 0);
		ck_assert_uint_eq(layout->comps[0].n_objects, 0);
		ck_assert_uint_eq(layout->comps[0].stripe_offset, UINT16_MAX);
		dr_layout_describe(layout, &text);
	}
	dr_unit_text(&text, expected);
}

START_TEST(rules__first_size_that_is_not_smaller)
{
	struct dr_clone_layouts *layouts = rules("# by size\n"
						 "\n"
						 "64K -c 1 -S 64K\t# small ones\n"
						 "  1G -S1M -c4 -p flash\r\n"
						 "512M -c 9\n"
						 "- -c -1");
	gets(layouts, 0, "raid0 1x64K [-]");
	gets(layouts, 65536, "raid0 1x64K [-]");
	gets(layouts, 65537, "raid0 4x1M pool flash [-]");
	gets(layouts, 1u << 30, "raid0 4x1M pool flash [-]");
	gets(layouts, (1u << 30) + 1, "raid0 allx0 [-]");
	gets(layouts, UINT64_MAX, "raid0 allx0 [-]");
	dr_clone_layouts_free(layouts);
}
END_TEST

START_TEST(rules__no_rule_is_the_default)
{
	struct dr_clone_layouts *layouts = rules("64K -c 2\n");
	gets(layouts, 65537, "");
	gets(NULL, 1, "");
	dr_clone_layouts_free(layouts);
	layouts = rules("");
	gets(layouts, 1, "");
	dr_clone_layouts_free(layouts);
}
END_TEST

START_TEST(rules__say_the_line_that_is_wrong)
{
	static const struct {
		const char *text, *message;
	} wrong[] = {
		{ "- -c 1\nbig -c 1", "2: a rule begins with a size" },
		{ "\n\n64K\n", "3: a rule has options" },
		{ "- -c", "1: -c takes" },
		{ "- -c 0", "1: -c takes" },
		{ "- -c 2001", "1: -c takes" },
		{ "- -c -2", "1: -c takes" },
		{ "- -S 100", "1: -S takes" },
		{ "- -S 0", "1: -S takes" },
		{ "- -S 4G", "1: -S takes" },
		{ "- -p", "1: -p takes" },
		{ "- -p sixteen-bytes-xx", "1: -p takes" },
		{ "- -p a/b", "1: -p takes" },
		{ "- -E 1M", "1: only the options" },
		{ "- 4", "1: only the options" },
		{ "- -", "1: only the options" },
		{ "- 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "1: too many words" },
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct dr_clone_layouts *layouts = NULL;
		char *message dr_cleanup(dr_freep) = NULL;
		ck_assert_int_eq(dr_clone_layouts_new(
					 wrong[i].text, strlen(wrong[i].text), &layouts, &message),
			-EINVAL);
		ck_assert_ptr_null(layouts);
		ck_assert_msg(strncmp(message, wrong[i].message, strlen(wrong[i].message)) == 0,
			"%s: %s", wrong[i].text, message);
	}
	struct dr_clone_layouts *layouts = NULL;
	char *message dr_cleanup(dr_freep) = NULL;
	ck_assert_int_eq(dr_clone_layouts_new("- -c\0 1", 7, &layouts, &message), -EINVAL);
	ck_assert_str_eq(message, "1: a NUL byte");
}
END_TEST

/* A PFL file as it lies on its OSTs: one component with objects, one in a pool without. */
static struct dr_layout *pfl(void)
{
	struct dr_layout *layout = dr_layout_new(DR_LAYOUT_COMPOSITE, 2);
	layout->gen = 7;
	layout->tail_bytes = 8;
	for (uint32_t c = 0; c < 2; c++) {
		struct dr_layout_comp *comp = &layout->comps[c];
		comp->id = c + 1;
		comp->timestamp = 99;
		comp->layout_gen = 3;
		comp->pattern = DR_PATTERN_RAID0;
		comp->oi = (struct dr_fid){ 1, 2, 0 };
		comp->stripe_size = (c + 1) << 20;
		comp->stripe_count = (uint16_t)(c + 2);
	}
	layout->comps[0].end = layout->comps[1].start = 1u << 20;
	layout->comps[0].flags = DR_COMP_INIT | DR_COMP_PREFER_READ;
	dr_layout_set_objects(layout, 0, 2);
	layout->comps[0].objects[1].ost = 5;
	memcpy(layout->comps[1].pool, "flash", 5);
	layout->comps[1].magic = DR_LOV_MAGIC_V3;
	return layout;
}

static void keeps(const struct dr_layout *layout, const char *expected)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 }, kept dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *made dr_cleanup(dr_layout_freep) = NULL;
	dr_layout_encode(layout, &bytes);
	ck_assert_int_eq(dr_clone_layout_keep(bytes.data, bytes.len, &kept), 0);
	if (kept.len > 0) {
		ck_assert_int_eq(dr_layout_decode(kept.data, kept.len, &made), 0);
		for (uint32_t c = 0; c < made->n_comps; c++) {
			const struct dr_layout_comp *comp = &made->comps[c];
			ck_assert_uint_eq(comp->id, 0);
			ck_assert_uint_eq(comp->timestamp, 0);
			ck_assert_uint_eq(comp->layout_gen, 0);
			ck_assert(dr_fid_is_zero(&comp->oi));
			ck_assert_uint_eq(comp->n_objects + comp->room_bytes, 0);
			ck_assert_uint_eq(comp->stripe_offset, UINT16_MAX);
			dr_buf_printf(&text, "%s%d-%d %ux%u %s", c ? ", " : "",
				(int)(comp->start >> 20),
				comp->end == DR_EOF ? -1 : (int)(comp->end >> 20),
				comp->stripe_count, comp->stripe_size >> 20, comp->pool);
		}
		ck_assert_uint_eq(made->gen + made->mirror_count + made->tail_bytes, 0);
	}
	dr_unit_text(&text, expected);
}

START_TEST(keep__is_components_and_pools_without_objects)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = pfl();
	keeps(layout, "0-1 2x1 , 1--1 3x2 flash");
	struct dr_layout *plain dr_cleanup(dr_layout_freep) = dr_layout_new(DR_LAYOUT_PLAIN, 1);
	plain->comps[0].pattern = DR_PATTERN_RAID0;
	plain->comps[0].stripe_size = 4u << 20;
	plain->comps[0].stripe_count = 3;
	plain->comps[0].stripe_offset = 2;
	dr_layout_set_objects(plain, 0, 3);
	keeps(plain, "0--1 3x4 ");
}
END_TEST

START_TEST(keep__of_mirrors_is_one_that_is_not_stale)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = pfl();
	layout->mirror_count = 1;
	layout->flags = DR_LCM_RDONLY;
	layout->comps[0].id = 1u << 16 | 1;
	layout->comps[0].end = DR_EOF;
	layout->comps[0].flags |= DR_COMP_STALE;
	layout->comps[1].id = 2u << 16 | 2;
	layout->comps[1].start = 0;
	keeps(layout, "0--1 3x2 flash");
	layout->comps[0].flags = DR_COMP_INIT;
	keeps(layout, "0--1 2x1 ");

	struct dr_layout *all dr_cleanup(dr_layout_freep) = dr_layout_template(layout, true);
	ck_assert_uint_eq(all->mirror_count, 1);
	ck_assert_uint_eq(all->n_comps, 2);
}
END_TEST

START_TEST(keep__of_released_and_foreign_files_is_the_default)
{
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = pfl();
	layout->comps[1].pattern |= DR_PATTERN_F_RELEASED;
	keeps(layout, "");
	struct dr_layout foreign = { .kind = DR_LAYOUT_FOREIGN,
		.foreign_value = (uint8_t *)(uintptr_t) "x",
		.foreign_len = 1 };
	keeps(&foreign, "");
	ck_assert_int_eq(dr_clone_layout_keep("torn", 4, &out), 0);
	ck_assert_uint_eq(out.len, 0);
}
END_TEST

START_TEST(elsewhere__layouts_mean_nothing)
{
	struct dr_clone_layouts *keep = rules(NULL);
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = pfl();
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_encode(layout, &bytes);
	const char *tmp = getenv("TMPDIR");
	char folder[4096], name[32];
	(void)snprintf(folder, sizeof(folder), "%s", tmp ? tmp : "/tmp");
	(void)snprintf(name, sizeof(name), "drover-layout.%d", (int)getpid());
	int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(dr_tree_create(dir, name, 0640, bytes.data, bytes.len), -EOPNOTSUPP);
	int fd = dr_tree_create(dir, name, 0640, NULL, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dr_tree_create(dir, name, 0640, NULL, 0), -EEXIST);
	ck_assert(!dr_tree_is_released(fd));
	ck_assert_int_eq(dr_tree_layout(fd, &out), -EOPNOTSUPP);
	ck_assert_int_eq(dr_tree_layout(dir, &out), -EOPNOTSUPP);
	ck_assert_int_eq(dr_tree_set_default(dir, NULL, 0), -EOPNOTSUPP);
	ck_assert_int_eq(dr_clone_layout_for(keep, fd, 1, &out), 0);
	ck_assert_uint_eq(out.len, 0);
	ck_assert_int_eq(unlinkat(dir, name, 0), 0);
	ck_assert_int_eq(dr_tree_mkdir(dir, name, 0700, 0), -EOPNOTSUPP);
	ck_assert_int_eq(dr_tree_mkdir(dir, "..", 0700, 0), -EINVAL);
	ck_assert_int_eq(dr_tree_mkdir(dir, name, 0700, -1), 0);
	ck_assert_int_eq(dr_tree_mkdir(dir, name, 0700, -1), -EEXIST);
	ck_assert_int_eq(unlinkat(dir, name, AT_REMOVEDIR), 0);
	(void)close(fd);
	(void)close(dir);
	dr_clone_layouts_free(keep);
}
END_TEST

DR_UNIT_MAIN("clone_layout", rules__first_size_that_is_not_smaller, rules__no_rule_is_the_default,
	rules__say_the_line_that_is_wrong, keep__is_components_and_pools_without_objects,
	keep__of_mirrors_is_one_that_is_not_stale,
	keep__of_released_and_foreign_files_is_the_default, elsewhere__layouts_mean_nothing)
