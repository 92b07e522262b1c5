/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/keys.h"

#include "top.h"

static const struct dr_live_group some[] = {
	{ "a", "ARCHIVE", "STARTED", 5, 100, 0 },
	{ "b\xc3\xa4", "RESTORE", "WAITING", 50, 90, 7 },
};

static struct top_model ready(void)
{
	struct top_model model;

	top_model_init(&model);
	take(&model, 1, some, 2);
	return model;
}

static void type(struct top_model *model, const char *text)
{
	for (; *text; text++) {
		ck_assert_int_eq(top_press(model, (unsigned char)*text, 10, 100), TOP_EFFECT_DRAW);
	}
}

START_TEST(keys__quit_and_do_nothing)
{
	struct top_model model = ready();

	ck_assert_int_eq(top_press(&model, 'q', 10, 100), TOP_EFFECT_QUIT);
	ck_assert_int_eq(top_press(&model, 3, 10, 100), TOP_EFFECT_QUIT);
	ck_assert_int_eq(top_press(&model, 'x', 10, 100), TOP_EFFECT_NONE);
	ck_assert_int_eq(top_press(&model, 0, 10, 100), TOP_EFFECT_NONE);
	ck_assert_int_eq(top_press(&model, 0x10ffff, 10, 100), TOP_EFFECT_NONE);
	ck_assert_int_eq(top_press(&model, 12, 10, 100), TOP_EFFECT_REDRAW);
	top_model_fini(&model);
}
END_TEST

START_TEST(keys__change_pages_and_come_back)
{
	struct top_model model = ready();

	type(&model, "h");
	ck_assert_int_eq(model.page, TOP_PAGE_HELP);
	type(&model, "l");
	ck_assert_int_eq(model.page, TOP_PAGE_STALLED);
	type(&model, "l");
	ck_assert_int_eq(model.page, TOP_PAGE_TABLE);
	type(&model, "?");
	type(&model, "\x1b");
	ck_assert_int_eq(model.page, TOP_PAGE_TABLE);
	top_model_fini(&model);
}
END_TEST

START_TEST(keys__pause_and_look_when_it_goes_on)
{
	struct top_model model = ready();

	ck_assert_int_eq(top_press(&model, ' ', 10, 100), TOP_EFFECT_DRAW);
	ck_assert(model.is_paused);
	ck_assert_int_eq(top_press(&model, 'p', 10, 100), TOP_EFFECT_LOOK);
	ck_assert(!model.is_paused);
	top_model_fini(&model);
}
END_TEST

START_TEST(keys__sort_at_once)
{
	struct top_model model = ready();

	type(&model, "C");
	ck_assert_int_eq(model.sort, TOP_BY_COUNT);
	ck_assert_uint_eq(model.rows[0].count, 50);
	type(&model, "r");
	ck_assert_uint_eq(model.rows[0].count, 5);
	type(&model, "L>");
	ck_assert_int_eq(model.sort, TOP_BY_MDT);
	type(&model, "<");
	ck_assert_int_eq(model.sort, TOP_BY_STALLED);
	type(&model, "O");
	ck_assert_int_eq(model.sort, TOP_BY_OLDEST);
	type(&model, "hD");
	ck_assert_int_eq(model.page, TOP_PAGE_TABLE);
	top_model_fini(&model);
}
END_TEST

START_TEST(keys__filter_by_what_is_typed)
{
	struct top_model model = ready();

	type(&model, "aq");
	ck_assert(model.is_asking);
	ck_assert_uint_eq(model.n_rows, 2); /* not before it is entered */
	type(&model, "\x7frest\n");
	ck_assert(!model.is_asking);
	ck_assert_str_eq(model.filters[TOP_FILTER_ACTION], "rest");
	ck_assert_str_eq(rows_of(&model), "b\xc3\xa4 RESTORE WAITING 50 0\n");
	/* It is there to be edited; Escape leaves it. */
	type(&model, "a");
	ck_assert_str_eq(model.answer, "rest");
	type(&model, "\x15xyz\x1b");
	ck_assert_str_eq(model.filters[TOP_FILTER_ACTION], "rest");
	/* An empty one is none. */
	type(&model, "a\x15\n");
	ck_assert_uint_eq(model.n_rows, 2);
	type(&model, "sstart\n");
	ck_assert_uint_eq(model.n_rows, 1);
	type(&model, "c");
	ck_assert_uint_eq(model.n_rows, 2);
	top_model_fini(&model);
}
END_TEST

START_TEST(keys__take_characters_of_all_sizes_and_no_more_than_fit)
{
	struct top_model model = ready();

	type(&model, "m");
	(void)top_press(&model, 0xe4, 10, 100);
	(void)top_press(&model, 0x4e2d, 10, 100);
	(void)top_press(&model, 0x1f600, 10, 100);
	(void)top_press(&model, 0x9b, 10, 100); /* a control character */
	(void)top_press(&model, TOP_KEY_UP, 10, 100);
	ck_assert_str_eq(model.answer, "\xc3\xa4\xe4\xb8\xad\xf0\x9f\x98\x80");
	(void)top_press(&model, TOP_KEY_BACKSPACE, 10, 100);
	ck_assert_str_eq(model.answer, "\xc3\xa4\xe4\xb8\xad");
	(void)top_press(&model, TOP_KEY_BACKSPACE, 10, 100);
	ck_assert_str_eq(model.answer, "\xc3\xa4");
	(void)top_press(&model, TOP_KEY_ENTER, 10, 100);
	ck_assert_uint_eq(model.n_rows, 1);
	type(&model, "m");
	for (int i = 0; i < 200; i++) {
		(void)top_press(&model, 0x4e2d, 10, 100);
	}
	ck_assert_uint_eq(strlen(model.answer), 62); /* 2 + 20 times 3 */
	for (int i = 0; i < 200; i++) {
		(void)top_press(&model, TOP_KEY_BACKSPACE, 10, 100);
	}
	ck_assert_str_eq(model.answer, "");
	top_model_fini(&model);
}
END_TEST

START_TEST(keys__scroll_within_the_list)
{
	struct top_model model = ready();
	size_t *at = &model.scroll[TOP_PAGE_TABLE];

	(void)top_press(&model, TOP_KEY_UP, 10, 25);
	ck_assert_uint_eq(*at, 0);
	(void)top_press(&model, TOP_KEY_DOWN, 10, 25);
	ck_assert_uint_eq(*at, 1);
	(void)top_press(&model, TOP_KEY_PAGE_DOWN, 10, 25);
	ck_assert_uint_eq(*at, 11);
	(void)top_press(&model, TOP_KEY_PAGE_DOWN, 10, 25);
	ck_assert_uint_eq(*at, 15);
	(void)top_press(&model, TOP_KEY_UP, 10, 12); /* it became shorter */
	ck_assert_uint_eq(*at, 1);
	(void)top_press(&model, TOP_KEY_END, 10, 25);
	ck_assert_uint_eq(*at, 15);
	(void)top_press(&model, TOP_KEY_PAGE_UP, 10, 25);
	ck_assert_uint_eq(*at, 5);
	(void)top_press(&model, TOP_KEY_HOME, 10, 25);
	ck_assert_uint_eq(*at, 0);
	(void)top_press(&model, TOP_KEY_END, 0, 0);
	(void)top_press(&model, TOP_KEY_PAGE_DOWN, 30, 25);
	ck_assert_uint_eq(*at, 0);
	top_model_fini(&model);
}
END_TEST

START_TEST(keys__change_the_interval_by_round_steps)
{
	struct top_model model = ready();

	model.interval_ms = 3000;
	type(&model, "+");
	ck_assert_uint_eq(model.interval_ms, 5000);
	type(&model, "--");
	ck_assert_uint_eq(model.interval_ms, 1000);
	for (int i = 0; i < 20; i++) {
		type(&model, "-");
	}
	ck_assert_uint_eq(model.interval_ms, 250);
	for (int i = 0; i < 20; i++) {
		type(&model, "+");
	}
	ck_assert_uint_eq(model.interval_ms, 60000);
	top_model_fini(&model);
}
END_TEST

DR_UNIT_MAIN("top_keys", keys__quit_and_do_nothing, keys__change_pages_and_come_back,
	keys__pause_and_look_when_it_goes_on, keys__sort_at_once, keys__filter_by_what_is_typed,
	keys__take_characters_of_all_sizes_and_no_more_than_fit, keys__scroll_within_the_list,
	keys__change_the_interval_by_round_steps)
