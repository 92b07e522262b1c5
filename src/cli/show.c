/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/text.h"
#include "campaign/control.h"
#include "campaign/engine.h"
#include "cli/cli.h"
#include "cli/term.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* status, list */

enum { KEY_INTERVAL = 0x100 };

struct status_args {
	const char *name;
	bool json, watch;
	uint64_t interval; /* seconds */
};

static error_t parse_status(int key, char *arg, struct argp_state *state)
{
	struct status_args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case 'w':
		args->watch = true;
		return 0;
	case KEY_INTERVAL:
		if (dr_text_parse_seconds(arg, &args->interval) < 0 || args->interval == 0 ||
			args->interval > 86400) {
			exit(cli_refuse("--interval: '%s' is not a time of a second to a day",
				cli_escape(arg)));
		}
		return 0;
	default:
		return cli_parse_name(key, arg, "status", &args->name);
	}
}

static void print_json(const json_t *json)
{
	dr_cleanup(dr_freep) char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);

	(void)puts(text ? text : "{}");
	(void)fflush(stdout);
}

/* @return CLI_OK with *ret_over set, or what was refused */
static int show_once(const struct cli_campaign *campaign, const struct status_args *args,
	bool first, bool *ret_over)
{
	struct render_view view;
	struct dr_buf frame = { 0 };
	json_t *status = NULL;
	int r = dr_control_status_any(&campaign->folder, &status);

	if (r < 0) {
		return cli_refuse_status(&campaign->folder, args->name, r);
	}
	*ret_over = dr_state_is_final(cli_text(status, "state"));
	if (args->json) {
		print_json(status);
	} else {
		term_view(&view);
		if (!args->watch) {
			view.rows = 0; /* it may scroll */
		}
		render_status(status, &view, &frame);
		if (args->watch) {
			term_frame(&frame, &view, first);
		} else {
			(void)fwrite(frame.data, 1, frame.len, stdout);
		}
	}
	dr_buf_fini(&frame);
	json_decref(status);
	return CLI_OK;
}

int cli_status(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "One JSON object on one line", 0 },
		{ "watch", 'w', NULL, 0, "Show it again and again until the campaign is over", 0 },
		{ "interval", KEY_INTERVAL, "S", 0, "Seconds between two looks (1)", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_status, "NAME",
		"Shows the progress of a campaign.", NULL, NULL, NULL };
	struct status_args args = { .interval = 1 };
	struct cli_campaign campaign;
	bool over = false;
	int r;

	cli_parse(&argp, "status", argc, argv, &args);
	r = cli_open(cli, args.name, true, &campaign);
	if (r) {
		return r;
	}
	for (bool first = true;; first = false) {
		r = show_once(&campaign, &args, first, &over);
		if (r || over || !args.watch || ferror(stdout)) {
			break;
		}
		dr_sleep_ms((unsigned)(args.interval * 1000));
	}
	cli_campaign_fini(&campaign);
	return r;
}

static error_t parse_list(int key, char *arg, struct argp_state *state)
{
	bool *json = state->input;

	(void)arg;
	if (key == 'j') {
		*json = true;
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static int maybe_campaign(const struct dirent *entry)
{
	return dr_spec_name_ok(entry->d_name);
}

/* The line of one campaign. @return NULL it is none */
static json_t *summary(const struct dr_options *options, const char *name)
{
	dr_cleanup(dr_spec_freep) struct dr_spec *spec = NULL;
	dr_cleanup(dr_freep) char *message = NULL;
	struct dr_folder folder;
	json_t *status = NULL, *line = NULL;
	int r = dr_campaign_open(options, name, &folder, &spec, &message);

	if (r == -ENOENT) {
		return NULL;
	}
	if (r == 0) {
		r = dr_control_status_any(&folder, &status);
		dr_folder_fini(&folder);
	}
	line = json_object();
	json_object_set_new(line, "campaign", json_string(name));
	if (r < 0) {
		json_object_set_new(line, "state", json_string("unreadable"));
		json_object_set_new(line, "reason", json_string(cli_strerror(r)));
		return line;
	}
	static const char *const keys[] = { "kind", "state", "reason", "dry_run", "leader", "osts",
		"from", "to", "passes", "stage", "progress" };
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		json_t *value = json_object_get(status, keys[i]);
		if (value) {
			json_object_set(line, keys[i], value);
		}
	}
	json_decref(status);
	return line;
}

struct names {
	char **v;
	size_t n;
};

static void add_name(void *ctx, const char *name)
{
	struct names *names = ctx;

	names->v = dr_xrealloc(names->v, (names->n + 1) * sizeof *names->v);
	names->v[names->n++] = dr_xstrdup(name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Frees the names. */
static json_t *summaries(const struct dr_options *options, struct names *names)
{
	json_t *list = json_array();

	if (names->n > 0) {
		qsort(names->v, names->n, sizeof *names->v, by_name);
	}
	for (size_t i = 0; i < names->n; i++) {
		/* One that is both here and on the site's own server stands there once. */
		bool again = i > 0 && strcmp(names->v[i], names->v[i - 1]) == 0;
		json_t *line = again ? NULL : summary(options, names->v[i]);
		if (line) {
			json_array_append_new(list, line);
		}
	}
	for (size_t i = 0; i < names->n; i++) {
		free(names->v[i]);
	}
	free(names->v);
	return list;
}

static void print_list(const json_t *list)
{
	char moved[32], all[32], percent[32];
	struct dr_buf row = { 0 };
	int width = (int)strlen("CAMPAIGN");

	for (size_t i = 0; i < json_array_size(list); i++) {
		int len = (int)strlen(cli_text(json_array_get(list, i), "campaign"));
		width = len > width ? len : width;
	}
	(void)printf("%-*s  %-24s  %-34s  %s\n", width, "CAMPAIGN", "STATE", "FILES MOVED", "OSTS");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *line = json_array_get(list, i);
		const json_t *progress = json_object_get(line, "progress");
		uint64_t done = cli_number(progress, "succeeded");
		uint64_t found = cli_number(progress, "discovered");
		dr_buf_clear(&row);
		dr_buf_printf(&row, "%s / %s (%s)", dr_text_count(moved, sizeof moved, done),
			dr_text_count(all, sizeof all, found),
			render_percent(percent, sizeof percent, done, found));
		(void)printf("%-*s  %-24s  %-34s  ", width, cli_text(line, "campaign"),
			cli_text(line, "state"), dr_buf_cstr(&row));
		/* A clone has no OSTs, but two trees. */
		if (*cli_text(line, "to")) {
			(void)printf("%s -> %s\n", cli_text(line, "from"), cli_text(line, "to"));
		} else {
			(void)printf("%s\n", cli_text(line, "osts"));
		}
	}
	dr_buf_fini(&row);
}

int cli_list(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "One JSON array on one line", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_list, NULL,
		"Shows all campaigns of the base path.", NULL, NULL, NULL };
	dr_cleanup(dr_freep) char *message = NULL;
	struct dirent **entries = NULL;
	bool json = false;
	int r;

	cli_parse(&argp, "list", argc, argv, &json);
	r = cli_load(cli);
	if (r) {
		return r;
	}
	dr_cleanup(dr_freep) char *base = cli_escape(cli->options.base_path);
	int n = scandir(cli->options.base_path, &entries, maybe_campaign, alphasort);
	if (n < 0 && errno != ENOENT) {
		return cli_refuse("cannot read %s: %s", base, cli_strerror(-errno));
	}
	struct names names = { 0 };
	for (int i = 0; i < n; i++) {
		add_name(&names, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	if (cli->options.engine &&
		dr_engine_list(cli->options.engine, add_name, &names, &message) < 0) {
		(void)cli_error("%s: its campaigns are not shown", message);
	}
	json_t *list = summaries(&cli->options, &names);
	if (json) {
		print_json(list);
	} else if (json_array_size(list) == 0) {
		(void)printf("No campaigns in %s\n", base);
	} else {
		print_list(list);
	}
	json_decref(list);
	return CLI_OK;
}
