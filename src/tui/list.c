/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/list.h"

#include "base/text.h"

#include <stdio.h>

#define CELL 128      /* bytes of a number's or a date's text */
#define GAP 2         /* columns between two */
#define LEAST_NAME 11 /* columns of a name, before other columns are left out */
#define LEAST_FID 24  /* likewise of a FID */
#define MAX_COLUMNS 7

/* The text of a line in a column, which may be lent from the model or be put into text. */
typedef const char *text_fn(const struct top_model *model, size_t line, char text[CELL]);

struct column {
	const char *title;
	text_fn *text;
	enum top_fit fit;
	int sort;       /* enum top_sort; -1: none */
	unsigned rank;  /* 0: it stays; the highest goes first */
	unsigned least; /* columns, so that it seldom becomes wider while one looks */
};

/* --- the groups --- */

static const char *row_mdt(const struct top_model *model, size_t line, char text[CELL])
{
	(void)text;
	return model->rows[line].mdt;
}

static const char *row_action(const struct top_model *model, size_t line, char text[CELL])
{
	(void)text;
	return model->rows[line].action;
}

static const char *row_status(const struct top_model *model, size_t line, char text[CELL])
{
	(void)text;
	return model->rows[line].status;
}

static const char *row_count(const struct top_model *model, size_t line, char text[CELL])
{
	return dr_text_count(text, CELL, model->rows[line].count);
}

const char *top_list_diff(char *text, size_t size, int64_t diff)
{
	char number[32];
	uint64_t n = diff < 0 ? 0 - (uint64_t)diff : (uint64_t)diff;

	text[0] = 0;
	if (diff) {
		(void)snprintf(text, size, "(%c%s)", diff < 0 ? '-' : '+',
			dr_text_count(number, sizeof(number), n));
	}
	return text;
}

static const char *row_diff(const struct top_model *model, size_t line, char text[CELL])
{
	return top_list_diff(text, CELL, model->rows[line].diff);
}

static const char *row_oldest(const struct top_model *model, size_t line, char text[CELL])
{
	int64_t oldest_s = model->rows[line].oldest_s;

	return oldest_s ? dr_text_duration(text, CELL, top_model_age(model, oldest_s)) : "";
}

static const char *row_stalled(const struct top_model *model, size_t line, char text[CELL])
{
	uint64_t stalled = model->rows[line].stalled;

	return stalled ? dr_text_count(text, CELL, stalled) : "";
}

static const struct column row_columns[] = {
	{ "MDT", row_mdt, TOP_MIDDLE, TOP_BY_MDT, 0, 0 },
	{ "ACTION", row_action, TOP_LEFT, TOP_BY_ACTION, 0, 0 },
	{ "STATUS", row_status, TOP_LEFT, TOP_BY_STATUS, 0, 7 },
	{ "COUNT", row_count, TOP_RIGHT, TOP_BY_COUNT, 0, 7 },
	{ "DIFF", row_diff, TOP_LEFT, TOP_BY_DIFF, 1, 8 },
	{ "OLDEST", row_oldest, TOP_RIGHT, TOP_BY_OLDEST, 2, 10 },
	{ "STALLED", row_stalled, TOP_RIGHT, TOP_BY_STALLED, 3, 0 },
};

/* --- the stalled ones --- */

static const char *stalled_unchanged(const struct top_model *model, size_t line, char text[CELL])
{
	return dr_text_duration(text, CELL, top_model_age(model, model->stalled[line].changed_s));
}

static const char *stalled_age(const struct top_model *model, size_t line, char text[CELL])
{
	return dr_text_duration(text, CELL, top_model_age(model, model->stalled[line].first_s));
}

static const char *stalled_mdt(const struct top_model *model, size_t line, char text[CELL])
{
	(void)text;
	return model->stalled[line].mdt;
}

static const char *stalled_action(const struct top_model *model, size_t line, char text[CELL])
{
	(void)text;
	return model->stalled[line].action;
}

static const char *stalled_status(const struct top_model *model, size_t line, char text[CELL])
{
	(void)text;
	return model->stalled[line].status;
}

static const char *stalled_index(const struct top_model *model, size_t line, char text[CELL])
{
	(void)snprintf(text, CELL, "%llu/%llu", (unsigned long long)model->stalled[line].cat,
		(unsigned long long)model->stalled[line].rec);
	return text;
}

static const char *stalled_fid(const struct top_model *model, size_t line, char text[CELL])
{
	(void)text;
	return model->stalled[line].fid;
}

static const struct column stalled_columns[] = {
	{ "UNCHANGED", stalled_unchanged, TOP_RIGHT, -1, 0, 0 },
	{ "AGE", stalled_age, TOP_RIGHT, -1, 3, 0 },
	{ "MDT", stalled_mdt, TOP_MIDDLE, -1, 0, 0 },
	{ "ACTION", stalled_action, TOP_LEFT, -1, 1, 0 },
	{ "STATUS", stalled_status, TOP_LEFT, -1, 2, 7 },
	{ "FID", stalled_fid, TOP_LEFT, -1, 0, 0 },
	{ "INDEX", stalled_index, TOP_LEFT, -1, 4, 0 },
};
_Static_assert(sizeof(row_columns) / sizeof(row_columns[0]) == MAX_COLUMNS, "");
_Static_assert(sizeof(stalled_columns) / sizeof(stalled_columns[0]) == MAX_COLUMNS, "");

/* --- both --- */

/* What is to be drawn where. */
struct plan {
	const struct column *columns;
	unsigned width[MAX_COLUMNS]; /* 0: left out */
};

static unsigned plan_width(const struct plan *plan)
{
	unsigned all = 1;

	for (size_t i = 0; i < MAX_COLUMNS; i++) {
		all += plan->width[i] ? plan->width[i] + GAP : 0;
	}
	return all - GAP;
}

/* The most needed of those that may go is the last to. */
static bool leave_one_out(struct plan *plan)
{
	size_t least = 0;

	for (size_t i = 0; i < MAX_COLUMNS; i++) {
		if (plan->width[i] && plan->columns[i].rank > plan->columns[least].rank) {
			least = i;
		}
	}
	if (!plan->columns[least].rank) {
		return false;
	}
	plan->width[least] = 0;
	return true;
}

/* Makes the columns of names narrower, down to the least, until all fits. */
static void squeeze(struct plan *plan, unsigned w, unsigned least, unsigned least_fid)
{
	unsigned all = plan_width(plan);

	while (all > w) {
		size_t widest = MAX_COLUMNS;

		for (size_t i = 0; i < MAX_COLUMNS; i++) {
			bool is_fid = plan->columns[i].text == stalled_fid;

			if (plan->columns[i].fit != TOP_RIGHT &&
				plan->width[i] > (is_fid ? least_fid : least) &&
				(widest == MAX_COLUMNS || plan->width[i] > plan->width[widest])) {
				widest = i;
			}
		}
		if (widest == MAX_COLUMNS) {
			return;
		}
		plan->width[widest]--;
		all--;
	}
}

/* All lines count, not only those shown, or columns would jump while one scrolls. */
static void measure(const struct top_model *model, const struct top_grid *grid, struct plan *plan)
{
	size_t lines = top_model_lines(model);
	char text[CELL];

	for (size_t i = 0; i < MAX_COLUMNS; i++) {
		const struct column *column = &plan->columns[i];
		unsigned most = (unsigned)strlen(column->title) + (column->sort >= 0);

		most = column->least > most ? column->least : most;
		for (size_t line = 0; line < lines; line++) {
			unsigned width =
				top_text_width(column->text(model, line, text), grid->utf8);

			most = width > most ? width : most;
		}
		plan->width[i] = most;
	}
}

static struct plan plan_of(const struct top_model *model, const struct top_grid *grid)
{
	unsigned fair = grid->w / 4 > LEAST_NAME ? grid->w / 4 : LEAST_NAME;
	struct plan plan = { .columns = model->page == TOP_PAGE_STALLED ? stalled_columns
									: row_columns };
	struct plan narrow;

	measure(model, grid, &plan);
	/* Columns go when all is too wide although long names lost what is over a fair share. */
	for (;;) {
		narrow = plan;
		squeeze(&narrow, grid->w, fair, LEAST_FID);
		if (plan_width(&narrow) <= grid->w || !leave_one_out(&plan)) {
			break;
		}
	}
	squeeze(&narrow, grid->w, 1, 1);
	return narrow;
}

static unsigned row_attr(const struct top_row *row)
{
	if (strcmp(row->status, "FAILED") == 0) {
		return TOP_RED;
	}
	if (strcmp(row->status, "SUCCEED") == 0) {
		return TOP_GREEN;
	}
	return strcmp(row->status, "CANCELED") == 0 ? TOP_YELLOW : TOP_PLAIN;
}

static unsigned attr_of(const struct top_model *model, const struct column *column, size_t line)
{
	const struct top_row *row;

	if (model->page == TOP_PAGE_STALLED) {
		return TOP_PLAIN;
	}
	row = &model->rows[line];
	if (column->text == row_status) {
		return row_attr(row);
	}
	if (column->text == row_diff) {
		return TOP_BOLD;
	}
	if (column->text == row_stalled) {
		return TOP_YELLOW;
	}
	return row->count ? TOP_PLAIN : TOP_DIM;
}

static void draw_titles(
	const struct top_model *model, struct top_grid *grid, const struct plan *plan, unsigned y)
{
	unsigned x = 1;

	for (size_t i = 0; i < MAX_COLUMNS; i++) {
		const struct column *column = &plan->columns[i];
		bool is_sorted = column->sort >= 0 && (unsigned)column->sort == model->sort;
		char text[CELL];

		if (!plan->width[i]) {
			continue;
		}
		/* Names go up from A, numbers down from the largest. */
		bool goes_up = (column->fit != TOP_RIGHT && column->text != row_diff) !=
			       model->is_reversed;

		(void)snprintf(text, CELL, "%s%s", column->title,
			!is_sorted   ? ""
			: grid->utf8 ? (goes_up ? "\u2191" : "\u2193")
				     : (goes_up ? "^" : "v"));
		top_grid_put(grid, x, y, plan->width[i],
			column->fit == TOP_RIGHT ? TOP_RIGHT : TOP_LEFT,
			is_sorted ? TOP_BOLD : TOP_PLAIN, text);
		x += plan->width[i] + GAP;
	}
	top_grid_paint(grid, 0, y, grid->w, TOP_REVERSE);
}

void top_list_draw(const struct top_model *model, struct top_grid *grid, int y, unsigned first,
	unsigned n, size_t from)
{
	struct plan plan = plan_of(model, grid);
	size_t lines = top_model_lines(model);
	char text[CELL];

	if (y >= 0) {
		draw_titles(model, grid, &plan, (unsigned)y);
	}
	for (unsigned row = 0; row < n && from + row < lines; row++) {
		size_t line = from + row;
		unsigned x = 1;

		for (size_t i = 0; i < MAX_COLUMNS; i++) {
			const struct column *column = &plan.columns[i];

			if (plan.width[i]) {
				top_grid_put(grid, x, first + row, plan.width[i], column->fit,
					attr_of(model, column, line),
					column->text(model, line, text));
				x += plan.width[i] + GAP;
			}
		}
	}
}
