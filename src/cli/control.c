/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/control.h"

#include "base/clock.h"
#include "base/fdio.h"
#include "base/text.h"
#include "campaign/engine.h"
#include "cli/cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* pause, resume, retry-skipped, retry-failed, delete */

#define QUIET_SECONDS 60u      /* that pause waits for the files at hand */
#define LOCK_PATIENCE_MS 5000u /* that delete waits for a leader that ends */

enum { KEY_NO_WAIT = 0x100, KEY_CLASS, KEY_FORCE };

struct control_args {
	const char *command;
	const char *name;
	const char *class;
	bool no_wait, yes, force;
};

static error_t parse_control(int key, char *arg, struct argp_state *state)
{
	struct control_args *args = state->input;

	switch (key) {
	case KEY_NO_WAIT:
		args->no_wait = true;
		return 0;
	case KEY_CLASS:
		if (strcmp(arg, "refused") != 0 && strcmp(arg, "no_space") != 0 &&
			strcmp(arg, "failed") != 0) {
			exit(cli_refuse("--class: '%s' is not one of refused, no_space, failed",
				cli_escape(arg)));
		}
		args->class = arg;
		return 0;
	case 'y':
		args->yes = true;
		return 0;
	case KEY_FORCE:
		args->force = true;
		return 0;
	default:
		return cli_parse_name(key, arg, args->command, &args->name);
	}
}

/* Leaves a request for the next daemon, when the campaign is not over. */
static int leave_request(const struct cli *cli, const struct cli_campaign *campaign,
	const char *name, const char *verb)
{
	dr_cleanup(dr_freep) char *config = cli_config_words(cli);
	int r = dr_folder_request(&campaign->folder, verb);

	if (r < 0) {
		return cli_refuse("cannot leave a request in %s/requests: %s%s",
			campaign->folder.path, cli_strerror(r),
			r == -EACCES ? " (root is needed)" : "");
	}
	(void)printf("'%s': the next daemon will do it; start one with: droverd%s --campaign %s\n",
		name, config, name);
	return CLI_OK;
}

/* @return CLI_OK, or CLI_BAD_INPUT when the campaign is over or cannot be read */
static int refuse_when_over(const struct cli_campaign *campaign, const struct control_args *args)
{
	dr_cleanup(dr_freep) char *state = NULL;
	int r = cli_folder_state(&campaign->folder, &state);

	if (r < 0) {
		return cli_refuse(
			"cannot read the status of '%s': %s", args->name, cli_strerror(r));
	}
	if (dr_state_is_final(state)) {
		return cli_refuse(
			"%s: campaign '%s' is over (%s)", args->command, args->name, state);
	}
	return CLI_OK;
}

/* Waits until no file is in progress. @return CLI_OK or CLI_TIMED_OUT */
static int wait_until_quiet(
	struct dr_store *store, const struct cli_campaign *campaign, const char *name)
{
	uint64_t end_ns = dr_now_ns() + QUIET_SECONDS * 1000000000ull;
	uint64_t busy = 0;

	for (;;) {
		json_t *status = NULL;
		int r = dr_control_status(store, campaign->spec, &status);
		if (r < 0) {
			return cli_error("'%s' is paused, but its server went away: %s", name,
				cli_strerror(r));
		}
		busy = cli_number(json_object_get(status, "progress"), "in_progress");
		json_decref(status);
		if (busy == 0) {
			(void)printf("'%s' is paused, and all is quiet\n", name);
			return CLI_OK;
		}
		if (dr_now_ns() >= end_ns) {
			break;
		}
		dr_sleep_ms(100);
	}
	(void)cli_error("'%s' is paused, but %llu files are still in progress after %u seconds",
		name, (unsigned long long)busy, QUIET_SECONDS);
	return CLI_TIMED_OUT;
}

static int pause_or_resume(struct cli *cli, const struct control_args *args)
{
	bool pausing = strcmp(args->command, "pause") == 0;
	struct dr_store *store = NULL;
	struct cli_campaign campaign;
	int r = cli_open(cli, args->name, true, &campaign);

	if (r) {
		return r;
	}
	r = cli_connect(&campaign, args->name, &store);
	if (r == CLI_OK && !store) {
		r = refuse_when_over(&campaign, args);
		if (r == CLI_OK) {
			r = leave_request(cli, &campaign, args->name, args->command);
		}
	} else if (r == CLI_OK) {
		int done =
			pausing ? dr_control_pause(store, "by command") : dr_control_resume(store);
		if (done == -EPERM) {
			r = cli_refuse("%s: campaign '%s' is over", args->command, args->name);
		} else if (done < 0 && done != -EALREADY) {
			r = cli_error("cannot %s '%s': %s", args->command, args->name,
				cli_strerror(done));
		} else if (!pausing) {
			(void)printf("'%s' %s\n", args->name,
				done == -EALREADY ? "was not paused" : "goes on");
		} else if (args->no_wait) {
			(void)printf("'%s' is paused; files at hand are finished\n", args->name);
		} else {
			r = wait_until_quiet(store, &campaign, args->name);
		}
	}
	dr_store_free(store);
	cli_campaign_fini(&campaign);
	return r;
}

int cli_pause(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "no-wait", KEY_NO_WAIT, NULL, 0, "Do not wait for the files in progress", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_control, "NAME",
		"Pauses a campaign: files in progress are finished, no other is started.\v"
		"Waits up to a minute until nothing is in progress; exit status 124 when something "
		"still is.",
		NULL, NULL, NULL };
	struct control_args args = { .command = "pause" };

	cli_parse(&argp, args.command, argc, argv, &args);
	return pause_or_resume(cli, &args);
}

int cli_resume(struct cli *cli, int argc, char **argv)
{
	static const struct argp argp = { NULL, parse_control, "NAME",
		"Lets a paused campaign go on.", NULL, NULL, NULL };
	struct control_args args = { .command = "resume" };

	cli_parse(&argp, args.command, argc, argv, &args);
	return pause_or_resume(cli, &args);
}

/* The request for when no daemon runs, or the campaign is over. */
static int request_retry(
	const struct cli *cli, const struct cli_campaign *campaign, const struct control_args *args)
{
	dr_cleanup(dr_freep) char *state = NULL;
	int r = cli_folder_state(&campaign->folder, &state);

	if (campaign->folder.engine) {
		return cli_refuse("%s: '%s' was never started, or its server went away: try again",
			args->command, args->name);
	}
	if (r < 0) {
		return cli_refuse(
			"cannot read the status of '%s': %s", args->name, cli_strerror(r));
	}
	if (strcmp(state, DR_STATE_COMPLETED) == 0 || strcmp(state, DR_STATE_DRY_RUN) == 0) {
		(void)printf("'%s' is over (%s): nothing is left to retry\n", args->name, state);
		return CLI_OK;
	}
	dr_cleanup(dr_freep) char *verb = args->class ? dr_xasprintf("retry-class-%s", args->class)
						      : dr_xstrdup(args->command);
	return leave_request(cli, campaign, args->name, verb);
}

static int retry(struct cli *cli, const struct control_args *args, const char *classes)
{
	struct dr_store *store = NULL;
	struct cli_campaign campaign;
	uint64_t files = 0;
	char text[32];
	int r = cli_open(cli, args->name, true, &campaign);

	if (r) {
		return r;
	}
	r = cli_connect(&campaign, args->name, &store);
	if (r == CLI_OK) {
		/* The site's own server is there whether or not daemons are. */
		bool reopen = campaign.folder.engine != NULL;
		int done = store ? dr_control_retry(store, classes, reopen, &files) : -EPERM;
		if (done == -EPERM || done == -ENOTCONN) {
			r = request_retry(cli, &campaign, args);
		} else if (done < 0) {
			r = cli_error(
				"%s: '%s': %s", args->command, args->name, cli_strerror(done));
		} else {
			(void)printf("%s files of '%s' are tried again\n",
				dr_text_count(text, sizeof text, files), args->name);
		}
	}
	dr_store_free(store);
	cli_campaign_fini(&campaign);
	return r;
}

int cli_retry_skipped(struct cli *cli, int argc, char **argv)
{
	static const struct argp argp = { NULL, parse_control, "NAME",
		"Tries the files again that were busy or changed.", NULL, NULL, NULL };
	struct control_args args = { .command = "retry-skipped" };

	cli_parse(&argp, args.command, argc, argv, &args);
	return retry(cli, &args, "busy,changed");
}

int cli_retry_failed(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "class", KEY_CLASS, "C", 0, "Only refused, no_space or failed", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_control, "NAME",
		"Tries the files again that failed: those refused, without space, and with errors.",
		NULL, NULL, NULL };
	struct control_args args = { .command = "retry-failed" };

	cli_parse(&argp, args.command, argc, argv, &args);
	return retry(cli, &args, args.class ? args.class : "refused,no_space,failed");
}

/*
 * The leader's lock, so that no daemon starts while the folder goes.
 * @return the descriptor, or -CLI_BAD_INPUT with the message printed
 */
static int lock_for_delete(const struct dr_folder *folder, const char *name)
{
	uint64_t end_ns = dr_now_ns() + LOCK_PATIENCE_MS * 1000000ull;
	json_t *info = NULL;
	int fd;

	while ((fd = dr_folder_lock(folder, NULL)) == -EAGAIN && dr_now_ns() < end_ns) {
		dr_sleep_ms(50);
	}
	if (fd >= 0) {
		return fd;
	}
	if (fd != -EAGAIN) {
		(void)cli_refuse("cannot lock %s/leader.lock: %s%s", folder->path, cli_strerror(fd),
			fd == -EACCES ? " (root is needed)" : "");
	} else if (dr_folder_read_json(folder, "leader.info", &info) >= 0) {
		(void)cli_refuse(
			"campaign '%s' is being worked on: its leader is process %llu on %s", name,
			(unsigned long long)cli_number(info, "pid"), cli_text(info, "host"));
		json_decref(info);
	} else {
		(void)cli_refuse("campaign '%s' is being worked on: its lock is held", name);
	}
	return -CLI_BAD_INPUT;
}

/* @return CLI_OK delete it, CLI_BAD_INPUT do not */
static int may_delete(const struct dr_folder *folder, const struct control_args *args)
{
	dr_cleanup(dr_freep) char *state = NULL;
	int r = cli_folder_state(folder, &state);

	/* A campaign whose status is damaged may only be forced away. */
	const char *shown = r < 0 ? "unreadable" : state;
	bool harmless = r == 0 ? dr_state_is_final(state) || strcmp(state, DR_STATE_CREATED) == 0
			       : r == -ENOENT && folder->engine; /* deleted from another host */
	if (args->force) {
		return CLI_OK;
	}
	if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO) && !args->yes) {
		dr_cleanup(dr_freep) char *question = dr_xasprintf(
			"Delete campaign '%s' (%s) with its logs and lists?", args->name, shown);

		if (cli_confirm(question)) {
			return CLI_OK;
		}
		return cli_refuse("'%s' was not deleted", args->name);
	}
	if (!harmless) {
		return cli_refuse("campaign '%s' is not over (%s); --force deletes it all the same",
			args->name, shown);
	}
	return CLI_OK;
}

static int remove_folder(const char *base_path, const char *name)
{
	dr_cleanup(dr_freep) char *hidden =
		dr_xasprintf(".deleted-%s-%llx", name, (unsigned long long)dr_now_ns());
	dr_cleanup(dr_fd_closep) int fd = open(base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0 || renameat(fd, name, fd, hidden) < 0) {
		return cli_refuse("cannot delete '%s': %s", name, cli_strerror(-errno));
	}
	r = dr_remove_tree(fd, hidden);
	if (r < 0) {
		return cli_error("campaign '%s' is gone, but %s/%s could not be removed: %s", name,
			base_path, hidden, cli_strerror(r));
	}
	(void)printf("Deleted campaign '%s'\n", name);
	return CLI_OK;
}

/* A campaign on the site's own server goes from there too. */
static int forget(const struct cli *cli, const struct cli_campaign *campaign)
{
	dr_cleanup(dr_freep) char *message = NULL;

	if (!campaign->spec || !campaign->spec->external) {
		return CLI_OK;
	}
	if (!cli->options.engine) {
		return cli_refuse(
			"campaign '%s' is on the site's own server: the configuration needs its redis_url",
			campaign->spec->name);
	}
	return dr_engine_forget(cli->options.engine, campaign->spec, &message) < 0
		       ? cli_refuse("%s", message)
		       : CLI_OK;
}

int cli_delete(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "yes", 'y', NULL, 0, "Do not ask", 0 },
		{ "force", KEY_FORCE, NULL, 0, "Also when the campaign is not over", 0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_control, "NAME",
		"Removes a campaign's folder, with its logs and lists.\v"
		"The files that it moved stay where they are.",
		NULL, NULL, NULL };
	struct control_args args = { .command = "delete" };
	struct cli_campaign campaign;
	int r;

	cli_parse(&argp, args.command, argc, argv, &args);
	r = cli_open(cli, args.name, false, &campaign);
	if (r) {
		return r;
	}
	/* Best effort: a damaged campaign can be deleted too. */
	if (!campaign.spec && dr_folder_spec(&campaign.folder, &campaign.spec) < 0) {
		campaign.spec = NULL;
	}
	if (campaign.spec && campaign.spec->external) {
		campaign.folder.engine = cli->options.engine;
	}
	dr_cleanup(dr_fd_closep) int lock = lock_for_delete(&campaign.folder, args.name);
	if (lock < 0) {
		r = -lock;
	} else {
		r = may_delete(&campaign.folder, &args);
		if (r == CLI_OK) {
			r = forget(cli, &campaign);
		}
		if (r == CLI_OK) {
			r = remove_folder(cli->options.base_path, args.name);
		}
	}
	cli_campaign_fini(&campaign);
	return r;
}
