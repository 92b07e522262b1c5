/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "campaign/control.h"
#include "campaign/engine.h"
#include "cli/cli.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* reprime, takeover: what a person decides when drover must not. */

#define MARGIN_S 2u /* a living leader writes every second */

enum { KEY_DEAD = 0x100 };

struct rescue_args {
	const char *command;
	const char *name;
	bool yes, host_is_dead;
};

static error_t parse_rescue(int key, char *arg, struct argp_state *state)
{
	struct rescue_args *args = state->input;

	switch (key) {
	case 'y':
		args->yes = true;
		return 0;
	case KEY_DEAD:
		args->host_is_dead = true;
		return 0;
	default:
		return cli_parse_name(key, arg, args->command, &args->name);
	}
}

/* The site's own server may have lost all of it, then it is told again. */
static int reprime_engine(
	const struct cli *cli, const struct cli_campaign *campaign, const char *name)
{
	dr_cleanup(dr_freep) char *message = NULL;
	struct dr_store *store = NULL;

	if (dr_engine_register(cli->options.engine, campaign->spec, &message) < 0) {
		return cli_refuse("cannot reprime '%s': %s", name, message);
	}
	int r = dr_control_connect(&campaign->folder, campaign->spec, &store);

	if (r == 0) {
		r = dr_control_reprime(store, campaign->spec);
		dr_store_free(store);
	}
	if (r < 0) {
		return cli_error("cannot reprime '%s': %s", name, cli_strerror(r));
	}
	(void)printf("'%s' begins anew\n", name);
	return CLI_OK;
}

/* No daemon runs, and none can begin: the next one makes the data anew. */
static int reprime_at_rest(
	const struct cli *cli, const struct cli_campaign *campaign, const char *name)
{
	dr_cleanup(dr_freep) char *config = cli_config_words(cli);
	dr_cleanup(dr_fd_closep) int lock = dr_folder_lock(&campaign->folder, NULL);

	if (lock == -EAGAIN) {
		return cli_refuse(
			"the leader of '%s' is just beginning, or does not answer: try again",
			name);
	}
	int r = lock < 0 ? lock : dr_folder_set_aside(&campaign->folder);

	if (r < 0) {
		return cli_refuse("cannot reprime '%s': %s%s", name, cli_strerror(r),
			r == -EACCES ? " (root is needed)" : "");
	}
	(void)printf(
		"'%s' begins anew with the next daemon; start one with: droverd%s --campaign %s\n",
		name, config, name);
	return CLI_OK;
}

/* By the leader's server; without a leader, for the next one. */
static int reprime_embedded(
	const struct cli *cli, const struct cli_campaign *campaign, const char *name)
{
	struct dr_store *store = NULL;
	int r = dr_control_connect(&campaign->folder, campaign->spec, &store);

	if (r == -ENOTCONN) {
		return reprime_at_rest(cli, campaign, name);
	}
	if (r == 0) {
		r = dr_control_reprime(store, campaign->spec);
		dr_store_free(store);
	}
	if (r < 0) {
		return cli_error("cannot reprime '%s': %s%s", name, cli_strerror(r),
			r == -EACCES ? " (root is needed)" : "");
	}
	(void)printf("'%s' begins anew\n", name);
	return CLI_OK;
}

int cli_reprime(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "yes", 'y', NULL, 0, "Do not ask", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_rescue, "NAME",
		"Begins a campaign anew: forgets what was counted and queued, and scans again.\v"
		"For a campaign whose data was lost or cannot be loaded. No file is touched by it, "
		"what was moved stays moved, and the logs stay.",
		NULL, NULL, NULL };
	struct rescue_args args = { .command = "reprime" };
	struct cli_campaign campaign;

	cli_parse(&argp, args.command, argc, argv, &args);
	int r = cli_open(cli, args.name, true, &campaign);

	if (r) {
		return r;
	}
	dr_cleanup(dr_freep) char *question = dr_xasprintf(
		"Forget the counts and the queue of '%s', and scan its paths again?", args.name);
	r = cli_ask(args.command, args.name, args.yes, question);
	if (r == CLI_OK) {
		r = campaign.folder.engine ? reprime_engine(cli, &campaign, args.name)
					   : reprime_embedded(cli, &campaign, args.name);
	}
	cli_campaign_fini(&campaign);
	return r;
}

/* Sizes of the files in a folder. */
static void look_at_sizes(const struct dr_folder *folder, const char *path, struct dr_buf *ret)
{
	struct dirent **entries = NULL;
	int n = scandirat(folder->fd, path, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		dr_cleanup(dr_freep) char *file = dr_xasprintf("%s/%s", path, entries[i]->d_name);
		struct stat st;

		if (fstatat(folder->fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			dr_buf_printf(ret, "%s %lld ", file, (long long)st.st_size);
		}
		free(entries[i]);
	}
	free(entries);
}

/* What a living leader changes all the time, and a dead one never: its epoch's counter, and the epochs that it makes. */
static void look(const struct dr_folder *folder, struct dr_buf *ret)
{
	struct dr_epochs epochs = { 0 };

	dr_buf_clear(ret);
	(void)!dr_folder_epochs(folder, &epochs);
	dr_buf_printf(ret, "%" PRIu64 " %" PRIu64 " ", epochs.newest, epochs.highest);
	dr_cleanup(dr_freep) char *alive = dr_xasprintf("epoch-%" PRIu64 "/alive", epochs.newest);
	(void)!dr_read_file(folder->fd, alive, 64, ret);
	dr_cleanup(dr_freep) char *made =
		dr_xasprintf("epoch-%" PRIu64 ".new/appendonlydir", epochs.highest);
	look_at_sizes(folder, made, ret);
}

/* @return whether nothing moved for so long */
static bool is_still(const struct dr_folder *folder, unsigned seconds)
{
	struct dr_buf before = { 0 }, now = { 0 };
	uint64_t end_ns = dr_now_ns() + seconds * 1000000000ull;
	bool still = true;

	look(folder, &before);
	while (still && dr_now_ns() < end_ns) {
		dr_sleep_ms(200);
		look(folder, &now);
		still = before.len == now.len && memcmp(before.data, now.data, now.len) == 0;
	}
	dr_buf_fini(&before);
	dr_buf_fini(&now);
	return still;
}

/* Everything that says that the leader is not dead. @return CLI_OK it may be */
static int refuse_the_living(
	const struct cli *cli, const struct cli_campaign *campaign, const char *name)
{
	unsigned seconds = (unsigned)cli->options.folder_timeout + MARGIN_S;
	struct dr_store *store = NULL;

	if (dr_control_connect(&campaign->folder, campaign->spec, &store) == 0) {
		dr_store_free(store);
		return cli_refuse("takeover: the leader of '%s' answers: it is not dead", name);
	}
	(void)printf("Watching for %u seconds whether the leader of '%s' still writes...\n",
		seconds, name);
	(void)fflush(stdout);
	if (!is_still(&campaign->folder, seconds)) {
		return cli_refuse(
			"takeover: the leader of '%s' writes to the campaign's folder: it is not dead",
			name);
	}
	return CLI_OK;
}

static int take_over(
	const struct cli *cli, const struct cli_campaign *campaign, const struct rescue_args *args)
{
	struct dr_leader_info info = { 0 };
	uint64_t generation;
	int r = dr_folder_leader(&campaign->folder, &info);
	dr_cleanup(dr_freep) char *host = dr_xstrdup(r == 0 ? info.host : "an unknown host");

	dr_leader_info_fini(&info);
	(void)printf(
		"The lock of '%s' is held for %s, which does not answer and does not write.\n"
		"If that host is dead, its file server has not heard of it. If it only hangs, its server\n"
		"ends itself within a second of its coming back, and what it does until then counts for\n"
		"nothing; the files are safe in any case.\n"
		"A take-over makes a new lock, which the next daemon takes.\n",
		args->name, host);
	if (!args->host_is_dead) {
		return cli_refuse(
			"takeover: if you know that %s is dead, say so: --host-is-dead", host);
	}
	dr_cleanup(dr_freep) char *question =
		dr_xasprintf("Is %s dead, and shall another host lead '%s'?", host, args->name);
	r = cli_ask(args->command, args->name, args->yes, question);
	if (r) {
		return r;
	}
	r = dr_folder_lock_generation(&campaign->folder, &generation);
	if (r == 0) {
		dr_cleanup(dr_fd_closep) int lock = dr_folder_lock(&campaign->folder, NULL);
		r = lock == -EAGAIN ? dr_folder_lock_renew(&campaign->folder, generation)
		    : lock < 0      ? lock
				    : 0;
	}
	if (r < 0) {
		return cli_refuse(
			"takeover: %s%s", cli_strerror(r), r == -EACCES ? " (root is needed)" : "");
	}
	dr_cleanup(dr_freep) char *config = cli_config_words(cli);
	(void)printf(
		"Done: the daemons that run elect a leader now; without one: droverd%s --campaign %s\n",
		config, args->name);
	return CLI_OK;
}

int cli_takeover(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "host-is-dead", KEY_DEAD, NULL, 0, "You know that the leader's host is dead", 0 },
		{ "yes", 'y', NULL, 0, "Do not ask", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_rescue, "NAME",
		"Lets another host lead when the leader's host is dead and the file server still keeps its lock.\v"
		"Never needed when a process died: its lock goes with it. A leader that answers, or "
		"that still writes to the campaign's folder, is left alone.",
		NULL, NULL, NULL };
	struct rescue_args args = { .command = "takeover" };
	struct cli_campaign campaign;

	cli_parse(&argp, args.command, argc, argv, &args);
	int r = cli_open(cli, args.name, true, &campaign);

	if (r) {
		return r;
	}
	if (campaign.folder.engine) {
		r = cli_refuse(
			"takeover: '%s' is on the site's own server: its leadership passes on by itself",
			args.name);
	} else {
		dr_cleanup(dr_fd_closep) int lock = dr_folder_lock(&campaign.folder, NULL);
		if (lock >= 0) {
			(void)printf(
				"Nobody holds the lock of '%s': the next daemon leads by itself\n",
				args.name);
		} else if (lock != -EAGAIN) {
			r = cli_refuse("takeover: %s%s", cli_strerror(lock),
				lock == -EACCES ? " (root is needed)" : "");
		} else {
			r = refuse_the_living(cli, &campaign, args.name);
			r = r ? r : take_over(cli, &campaign, &args);
		}
	}
	cli_campaign_fini(&campaign);
	return r;
}
