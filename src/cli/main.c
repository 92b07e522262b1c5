/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "cli/cli.h"
#include "cli/start_clone.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/*
 * drover: commands to campaigns. The table below is the whole program; each group of commands has a file:
 *   start.c    start: the checks, then the folder
 *   start_clone.c start clone
 *   show.c     status, list        render.c  a status as text (pure)
 *   report.c   report
 *   wait.c     wait                run.c     run: a daemon in the foreground
 *   control.c  pause, resume, retry-skipped, retry-failed, delete
 *   reopen.c   reopen
 *   rescue.c   reprime, takeover
 *   common.c   messages, the configuration, opening a campaign
 *   term.c     what the terminal can show
 */
struct command {
	const char *name;
	const char *args;
	const char *help;
	cli_fn *fn;
};

static const struct command commands[] = {
	{ "start", "--name N --osts R --scan-path GLOB...", "create a campaign that empties OSTs",
		cli_start },
	{ "start clone", "--name N --from SRC --to DST [--pass P]", "create one that copies a tree",
		cli_start_clone },
	{ "status", "N [--json] [--watch]", "show its progress", cli_status },
	{ "list", "[--json]", "show all campaigns", cli_list },
	{ "run", "N [droverd options]", "work on it here, with live progress", cli_run },
	{ "wait", "N [--timeout S]", "wait for its end", cli_wait },
	{ "report", "N [--json] [--all]", "what moved, what is left, and why", cli_report },
	{ "pause", "N", "let the files at hand finish, start no other", cli_pause },
	{ "resume", "N", "go on after a pause", cli_resume },
	{ "retry-skipped", "N", "try the busy and changed files again", cli_retry_skipped },
	{ "retry-failed", "N [--class C]", "try the failed files again", cli_retry_failed },
	{ "reopen", "N [--yes]", "run open_command for its OSTs", cli_reopen },
	{ "reprime", "N [--yes]", "forget all counts, scan from the start", cli_reprime },
	{ "takeover", "N --host-is-dead", "lead in place of a host that is gone", cli_takeover },
	{ "delete", "N [--yes]", "remove the campaign's folder", cli_delete },
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *to)
{
	(void)fprintf(to,
		"Usage: drover [--config FILE] COMMAND ...\n"
		"Empties Lustre OSTs safely, while users keep working, and copies trees.\n\n");
	for (size_t i = 0; i < N_COMMANDS; i++) {
		(void)fprintf(to, "  %-13s %-38s %s\n", commands[i].name, commands[i].args,
			commands[i].help);
	}
	(void)fprintf(to,
		"\nEach command has --help. A campaign is worked on by droverd, on as many\n"
		"nodes as wanted: droverd --campaign N. See drover(1).\n");
}

/*
 * Takes --config FILE out of the words, wherever it stands.
 * @return the number of words that stay, or -EINVAL when FILE is missing
 */
static int take_config(int argc, char **argv, const char **ret_config)
{
	static const char option[] = "--config";
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (i < argc) {
				argv[n++] = argv[i++];
			}
		} else if (strcmp(argv[i], option) == 0) {
			if (i + 1 == argc) {
				return -EINVAL;
			}
			*ret_config = argv[++i];
		} else if (strncmp(argv[i], "--config=", sizeof option) == 0) {
			*ret_config = argv[i] + sizeof option;
		} else {
			argv[n++] = argv[i];
		}
	}
	argv[n] = NULL;
	return n;
}

static int run_command(struct cli *cli, int argc, char **argv)
{
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(argv[0], commands[i].name) == 0) {
			return commands[i].fn(cli, argc, argv);
		}
	}
	dr_cleanup(dr_freep) char *word = cli_escape(argv[0]);
	return cli_refuse("no command '%s'; drover --help lists them", word);
}

int main(int argc, char **argv)
{
	struct cli cli = { 0 };
	int status;

	(void)setlocale(LC_CTYPE, "");
	dr_log_level = DR_LOG_NONE; /* a command says itself what went wrong */
	(void)signal(SIGPIPE, SIG_IGN);
	argp_program_version = "drover " DR_VERSION;
	argp_err_exit_status = CLI_BAD_INPUT;
	argc = take_config(argc, argv, &cli.config);
	if (argc < 0) {
		return cli_refuse("--config wants a file");
	}
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0 ||
		strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return fflush(stdout) == 0 ? CLI_OK : CLI_ERROR;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		(void)puts(argp_program_version);
		return CLI_OK;
	}
	status = run_command(&cli, argc - 1, argv + 1);
	if (cli.loaded) {
		dr_options_fini(&cli.options);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		/* Whoever read our output went away, or the disk is full. */
		return status ? status : CLI_ERROR;
	}
	return status;
}
