/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/tail_args.h"

#include "base/text.h"

#include <argp.h>
#include <stdarg.h>
#include <stdio.h>

#define DEFAULT_CONFIG "/etc/lustre-hsm-action-stream/hsm_stream_tail.yaml"

const char *argp_program_version = "hsm-stream-tail " DR_VERSION;

enum {
	OPT_MOUNTPOINT = 256,
	OPT_HOST,
	OPT_PORT,
	OPT_DB,
	OPT_PREFIX,
	OPT_FROM_BEGINNING,
	OPT_RUN_ONCE,
	OPT_SHOW,
	OPT_HIDE,
	OPT_LOG_LEVEL,
	OPT_LOG_FILE,
	OPT_JSON,
};

/* As they were given; NULL, false: not at all. */
struct given {
	struct tail_args *args;
	const char *config, *mountpoint, *host, *prefix, *log_file;
	uint64_t port, db;
	enum dr_log_level level;
	bool has_port, has_db, has_level;
	struct dr_tail_words *words; /* that a bare word adds to */
};

static const struct argp_option argp_options[] = {
	{ "config", 'c', "FILE", 0, "the configuration (" DEFAULT_CONFIG ")", 1 },
	{ "mountpoint", OPT_MOUNTPOINT, "DIR", 0, "where the file system is mounted, for paths",
		1 },
	{ "host", OPT_HOST, "HOST", 0, "of the Redis server", 1 },
	{ "port", OPT_PORT, "PORT", 0, "of the Redis server", 1 },
	{ "db", OPT_DB, "N", 0, "number of the database", 1 },
	{ "stream-prefix", OPT_PREFIX, "PREFIX", 0, "what the streams' names begin with", 1 },
	{ "from-beginning", OPT_FROM_BEGINNING, NULL, 0, "all events that the streams hold, too",
		2 },
	{ "run-once", OPT_RUN_ONCE, NULL, 0, "end where the streams end now", 2 },
	{ "show", OPT_SHOW, "ITEM...", 0, "show what is hidden otherwise: PURGED", 3 },
	{ "hide", OPT_HIDE, "ITEM...", 0, "hide these actions, statuses and types of events", 3 },
	{ "json", OPT_JSON, NULL, 0, "a line of JSON for each event", 3 },
	{ "log-level", OPT_LOG_LEVEL, "LEVEL", 0, "DEBUG, INFO, WARNING, ERROR or CRITICAL", 4 },
	{ "log-file", OPT_LOG_FILE, "FILE", 0, "messages go there, not to stderr", 4 },
	{ 0 },
};

void tail_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("hsm-stream-tail: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
}

/* Only the main thread is there yet: NOLINTBEGIN(concurrency-mt-unsafe) */
static error_t parse_number(struct argp_state *state, const char *name, const char *arg,
	uint64_t min, uint64_t max, uint64_t *ret)
{
	if (dr_text_parse_u64(arg, min, max, ret) < 0) {
		argp_error(state, "--%s: '%s' is not a number from %ju to %ju", name, arg,
			(uintmax_t)min, (uintmax_t)max);
		return EINVAL;
	}
	return 0;
}

static error_t parse_text(
	struct argp_state *state, const char *name, const char *arg, const char **ret)
{
	if (!*arg) {
		argp_error(state, "--%s: is empty", name);
		return EINVAL;
	}
	*ret = arg;
	return 0;
}

/* Options that stand for a key of the configuration. */
static error_t parse_key(int key, const char *arg, struct argp_state *state)
{
	struct given *given = state->input;

	switch (key) {
	case 'c':
		return parse_text(state, "config", arg, &given->config);
	case OPT_MOUNTPOINT:
		given->mountpoint = arg; /* empty: none, whatever the configuration says */
		return 0;
	case OPT_HOST:
		return parse_text(state, "host", arg, &given->host);
	case OPT_PORT:
		given->has_port = true;
		return parse_number(state, "port", arg, 1, 65535, &given->port);
	case OPT_DB:
		given->has_db = true;
		return parse_number(state, "db", arg, 0, INT32_MAX, &given->db);
	case OPT_PREFIX:
		return parse_text(state, "stream-prefix", arg, &given->prefix);
	case OPT_LOG_FILE:
		return parse_text(state, "log-file", arg, &given->log_file);
	case OPT_LOG_LEVEL:
		given->has_level = true;
		if (dr_hsm_log_level(arg, &given->level) < 0) {
			argp_error(state, "--log-level: '%s' is no level", arg);
			return EINVAL;
		}
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct given *given = state->input;
	struct tail_args *args = given->args;

	if (key == ARGP_KEY_ARG) {
		if (!given->words || state->quoted) {
			argp_error(state, "the word '%s' is one too many", arg);
			return EINVAL;
		}
		dr_tail_words_add(given->words, arg);
		return 0;
	}
	/* Words follow --show and --hide until the next option. */
	given->words = key == OPT_SHOW ? &args->show : key == OPT_HIDE ? &args->hide : NULL;
	if (given->words) {
		dr_tail_words_add(given->words, arg);
		return 0;
	}
	switch (key) {
	case OPT_FROM_BEGINNING:
		args->is_from_beginning = true;
		return 0;
	case OPT_RUN_ONCE:
		args->is_once = true;
		return 0;
	case OPT_JSON:
		args->is_json = true;
		return 0;
	default:
		return parse_key(key, arg, state);
	}
}

/* NOLINTEND(concurrency-mt-unsafe) */

static const struct argp argp = {
	.options = argp_options,
	.parser = parse,
	.doc = "Prints the events of Lustre's HSM actions as they come."
	       "\vPURGED is hidden unless it is shown. See hsm-stream-tail(1).",
};

static void replace(char **text, const char *by)
{
	if (by) {
		free(*text);
		*text = dr_xstrdup(by);
	}
}

/* @return 0 or a negative errno, told */
static int read_config(const struct given *given, struct dr_hsm_config *config)
{
	char *message dr_cleanup(dr_freep) = NULL;
	const char *path = given->config ? given->config : DEFAULT_CONFIG;
	int r = dr_hsm_config_read(config, path, &message);

	if (r == -ENOENT && !given->config) {
		return 0;
	}
	if (r < 0) {
		tail_say("%s", message ? message : path);
	}
	return r;
}

static void take_given(const struct given *given, struct dr_hsm_config *config)
{
	replace(&config->redis_host, given->host);
	replace(&config->redis_stream_prefix, given->prefix);
	replace(&config->log_file, given->log_file);
	replace(&config->mountpoint, given->mountpoint);
	if (given->has_port) {
		config->redis_port = (uint16_t)given->port;
	}
	if (given->has_db) {
		config->redis_db = (unsigned)given->db;
	}
	if (given->has_level) {
		config->log_level = given->level;
	}
	if (given->host || given->has_port) {
		/* Another server than the one that the configuration's URL names. */
		free(config->redis_url);
		config->redis_url = NULL;
	}
}

int tail_args_read(struct tail_args *args, int argc, char **argv)
{
	struct given given = { .args = args };
	char *message dr_cleanup(dr_freep) = NULL;

	*args = (struct tail_args){ 0 };
	dr_hsm_config_init(&args->config);
	argp_err_exit_status = TAIL_USAGE;
	argv[0] = program_invocation_short_name; /* as getopt shall call it too */
	/* Only the main thread is there yet: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &given) != 0) {
		return TAIL_USAGE;
	}
	if (read_config(&given, &args->config) < 0) {
		return TAIL_USAGE;
	}
	take_given(&given, &args->config);
	if (!args->config.redis_stream_prefix[0]) {
		tail_say("redis_stream_prefix is empty");
		return TAIL_USAGE;
	}
	if (dr_hsm_config_url(&args->config, &args->url, &message) < 0) {
		tail_say("redis_url: %s", message ? message : "will not do");
		return TAIL_USAGE;
	}
	if (given.has_db) {
		args->url.db = (unsigned)given.db;
	}
	return TAIL_OK;
}

void tail_args_fini(struct tail_args *args)
{
	dr_tail_words_fini(&args->show);
	dr_tail_words_fini(&args->hide);
	dr_url_fini(&args->url);
	dr_hsm_config_fini(&args->config);
}
