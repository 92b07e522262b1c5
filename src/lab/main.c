/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/args.h"
#include "lab/commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

struct command {
	const char *name;
	const char *usage; /* what follows the name */
	const char *summary;
	dr_cmd_fn *run;
};

static const struct command commands[] = {
	{ "create", "DIR --osts N [--mdts N] [--ost-size SIZE]", "makes an empty lab",
		dr_cmd_create },
	{ "import",
		"DIR TREE [--stripe-count C] [--stripe-size S] [--layout plain|pfl|mixed] [--pool NAME] [--seed N]",
		"copies a tree into the name space", dr_cmd_import },
	{ "fill", "DIR --files N --size MIN-MAX [--dirs N] [--pool NAME] [--seed N]",
		"makes files of random bytes", dr_cmd_fill },
	{ "df", "DIR [--json]", "shows the OSTs' space, state and objects", dr_cmd_df },
	{ "digest", "DIR", "prints the SHA-256 of every file, as sha256sum does", dr_cmd_digest },
	{ "export", "DIR OUT", "copies the name space out as plain files", dr_cmd_export },
	{ "check", "DIR", "proves that layouts, objects and usage agree", dr_cmd_check },
	{ "set", "DIR --ost I --state up|down|full|closed|slow [--latency-ms N] [--bandwidth B]",
		"changes how an OST behaves", dr_cmd_set },
	{ "pool", "DIR NAME OSTS|--remove", "makes a pool of OSTs", dr_cmd_pool },
	{ "release", "DIR PATH...", "moves files' data into the archive, as HSM does",
		dr_cmd_release },
};

static void print_usage(FILE *out)
{
	(void)fprintf(out,
		"Usage: drover-lab COMMAND ...\n"
		"Makes, fills, shows, breaks and checks a simulated Lustre in a folder.\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		(void)fprintf(out, "  %s %s\n        %s\n", commands[i].name, commands[i].usage,
			commands[i].summary);
	}
	(void)fprintf(out, "\n  drover-lab COMMAND --help   tells about its options\n"
			   "  drover-lab --version        prints the version\n");
}

/* Each open lab holds 32 descriptors an OST, and a file of many stripes one a stripe. */
static void raise_descriptor_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static int run(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "--help";
	dr_cleanup(dr_freep) char *quoted = NULL;

	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		print_usage(stdout);
		return DR_EXIT_OK;
	}
	if (strcmp(name, "--version") == 0) {
		(void)printf("drover-lab %s\n", DR_VERSION);
		return DR_EXIT_OK;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(name, commands[i].name) == 0) {
			return commands[i].run(argc - 1, argv + 1);
		}
	}
	quoted = dr_quote(name, strlen(name));
	dr_say("'%s' is no command; drover-lab --help lists them", quoted);
	return DR_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	int code;

	(void)signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	code = run(argc, argv);
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == DR_EXIT_OK) {
		dr_say("cannot write the output: %m");
		code = DR_EXIT_FAILED;
	}
	return code;
}
