/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/args.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

enum { OPT_HOST = 512, OPT_PORT, OPT_DB, OPT_PREFIX };

static const struct argp_option options[] = {
	{ "config", 'c', "FILE", 0, "read this configuration", 0 },
	{ "host", OPT_HOST, "HOST", 0, "where the Redis server is; localhost", 0 },
	{ "port", OPT_PORT, "PORT", 0, "its port; 6379", 0 },
	{ "db", OPT_DB, "N", 0, "its database; 1", 0 },
	{ "stream-prefix", OPT_PREFIX, "PREFIX", 0, "the streams are PREFIX:MDT; hsm:actions", 0 },
	{ 0 },
};

void dr_hsm_complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fprintf(stderr, "%s: ", program_invocation_short_name);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
}

static uint64_t number(const char *option, const char *arg, uint64_t min, uint64_t max)
{
	uint64_t n = 0;

	if (dr_text_parse_u64(arg, min, max, &n) < 0) {
		dr_hsm_complain("--%s: '%s' is not a number from %llu to %llu", option, arg,
			(unsigned long long)min, (unsigned long long)max);
		exit(DR_EXIT_USAGE); // NOLINT(concurrency-mt-unsafe)
	}
	return n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct dr_hsm_args *args = state->input;

	switch (key) {
	case 'c':
		args->config = arg;
		return 0;
	case OPT_HOST:
		args->host = arg;
		return 0;
	case OPT_PORT:
		args->port = number("port", arg, 1, 65535);
		args->has_port = true;
		return 0;
	case OPT_DB:
		args->db = number("db", arg, 0, INT32_MAX);
		args->has_db = true;
		return 0;
	case OPT_PREFIX:
		if (!*arg) {
			dr_hsm_complain("--stream-prefix is empty");
			exit(DR_EXIT_USAGE); // NOLINT(concurrency-mt-unsafe)
		}
		args->prefix = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp dr_hsm_argp = { .options = options, .parser = parse };

error_t dr_hsm_parse_common(int key, const char *arg, struct argp_state *state)
{
	switch (key) {
	case ARGP_KEY_INIT:
		state->err_stream = NULL; /* or argp adds a line of its own to what is wrong */
		return 0;
	case ARGP_KEY_ERROR:
		exit(DR_EXIT_USAGE);
		/* getopt said what is wrong */ // NOLINT(concurrency-mt-unsafe)
	case ARGP_KEY_ARG:
		dr_hsm_complain("unexpected argument '%s'", arg);
		exit(DR_EXIT_USAGE); // NOLINT(concurrency-mt-unsafe)
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void replace(char **text, const char *with)
{
	free(*text);
	*text = with ? dr_xstrdup(with) : NULL;
}

int dr_hsm_args_config(const struct dr_hsm_args *args, const char *path,
	struct dr_hsm_config *config, char **ret_message)
{
	char *message = NULL;
	int r = 0;

	if (args->config || path) {
		r = dr_hsm_config_read(config, args->config ? args->config : path, &message);
	}
	if (r == -ENOENT && !args->config) {
		dr_freep(&message);
		r = 0;
	}
	if (r < 0) {
		*ret_message = message;
		return r;
	}
	if (args->host || args->has_port || args->has_db) {
		replace(&config->redis_url, NULL);
	}
	if (args->host) {
		replace(&config->redis_host, args->host);
	}
	if (args->has_port) {
		config->redis_port = (uint16_t)args->port;
	}
	if (args->has_db) {
		config->redis_db = (unsigned)args->db;
	}
	if (args->prefix) {
		replace(&config->redis_stream_prefix, args->prefix);
	}
	return 0;
}
