/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/version.h"

#include "base/buf.h"
#include "store/wait.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define ANSWER_MS 10000
#define ANSWER_MAX 512   /* bytes of the first line; real ones have about 90 */
#define NUMBER_MAX 99999 /* of a version: more is none */

/*
 * What stands before the number. The first three are from the servers: version() in src/server.c of Redis and of
 * Valkey 7.2, which names nobody, and main() there since Redis 7.4 and Valkey 8.0. The others are our own record.
 */
static const struct {
	const char *prefix;
	bool valkey;
} families[] = {
	{ "Redis server v=", false },
	{ "Valkey server v=", true },
	{ "Server v=", true },
	{ "redis ", false },
	{ "valkey ", true },
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* @return what follows the number; NULL: there is none */
static const char *parse_number(const char *s, unsigned *ret_number)
{
	unsigned number = 0;
	if (!is_digit(*s)) {
		return NULL;
	}
	for (; is_digit(*s); s++) {
		number = number * 10 + (unsigned)(*s - '0');
		if (number > NUMBER_MAX) {
			return NULL;
		}
	}
	*ret_number = number;
	return s;
}

/* "7.0.15", then a blank or the end of the line. */
static int parse_numbers(const char *s, struct dr_server_version *version)
{
	unsigned *numbers[] = { &version->major, &version->minor, &version->patch };
	for (size_t i = 0; i < 3; i++) {
		if (i > 0 && *s++ != '.') {
			return -EINVAL;
		}
		s = parse_number(s, numbers[i]);
		if (!s) {
			return -EINVAL;
		}
	}
	return *s == '\0' || *s == '\n' || *s == ' ' ? 0 : -EINVAL;
}

int dr_server_version_parse(const char *text, struct dr_server_version *ret_version)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		size_t len = strlen(families[i].prefix);
		if (strncmp(text, families[i].prefix, len) == 0) {
			struct dr_server_version version = { .valkey = families[i].valkey };
			int r = parse_numbers(text + len, &version);
			if (r == 0) {
				*ret_version = version;
			}
			return r;
		}
	}
	return -EINVAL;
}

/*
 * In a process group of its own, so that all it starts can be killed, with no signal blocked, and with nothing of
 * ours but its output.
 * @return 0, or a positive errno, as posix_spawn has it
 */
static int spawn(const char *path, int out_fd, pid_t *ret_pid)
{
	char *name dr_cleanup(dr_freep) = dr_xstrdup(path), option[] = "--version";
	char *argv[] = { name, option, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, defaults;

	(void)sigemptyset(&none);
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);
	int r = posix_spawn_file_actions_init(&files);
	if (r != 0) {
		return r;
	}
	r = posix_spawnattr_init(&attr);
	if (r != 0) {
		(void)posix_spawn_file_actions_destroy(&files);
		return r;
	}
	(void)posix_spawnattr_setflags(
		&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawnattr_setpgroup(&attr, 0);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &defaults);
	/* The output first: it may be descriptor 0 or 2 as we have it. */
	r = posix_spawn_file_actions_adddup2(&files, out_fd, 1);
	r = r ? r : posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	r = r ? r : posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
	r = r ? r : posix_spawn(ret_pid, path, &files, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&files);
	return r;
}

/* The first line, or what there is of it when the output ends or the room does. */
static int read_line(int fd, unsigned ms, char text[ANSWER_MAX])
{
	uint64_t deadline_ns = dr_now_ns() + (uint64_t)ms * 1000000u;
	size_t len = 0;
	while (len < ANSWER_MAX - 1 && !memchr(text, '\n', len)) {
		int r = dr_wait_fd(fd, POLLIN, deadline_ns);
		if (r < 0) {
			return r;
		}
		ssize_t n = read(fd, text + len, ANSWER_MAX - 1 - len);
		if (n == 0) {
			break;
		}
		if (n < 0 && errno != EINTR) {
			return -errno;
		}
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = '\0';
	return 0;
}

/* Killed in any case: it has said what we want to know, or it never will. */
static void end(pid_t pid)
{
	(void)kill(-pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
	}
}

int dr_server_version_of(const char *path, struct dr_server_version *ret_version)
{
	return dr_server_version_of_within(path, ANSWER_MS, ret_version);
}

int dr_server_version_of_within(
	const char *path, unsigned ms, struct dr_server_version *ret_version)
{
	char text[ANSWER_MAX];
	int pipes[2];
	pid_t pid = 0;

	if (pipe2(pipes, O_CLOEXEC) < 0) {
		return -errno;
	}
	int read_end dr_cleanup(dr_fd_closep) = pipes[0];
	int write_end dr_cleanup(dr_fd_closep) = pipes[1];
	int r = -spawn(path, write_end, &pid);
	dr_fd_closep(&write_end);
	if (r < 0) {
		return r;
	}
	r = read_line(read_end, ms, text);
	end(pid);
	return r < 0 ? r : dr_server_version_parse(text, ret_version);
}

const char *dr_server_version_format(
	const struct dr_server_version *version, char text[DR_SERVER_VERSION_SIZE])
{
	(void)snprintf(text, DR_SERVER_VERSION_SIZE, "%s %u.%u.%u",
		version->valkey ? "valkey" : "redis", version->major, version->minor,
		version->patch);
	return text;
}

/* Whether the version is major.minor or later. */
static bool at_least(const struct dr_server_version *version, unsigned major, unsigned minor)
{
	return version->major > major || (version->major == major && version->minor >= minor);
}

/*
 * A server loads what has its own RDB version or a lower one, and what begins with its own magic (rdbLoadRio() in
 * src/rdb.c; the base of an append-only file is an RDB). RDB_VERSION in src/rdb.h, which patch levels leave alone:
 *   Redis 6.2: 9, 7.0: 10, 7.2: 11, 7.4: 12, later more
 *   Valkey 7.2, 8.0, 8.1: 11, 9.0: 80 with a magic of its own, later more
 * Valkey forked from Redis 7.2.4. It keeps 12 to 79 for foreign formats, which it refuses (RDB_FOREIGN_VERSION_MIN), and
 * its migration guide (valkey.io/topics/migration) names Redis up to 7.2 as what it reads. Redis 7.3 is a pre-release of
 * 7.4. The way from Valkey to Redis is promised by nobody, even where the numbers are equal.
 */
bool dr_server_version_can_read(
	const struct dr_server_version *have, const struct dr_server_version *recorded)
{
	if (have->valkey == recorded->valkey) {
		return at_least(have, recorded->major, recorded->minor);
	}
	return have->valkey && !at_least(recorded, 7, 3);
}

bool dr_server_version_supported(const struct dr_server_version *version)
{
	return version->valkey || at_least(version, 6, 2);
}
