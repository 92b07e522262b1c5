/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line's files are not in the library: its pure ones are compiled in. */
#include "cli/render.c"
#include "cli/render_clone.c"

#include <locale.h>

#include "unit.h"

static const char running[] =
	"{\"campaign\":\"ost-evac-1\",\"kind\":\"evacuate\",\"state\":\"running\",\"leader\":\"node-01\","
	"\"epoch\":1,\"osts\":\"10-20\",\"workers\":["
	"{\"host\":\"node-02\",\"current\":[{\"worker\":\"move-5\",\"path\":\"/lustre/fs1/raw/img_234.tif\"}]},"
	"{\"host\":\"node-01\",\"current\":[{\"worker\":\"move-1\",\"path\":\"/lustre/fs1/sim/result_1.dat\"}]},"
	"{\"host\":\"node-03\",\"current\":[]}],"
	"\"progress\":{\"discovered\":1250000,\"succeeded\":450831,\"unneeded\":3,\"skipped\":1204,"
	"\"failed\":12,\"gone\":5,\"pending\":797921,\"in_progress\":24,\"bytes_succeeded\":91536249178685,"
	"\"busy\":1200,\"changed\":4,\"refused\":0,\"no_space\":2,\"failed_other\":10},"
	"\"scan\":{\"pending\":0,\"active\":0,\"entries\":9000000},"
	"\"rates\":{\"files_per_sec\":180.4,\"bytes_per_sec\":1299227607,\"scanned_per_sec\":0},"
	"\"eta_seconds\":4085,\"retries\":{\"scheduled\":1204,\"next_seconds\":42}}";

static json_t *parse(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(json);
	return json;
}

/* The frame as text; the caller frees it. */
static char *frame(const json_t *status, const struct render_view *view)
{
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	render_status(status, view, &out);
	return dr_xstrdup(dr_buf_cstr(&out));
}

START_TEST(render__shows_a_running_campaign)
{
	const struct render_view view = { .utf8 = true };
	json_t *status = parse(running);
	char *text dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_str_eq(text, "--- Campaign Status: ost-evac-1 ---\n"
			       "State: RUNNING | Leader: node-01\n"
			       "Active Workers: 3 (node-[01-03])\n"
			       "Progress: 450,831 / 1,250,000 files moved (36.06%) (83.25 TiB)\n"
			       "[██████████────────────────────] | ETA: 1:08:05 at 1.21 GiB/s\n"
			       "- Succeeded: 450,831\n"
			       "- Skipped: 1,204 (busy 1,200, changed 4), retried in 0:42\n"
			       "- Failed: 12 (no space 2, errors 10)\n"
			       "- Gone: 5\n"
			       "- Unneeded: 3 (no longer on a source)\n"
			       "Activity:\n"
			       "- Migrations In Progress (24) (Migration Rate: 180 files/sec):\n"
			       "  - /lustre/fs1/raw/img_234.tif (on node-02:move-5)\n"
			       "  - /lustre/fs1/sim/result_1.dat (on node-01:move-1)\n"
			       "- Scans In Progress: 0 (9,000,000 entries seen)\n"
			       "Queues:\n"
			       "- Scan Jobs Pending: 0\n"
			       "- Files Pending: 797,921\n");
	json_decref(status);
}
END_TEST

START_TEST(render__fits_a_terminal_of_80_by_24)
{
	const struct render_view view = { .columns = 80, .rows = 24, .utf8 = true, .color = true };
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	json_t *status = parse(running);
	json_t *workers = json_object_get(status, "workers");
	json_object_set_new(status, "dry_run", json_true());
	json_object_set_new(status, "reason",
		json_string("something with a long explanation, which goes on "
			    "and on past the end of the line"));
	for (size_t i = 0; i < 40; i++) {
		json_array_append_new(workers,
			json_pack("{s:s, s:[{s:s, s:s}]}", "host", "node-0123456789", "current",
				"worker", "move-1", "path",
				"/a/very/long/path/\u00e4\u00e4\u4e2d\u6587/that/is/longer/than/the/line/"
				"could/ever/be/end"));
	}
	char *text dr_cleanup(dr_freep) = frame(status, &view);
	unsigned lines = 0;
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		/* Colours take no cell. */
		struct dr_buf plain dr_cleanup(dr_buf_fini) = { 0 };
		for (const char *p = line; *p; p++) {
			if (*p == '\033') {
				p += strcspn(p, "m");
			} else {
				dr_buf_put_u8(&plain, (uint8_t)*p);
			}
		}
		ck_assert_uint_le(cells_of(dr_buf_cstr(&plain)), 80);
		if (strstr(line, "  - ...")) {
			ck_assert_ptr_nonnull(
				strstr(line, "ever/be/end (on node-0123456789:move-1)"));
		}
		lines++;
	}
	ck_assert_uint_le(lines, 23);
	ck_assert_uint_ge(lines, 22);
	json_decref(status);
}
END_TEST

START_TEST(render__says_when_no_daemon_runs)
{
	const struct render_view view = { 0 };
	json_t *status = parse(running);
	json_object_set_new(status, "live", json_false());
	char *text dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_ptr_nonnull(strstr(text, "Leader: none\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "No daemon is running; start one: droverd --campaign ost-evac-1\n"));
	ck_assert_ptr_nonnull(strstr(text, "Active Workers: 0\n"));
	ck_assert_ptr_nonnull(strstr(text, "[##########....................] | ETA: -\n"));
	json_object_set_new(status, "state", json_string("reopened"));
	char *again dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_ptr_nonnull(
		strstr(again, "the next one retries: droverd --campaign ost-evac-1\n"));
	json_decref(status);
}
END_TEST

START_TEST(render__shows_a_campaign_that_no_daemon_ever_touched)
{
	const struct render_view view = { 0 };
	json_t *status = parse("{\"campaign\":\"new\",\"state\":\"created\",\"leader\":null}");
	char *text dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_ptr_nonnull(strstr(text, "State: CREATED | Leader: none\n"));
	ck_assert_ptr_nonnull(strstr(text, "Progress: 0 / 0 files moved (-) (0 B)\n"));
	json_decref(status);
}
END_TEST

START_TEST(render__says_dry_run_and_pause_with_its_reason)
{
	const struct render_view view = { 0 };
	json_t *status = parse(running);
	json_object_set_new(status, "dry_run", json_true());
	json_object_set_new(status, "state", json_string("paused"));
	json_object_set_new(status, "reason", json_string("too many leftovers"));
	char *text dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_ptr_nonnull(strstr(text, "State: PAUSED (dry run) | Leader: node-01\n"));
	ck_assert_ptr_nonnull(strstr(text, "Reason: too many leftovers\n"));
	ck_assert_ptr_nonnull(strstr(text, "nothing is copied or moved\n"));
	ck_assert_ptr_nonnull(strstr(text, "files would move"));
	json_decref(status);
}
END_TEST

START_TEST(render__says_how_long_a_campaign_took)
{
	const struct render_view view = { 0 };
	json_t *status = parse(
		"{\"campaign\":\"x\",\"state\":\"completed_with_leftovers\",\"elapsed_seconds\":75,"
		"\"live\":false,\"progress\":{\"discovered\":3,\"succeeded\":2,\"skipped\":1,\"busy\":1}}");
	char *text dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_ptr_nonnull(strstr(text, "State: COMPLETED WITH LEFTOVERS | Leader: none\n"));
	ck_assert_ptr_nonnull(strstr(text, "[##############################] | took 1:15\n"));
	ck_assert_ptr_null(strstr(text, "No daemon"));
	json_decref(status);
}
END_TEST

START_TEST(render__says_100_percent_of_all_only)
{
	char text[32];
	ck_assert_str_eq(render_percent(text, sizeof(text), 0, 0), "-");
	ck_assert_str_eq(render_percent(text, sizeof(text), 9999999, 10000000), "99.99%");
	ck_assert_str_eq(render_percent(text, sizeof(text), 7, 7), "100.00%");
	ck_assert_str_eq(render_percent(text, sizeof(text), UINT64_MAX, UINT64_MAX), "100.00%");
}
END_TEST

START_TEST(render__puts_all_that_run_shows_into_one_line)
{
	const struct render_view view = { .columns = 79 };
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	json_t *status = parse(running);
	render_line(status, &view, &out);
	dr_unit_text(&out,
		"[###.......] 36.16% 452,055/1,250,000 files, 180 files/s, 1.21 GiB/s, ETA 1:08:");
	dr_buf_clear(&out);
	json_object_set_new(status, "state", json_string("paused"));
	json_object_set_new(status, "reason", json_string("by command"));
	render_line(status, &view, &out);
	dr_unit_text(&out, "[###.......] 36.16% 452,055/1,250,000 files, PAUSED: by command");
	json_decref(status);
}
END_TEST

START_TEST(render__survives_what_is_not_a_status)
{
	static const char *const texts[] = {
		"{}", "[]", "{\"progress\":7,\"workers\":{},\"rates\":null}",
		"{\"workers\":[1,null,{\"current\":[3]}],\"state\":\"running\",\"eta_seconds\":-1}"
	};
	const struct render_view view = { .columns = 10, .rows = 5, .utf8 = true };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
		json_t *status = parse(texts[i]);
		render_status(status, &view, &out);
		render_line(status, &view, &out);
		json_decref(status);
	}
}
END_TEST

START_TEST(render__shows_how_far_a_list_is)
{
	const struct render_view view = { .utf8 = true };
	json_t *status = parse(running);
	json_object_set_new(status, "list", json_null());
	char *without dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_ptr_null(strstr(without, "List"));
	json_object_set_new(status, "list",
		json_pack("{s:i, s:i, s:i, s:i}", "candidates", 12345, "looked_at", 1000,
			"on_sources", 900, "gone", 7));
	char *with dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_ptr_nonnull(strstr(with,
		"(9,000,000 entries seen)\n"
		"- List: 1,000 / 12,345 candidates looked at (900 on the OSTs, 7 gone)\n"
		"Queues:\n"));
	json_decref(status);
}
END_TEST

static const char cloning[] =
	"{\"campaign\":\"new-fs\",\"kind\":\"clone\",\"state\":\"running\",\"leader\":\"node-01\","
	"\"osts\":\"\",\"from\":\"/old/a\\\\xff\",\"to\":\"/new\",\"passes\":[\"copy\",\"delete\","
	"\"dirtimes\"],\"stage\":\"links\",\"workers\":["
	"{\"host\":\"node-02\",\"current\":[{\"worker\":\"move-5\",\"path\":\"/old/a/x\"}]}],"
	"\"progress\":{\"discovered\":1000,\"succeeded\":600,\"unneeded\":300,\"skipped\":0,"
	"\"failed\":0,\"gone\":0,\"pending\":99,\"in_progress\":1,\"bytes_succeeded\":4096,"
	"\"unchanged\":300,\"filtered\":7,\"corrected\":12,\"linked\":1234,\"dirs_made\":55},"
	"\"scan\":{\"pending\":0,\"active\":0,\"entries\":1100},"
	"\"rates\":{\"files_per_sec\":5,\"bytes_per_sec\":1024}}";

START_TEST(render__shows_a_clone_with_its_passes_and_counts)
{
	const struct render_view view = { 0 };
	json_t *status = parse(cloning);
	char *text dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_str_eq(text, "--- Campaign Status: new-fs ---\n"
			       "State: RUNNING | Leader: node-01\n"
			       "Clone: /old/a\\xff -> /new\n"
			       "Passes: copy (running: hard links), delete, dirtimes\n"
			       "Active Workers: 1 (node-02)\n"
			       "Progress: 600 / 1,000 files copied (60.00%) (4.0 KiB)\n"
			       "[###########################...] | ETA: - at 1.0 KiB/s\n"
			       "- Succeeded: 600\n"
			       "- Skipped: 0\n"
			       "- Failed: 0\n"
			       "- Gone: 0\n"
			       "- Unneeded: 300 (nothing was to be done)\n"
			       "- Unchanged: 300 (corrected 12, linked 1,234, filtered out 7)\n"
			       "- Directories Made: 55\n"
			       "- Deleted: 0\n"
			       "Activity:\n"
			       "- Copies In Progress (1) (Copy Rate: 5 files/sec):\n"
			       "  - /old/a/x (on node-02:move-5)\n"
			       "- Scans In Progress: 0 (1,100 entries seen)\n"
			       "Queues:\n"
			       "- Scan Jobs Pending: 0\n"
			       "- Files Pending: 99\n");
	json_decref(status);
}
END_TEST

static void check_clone(json_t *status, const char *expected)
{
	const struct render_view view = { .columns = 60 };
	char *text dr_cleanup(dr_freep) = frame(status, &view);
	ck_assert_msg(strstr(text, expected) != NULL, "'%s' is not in %s", expected, text);
}

START_TEST(render__says_which_pass_of_a_clone_runs)
{
	json_t *status = parse(cloning);
	json_object_set_new(status, "stage", json_string("copy"));
	check_clone(status, "\nPasses: copy (running), delete, dirtimes\n");
	json_object_set_new(status, "stage", json_string("dirtimes"));
	check_clone(status, "\nPasses: copy (done), delete (done), dirtimes (running)\n");
	json_object_del(status, "stage");
	check_clone(status, "\nPasses: copy, delete, dirtimes\n");
	json_object_set_new(status, "stage", json_string("dirtimes"));
	json_object_set_new(status, "state", json_string("completed"));
	check_clone(status, "\nPasses: copy, delete, dirtimes\n");
	json_object_set_new(status, "passes", json_pack("[s]", "verify"));
	json_object_set_new(json_object_get(status, "progress"), "differences", json_integer(3));
	check_clone(status, "files compared");
	check_clone(status, "\n- Differences: 3\nActivity");
	/* A long path is cut as other lines are. */
	json_object_set_new(status, "to",
		json_string("/a/target/whose/path/is/longer/than/a/line/of/the/terminal/is"));
	check_clone(status, "\nClone: /old/a\\xff -> /a/target/whose/path/is/longer/than/a/l\n");
	json_decref(status);
}
END_TEST

DR_UNIT_MAIN("render", render__shows_a_running_campaign, render__shows_how_far_a_list_is,
	render__fits_a_terminal_of_80_by_24, render__says_when_no_daemon_runs,
	render__shows_a_campaign_that_no_daemon_ever_touched,
	render__says_dry_run_and_pause_with_its_reason, render__says_how_long_a_campaign_took,
	render__says_100_percent_of_all_only, render__puts_all_that_run_shows_into_one_line,
	render__survives_what_is_not_a_status, render__shows_a_clone_with_its_passes_and_counts,
	render__says_which_pass_of_a_clone_runs)
