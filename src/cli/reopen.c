/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/closing.h"
#include "campaign/control.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/*
 * reopen: runs open_command for every source, from this host. First it is noted that they are no longer closed, and then
 * they are opened: whatever happens in between, a campaign that goes on closes them again.
 */

struct reopen_args {
	const char *name;
	bool yes;
};

/* What is worked with. */
struct reopen {
	const struct cli *cli;
	const char *name;
	struct cli_campaign campaign;
	struct dr_store *store; /* NULL: no daemon runs */
	int lock_fd;            /* then held, so that none begins to lead */
	struct dr_fs *fs;
	struct dr_closing_ost *osts;
	struct dr_command *commands; /* of each of them */
	size_t n;
};

static error_t parse_reopen(int key, char *arg, struct argp_state *state)
{
	struct reopen_args *args = state->input;

	switch (key) {
	case 'y':
		args->yes = true;
		return 0;
	default:
		return cli_parse_name(key, arg, "reopen", &args->name);
	}
}

static int refuse_running(const char *name)
{
	return cli_refuse(
		"reopen: campaign '%s' is running: pause it first, or wait for its end", name);
}

/* The state, when there is no daemon to ask: a pause that was asked for counts, since the next daemon begins with it. */
static int check_at_rest(const struct reopen *reopen)
{
	const struct dr_folder *folder = &reopen->campaign.folder;
	dr_cleanup(dr_freep) char *state = NULL;
	int r = cli_folder_state(folder, &state);

	if (r < 0) {
		return cli_refuse_status(folder, reopen->name, r);
	}
	bool runs = strcmp(state, DR_STATE_RUNNING) == 0 || strcmp(state, DR_STATE_REOPENED) == 0;

	return runs && !dr_folder_pause_requested(folder) ? refuse_running(reopen->name) : CLI_OK;
}

static int check_live(const struct reopen *reopen)
{
	json_t *status = NULL;
	int r = dr_control_status(reopen->store, reopen->campaign.spec, &status);

	if (r < 0) {
		return cli_error(
			"reopen: the server of '%s' went away: %s", reopen->name, cli_strerror(r));
	}
	bool runs = strcmp(cli_text(status, "state"), DR_STATE_RUNNING) == 0;

	json_decref(status);
	return runs ? refuse_running(reopen->name) : CLI_OK;
}

/* Connects, or makes sure that there is nobody to connect to; and looks whether the campaign may be touched. */
static int get_hold(struct reopen *reopen)
{
	int r = cli_connect(&reopen->campaign, reopen->name, &reopen->store);

	if (r != CLI_OK) {
		return r;
	}
	if (reopen->store) {
		return check_live(reopen);
	}
	reopen->lock_fd = dr_folder_lock(&reopen->campaign.folder, NULL);
	if (reopen->lock_fd == -EAGAIN) {
		return cli_refuse(
			"reopen: the leader of '%s' is just beginning, or does not answer: try again",
			reopen->name);
	}
	if (reopen->lock_fd < 0) {
		return cli_refuse("reopen: cannot lock %s/leader.lock: %s%s",
			reopen->campaign.folder.path, cli_strerror(reopen->lock_fd),
			reopen->lock_fd == -EACCES ? " (root is needed)" : "");
	}
	return check_at_rest(reopen);
}

static void let_go(struct reopen *reopen)
{
	dr_fd_closep(&reopen->lock_fd);
	dr_store_free(reopen->store);
	reopen->store = NULL;
}

/* The sources as the file system knows them, and the command for each. */
static int make_commands(struct reopen *reopen)
{
	const struct dr_spec *spec = reopen->campaign.spec;
	dr_cleanup(dr_freep) char *root = cli_escape(spec->fs_root);
	char identity[256] = "";
	int r = dr_fs_open_root(spec->fs_root, &reopen->fs);

	if (r == 0) {
		r = reopen->fs->ops->identity(reopen->fs, identity, sizeof identity);
	}
	if (r == 0 && strcmp(identity, spec->fs_identity) != 0) {
		return cli_refuse(
			"reopen: %s is another file system than the campaign was started on", root);
	}
	if (r == 0) {
		r = dr_closing_look(reopen->fs, &spec->osts, &reopen->osts, &reopen->n);
	}
	if (r < 0) {
		return cli_refuse(
			"reopen: cannot look at the OSTs of %s: %s", root, cli_strerror(r));
	}
	reopen->commands = dr_xcalloc(reopen->n, sizeof *reopen->commands);
	for (size_t i = 0; i < reopen->n; i++) {
		dr_closing_command(
			reopen->cli->options.open_command, &reopen->osts[i], &reopen->commands[i]);
	}
	return CLI_OK;
}

/* From here on a campaign that goes on closes them again. */
static int note(const struct reopen *reopen)
{
	uint64_t rounds = (reopen->n + DR_CLOSING_AT_ONCE - 1) / DR_CLOSING_AT_ONCE;
	/* A command that is killed may take some seconds to go. */
	uint64_t seconds = rounds * (reopen->cli->options.close_timeout + 5);
	int r = reopen->store
			? dr_closing_open(reopen->store, &reopen->campaign.spec->osts, seconds)
			: dr_folder_request(&reopen->campaign.folder, DR_REQUEST_REOPENED);

	if (r == -EBUSY) {
		return refuse_running(reopen->name);
	}
	if (r == -EALREADY) {
		return cli_refuse(
			"reopen: close_command is just being run for '%s': try again in a moment",
			reopen->name);
	}
	return r < 0 ? cli_refuse(
			       "reopen: it cannot be noted that the OSTs of '%s' are opened: %s%s",
			       reopen->name, cli_strerror(r),
			       r == -EACCES ? " (root is needed)" : "")
		     : CLI_OK;
}

static void ended(void *ctx, struct dr_command *command)
{
	struct reopen *reopen = ctx;
	const struct dr_closing_ost *ost = &reopen->osts[command - reopen->commands];
	dr_cleanup(dr_freep) char *result = dr_closing_result(command);
	bool line = *result && *command->last_line;

	(void)printf("OST %-5u %-20s %s%s%s\n", ost->index, ost->name, *result ? result : "opened",
		line ? ": " : "", line ? command->last_line : "");
	(void)fflush(stdout);
}

static int run_commands(struct reopen *reopen)
{
	size_t failed = 0;
	int r = dr_commands_run(reopen->commands, reopen->n, DR_CLOSING_AT_ONCE,
		reopen->cli->options.close_timeout, NULL, ended, reopen);

	/* Should it fail: the note has a time after which it counts no more. */
	if (reopen->store) {
		(void)!dr_closing_opened(reopen->store);
	}
	for (size_t i = 0; r == 0 && i < reopen->n; i++) {
		dr_cleanup(dr_freep) char *result = dr_closing_result(&reopen->commands[i]);
		failed += *result != '\0';
	}
	if (failed > 0) {
		return cli_error(
			"reopen: open_command failed for %zu of %zu OSTs", failed, reopen->n);
	}
	return CLI_OK;
}

static int reopen_sources(struct reopen *reopen, bool yes)
{
	const struct dr_spec *spec = reopen->campaign.spec;
	dr_cleanup(dr_freep) char *question =
		dr_xasprintf("Run open_command for OST %s, so that new files may land there again?",
			spec->osts_text);
	int r = CLI_OK;

	if (!yes) {
		/* First whether it makes sense to ask. A daemon that begins meanwhile must not wait for the answer. */
		r = get_hold(reopen);
		let_go(reopen);
		r = r == CLI_OK ? cli_ask("reopen", reopen->name, false, question) : r;
	}
	if (r == CLI_OK) {
		r = get_hold(reopen);
	}
	if (r == CLI_OK) {
		r = make_commands(reopen);
	}
	if (r == CLI_OK) {
		r = note(reopen);
	}
	return r == CLI_OK ? run_commands(reopen) : r;
}

int cli_reopen(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "yes", 'y', NULL, 0, "Do not ask", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_reopen, "NAME",
		"Opens a campaign's OSTs to new objects again, by open_command of drover.conf.\v"
		"For a campaign that was given up, or OSTs that stay after all. Refused while it runs. "
		"A campaign that goes on later closes them again.",
		NULL, NULL, NULL };
	struct reopen_args args = { 0 };
	struct reopen reopen = { .cli = cli, .lock_fd = -EBADF };

	cli_parse(&argp, "reopen", argc, argv, &args);
	int r = cli_open(cli, args.name, true, &reopen.campaign);

	if (r) {
		return r;
	}
	reopen.name = args.name;
	if (reopen.campaign.spec->kind == DR_CLONE) {
		r = cli_refuse("reopen: '%s' is a clone, and has no OSTs", args.name);
	} else if (!cli->options.open_command || !*cli->options.open_command) {
		r = cli_refuse("reopen: open_command is not set; see drover.conf(5)");
	} else {
		r = reopen_sources(&reopen, args.yes);
	}
	dr_commands_free(reopen.commands, reopen.n);
	free(reopen.osts);
	if (reopen.fs) {
		dr_fs_close(reopen.fs);
	}
	let_go(&reopen);
	cli_campaign_fini(&reopen.campaign);
	return r;
}
