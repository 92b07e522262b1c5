/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_DAEMON_PROCESS_H
#define DR_DAEMON_PROCESS_H

#include "base/prelude.h"

/*
 * Who a process is, in the queue's books: HOST:MACHINE:PID:START, unique for all time. MACHINE stands for the running
 * kernel and the PID name space, so that whoever shares both can tell at once whether the process is still alive.
 */

/* This process's, malloc'ed. host is the bare host name. */
char *dr_process_name(const char *host);
/* The host name up to its first dot, malloc'ed. */
char *dr_process_host(void);
/* Whether the process of that name (a slash may follow it) ran on this machine and is gone. */
bool dr_process_is_dead(const char *name);

#endif
