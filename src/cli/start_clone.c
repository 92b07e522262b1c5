/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/start_clone.h"

#include "base/fdio.h"
#include "base/text.h"
#include "campaign/engine.h"
#include "work/clone_filter.h"
#include "work/clone_layout.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* start clone: everything is checked first; then the folder, whole or not at all, and the record of what fills the target. */

#define FILE_MAX (256u << 20) /* bytes of a file of exceptions or rules */

/* ---- files that come along ---- */

static int read_file(const char *option, struct clone_file *file)
{
	int r = dr_read_file(AT_FDCWD, file->path, FILE_MAX, &file->text);

	if (r < 0) {
		dr_cleanup(dr_freep) char *path = cli_escape(file->path);
		return cli_refuse("%s: cannot read %s: %s", option, path, cli_strerror(r));
	}
	return CLI_OK;
}

static int refuse_file(const char *option, const struct clone_file *file, const char *message)
{
	dr_cleanup(dr_freep) char *path = cli_escape(file->path);
	dr_cleanup(dr_freep) char *what = cli_escape(message ? message : "cannot be used");

	return cli_refuse("%s: %s:%s", option, path, what);
}

static int take_exceptions(struct clone_args *args, const char *root)
{
	dr_cleanup(dr_freep) char *message = NULL;
	struct dr_clone_exceptions *exceptions = NULL;
	struct clone_file *file = &args->exceptions;
	int r = file->path ? read_file("--exceptions", file) : CLI_OK;

	if (r != CLI_OK || !file->path) {
		return r;
	}
	if (dr_clone_exceptions_new(
		    root, dr_buf_cstr(&file->text), file->text.len, &exceptions, &message) < 0) {
		return refuse_file("--exceptions", file, message);
	}
	args->clone->n_exceptions = dr_clone_n_exceptions(exceptions);
	dr_clone_exceptions_free(exceptions);
	return CLI_OK;
}

static int take_rules(struct clone_args *args)
{
	dr_cleanup(dr_freep) char *message = NULL;
	struct dr_clone_layouts *layouts = NULL;
	struct clone_file *file = &args->rules;
	int r = file->path ? read_file("--layout", file) : CLI_OK;

	if (r != CLI_OK || !file->path) {
		return r;
	}
	if (dr_clone_layouts_new(dr_buf_cstr(&file->text), file->text.len, &layouts, &message) <
		0) {
		return refuse_file("--layout", file, message);
	}
	dr_clone_layouts_free(layouts);
	return CLI_OK;
}

static int put_file(const struct dr_new_folder *folder, const char *name,
	const struct clone_file *file, bool is_wanted)
{
	return is_wanted ? dr_replace_file(folder->fd, name, 0640, file->text.data, file->text.len)
			 : 0;
}

/* ---- the spec ---- */

static int take_excludes(const struct clone_args *args, const char *root, struct dr_spec *spec)
{
	struct paths excludes = { 0 }, names = { 0 };
	int r = CLI_OK;

	for (size_t i = 0; i < args->n_excludes && r == CLI_OK; i++) {
		r = paths_exclude(args->excludes[i], root, "does not lie below", &excludes, &names);
	}
	spec->excludes = excludes.v;
	spec->n_excludes = excludes.n;
	spec->exclude_names = names.v;
	spec->n_exclude_names = names.n;
	for (size_t i = 0; i < excludes.n && r == CLI_OK; i++) {
		if (excludes.v[i].len == 0) {
			r = cli_refuse(
				"--exclude-path: all of --from is excluded; nothing is left");
		}
	}
	return r;
}

static char *ids_text(const struct dr_idset *set)
{
	dr_cleanup(dr_buf_fini) struct dr_buf text = { 0 };

	dr_idset_format(set, &text);
	return set->n > 0 ? dr_xstrdup(dr_buf_cstr(&text)) : NULL;
}

static int fill_spec(const struct clone_args *args, const struct places *places, bool external,
	struct dr_spec *spec)
{
	struct dr_spec_clone *clone = &spec->clone;
	int r = start_fill(args->name, args->dry_run, external, spec);

	spec->kind = DR_CLONE;
	spec->fs_root = dr_xstrdup(places->from->path);
	spec->fs_identity = dr_xstrdup(places->from_identity);
	spec->fs_kind = dr_xstrdup(places->from->kind == DR_FS_LUSTRE ? "lustre" : "posix");
	spec->osts_text = dr_xstrdup("");
	spec->scan_paths = dr_xcalloc(1, sizeof *spec->scan_paths);
	spec->scan_paths[0].bytes = dr_xstrdup("");
	spec->n_scan_paths = 1;
	clone->from = dr_xstrdup(places->from->path);
	clone->to = dr_xstrdup(places->to->path);
	clone->from_identity = dr_xstrdup(places->from_identity);
	clone->to_identity = dr_xstrdup(places->to_identity);
	clone->uids = ids_text(&args->uids);
	clone->gids = ids_text(&args->gids);
	clone->projects = ids_text(&args->projects);
	return r;
}

static bool takes_all(const struct dr_spec *spec)
{
	const struct dr_spec_clone *clone = &spec->clone;

	return clone->oldest_s == 0 && clone->newest_s == 0 && clone->min_size == 0 &&
	       clone->max_size == 0 && !clone->uids && !clone->gids && !clone->projects &&
	       clone->n_exceptions == 0 && spec->n_excludes == 0 && spec->n_exclude_names == 0;
}

/* ---- the campaign ---- */

/* The record comes last: a campaign that is not noted deletes nothing, while a note without a campaign would be a lie. */
static int note_record(
	const struct cli *cli, const struct places *places, const struct dr_spec *spec)
{
	dr_cleanup(dr_freep) char *base = cli_escape(cli->options.base_path);
	dr_cleanup(dr_freep) char *message = NULL;

	if (!(spec->clone.passes & DR_PASS_COPY) || spec->dry_run) {
		return CLI_OK;
	}
	int r = dr_clone_record_note(
		cli->options.base_path, spec, places->record, places->to_is_empty);
	if (r >= 0) {
		return CLI_OK;
	}
	if (spec->external && dr_engine_forget(cli->options.engine, spec, &message) < 0) {
		(void)cli_error("campaign '%s' stays there: %s", spec->name, message);
	}
	start_take_back(cli, spec);
	return r == -EAGAIN ? cli_refuse("--to: another campaign into it was started just now")
			    : cli_refuse("cannot note in %s/.clones what fills --to: %s", base,
				      cli_strerror(r));
}

static int create(const struct cli *cli, const struct clone_args *args, const struct places *places,
	const struct dr_spec *spec)
{
	struct baggage baggage = { .signal_fd = -EBADF };
	int r = baggage_hold_signals(&baggage);

	r = r < 0 ? r : dr_folder_begin(cli->options.base_path, &baggage.folder);
	r = r < 0 ? r
		  : put_file(&baggage.folder, "exceptions", &args->exceptions,
			    spec->clone.n_exceptions > 0);
	r = r < 0 ? r : put_file(&baggage.folder, "layout", &args->rules, args->rules.path);
	if (r < 0) {
		dr_cleanup(dr_freep) char *base = cli_escape(cli->options.base_path);
		r = cli_refuse(
			"cannot create campaign '%s' in %s: %s", spec->name, base, cli_strerror(r));
	} else {
		r = start_create(cli, spec, &baggage);
	}
	if (r == CLI_OK) {
		r = note_record(cli, places, spec);
	}
	baggage_drop(&baggage);
	return r;
}

static void tell(const struct cli *cli, const struct dr_spec *spec)
{
	dr_cleanup(dr_freep) char *from = cli_escape(spec->clone.from);
	dr_cleanup(dr_freep) char *to = cli_escape(spec->clone.to);
	dr_cleanup(dr_freep) char *config = cli_config_words(cli);
	const char *comma = "";
	char n[32];

	(void)printf("Created campaign '%s': clone %s to %s%s\n  passes  ", spec->name, from, to,
		spec->dry_run ? " (dry run: nothing will be changed)" : "");
	for (unsigned pass = 1; pass <= DR_PASS_VERIFY; pass <<= 1) {
		if (spec->clone.passes & pass) {
			(void)printf("%s%s", comma, dr_pass_name(pass));
			comma = ", ";
		}
	}
	(void)putchar('\n');
	if (spec->clone.n_exceptions > 0) {
		(void)printf("  without %s paths of the exceptions\n",
			dr_text_count(n, sizeof n, spec->clone.n_exceptions));
	}
	(void)printf("Next, on every node that shall work and has both mounted:\n"
		     "  droverd%s --campaign %s\nor here, in the foreground:\n"
		     "  drover%s run %s\n",
		config, spec->name, config, spec->name);
}

/* All that is checked before anything is made. */
static int prepare(
	struct cli *cli, struct clone_args *args, struct places *places, struct dr_spec *spec)
{
	int r = clone_args_check(args);

	r = r == CLI_OK ? cli_load(cli) : r;
	r = r == CLI_OK ? start_check_new(cli, args->name) : r;
	r = r == CLI_OK
		    ? start_check_engine(cli, args->exceptions.path ? "--exceptions: the file lies"
					      : args->rules.path    ? "--layout: the file lies"
								    : NULL)
		    : r;
	r = r == CLI_OK ? places_open(args->from, args->to, places) : r;
	r = r == CLI_OK ? places_check_apart(places) : r;
	r = r == CLI_OK ? take_excludes(args, places->from->path, spec) : r;
	if (r == CLI_OK) {
		const struct paths excludes = { spec->excludes, spec->n_excludes };
		r = places_check_base(places, cli->options.base_path, &excludes);
	}
	r = r == CLI_OK ? take_exceptions(args, places->from->path) : r;
	r = r == CLI_OK ? take_rules(args) : r;
	r = r == CLI_OK ? places_check_target(
				  places, cli->options.base_path, &spec->clone, args->dry_run)
			: r;
	r = r == CLI_OK ? fill_spec(args, places, cli->options.engine != NULL, spec) : r;
	if (r == CLI_OK && spec->clone.passes & DR_PASS_COPY) {
		r = places_check_room(places, takes_all(spec), cli->options.reserve_percent);
	}
	return r;
}

int cli_start_clone(struct cli *cli, int argc, char **argv)
{
	dr_cleanup(dr_spec_freep) struct dr_spec *spec = dr_xcalloc(1, sizeof *spec);
	dr_cleanup(clone_args_fini) struct clone_args args = { .clone = &spec->clone };
	dr_cleanup(places_fini) struct places places = { 0 };

	spec->clone.max_delete = UINT64_MAX;
	clone_args_parse(argc, argv, &args);
	int r = prepare(cli, &args, &places, spec);
	if (r == CLI_OK) {
		r = create(cli, &args, &places, spec);
	}
	if (r == CLI_OK) {
		tell(cli, spec);
	}
	return r;
}
