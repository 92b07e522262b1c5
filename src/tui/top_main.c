/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/text.h"
#include "hsm/args.h"
#include "hsm/replay.h"
#include "tui/frame.h"
#include "tui/loop.h"
#include "tui/screen.h"

#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#define PATIENCE_MS 5000

const char *argp_program_version = "hsm-action-top " DR_VERSION;

enum { OPT_INTERVAL = 256, OPT_RUN_ONCE, OPT_STALLED };

static const struct argp_option argp_options[] = {
	{ "interval", OPT_INTERVAL, "SECONDS", 0, "between two looks; 2", 0 },
	{ "run-once", OPT_RUN_ONCE, NULL, 0, "print one frame, and exit", 0 },
	{ "stalled", OPT_STALLED, "SECONDS", 0,
		"unchanged for so long, an action counts as stalled; 3600", 0 },
	{ 0 },
};

struct arguments {
	struct dr_hsm_args where;
	struct top_model *model;
	bool run_once;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;
	char *end = NULL;
	double seconds;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->where;
		return dr_hsm_parse_common(key, arg, state);
	case OPT_INTERVAL:
		seconds = strtod(arg, &end);
		if (end == arg || *end || !(seconds >= 0.1 && seconds <= 3600)) {
			dr_hsm_complain("--interval: '%s' is not a number from 0.1 to 3600", arg);
			exit(DR_EXIT_USAGE); // NOLINT(concurrency-mt-unsafe)
		}
		args->model->interval_ms = (unsigned)(seconds * 1000 + 0.5);
		return 0;
	case OPT_RUN_ONCE:
		args->run_once = true;
		return 0;
	case OPT_STALLED:
		if (dr_text_parse_seconds(arg, &args->model->stalled_s) < 0 ||
			args->model->stalled_s > INT32_MAX) {
			dr_hsm_complain("--stalled: '%s' is not a time", arg);
			exit(DR_EXIT_USAGE); // NOLINT(concurrency-mt-unsafe)
		}
		return 0;
	default:
		return dr_hsm_parse_common(key, arg, state);
	}
}

static int run_once(const struct dr_reader_options *options, struct top_model *model)
{
	dr_cleanup(dr_buf_fini) struct dr_buf text = { 0 };
	struct dr_reader *reader = dr_reader_new(options);
	struct dr_live *live = dr_live_new();
	struct top_look look;
	int r = dr_live_replay(live, reader, PATIENCE_MS);

	if (r < 0) {
		dr_hsm_complain("%s: %s", model->server, dr_reader_why(r));
	} else {
		top_look_at(live, model, &look);
		look.is_connected = true;
		look.n_bad = dr_reader_n_bad(reader);
		top_model_take(model, &look);
		top_frame_plain(model, strcmp(nl_langinfo(CODESET), "UTF-8") == 0, &text);
		r = dr_write_full(STDOUT_FILENO, text.data, text.len);
		if (r < 0) {
			dr_hsm_complain("standard output: %s", strerrordesc_np(-r));
		}
	}
	top_model_fini(model);
	dr_live_free(live);
	dr_reader_free(reader);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run_screen(const struct dr_reader_options *options, struct top_model *model)
{
	struct top_source *source;
	int r, signal_fd;

	if (!top_screen_is_possible()) {
		dr_hsm_complain("this is no terminal to draw on; --run-once prints one frame");
		return DR_EXIT_USAGE;
	}
	dr_log_level = DR_LOG_NONE; /* the screen says what is the matter */
	signal_fd = top_loop_signals();
	r = signal_fd < 0 ? signal_fd : top_source_start(options, &source);
	if (r < 0) {
		dr_hsm_complain("%s", strerrordesc_np(-r));
		return EXIT_FAILURE;
	}
	r = top_screen_open();
	if (r == 0) {
		r = top_loop(source, model, signal_fd);
		top_screen_close();
		if (r < 0) {
			dr_hsm_complain("%s", strerrordesc_np(-r));
		}
	} else {
		dr_hsm_complain("TERM=%s is no terminal to draw on; --run-once prints one frame",
			getenv("TERM")); // NOLINT(concurrency-mt-unsafe)
	}

	int status = r == 0 ? EXIT_SUCCESS : r == -ENOTTY ? DR_EXIT_USAGE : EXIT_FAILURE;

	top_model_fini(model);
	if (!top_source_stop(source)) {
		_exit(status); /* its thread still uses what would be freed */
	}
	return status;
}

int main(int argc, char **argv)
{
	static const struct argp_child children[] = { { &dr_hsm_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.children = children,
		.doc = "Shows the HSM actions that are live, by MDT, action and status, and how they change.",
	};
	dr_cleanup(dr_hsm_config_fini) struct dr_hsm_config config;
	dr_cleanup(dr_url_fini) struct dr_url url = { 0 };
	dr_cleanup(dr_freep) char *message = NULL;
	dr_cleanup(dr_freep) char *server = NULL;
	struct top_model model;
	struct arguments args = { .model = &model };
	int r;

	(void)setlocale(LC_CTYPE, ""); // NOLINT(concurrency-mt-unsafe)
	(void)signal(SIGPIPE, SIG_IGN);
	dr_hsm_config_init(&config);
	top_model_init(&model);
	argp_err_exit_status = DR_EXIT_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) { // NOLINT(concurrency-mt-unsafe)
		return DR_EXIT_USAGE;
	}
	dr_log_level = DR_LOG_WARNING;
	r = dr_hsm_args_config(&args.where, NULL, &config, &message);
	if (r == 0) {
		r = dr_hsm_config_url(&config, &url, &message);
	}
	if (r < 0) {
		dr_hsm_complain("%s", message ? message : strerrordesc_np(-r));
		return EXIT_FAILURE;
	}
	server = dr_url_show(&url);
	model.server = server;

	const struct dr_reader_options options = {
		.url = &url,
		.prefix = config.redis_stream_prefix,
		.from = args.run_once ? DR_READER_ONCE : DR_READER_FROM_BEGINNING,
	};

	return args.run_once ? run_once(&options, &model) : run_screen(&options, &model);
}
