/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_DAEMON_DAEMON_H
#define DR_DAEMON_DAEMON_H

#include "campaign/claim.h"
#include "campaign/control.h"
#include "campaign/options.h"
#include "daemon/server.h"
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
	int lock_fd; /* held by a leader */
	struct dr_server server;
	uint64_t epoch;
	struct dr_link *link;
	struct dr_store *store; /* the loop's own connection */
	struct dr_work *work;   /* NULL until the campaign's mode is known; set under status_lock */
	char **dead;            /* processes found dead, told to the next reap */
	size_t n_dead;

	struct dr_http *http;
	uint16_t metrics_port;
	pthread_mutex_t status_lock; /* guards what follows, which the status server reads */
	json_t *status;              /* the last snapshot */
	uint64_t started_ms;
	_Atomic uint64_t asked_ns; /* when the status server was last asked */

	struct dr_rate files, bytes, scanned; /* of the campaign; a leader's */
	struct dr_rate own_files, own_found;  /* of this process, under status_lock */
	uint64_t beat_ns, refresh_ns, reap_ns, sample_ns, advance_ns, retry_ns, elect_ns;
	bool drained; /* a worker saw the queue dry */
	bool holding; /* scanners rest */
	bool ending;  /* a final state was heard, and is not written down yet */
	bool over;    /* the campaign is in a final state, and that is written down */
	bool stop;    /* SIGTERM, or an error that ends this process */
	int exit_status;
};

/* leader.c: take the lock and the server, or say that another has it. @return 1 leads now; 0 another leads. -errno */
dr_nodiscard int dr_lead_begin(struct dr_daemon *daemon);
/* What a leader does besides: rounds, retries, rates, the status file. */
void dr_lead_tick(struct dr_daemon *daemon, uint64_t now_ns);
/* Takes a snapshot; a leader also publishes speeds and writes status.json. */
dr_nodiscard int dr_daemon_sample(struct dr_daemon *daemon, uint64_t now_ns);
/* Writes the list of leftovers, then the last status. @error of the server and the folder: the end must wait */
dr_nodiscard int dr_lead_finish(struct dr_daemon *daemon);
/* Stops the server, gives the lock back. */
void dr_lead_end(struct dr_daemon *daemon);

/* metrics.c */
dr_nodiscard int dr_metrics_start(struct dr_daemon *daemon);

/* loop.c */
int dr_daemon_run(struct dr_daemon *daemon); /* @return the exit status */

#endif
