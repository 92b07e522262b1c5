/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "cli/start_clone.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

/* start clone: its words. */

#define ALL_PASSES (DR_PASS_COPY | DR_PASS_DELETE | DR_PASS_DIRTIMES)
enum {
	KEY_NAME = 0x100,
	KEY_FROM,
	KEY_TO,
	KEY_PASS,
	KEY_OLDEST,
	KEY_NEWEST,
	KEY_MIN_SIZE,
	KEY_MAX_SIZE,
	KEY_OWNER,
	KEY_GROUP,
	KEY_PROJECT,
	KEY_EXCEPTIONS,
	KEY_EXCLUDE,
	KEY_LAYOUT,
	KEY_RELEASED,
	KEY_MAX_DELETE,
	KEY_MERGE,
	KEY_CHECKSUM,
	KEY_MANIFEST,
	KEY_DRY_RUN,
};

void clone_args_fini(struct clone_args *args)
{
	dr_idset_fini(&args->uids);
	dr_idset_fini(&args->gids);
	dr_idset_fini(&args->projects);
	dr_buf_fini(&args->exceptions.text);
	dr_buf_fini(&args->rules.text);
	free(args->excludes);
}

/* ---- words ---- */

static int refuse_word(const char *option, const char *word, const char *why)
{
	dr_cleanup(dr_freep) char *text = cli_escape(word);

	return cli_refuse("%s: '%s' %s", option, text, why);
}

/* "copy,delete", also several times */
static int take_passes(const char *word, unsigned *passes)
{
	for (const char *p = word;; p++) {
		size_t len = strcspn(p, ",");
		unsigned pass =
			len == 3 && memcmp(p, "all", 3) == 0 ? ALL_PASSES : dr_pass_of(p, len);
		if (pass == 0) {
			return refuse_word(
				"--pass", word, "is not of copy, delete, dirtimes, all, verify");
		}
		*passes |= pass;
		p += len;
		if (!*p) {
			return CLI_OK;
		}
	}
}

static int take_age(const char *option, const char *word, uint64_t *ret_seconds)
{
	uint64_t seconds = 0;

	if (dr_text_parse_seconds(word, &seconds) < 0 || seconds > INT64_MAX) {
		return refuse_word(option, word, "is no age like 90d, 12h, 30m or 0");
	}
	*ret_seconds = seconds;
	return CLI_OK;
}

static int take_size(const char *option, const char *word, uint64_t *ret_bytes)
{
	uint64_t bytes = 0;

	if (dr_text_parse_size(word, &bytes) < 0 || bytes > INT64_MAX) {
		return refuse_word(option, word, "is no size like 64K, 1G or 0");
	}
	*ret_bytes = bytes;
	return CLI_OK;
}

static int id_of_user(const char *name, uint32_t *ret_id)
{
	const struct passwd *user = getpwnam(name);

	if (user) {
		*ret_id = (uint32_t)user->pw_uid;
	}
	return user ? 0 : -ENOENT;
}

static int id_of_group(const char *name, uint32_t *ret_id)
{
	const struct group *group = getgrnam(name);

	if (group) {
		*ret_id = (uint32_t)group->gr_gid;
	}
	return group ? 0 : -ENOENT;
}

/* Numbers, ranges and, where `find` is given, names. */
static int take_ids(const char *option, const char *word,
	int (*find)(const char *name, uint32_t *ret_id), struct dr_idset *set)
{
	dr_cleanup(dr_freep) char *copy = dr_xstrdup(word);
	char *rest = copy;

	for (char *part; (part = strsep(&rest, ","));) {
		uint32_t first = 0, last = 0;
		int r = dr_idset_parse_range(part, strlen(part), &first, &last);
		if (r == -EINVAL && find && *part && find(part, &first) == 0) {
			last = first;
			r = 0;
		}
		if (r == -ERANGE) {
			return refuse_word(option, part, "is past 4294967294");
		}
		if (r < 0) {
			return refuse_word(option, part,
				find ? "is no number, no range like 1000-1999 and no name known "
				       "on this host"
				     : "is no number and no range like 1000-1999");
		}
		dr_idset_add(set, first, last);
	}
	return CLI_OK;
}

static int take_released(const char *word, enum dr_clone_released *ret_released)
{
	static const char *const words[] = {
		[DR_CLONE_SKIP] = "skip",
		[DR_CLONE_STUB] = "stub",
		[DR_CLONE_COPY] = "copy",
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i]) == 0) {
			*ret_released = (enum dr_clone_released)i;
			return CLI_OK;
		}
	}
	return refuse_word("--released", word, "is not one of skip, stub, copy");
}

/* "5000" or "10%" */
static int take_max_delete(const char *word, struct dr_spec_clone *clone)
{
	dr_cleanup(dr_freep) char *number = dr_xstrdup(word);
	size_t len = strlen(number);
	bool is_percent = len > 0 && number[len - 1] == '%';
	uint64_t bound = 0;

	if (is_percent) {
		number[len - 1] = '\0';
	}
	if (dr_text_parse_u64(number, 0, is_percent ? 100 : INT64_MAX, &bound) < 0) {
		return refuse_word("--max-delete", word,
			"is no number of entries, and no percentage from 0% to 100%");
	}
	clone->max_delete = bound;
	clone->max_delete_is_percent = is_percent;
	return CLI_OK;
}

static int take_flag(int key, struct clone_args *args)
{
	switch (key) {
	case KEY_MERGE:
		args->clone->merge = true;
		return CLI_OK;
	case KEY_CHECKSUM:
		args->clone->checksum = true;
		return CLI_OK;
	case KEY_MANIFEST:
		args->clone->manifest = true;
		return CLI_OK;
	case KEY_DRY_RUN:
		args->dry_run = true;
		return CLI_OK;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int take_filter(int key, const char *arg, struct clone_args *args)
{
	struct dr_spec_clone *clone = args->clone;

	switch (key) {
	case KEY_OLDEST:
		return take_age("--oldest", arg, &clone->oldest_s);
	case KEY_NEWEST:
		return take_age("--newest", arg, &clone->newest_s);
	case KEY_MIN_SIZE:
		return take_size("--min-size", arg, &clone->min_size);
	case KEY_MAX_SIZE:
		return take_size("--max-size", arg, &clone->max_size);
	case KEY_OWNER:
		return take_ids("--owner", arg, id_of_user, &args->uids);
	case KEY_GROUP:
		return take_ids("--group", arg, id_of_group, &args->gids);
	case KEY_PROJECT:
		return take_ids("--project", arg, NULL, &args->projects);
	default:
		return take_flag(key, args);
	}
}

static error_t parse_clone(int key, char *arg, struct argp_state *state)
{
	struct clone_args *args = state->input;
	int r = CLI_OK;

	switch (key) {
	case KEY_NAME:
		args->name = arg;
		return 0;
	case KEY_FROM:
		args->from = arg;
		return 0;
	case KEY_TO:
		args->to = arg;
		return 0;
	case KEY_EXCEPTIONS:
		args->exceptions.path = arg;
		return 0;
	case KEY_LAYOUT:
		args->layout = arg;
		return 0;
	case KEY_EXCLUDE:
		args->excludes = dr_xrealloc(
			args->excludes, (args->n_excludes + 1) * sizeof *args->excludes);
		args->excludes[args->n_excludes++] = arg;
		return 0;
	case KEY_PASS:
		r = take_passes(arg, &args->clone->passes);
		break;
	case KEY_RELEASED:
		r = take_released(arg, &args->clone->released);
		break;
	case KEY_MAX_DELETE:
		r = take_max_delete(arg, args->clone);
		break;
	default:
		r = take_filter(key, arg, args);
		break;
	}
	if (r != CLI_OK && r != ARGP_ERR_UNKNOWN) {
		exit(r);
	}
	return r;
}

int clone_args_check(struct clone_args *args)
{
	struct dr_spec_clone *clone = args->clone;

	if (!args->name || !args->from || !args->to) {
		return cli_refuse("start clone: %s is missing", !args->name   ? "--name"
								: !args->from ? "--from"
									      : "--to");
	}
	if (!dr_spec_name_ok(args->name)) {
		return refuse_word("--name", args->name,
			"is not a name: 1 to 64 letters, digits, '.', '_' or '-', the first no "
			"'.' or '-'");
	}
	if (clone->passes == 0) {
		/* What a target had before must not be deleted by somebody who said no more than that it may have it. */
		clone->passes = clone->merge ? DR_PASS_COPY | DR_PASS_DIRTIMES : ALL_PASSES;
	}
	if (clone->passes & DR_PASS_VERIFY && clone->passes != DR_PASS_VERIFY) {
		return cli_refuse(
			"--pass: verify changes nothing, and goes with no other pass: it is a "
			"campaign of its own");
	}
	if (clone->manifest && clone->passes != DR_PASS_VERIFY) {
		return cli_refuse("--manifest goes with --pass verify only");
	}
	if (clone->max_size > 0 && clone->max_size < clone->min_size) {
		return cli_refuse("--max-size: no file is that small and at least as large as "
				  "--min-size says");
	}
	if (!args->layout || strcmp(args->layout, "keep") == 0) {
		clone->layout = DR_LAYOUT_KEEP;
	} else if (strcmp(args->layout, "default") == 0) {
		clone->layout = DR_LAYOUT_DEFAULT;
	} else {
		clone->layout = DR_LAYOUT_RULES;
		args->rules.path = args->layout;
	}
	return CLI_OK;
}

void clone_args_parse(int argc, char **argv, struct clone_args *args)
{
	static const struct argp_option options[] = {
		{ "name", KEY_NAME, "NAME", 0, "The campaign's name", 0 },
		{ "from", KEY_FROM, "SRC", 0, "The directory whose tree is copied", 0 },
		{ "to", KEY_TO, "DST", 0, "The directory that becomes like it; it must exist", 0 },
		{ "pass", KEY_PASS, "PASS", 0,
			"copy, delete, dirtimes, all of these (all), or verify", 0 },
		{ "oldest", KEY_OLDEST, "AGE", 0, "No files read longer ago, like 90d", 0 },
		{ "newest", KEY_NEWEST, "AGE", 0, "No files written less long ago, like 12h", 0 },
		{ "min-size", KEY_MIN_SIZE, "SIZE", 0, "No smaller files", 0 },
		{ "max-size", KEY_MAX_SIZE, "SIZE", 0, "No larger files", 0 },
		{ "owner", KEY_OWNER, "LIST", 0, "Only files of these users", 0 },
		{ "group", KEY_GROUP, "LIST", 0, "Only files of these groups", 0 },
		{ "project", KEY_PROJECT, "LIST", 0, "Only files of these projects", 0 },
		{ "exceptions", KEY_EXCEPTIONS, "FILE", 0, "Paths to leave out, one a line", 0 },
		{ "exclude-path", KEY_EXCLUDE, "PATH", 0,
			"Leave this out: an absolute path, or names that count at any depth", 0 },
		{ "layout", KEY_LAYOUT, "keep|default|FILE", 0,
			"Layouts on a Lustre target: the source's (keep), the directory's, or "
			"rules by size",
			0 },
		{ "released", KEY_RELEASED, "skip|stub|copy", 0,
			"Files whose data is in an archive alone (skip)", 0 },
		{ "max-delete", KEY_MAX_DELETE, "N|P%", 0,
			"Stop rather than delete more entries than that", 0 },
		{ "merge", KEY_MERGE, NULL, 0, "The target may hold something already", 0 },
		{ "checksum", KEY_CHECKSUM, NULL, 0,
			"Compare contents, not size and time of change", 0 },
		{ "manifest", KEY_MANIFEST, NULL, 0,
			"verify: write the SHA-256 of each file into the campaign's folder", 0 },
		{ "dry-run", KEY_DRY_RUN, NULL, 0, "Change nothing in the target", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_clone, NULL,
		"Creates a campaign that copies a tree to another file system. Daemons then do the "
		"work.\v"
		"Nothing is created when something is wrong with the options.",
		NULL, NULL, NULL };

	cli_parse(&argp, "start clone", argc, argv, args);
}
