/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CLI_CLI_H
#define DR_CLI_CLI_H

#include "campaign/folder.h"
#include "campaign/options.h"
#include "store/store.h"

#include <argp.h>

/*
 * What the commands of `drover` share. A command is a function of the table in main.c; it gets the words
 * from its own name on and returns the program's exit status.
 */

#define CLI_OK 0
#define CLI_ERROR 1     /* the machinery failed */
#define CLI_BAD_INPUT 2 /* one line on stderr; nothing was done */
#define CLI_LEFTOVERS 3 /* the campaign is over, and something is left */
#define CLI_FAILED 4    /* the campaign failed */
#define CLI_TIMED_OUT 124

struct cli {
	const char *config; /* --config, or NULL */
	struct dr_options options;
	bool loaded;
};

typedef int cli_fn(struct cli *cli, int argc, char **argv);

cli_fn cli_start, cli_status, cli_list, cli_report, cli_wait, cli_run, cli_pause, cli_resume,
	cli_retry_skipped, cli_retry_failed, cli_reopen, cli_delete, cli_reprime, cli_takeover;

/* Prints "drover: ..." as one line on stderr. @return CLI_BAD_INPUT */
int cli_refuse(const char *fmt, ...) dr_printf(1, 2);
/* The same for what is not the user's fault. @return CLI_ERROR */
int cli_error(const char *fmt, ...) dr_printf(1, 2);
/* The bytes fit for one line of a message; malloc'ed. */
char *cli_escape(const char *bytes);
const char *cli_strerror(int error); /* a negative errno */

/*
 * Parses a command's words; prints what is wrong and leaves with CLI_BAD_INPUT, or after --help with 0.
 * name: the command's, for messages.
 */
void cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input);
/* What a parser does with the one word that it takes: the name of a campaign, which must be given. `command` is for messages. */
error_t cli_parse_name(int key, const char *arg, const char *command, const char **name);

/* Reads the configuration, once. @return CLI_OK, or CLI_BAD_INPUT with the message printed */
int cli_load(struct cli *cli);
/* " --config FILE" for commands that are shown to be typed next, or ""; malloc'ed. */
char *cli_config_words(const struct cli *cli);

/* Asks on the terminal. @return whether the answer is yes */
bool cli_confirm(const char *question);
/*
 * The same for commands that may not go on without an answer. yes: it was given on the command line.
 * @return CLI_OK go on, or CLI_BAD_INPUT with the message printed
 */
int cli_ask(const char *command, const char *name, bool yes, const char *question);

/* A campaign that is there. */
struct cli_campaign {
	struct dr_folder folder;
	struct dr_spec *spec; /* NULL when not asked for */
};
/*
 * Reads the configuration and opens the campaign; prints what is wrong. Without want_spec the folder alone is opened, be
 * campaign.json damaged. @return CLI_OK or CLI_BAD_INPUT
 */
int cli_open(struct cli *cli, const char *name, bool want_spec, struct cli_campaign *ret_campaign);
void cli_campaign_fini(struct cli_campaign *campaign);
/*
 * The running campaign's server, or NULL when no daemon runs.
 * @return CLI_OK, or CLI_BAD_INPUT with the message printed
 */
int cli_connect(const struct cli_campaign *campaign, const char *name, struct dr_store **ret_store);

/*
 * The state that wait goes by, from the folder alone: a request for a retry reopens what was over.
 * @return 0 with *ret_state malloc'ed ("created" before any daemon ran); -ENOENT the campaign is gone;
 * -EBADMSG, other errnos: status.json cannot be read
 */
dr_nodiscard int cli_folder_state(const struct dr_folder *folder, char **ret_state);
/* Prints why a campaign's status cannot be had. @return CLI_BAD_INPUT */
int cli_refuse_status(const struct dr_folder *folder, const char *name, int error);
/* What wait and run exit with; CLI_ERROR for a state that is not final. */
int cli_exit_of(const char *state);

static inline const char *cli_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : "";
}

static inline uint64_t cli_number(const json_t *object, const char *key)
{
	json_int_t n = (json_int_t)json_number_value(json_object_get(object, key));
	return n > 0 ? (uint64_t)n : 0;
}

#endif
