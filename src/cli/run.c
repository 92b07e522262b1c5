/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "base/text.h"
#include "campaign/control.h"
#include "cli/cli.h"
#include "cli/term.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/*
 * run: a daemon as a child, its progress on our terminal.
 *
 * One thread; SIGCHLD, SIGINT and SIGTERM are blocked and waited for, so there are no handlers. The
 * daemon has a process group of its own: an interrupt from the terminal reaches it once, through us.
 */

#define LIVE_MS 500u   /* between two looks on a terminal */
#define PLAIN_MS 5000u /* elsewhere */
#define LOG_TAIL_MAX (256u << 10)
#define ERRORS_SHOWN 5u

/* Options that go on to droverd as they are. */
static const struct {
	const char *name, *arg, *help;
} passed[] = {
	{ "scan-workers", "N", "Threads that scan" },
	{ "migration-workers", "N", "Threads that move files" },
	{ "max-pending-migrations", "N", "Files queued before scanners rest" },
	{ "dry-run", NULL, "Do all but the copy and the swap" },
	{ "log-level", "LEVEL", "error, warning, info or debug" },
	{ "redis-port", "PORT", "Port of the embedded server" },
	{ "metrics-port", "PORT", "Port of the status server; 0: none" },
	{ "claim-timeout", "S", "Seconds until a dead worker's job is another's" },
	{ "retry-delays", "LIST", "Seconds, like 60,300,1800" },
	{ "mover", "native|lfs", "Who moves the files" },
};
#define N_PASSED (sizeof passed / sizeof passed[0])
#define KEY_PASSED 0x100

struct run {
	const char *name;
	char *words[2 * N_PASSED + 8]; /* droverd's, malloc'ed */
	size_t n_words;
	bool seen[N_PASSED];
	struct cli_campaign campaign;
	char *log_path;  /* of the daemon's messages; NULL: ours */
	off_t log_start; /* where this daemon's part begins */
	pid_t pid;
	int stopped_by; /* the signal that we were sent, or 0 */
	bool drawn;     /* a progress line stands on the terminal */
};

static error_t parse_run(int key, char *arg, struct argp_state *state)
{
	struct run *run = state->input;

	if (key >= KEY_PASSED && key < KEY_PASSED + (int)N_PASSED) {
		size_t i = (size_t)(key - KEY_PASSED);
		if (run->seen[i]) {
			exit(cli_refuse("run: --%s stands twice", passed[i].name));
		}
		run->seen[i] = true;
		run->words[run->n_words++] = arg ? dr_xasprintf("--%s=%s", passed[i].name, arg)
						 : dr_xasprintf("--%s", passed[i].name);
		return 0;
	}
	return cli_parse_name(key, arg, "run", &run->name);
}

/* droverd from beside this program, or, when it is not there, from the PATH; malloc'ed. */
static char *find_daemon(void)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	if (len > 0) {
		self[len] = '\0';
		char *path = dr_xasprintf("%s/droverd", dirname(self));
		if (access(path, X_OK) == 0) {
			return path;
		}
		free(path);
	}
	return dr_xstrdup("droverd");
}

/* The log that the daemon's stderr goes to, or -EBADF: it has ours. */
static int open_log(struct run *run)
{
	char host[HOST_NAME_MAX + 1] = "localhost";
	struct stat st;

	(void)gethostname(host, sizeof host - 1);
	host[strcspn(host, ".")] = '\0';
	run->log_path = dr_xasprintf("%s/logs/%s.droverd.log", run->campaign.folder.path, host);
	int fd = open(run->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (fd >= 0 && fstat(fd, &st) == 0) {
		run->log_start = st.st_size;
		return fd;
	}
	free(run->log_path);
	run->log_path = NULL;
	return fd;
}

/* In the child: only what is allowed between fork and exec. */
static void become_daemon(const struct run *run, pid_t parent, int log_fd, const sigset_t *mask)
{
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent) {
		_exit(CLI_ERROR);
	}
	if (log_fd >= 0) {
		(void)dup2(log_fd, STDERR_FILENO);
		(void)dup2(log_fd, STDOUT_FILENO);
	}
	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	(void)execvp(run->words[0], run->words);
	static const char message[] = "droverd: the program was not found\n";
	(void)!write(STDERR_FILENO, message, sizeof message - 1);
	_exit(CLI_BAD_INPUT);
}

static int spawn(struct run *run, const sigset_t *mask)
{
	dr_cleanup(dr_fd_closep) int log_fd = open_log(run);
	pid_t parent = getpid();

	run->pid = fork();
	if (run->pid < 0) {
		return cli_error("cannot start droverd: %s", cli_strerror(-errno));
	}
	if (run->pid == 0) {
		become_daemon(run, parent, log_fd, mask);
	}
	return CLI_OK;
}

static void clear_line(struct run *run)
{
	if (run->drawn) {
		(void)fputs("\r\033[K", stdout);
		(void)fflush(stdout);
		run->drawn = false;
	}
}

static void draw(struct run *run)
{
	struct dr_buf line = { 0 };
	struct render_view view;
	json_t *status = NULL;

	if (dr_control_status_any(&run->campaign.folder, &status) < 0) {
		return; /* the server comes and goes; the next look will tell */
	}
	term_view(&view);
	if (view.columns > 1) {
		view.columns--; /* the last column would wrap */
	}
	render_line(status, &view, &line);
	if (term_is_live(stdout)) {
		(void)printf("\r%s\033[K", dr_buf_cstr(&line));
		run->drawn = true;
	} else {
		(void)printf("%s\n", dr_buf_cstr(&line));
	}
	(void)fflush(stdout);
	dr_buf_fini(&line);
	json_decref(status);
}

/* Shows progress and hands signals on until the daemon is gone. @return its wait status */
static int watch(struct run *run, const sigset_t *signals)
{
	unsigned period_ms = term_is_live(stdout) ? LIVE_MS : PLAIN_MS;
	uint64_t next_ns = dr_now_ns() + period_ms * 1000000ull;

	for (;;) {
		uint64_t now_ns = dr_now_ns();
		uint64_t left_ns = next_ns > now_ns ? next_ns - now_ns : 0;
		struct timespec left = { .tv_sec = (time_t)(left_ns / 1000000000u),
			.tv_nsec = (long)(left_ns % 1000000000u) };
		int signo = sigtimedwait(signals, NULL, &left);
		int status;
		if (waitpid(run->pid, &status, WNOHANG) == run->pid) {
			return status;
		}
		if (signo == SIGINT || signo == SIGTERM) {
			run->stopped_by = signo;
			(void)kill(run->pid, signo);
		}
		if (signo < 0 && dr_now_ns() >= next_ns) {
			draw(run);
			next_ns = dr_now_ns() + period_ms * 1000000ull;
		}
	}
}

/* Repeats the daemon's own error lines, or, without any, the last ones of its log. */
static void show_errors(const struct run *run)
{
	static const char mark[] = "droverd: ";
	struct dr_buf text = { 0 };
	const char *tail[ERRORS_SHOWN] = { 0 };
	size_t n = 0;
	bool marked = false;

	if (!run->log_path) {
		return; /* it wrote to our stderr */
	}
	dr_cleanup(dr_fd_closep) int fd = open(run->log_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return;
	}
	dr_buf_reserve(&text, LOG_TAIL_MAX);
	ssize_t len = dr_pread_full(fd, text.data, LOG_TAIL_MAX, run->log_start);
	text.len = len > 0 ? (size_t)len : 0;
	char *save = NULL;
	for (char *line = strtok_r(dr_buf_cstr(&text), "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		bool is_error = strncmp(line, mark, strlen(mark)) == 0;
		if (is_error && !marked) {
			marked = true;
			n = 0;
		}
		if (is_error || !marked) {
			tail[n++ % ERRORS_SHOWN] = line;
		}
	}
	for (size_t i = n > ERRORS_SHOWN ? n - ERRORS_SHOWN : 0; i < n; i++) {
		const char *line = tail[i % ERRORS_SHOWN];
		(void)fprintf(stderr, "drover: %s\n", line);
	}
	dr_buf_fini(&text);
}

static void show_final(const struct run *run)
{
	struct dr_buf frame = { 0 };
	struct render_view view;
	json_t *status = NULL;

	if (dr_control_status_any(&run->campaign.folder, &status) < 0) {
		return;
	}
	term_view(&view);
	view.rows = 0;
	render_status(status, &view, &frame);
	(void)fwrite(frame.data, 1, frame.len, stdout);
	(void)fflush(stdout);
	dr_buf_fini(&frame);
	json_decref(status);
}

/* @return the exit status, once the daemon is gone with this wait status */
static int conclude(const struct run *run, int status)
{
	dr_cleanup(dr_freep) char *state = NULL;
	int r = cli_folder_state(&run->campaign.folder, &state);

	if (WIFEXITED(status) && WEXITSTATUS(status) == CLI_BAD_INPUT) {
		show_errors(run);
		return CLI_BAD_INPUT;
	}
	if (r == 0 && dr_state_is_final(state)) {
		show_final(run);
		return cli_exit_of(state);
	}
	if (run->stopped_by) {
		(void)fprintf(
			stderr, "drover: stopped; drover run %s goes on where it was\n", run->name);
		return 128 + run->stopped_by;
	}
	show_errors(run);
	if (WIFSIGNALED(status)) {
		return cli_error(
			"droverd was killed by signal %d; drover run %s goes on where it was",
			WTERMSIG(status), run->name);
	}
	return cli_error("droverd ended with status %d, and the campaign is not over (%s); see %s",
		WEXITSTATUS(status), r == 0 ? state : "unknown",
		run->log_path ? run->log_path : "its messages");
}

static int run_daemon(struct cli *cli, struct run *run)
{
	sigset_t signals, old;
	int r;

	run->words[run->n_words++] = dr_xasprintf("--campaign=%s", run->name);
	if (cli->config) {
		run->words[run->n_words++] = dr_xasprintf("--config=%s", cli->config);
	}
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, &old);
	(void)fflush(stdout);
	r = spawn(run, &old);
	if (r == CLI_OK) {
		int status = watch(run, &signals);
		clear_line(run);
		r = conclude(run, status);
	}
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}

int cli_run(struct cli *cli, int argc, char **argv)
{
	struct argp_option options[N_PASSED + 1] = { 0 };
	struct argp argp = { options, parse_run, "NAME",
		"Works on a campaign here, with live progress, until it is over.\v"
		"Starts a droverd and ends it with an interrupt. Exit status: as wait.",
		NULL, NULL, NULL };
	struct run run = { 0 };
	int r;

	for (size_t i = 0; i < N_PASSED; i++) {
		options[i] = (struct argp_option){ passed[i].name, KEY_PASSED + (int)i,
			passed[i].arg, 0, passed[i].help, 0 };
	}
	run.words[run.n_words++] = find_daemon();
	cli_parse(&argp, "run", argc, argv, &run);
	r = cli_open(cli, run.name, true, &run.campaign);
	if (r == CLI_OK) {
		r = run_daemon(cli, &run);
		cli_campaign_fini(&run.campaign);
	}
	for (size_t i = 0; i < run.n_words; i++) {
		free(run.words[i]);
	}
	free(run.log_path);
	return r;
}
