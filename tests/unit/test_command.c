/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/command.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

static void count(void *ctx, struct dr_command *command)
{
	size_t *n = ctx;

	ck_assert_ptr_nonnull(command->last_line);
	(*n)++;
}

static void run_within(const char *text, uint64_t timeout_s, const char *result, const char *line)
{
	struct dr_command *command = dr_xcalloc(1, sizeof(*command));
	size_t n = 0;

	command->text = dr_xstrdup(text);
	ck_assert_int_eq(dr_commands_run(command, 1, 8, timeout_s, NULL, count, &n), 0);
	char *said dr_cleanup(dr_freep) = dr_command_result(command);

	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(said, result);
	ck_assert_str_eq(command->last_line, line);
	dr_commands_free(command, 1);
}

static void run(const char *text, const char *result, const char *line)
{
	run_within(text, 60, result, line);
}

START_TEST(command__tells_how_it_ended_and_its_last_line)
{
	run("true", "", "");
	run("echo one; echo two; exit 3", "exit status 3", "two");
	run("echo out; echo err >&2; false", "exit status 1", "err");
	run("printf 'no newline'", "", "no newline");
	run("printf 'last\\n  \\n\\n'", "", "last");
	run("kill -9 $$", "killed by signal 9", "");
	run("no-such-program-at-all 2>/dev/null", "exit status 127", "");
	run("printf 'a\\001\\377\\\\b'", "", "a\\x01\\xff\\\\b");
}
END_TEST

START_TEST(command__may_write_much)
{
	char tens[513];

	memset(tens, 'x', 512);
	tens[512] = '\0';
	run("head -c 3000000 /dev/zero | tr '\\0' x", "", tens);
	run("yes | head -n 500000; echo end", "", "end");
}
END_TEST

START_TEST(command__is_killed_with_all_its_processes_at_its_deadline)
{
	char name[] = "/tmp/drover-command-XXXXXX";
	int fd = mkstemp(name);
	uint64_t start = dr_now_ns();

	ck_assert_int_ge(fd, 0);
	char *text dr_cleanup(dr_freep) =
		dr_xasprintf("(trap '' TERM; sleep 3; echo late >%s) & echo begun; sleep 60", name);

	run_within(text, 1, "timed out", "begun");
	ck_assert_uint_lt(dr_now_ns() - start, 2500000000ull);
	dr_sleep_ms(2500);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
	(void)close(fd);
	(void)unlink(name);
}
END_TEST

START_TEST(command__is_not_waited_for_by_what_it_leaves_behind)
{
	uint64_t start = dr_now_ns();

	run("sleep 5 & echo done", "", "done");
	ck_assert_uint_lt(dr_now_ns() - start, 3000000000ull);
}
END_TEST

START_TEST(command__inherits_nothing)
{
	/* Without FD_CLOEXEC, as a careless library would have it. */
	int fd = open("/dev/null", O_RDONLY);
	sigset_t set;

	ck_assert_int_gt(fd, 2);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	char *text dr_cleanup(dr_freep) = dr_xasprintf("[ ! -e /proc/self/fd/%d ]", fd);

	run(text, "", "");
	run("read x", "exit status 1", "");
	run("kill -TERM $$", "killed by signal 15", "");
	run("kill -PIPE $$", "killed by signal 13", "");
	run("[ $(cut -d' ' -f5 /proc/$$/stat) = $$ ]", "", "");
	(void)close(fd);
}
END_TEST

/* Commands that write when they begin and end: "+-" side by side tell how many ran at once. */
static size_t most_at_once(unsigned at_once, size_t n)
{
	char name[] = "/tmp/drover-command-XXXXXX";
	int fd = mkstemp(name);
	struct dr_command *commands = dr_xcalloc(n, sizeof(*commands));
	size_t ended = 0, now = 0, most = 0;
	char seen[256];

	for (size_t i = 0; i < n; i++) {
		commands[i].text =
			dr_xasprintf("printf + >>%s; sleep 0.1; printf -- - >>%s", name, name);
	}
	ck_assert_int_eq(dr_commands_run(commands, n, at_once, 60, NULL, count, &ended), 0);
	ck_assert_uint_eq(ended, n);
	ssize_t len = pread(fd, seen, sizeof(seen), 0);

	ck_assert_int_eq(len, (ssize_t)(2 * n));
	for (ssize_t i = 0; i < len; i++) {
		now = seen[i] == '+' ? now + 1 : now - 1;
		most = now > most ? now : most;
	}
	dr_commands_free(commands, n);
	(void)close(fd);
	(void)unlink(name);
	return most;
}

START_TEST(commands__run_so_many_at_once_and_no_more)
{
	ck_assert_uint_eq(most_at_once(1, 4), 1);
	size_t most = most_at_once(3, 12);

	ck_assert_uint_ge(most, 2);
	ck_assert_uint_le(most, 3);
}
END_TEST

START_TEST(commands__go_on_after_one_that_cannot_be_made)
{
	struct dr_command *commands = dr_xcalloc(3, sizeof(*commands));
	size_t n = 0;

	commands[0].error = -EINVAL;
	commands[1].text = dr_xstrdup("exit 4");
	commands[2].error = -ENODEV;
	ck_assert_int_eq(dr_commands_run(commands, 3, 1, 60, NULL, count, &n), 0);
	ck_assert_uint_eq(n, 3);
	char *result dr_cleanup(dr_freep) = dr_command_result(&commands[0]);

	ck_assert_str_eq(result, "not started: Invalid argument");
	dr_commands_free(commands, 3);
}
END_TEST

static void *set_soon(void *stop)
{
	dr_sleep_ms(300);
	atomic_store((_Atomic bool *)stop, true);
	return NULL;
}

START_TEST(commands__end_at_once_when_they_are_stopped)
{
	struct dr_command *commands = dr_xcalloc(4, sizeof(*commands));
	_Atomic bool stop = false;
	pthread_t thread;
	size_t n = 0;
	uint64_t start = dr_now_ns();

	for (int i = 0; i < 4; i++) {
		commands[i].text = dr_xstrdup("sleep 30");
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, set_soon, &stop), 0);
	ck_assert_int_eq(dr_commands_run(commands, 4, 2, 60, &stop, count, &n), -ECANCELED);
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_lt(dr_now_ns() - start, 5000000000ull);
	(void)pthread_join(thread, NULL);
	dr_commands_free(commands, 4);
}
END_TEST

DR_UNIT_MAIN("command", command__tells_how_it_ended_and_its_last_line, command__may_write_much,
	command__is_killed_with_all_its_processes_at_its_deadline,
	command__is_not_waited_for_by_what_it_leaves_behind, command__inherits_nothing,
	commands__run_so_many_at_once_and_no_more, commands__go_on_after_one_that_cannot_be_made,
	commands__end_at_once_when_they_are_stopped)
