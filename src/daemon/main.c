/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "base/mounts.h"
#include "campaign/engine.h"
#include "daemon/daemon.h"
#include "daemon/process.h"
#include "work/mover.h"

#include <argp.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

const char *argp_program_version = "droverd " DR_VERSION;

#define EXIT_USAGE 2

/* One line for the user, and the exit status for it. */
#define complain(fmt, ...) ((void)fprintf(stderr, "droverd: " fmt "\n", ##__VA_ARGS__), EXIT_USAGE)

enum { OPT_DRY_RUN = 256, OPT_REDIS_PORT, OPT_METRICS_PORT, OPT_MOVER };

/* Options that are keys of the configuration too. */
static const struct {
	int key;
	const char *option;
} overrides[] = {
	{ 'l', "log_level" },
	{ 's', "scan_workers" },
	{ 'm', "migration_workers" },
	{ 'p', "max_pending_migrations" },
	{ 't', "claim_timeout" },
	{ 'r', "retry_delays" },
	{ 'f', "fsync" },
	{ 'v', "verify" },
	{ 'b', "base_path" },
	{ 'L', "max_leftovers" },
	{ OPT_REDIS_PORT, "redis_port" },
	{ OPT_METRICS_PORT, "metrics_port" },
	{ OPT_MOVER, "mover" },
};

static const struct argp_option argp_options[] = {
	{ "config", 'c', "FILE", 0, "read this drover.conf", 0 },
	{ "campaign", 'n', "NAME", 0, "the campaign to work for", 0 },
	{ "log-level", 'l', "LEVEL", 0, "error, warning, info or debug", 0 },
	{ "dry-run", OPT_DRY_RUN, NULL, 0, "do all but the copy and the swap", 0 },
	{ "scan-workers", 's', "N", 0, "threads that scan", 0 },
	{ "migration-workers", 'm', "N", 0, "threads that move", 0 },
	{ "max-pending-migrations", 'p', "N", 0, "files queued before scanners rest", 0 },
	{ "redis-port", OPT_REDIS_PORT, "PORT", 0, "this port for the server, and no other", 0 },
	{ "metrics-port", OPT_METRICS_PORT, "PORT", 0,
		"this port for /metrics, and no other; 0: none", 0 },
	{ "claim-timeout", 't', "SECONDS", 0,
		"after which a silent worker's jobs are given to others", 0 },
	{ "retry-delays", 'r', "LIST", 0,
		"seconds before each retry of a busy file, e.g. 60,300,1800", 0 },
	{ "max-leftovers", 'L', "N", 0, "files left over, past which the campaign pauses", 0 },
	{ "base-path", 'b', "DIR", 0, "folder of the campaigns", 0 },
	{ "mover", OPT_MOVER, "native|lfs", 0,
		"lfs: files are moved by lfs_migrate_command, not by drover itself", 0 },
	{ "verify", 'v', "yes|no", 0, "read each copy back and compare before the swap", 0 },
	{ "fsync", 'f', "yes|no", 0, "no: for benchmarks, where nothing is at stake", 0 },
	{ 0 },
};

struct override {
	const char *option, *value;
};

struct arguments {
	const char *config, *campaign;
	bool dry_run, redis_port, metrics_port;
	struct override given[32];
	size_t n_given;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->err_stream = NULL; /* or argp adds a line of its own to what is wrong */
		return 0;
	case ARGP_KEY_ERROR:
		exit(EXIT_USAGE); /* getopt said what is wrong */ // NOLINT(concurrency-mt-unsafe)
	case 'c':
		args->config = arg;
		return 0;
	case 'n':
		args->campaign = arg;
		return 0;
	case OPT_DRY_RUN:
		args->dry_run = true;
		return 0;
	case ARGP_KEY_ARG:
		exit(complain("unexpected argument '%s'", arg)); // NOLINT(concurrency-mt-unsafe)
	case ARGP_KEY_END:
		if (!args->campaign) {
			exit(complain("--campaign is missing")); // NOLINT(concurrency-mt-unsafe)
		}
		return 0;
	default:
		break;
	}
	for (size_t i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++) {
		if (overrides[i].key == key && args->n_given < 32) {
			args->given[args->n_given++] =
				(struct override){ overrides[i].option, arg };
			args->redis_port = args->redis_port || key == OPT_REDIS_PORT;
			args->metrics_port = args->metrics_port || key == OPT_METRICS_PORT;
			return 0;
		}
	}
	return ARGP_ERR_UNKNOWN;
}

static int load_options(struct dr_daemon *daemon, const struct arguments *args)
{
	char *message dr_cleanup(dr_freep) = NULL;
	int r;

	dr_options_init(&daemon->options);
	r = dr_options_load(&daemon->options, args->config, &message);
	for (size_t i = 0; r == 0 && i < args->n_given; i++) {
		r = dr_conf_set(dr_option_table, dr_option_count, &daemon->options,
			args->given[i].option, args->given[i].value, &message);
	}
	if (r < 0) {
		return complain("%s", message ? message : strerrordesc_np(-r));
	}
	r = dr_log_parse_level(daemon->options.log_level, &dr_log_level);
	return r < 0 ? complain("log level '%s' is none of error, warning, info, debug",
			       daemon->options.log_level)
		     : 0;
}

/* The campaign is over and nothing was asked for since: there is nothing to do. */
static bool is_over(struct dr_daemon *daemon)
{
	json_t *status = NULL;
	bool over = false;

	if (dr_control_status_any(&daemon->folder, &status) == 0) {
		const char *state = json_string_value(json_object_get(status, "state"));

		/* With a server of the site's own, what this host wrote down once is no news. */
		over = dr_state_is_final(state) &&
		       (!daemon->folder.engine || json_is_true(json_object_get(status, "live")));
		if (over) {
			(void)printf("campaign '%s' is over: %s\n", daemon->spec->name, state);
		}
		json_decref(status);
	}
	return over;
}

/* Whether the site's own server will do. One that is away may come: that is waited for. */
static int check_engine(struct dr_daemon *daemon)
{
	char *why dr_cleanup(dr_freep) = NULL;
	int r = dr_engine_check(daemon->folder.engine, &why);

	return r == 0 || r == -ENOTCONN || r == -EAGAIN ? 0 : complain("%s", why);
}

static int open_campaign(struct dr_daemon *daemon, const char *name)
{
	char *message dr_cleanup(dr_freep) = NULL;

	if (dr_campaign_open(&daemon->options, name, &daemon->folder, &daemon->spec, &message) <
		0) {
		return complain("%s", message);
	}
	daemon->logs_fd = openat(daemon->folder.fd, "logs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (daemon->logs_fd < 0) {
		return complain("%s/logs: %s", daemon->folder.path, strerrordesc_np(errno));
	}
	return daemon->folder.engine ? check_engine(daemon) : 0;
}

/* A clone's workers open its trees themselves, and prove them; the file system of the source is for what is shown. */
static int open_source(struct dr_daemon *daemon)
{
	char *rest dr_cleanup(dr_freep) = NULL;
	int r = dr_fs_open(daemon->spec->clone.from, &daemon->fs, &rest);

	return r < 0 ? complain("%s cannot be opened: %s", daemon->spec->clone.from,
			       strerrordesc_np(-r))
		     : 0;
}

static int open_file_system(struct dr_daemon *daemon)
{
	char identity[256];

	if (daemon->spec->kind == DR_CLONE) {
		return open_source(daemon);
	}
	int r = dr_fs_open_root(daemon->spec->fs_root, &daemon->fs);

	if (r == 0) {
		r = daemon->fs->ops->identity(daemon->fs, identity, sizeof(identity));
	}
	if (r < 0) {
		return complain(
			"%s cannot be opened: %s", daemon->spec->fs_root, strerrordesc_np(-r));
	}
	if (strcmp(identity, daemon->spec->fs_identity) != 0) {
		return complain("%s is another file system than the campaign was started on",
			daemon->spec->fs_root);
	}
	return 0;
}

/* What an embedded server needs of this host. */
static int check_for_server(struct dr_daemon *daemon)
{
	struct dr_server_version version;
	char *address dr_cleanup(dr_freep) = NULL;
	char text[DR_SERVER_VERSION_SIZE];
	uint16_t port;

	if (dr_server_find(&daemon->redis_path) < 0) {
		return complain("no redis-server in the PATH: install redis-server or valkey");
	}
	int r = dr_server_version_of(daemon->redis_path, &version);

	if (r < 0) {
		return complain("%s: %s", daemon->redis_path, strerrordesc_np(-r));
	}
	if (!dr_server_version_supported(&version)) {
		return complain("%s is %s: 6.2 or later is needed", daemon->redis_path,
			dr_server_version_format(&version, text));
	}
	r = dr_subnet_address(daemon->options.communication_subnet, &address);
	if (r < 0) {
		return complain("this host has no address in communication_subnet %s",
			daemon->options.communication_subnet);
	}
	if (daemon->redis_port_is_fatal) {
		r = dr_port_find(address, daemon->options.redis_port, true, &port);
		if (r < 0) {
			return complain("port %u at %s for redis-server: %s",
				(unsigned)daemon->options.redis_port, address, strerrordesc_np(-r));
		}
	}
	return 0;
}

/* A command that this host cannot run would make every file a failed one. A dry run needs none. */
static int check_mover(struct dr_daemon *daemon)
{
	const char *text = dr_options_command(&daemon->options);
	struct dr_mover command dr_cleanup(dr_mover_fini) = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;

	if (!text || daemon->wants_dry_run || daemon->spec->dry_run) {
		return 0;
	}
	if (dr_mover_init(&command, text, daemon->options.lfs_migrate_timeout, &message) < 0) {
		return complain("lfs_migrate_command: %s", message);
	}
	if (daemon->options.verify) {
		dr_log(DR_LOG_WARNING, "verify-not-possible",
			"mover=lfs next=\"sizes are compared, and nothing else\"");
	}
	return 0;
}

static int check_machine(struct dr_daemon *daemon)
{
	int r = daemon->folder.engine ? 0 : check_for_server(daemon);

	r = r != 0 ? r : check_mover(daemon);
	if (r != 0) {
		return r;
	}
	r = dr_metrics_start(daemon);
	if (r < 0 && daemon->metrics_port_is_fatal) {
		return complain("port %u at %s for metrics: %s",
			(unsigned)daemon->options.metrics_port,
			daemon->options.metrics_bind_address, strerrordesc_np(-r));
	}
	if (r < 0) {
		dr_log(DR_LOG_WARNING, "no-status-server",
			"address=%s port=%u errno=%d next=\"goes on without\"",
			daemon->options.metrics_bind_address,
			(unsigned)daemon->options.metrics_port, -r);
	}
	return 0;
}

static int set_signals(struct dr_daemon *daemon)
{
	sigset_t set;

	/* Lease breaks are polled for; a peer that went away shows as an error of the call. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGIO, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGCHLD);
	/* Before the first thread, so that all inherit it. */
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) {
		return 1;
	}
	daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	daemon->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return daemon->signal_fd < 0 || daemon->wake_fd < 0;
}

static void daemon_fini(struct dr_daemon *daemon)
{
	dr_http_stop(daemon->http);
	dr_store_free(daemon->store);
	dr_link_free(daemon->link);
	dr_store_free(daemon->any_store);
	dr_link_free(daemon->any_link);
	free(daemon->token);
	dr_fs_close(daemon->fs);
	json_decref(daemon->status);
	dr_spec_free(daemon->spec);
	dr_folder_fini(&daemon->folder);
	dr_options_fini(&daemon->options);
	free(daemon->host);
	free(daemon->process);
	free(daemon->redis_path);
	dr_fd_closep(&daemon->logs_fd);
	dr_fd_closep(&daemon->wake_fd);
	dr_fd_closep(&daemon->signal_fd);
	(void)pthread_mutex_destroy(&daemon->status_lock);
}

static int run(struct dr_daemon *daemon, const struct arguments *args)
{
	int status = load_options(daemon, args);

	if (status == 0) {
		status = open_campaign(daemon, args->campaign);
	}
	if (status != 0 || is_over(daemon)) {
		return status;
	}
	if (set_signals(daemon) != 0) {
		return complain("signals cannot be set up: %s", strerrordesc_np(errno));
	}
	daemon->host = dr_process_host();
	daemon->process = dr_process_name(daemon->host);
	status = open_file_system(daemon);
	if (status == 0) {
		status = check_machine(daemon);
	}
	if (status != 0) {
		return status;
	}
	daemon->link = dr_link_new();
	daemon->store = dr_store_new(daemon->link);
	daemon->started_ms = dr_wall_ms();
	return dr_daemon_run(daemon);
}

int main(int argc, char **argv)
{
	static const struct argp argp = { argp_options, parse, NULL,
		"Works for a drover campaign: scans, moves, and leads when nobody else does.\vdroverd(8) tells more.",
		NULL, NULL, NULL };
	struct arguments args = { 0 };
	struct dr_daemon daemon = { .logs_fd = -1,
		.wake_fd = -1,
		.signal_fd = -1,
		.lock_fd = -1,
		.server = { .pidfd = -1 } };

	static char program[] = "droverd";

	argp_err_exit_status = EXIT_USAGE;
	argv[0] = program; /* what getopt's messages begin with */
	if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) { // NOLINT(concurrency-mt-unsafe)
		return EXIT_USAGE;
	}
	daemon.wants_dry_run = args.dry_run;
	daemon.redis_port_is_fatal = args.redis_port;
	daemon.metrics_port_is_fatal = args.metrics_port;
	(void)pthread_mutex_init(&daemon.status_lock, NULL);
	int status = run(&daemon, &args);

	daemon_fini(&daemon);
	return status;
}
