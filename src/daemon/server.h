/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_DAEMON_SERVER_H
#define DR_DAEMON_SERVER_H

#include "campaign/leadership.h"
#include "campaign/options.h"
#include "store/version.h"

#include <sys/types.h>

/*
 * The embedded engine: a redis-server of our own. It inherits the lock's descriptor and dies with the
 * thread that starts it (the main thread), so as long as it can serve, the lock is held.
 */
struct dr_server {
	pid_t pid;  /* 0: none */
	int pidfd;  /* of it, while pid is not 0 */
	int status; /* as waitpid() tells it, of the last one that ended */
	uint16_t port;
	char *address;
	char *password;
	uint64_t epoch;
	char *epoch_path;
};

/* The full path of redis-server, malloc'ed. @error ENOENT not in the PATH */
dr_nodiscard int dr_server_find(char **ret_path);

/*
 * Makes the next epoch's directory from the last complete one: under a temporary name, then renamed. What can
 * still grow is copied, and a torn end of it cut; what cannot is hard-linked. Only with the lock held.
 * have: the server that is to load it, recorded in the epoch.
 * @error of the file system; EPROTONOSUPPORT a newer server wrote the last epoch (logged)
 */
dr_nodiscard int dr_epoch_make(
	const struct dr_folder *folder, const struct dr_server_version *have, uint64_t *ret_epoch);
/* Keeps the newest epoch, which a server has loaded, and the complete one before it. What cannot be removed is logged. */
void dr_epoch_prune(const struct dr_folder *folder, uint64_t newest);
/* Takes an epoch back that no server has loaded: it holds nothing that the one before does not hold. */
void dr_epoch_discard(const struct dr_folder *folder, uint64_t epoch, bool keep_log);
#define DR_FAILED_LOG                                                                              \
	"failed-redis.log" /* in the campaign's folder: of the last server that did not load its data */

/*
 * Starts the server on the epoch's directory. fatal_port: the port is the user's word, not a first choice.
 * Returns when it has been started, not when it has loaded its data.
 * @error EADDRINUSE
 */
dr_nodiscard int dr_server_start(struct dr_server *server, const char *redis_path,
	const struct dr_folder *folder, const struct dr_options *options, uint64_t epoch,
	int lock_fd, bool fatal_port);
/* Whether it still runs; reaps it when it ended. */
bool dr_server_alive(struct dr_server *server);
/* Asks it to end, waits, kills it after 10 s. kill: kills it at once, which loses nothing that it acknowledged. */
void dr_server_stop(struct dr_server *server, bool kill);

/* The first free TCP port from `first` on, at the address. @error EADDRINUSE none, or only_first and it is taken */
dr_nodiscard int dr_port_find(
	const char *address, uint64_t first, bool only_first, uint16_t *ret_port);
/* The address of this host inside the subnet ("10.0.0.0/8", "fd00::/8"), malloc'ed. NULL subnet: 127.0.0.1. @error ENOENT none; EINVAL */
dr_nodiscard int dr_subnet_address(const char *subnet, char **ret_address);

#endif
