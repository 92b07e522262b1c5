/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "hsm/args.h"
#include "hsm/replay.h"
#include "hsm/stats.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#define DEFAULT_CONFIG "/etc/lustre-hsm-action-stream/hsm_stream_stats.yaml"
#define PATIENCE_MS 5000

const char *argp_program_version = "hsm-stream-stats " DR_VERSION;

enum { OPT_LOG_LEVEL = 256, OPT_LOG_FILE, OPT_PROMETHEUS, OPT_OUTPUT };

static const struct argp_option argp_options[] = {
	{ "log-level", OPT_LOG_LEVEL, "LEVEL", 0, "error, warning, info or debug; warning", 0 },
	{ "log-file", OPT_LOG_FILE, "FILE", 0, "append log lines to it, instead of stderr", 0 },
	{ "prometheus", OPT_PROMETHEUS, NULL, 0, "print a text for Prometheus, instead of JSON",
		0 },
	{ "output", OPT_OUTPUT, "FILE", 0, "replace this file at once, instead of printing", 0 },
	{ 0 },
};

struct arguments {
	struct dr_hsm_args where;
	const char *log_level, *log_file, *output;
	bool prometheus;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->where;
		return dr_hsm_parse_common(key, arg, state);
	case OPT_LOG_LEVEL:
		args->log_level = arg;
		return 0;
	case OPT_LOG_FILE:
		args->log_file = arg;
		return 0;
	case OPT_PROMETHEUS:
		args->prometheus = true;
		return 0;
	case OPT_OUTPUT:
		args->output = arg;
		return 0;
	default:
		return dr_hsm_parse_common(key, arg, state);
	}
}

static int open_log(enum dr_log_level level, const char *file)
{
	int fd = -1; /* stays open for as long as the process lives */
	int r = dr_hsm_log_open(level, file, &fd);

	if (r < 0) {
		dr_hsm_complain("%s: %s", file, strerrordesc_np(-r));
		return EXIT_FAILURE;
	}
	return 0;
}

/* @return 0, or the exit status */
static int load(const struct arguments *args, struct dr_hsm_config *config, struct dr_url *ret_url)
{
	char *message dr_cleanup(dr_freep) = NULL;
	enum dr_log_level level = DR_LOG_WARNING;
	int r;

	if (args->log_level && dr_hsm_log_level(args->log_level, &level) < 0) {
		dr_hsm_complain(
			"log level '%s' is none of error, warning, info, debug", args->log_level);
		return DR_EXIT_USAGE;
	}
	/* Also for what the configuration's reader logs. */
	if (open_log(level, args->log_file) != 0) {
		return EXIT_FAILURE;
	}
	config->log_level = level;
	r = dr_hsm_args_config(&args->where, DEFAULT_CONFIG, config, &message);
	if (r == 0) {
		r = dr_hsm_config_url(config, ret_url, &message);
	}
	if (r < 0) {
		dr_hsm_complain("%s", message ? message : strerrordesc_np(-r));
		return EXIT_FAILURE;
	}
	level = args->log_level ? level : config->log_level;
	if (args->log_file || !config->log_file) {
		dr_log_level = level;
		return 0;
	}
	return open_log(level, config->log_file);
}

static int put_out(const struct dr_buf *text, const char *path)
{
	int r;

	if (path) {
		/* Its readers must be other users too. */
		r = dr_replace_file_fast(AT_FDCWD, path, 0644, text->data, text->len);
	} else {
		r = dr_write_full(STDOUT_FILENO, text->data, text->len);
	}
	if (r < 0) {
		dr_hsm_complain("%s: %s", path ? path : "standard output", strerrordesc_np(-r));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

static int report(const struct arguments *args, const struct dr_url *url, struct dr_reader *reader)
{
	dr_cleanup(dr_freep) struct dr_live_group *groups = NULL;
	dr_cleanup(dr_freep) struct dr_stream_info *streams = NULL;
	dr_cleanup(dr_buf_fini) struct dr_buf text = { 0 };
	struct dr_stats stats = { 0 };
	struct dr_live *live = dr_live_new();
	int status = EXIT_FAILURE;
	int r = dr_live_replay(live, reader, PATIENCE_MS);

	if (r == 0) {
		r = dr_reader_infos(reader, &streams, &stats.n_streams);
	}
	if (r == 0) {
		dr_live_groups(live, 0, &groups, &stats.n_groups);
		dr_live_totals(live, &stats.totals);
		stats.groups = groups;
		stats.streams = streams;
		stats.n_bad = dr_reader_n_bad(reader);
		stats.now_ms = dr_wall_ms();
		if (args->prometheus) {
			dr_stats_prometheus(&stats, &text);
		} else {
			dr_stats_json(&stats, &text);
		}
		status = put_out(&text, args->output);
	} else {
		char *where dr_cleanup(dr_freep) = dr_url_show(url);

		dr_hsm_complain("%s: %s", where, dr_reader_why(r));
	}
	dr_live_free(live);
	return status;
}

int main(int argc, char **argv)
{
	static const struct argp_child children[] = { { &dr_hsm_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.children = children,
		.doc = "Replays the streams of HSM actions and prints what is live now, as JSON.",
	};
	dr_cleanup(dr_hsm_config_fini) struct dr_hsm_config config;
	dr_cleanup(dr_url_fini) struct dr_url url = { 0 };
	struct arguments args = { 0 };
	int status;

	(void)signal(SIGPIPE, SIG_IGN);
	dr_hsm_config_init(&config);
	argp_err_exit_status = DR_EXIT_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) { // NOLINT(concurrency-mt-unsafe)
		return DR_EXIT_USAGE;
	}
	status = load(&args, &config, &url);
	if (status == 0) {
		struct dr_reader_options options = {
			.url = &url,
			.prefix = config.redis_stream_prefix,
			.from = DR_READER_ONCE,
		};
		struct dr_reader *reader = dr_reader_new(&options);

		status = report(&args, &url, reader);
		dr_reader_free(reader);
	}
	return status;
}
