/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/start.h"

#include "base/text.h"
#include "cli/start_clone.h"

#include <stdio.h>
#include <string.h>

/*
 * start: everything is checked first; the folder comes last, whole or not at all.
 */

enum { KEY_NAME = 0x100, KEY_OSTS, KEY_SCAN, KEY_LIST, KEY_ROOT, KEY_EXCLUDE, KEY_DRY_RUN };

struct start_args {
	const char *name, *osts, *list, *root;
	const char **scans, **excludes; /* lent by argv */
	size_t n_scans, n_excludes;
	bool dry_run, nul;
};

static void add_word(const char ***words, size_t *n, const char *word)
{
	*words = dr_xrealloc(*words, (*n + 1) * sizeof **words);
	(*words)[(*n)++] = word;
}

static error_t parse_start(int key, char *arg, struct argp_state *state)
{
	struct start_args *args = state->input;

	switch (key) {
	case KEY_NAME:
		args->name = arg;
		return 0;
	case KEY_OSTS:
		args->osts = arg;
		return 0;
	case KEY_SCAN:
	case ARGP_KEY_ARG: /* what the shell made of --scan-path GLOB */
		add_word(&args->scans, &args->n_scans, arg);
		return 0;
	case KEY_LIST:
		if (args->list) {
			exit(cli_refuse("start: one --from-list only"));
		}
		args->list = arg;
		return 0;
	case KEY_ROOT:
		args->root = arg;
		return 0;
	case '0':
		args->nul = true;
		return 0;
	case KEY_EXCLUDE:
		add_word(&args->excludes, &args->n_excludes, arg);
		return 0;
	case KEY_DRY_RUN:
		args->dry_run = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What is known without looking at any file system. */
static int check_words(const struct start_args *args, struct dr_rangeset *osts)
{
	if (!args->name) {
		return cli_refuse("start: --name is missing");
	}
	if (!args->osts) {
		return cli_refuse("start: --osts is missing");
	}
	if (args->n_scans == 0 && !args->list) {
		return cli_refuse("start: --scan-path or --from-list is missing");
	}
	if ((args->nul || args->root) && !args->list) {
		return cli_refuse(
			"start: %s goes with --from-list only", args->nul ? "-0" : "--root");
	}
	if (!dr_spec_name_ok(args->name)) {
		dr_cleanup(dr_freep) char *name = cli_escape(args->name);
		return cli_refuse(
			"--name: '%s' is not a name: 1 to 64 letters, digits, '.', '_' or '-', "
			"the first no '.' or '-'",
			name);
	}
	int r = dr_rangeset_parse(args->osts, osts);
	if (r < 0) {
		dr_cleanup(dr_freep) char *text = cli_escape(args->osts);
		return cli_refuse("--osts: '%s' %s", text,
			r == -ERANGE ? "holds an index past 65535"
				     : "is not a range of OSTs like 10-20,30");
	}
	return CLI_OK;
}

/* The room that drover may use on a target. */
static uint64_t room_on(const struct dr_ost *ost, uint64_t reserve_percent)
{
	uint64_t reserve = (uint64_t)((unsigned __int128)ost->total_bytes * reserve_percent / 100);
	uint32_t unfit =
		DR_OST_READONLY | DR_OST_NOCREATE | DR_OST_ENOSPC | DR_OST_ENOINO | DR_OST_DOWN;

	return ost->state & unfit || ost->avail_bytes <= reserve ? 0 : ost->avail_bytes - reserve;
}

struct room {
	uint64_t used, objects; /* on the sources */
	uint64_t room;          /* on the targets */
};

static int check_osts(const struct dr_rangeset *sources, const struct dr_ost *osts, size_t n,
	uint64_t reserve_percent, struct room *ret_room)
{
	struct room room = { 0 };
	struct dr_rangeset missing = { 0 };
	size_t targets = 0;
	char used[32], free_text[32];

	dr_rangeset_copy(&missing, sources);
	for (size_t i = 0; i < n; i++) {
		if (dr_rangeset_has(sources, osts[i].index)) {
			dr_rangeset_remove(&missing, osts[i].index);
			room.used += osts[i].used_bytes;
			room.objects += osts[i].objects;
		} else {
			targets++;
			room.room += room_on(&osts[i], reserve_percent);
		}
	}
	if (missing.count > 0) {
		struct dr_buf text = { 0 };
		dr_rangeset_format(&missing, &text);
		int r = cli_refuse("--osts: the file system has no OST %s", dr_buf_cstr(&text));
		dr_buf_fini(&text);
		dr_rangeset_fini(&missing);
		return r;
	}
	dr_rangeset_fini(&missing);
	if (targets == 0) {
		return cli_refuse("--osts: all %zu OSTs are sources, and no target is left", n);
	}
	if (room.used > room.room) {
		return cli_refuse(
			"the sources hold %s, and the targets have room for %s only (%llu%% of "
			"each is kept free, closed and full ones do not count)",
			dr_text_bytes(used, sizeof used, room.used),
			dr_text_bytes(free_text, sizeof free_text, room.room),
			(unsigned long long)reserve_percent);
	}
	*ret_room = room;
	return CLI_OK;
}

static int look_at_osts(struct dr_fs *fs, const struct dr_rangeset *sources,
	uint64_t reserve_percent, struct room *ret_room)
{
	struct dr_ost *osts = NULL;
	size_t n = 0;
	int r = fs->ops->osts ? fs->ops->osts(fs, &osts, &n) : -ENOTSUP;

	if (r < 0) {
		dr_cleanup(dr_freep) char *root = cli_escape(fs->root);
		return cli_refuse("cannot read the OSTs of %s: %s", root, cli_strerror(r));
	}
	r = check_osts(sources, osts, n, reserve_percent, ret_room);
	free(osts);
	return r;
}

static int take_list(const struct cli *cli, const struct start_args *args, struct dr_spec *spec,
	struct dr_fs **fs, struct baggage *baggage)
{
	int r = baggage_hold_signals(baggage);

	if (r == 0) {
		r = dr_folder_begin(cli->options.base_path, &baggage->folder);
	}
	if (r < 0) {
		dr_cleanup(dr_freep) char *base = cli_escape(cli->options.base_path);
		return cli_refuse(
			"cannot create campaign '%s' in %s: %s", args->name, base, cli_strerror(r));
	}
	return list_take(args->list, args->nul, fs, baggage->folder.fd, baggage->signal_fd, spec);
}

/*
 * Opens the file system, takes the list and fills the spec's paths. *ret_fs is open also after an error, or NULL.
 */
static int collect_paths(const struct cli *cli, const struct start_args *args, struct dr_spec *spec,
	struct dr_fs **ret_fs, struct baggage *baggage)
{
	struct paths scans = { 0 }, excludes = { 0 }, names = { 0 };
	int r = CLI_OK;

	for (size_t i = 0; i < args->n_scans && r == CLI_OK; i++) {
		r = paths_scan(args->scans[i], ret_fs, &scans);
	}
	if (args->root && r == CLI_OK) {
		r = paths_root(args->root, ret_fs);
	}
	if (args->list && r == CLI_OK) {
		r = take_list(cli, args, spec, ret_fs, baggage);
	}
	for (size_t i = 0; i < args->n_excludes && r == CLI_OK; i++) {
		r = paths_exclude(args->excludes[i], (*ret_fs)->root, "is not on the file system",
			&excludes, &names);
	}
	if (r == CLI_OK) {
		paths_reduce(&scans, &excludes, &names);
		if (scans.n == 0 && args->n_scans > 0) {
			r = cli_refuse(
				"--exclude-path: every scan path is excluded; nothing is left");
		}
	}
	spec->scan_paths = scans.v;
	spec->n_scan_paths = scans.n;
	spec->excludes = excludes.v;
	spec->n_excludes = excludes.n;
	spec->exclude_names = names.v;
	spec->n_exclude_names = names.n;
	return r;
}

static int fill_spec(
	const struct start_args *args, struct dr_fs *fs, bool external, struct dr_spec *spec)
{
	struct dr_buf osts = { 0 };
	char identity[256];
	int r = fs->ops->identity(fs, identity, sizeof identity);

	if (r < 0) {
		dr_cleanup(dr_freep) char *root = cli_escape(fs->root);
		return cli_refuse("cannot tell which file system %s is: %s", root, cli_strerror(r));
	}
	r = start_fill(args->name, args->dry_run, external, spec);
	if (r != CLI_OK) {
		return r;
	}
	dr_rangeset_format(&spec->osts, &osts);
	spec->kind = DR_EVACUATE;
	spec->fs_root = dr_xstrdup(fs->root);
	spec->fs_identity = dr_xstrdup(identity);
	spec->fs_kind = dr_xstrdup(fs->ops->name);
	spec->osts_text = dr_xstrdup(dr_buf_cstr(&osts));
	dr_buf_fini(&osts);
	return CLI_OK;
}

static void tell(const struct cli *cli, const struct dr_spec *spec, const struct room *room)
{
	dr_cleanup(dr_freep) char *root = cli_escape(spec->fs_root);
	dr_cleanup(dr_freep) char *config = cli_config_words(cli);
	char objects[32], used[32], free_text[32];

	(void)printf("Created campaign '%s': empty OST %s of %s%s\n", spec->name, spec->osts_text,
		root, spec->dry_run ? " (dry run: nothing will move)" : "");
	for (size_t i = 0; i < spec->n_scan_paths; i++) {
		dr_cleanup(dr_freep) char *path = cli_escape(spec->scan_paths[i].bytes);
		(void)printf("  scans   %s%s%s\n", root, *path ? "/" : "", path);
	}
	if (spec->n_candidates > 0) {
		char candidates[32];
		(void)printf("  looks at %s files of the list\n",
			dr_text_count(candidates, sizeof candidates, spec->n_candidates));
	}
	(void)printf("  sources %s objects, %s; the targets have room for %s\n",
		dr_text_count(objects, sizeof objects, room->objects),
		dr_text_bytes(used, sizeof used, room->used),
		dr_text_bytes(free_text, sizeof free_text, room->room));
	(void)printf("Next, on every node that shall work:\n  droverd%s --campaign %s\n"
		     "or here, in the foreground:\n  drover%s run %s\n",
		config, spec->name, config, spec->name);
}

/* The kind may stand before the options; balance is for a later version. */
static int take_kind(int *argc, char ***argv, bool *ret_is_clone)
{
	if (*argc < 2 || (*argv)[1][0] == '-') {
		return CLI_OK;
	}
	const char *kind = (*argv)[1];
	if (strcmp(kind, "balance") == 0) {
		return cli_refuse("start balance: this version can only evacuate and clone");
	}
	*ret_is_clone = strcmp(kind, "clone") == 0;
	if (!*ret_is_clone && strcmp(kind, "evacuate") != 0) {
		dr_cleanup(dr_freep) char *word = cli_escape(kind);
		return cli_refuse("start: '%s' is no kind of campaign; this version knows "
				  "evacuate and clone",
			word);
	}
	(*argc)--;
	(*argv)++;
	return CLI_OK;
}

int cli_start(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "name", KEY_NAME, "NAME", 0, "The campaign's name", 0 },
		{ "osts", KEY_OSTS, "RANGE", 0, "Indices of the OSTs to empty, like 10-20,30", 0 },
		{ "scan-path", KEY_SCAN, "GLOB", 0, "Directories to look for files in", 0 },
		{ "from-list", KEY_LIST, "FILE", 0,
			"Files to look at: absolute paths or FIDs, one a line; '-': standard input",
			0 },
		{ "null", '0', NULL, 0, "In the list a NUL ends each file, not a newline", 0 },
		{ "root", KEY_ROOT, "DIR", 0,
			"The file system of a list that holds nothing but FIDs", 0 },
		{ "exclude-path", KEY_EXCLUDE, "PATH", 0,
			"Leave this out: an absolute path, or names that count at any depth", 0 },
		{ "dry-run", KEY_DRY_RUN, NULL, 0, "Do all but the copy and the swap", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_start, "[evacuate] [GLOB...]",
		"Creates a campaign that empties OSTs. Daemons then do the work. For campaigns that copy a tree: drover start clone --help\v"
		"Nothing is created when something is wrong with the options.",
		NULL, NULL, NULL };
	dr_cleanup(dr_spec_freep) struct dr_spec *spec = dr_xcalloc(1, sizeof *spec);
	struct start_args args = { 0 };
	struct dr_fs *fs = NULL;
	struct room room = { 0 };
	struct baggage baggage = { .signal_fd = -EBADF };
	bool is_clone = false;
	int r = take_kind(&argc, &argv, &is_clone);

	if (r == CLI_OK && is_clone) {
		return cli_start_clone(cli, argc, argv);
	}
	if (r == CLI_OK) {
		cli_parse(&argp, "start", argc, argv, &args);
		r = check_words(&args, &spec->osts);
	}
	if (r == CLI_OK) {
		r = cli_load(cli);
	}
	if (r == CLI_OK) {
		r = start_check_new(cli, args.name);
	}
	if (r == CLI_OK) {
		r = start_check_engine(cli, args.list ? "--from-list: the list lies" : NULL);
	}
	if (r == CLI_OK) {
		r = collect_paths(cli, &args, spec, &fs, &baggage);
	}
	if (r == CLI_OK) {
		r = look_at_osts(fs, &spec->osts, cli->options.reserve_percent, &room);
	}
	if (r == CLI_OK) {
		r = fill_spec(&args, fs, cli->options.engine != NULL, spec);
	}
	if (r == CLI_OK) {
		r = start_create(cli, spec, &baggage);
	}
	if (r == CLI_OK) {
		tell(cli, spec, &room);
	}
	baggage_drop(&baggage);
	if (fs) {
		dr_fs_close(fs);
	}
	free(args.scans);
	free(args.excludes);
	return r;
}
