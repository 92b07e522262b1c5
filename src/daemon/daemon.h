/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_DAEMON_DAEMON_H
#define DR_DAEMON_DAEMON_H

#include "campaign/claim.h"
#include "campaign/control.h"
#include "campaign/options.h"
#include "daemon/server.h"
#include "daemon/watchdog.h"
#include "http/http.h"
#include "work/work.h"

#include <pthread.h>

/*
 * droverd: one process of a campaign. Its main thread is the control loop, and owns everything here but what is
 * marked; the workers' threads know only the link, through which the loop tells them where the server is.
 */
enum dr_role { DR_NO_ROLE, DR_FOLLOWER, DR_LEADER };

struct dr_daemon {
	struct dr_options options;
	struct dr_spec *spec;
	struct dr_folder folder;
	struct dr_fs *fs;
	char *host, *process, *redis_path;
	bool redis_port_is_fatal, metrics_port_is_fatal, wants_dry_run;
	int logs_fd, wake_fd, signal_fd;

	enum dr_role role;
	uint64_t epoch; /* the last one that this process knew */
	/* embedded engine: */
	int lock_fd;         /* held by a leader */
	uint64_t generation; /* of that lock */
	struct dr_server server;
	struct dr_watchdog *watchdog;
	/* external engine (folder.engine): a connection of any epoch, and our name as a leader */
	struct dr_link *any_link;
	struct dr_store *any_store;
	char *token;
	char epoch_text[DR_EPOCH_SIZE];

	struct dr_link *link;
	struct dr_store *store; /* the loop's own connection */
	struct dr_work *work;   /* NULL until the campaign's mode is known; set under status_lock */
	char **dead;            /* processes found dead, told to the next reap */
	size_t n_dead;

	struct dr_closer
		*closer; /* of a leader, while there is one, and a moment longer; may be NULL */

	struct dr_http *http;
	uint16_t metrics_port;
	pthread_mutex_t status_lock; /* guards what follows, which the status server reads */
	json_t *status;              /* the last snapshot */
	uint64_t started_ms;
	_Atomic uint64_t asked_ns; /* when the status server was last asked */

	struct dr_rate files, bytes, scanned; /* of the campaign; a leader's */
	struct dr_rate own_files, own_found;  /* of this process, under status_lock */
	uint64_t beat_ns, refresh_ns, reap_ns, sample_ns, advance_ns, retry_ns, elect_ns;
	uint64_t elect_every_ns; /* grows while it fails */
	uint64_t answered_ns;    /* when the server last did */
	bool drained;            /* a worker saw the queue dry */
	bool holding;            /* scanners rest */
	bool ending;             /* a final state was heard, and is not written down yet */
	bool over;               /* the campaign is in a final state, and that is written down */
	bool stop;               /* SIGTERM, or an error that ends this process */
	int exit_status;
};

/*
 * embedded.c and external.c: this process gets a role (daemon->role), or hears that the campaign is over (daemon->over).
 * @return 1 it has one; 0 not now. @error of the folder, of the server; see is_passing() in loop.c
 */
dr_nodiscard int dr_embedded_elect(struct dr_daemon *daemon);
dr_nodiscard int dr_external_elect(struct dr_daemon *daemon);
/* Announces the leader again when its announcement is gone, or is an older one's. */
void dr_embedded_announce(struct dr_daemon *daemon);
/* Gives the role and all that comes with it back. kill: the server goes at once. */
void dr_embedded_end(struct dr_daemon *daemon, bool kill);
void dr_external_end(struct dr_daemon *daemon);
/* Every second: a leader's right to lead goes on; a role may have changed. @error ENOTCONN and others: no server */
dr_nodiscard int dr_external_renew(struct dr_daemon *daemon);

/* leader.c: does what was asked for while no daemon ran, or while none answered. */
void dr_lead_requests(struct dr_daemon *daemon);
/* What a leader does besides: rounds, retries, rates, the status file. */
void dr_lead_tick(struct dr_daemon *daemon, uint64_t now_ns);
/* Takes a snapshot; a leader also publishes speeds and writes status.json. */
dr_nodiscard int dr_daemon_sample(struct dr_daemon *daemon, uint64_t now_ns);
/* Writes the list of leftovers, then the last status. @error of the server and the folder: the end must wait */
dr_nodiscard int dr_lead_finish(struct dr_daemon *daemon);

/* closer.c: whether this process, when it leads, closes the sources by command. */
bool dr_closer_is_wanted(const struct dr_daemon *daemon);
/* Every turn: a leader has a thread that closes them, and nobody else has. */
void dr_closer_tend(struct dr_daemon *daemon);
/* It ends as soon as it can; then waits for it. */
void dr_closer_stop(struct dr_daemon *daemon);
void dr_closer_free(struct dr_daemon *daemon);

/* metrics.c */
dr_nodiscard int dr_metrics_start(struct dr_daemon *daemon);

/* loop.c */
int dr_daemon_run(struct dr_daemon *daemon); /* @return the exit status */
/* A heartbeat whose answer is not listened to: the first call proves the server. */
dr_nodiscard int dr_daemon_greet(struct dr_daemon *daemon);
/* Whether status.json tells a final state of this leadership or a later one, and nobody asked for more since. */
bool dr_end_is_written(struct dr_daemon *daemon);

#endif
