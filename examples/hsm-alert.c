/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hsm-alert [HOST [PORT [PREFIX]]]: says on stdout which HSM actions fail, as they do.
 *
 *     cc hsm-alert.c $(pkg-config --cflags --libs drover-hsm) -o hsm-alert
 */
#include <drover-hsm.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct drover_hsm_reader *reader;

static void on_signal(int number)
{
	(void)number;
	drover_hsm_stop(reader);
}

static void on_log(void *arg, enum drover_hsm_level level, const char *message)
{
	(void)arg;
	if (level <= DROVER_HSM_WARNING) {
		(void)fprintf(stderr, "hsm-alert: %s\n", message);
	}
}

static const char *or_dash(const char *text)
{
	return text ? text : "-";
}

int main(int argc, char **argv)
{
	struct drover_hsm_options options;
	const struct drover_hsm_event *event = NULL;

	drover_hsm_options_init(&options, sizeof(options));
	options.host = argc > 1 ? argv[1] : options.host;
	options.port = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : options.port;
	options.prefix = argc > 3 ? argv[3] : options.prefix;
	drover_hsm_set_log(on_log, NULL);
	int r = drover_hsm_open(&options, &reader);

	if (r < 0) {
		(void)fprintf(stderr, "hsm-alert: %s\n", strerror(-r));
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGTERM, on_signal);
	while (r != -ECANCELED) {
		/* Errors are told by on_log(); the next call connects again. */
		r = drover_hsm_next(reader, -1, &event);
		if (r == 1 && event->status && strcmp(event->status, "FAILED") == 0) {
			(void)printf("%s: %s of %s failed (cookie %s, entry %" PRIu64 "-%" PRIu64 ")\n",
				event->mdt, or_dash(event->action), or_dash(event->fid),
				or_dash(event->cookie), event->id_ms, event->id_seq);
			if (fflush(stdout) != 0) {
				break; /* nobody reads it any more */
			}
		}
	}
	drover_hsm_close(reader);
	return 0;
}
