/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_DAEMON_WATCHDOG_H
#define DR_DAEMON_WATCHDOG_H

#include "campaign/leadership.h"

/*
 * A leader's watchdog kills its server as soon as it may no longer serve: when the campaign's folder has taken no
 * write for some seconds (its lock may be another's when the folder comes back), and when a higher epoch or a newer
 * lock is seen (another leads).
 *
 * Two threads: one writes to the epoch's file "alive" every second, fsyncs it, and looks around; it hangs as long as the
 * folder hangs. The other looks at nothing but the clock, and at what the first one last completed. Neither is the
 * control loop, which may hang on the same folder.
 * The server is killed by its pidfd: never another process that got its number.
 */
struct dr_watchdog;

struct dr_watchdog_config {
	const struct dr_folder *folder; /* lent for the call */
	uint64_t epoch, generation;     /* of the epoch and the lock that are ours */
	int server_pidfd;               /* lent for the call */
	unsigned limit_s;
};

/* @error of the folder; of pthread_create */
dr_nodiscard int dr_watchdog_start(
	const struct dr_watchdog_config *config, struct dr_watchdog **ret_watchdog);
/* It kills nothing any more when this returns. A thread that hangs on the folder ends by itself later. NULL is fine. */
void dr_watchdog_stop(struct dr_watchdog *watchdog);

#endif
