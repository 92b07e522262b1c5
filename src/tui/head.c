/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/head.h"

#include "base/text.h"

#include <stdio.h>
#include <time.h>

#define LINE 512
#define SILENT_S 3 /* after that the screen says so */

const char *top_head_time(const struct top_model *model, char text[TOP_TIME_SIZE])
{
	time_t now = (time_t)(model->look.now_ms / 1000);
	struct tm tm;

	text[0] = 0;
	if (localtime_r(&now, &tm)) {
		(void)strftime(text, TOP_TIME_SIZE, "%Y-%m-%d %H:%M:%S", &tm);
	}
	return text;
}

const char *top_head_last_event(const struct top_model *model, char *text, size_t size)
{
	uint64_t last_ms = model->look.totals.last_event_ms;

	if (!last_ms) {
		return "Never";
	}
	(void)snprintf(text, size, "%llus ago",
		(unsigned long long)top_model_age(model, (int64_t)(last_ms / 1000)));
	return text;
}

/* A line of parts, as many as there is room for. */
struct line {
	struct top_grid *grid;
	unsigned y, x, end;
	const char *gap;
	bool is_full;
};

static struct line line_of(struct top_grid *grid, int y, const char *gap)
{
	return (struct line){ .grid = grid, .y = (unsigned)y, .x = 0, .end = grid->w, .gap = gap };
}

static void add(struct line *line, unsigned attr, const char *text)
{
	unsigned gap = line->x ? (unsigned)strlen(line->gap) : 0;
	unsigned width = top_text_width(text, line->grid->utf8);

	/* The first is always there, cut if it must be. */
	if (line->is_full || (line->x && line->x + gap + width > line->end)) {
		line->is_full = true;
		return;
	}
	if (gap) {
		line->x += top_grid_put(
			line->grid, line->x, line->y, gap, TOP_LEFT, TOP_PLAIN, line->gap);
	}
	line->x += top_grid_put(
		line->grid, line->x, line->y, line->end - line->x, TOP_LEFT, attr, text);
}

/* Something at the right end, when there is room for it after what is there. */
static void add_right(struct line *line, unsigned attr, const char *text)
{
	unsigned width = top_text_width(text, line->grid->utf8);

	if (line->x + width + 2 <= line->grid->w) {
		top_grid_put(
			line->grid, line->grid->w - width, line->y, width, TOP_LEFT, attr, text);
	}
}

static const char *connection(const struct top_model *model)
{
	return model->look.is_connected    ? "Connected"
	       : model->look.was_connected ? "Disconnected"
					   : "Connecting";
}

/* A server that hangs is not lost for the reader before its time is over. */
static bool is_silent(const struct top_model *model)
{
	return model->look.is_connected && model->look.silent_s >= SILENT_S;
}

static unsigned connection_attr(const struct top_model *model)
{
	if (is_silent(model)) {
		return TOP_YELLOW;
	}
	return model->look.is_connected    ? TOP_GREEN
	       : model->look.was_connected ? TOP_RED | TOP_BOLD
					   : TOP_YELLOW;
}

/* "Redis: Disconnected (no server answers)" */
static void connection_text(const struct top_model *model, char text[LINE])
{
	const char *why = model->look.is_connected ? NULL : model->look.why;

	if (is_silent(model)) {
		(void)snprintf(text, LINE, "Redis: No answer for %u s", model->look.silent_s);
		return;
	}
	(void)snprintf(text, LINE, "Redis: %s%s%s%s", connection(model), why ? " (" : "",
		why ? why : "", why ? ")" : "");
}

static const char *status_text(const struct top_model *model, char text[LINE])
{
	char number[32];

	(void)dr_text_count(number, sizeof(number), model->look.totals.events);
	if (!model->look.was_connected) {
		return "Looking for the server...";
	}
	if (!model->look.is_connected) {
		return "Connecting again; what is below is as it was";
	}
	if (!model->look.is_replayed) {
		(void)snprintf(text, LINE, "Replaying history: %s events", number);
		return text;
	}
	return "Listening for live updates...";
}

void top_head_title(const struct top_model *model, struct top_grid *grid, int y, bool tells_server)
{
	char time[TOP_TIME_SIZE], text[LINE], number[32];
	struct line line = line_of(grid, y, "  ");

	if (y < 0) {
		return;
	}
	if (tells_server) {
		(void)snprintf(text, LINE, " %s, %s live", connection(model),
			dr_text_count(number, sizeof(number), model->look.totals.live));
		add(&line, TOP_BOLD, text);
	} else if (grid->w >= 60) {
		add(&line, TOP_BOLD, " Lustre HSM Action Dashboard");
	} else {
		add(&line, TOP_BOLD, " HSM actions");
	}
	if (model->is_paused) {
		add(&line, TOP_BOLD, "[PAUSED]");
	}
	(void)top_head_time(model, time);
	dr_cleanup(dr_buf_fini) struct dr_buf right = { 0 };

	dr_buf_printf(&right, "%s ", time);
	add_right(&line, TOP_PLAIN, dr_buf_cstr(&right));
	top_grid_paint(grid, 0, line.y, grid->w, TOP_REVERSE);
}

static void filter_text(const struct top_model *model, char text[LINE])
{
	static const char *const names[] = { "mdt", "action", "status" };
	size_t len = 0;

	text[0] = 0;
	for (unsigned i = 0; i < TOP_N_FILTERS; i++) {
		if (model->filters[i][0]) {
			len += (size_t)snprintf(text + len, LINE - len, "%s%s~%s",
				len ? " " : "Filter: ", names[i], model->filters[i]);
		}
	}
}

void top_head_server(const struct top_model *model, struct top_grid *grid, int y, bool tells_status)
{
	char text[LINE], filter[LINE], every[48];
	struct line line = line_of(grid, y, " | ");
	bool is_settled = model->look.is_connected && model->look.is_replayed;

	if (y < 0) {
		return;
	}
	connection_text(model, text);
	add(&line, connection_attr(model), text);
	filter_text(model, filter);
	if (tells_status && !is_settled) {
		add(&line, TOP_PLAIN, status_text(model, text));
	}
	if (tells_status && filter[0]) {
		add(&line, TOP_YELLOW, filter);
	}
	add(&line, TOP_PLAIN, model->server);
	if (model->interval_ms % 1000) {
		(void)snprintf(
			every, sizeof(every), "every %.2f s ", (double)model->interval_ms / 1000);
	} else {
		(void)snprintf(every, sizeof(every), "every %u s ", model->interval_ms / 1000);
	}
	add_right(&line, TOP_PLAIN, every);
}

void top_head_status(const struct top_model *model, struct top_grid *grid, int y)
{
	char text[LINE], why[LINE], number[32];
	struct line line = line_of(grid, y, " | ");

	if (y < 0) {
		return;
	}
	(void)snprintf(text, LINE, "Viewer Status: %.400s",
		model->is_paused ? "Paused (p goes on)" : status_text(model, why));
	add(&line, model->is_paused ? TOP_YELLOW : TOP_PLAIN, text);
	filter_text(model, text);
	if (text[0]) {
		add(&line, TOP_YELLOW, text);
	}
	if (model->look.n_bad) {
		(void)snprintf(text, LINE, "%s entries were no events",
			dr_text_count(number, sizeof(number), model->look.n_bad));
		add(&line, TOP_YELLOW, text);
	}
}

void top_head_counts(const struct top_model *model, struct top_grid *grid, int y)
{
	const struct dr_live_totals *totals = &model->look.totals;
	struct line line = line_of(grid, y, " | ");
	char text[LINE], number[64];

	if (y < 0) {
		return;
	}
	(void)snprintf(text, LINE, "Live Actions: %s",
		dr_text_count(number, sizeof(number), totals->live));
	add(&line, TOP_BOLD, text);
	if (grid->w < 70) {
		(void)snprintf(
			text, LINE, "Last: %s", top_head_last_event(model, number, sizeof(number)));
		add(&line, TOP_PLAIN, text);
		return;
	}
	(void)snprintf(text, LINE, "Total Events Processed: %s",
		dr_text_count(number, sizeof(number), totals->events));
	add(&line, TOP_PLAIN, text);
	(void)snprintf(
		text, LINE, "Last Event: %s", top_head_last_event(model, number, sizeof(number)));
	add(&line, TOP_PLAIN, text);
}

/* "0.25", "12.3", "1,234" */
static const char *rate_text(char *text, size_t size, double rate)
{
	if (rate >= 999.95) {
		return dr_text_count(text, size, (uint64_t)(rate + 0.5));
	}
	(void)snprintf(text, size, rate > 0 && rate < 1 ? "%.2f" : "%.1f", rate);
	return text;
}

void top_head_rates(const struct top_model *model, struct top_grid *grid, int y)
{
	const struct top_rates *rates = &model->rates;
	const struct {
		const char *name, *brief;
		double rate;
		unsigned attr;
	} parts[] = {
		{ "Begun", "Begun", rates->begun, TOP_PLAIN },
		{ "Succeeded", "Ok", rates->succeeded, TOP_PLAIN },
		{ "Failed", "Failed", rates->failed, rates->failed > 0 ? TOP_RED : TOP_PLAIN },
		{ "Canceled", "Canceled", rates->canceled, TOP_PLAIN },
	};
	struct line line = line_of(grid, y, " | ");
	char text[LINE], number[64];

	if (y < 0) {
		return;
	}
	if (!rates->is_known) {
		add(&line, TOP_DIM, "Rates are told after a few seconds");
		return;
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		(void)snprintf(text, LINE, "%s %s/s", grid->w < 70 ? parts[i].brief : parts[i].name,
			rate_text(number, sizeof(number), parts[i].rate));
		add(&line, parts[i].attr, text);
	}
	(void)snprintf(text, LINE, "over %u s", rates->seconds);
	add(&line, TOP_DIM, text);
}

void top_head_ages(const struct top_model *model, struct top_grid *grid, int y)
{
	const struct top_look *look = &model->look;
	struct line line = line_of(grid, y, " | ");
	char text[LINE], number[64], age[64];

	if (y < 0) {
		return;
	}
	(void)snprintf(text, LINE, "Oldest: %s",
		look->totals.oldest_s ? dr_text_duration(age, sizeof(age),
						top_model_age(model, look->totals.oldest_s))
				      : "-");
	add(&line, TOP_PLAIN, text);
	(void)snprintf(text, LINE, "Stalled: %s",
		dr_text_count(number, sizeof(number), look->all_stalled));
	add(&line, look->all_stalled ? TOP_YELLOW : TOP_PLAIN, text);
	(void)snprintf(text, LINE, "unchanged for more than %s",
		dr_text_duration(age, sizeof(age), model->stalled_s));
	add(&line, TOP_DIM, text);
	if (look->all_stalled > look->n_stalled) {
		(void)snprintf(text, LINE, "the longest %zu are listed", look->n_stalled);
		add(&line, TOP_DIM, text);
	}
}

/* "1-15 of 40" */
static void place_text(const struct top_model *model, size_t lines, size_t page, char text[LINE])
{
	size_t end = lines > page ? lines - page : 0;
	size_t from = model->scroll[model->page] < end ? model->scroll[model->page] : end;

	text[0] = 0;
	if (lines > page && page) {
		(void)snprintf(text, LINE, "%zu-%zu of %zu ", from + 1, from + page, lines);
	}
}

void top_head_keys(
	const struct top_model *model, struct top_grid *grid, int y, size_t lines, size_t page)
{
	static const char *const table[] = { " q quit", "h help", "p pause", "l stalled",
		"m a s filter", "< > sort", "r reverse", "+ -" };
	static const char *const other[] = { " q quit", "Esc back", "h help", "p pause",
		"m a s filter", "arrows scroll" };
	bool is_table = model->page == TOP_PAGE_TABLE;
	const char *const *keys = is_table ? table : other;
	size_t n = is_table ? sizeof(table) / sizeof(table[0]) : sizeof(other) / sizeof(other[0]);
	struct line line;
	char place[LINE];

	if (y < 0) {
		return;
	}
	line = line_of(grid, y, "  ");
	place_text(model, lines, page, place);
	unsigned room = (unsigned)strlen(place) + 1;

	line.end = room < line.end ? line.end - room : line.end;
	for (size_t i = 0; i < n; i++) {
		add(&line, TOP_PLAIN, keys[i]);
	}
	line.end = grid->w;
	add_right(&line, TOP_PLAIN, place);
	top_grid_paint(grid, 0, line.y, grid->w, TOP_REVERSE);
}

void top_head_question(const struct top_model *model, struct top_grid *grid, int y)
{
	static const char *const names[] = { "MDT", "action", "status" };
	char text[LINE];
	unsigned width, room;

	if (y < 0) {
		return;
	}
	for (unsigned x = 0; x < grid->w; x++) {
		*top_grid_at(grid, x, (unsigned)y) = (struct top_cell){ ' ', TOP_PLAIN };
	}
	(void)snprintf(text, LINE, "%s%s contains: ", grid->w < 50 ? "" : "Show what ",
		names[model->asked]);
	width = top_grid_put(grid, 0, (unsigned)y, grid->w, TOP_LEFT, TOP_BOLD, text);
	/* The end of what was typed is what is being typed. */
	room = grid->w > width + 1 ? grid->w - width - 1 : 0;
	const char *answer = model->answer;

	while (*answer && top_text_width(answer, grid->utf8) > room) {
		answer++;
		while (((unsigned char)*answer & 0xc0) == 0x80) {
			answer++;
		}
	}
	width += top_grid_put(grid, width, (unsigned)y, room, TOP_LEFT, TOP_PLAIN, answer);
	grid->has_cursor = true;
	grid->cursor_x = width < grid->w ? width : grid->w - 1;
	grid->cursor_y = (unsigned)y;
}
