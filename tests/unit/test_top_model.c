/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "top.h"

static const struct dr_live_group some[] = {
	{ "a", "ARCHIVE", "STARTED", 5, 100, 0 },
	{ "a", "RESTORE", "WAITING", 50, 90, 7 },
	{ "b", "ARCHIVE", "WAITING", 20, 95, 1 },
};

START_TEST(model__shows_no_difference_to_history)
{
	struct top_model model;
	struct top_look replaying = look_at(1, some, 1);

	top_model_init(&model);
	replaying.is_replayed = false;
	top_model_take(&model, &replaying);
	ck_assert_str_eq(rows_of(&model), "a ARCHIVE STARTED 5 0\n");
	take(&model, 2, some, 3);
	ck_assert_str_eq(rows_of(&model),
		"a ARCHIVE STARTED 5 0\na RESTORE WAITING 50 0\nb ARCHIVE WAITING 20 0\n");
	top_model_fini(&model);
}
END_TEST

START_TEST(model__tells_differences_to_the_look_before)
{
	static const struct dr_live_group later[] = {
		{ "a", "ARCHIVE", "STARTED", 7, 100, 0 },
		{ "a", "ARCHIVE", "WAITING", 2, 100, 0 },
		{ "b", "ARCHIVE", "WAITING", 19, 95, 1 },
	};
	struct top_model model;

	top_model_init(&model);
	take(&model, 1, NULL, 0);
	take(&model, 2, some, 3);
	ck_assert_str_eq(rows_of(&model),
		"a ARCHIVE STARTED 5 5\na RESTORE WAITING 50 50\nb ARCHIVE WAITING 20 20\n");
	take(&model, 3, later, 3);
	ck_assert_str_eq(rows_of(&model),
		"a ARCHIVE STARTED 7 2\na ARCHIVE WAITING 2 2\na RESTORE WAITING 0 -50\nb ARCHIVE WAITING 19 -1\n");
	take(&model, 4, later, 3);
	ck_assert_str_eq(rows_of(&model),
		"a ARCHIVE STARTED 7 0\na ARCHIVE WAITING 2 0\nb ARCHIVE WAITING 19 0\n");
	take(&model, 5, NULL, 0);
	ck_assert_uint_eq(model.n_rows, 3);
	take(&model, 6, NULL, 0);
	ck_assert_uint_eq(model.n_rows, 0);
	top_model_fini(&model);
}
END_TEST

START_TEST(model__sorts_by_every_column)
{
	static const char *const first[TOP_N_SORTS] = {
		[TOP_BY_MDT] = "a ARCHIVE STARTED",
		[TOP_BY_ACTION] = "a ARCHIVE STARTED",
		[TOP_BY_STATUS] = "a ARCHIVE STARTED",
		[TOP_BY_COUNT] = "a RESTORE WAITING",
		[TOP_BY_DIFF] = "b ARCHIVE WAITING",
		[TOP_BY_OLDEST] = "a RESTORE WAITING",
		[TOP_BY_STALLED] = "a RESTORE WAITING",
	};
	static const char *const last[TOP_N_SORTS] = {
		[TOP_BY_MDT] = "b ARCHIVE WAITING",
		[TOP_BY_ACTION] = "a RESTORE WAITING",
		[TOP_BY_STATUS] = "a RESTORE WAITING", /* equal ones stay in the order of names */
		[TOP_BY_COUNT] = "a ARCHIVE STARTED",
		[TOP_BY_DIFF] = "a ARCHIVE STARTED",
		[TOP_BY_OLDEST] = "a ARCHIVE STARTED",
		[TOP_BY_STALLED] = "a ARCHIVE STARTED",
	};
	struct dr_live_group before[3];
	struct top_model model;

	memcpy(before, some, sizeof(before));
	before[2].count = 60;
	before[1].count = 49;
	top_model_init(&model);
	take(&model, 1, before, 3);
	take(&model, 2, some, 3);
	for (unsigned sort = 0; sort < TOP_N_SORTS; sort++) {
		model.sort = (enum top_sort)sort;
		model.is_reversed = false;
		top_model_arrange(&model);
		ck_assert_msg(strncmp(rows_of(&model), first[sort], strlen(first[sort])) == 0,
			"%u: %s", sort, rows_of(&model));
		model.is_reversed = true;
		top_model_arrange(&model);
		ck_assert_msg(strncmp(rows_of(&model), last[sort], strlen(last[sort])) == 0,
			"%u: %s", sort, rows_of(&model));
	}
	top_model_fini(&model);
}
END_TEST

START_TEST(model__filters_rows_and_stalled_actions)
{
	struct top_model model;
	struct top_look look = look_at(1, some, 3);

	top_model_init(&model);
	look.stalled = dr_xcalloc(2, sizeof(*look.stalled));
	look.n_stalled = 2;
	look.stalled[0] = (struct dr_live_action){
		.mdt = "a", .action = "RESTORE", .status = "WAITING", .rec = 1
	};
	look.stalled[1] = (struct dr_live_action){
		.mdt = "b", .action = "ARCHIVE", .status = "WAITING", .rec = 2
	};
	top_model_take(&model, &look);
	ck_assert_uint_eq(model.n_stalled, 2);
	strcpy(model.filters[TOP_FILTER_ACTION], "arch");
	strcpy(model.filters[TOP_FILTER_STATUS], "wait");
	top_model_arrange(&model);
	ck_assert_str_eq(rows_of(&model), "b ARCHIVE WAITING 20 0\n");
	ck_assert_uint_eq(model.n_all_rows, 3);
	ck_assert_uint_eq(model.n_stalled, 1);
	ck_assert_uint_eq(model.stalled[0].rec, 2);
	top_model_fini(&model);
}
END_TEST

START_TEST(model__tells_rates_over_the_last_minute)
{
	struct top_model model;

	top_model_init(&model);
	for (unsigned second = 0; second <= 200; second++) {
		struct top_look look = look_at(second, NULL, 0);

		/* 1,000,000 of history; then 10 a second, and from second 100 on 4 a second. */
		look.totals.begun =
			second < 100 ? 1000000 + second * 10 : 1001000 + (second - 100) * 4;
		look.totals.failed = second;
		look.is_replayed = second > 0;
		top_model_take(&model, &look);
		if (second < 2) {
			ck_assert(!model.rates.is_known);
		} else if (second < 100) {
			ck_assert_double_eq_tol(model.rates.begun, 10, 0.001);
			ck_assert_uint_eq(model.rates.seconds, second - 1 < 60 ? second - 1 : 60);
		}
	}
	ck_assert_double_eq_tol(model.rates.begun, 4, 0.001);
	ck_assert_double_eq_tol(model.rates.failed, 1, 0.001);
	ck_assert_double_eq_tol(model.rates.succeeded, 0, 0.001);
	top_model_fini(&model);
}
END_TEST

START_TEST(model__tells_rates_between_looks_that_are_minutes_apart)
{
	struct top_model model;

	top_model_init(&model);
	for (unsigned i = 0; i < 5; i++) {
		struct top_look look = look_at(i * 300, NULL, 0);

		look.totals.begun = i * 600;
		top_model_take(&model, &look);
	}
	ck_assert(model.rates.is_known);
	ck_assert_double_eq_tol(model.rates.begun, 2, 0.001);
	top_model_fini(&model);
}
END_TEST

DR_UNIT_MAIN("top_model", model__shows_no_difference_to_history,
	model__tells_differences_to_the_look_before, model__sorts_by_every_column,
	model__filters_rows_and_stalled_actions, model__tells_rates_over_the_last_minute,
	model__tells_rates_between_looks_that_are_minutes_apart)
