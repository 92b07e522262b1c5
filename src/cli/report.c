/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "campaign/control.h"
#include "cli/cli.h"
#include "cli/render.h"
#include "fs/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/*
 * report: for every source what moved, what is left and why, and whether it may be removed; then the
 * leftovers. Memory is bounded: of the leftovers only the first ones are kept, unless --all.
 */

#define SHOWN_TEXT 20u
#define SHOWN_JSON 1000u
#define REASONS_MAX 256u /* kinds of reasons counted for an OST; more go under one heading */

struct report_args {
	const char *name;
	bool json, all;
};

/* What is left on an OST for one reason. */
struct left {
	char *class, *reason;
	uint64_t files;
};

struct source {
	uint32_t ost;
	char name[64];
	uint64_t files_moved, bytes_moved;
	uint64_t files_appeared; /* on it, during the campaign */
	const json_t *closing;   /* lent by the status; NULL: nothing is known of it */
	bool shows_closed; /* its state says so: now, or, where that is unknown, when a leader looked last */
	uint64_t files_left;
	struct left *left;
	size_t n_left;
	bool objects_known, objects_exact;
	uint64_t objects;
};

struct report {
	json_t *status;
	struct dr_spec *spec; /* lent */
	struct source *sources;
	size_t n_sources;
	json_t *shown; /* leftovers, the first ones */
	uint64_t shown_max;
	uint64_t leftovers; /* all */
	bool complete;      /* the leftovers could be read, all of them */
};

static error_t parse_report(int key, char *arg, struct argp_state *state)
{
	struct report_args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case 'a':
		args->all = true;
		return 0;
	default:
		return cli_parse_name(key, arg, "report", &args->name);
	}
}

static void report_fini(struct report *report)
{
	for (size_t i = 0; i < report->n_sources; i++) {
		struct source *source = &report->sources[i];
		for (size_t j = 0; j < source->n_left; j++) {
			free(source->left[j].class);
			free(source->left[j].reason);
		}
		free(source->left);
	}
	free(report->sources);
	json_decref(report->shown);
	json_decref(report->status);
}

static struct source *find_source(struct report *report, json_int_t ost)
{
	for (size_t i = 0; i < report->n_sources; i++) {
		if ((json_int_t)report->sources[i].ost == ost) {
			return &report->sources[i];
		}
	}
	return NULL;
}

/* "copy: Input/output error" */
static char *reason_of(const json_t *leftover)
{
	const char *step = cli_text(leftover, "step");
	const char *error = cli_text(leftover, "error");

	return dr_xasprintf("%s%s%s", step, *step && *error ? ": " : "", error);
}

static void count_left(struct source *source, const char *class, const char *reason)
{
	source->files_left++;
	if (source->n_left >= REASONS_MAX) {
		reason = "other reasons";
	}
	for (size_t i = 0; i < source->n_left; i++) {
		struct left *left = &source->left[i];
		if (strcmp(left->class, class) == 0 && strcmp(left->reason, reason) == 0) {
			left->files++;
			return;
		}
	}
	source->left = dr_xrealloc(source->left, (source->n_left + 1) * sizeof *source->left);
	source->left[source->n_left++] = (struct left){
		.class = dr_xstrdup(class),
		.reason = dr_xstrdup(reason),
		.files = 1,
	};
}

static int take_leftover(void *ctx, const json_t *leftover)
{
	struct report *report = ctx;
	const json_t *osts = json_object_get(leftover, "osts");
	dr_cleanup(dr_freep) char *reason = reason_of(leftover);

	report->leftovers++;
	for (size_t i = 0; i < json_array_size(osts); i++) {
		struct source *source =
			find_source(report, json_integer_value(json_array_get(osts, i)));
		if (source) {
			count_left(source, cli_text(leftover, "class"), reason);
		}
	}
	if (json_array_size(report->shown) < report->shown_max) {
		json_array_append_new(report->shown, json_deep_copy(leftover));
	}
	return 0;
}

/* The list that the leader wrote when the campaign was over. */
static int read_list(const struct dr_folder *folder, struct report *report)
{
	dr_cleanup(dr_freep) char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int r = 0;
	int fd = openat(folder->fd, "leftovers.jsonl", O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		return -errno;
	}
	FILE *file = fdopen(fd, "r");
	if (!file) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	while (r == 0 && (len = getline(&line, &size, file)) >= 0) {
		json_t *leftover = json_loadb(line, (size_t)len, 0, NULL);
		r = leftover ? take_leftover(report, leftover) : -EBADMSG;
		json_decref(leftover);
	}
	if (r == 0 && ferror(file)) {
		r = -EIO;
	}
	(void)fclose(file);
	return r;
}

/* @return CLI_OK, or CLI_BAD_INPUT with the message printed */
static int read_leftovers(const struct cli_campaign *campaign, struct report *report)
{
	const char *state = cli_text(report->status, "state");
	const json_t *progress = json_object_get(report->status, "progress");
	bool none = cli_number(progress, "skipped") + cli_number(progress, "failed") == 0;
	struct dr_store *store = NULL;
	int r = -ENOENT;

	/* The site's own server has the list itself; what lies here may be of another host's time. */
	if (!campaign->folder.engine &&
		(dr_state_is_final(state) || strcmp(state, DR_STATE_REOPENED) == 0)) {
		r = read_list(&campaign->folder, report);
	}
	if (r == -ENOENT) {
		r = dr_control_connect(&campaign->folder, campaign->spec, &store);
		if (r >= 0) {
			r = dr_control_leftovers(
				store, campaign->spec, UINT64_MAX, take_leftover, report);
		}
		dr_store_free(store);
	}
	if (r == -EACCES || r == -EPERM) {
		return cli_refuse("the leftovers of '%s' are not ours to read: root is needed",
			campaign->spec->name);
	}
	report->complete = r >= 0 || none;
	return CLI_OK;
}

static void take_moved(struct report *report)
{
	const json_t *list = json_object_get(report->status, "sources");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *moved = json_array_get(list, i);
		struct source *source =
			find_source(report, json_integer_value(json_object_get(moved, "ost")));
		if (source) {
			source->files_moved = cli_number(moved, "files_moved");
			source->bytes_moved = cli_number(moved, "bytes_moved");
			source->files_appeared = cli_number(moved, "files_appeared");
			source->closing = json_object_get(moved, "closing");
			source->shows_closed =
				json_is_true(json_object_get(source->closing, "state_shows_it"));
		}
	}
}

/*
 * What the file system says about the sources now. Where it cannot be opened the objects stay
 * unknown, and no source is called ready.
 */
static void take_objects(struct report *report)
{
	bool over = dr_state_is_final(cli_text(report->status, "state"));
	char identity[256] = "";
	struct dr_ost *osts = NULL;
	struct dr_fs *fs = NULL;
	size_t n = 0;

	if (dr_fs_open_root(report->spec->fs_root, &fs) < 0) {
		return;
	}
	/* Another file system may be mounted in its place by now. */
	if (fs->ops->identity(fs, identity, sizeof identity) < 0 ||
		strcmp(identity, report->spec->fs_identity) != 0 || !fs->ops->osts ||
		fs->ops->osts(fs, &osts, &n) < 0) {
		n = 0;
	}
	for (size_t i = 0; i < n; i++) {
		struct source *source = find_source(report, (json_int_t)osts[i].index);
		if (!source) {
			continue;
		}
		(void)snprintf(source->name, sizeof source->name, "%s", osts[i].name);
		source->objects = osts[i].objects;
		source->objects_known = !(osts[i].state & DR_OST_DOWN);
		source->objects_exact = osts[i].objects_exact;
		if (!(osts[i].state & DR_OST_DOWN)) {
			source->shows_closed = osts[i].state & DR_OST_NOCREATE;
		}
		/* What is deleted and not yet freed goes first: then the count is exact. */
		if (over && source->objects > 0 && fs->ops->ost_settle &&
			fs->ops->ost_settle(fs, osts[i].index, &source->objects) < 0) {
			source->objects = osts[i].objects;
		}
	}
	free(osts);
	dr_fs_close(fs);
}

static bool scans_everything(const struct dr_spec *spec)
{
	return spec->n_scan_paths == 1 && spec->scan_paths[0].len == 0 && spec->n_excludes == 0 &&
	       spec->n_exclude_names == 0;
}

/* @return true ready; *ret_why (malloc'ed) says it in words in either case */
static bool is_ready(const struct report *report, const struct source *source, char **ret_why)
{
	const char *state = cli_text(report->status, "state");
	/* Without scan paths only the listed files were looked at: then nothing but the OST itself can say that it is empty. */
	bool only_list = report->spec->n_scan_paths == 0;
	bool over =
		strcmp(state, DR_STATE_COMPLETED) == 0 || strcmp(state, DR_STATE_LEFTOVERS) == 0;
	char text[32];

	if (json_is_true(json_object_get(report->status, "dry_run"))) {
		*ret_why = dr_xstrdup("a dry run moves nothing");
	} else if (!over) {
		*ret_why = dr_xasprintf("the campaign is not over (%s)", state);
	} else if (!report->complete) {
		*ret_why = dr_xstrdup("the list of what is left cannot be read");
	} else if (source->files_left > 0) {
		*ret_why = dr_xasprintf(
			"%s files are left", dr_text_count(text, sizeof text, source->files_left));
	} else if (!source->objects_known) {
		*ret_why = dr_xstrdup("the OST cannot be asked for its objects");
	} else if (source->objects_exact && source->objects > 0) {
		*ret_why = dr_xasprintf(
			"it holds %s objects that the campaign did not meet: excluded, "
			"%s, or new",
			dr_text_count(text, sizeof text, source->objects),
			only_list ? "not in its list" : "outside its paths");
	} else if (only_list && !source->objects_exact) {
		*ret_why = dr_xstrdup("only the files of a list were looked at, and the objects on "
				      "the OST cannot be counted exactly");
	} else if (!source->objects_exact && !scans_everything(report->spec)) {
		*ret_why = dr_xstrdup(
			"its paths were scanned, not the whole file system, and the objects "
			"on the OST cannot be counted exactly");
	} else if (!source->objects_exact) {
		*ret_why = dr_xstrdup("a last scan of the whole file system found nothing");
		return true;
	} else if (only_list) {
		*ret_why = dr_xstrdup("no object is left");
		return true;
	} else {
		*ret_why = dr_xstrdup("a last scan found nothing, and no object is left");
		return true;
	}
	return false;
}

/* How close_command or open_command ended; NULL: drover ran none. */
static const char *closing_command(const struct source *source)
{
	const char *command = cli_text(source->closing, "command");

	return *command ? command : NULL;
}

/* Whether the OST takes new objects, as far as it is known, in words; malloc'ed. */
static char *closed_in_words(const struct source *source)
{
	const char *command = closing_command(source);
	const char *result = cli_text(source->closing, "result");
	const char *line = cli_text(source->closing, "last_line");

	if (!command) {
		return dr_xstrdup(
			source->shows_closed ? "yes, by its state" : "not closed by drover");
	}
	if (strcmp(command, "succeeded") == 0) {
		return dr_xstrdup(source->shows_closed
					  ? "yes, by command and by its state"
					  : "yes, by command (its state does not show it)");
	}
	if (strcmp(command, "reopened") == 0) {
		return dr_xstrdup(source->shows_closed
					  ? "yes, by its state, though reopened by command"
					  : "no: reopened by command");
	}
	return dr_xasprintf("%s%s%s%s",
		source->shows_closed ? "yes, by its state, though the command failed: " : "no: ",
		result, *line ? ": " : "", line);
}

static json_t *closed_to_json(const struct source *source)
{
	const char *command = closing_command(source);
	dr_cleanup(dr_freep) char *words = closed_in_words(source);
	bool closed = source->shows_closed || (command && strcmp(command, "succeeded") == 0);

	return json_pack("{s:b, s:o, s:b, s:s, s:s, s:s}", "closed", (int)closed, "command",
		command ? json_string(command) : json_null(), "state_shows_it",
		(int)source->shows_closed, "result", cli_text(source->closing, "result"),
		"last_line", cli_text(source->closing, "last_line"), "why", words);
}

static json_t *source_to_json(const struct report *report, const struct source *source)
{
	dr_cleanup(dr_freep) char *why = NULL;
	bool ready = is_ready(report, source, &why);
	json_t *left = json_array();

	for (size_t i = 0; i < source->n_left; i++) {
		json_array_append_new(
			left, json_pack("{s:s, s:s, s:I}", "class", source->left[i].class, "reason",
				      source->left[i].reason, "files",
				      (json_int_t)source->left[i].files));
	}
	return json_pack("{s:i, s:s, s:I, s:I, s:I, s:o, s:I, s:o, s:o, s:b, s:s}", "ost",
		(int)source->ost, "name", source->name, "files_moved",
		(json_int_t)source->files_moved, "bytes_moved", (json_int_t)source->bytes_moved,
		"files_left", (json_int_t)source->files_left, "left", left, "files_appeared",
		(json_int_t)source->files_appeared, "closed_to_new_objects", closed_to_json(source),
		"objects",
		source->objects_known ? json_integer((json_int_t)source->objects) : json_null(),
		"ready_to_remove", (int)ready, "why", why);
}

static void print_json(const struct report *report)
{
	static const char *const keys[] = { "campaign", "kind", "state", "reason", "dry_run",
		"from", "to", "passes", "stage", "started_ms", "finished_ms", "elapsed_seconds",
		"progress", "list" };
	json_t *json = json_object();
	json_t *osts = json_array();

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		json_t *value = json_object_get(report->status, keys[i]);
		if (value) {
			json_object_set(json, keys[i], value);
		}
	}
	for (size_t i = 0; i < report->n_sources; i++) {
		json_array_append_new(osts, source_to_json(report, &report->sources[i]));
	}
	json_t *reasons = json_object_get(report->status, "reasons");
	json_object_set_new(json, "osts", osts);
	json_object_set_new(json, "reasons", reasons ? json_incref(reasons) : json_array());
	const json_t *scan = json_object_get(report->status, "scan");
	json_t *errors = json_object_get(scan, "error_list");
	json_object_set_new(
		json, "scan_errors_total", json_integer((json_int_t)cli_number(scan, "errors")));
	json_object_set_new(json, "scan_errors", errors ? json_incref(errors) : json_array());
	json_t *residue = json_object_get(scan, "residue_list");

	json_object_set_new(
		json, "residue_total", json_integer((json_int_t)cli_number(scan, "residue")));
	json_object_set_new(json, "residue", residue ? json_incref(residue) : json_array());
	json_object_set_new(json, "leftovers_total", json_integer((json_int_t)report->leftovers));
	json_object_set_new(json, "leftovers_known", json_boolean(report->complete));
	json_object_set(json, "leftovers", report->shown);
	dr_cleanup(dr_freep) char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
	(void)puts(text ? text : "{}");
	json_decref(json);
}

static void print_source(const struct report *report, const struct source *source)
{
	dr_cleanup(dr_freep) char *why = NULL;
	bool ready = is_ready(report, source, &why);
	dr_cleanup(dr_freep) char *closed = closed_in_words(source);
	char files[32], bytes[32], left[32], objects[32];

	(void)printf("OST %u%s%s%s\n", source->ost, *source->name ? " (" : "", source->name,
		*source->name ? ")" : "");
	(void)printf("  moved            %s files, %s\n",
		dr_text_count(files, sizeof files, source->files_moved),
		dr_text_bytes(bytes, sizeof bytes, source->bytes_moved));
	(void)printf("  left             %s files\n",
		report->complete ? dr_text_count(left, sizeof left, source->files_left)
				 : "unknown");
	for (size_t i = 0; i < source->n_left; i++) {
		(void)printf("    %-10s %8s  %s\n", source->left[i].class,
			dr_text_count(left, sizeof left, source->left[i].files),
			source->left[i].reason);
	}
	(void)printf("  appeared during the campaign  %s files%s\n",
		dr_text_count(files, sizeof files, source->files_appeared),
		source->files_appeared > 0 ? " (it was open to new objects)" : "");
	(void)printf("  closed to new objects  %s\n", closed);
	(void)printf("  objects on it    %s%s\n",
		source->objects_known ? dr_text_count(objects, sizeof objects, source->objects)
				      : "unknown",
		source->objects_known && !source->objects_exact ? ", the server's own among them"
								: "");
	(void)printf("  ready to remove  %s: %s\n", ready ? "yes" : "no", why);
}

/* What became of a list of candidates. */
static void print_list(const json_t *list)
{
	static const struct {
		const char *key, *words;
	} rest[] = {
		{ "gone", "are gone" },
		{ "excluded", "are excluded" },
		{ "below_paths", "lie below a scan path" },
	};
	char a[32], b[32];

	(void)printf("List: %s of %s candidates were on the OSTs",
		dr_text_count(a, sizeof a, cli_number(list, "on_sources")),
		dr_text_count(b, sizeof b, cli_number(list, "candidates")));
	for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
		uint64_t n = cli_number(list, rest[i].key);
		if (n > 0) {
			(void)printf(", %s %s", dr_text_count(a, sizeof a, n), rest[i].words);
		}
	}
	(void)putchar('\n');
}

/* The first lines of a list of the scan, of which there are more than were kept. */
static void print_scan_list(
	const json_t *scan, const char *count, const char *key, const char *what)
{
	const json_t *list = json_object_get(scan, key);
	uint64_t all = cli_number(scan, count);
	char text[32];

	if (all == 0) {
		return;
	}
	size_t n = json_array_size(list) < SHOWN_TEXT ? json_array_size(list) : SHOWN_TEXT;
	(void)printf("%s: %s", what, dr_text_count(text, sizeof text, all));
	(void)printf(n < all ? " (the first %zu)\n" : "\n", n);
	for (size_t i = 0; i < n; i++) {
		const char *path = json_string_value(json_array_get(list, i));
		(void)printf("  %s\n", path ? path : "");
	}
}

/* State, time and sums. */
static void print_head(const struct report *report)
{
	const json_t *progress = json_object_get(report->status, "progress");
	const char *reason = cli_text(report->status, "reason");
	bool is_clone = report->spec->kind == DR_CLONE;
	char moved[32], all[32], bytes[32], took[32];
	struct dr_buf text = { 0 };

	render_state(cli_text(report->status, "state"), &text);
	(void)printf("--- Campaign Report: %s ---\n", report->spec->name);
	(void)printf("State: %s%s | %s%s%sTime: %s\n", dr_buf_cstr(&text),
		json_is_true(json_object_get(report->status, "dry_run")) ? " (dry run)" : "",
		is_clone ? "" : "OSTs: ", report->spec->osts_text, is_clone ? "" : " | ",
		dr_text_duration(took, sizeof took, cli_number(report->status, "elapsed_seconds")));
	if (*reason) {
		(void)printf("Reason: %s\n", reason);
	}
	dr_buf_clear(&text);
	if (is_clone) {
		render_clone_head(report->status, &text);
	}
	(void)dr_text_count(moved, sizeof moved, cli_number(progress, "succeeded"));
	(void)dr_text_count(all, sizeof all, cli_number(progress, "discovered"));
	(void)dr_text_bytes(bytes, sizeof bytes, cli_number(progress, "bytes_succeeded"));
	if (is_clone) {
		dr_buf_printf(&text, "Files %s: %s of %s, %s\n", render_clone_word(report->status),
			moved, all, bytes);
	} else {
		dr_buf_printf(&text, "Moved: %s of %s files, %s\n", moved, all, bytes);
	}
	if (is_clone) {
		render_clone_counts(report->status, &text);
	}
	(void)fputs(dr_buf_cstr(&text), stdout);
	dr_buf_fini(&text);
}

static void print_text(const struct report *report)
{
	const json_t *list = json_object_get(report->status, "list");
	char all[32];

	print_head(report);
	if (json_is_object(list)) {
		print_list(list);
	}
	for (size_t i = 0; i < report->n_sources; i++) {
		print_source(report, &report->sources[i]);
	}
	const json_t *scan = json_object_get(report->status, "scan");

	print_scan_list(scan, "errors", "error_list", "Could not be looked at");
	print_scan_list(scan, "residue", "residue_list",
		"Without an object on these OSTs, but naming them");
	size_t shown = json_array_size(report->shown);
	if (report->leftovers == 0) {
		return;
	}
	(void)printf("Left behind: %s files", dr_text_count(all, sizeof all, report->leftovers));
	(void)printf(shown < report->leftovers ? " (the first %zu; --all shows every one)\n" : "\n",
		shown);
	for (size_t i = 0; i < shown; i++) {
		const json_t *leftover = json_array_get(report->shown, i);
		dr_cleanup(dr_freep) char *why = reason_of(leftover);
		(void)printf("  %-8s %s (%s)\n", cli_text(leftover, "class"),
			cli_text(leftover, "path"), why);
	}
}

static int make_report(const struct cli_campaign *campaign, struct report *report)
{
	int n, r = dr_control_status_any(&campaign->folder, &report->status);

	if (r < 0) {
		return cli_refuse_status(&campaign->folder, campaign->spec->name, r);
	}
	report->spec = campaign->spec;
	report->sources = dr_xcalloc(campaign->spec->osts.count + 1, sizeof *report->sources);
	for (n = dr_rangeset_next(&campaign->spec->osts, 0); n >= 0;
		n = dr_rangeset_next(&campaign->spec->osts, (uint32_t)n + 1)) {
		report->sources[report->n_sources++].ost = (uint32_t)n;
	}
	take_moved(report);
	if (report->n_sources > 0) {
		take_objects(report);
	}
	return read_leftovers(campaign, report);
}

int cli_report(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "One JSON object on one line", 0 },
		{ "all", 'a', NULL, 0, "Every leftover (without: the first 20, in JSON 1000)", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_report, "NAME",
		"Shows what a campaign moved, what is left on each OST and why, and whether the OST is "
		"ready to be removed.",
		NULL, NULL, NULL };
	struct report_args args = { 0 };
	struct cli_campaign campaign;
	int r;

	cli_parse(&argp, "report", argc, argv, &args);
	r = cli_open(cli, args.name, true, &campaign);
	if (r) {
		return r;
	}
	struct report report = {
		.shown = json_array(),
		.shown_max = args.all    ? UINT64_MAX
			     : args.json ? SHOWN_JSON
					 : SHOWN_TEXT,
	};
	r = make_report(&campaign, &report);
	if (r == CLI_OK) {
		if (args.json) {
			print_json(&report);
		} else {
			print_text(&report);
		}
	}
	report_fini(&report);
	cli_campaign_fini(&campaign);
	return r;
}
