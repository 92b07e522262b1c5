/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "work/mover_file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "unit.h"

#define S 1000000000ull

/* What /bin/sh does with the script; the argument is its $0. */
static struct dr_mover_result run_script(
	const char *script, const char *argument, uint64_t timeout_ns, const _Atomic bool *stop)
{
	char sh[] = "sh", option[] = "-c", program[] = "/bin/sh";
	char *text dr_cleanup(dr_freep) = dr_xstrdup(script);
	char *words[] = { sh, option, text, NULL };
	const struct dr_mover command = {
		.words = words, .program = program, .timeout_ns = timeout_ns
	};
	struct dr_mover_result result;

	ck_assert_int_eq(dr_mover_run(&command, argument, stop, &result), 0);
	return result;
}

static void check_init(const char *text, int error, const char *part)
{
	struct dr_mover command = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;

	ck_assert_int_eq(dr_mover_init(&command, text, 1, &message), error);
	ck_assert_ptr_nonnull(message);
	ck_assert_msg(strstr(message, part) != NULL, "'%s' is not in '%s'", part, message);
	ck_assert_ptr_null(command.words);
}

START_TEST(init__finds_the_program_and_keeps_the_words)
{
	struct dr_mover command = { 0 };
	char *message = NULL;

	ck_assert_int_eq(dr_mover_init(&command, "sh -c 'exit  3' \"a b\"", 7, &message), 0);
	ck_assert_ptr_null(message);
	ck_assert_ptr_nonnull(strstr(command.program, "/sh"));
	ck_assert_str_eq(command.words[2], "exit  3");
	ck_assert_str_eq(command.words[3], "a b");
	ck_assert_ptr_null(command.words[4]);
	ck_assert_uint_eq(command.timeout_ns, 7 * S);
	dr_mover_fini(&command);
	ck_assert_int_eq(dr_mover_init(&command, "/bin/sh -c true", 1, &message), 0);
	ck_assert_str_eq(command.program, "/bin/sh");
	dr_mover_fini(&command);
	dr_mover_fini(&command);
}
END_TEST

START_TEST(init__says_what_is_wrong_with_a_command)
{
	check_init("", -EINVAL, "names no program");
	check_init("  \t", -EINVAL, "names no program");
	check_init("'' x", -EINVAL, "names no program");
	check_init("sh -c 'x", -EINVAL, "quote");
	check_init("sh -c true | cat", -EINVAL, "no shell");
	check_init("no-such-program-here -n", -ENOENT, "'no-such-program-here' is in no folder");
	check_init("/no/such/program", -ENOENT, "is not there");
	check_init("/etc/passwd", -EACCES, "cannot be run");
	check_init("/tmp", -EACCES, "cannot be run");
}
END_TEST

START_TEST(run__hands_over_one_argument_byte_for_byte)
{
	static const char *const names[] = { "/a b", "/new\nline", "/'\"`$(x)\\", "/\xff\xfe", "/*",
		"/ x ", "-n" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char file[] = "/tmp/drover-test-command-XXXXXX";
		int fd dr_cleanup(dr_fd_closep) = mkstemp(file);
		char *script dr_cleanup(dr_freep) = dr_xasprintf("printf %%s \"$#$0\" >%s", file);
		struct dr_buf seen dr_cleanup(dr_buf_fini) = { 0 };
		char *expected dr_cleanup(dr_freep) = dr_xasprintf("0%s", names[i]);
		struct dr_mover_result result = run_script(script, names[i], 10 * S, NULL);

		ck_assert_int_eq(result.end, DR_MOVER_EXITED);
		ck_assert_int_eq(result.status, 0);
		ck_assert_int_eq(dr_read_file(AT_FDCWD, file, 1000, &seen), 0);
		dr_unit_text(&seen, expected);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(unlink(file), 0);
	}
}
END_TEST

START_TEST(run__tells_how_the_command_ended)
{
	struct dr_mover_result result = run_script("exit 16", "x", 10 * S, NULL);

	ck_assert_int_eq(result.end, DR_MOVER_EXITED);
	ck_assert_int_eq(result.status, 16);
	ck_assert_str_eq(result.line, "");
	result = run_script("kill -SEGV $$", "x", 10 * S, NULL);
	ck_assert_int_eq(result.end, DR_MOVER_SIGNALLED);
	ck_assert_int_eq(result.status, SIGSEGV);
}
END_TEST

START_TEST(run__a_program_that_is_not_there_any_more_gives_127)
{
	char word[] = "x", missing[] = "/no/such/program", unfit[] = "/etc/passwd";
	char *words[] = { word, NULL };
	struct dr_mover command = { .words = words, .program = missing, .timeout_ns = S };
	struct dr_mover_result result;

	ck_assert_int_eq(dr_mover_run(&command, "x", NULL, &result), 0);
	ck_assert_int_eq(result.end, DR_MOVER_EXITED);
	ck_assert_int_eq(result.status, 127);
	ck_assert_str_eq(result.line, "No such file or directory");
	command.program = unfit;
	ck_assert_int_eq(dr_mover_run(&command, "x", NULL, &result), 0);
	ck_assert_int_eq(result.status, 126);
}
END_TEST

START_TEST(run__keeps_the_last_line_of_all_that_is_written)
{
	struct dr_mover_result result =
		run_script("echo one; echo two >&2; printf 'three \\n\\n \\n'", "x", 10 * S, NULL);

	ck_assert_str_eq(result.line, "three");
	/* More than is kept, and more than a pipe holds. */
	result = run_script(
		"head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo last", "x", 30 * S, NULL);
	ck_assert_int_eq(result.status, 0);
	ck_assert_str_eq(result.line, "last");
	result = run_script("head -c 100000 /dev/zero | tr '\\0' 'y'", "x", 30 * S, NULL);
	ck_assert_uint_eq(strlen(result.line), DR_MOVER_LINE - 1);
	ck_assert_int_eq(result.line[0], 'y');
}
END_TEST

START_TEST(run__the_child_starts_from_a_clean_state)
{
	sigset_t blocked;
	int sockets[2];

	/* As in droverd: signals blocked and ignored, descriptors of libraries open. */
	(void)sigfillset(&blocked);
	(void)sigdelset(&blocked, SIGALRM);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
	ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	ck_assert(signal(SIGIO, SIG_IGN) != SIG_ERR);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	/* /proc/self is the shell's child, so the shell reads its own by builtins only. */
	struct dr_mover_result result = run_script(
		"while read -r k v; do case $k in SigBlk:|SigIgn:) s=$s$v;; esac; done </proc/$$/status; "
		"read -r pid name state parent group rest </proc/$$/stat; "
		"[ $pid = $group ] && s=$s,group; "
		"[ -t 0 ] || ! read -r line && s=$s,empty; "
		"[ -e /proc/$$/fd/3 ] || [ -e /proc/$$/fd/4 ] || [ -e /proc/$$/fd/5 ] || s=$s,closed; "
		"echo $s",
		"x", 10 * S, NULL);

	ck_assert_str_eq(result.line, "00000000000000000000000000000000,group,empty,closed");
	ck_assert_int_eq(close(sockets[0]), 0);
	ck_assert_int_eq(close(sockets[1]), 0);
}
END_TEST

START_TEST(run__ends_a_command_at_its_deadline)
{
	uint64_t began = dr_now_ns();
	struct dr_mover_result result = run_script("sleep 100", "x", S / 5, NULL);

	ck_assert_int_eq(result.end, DR_MOVER_TIMED_OUT);
	ck_assert(dr_now_ns() - began < DR_MOVER_TERM_NS);
	/* One that does not listen is killed. */
	began = dr_now_ns();
	result = run_script("trap '' TERM; while :; do sleep 0.1; done", "x", S / 5, NULL);
	ck_assert_int_eq(result.end, DR_MOVER_TIMED_OUT);
	ck_assert_int_eq(result.status, SIGKILL);
	ck_assert(dr_now_ns() - began >= DR_MOVER_TERM_NS);
	ck_assert(dr_now_ns() - began < 3 * DR_MOVER_TERM_NS);
	/* One that writes all the time as well. */
	result = run_script("exec yes", "x", S / 5, NULL);
	ck_assert_int_eq(result.end, DR_MOVER_TIMED_OUT);
}
END_TEST

static _Atomic bool stop;

static void set_stop(int signal)
{
	(void)signal;
	atomic_store(&stop, true);
}

START_TEST(run__a_command_gets_its_grace_when_it_is_to_stop)
{
	const struct sigaction action = { .sa_handler = set_stop };

	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	(void)alarm(1);
	struct dr_mover_result result = run_script("sleep 2; exit 5", "x", 100 * S, &stop);
	ck_assert_int_eq(result.end, DR_MOVER_EXITED);
	ck_assert_int_eq(result.status, 5);
	ck_assert(atomic_load(&stop));
	/* None is begun any more. */
	uint64_t began = dr_now_ns();

	result = run_script("sleep 100", "x", 100 * S, &stop);
	ck_assert_int_eq(result.end, DR_MOVER_STOPPED);
	ck_assert(dr_now_ns() - began < S);
	atomic_store(&stop, false);
	(void)alarm(1);
	began = dr_now_ns();
	result = run_script("sleep 100", "x", 100 * S, &stop);
	ck_assert_int_eq(result.end, DR_MOVER_STOPPED);
	ck_assert(dr_now_ns() - began >= DR_MOVER_GRACE_NS);
	ck_assert(dr_now_ns() - began < DR_MOVER_STOP_NS);
}
END_TEST

START_TEST(run__what_a_command_leaves_behind_is_killed)
{
	uint64_t began = dr_now_ns();
	struct dr_mover_result result = run_script("sleep 100 & echo $!", "x", 100 * S, NULL);

	ck_assert_int_eq(result.end, DR_MOVER_EXITED);
	ck_assert_int_eq(result.status, 0);
	ck_assert(dr_now_ns() - began < S);
	/* Its descriptors are closed a moment before it is dead; who buries it then is init's matter. */
	char *path dr_cleanup(dr_freep) = dr_xasprintf("/proc/%s/stat", result.line);
	bool dead = false;

	for (int i = 0; i < 200 && !dead; i++) {
		struct dr_buf stat dr_cleanup(dr_buf_fini) = { 0 };

		dead = dr_read_file(AT_FDCWD, path, 4096, &stat) < 0 ||
		       strstr(dr_buf_cstr(&stat), ") Z ") || strstr(dr_buf_cstr(&stat), ") X ");
		dr_sleep_ms(dead ? 0 : 10);
	}
	ck_assert(dead);
}
END_TEST

/* ---- the verdict ---- */

#define ON                                                                                         \
	{                                                                                          \
		.flags = DR_LAYOUT_ON_SET, .size = 100, .mtime = { 5, 0 }                          \
	}

static void check_verdict(struct dr_mover_seen after, enum dr_mover_end end, int status,
	enum dr_class class, enum dr_step step, int error)
{
	const struct dr_mover_seen before = ON;
	const struct dr_mover_result result = { .end = end, .status = status };
	struct dr_outcome outcome = { 0 };

	ck_assert(dr_mover_verdict(&before, &after, &result, &outcome));
	ck_assert_str_eq(dr_class_name(outcome.class), dr_class_name(class));
	ck_assert_str_eq(dr_step_name(outcome.step), dr_step_name(step));
	ck_assert_int_eq(outcome.error, error);
}

START_TEST(verdict__off_the_sources_and_whole_is_moved_whatever_the_command_says)
{
	const struct dr_mover_seen off = { .other_layout = true, .size = 100, .mtime = { 5, 0 } };
	const struct dr_mover_seen later = { .other_layout = true, .size = 100, .mtime = { 9, 0 } };

	check_verdict(off, DR_MOVER_EXITED, 0, DR_SUCCEEDED, DR_STEP_DONE, 0);
	check_verdict(off, DR_MOVER_EXITED, 16, DR_SUCCEEDED, DR_STEP_DONE, 0);
	check_verdict(off, DR_MOVER_TIMED_OUT, 9, DR_SUCCEEDED, DR_STEP_DONE, 0);
	check_verdict(off, DR_MOVER_STOPPED, 9, DR_SUCCEEDED, DR_STEP_DONE, 0);
	check_verdict(later, DR_MOVER_EXITED, 0, DR_SUCCEEDED, DR_STEP_DONE, 0);
}
END_TEST

START_TEST(verdict__another_size_is_never_success)
{
	for (unsigned on = 0; on < 2; on++) {
		struct dr_mover_seen after = { .other_layout = true,
			.size = 99,
			.mtime = { 5, 0 },
			.flags = on ? DR_LAYOUT_ON_SET : 0 };

		check_verdict(after, DR_MOVER_EXITED, 0, DR_FAILED, DR_STEP_VERIFY, -EILSEQ);
		check_verdict(after, DR_MOVER_EXITED, 5, DR_FAILED, DR_STEP_VERIFY, -EILSEQ);
		check_verdict(after, DR_MOVER_STOPPED, 9, DR_FAILED, DR_STEP_VERIFY, -EILSEQ);
		after.mtime.tv_nsec = 1;
		check_verdict(after, DR_MOVER_EXITED, 0, DR_CHANGED, DR_STEP_VERIFY, -EAGAIN);
	}
	/* Not touched by the command: somebody writes to it, in the same second. */
	check_verdict(
		(struct dr_mover_seen){ .flags = DR_LAYOUT_ON_SET, .size = 120, .mtime = { 5, 0 } },
		DR_MOVER_EXITED, 16, DR_BUSY, DR_STEP_COMMAND, -EBUSY);
}
END_TEST

START_TEST(verdict__exit_statuses_are_errnos)
{
	static const struct {
		int status;
		enum dr_class class;
		enum dr_step step;
		int error;
	} cases[] = {
		{ 0, DR_FAILED, DR_STEP_SWAP, -EREMOTEIO },
		{ EPERM, DR_REFUSED, DR_STEP_COMMAND, -EPERM },
		{ ENOENT, DR_FAILED, DR_STEP_COMMAND, -ENOENT },
		{ EIO, DR_FAILED, DR_STEP_COMMAND, -EIO },
		{ EAGAIN, DR_CHANGED, DR_STEP_COMMAND, -EAGAIN },
		{ EACCES, DR_REFUSED, DR_STEP_COMMAND, -EACCES },
		{ EBUSY, DR_BUSY, DR_STEP_COMMAND, -EBUSY },
		{ ETXTBSY, DR_REFUSED, DR_STEP_COMMAND, -ETXTBSY },
		{ ENOSPC, DR_NO_SPACE, DR_STEP_COMMAND, -ENOSPC },
		{ EOPNOTSUPP, DR_REFUSED, DR_STEP_COMMAND, -EOPNOTSUPP },
		{ ESTALE, DR_CHANGED, DR_STEP_COMMAND, -ESTALE },
		{ 126, DR_FAILED, DR_STEP_COMMAND, -ENOEXEC },
		{ 127, DR_FAILED, DR_STEP_COMMAND, -ENOEXEC },
		{ 200, DR_FAILED, DR_STEP_COMMAND, -EPROTO },
		{ 255, DR_FAILED, DR_STEP_COMMAND, -EPROTO },
	};
	const struct dr_mover_seen on = ON;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		check_verdict(on, DR_MOVER_EXITED, cases[i].status, cases[i].class, cases[i].step,
			cases[i].error);
	}
	check_verdict(on, DR_MOVER_TIMED_OUT, 15, DR_FAILED, DR_STEP_COMMAND, -ETIMEDOUT);
	check_verdict(on, DR_MOVER_SIGNALLED, 11, DR_FAILED, DR_STEP_COMMAND, -EINTR);
}
END_TEST

START_TEST(verdict__what_cannot_be_seen_is_no_success)
{
	const struct dr_mover_seen before = ON, gone = { .error = -ENOENT },
				   unread = { .error = -EIO },
				   released = {
					   .other_layout = true,
					   .flags = DR_LAYOUT_RELEASED,
					   .size = 100,
				   };
	const struct dr_mover_result stopped = { .end = DR_MOVER_STOPPED };
	struct dr_outcome outcome = { 0 };

	check_verdict(gone, DR_MOVER_EXITED, 0, DR_GONE, DR_STEP_OPEN, -ENOENT);
	check_verdict(gone, DR_MOVER_EXITED, 2, DR_GONE, DR_STEP_OPEN, -ENOENT);
	check_verdict(unread, DR_MOVER_EXITED, 0, DR_FAILED, DR_STEP_VERIFY, -EIO);
	check_verdict(released, DR_MOVER_EXITED, 0, DR_CHANGED, DR_STEP_LAYOUT, -EAGAIN);
	/* Stopped, and nothing to be said of it: it goes back. */
	ck_assert(!dr_mover_verdict(&before, &before, &stopped, &outcome));
	ck_assert(!dr_mover_verdict(&before, &unread, &stopped, &outcome));
}
END_TEST

START_TEST(cut__is_remembered_until_the_file_is_as_long_again)
{
	struct dr_chunk_file file = { .size = 100,
		.outcome = { DR_FAILED, DR_STEP_VERIFY, -EILSEQ, 100, 0, { 0 } } };

	ck_assert(dr_evacuation_is_cut(&file, 99));
	ck_assert(!dr_evacuation_is_cut(&file, 100));
	file.outcome.error = -EIO;
	ck_assert(!dr_evacuation_is_cut(&file, 99));
}
END_TEST

START_TEST(step__numbers_of_stored_leftovers_stay)
{
	ck_assert_int_eq(DR_STEP_DONE, 13);
	ck_assert_int_eq(DR_STEP_COMMAND, 14);
	ck_assert_str_eq(dr_step_name(DR_STEP_DONE), "done");
	ck_assert_str_eq(dr_step_name(DR_STEP_COMMAND), "command");
}
END_TEST

DR_UNIT_MAIN("command", init__finds_the_program_and_keeps_the_words,
	init__says_what_is_wrong_with_a_command, run__hands_over_one_argument_byte_for_byte,
	run__tells_how_the_command_ended, run__a_program_that_is_not_there_any_more_gives_127,
	run__keeps_the_last_line_of_all_that_is_written, run__the_child_starts_from_a_clean_state,
	run__ends_a_command_at_its_deadline, run__a_command_gets_its_grace_when_it_is_to_stop,
	run__what_a_command_leaves_behind_is_killed,
	verdict__off_the_sources_and_whole_is_moved_whatever_the_command_says,
	verdict__another_size_is_never_success, verdict__exit_statuses_are_errnos,
	verdict__what_cannot_be_seen_is_no_success,
	cut__is_remembered_until_the_file_is_as_long_again, step__numbers_of_stored_leftovers_stay)
