/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "store/scripts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

/*
 * The embedded engine: who holds the lock on the campaign's folder leads, and runs the server; all others find it by the
 * leader's announcement.
 */

#define START_TRIES 3
#define PORT_TRIES 20

/* Where a leader's server is; campaign NULL: whatever it holds. */
static struct dr_endpoint endpoint_of(char *address, uint16_t port, char *password, char *prefix)
{
	return (struct dr_endpoint){
		.host = address, .port = port, .password = password, .prefix = prefix
	};
}

/* Connects to whoever leads. @return 1 follows now; 0 not yet */
static int follow(struct dr_daemon *daemon)
{
	struct dr_leader_info info = { 0 };
	int r = dr_folder_leader(&daemon->folder, &info);

	if (r < 0) {
		return 0;
	}
	if (info.epoch < daemon->epoch) {
		/* An old announcement: its server may still answer, but not for long, and not for us. */
		dr_leader_info_fini(&info);
		return 0;
	}
	char *prefix dr_cleanup(dr_freep) = dr_control_prefix(daemon->spec);
	struct dr_endpoint endpoint = endpoint_of(info.address, info.port, info.password, prefix);

	endpoint.campaign = daemon->spec->id;
	dr_epoch_text(info.epoch, NULL, endpoint.epoch);
	dr_link_set(daemon->link, &endpoint);
	r = dr_daemon_greet(daemon);
	if (r < 0) {
		dr_link_set(daemon->link, NULL);
	} else {
		daemon->epoch = info.epoch;
		daemon->role = DR_FOLLOWER;
		dr_log(DR_LOG_INFO, "follows", "leader=%s epoch=%" PRIu64, info.host, info.epoch);
	}
	dr_leader_info_fini(&info);
	return r < 0 ? 0 : 1;
}

/* Whether the folder takes a write. A server that ended while it does not has no fault of its own. */
static int try_folder(const struct dr_daemon *daemon)
{
	static const char name[] = "writable";
	int r = dr_replace_file(daemon->folder.fd, name, 0600, "yes\n", 4);

	return r < 0 ? r : unlinkat(daemon->folder.fd, name, 0) < 0 ? -errno : 0;
}

/* Why a server that we have just started has ended. */
static int why_ended(const struct dr_daemon *daemon, const struct dr_server *server)
{
	uint16_t port;
	int r = try_folder(daemon);

	if (r < 0) {
		return r;
	}
	if (WIFSIGNALED(server->status)) {
		return -EINTR;
	}
	r = dr_port_find(server->address, server->port, true, &port);
	return r == -EADDRINUSE ? r : -EBADMSG; /* its log says what is wrong with the data */
}

/*
 * Waits until the server has loaded its data, and takes it: checks that the data is this campaign's, and sets the epoch.
 * The workers' link is not set yet, so a link of its own is used.
 * @error EINTR the server was killed; EADDRINUSE; EBADMSG it does not load the data; EPROTO the data is not this campaign's;
 *        ETIMEDOUT; of the folder
 */
static int open_server(struct dr_daemon *daemon, bool first)
{
	struct dr_server *server = &daemon->server;
	char *prefix dr_cleanup(dr_freep) = dr_control_prefix(daemon->spec);
	const struct dr_endpoint endpoint =
		endpoint_of(server->address, server->port, server->password, prefix);
	struct dr_link *link = dr_link_new();
	struct dr_store *store = dr_store_new(link);
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	uint64_t patience = daemon->options.redis_startup_timeout * 1000000000ull;
	uint64_t until = dr_now_ns() + patience;
	int r;

	dr_link_set(link, &endpoint);
	dr_args_str(&args, daemon->spec->id);
	dr_args_u64(&args, server->epoch);
	dr_args_str(&args, first ? "1" : "0");
	dr_args_str(&args, daemon->host);
	/* A refused password is another campaign's server on the port that ours wanted: ours ends then. */
	while ((r = dr_store_run(store, &dr_script_open, &args, false, &reply)) == -ENOTCONN ||
		r == -EACCES || r == -EAGAIN) {
		if (!dr_server_alive(server)) {
			r = why_ended(daemon, server);
			break;
		}
		if (r == -EAGAIN) {
			until = dr_now_ns() + patience; /* it loads its data, which may be much */
		} else if (dr_now_ns() > until) {
			r = -ETIMEDOUT;
			break;
		}
		dr_sleep_ms(2);
	}
	dr_store_free(store);
	dr_link_free(link);
	return r;
}

static int watch(struct dr_daemon *daemon)
{
	const struct dr_watchdog_config config = {
		.folder = &daemon->folder,
		.epoch = daemon->server.epoch,
		.generation = daemon->generation,
		.server_pidfd = daemon->server.pidfd,
		.limit_s = (unsigned)daemon->options.folder_timeout,
	};

	return dr_watchdog_start(&config, &daemon->watchdog);
}

/* One server on the epoch, on the first port that it gets. */
static int try_server(struct dr_daemon *daemon, uint64_t epoch, bool first)
{
	int r = -EADDRINUSE;

	/* Somebody may take the port between our look and the server's bind. */
	for (int i = 0; i < PORT_TRIES && r == -EADDRINUSE; i++) {
		r = dr_server_start(&daemon->server, daemon->redis_path, &daemon->folder,
			&daemon->options, epoch, daemon->lock_fd, daemon->redis_port_is_fatal);
		if (r < 0) {
			return r;
		}
		r = watch(daemon);
		if (r == 0) {
			r = open_server(daemon, first);
		}
		if (r < 0) {
			dr_watchdog_stop(daemon->watchdog);
			daemon->watchdog = NULL;
			dr_log(DR_LOG_ERROR, "server-not-started",
				"epoch=%" PRIu64 " errno=%d error=\"%s\"", epoch, -r,
				strerrordesc_np(-r));
			dr_server_stop(&daemon->server, true);
		}
	}
	return r;
}

static int start_server(struct dr_daemon *daemon)
{
	bool first = faccessat(daemon->folder.fd, DR_PRIMED, F_OK, 0) < 0;
	struct dr_server_version version;
	uint64_t epoch = 0;
	int r = dr_server_version_of(daemon->redis_path, &version);

	if (r == 0) {
		r = dr_epoch_make(&daemon->folder, &version, &epoch);
	}
	if (r < 0) {
		return r;
	}
	r = -EBADMSG;
	for (int i = 0; i < START_TRIES && r == -EBADMSG; i++) {
		r = try_server(daemon, epoch, first);
	}
	if (r < 0) {
		dr_epoch_discard(
			&daemon->folder, epoch, r == -EBADMSG || r == -EPROTO || r == -ENODATA);
	}
	if (r == -EBADMSG || r == -EPROTO || r == -ENODATA) {
		dr_log(DR_LOG_ERROR, "data-not-loaded",
			"campaign=%s log=\"%s/" DR_FAILED_LOG
			"\" next=\"'drover reprime %s' begins the campaign anew\"",
			daemon->spec->name, daemon->folder.path, daemon->spec->name);
	}
	return r;
}

/* @return -ESTALE when another was put before us while our server loaded */
static int still_leads(struct dr_daemon *daemon)
{
	struct dr_epochs epochs = { 0 };
	uint64_t generation = 0;
	int r = dr_folder_epochs(&daemon->folder, &epochs);

	if (r == 0) {
		r = dr_folder_lock_generation(&daemon->folder, &generation);
	}
	if (r == 0 && (epochs.highest > daemon->server.epoch || generation > daemon->generation)) {
		r = -ESTALE;
	}
	return r;
}

static int set_leader(struct dr_daemon *daemon)
{
	const struct dr_leader_info info = {
		.host = daemon->host,
		.address = daemon->server.address,
		.port = daemon->server.port,
		.epoch = daemon->server.epoch,
		.pid = (uint64_t)getpid(),
		.password = daemon->server.password,
	};

	return dr_folder_set_leader(&daemon->folder, &info);
}

void dr_embedded_announce(struct dr_daemon *daemon)
{
	uint64_t announced = 0;
	int r = dr_folder_announced(&daemon->folder, &announced);

	if ((r == 0 && announced < daemon->server.epoch) || r == -ENOENT || r == -EBADMSG) {
		r = set_leader(daemon);
		dr_log(DR_LOG_WARNING, "announced-again", "epoch=%" PRIu64 " result=%d",
			daemon->server.epoch, r);
	}
}

/* Primes the campaign if nobody did, does what was asked for meanwhile, and lets the others know. */
static int announce(struct dr_daemon *daemon)
{
	int r = 0;

	if (faccessat(daemon->folder.fd, DR_PRIMED, F_OK, 0) < 0) {
		r = dr_control_prime(daemon->store, daemon->spec,
			daemon->spec->dry_run || daemon->wants_dry_run);
		if (r == 0) {
			r = dr_replace_file(daemon->folder.fd, DR_PRIMED, 0600, "", 0);
		}
	}
	if (r == 0) {
		dr_lead_requests(daemon);
		r = still_leads(daemon);
	}
	if (r == 0) {
		r = set_leader(daemon);
	}
	if (r == 0) {
		dr_epoch_prune(&daemon->folder, daemon->server.epoch);
	}
	return r;
}

/* Takes the lock and the server, or says that another has it. @return 1 leads now; 0 another leads */
static int lead(struct dr_daemon *daemon)
{
	char *prefix dr_cleanup(dr_freep) = dr_control_prefix(daemon->spec);
	int fd = dr_folder_lock(&daemon->folder, &daemon->generation);

	if (fd < 0) {
		return fd == -EAGAIN ? 0 : fd;
	}
	daemon->lock_fd = fd;
	int r = start_server(daemon);

	if (r == 0) {
		struct dr_endpoint endpoint = endpoint_of(daemon->server.address,
			daemon->server.port, daemon->server.password, prefix);

		endpoint.campaign = daemon->spec->id;
		dr_epoch_text(daemon->server.epoch, NULL, endpoint.epoch);
		dr_link_set(daemon->link, &endpoint);
		r = announce(daemon);
	}
	if (r < 0) {
		dr_embedded_end(daemon, true);
		return r;
	}
	daemon->epoch = daemon->server.epoch;
	daemon->role = DR_LEADER;
	dr_log(DR_LOG_INFO, "leads", "campaign=%s epoch=%" PRIu64 " address=%s port=%u",
		daemon->spec->name, daemon->epoch, daemon->server.address, daemon->server.port);
	return 1;
}

int dr_embedded_elect(struct dr_daemon *daemon)
{
	int r = follow(daemon);

	if (r == 0 && dr_end_is_written(daemon)) {
		daemon->over = true;
		return 0;
	}
	return r == 0 ? lead(daemon) : r;
}

void dr_embedded_end(struct dr_daemon *daemon, bool kill)
{
	dr_link_set(daemon->link, NULL);
	dr_watchdog_stop(daemon->watchdog);
	daemon->watchdog = NULL;
	if (daemon->server.pid > 0 && daemon->role == DR_LEADER) {
		dr_folder_clear_leader(&daemon->folder, daemon->server.epoch);
	}
	dr_server_stop(&daemon->server, kill);
	dr_fd_closep(&daemon->lock_fd);
	daemon->role = DR_NO_ROLE;
}
