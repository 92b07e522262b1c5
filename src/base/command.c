/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/command.h"

#include "base/clock.h"
#include "base/text.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TICK_MS 100
#define GRACE_NS                                                                                   \
	2000000000ull /* that a killed command has until it is given up: the kernel may hold it */
#define AT_ONCE_MAX 16
#define LINE_MAX_BYTES 512 /* of the output; of a longer line the first so many count */

/* A command that runs. One thread owns all of them. */
struct slot {
	struct dr_command *command; /* NULL: free */
	pid_t pid;
	int pidfd; /* -1: it could not be had, and the ticks do */
	int out_fd;
	uint64_t deadline_ns;
	bool killed;
	struct dr_buf line; /* the one that is being written */
	struct dr_buf last; /* the last whole one that is not blank */
};

/* Between fork and exec: only what is safe there. */
static void child(const char *text, int out_fd, pid_t parent)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0) {
		_exit(126);
	}
	(void)setpgid(0, 0);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGIO, SIG_DFL);
	(void)sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(out_fd, STDOUT_FILENO);
	(void)dup2(out_fd, STDERR_FILENO);
	/* All of ours are closed by exec; a library's may not be. */
	(void)close_range(STDERR_FILENO + 1, ~0u, 0);
	(void)execl("/bin/sh", "sh", "-c", text, (char *)NULL);
	_exit(127);
}

static int start(struct slot *slot, struct dr_command *command, uint64_t timeout_s)
{
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC) < 0) {
		return -errno;
	}
	/* Ours alone: the commands want pipes that wait. */
	(void)fcntl(pipes[0], F_SETFL, O_NONBLOCK);
	pid_t parent = getpid();
	/* Not posix_spawn: a command must not outlive us, and there is no other way to say so before it runs. */
	pid_t pid = fork();

	if (pid == 0) {
		child(command->text, pipes[1], parent);
	}
	int r = pid < 0 ? -errno : 0;

	(void)close(pipes[1]);
	if (r < 0) {
		(void)close(pipes[0]);
		return r;
	}
	(void)setpgid(pid, pid); /* whoever is first: a kill of the group must find it */
	*slot = (struct slot){
		.command = command,
		.pid = pid,
		.pidfd = (int)syscall(SYS_pidfd_open, pid, 0),
		.out_fd = pipes[0],
		.deadline_ns = dr_now_ns() + timeout_s * 1000000000ull,
	};
	return 0;
}

static void end_line(struct slot *slot)
{
	bool blank = true;

	for (size_t i = 0; i < slot->line.len; i++) {
		blank = blank && strchr(" \t\r", slot->line.data[i]);
	}
	if (!blank) {
		dr_buf_clear(&slot->last);
		dr_buf_put(&slot->last, slot->line.data, slot->line.len);
	}
	dr_buf_clear(&slot->line);
}

/* What it has written by now. Whoever it left behind may hold the pipe open, so its end is not waited for. */
static void read_output(struct slot *slot)
{
	char bytes[4096];

	/* One that writes without end must not keep us here. */
	for (int i = 0; i < 64; i++) {
		ssize_t n = read(slot->out_fd, bytes, sizeof(bytes));

		if (n == 0) {
			dr_fd_closep(&slot->out_fd);
		}
		if (n <= 0) {
			return;
		}
		for (ssize_t k = 0; k < n; k++) {
			if (bytes[k] == '\n') {
				end_line(slot);
			} else if (slot->line.len < LINE_MAX_BYTES) {
				dr_buf_put_u8(&slot->line, (uint8_t)bytes[k]);
			}
		}
	}
}

static char *last_line(struct slot *slot)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	end_line(slot);
	while (slot->last.len > 0 && strchr(" \t\r", slot->last.data[slot->last.len - 1])) {
		slot->last.len--;
	}
	dr_text_escape(&text, slot->last.data, slot->last.len);
	return dr_xstrdup(dr_buf_cstr(&text));
}

static void clear(struct slot *slot)
{
	dr_fd_closep(&slot->pidfd);
	dr_fd_closep(&slot->out_fd);
	dr_buf_fini(&slot->line);
	dr_buf_fini(&slot->last);
	slot->command = NULL;
}

static void kill_group(const struct slot *slot)
{
	(void)kill(-slot->pid, SIGKILL);
}

/* @return whether the command has ended, with what came of it noted */
static bool look(struct slot *slot, uint64_t now)
{
	struct dr_command *command = slot->command;
	int status = 0;
	bool gone = waitpid(slot->pid, &status, WNOHANG) == slot->pid;

	read_output(slot);
	if (!gone && now < slot->deadline_ns) {
		return false;
	}
	if (!gone && !slot->killed) {
		kill_group(slot);
		slot->killed = true;
		return false;
	}
	if (!gone && now < slot->deadline_ns + GRACE_NS) {
		return false;
	}
	command->timed_out = slot->killed;
	command->status = slot->killed ? 0 : status;
	command->last_line = last_line(slot);
	return true;
}

static void wait_for_any(const struct slot *slots, size_t n)
{
	struct pollfd fds[AT_ONCE_MAX * 2];

	for (size_t i = 0; i < n; i++) {
		bool runs = slots[i].command != NULL;

		fds[2 * i] = (struct pollfd){ runs ? slots[i].pidfd : -1, POLLIN, 0 };
		fds[2 * i + 1] = (struct pollfd){ runs ? slots[i].out_fd : -1, POLLIN, 0 };
	}
	(void)poll(fds, (nfds_t)n * 2, TICK_MS);
}

static void kill_all(struct slot *slots, unsigned n)
{
	uint64_t until = dr_now_ns() + GRACE_NS;

	for (unsigned i = 0; i < n; i++) {
		if (slots[i].command) {
			kill_group(&slots[i]);
		}
	}
	for (unsigned i = 0; i < n; i++) {
		while (slots[i].command && waitpid(slots[i].pid, NULL, WNOHANG) == 0 &&
			dr_now_ns() < until) {
			dr_sleep_ms(5);
		}
		clear(&slots[i]);
	}
}

/* What the loop of one dr_commands_run() works on. */
struct run {
	struct slot slots[AT_ONCE_MAX];
	unsigned at_once;
	struct dr_command *commands;
	size_t n, next, ended;
	uint64_t timeout_s;
	dr_command_fn *fn;
	void *ctx;
};

static void end(struct run *run, struct dr_command *command)
{
	run->ended++;
	run->fn(run->ctx, command);
}

/* Starts commands while there is room. */
static void fill(struct run *run)
{
	for (unsigned i = 0; i < run->at_once && run->next < run->n;) {
		struct dr_command *command = &run->commands[run->next];

		if (run->slots[i].command) {
			i++;
			continue;
		}
		if (command->text) {
			command->error = start(&run->slots[i], command, run->timeout_s);
		}
		if (command->error < 0) {
			command->last_line = dr_xstrdup("");
			end(run, command);
		}
		run->next++;
	}
}

static void reap(struct run *run)
{
	for (unsigned i = 0; i < run->at_once; i++) {
		struct dr_command *command = run->slots[i].command;

		if (command && look(&run->slots[i], dr_now_ns())) {
			clear(&run->slots[i]);
			end(run, command);
		}
	}
}

int dr_commands_run(struct dr_command *commands, size_t n, unsigned at_once, uint64_t timeout_s,
	const _Atomic bool *stop, dr_command_fn *fn, void *ctx)
{
	struct run run = {
		.at_once = at_once < AT_ONCE_MAX ? at_once : AT_ONCE_MAX,
		.commands = commands,
		.n = n,
		.timeout_s = timeout_s,
		.fn = fn,
		.ctx = ctx,
	};

	while (run.ended < n) {
		if (stop && atomic_load(stop)) {
			kill_all(run.slots, run.at_once);
			return -ECANCELED;
		}
		fill(&run);
		if (run.ended < n) {
			wait_for_any(run.slots, run.at_once);
			reap(&run);
		}
	}
	return 0;
}

void dr_commands_free(struct dr_command *commands, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(commands[i].text);
		free(commands[i].last_line);
	}
	free(commands);
}

char *dr_command_result(const struct dr_command *command)
{
	if (command->error < 0) {
		const char *why = strerrordesc_np(-command->error);

		return dr_xasprintf("not started: %s", why ? why : "unknown error");
	}
	if (command->timed_out) {
		return dr_xstrdup("timed out");
	}
	if (WIFSIGNALED(command->status)) {
		return dr_xasprintf("killed by signal %d", WTERMSIG(command->status));
	}
	return WEXITSTATUS(command->status) != 0
		       ? dr_xasprintf("exit status %d", WEXITSTATUS(command->status))
		       : dr_xstrdup("");
}
