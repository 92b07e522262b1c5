/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/frame.h"

#include "base/text.h"
#include "tui/head.h"
#include "tui/list.h"

/* Where things are; a row that is left out is -1. */
struct layout {
	int title, server, status, counts, ages, rates, columns, footer;
	unsigned first, n; /* rows of the list */
};

static struct layout layout_of(unsigned h)
{
	struct layout at = { -1, -1, -1, -1, -1, -1, -1, -1, 0, 0 };
	int y = 0;

	at.title = y++;
	at.server = h >= 6 ? y++ : -1;
	at.status = h >= 11 ? y++ : -1;
	at.counts = h >= 5 ? y++ : -1;
	at.rates = h >= 9 ? y++ : -1;
	at.ages = h >= 13 ? y++ : -1;
	y += h >= 30; /* a blank one */
	at.columns = h >= 4 ? y++ : -1;
	at.footer = h >= 7 ? (int)h - 1 : -1;
	at.first = (unsigned)y;
	at.n = h > at.first ? h - at.first - (at.footer >= 0) : 0;
	return at;
}

static const char *const help[] = {
	"q            quit",
	"h ?          this help, and back",
	"l Tab        the list of stalled actions, and back",
	"p space      pause: the screen stays as it is; and go on",
	"+ -          longer and shorter time between two looks",
	"m a s        filter by a part of the MDT's, action's or status' name",
	"c            clear all filters",
	"< >          sort by the column to the left or right",
	"M A S        sort by MDT, action, status",
	"C D          sort by count, difference",
	"O L          sort by oldest, stalled",
	"r            reverse the order",
	"arrows       scroll, also Page Up, Page Down, Home, End",
	"Ctrl-L       draw the screen again",
	"",
	"DIFF is the change since the look before. OLDEST is how long ago the oldest",
	"action of the row began. STALLED counts those that are waiting or started,",
	"and whose line in the MDT's list has not changed for long (--stalled).",
};
#define N_HELP (sizeof(help) / sizeof(help[0]))

size_t top_frame_lines(const struct top_model *model)
{
	return model->page == TOP_PAGE_HELP ? N_HELP : top_model_lines(model);
}

size_t top_frame_page(const struct top_model *model, unsigned h)
{
	(void)model;
	return layout_of(h).n;
}

static void draw_list(const struct top_model *model, struct top_grid *grid, const struct layout *at)
{
	size_t lines = top_frame_lines(model);
	size_t end = lines > at->n ? lines - at->n : 0;
	size_t from = model->scroll[model->page] < end ? model->scroll[model->page] : end;

	if (model->page == TOP_PAGE_HELP) {
		if (at->columns >= 0) {
			top_grid_put(grid, 1, (unsigned)at->columns, grid->w, TOP_LEFT, TOP_BOLD,
				"KEYS");
			top_grid_paint(grid, 0, (unsigned)at->columns, grid->w, TOP_REVERSE);
		}
		for (unsigned i = 0; i < at->n && from + i < N_HELP; i++) {
			top_grid_put(grid, 1, at->first + i, grid->w, TOP_LEFT, TOP_PLAIN,
				help[from + i]);
		}
		return;
	}
	top_list_draw(model, grid, at->columns, at->first, at->n, from);
	if (!lines && at->n) {
		const char *none = "No live actions detected.";

		if (model->page == TOP_PAGE_STALLED) {
			none = "No stalled actions.";
		} else if (model->n_all_rows) {
			none = "No live actions that the filters let through.";
		} else if (!model->look.is_replayed) {
			none = "";
		}
		top_grid_put(grid, 1, at->first, grid->w, TOP_LEFT, TOP_PLAIN, none);
	}
	/* What there was when the connection was lost. */
	if (!model->look.is_connected) {
		for (unsigned i = 0; i < at->n; i++) {
			top_grid_paint(grid, 0, at->first + i, grid->w, TOP_DIM);
		}
	}
}

void top_frame_draw(const struct top_model *model, struct top_grid *grid)
{
	struct layout at = layout_of(grid->h);

	if (!grid->w || !grid->h) {
		return;
	}
	/* Without a line for it, the title says what matters of the server. */
	top_head_title(model, grid, at.title, at.server < 0);
	top_head_server(model, grid, at.server, at.status < 0);
	top_head_status(model, grid, at.status);
	top_head_counts(model, grid, at.counts);
	top_head_rates(model, grid, at.rates);
	top_head_ages(model, grid, at.ages);
	draw_list(model, grid, &at);
	if (model->is_asking) {
		top_head_question(model, grid, (int)grid->h - 1);
	} else {
		top_head_keys(model, grid, at.footer, top_frame_lines(model), at.n);
	}
}
