/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_MOVER_H
#define DR_WORK_MOVER_H

#include "base/buf.h"

#include <stdatomic.h>

/*
 * The site's own command that moves a file (mover = lfs), run for one file. No shell is in between: the words are those of
 * the configuration, and the file's path is one more, whatever bytes it has.
 */
struct dr_mover {
	char **words;  /* end with NULL; owned */
	char *program; /* the file that words[0] names; owned */
	uint64_t timeout_ns;
};

/*
 * Splits the text and finds its program, in the PATH when it has no slash.
 * On an error *ret_message (malloc'ed) is what is wrong with the text, to be read after its key.
 * @error EINVAL it is not a command; ENOENT, EACCES the program is not there, or cannot be run
 */
dr_nodiscard int dr_mover_init(
	struct dr_mover *command, const char *text, uint64_t timeout_s, char **ret_message);
void dr_mover_fini(struct dr_mover *command); /* zeroed memory is fine */

#define DR_MOVER_GRACE_NS 5000000000ull /* that a command gets when its worker is to stop */
#define DR_MOVER_TERM_NS 2000000000ull  /* from SIGTERM to SIGKILL */
/* How long dr_mover_run() may still take once *stop is set: grace, TERM, KILL, and a moment each to see it. */
#define DR_MOVER_STOP_NS (DR_MOVER_GRACE_NS + 3 * DR_MOVER_TERM_NS)
#define DR_MOVER_LINE 256

enum dr_mover_end {
	DR_MOVER_EXITED,
	DR_MOVER_SIGNALLED, /* by somebody else */
	DR_MOVER_TIMED_OUT, /* it took longer than its time-out, and was killed */
	DR_MOVER_STOPPED,   /* *stop was set: it was killed, or not even begun */
};

struct dr_mover_result {
	enum dr_mover_end end;
	int status; /* exit status, or the signal's number */
	char line
		[DR_MOVER_LINE]; /* the last line with text that it wrote, cut at the end; raw bytes */
};

/*
 * Runs the command with one argument more, and waits for it. Its stdin is empty; what it writes is read, and its end is
 * kept. It has a process group of its own, which is killed when the command's own process has ended, and dies with
 * the thread that called. A program that cannot be run gives status 127 (it is not there) or 126, as from a shell.
 * Threads: any. The process must not wait for children that it does not know.
 * @param stop may be NULL; once set the command has DR_MOVER_GRACE_NS left
 * @error EAGAIN, ENOMEM, EMFILE no process or descriptor could be had: nothing was run
 */
dr_nodiscard int dr_mover_run(const struct dr_mover *command, const char *argument,
	const _Atomic bool *stop, struct dr_mover_result *ret_result);

#endif
