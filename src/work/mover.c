/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/mover.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define OUTPUT_KEPT ((size_t)4096) /* bytes; of the end */
#define READS_MAX 16
#define TICK_MS 100
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* One command that runs. */
struct run {
	const struct dr_mover *command;
	const _Atomic bool *stop;
	pid_t pid; /* its process group has the same number */
	int pidfd;
	int out; /* read end, not blocking; negative after its end */
	struct dr_buf output;
	uint64_t deadline_ns;
	uint64_t stop_ns, term_ns,
		kill_ns; /* when stop was seen, SIGTERM and SIGKILL were sent; 0: not yet */
	enum dr_mover_end end;
};

/* ---- the command's text ---- */

static bool can_run(const char *path)
{
	struct stat st;

	return access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int find_program(const char *word, char **ret_path)
{
	if (strchr(word, '/')) {
		if (!can_run(word)) {
			return access(word, F_OK) == 0 ? -EACCES : -ENOENT;
		}
		*ret_path = dr_xstrdup(word);
		return 0;
	}
	const char *path = getenv("PATH"); // NOLINT(concurrency-mt-unsafe)
	char *list dr_cleanup(dr_freep) = dr_xstrdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
	char *save = NULL;

	for (char *dir = strtok_r(list, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		char *file = dr_xasprintf("%s/%s", dir, word);

		if (can_run(file)) {
			*ret_path = file;
			return 0;
		}
		free(file);
	}
	return -ENOENT;
}

int dr_mover_init(
	struct dr_mover *command, const char *text, uint64_t timeout_s, char **ret_message)
{
	char **words dr_cleanup(dr_freep) = NULL;
	char *program = NULL;
	int n = dr_text_split_words(text, &words);

	if (n == -EOPNOTSUPP) {
		*ret_message = dr_xstrdup(
			"one of |&;<>()$` is in it, and no shell runs it: quote it, or name a script");
		return -EINVAL;
	}
	if (n < 0) {
		*ret_message =
			dr_xstrdup("a quote is not closed, or a backslash is the last character");
		return n;
	}
	if (n == 0 || words[0][0] == '\0') {
		*ret_message = dr_xstrdup("it names no program");
		return -EINVAL;
	}
	int r = find_program(words[0], &program);

	if (r < 0) {
		struct dr_buf name dr_cleanup(dr_buf_fini) = { 0 };

		dr_text_escape(&name, words[0], strlen(words[0]));
		*ret_message = dr_xasprintf("'%s' %s", dr_buf_cstr(&name),
			r == -EACCES            ? "cannot be run"
			: strchr(words[0], '/') ? "is not there"
						: "is in no folder of the PATH");
		return r;
	}
	*command = (struct dr_mover){
		.words = words, .program = program, .timeout_ns = timeout_s * 1000000000u
	};
	words = NULL;
	return 0;
}

void dr_mover_fini(struct dr_mover *command)
{
	free(command->words);
	free(command->program);
	*command = (struct dr_mover){ 0 };
}

/* ---- its process ---- */

/* In the child, between fork and exec: only what is safe there. */
static void child(const char *program, char **argv, int in, int out, pid_t parent)
{
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	sigset_t none;

	/* Its parent is the thread that forked, which stays until the command has ended. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) {
		_exit(126);
	}
	/* What we ignore (SIGPIPE among it) and block would be ignored and blocked there as well. */
	for (int signal = 1; signal < _NSIG; signal++) {
		(void)sigaction(signal, &usual, NULL);
	}
	(void)sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
	(void)setpgid(0, 0);
	(void)dup2(in, STDIN_FILENO);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(out, STDERR_FILENO);
	/* Libraries open descriptors too, not all of them close-on-exec. */
	(void)syscall(SYS_close_range, 3u, ~0u, 0u);
	(void)execv(program, argv);
	int error = errno;
	const char *why = strerrordesc_np(error);

	(void)!write(STDERR_FILENO, why, strlen(why));
	_exit(error == ENOENT ? 127 : 126);
}

static int start(struct run *run, const char *argument)
{
	size_t n = 0;
	int pipes[2];

	while (run->command->words[n]) {
		n++;
	}
	char **argv dr_cleanup(dr_freep) = dr_xcalloc(n + 2, sizeof(*argv));

	char *last dr_cleanup(dr_freep) = dr_xstrdup(argument);

	memcpy(argv, run->command->words, n * sizeof(*argv));
	argv[n] = last;
	int in dr_cleanup(dr_fd_closep) = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (in < 0 || pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0) {
		return -errno;
	}
	run->out = pipes[0];
	int out dr_cleanup(dr_fd_closep) = pipes[1];

	/* The command expects writes that wait. */
	if (fcntl(out, F_SETFL, O_WRONLY) < 0) {
		return -errno;
	}
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0) {
		return -errno;
	}
	if (pid == 0) {
		child(run->command->program, argv, in, out, parent);
	}
	/* Here too: whoever comes first, a signal to the group finds it. */
	(void)setpgid(pid, pid);
	run->pid = pid;
	run->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (run->pidfd < 0) {
		int r = -errno;

		(void)kill(-pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	return 0;
}

/* Appends, and forgets all but the end. */
static void keep_end(struct dr_buf *output, const char *bytes, size_t len)
{
	dr_buf_put(output, bytes, len);
	if (output->len > 2 * OUTPUT_KEPT) {
		memmove(output->data, output->data + output->len - OUTPUT_KEPT, OUTPUT_KEPT);
		output->len = OUTPUT_KEPT;
	}
}

static void read_output(struct run *run)
{
	char bytes[4096];
	ssize_t n = 1;

	/* One that writes without end must not keep us from its deadline. */
	for (int i = 0; i < READS_MAX && run->out >= 0 && n > 0; i++) {
		n = read(run->out, bytes, sizeof(bytes));
		if (n > 0) {
			keep_end(&run->output, bytes, (size_t)n);
		} else if (n == 0 || errno != EAGAIN) {
			dr_fd_closep(&run->out);
		}
	}
}

static bool is_set(const _Atomic bool *stop)
{
	return stop && atomic_load_explicit(stop, memory_order_relaxed);
}

/* Ends a command that has to end. */
static void press(struct run *run)
{
	uint64_t now = dr_now_ns();

	if (!run->stop_ns && is_set(run->stop)) {
		run->stop_ns = now;
	}
	if (!run->term_ns) {
		bool late = now >= run->deadline_ns;

		if (late || (run->stop_ns && now - run->stop_ns >= DR_MOVER_GRACE_NS)) {
			run->end = late ? DR_MOVER_TIMED_OUT : DR_MOVER_STOPPED;
			run->term_ns = now;
			(void)kill(-run->pid, SIGTERM);
		}
	} else if (!run->kill_ns && now - run->term_ns >= DR_MOVER_TERM_NS) {
		run->kill_ns = now;
		(void)kill(-run->pid, SIGKILL);
	}
}

/* The kernel does not let it go (a server that does not answer), and this process is to end: then it ends later. */
static bool is_given_up(const struct run *run)
{
	return run->kill_ns && run->stop_ns && dr_now_ns() - run->kill_ns >= DR_MOVER_TERM_NS;
}

/* @return whether the command's own process has ended */
static bool wait_a_moment(struct run *run)
{
	struct pollfd fds[2] = {
		{ .fd = run->pidfd, .events = POLLIN },
		{ .fd = run->out, .events = POLLIN },
	};
	if (poll(fds, 2, TICK_MS) <= 0) {
		return false;
	}
	if (fds[1].revents) {
		read_output(run);
	}
	return fds[0].revents != 0;
}

/* What the command has left behind holds the pipe while it lives. */
static void await_strays(struct run *run)
{
	uint64_t until = dr_now_ns() + DR_MOVER_TERM_NS;

	read_output(run);
	while (run->out >= 0 && dr_now_ns() < until) {
		struct pollfd fd = { .fd = run->out, .events = POLLIN };

		(void)poll(&fd, 1, TICK_MS);
		read_output(run);
	}
}

static void take_last_line(const struct dr_buf *output, char line[DR_MOVER_LINE])
{
	const char *bytes = (const char *)output->data;
	size_t end = output->len;

	while (end > 0 && strchr(" \t\r\n", bytes[end - 1])) {
		end--;
	}
	size_t start = end;

	while (start > 0 && bytes[start - 1] != '\n') {
		start--;
	}
	size_t len = end - start < DR_MOVER_LINE - 1 ? end - start : DR_MOVER_LINE - 1;

	if (len > 0) {
		memcpy(line, bytes + start, len);
	}
	line[len] = '\0';
}

static void run_fini(struct run *run)
{
	dr_fd_closep(&run->pidfd);
	dr_fd_closep(&run->out);
	dr_buf_fini(&run->output);
}

int dr_mover_run(const struct dr_mover *command, const char *argument, const _Atomic bool *stop,
	struct dr_mover_result *ret_result)
{
	struct run run dr_cleanup(run_fini) = {
		.command = command,
		.stop = stop,
		.pidfd = -EBADF,
		.out = -EBADF,
		.deadline_ns = dr_now_ns() + command->timeout_ns,
		.end = DR_MOVER_EXITED,
	};
	if (is_set(stop)) {
		*ret_result = (struct dr_mover_result){ .end = DR_MOVER_STOPPED };
		return 0;
	}
	int status = 0;
	int r = start(&run, argument);

	if (r < 0) {
		return r;
	}
	while (!wait_a_moment(&run)) {
		press(&run);
		if (is_given_up(&run)) {
			dr_log(DR_LOG_WARNING, "command-not-ended",
				"pid=%d next=\"left to itself: it was killed, and ends when the kernel lets it\"",
				(int)run.pid);
			*ret_result = (struct dr_mover_result){ .end = DR_MOVER_STOPPED };
			return 0;
		}
	}
	/* Before it is waited for, so that the group's number is still its own. */
	(void)kill(-run.pid, SIGKILL);
	while (waitpid(run.pid, &status, 0) < 0 && errno == EINTR) {
	}
	await_strays(&run);
	bool by_signal = WIFSIGNALED(status);

	if (run.end == DR_MOVER_EXITED && by_signal) {
		run.end = DR_MOVER_SIGNALLED;
	}
	*ret_result = (struct dr_mover_result){ .end = run.end,
		.status = by_signal ? WTERMSIG(status) : WEXITSTATUS(status) };
	take_last_line(&run.output, ret_result->line);
	return 0;
}
