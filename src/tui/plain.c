/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "tui/frame.h"
#include "tui/head.h"
#include "tui/list.h"

#include <stdio.h>

#define LEAST_STATUS 10
#define LEAST_COUNT 10
#define LEAST_DIFF 10

/* Left-justified; a text without blanks at its end where nothing follows. */
static void put_field(struct dr_buf *out, const char *text, unsigned width, bool utf8)
{
	unsigned has = top_text_width(text, utf8);
	struct top_grid grid;

	/* Shown as on a screen, so that both have the same characters. */
	top_grid_init(&grid, has, 1, utf8);
	(void)top_grid_put(&grid, 0, 0, has, TOP_LEFT, TOP_PLAIN, text);
	if (has) {
		top_grid_row(&grid, 0, out);
	}
	top_grid_fini(&grid);
	dr_buf_printf(out, "%*s", (int)(width > has ? width - has : 0), "");
}

struct widths {
	unsigned mdt, action, status;
};

static struct widths widths_of(const struct top_model *model, bool utf8)
{
	struct widths widths = { 3, 6, LEAST_STATUS };

	for (size_t i = 0; i < model->n_rows; i++) {
		const struct top_row *row = &model->rows[i];
		unsigned mdt = top_text_width(row->mdt, utf8);
		unsigned action = top_text_width(row->action, utf8);
		unsigned status = top_text_width(row->status, utf8);

		widths.mdt = mdt > widths.mdt ? mdt : widths.mdt;
		widths.action = action > widths.action ? action : widths.action;
		widths.status = status > widths.status ? status : widths.status;
	}
	return widths;
}

static void put_row(struct dr_buf *out, const struct widths *widths, const char *mdt,
	const char *action, const char *status, bool utf8)
{
	put_field(out, mdt, widths->mdt, utf8);
	dr_buf_put_str(out, " | ");
	put_field(out, action, widths->action, utf8);
	dr_buf_put_str(out, " | ");
	put_field(out, status, widths->status, utf8);
	dr_buf_put_str(out, " | ");
}

static void put_table(const struct top_model *model, bool utf8, struct dr_buf *out)
{
	struct widths widths = widths_of(model, utf8);
	unsigned dashes =
		widths.mdt + widths.action + widths.status + 3 * 3 + LEAST_COUNT + 1 + LEAST_DIFF;

	put_row(out, &widths, "MDT", "ACTION", "STATUS", utf8);
	dr_buf_printf(out, "%*s DIFF\n", LEAST_COUNT, "COUNT");
	for (unsigned i = 0; i < dashes; i++) {
		dr_buf_put_u8(out, '-');
	}
	dr_buf_put_u8(out, '\n');
	for (size_t i = 0; i < model->n_rows; i++) {
		const struct top_row *row = &model->rows[i];
		char count[32], diff[48];

		put_row(out, &widths, row->mdt, row->action, row->status, utf8);
		(void)top_list_diff(diff, sizeof(diff), row->diff);
		dr_buf_printf(out, "%*s%s%s\n", LEAST_COUNT,
			dr_text_count(count, sizeof(count), row->count), diff[0] ? " " : "", diff);
	}
}

void top_frame_plain(const struct top_model *model, bool utf8, struct dr_buf *out)
{
	const struct dr_live_totals *totals = &model->look.totals;
	char time[TOP_TIME_SIZE], live[32], events[32], last[64];

	(void)dr_text_count(events, sizeof(events), totals->events);
	dr_buf_printf(out,
		"--- Lustre HSM Action Dashboard ---\n"
		"Time: %s | Redis: %s\n"
		"Viewer Status: Snapshot complete (%s events).\n"
		"Live Actions: %s | Total Events Processed: %s | Last Event: %s\n"
		"\n"
		"--- Live Action Count by (MDT, Action, Status) ---\n",
		top_head_time(model, time), model->look.is_connected ? "Connected" : "Disconnected",
		events, dr_text_count(live, sizeof(live), totals->live), events,
		top_head_last_event(model, last, sizeof(last)));
	if (model->n_rows) {
		put_table(model, utf8, out);
	} else {
		dr_buf_put_str(out, "No live actions detected.\n");
	}
	if (model->look.n_bad) {
		dr_buf_printf(out, "\nWARNING: %s stream entries were no events.\n",
			dr_text_count(live, sizeof(live), model->look.n_bad));
	}
}
