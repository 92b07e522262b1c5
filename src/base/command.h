/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_COMMAND_H
#define DR_BASE_COMMAND_H

#include "base/buf.h"

#include <stdatomic.h>

/*
 * Commands for /bin/sh, several at once, each with a deadline. A command is the head of a process group of its own, reads
 * nothing, inherits no descriptor and no blocked signal, and dies with the thread that runs it.
 */

struct dr_command {
	char *text; /* for /bin/sh -c; malloc'ed. NULL: it is not run, and `error` says why */
	/* What came of it: */
	int error;      /* negative errno: it could not be started; else 0 */
	bool timed_out; /* it was killed, with all of its process group */
	int status;     /* as waitpid(2) has it, when it ended by itself */
	char *last_line; /* malloc'ed: the last line that is not blank of what it wrote, escaped; "" without any */
};

/* Called in the caller's thread for each command that has ended. */
typedef void dr_command_fn(void *ctx, struct dr_command *command);

/*
 * Runs them all, in their order, at most at_once (up to 16) of them at a time, and returns when all have ended. stop (may be NULL)
 * may be set by another thread: within 100 ms what runs is killed, and fn is not called for it.
 * @error ECANCELED stop was set
 */
dr_nodiscard int dr_commands_run(struct dr_command *commands, size_t n, unsigned at_once,
	uint64_t timeout_s, const _Atomic bool *stop, dr_command_fn *fn, void *ctx);
void dr_commands_free(struct dr_command *commands, size_t n);

/* "" it succeeded; else "exit status 3", "killed by signal 9", "timed out", "not started: ..."; malloc'ed. */
char *dr_command_result(const struct dr_command *command);

#endif
