/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "hsm/shipper.h"

#include <argp.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#ifdef DR_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

/*
 * hsm-action-shipper. The main thread waits for signals and answers systemd's watchdog; one thread polls and ships, one maintains.
 * SIGHUP ends both, reads the configuration, and starts anew inside the process.
 */

const char *argp_program_version = "hsm-action-shipper " DR_VERSION;

#define DEFAULT_CONFIG "/etc/lustre-hsm-action-stream/hsm_action_shipper.yaml"
#define EXIT_USAGE 2
#define MIN_RETRY_MS 1000
#define MAX_RETRY_MS 30000
#define FIRST_MAINTENANCE_MS 60000
#define TICK_MS 200
#define LEAVE_MS 600 /* of a thread that was told to; then the states are saved without it */
#define STUCK_NS 60000000000ull

enum { OPT_RUN_ONCE = 256, OPT_MAINTENANCE };

struct arguments {
	const char *config;
	bool run_once, maintenance_now;
};

static const struct argp_option argp_options[] = {
	{ "config", 'c', "FILE", 0, "its configuration (" DEFAULT_CONFIG ")", 0 },
	{ "run-once", OPT_RUN_ONCE, NULL, 0, "poll once, and end", 0 },
	{ "maintenance-now", OPT_MAINTENANCE, NULL, 0, "poll once, maintain the streams, and end",
		0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case 'c':
		args->config = arg;
		return 0;
	case OPT_RUN_ONCE:
		args->run_once = true;
		return 0;
	case OPT_MAINTENANCE:
		args->maintenance_now = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument '%s'", arg); // NOLINT(concurrency-mt-unsafe)
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = argp_options,
	.parser = parse,
	.doc = "Ships the HSM actions of this server's MDTs into Redis streams."
	       "\vSIGHUP reads the configuration again. See hsm-action-shipper(8).",
};

/* The process as a daemon: what its threads share. */
struct daemon {
	struct dr_hsm_config config;
	struct dr_shipper *shipper;
	int log_fd; /* of the log file; -1: stderr */
	pthread_t poller, maintainer;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	bool stop;
	unsigned n_running;  /* threads */
	bool poll_now;       /* maintenance wants a poll */
	uint64_t begun;      /* polls */
	uint64_t succeeded;  /* number of the last poll that did, by their begin; 0: none yet */
	struct dr_poll last; /* what it told */
	int last_error;      /* of the last poll */
};

static void tell_systemd(const char *text)
{
#ifdef DR_HAVE_SYSTEMD
	(void)sd_notify(0, text);
#else
	(void)text;
#endif
}

/* Waits until woken, stopped or that much time has passed. Under the lock. */
static void wait_ms(struct daemon *daemon, uint64_t ms)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += (time_t)(ms / 1000) + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_cond_clockwait(&daemon->changed, &daemon->lock, CLOCK_MONOTONIC, &until);
}

/* ---- the threads ---- */

/* A thread's last step. It has the lock, and gives it back. */
static void leave(struct daemon *daemon)
{
	daemon->n_running--;
	(void)pthread_cond_broadcast(&daemon->changed);
	(void)pthread_mutex_unlock(&daemon->lock);
}

/* Polls at the interval; after a failure sooner, with delays that grow. */
static void *poll_thread(void *arg)
{
	struct daemon *daemon = arg;
	uint64_t retry_ms = MIN_RETRY_MS;

	(void)pthread_mutex_lock(&daemon->lock);
	while (!daemon->stop) {
		struct dr_poll poll = { 0 };
		uint64_t begin_ns = dr_now_ns();

		daemon->poll_now = false;
		uint64_t number = ++daemon->begun;

		(void)pthread_mutex_unlock(&daemon->lock);
		int r = dr_shipper_poll(daemon->shipper, &poll);

		(void)pthread_mutex_lock(&daemon->lock);
		daemon->last_error = r;
		if (r == 0) {
			daemon->succeeded = number;
			daemon->last = poll;
			(void)pthread_cond_broadcast(&daemon->changed);
		}
		uint64_t ms = r == 0 ? daemon->config.poll_interval_ms : retry_ms;
		uint64_t end_ns = begin_ns + ms * 1000000;

		retry_ms = r == 0                        ? MIN_RETRY_MS
			   : retry_ms * 2 > MAX_RETRY_MS ? MAX_RETRY_MS
							 : retry_ms * 2;
		while (!daemon->stop && !daemon->poll_now && dr_now_ns() < end_ns) {
			wait_ms(daemon, (end_ns - dr_now_ns()) / 1000000 + 1);
		}
	}
	leave(daemon);
	return NULL;
}

/* Has the other thread poll, and waits for one that begins after this. @return false: stopped. Under the lock. */
static bool await_poll(struct daemon *daemon)
{
	uint64_t before = daemon->begun;

	daemon->poll_now = true;
	(void)pthread_cond_broadcast(&daemon->changed);
	while (!daemon->stop && daemon->succeeded <= before) {
		wait_ms(daemon, TICK_MS);
	}
	return !daemon->stop;
}

static void log_maintenance(int64_t r)
{
	if (r < 0 && r != -ECANCELED) {
		dr_log_limited(MAX_RETRY_MS / 1000, DR_LOG_ERROR, "maintenance-failed",
			"why=\"%s\" next=\"tries again\"", strerrordesc_np((int)-r));
	}
}

static void *maintain_thread(void *arg)
{
	struct daemon *daemon = arg;
	uint64_t interval_ms = daemon->config.reconcile_interval_ms;
	uint64_t ms = interval_ms < FIRST_MAINTENANCE_MS ? interval_ms : FIRST_MAINTENANCE_MS;
	uint64_t due_ns = dr_now_ns() + ms * 1000000;

	(void)pthread_mutex_lock(&daemon->lock);
	while (!daemon->stop) {
		if (interval_ms == 0 || daemon->succeeded == 0 || dr_now_ns() < due_ns) {
			wait_ms(daemon, TICK_MS);
			continue;
		}
		(void)pthread_mutex_unlock(&daemon->lock);
		int64_t r = dr_shipper_replay(daemon->shipper);

		(void)pthread_mutex_lock(&daemon->lock);
		if (r > 0 && !await_poll(daemon)) {
			break;
		}
		if (r >= 0) {
			(void)pthread_mutex_unlock(&daemon->lock);
			r = dr_shipper_trim(daemon->shipper);
			(void)pthread_mutex_lock(&daemon->lock);
		}
		log_maintenance(r);
		ms = r < 0 && interval_ms > FIRST_MAINTENANCE_MS ? FIRST_MAINTENANCE_MS
								 : interval_ms;
		due_ns = dr_now_ns() + ms * 1000000;
	}
	leave(daemon);
	return NULL;
}

/* ---- start and end ---- */

static int start(struct daemon *daemon, char **ret_message)
{
	int r = dr_shipper_new(&daemon->config, &daemon->shipper, ret_message);

	if (r < 0) {
		return r;
	}
	daemon->stop = false;
	daemon->begun = 0;
	daemon->succeeded = 0;
	daemon->n_running = 2;
	r = -pthread_create(&daemon->poller, NULL, poll_thread, daemon);
	if (r == 0) {
		(void)pthread_setname_np(daemon->poller, "poll");
		r = -pthread_create(&daemon->maintainer, NULL, maintain_thread, daemon);
	}
	if (r < 0) {
		*ret_message = dr_xasprintf("no thread: %s", strerrordesc_np(-r));
		return r;
	}
	(void)pthread_setname_np(daemon->maintainer, "maintain");
	return 0;
}

/* Whether both threads have nothing left to do but to end. */
static bool await_threads(struct daemon *daemon)
{
	uint64_t until_ns = dr_now_ns() + LEAVE_MS * UINT64_C(1000000);

	(void)pthread_mutex_lock(&daemon->lock);
	while (daemon->n_running > 0 && dr_now_ns() < until_ns) {
		wait_ms(daemon, (until_ns - dr_now_ns()) / 1000000 + 1);
	}
	bool ended = daemon->n_running == 0;

	(void)pthread_mutex_unlock(&daemon->lock);
	return ended;
}

/* Ends both threads and saves. @return false: one of them did not end in time, and still uses what is there */
static bool end(struct daemon *daemon)
{
	(void)pthread_mutex_lock(&daemon->lock);
	daemon->stop = true;
	(void)pthread_cond_broadcast(&daemon->changed);
	(void)pthread_mutex_unlock(&daemon->lock);
	dr_shipper_cancel(daemon->shipper);
	bool ended = await_threads(daemon);

	if (ended) {
		(void)pthread_join(daemon->poller, NULL);
		(void)pthread_join(daemon->maintainer, NULL);
	}
	int r = dr_shipper_save(daemon->shipper, 100);

	if (r < 0) {
		dr_log(DR_LOG_WARNING, "left-unsaved",
			"why=\"%s\" next=\"the next start reads it from the streams\"",
			strerrordesc_np(-r));
	}
	return ended;
}

/* Reads the file into a fresh configuration: what it does not name is as by default again. */
static int read_config(
	const struct arguments *args, struct dr_hsm_config *config, char **ret_message)
{
	dr_hsm_config_init(config);
	int r = dr_hsm_config_read(
		config, args->config ? args->config : DEFAULT_CONFIG, ret_message);

	if (r == -ENOENT && !args->config) {
		free(*ret_message);
		*ret_message = NULL;
		dr_log(DR_LOG_WARNING, "no-configuration", "path=%s next=\"the defaults\"",
			DEFAULT_CONFIG);
		r = 0;
	}
	if (r < 0) {
		dr_hsm_config_fini(config);
	}
	return r;
}

/* A configuration that will not do leaves everything as it is. @return false: a thread hangs, the process must go */
static bool reload(struct daemon *daemon, const struct arguments *args)
{
	struct dr_hsm_config config;
	struct dr_url url = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;

	tell_systemd("RELOADING=1");
	int r = read_config(args, &config, &message);

	if (r == 0) {
		r = dr_hsm_config_url(&config, &url, &message);
		dr_url_fini(&url);
	}
	if (r < 0) {
		dr_log(DR_LOG_ERROR, "configuration-refused", "why=\"%s\" next=\"stays as it is\"",
			message);
		tell_systemd("READY=1");
		return true;
	}
	if (!end(daemon)) {
		dr_hsm_config_fini(&config);
		return false;
	}
	dr_shipper_free(daemon->shipper);
	dr_hsm_config_fini(&daemon->config);
	daemon->config = config;
	r = dr_hsm_log_open(config.log_level, config.log_file, &daemon->log_fd);
	if (r < 0) {
		dr_log(DR_LOG_ERROR, "log-file", "path=%s why=\"%s\"", config.log_file,
			strerrordesc_np(-r));
	}
	r = start(daemon, &message);
	dr_log(r < 0 ? DR_LOG_ERROR : DR_LOG_INFO, "configuration-read", "result=\"%s\"",
		r < 0 ? message : "ok");
	tell_systemd("READY=1");
	return r == 0;
}

static void tell_status(struct daemon *daemon)
{
	char text[256];

	(void)pthread_mutex_lock(&daemon->lock);
	const struct dr_poll *poll = &daemon->last;

	(void)snprintf(text, sizeof(text),
		"STATUS=%zu MDTs here, %zu elsewhere, %" PRIu64 " live actions%s%s", poll->n_mdts,
		poll->n_missing, poll->n_live, daemon->last_error ? "; not shipping: " : "",
		daemon->last_error ? strerrordesc_np(-daemon->last_error) : "");
	(void)pthread_mutex_unlock(&daemon->lock);
	tell_systemd(text);
}

/* Until SIGTERM or SIGINT. @return the exit status */
static int serve(struct daemon *daemon, const struct arguments *args, int signals)
{
	uint64_t told_ns = 0;

	tell_systemd("READY=1");
	for (;;) {
		struct pollfd wait = { .fd = signals, .events = POLLIN };
		struct signalfd_siginfo info;
		int n = poll(&wait, 1, TICK_MS * 5);

		if (n > 0 && read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
			if (info.ssi_signo != SIGHUP) {
				break;
			}
			if (!reload(daemon, args)) {
				return EXIT_FAILURE;
			}
		}
		uint64_t now_ns = dr_now_ns();

		if (now_ns - dr_shipper_beat(daemon->shipper) <
			daemon->config.poll_interval_ms * 1000000 + STUCK_NS) {
			tell_systemd("WATCHDOG=1");
		}
		if (now_ns - told_ns > 5000000000u) {
			told_ns = now_ns;
			tell_status(daemon);
		}
	}
	tell_systemd("STOPPING=1");
	if (!end(daemon)) {
		/* It waits in a call that nothing ends, and holds nothing that is not saved or in the stream. */
		_exit(EXIT_SUCCESS);
	}
	dr_shipper_free(daemon->shipper);
	dr_log(DR_LOG_INFO, "ended", "reason=signal");
	return EXIT_SUCCESS;
}

static int run_once(const struct dr_hsm_config *config, bool maintain, char **ret_message)
{
	struct dr_shipper *shipper = NULL;
	struct dr_poll poll;
	int64_t r = dr_shipper_new(config, &shipper, ret_message);

	if (r < 0) {
		return (int)r;
	}
	r = dr_shipper_poll(shipper, &poll);
	if (r == 0 && maintain) {
		r = dr_shipper_replay(shipper);
		if (r > 0) {
			r = dr_shipper_poll(shipper, &poll);
		}
		if (r >= 0) {
			r = dr_shipper_trim(shipper);
		}
	}
	if (r < 0) {
		*ret_message = dr_xasprintf("%s", strerrordesc_np((int)-r));
	}
	if (dr_shipper_save(shipper, 1000) < 0) {
		/* It is logged, and costs a replay. */
	}
	dr_shipper_free(shipper);
	return r < 0 ? (int)r : 0;
}

static int complain(const char *message)
{
	(void)fprintf(stderr, "hsm-action-shipper: %s\n", message);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct arguments args = { 0 };
	struct daemon daemon = {
		.log_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER
	};
	char *message dr_cleanup(dr_freep) = NULL;
	sigset_t mask;

	argp_err_exit_status = EXIT_USAGE;
	(void)argp_parse(&argp, argc, argv, 0, NULL, &args); // NOLINT(concurrency-mt-unsafe)
	(void)signal(SIGPIPE, SIG_IGN);
	if (read_config(&args, &daemon.config, &message) < 0) {
		return complain(message);
	}
	int r = dr_hsm_log_open(daemon.config.log_level, daemon.config.log_file, &daemon.log_fd);

	if (r < 0) {
		message = dr_xasprintf("%s: %s", daemon.config.log_file, strerrordesc_np(-r));
		return complain(message);
	}
	if (args.run_once || args.maintenance_now) {
		r = run_once(&daemon.config, args.maintenance_now, &message);
		dr_hsm_config_fini(&daemon.config);
		return r < 0 ? complain(message) : EXIT_SUCCESS;
	}
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigaddset(&mask, SIGINT);
	(void)sigaddset(&mask, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &mask, NULL);
	int signals dr_cleanup(dr_fd_closep) = signalfd(-1, &mask, SFD_CLOEXEC);

	if (signals < 0 || start(&daemon, &message) < 0) {
		return complain(message ? message : strerrordesc_np(errno));
	}
	r = serve(&daemon, &args, signals);
	dr_hsm_config_fini(&daemon.config);
	return r;
}
