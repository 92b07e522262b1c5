/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/process.h"
#include "store/scripts.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#ifdef DR_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

/*
 * The control loop. Each turn: have a role (lead, or follow whoever leads), tell the queue that this process lives,
 * keep its claims, return what the dead held, and, as a leader, drive the campaign. Losing the server means losing
 * the role; the workers notice only that their calls take longer.
 */

#define BEAT_NS 1000000000ull
#define ELECT_NS 200000000ull
#define ELECT_SLOWLY_NS 1000000000ull /* after an attempt that cost something */
#define FOLLOWER_SAMPLE_NS 10000000000ull
#define TICK_MS 100
#define LEAVE_NS 5000000000ull

static void tell_systemd(const char *text)
{
#ifdef DR_HAVE_SYSTEMD
	(void)sd_notify(0, text);
#else
	(void)text;
#endif
}

static void give_up(struct dr_daemon *daemon, int exit_status)
{
	daemon->stop = true;
	daemon->exit_status = exit_status;
}

static bool is_external(const struct dr_daemon *daemon)
{
	return daemon->folder.engine != NULL;
}

static void end_role(struct dr_daemon *daemon, bool kill)
{
	if (is_external(daemon)) {
		dr_external_end(daemon);
	} else {
		dr_embedded_end(daemon, kill);
	}
}

static void lose_role(struct dr_daemon *daemon, const char *why)
{
	dr_log(DR_LOG_WARNING, "server-lost",
		"epoch=%" PRIu64 " why=\"%s\" next=\"looks for a leader\"", daemon->epoch, why);
	end_role(daemon, true);
}

bool dr_end_is_written(struct dr_daemon *daemon)
{
	json_t *status = NULL;

	/* In this order: a leader writes the new state before it removes the request. */
	if (dr_folder_retry_requested(&daemon->folder) ||
		dr_folder_read_json(&daemon->folder, "status.json", &status) < 0) {
		return false;
	}
	const char *state = json_string_value(json_object_get(status, "state"));
	bool over = state && dr_state_is_final(state) &&
		    (uint64_t)json_integer_value(json_object_get(status, "epoch")) >= daemon->epoch;

	json_decref(status);
	return over;
}

/*
 * What no waiting mends: the user's word that cannot be kept, data that is not ours or that no server loads, a mount that
 * is not fit. All else (a full disk, a server that is away, a folder that is read-only for a while) passes.
 */
static bool is_passing(const struct dr_daemon *daemon, int error)
{
	switch (-error) {
	case EADDRINUSE:
		return !daemon->redis_port_is_fatal;
	case EACCES:
	case EPERM:
		/* To root a folder is closed only while it is read-only; and who could before may again. */
		return daemon->epoch > 0 || (geteuid() == 0 && !is_external(daemon));
	case EBADMSG:
	case ENODATA:
	case EPROTO:
	case EINVAL:
	case ENOLCK:
		return false;
	case ENOENT:
		return faccessat(daemon->folder.fd, "campaign.json", F_OK, 0) == 0;
	case EPROTONOSUPPORT:
		return !is_external(daemon); /* another host may lead */
	default:
		return true;
	}
}

/* Without a server: is the campaign over, is there a leader, may we lead? */
static void elect(struct dr_daemon *daemon)
{
	int r = is_external(daemon) ? dr_external_elect(daemon) : dr_embedded_elect(daemon);

	daemon->elect_every_ns = ELECT_NS;
	if (r >= 0) {
		return;
	}
	if (is_passing(daemon, r)) {
		dr_log_limited(10, DR_LOG_WARNING, "cannot-lead",
			"campaign=%s error=\"%s\" next=\"tries again\"", daemon->spec->name,
			strerrordesc_np(-r));
		daemon->elect_every_ns =
			r == -ENOTCONN || r == -EAGAIN ? ELECT_NS : ELECT_SLOWLY_NS;
		return;
	}
	dr_log(DR_LOG_ERROR, "cannot-lead", "campaign=%s errno=%d error=\"%s\"", daemon->spec->name,
		-r, strerrordesc_np(-r));
	give_up(daemon, r == -EADDRINUSE ? 2 : 1);
}

static void add_current(void *ctx, const char *worker, const char *path)
{
	(void)json_array_append_new(ctx, json_pack("{s:s,s:s}", "worker", worker, "path", path));
}

static char *record(struct dr_daemon *daemon)
{
	json_t *current = json_array();
	uint64_t own = 0, others = 0;

	if (daemon->work) {
		dr_work_current(daemon->work, add_current, current);
		dr_work_flight_bytes(daemon->work, &own, &others);
	}
	json_t *json = json_pack("{s:s,s:s,s:i,s:I,s:{s:I,s:I},s:i,s:I,s:I,s:o}", "id",
		daemon->process, "host", daemon->host, "pid", (int)getpid(), "started_ms",
		(json_int_t)daemon->started_ms, "threads", "scan",
		(json_int_t)daemon->options.scan_workers, "move",
		(json_int_t)daemon->options.migration_workers, "metrics_port",
		(int)daemon->metrics_port, "in_flight_bytes", (json_int_t)own,
		"others_in_flight_bytes", (json_int_t)others, "current", current);
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	return text ? text : dr_xstrdup("{}");
}

static int send_beat(struct dr_daemon *daemon, bool leave, redisReply **ret_reply)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	struct dr_buf flight dr_cleanup(dr_buf_fini) = { 0 };
	char *text dr_cleanup(dr_freep) = leave ? dr_xstrdup("") : record(daemon);

	dr_work_tell_flight(daemon->work, &flight);
	dr_args_str(&args, daemon->process);
	dr_args_str(&args, text);
	dr_args_bytes(&args, flight.data, flight.len);
	return dr_store_run(daemon->store, &dr_script_beat, &args, false, ret_reply);
}

int dr_daemon_greet(struct dr_daemon *daemon)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	return send_beat(daemon, false, &reply);
}

static void hear_flight(struct dr_daemon *daemon, const redisReply *reply)
{
	size_t len = 0;
	const char *sum = dr_reply_str(reply, 4, &len);

	if (dr_work_hear_flight(daemon->work, sum, len, (uint64_t)dr_reply_int(reply, 5)) < 0) {
		dr_log_limited(60, DR_LOG_WARNING, "flight-not-read",
			"bytes=%zu next=\"goes on with what was heard before\"", len);
	}
}

/* The queue's answer to a heartbeat: what the campaign's mode and state are. */
static void hear(struct dr_daemon *daemon, const redisReply *reply)
{
	const char *state = dr_reply_str(reply, 0, NULL);
	bool dry_run = strcmp(dr_reply_str(reply, 3, NULL), "1") == 0;

	if (!daemon->work && !daemon->stop && !dr_state_is_final(state)) {
		if (daemon->wants_dry_run != dry_run && !daemon->spec->dry_run) {
			dr_log(DR_LOG_ERROR, "other-mode",
				"campaign=%s next=\"start %s --dry-run\"", daemon->spec->name,
				dry_run ? "with" : "without");
			give_up(daemon, 2);
			return;
		}
		const struct dr_work_config config = {
			.spec = daemon->spec,
			.options = &daemon->options,
			.fs = daemon->fs,
			.link = daemon->link,
			.process = daemon->process,
			.host = daemon->host,
			.logs_fd = daemon->logs_fd,
			.folder_fd = daemon->folder.fd,
			.wake_fd = daemon->wake_fd,
			.dry_run = dry_run,
		};
		struct dr_work *work = NULL;
		int r = dr_work_start(&config, &work);

		(void)pthread_mutex_lock(&daemon->status_lock);
		daemon->work = work;
		(void)pthread_mutex_unlock(&daemon->status_lock);
		if (r < 0) {
			dr_log(DR_LOG_ERROR, "workers-not-started", "errno=%d", -r);
			give_up(daemon, 1);
			return;
		}
		tell_systemd("READY=1");
	}
	if (daemon->work) {
		dr_work_set_running(daemon->work, strcmp(state, "running") == 0);
	}
	if (dr_state_is_final(state)) {
		/* A follower stays until the end is written down: the leader may die over it. */
		daemon->over = daemon->role == DR_LEADER || is_external(daemon) ||
			       dr_end_is_written(daemon);
		daemon->ending = !daemon->over;
	} else {
		daemon->ending = false; /* somebody asked for more */
	}
}

static int beat(struct dr_daemon *daemon, bool leave)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	int r = send_beat(daemon, leave, &reply);

	if (r == 0 && !leave) {
		hear_flight(daemon, reply);
		hear(daemon, reply);
	}
	return r;
}

static void forget_dead(struct dr_daemon *daemon)
{
	for (size_t i = 0; i < daemon->n_dead; i++) {
		free(daemon->dead[i]);
	}
	free(daemon->dead);
	daemon->dead = NULL;
	daemon->n_dead = 0;
}

/* Returns stale claims, and at once those of processes of this machine that are gone. */
static int reap(struct dr_daemon *daemon)
{
	char **holders = NULL;
	size_t n_holders = 0;
	int n = dr_claim_reap(daemon->store, daemon->options.claim_timeout * 1000, daemon->dead,
		daemon->n_dead, &holders, &n_holders);

	if (n < 0) {
		return n;
	}
	if (n > 0) {
		dr_log(DR_LOG_INFO, "claims-returned", "jobs=%d", n);
		dr_work_wake(daemon->work);
	}
	forget_dead(daemon);
	daemon->dead = holders;
	for (size_t i = 0; i < n_holders; i++) {
		if (dr_process_is_dead(holders[i])) {
			daemon->dead[daemon->n_dead++] = holders[i];
		} else {
			free(holders[i]);
		}
	}
	/* Somebody is dead: they are told to the queue in the next turn, not in a second. */
	if (daemon->n_dead > 0) {
		daemon->reap_ns = 0;
	}
	return 0;
}

static void own_rates(struct dr_daemon *daemon, uint64_t now)
{
	(void)pthread_mutex_lock(&daemon->status_lock);
	dr_rate_update(&daemon->own_files, now,
		dr_work_counted(daemon->work, DR_COUNT_SUCCEEDED) +
			dr_work_counted(daemon->work, DR_COUNT_FAILED) +
			dr_work_counted(daemon->work, DR_COUNT_SKIPPED),
		5);
	dr_rate_update(&daemon->own_found, now, dr_work_counted(daemon->work, DR_COUNT_FOUND), 5);
	(void)pthread_mutex_unlock(&daemon->status_lock);
}

/* What every process does, whatever its role. @return -errno when the server is lost */
static int tend(struct dr_daemon *daemon, uint64_t now)
{
	uint64_t claim_ns = daemon->options.claim_timeout * 1000000000ull;
	uint64_t reap_every =
		daemon->role == DR_LEADER || claim_ns / 4 < BEAT_NS ? BEAT_NS / 2 : claim_ns / 4;
	int r = 0;

	if (now - daemon->beat_ns >= (daemon->ending ? BEAT_NS / 10 : BEAT_NS)) {
		daemon->beat_ns = now;
		r = is_external(daemon) ? dr_external_renew(daemon) : 0;
		r = r < 0 ? r : beat(daemon, false);
		if (r == 0 && daemon->work) {
			own_rates(daemon, now);
		}
	}
	if (r == 0 && daemon->work && now - daemon->refresh_ns >= claim_ns / 4) {
		daemon->refresh_ns = now;
		r = dr_work_refresh(daemon->work, daemon->store);
	}
	if (r == 0 && daemon->work && now - daemon->reap_ns >= reap_every) {
		daemon->reap_ns = now;
		r = reap(daemon);
	}
	/* A full or angry server is no lost one. */
	return r == -ENOMEM || r == -EPROTO ? 0 : r;
}

/*
 * What a server's silence means. A follower looks for another leader. A leader's own server is slow rather than lost while
 * its process runs, for the lock is held; but one that is silent for very long serves nobody.
 */
static void hear_silence(struct dr_daemon *daemon, uint64_t now, int error)
{
	uint64_t patience = daemon->options.redis_startup_timeout * 1000000000ull;

	if (daemon->role == DR_FOLLOWER || is_external(daemon)) {
		lose_role(daemon, strerrorname_np(-error));
	} else if (now - daemon->answered_ns > patience) {
		lose_role(daemon, "the server does not answer");
	}
}

/* @return whether this process has a role now */
static bool have_role(struct dr_daemon *daemon, uint64_t now)
{
	if (daemon->role == DR_LEADER && !is_external(daemon) &&
		!dr_server_alive(&daemon->server)) {
		lose_role(daemon, "the server ended");
	}
	if (daemon->role == DR_NO_ROLE && now - daemon->elect_ns >= daemon->elect_every_ns) {
		elect(daemon);
		daemon->elect_ns = dr_now_ns();
		daemon->answered_ns = daemon->elect_ns;
		daemon->beat_ns = daemon->refresh_ns = 0;
		daemon->drained = true; /* ask at once: it may all be done already */
	}
	return daemon->role != DR_NO_ROLE;
}

static void turn(struct dr_daemon *daemon)
{
	uint64_t now = dr_now_ns();
	bool has_role = have_role(daemon, now);

	dr_closer_tend(daemon);
	if (!has_role) {
		return;
	}
	int r = tend(daemon, now);

	if (r < 0) {
		hear_silence(daemon, now, r);
		return;
	}
	daemon->answered_ns = dr_now_ns();
	if (daemon->role == DR_LEADER && daemon->work) {
		dr_lead_tick(daemon, now);
	} else if (daemon->role == DR_FOLLOWER) {
		bool asked = now - atomic_load(&daemon->asked_ns) < FOLLOWER_SAMPLE_NS;

		if (now - daemon->sample_ns >= (asked ? BEAT_NS : FOLLOWER_SAMPLE_NS)) {
			daemon->sample_ns = now;
			(void)!dr_daemon_sample(daemon, now); /* tried again with the next */
		}
	}
}

static void wait_for_events(struct dr_daemon *daemon)
{
	struct pollfd fds[3] = {
		{ .fd = daemon->signal_fd, .events = POLLIN },
		{ .fd = daemon->wake_fd, .events = POLLIN },
		/* A server that ends closes its connections: then nobody waits for the next heartbeat to fail. */
		{ .fd = dr_store_fd(daemon->store), .events = POLLRDHUP },
	};
	eventfd_t events;

	if (poll(fds, daemon->role == DR_NO_ROLE ? 2 : 3, TICK_MS) <= 0) {
		return;
	}
	if (fds[2].revents) {
		daemon->beat_ns = 0; /* the next one proves it */
	}
	if (fds[1].revents & POLLIN && eventfd_read(daemon->wake_fd, &events) == 0) {
		daemon->drained = true;
	}
	if (fds[0].revents & POLLIN) {
		struct signalfd_siginfo info;

		if (read(daemon->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info) &&
			info.ssi_signo != SIGCHLD) {
			dr_log(DR_LOG_INFO, "stops", "signal=%s",
				sigabbrev_np((int)info.ssi_signo));
			give_up(daemon, 0);
		}
	}
}

/* The last one out: a leader whose campaign is over waits a moment for its followers to see it. */
static void wait_for_followers(struct dr_daemon *daemon)
{
	for (int i = 0; i < 40; i++) {
		json_t *status = NULL;

		if (dr_control_status(daemon->store, daemon->spec, &status) < 0) {
			return;
		}
		size_t n = json_array_size(json_object_get(status, "workers"));

		json_decref(status);
		if (n == 0) {
			return;
		}
		dr_sleep_ms(50);
	}
}

int dr_daemon_run(struct dr_daemon *daemon)
{
	while (!daemon->stop && !daemon->over) {
		turn(daemon);
		if (daemon->over && daemon->role == DR_LEADER && dr_lead_finish(daemon) < 0) {
			daemon->over = false; /* heard again with the next beat */
		}
		if (!daemon->stop && !daemon->over) {
			wait_for_events(daemon);
		}
	}
	tell_systemd("STOPPING=1");
	dr_closer_stop(daemon);
	if (daemon->role == DR_NO_ROLE) {
		dr_link_stop(daemon->link); /* nobody is there to give jobs back to */
	}
	if (daemon->work) {
		/* The server may die just now: then the jobs in hand go stale, and nobody waits for it for ever. */
		dr_link_stop_at(
			daemon->link, dr_now_ns() + LEAVE_NS + dr_work_stop_ns(daemon->work));
		dr_work_stop(daemon->work);
	}
	if (daemon->role != DR_NO_ROLE && beat(daemon, true) < 0) {
		dr_log(DR_LOG_DEBUG, "left-without-a-word", "next=\"the record expires\"");
	}
	if (daemon->role == DR_LEADER && daemon->over && !is_external(daemon)) {
		wait_for_followers(daemon);
	} else if (daemon->role == DR_LEADER) {
		(void)!dr_daemon_sample(
			daemon, dr_now_ns()); /* what status shows while nobody runs */
	}
	end_role(daemon, false);
	dr_http_stop(daemon->http);
	daemon->http = NULL;
	dr_link_stop(daemon->link);
	dr_closer_free(daemon);
	dr_work_free(daemon->work);
	daemon->work = NULL;
	forget_dead(daemon);
	return daemon->exit_status;
}
