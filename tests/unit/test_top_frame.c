/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/frame.h"
#include "tui/keys.h"

#include <locale.h>
#include <stdio.h>
#include <time.h>
#include <wchar.h>

#include "top.h"

#define NOW 1000000

static const struct dr_live_group elm[] = {
	{ "elm-MDT0000", "ARCHIVE", "STARTED", 50000, NOW - 100, 12 },
	{ "elm-MDT0000", "ARCHIVE", "WAITING", 25000, NOW - 200000, 0 },
	{ "elm-MDT0001", "RESTORE", "STARTED", 120, NOW - 30, 0 },
};

/* What people see, line by line. */
static const char *drawn(const struct top_model *model, unsigned w, unsigned h, bool utf8)
{
	static struct dr_buf out;
	struct top_grid grid;

	dr_buf_clear(&out);
	top_grid_init(&grid, w, h, utf8);
	top_frame_draw(model, &grid);
	for (unsigned y = 0; y < h; y++) {
		top_grid_row(&grid, y, &out);
		dr_buf_put_u8(&out, '\n');
	}
	top_grid_fini(&grid);
	return dr_buf_cstr(&out);
}

/* Two looks at the document's example, five restores later. */
static struct top_model example(void)
{
	struct dr_live_group later[3];
	struct top_model model;

	(void)setenv("TZ", "UTC", 1);
	tzset();
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	top_model_init(&model);
	model.server = "redis://localhost:6379/1";
	take(&model, 0, elm, 3);
	memcpy(later, elm, sizeof(later));
	later[2].count = 125;

	struct top_look look = look_at(10, later, 3);

	look.totals.events = 750112;
	look.totals.last_event_ms = (NOW + 7) * UINT64_C(1000);
	look.totals.oldest_s = NOW - 200000;
	look.totals.begun = 25;
	look.totals.failed = 1;
	look.all_stalled = 12;
	top_model_take(&model, &look);
	return model;
}

START_TEST(frame__fits_a_terminal_of_80_by_24)
{
	struct top_model model = example();

	ck_assert_str_eq(drawn(&model, 80, 24, true),
		" Lustre HSM Action Dashboard                                1970-01-12 13:46:50\n"
		"Redis: Connected | redis://localhost:6379/1                           every 2 s\n"
		"Viewer Status: Listening for live updates...\n"
		"Live Actions: 75,125 | Total Events Processed: 750,112 | Last Event: 3s ago\n"
		"Begun 2.5/s | Succeeded 0.0/s | Failed 0.10/s | Canceled 0.0/s | over 10 s\n"
		"Oldest: 2d 7:33:30 | Stalled: 12 | unchanged for more than 1:00:00\n"
		" MDT↑         ACTION   STATUS     COUNT  DIFF          OLDEST   STALLED\n"
		" elm-MDT0000  ARCHIVE  STARTED   50,000                  1:50        12\n"
		" elm-MDT0000  ARCHIVE  WAITING   25,000            2d 7:33:30\n"
		" elm-MDT0001  RESTORE  STARTED      125  (+5)            0:40\n"
		"\n\n\n\n\n\n\n\n\n\n\n\n\n"
		" q quit  h help  p pause  l stalled  m a s filter  < > sort  r reverse  + -\n");
	top_model_fini(&model);
}
END_TEST

START_TEST(frame__fits_a_small_terminal)
{
	struct top_model model = example();

	ck_assert_str_eq(drawn(&model, 40, 10, false), " HSM actions        1970-01-12 13:46:50\n"
						       "Redis: Connected              every 2 s\n"
						       "Live Actions: 75,125 | Last: 3s ago\n"
						       "Begun 2.5/s | Ok 0.0/s | Failed 0.10/s\n"
						       " MDT^         ACTION   STATUS     COUNT\n"
						       " elm-MDT0000  ARCHIVE  STARTED   50,000\n"
						       " elm-MDT0000  ARCHIVE  WAITING   25,000\n"
						       " elm-MDT0001  RESTORE  STARTED      125\n"
						       "\n"
						       " q quit  h help  p pause  l stalled\n");
	ck_assert_str_eq(
		drawn(&model, 20, 2, false), " Connected, 75,125 ~\n e~  A~  S~   50,000\n");
	ck_assert_str_eq(drawn(&model, 1, 1, true), "…\n");
	top_model_fini(&model);
}
END_TEST

/* Every cell of the screen, or the right half of the wide one before it; nothing that a terminal would obey. */
static void check_cells(const struct top_model *model, unsigned w, unsigned h, bool utf8)
{
	struct top_grid grid;

	top_grid_init(&grid, w, h, utf8);
	top_frame_draw(model, &grid);
	for (unsigned y = 0; y < h; y++) {
		for (unsigned x = 0; x < w; x++) {
			uint32_t c = top_grid_at(&grid, x, y)->c;
			bool is_half = c == 0;
			int width = is_half ? 0 : wcwidth((wchar_t)c);
			bool next_is_half = x + 1 < w && top_grid_at(&grid, x + 1, y)->c == 0;

			/* check writes to a file at each assertion. */
			if ((is_half ? x == 0 : width != 1 && width != 2) ||
				next_is_half != (width == 2) ||
				(!utf8 && (c < 0x20 || c >= 0x7f))) {
				ck_abort_msg("%ux%u: %u,%u", w, h, x, y);
			}
		}
	}
	ck_assert(!grid.has_cursor || (grid.cursor_x < w && grid.cursor_y < h));
	top_grid_fini(&grid);
}

START_TEST(frame__holds_together_at_every_size_with_any_names)
{
	static const struct dr_live_group odd[] = {
		{ "", "", "", 1, 0, 0 },
		{ "\x1b[31m\x07\n\t\xff\xfe", "\xe2\x80\xae\xcc\x81zero\xe2\x80\x8bwidth",
			"\x7f\x80", UINT64_MAX, 1, UINT64_MAX },
		{ "\xe4\xb8\xad\xe6\x96\x87\xe4\xb8\xad\xe6\x96\x87\xe4\xb8\xad\xe6\x96\x87-MDT0000",
			"\xf0\x9f\x98\x80\xf0\x9f\x98\x80", "\xe4\xb8\xad", 12345, NOW, 3 },
		{ "a-file-system-whose-name-is-very-long-and-goes-on-past-the-end-of-the-line-of-any-terminal-MDT0001",
			"ARCHIVE", "FAILED", 0, 5, 0 },
	};
	struct top_model model = example();
	struct top_look look = look_at(20, odd, 4);

	look.stalled = dr_xcalloc(3, sizeof(*look.stalled));
	look.n_stalled = 3;
	for (size_t i = 0; i < 3; i++) {
		look.stalled[i] = (struct dr_live_action){ .mdt = odd[i + 1].mdt,
			.action = odd[i + 1].action,
			.status = odd[i + 1].status,
			.cat = INT64_MAX,
			.rec = INT64_MAX,
			.first_s = 1,
			.changed_s = 2 };
		memset(look.stalled[i].fid, i == 1 ? '\xff' : 'f', 63);
	}
	look.all_stalled = UINT64_MAX;
	look.n_bad = UINT64_MAX;
	look.totals.events = UINT64_MAX;
	look.totals.last_event_ms = 1;
	top_model_take(&model, &look);
	strcpy(model.filters[TOP_FILTER_STATUS], "");
	for (unsigned page = 0; page < TOP_N_PAGES; page++) {
		model.page = (enum top_page)page;
		for (unsigned w = 1; w <= 130; w += w < 30 ? 1 : 7) {
			for (unsigned h = 1; h <= 34; h++) {
				model.is_asking = h % 2;
				model.scroll[page] = h % 3 * 7;
				(void)snprintf(
					model.answer, sizeof(model.answer), "%s", odd[2].mdt);
				check_cells(&model, w, h, h % 4 < 2);
			}
		}
		check_cells(&model, 200, 60, true);
	}
	top_model_fini(&model);
}
END_TEST

START_TEST(frame__shows_the_whole_name_where_there_is_room)
{
	static const struct dr_live_group group = {
		"a-file-system-whose-name-is-rather-long-MDT0001", "ARCHIVE", "FAILED", 7, NOW, 0
	};
	struct top_model model = example();

	take(&model, 20, &group, 1);
	ck_assert_ptr_nonnull(strstr(drawn(&model, 200, 60, true),
		" a-file-system-whose-name-is-rather-long-MDT0001  ARCHIVE  FAILED "));
	/* Its end says which MDT it is. */
	ck_assert_ptr_nonnull(strstr(
		drawn(&model, 80, 24, false), " a-file-sys~ather-long-MDT0001  ARCHIVE  FAILED "));
	top_model_fini(&model);
}
END_TEST

START_TEST(frame__says_what_the_reader_is_doing)
{
	struct top_model model = example();
	struct top_look look = look_at(20, elm, 3);

	look.is_replayed = false;
	look.totals.events = 123456;
	top_model_take(&model, &look);
	ck_assert_ptr_nonnull(strstr(drawn(&model, 80, 24, true),
		"\nViewer Status: Replaying history: 123,456 events\n"));
	ck_assert_ptr_nonnull(strstr(drawn(&model, 60, 9, true),
		"\nRedis: Connected | Replaying history: 123,456 events\n"));

	look = look_at(21, elm, 3);
	look.is_connected = false;
	look.why = "no server answers";
	top_model_take(&model, &look);
	ck_assert_ptr_nonnull(strstr(
		drawn(&model, 80, 24, true), "\nRedis: Disconnected (no server answers) | redis:"));
	ck_assert_ptr_nonnull(strstr(drawn(&model, 80, 24, true), " elm-MDT0001  RESTORE"));

	look = look_at(22, NULL, 0);
	look.is_connected = look.was_connected = look.is_replayed = false;
	top_model_take(&model, &look);
	ck_assert_ptr_nonnull(strstr(drawn(&model, 80, 24, true), "\nRedis: Connecting |"));

	look = look_at(23, NULL, 0);
	look.silent_s = 5;
	top_model_take(&model, &look);
	ck_assert_ptr_nonnull(strstr(drawn(&model, 80, 24, true), "\nRedis: No answer for 5 s |"));
	ck_assert_ptr_nonnull(
		strstr(drawn(&model, 80, 24, true), "\n No live actions detected.\n"));
	top_model_fini(&model);
}
END_TEST

START_TEST(frame__lists_stalled_actions_with_their_fids)
{
	struct top_model model = example();
	struct top_look look = look_at(20, elm, 3);

	look.stalled = dr_xcalloc(1, sizeof(*look.stalled));
	look.n_stalled = 1;
	look.all_stalled = 1;
	look.stalled[0] = (struct dr_live_action){ .mdt = "elm-MDT0000",
		.action = "ARCHIVE",
		.status = "STARTED",
		.cat = 1,
		.rec = 77,
		.first_s = NOW - 90000,
		.changed_s = NOW - 7180,
		.fid = "0x200000402:0x50:0x0" };
	top_model_take(&model, &look);
	(void)top_press(&model, 'l', 10, 10);
	ck_assert_ptr_nonnull(strstr(drawn(&model, 100, 24, true),
		" UNCHANGED         AGE  MDT          ACTION   STATUS   FID                   INDEX\n"
		"   2:00:00  1d 1:00:20  elm-MDT0000  ARCHIVE  STARTED  0x200000402:0x50:0x0  1/77\n"));
	ck_assert_ptr_nonnull(strstr(drawn(&model, 80, 24, true), "  0x200000402:0x50:0x0"));
	ck_assert_ptr_nonnull(strstr(drawn(&model, 50, 24, true), "  0x200000402:0x50:0x0\n"));
	top_model_fini(&model);
}
END_TEST

START_TEST(frame__asks_for_a_filter_in_the_last_line)
{
	struct top_model model = example();
	struct top_grid grid;

	for (const char *p = "m0001"; *p; p++) {
		(void)top_press(&model, (unsigned char)*p, 10, 10);
	}
	top_grid_init(&grid, 80, 24, true);
	top_frame_draw(&model, &grid);
	ck_assert(grid.has_cursor);
	ck_assert_uint_eq(grid.cursor_y, 23);
	ck_assert_uint_eq(grid.cursor_x, strlen("Show what MDT contains: 0001"));
	top_grid_fini(&grid);
	(void)top_press(&model, TOP_KEY_ENTER, 10, 10);
	ck_assert_ptr_nonnull(strstr(drawn(&model, 80, 24, true), " | Filter: mdt~0001\n"));
	ck_assert_ptr_null(strstr(drawn(&model, 80, 24, true), "elm-MDT0000"));
	top_model_fini(&model);
}
END_TEST

START_TEST(frame__marks_what_failed_what_stalls_and_what_is_old)
{
	static const struct dr_live_group failed = { "a", "ARCHIVE", "FAILED", 7, NOW, 0 };
	struct top_model model = example();
	struct top_grid grid;
	struct top_look look = look_at(20, &failed, 1);

	look.is_connected = false;
	top_model_take(&model, &look);
	top_grid_init(&grid, 80, 24, true);
	top_frame_draw(&model, &grid);
	ck_assert_uint_eq(top_grid_at(&grid, 0, 0)->attr & TOP_REVERSE, TOP_REVERSE);
	ck_assert_uint_eq(top_grid_at(&grid, 1, 7)->attr & TOP_DIM, TOP_DIM);
	bool is_red = false;

	for (unsigned x = 0; x < 80; x++) {
		is_red = is_red || (top_grid_at(&grid, x, 7)->c == 'F' &&
					   top_grid_at(&grid, x, 7)->attr & TOP_RED);
	}
	ck_assert(is_red);
	top_grid_fini(&grid);
	top_model_fini(&model);
}
END_TEST

START_TEST(plain__is_the_frame_of_the_document)
{
	struct top_model model = example();
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };

	top_frame_plain(&model, true, &out);
	dr_unit_text(&out,
		"--- Lustre HSM Action Dashboard ---\n"
		"Time: 1970-01-12 13:46:50 | Redis: Connected\n"
		"Viewer Status: Snapshot complete (750,112 events).\n"
		"Live Actions: 75,125 | Total Events Processed: 750,112 | Last Event: 3s ago\n"
		"\n"
		"--- Live Action Count by (MDT, Action, Status) ---\n"
		"MDT         | ACTION  | STATUS     |      COUNT DIFF\n"
		"----------------------------------------------------------\n"
		"elm-MDT0000 | ARCHIVE | STARTED    |     50,000\n"
		"elm-MDT0000 | ARCHIVE | WAITING    |     25,000\n"
		"elm-MDT0001 | RESTORE | STARTED    |        125 (+5)\n");
	top_model_fini(&model);
}
END_TEST

START_TEST(plain__says_that_there_is_nothing)
{
	struct top_model model;
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };

	top_model_init(&model);
	take(&model, 1, NULL, 0);
	top_frame_plain(&model, true, &out);
	ck_assert_ptr_nonnull(strstr(dr_buf_cstr(&out), "| Last Event: Never\n\n--- Live"));
	ck_assert_ptr_nonnull(strstr(dr_buf_cstr(&out), "---\nNo live actions detected.\n"));
	top_model_fini(&model);
}
END_TEST

START_TEST(plain__is_as_wide_as_its_names)
{
	static const struct dr_live_group wide[] = {
		{ "\xe4\xb8\xad\xe6\x96\x87", "A", "a-long-status", 1, 1, 0 },
		{ "\x1b[0m", "N/A", "N/A", 2, 1, 0 },
	};
	struct top_model model = example();
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };

	model.look.is_replayed = false; /* nothing before it */
	take(&model, 20, wide, 2);
	top_frame_plain(&model, true, &out);
	ck_assert_ptr_nonnull(
		strstr(dr_buf_cstr(&out), "\\x1b[0m | N/A    | N/A           |          2\n"));
	ck_assert_ptr_nonnull(strstr(dr_buf_cstr(&out),
		"\xe4\xb8\xad\xe6\x96\x87    | A      | a-long-status |          1\n"));
	top_model_fini(&model);
}
END_TEST

DR_UNIT_MAIN("top_frame", frame__fits_a_terminal_of_80_by_24, frame__fits_a_small_terminal,
	frame__holds_together_at_every_size_with_any_names,
	frame__shows_the_whole_name_where_there_is_room, frame__says_what_the_reader_is_doing,
	frame__lists_stalled_actions_with_their_fids, frame__asks_for_a_filter_in_the_last_line,
	frame__marks_what_failed_what_stalls_and_what_is_old, plain__is_the_frame_of_the_document,
	plain__says_that_there_is_nothing, plain__is_as_wide_as_its_names)
