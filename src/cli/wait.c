/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/text.h"
#include "campaign/control.h"
#include "cli/cli.h"

#include <string.h>

#define FIRST_PAUSE_MS 20u
#define LAST_PAUSE_MS 200u
#define QUICK_ROUNDS 250u /* of the first pause: five seconds */

enum { KEY_TIMEOUT = 0x100 };

struct wait_args {
	const char *name;
	bool limited;
	uint64_t timeout; /* seconds */
};

static error_t parse_wait(int key, char *arg, struct argp_state *state)
{
	struct wait_args *args = state->input;

	switch (key) {
	case KEY_TIMEOUT:
		if (dr_text_parse_seconds(arg, &args->timeout) < 0) {
			exit(cli_refuse(
				"--timeout: '%s' is not a time in seconds", cli_escape(arg)));
		}
		args->limited = true;
		return 0;
	default:
		return cli_parse_name(key, arg, "wait", &args->name);
	}
}

/* From the folder alone, so that any number of waiters costs the server nothing. */
static int wait_for(const struct dr_folder *folder, const struct wait_args *args)
{
	uint64_t start_ns = dr_now_ns();

	for (unsigned round = 0;; round++) {
		dr_cleanup(dr_freep) char *state = NULL;
		int r = cli_folder_state(folder, &state);
		if (r == -ENOENT) {
			return cli_refuse("campaign '%s' was deleted", args->name);
		}
		/* A file that cannot be read for a moment (a file server that restarts) is no end. */
		if (r == -EACCES || r == -EPERM) {
			return cli_refuse_status(folder, args->name, r);
		}
		if (r == 0 && dr_state_is_final(state)) {
			return cli_exit_of(state);
		}
		if (args->limited && dr_now_ns() - start_ns >= args->timeout * 1000000000ull) {
			return CLI_TIMED_OUT;
		}
		dr_sleep_ms(round < QUICK_ROUNDS ? FIRST_PAUSE_MS : LAST_PAUSE_MS);
	}
}

int cli_wait(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "timeout", KEY_TIMEOUT, "S", 0, "Give up after so many seconds: exit status 124",
			0 },
		{ 0 },
	};
	static const struct argp argp = { options, parse_wait, "NAME",
		"Waits until a campaign is over.\v"
		"Exit status: 0 completed, 3 completed with leftovers, 4 failed, 124 time-out. A paused "
		"campaign is not over.",
		NULL, NULL, NULL };
	struct wait_args args = { 0 };
	struct cli_campaign campaign;
	int r;

	cli_parse(&argp, "wait", argc, argv, &args);
	r = cli_open(cli, args.name, true, &campaign);
	if (r) {
		return r;
	}
	r = wait_for(&campaign.folder, &args);
	cli_campaign_fini(&campaign);
	return r;
}
