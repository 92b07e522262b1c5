/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_VERSION_H
#define DR_STORE_VERSION_H

#include "base/prelude.h"

/*
 * Which server made a data folder, and which may load it: a Redis or a Valkey of some version.
 * Threads: all functions from all threads.
 */
struct dr_server_version {
	bool valkey; /* else Redis */
	unsigned major, minor, patch;
};

#define DR_SERVER_VERSION_SIZE 48 /* bytes of a version as text, with the NUL */

/*
 * From the first line that "redis-server --version" or "valkey-server --version" prints, or from what
 * dr_server_version_format() wrote, with or without a newline.
 * @error EINVAL neither
 */
dr_nodiscard int dr_server_version_parse(const char *text, struct dr_server_version *ret_version);

/*
 * Runs "PATH --version", without a shell and without a look at $PATH, and parses what it prints. Waits up to 10 s for
 * the first line; then the program and its children are killed, whether or not it came.
 * @error ENOENT, EACCES it cannot be started; ETIMEDOUT it said nothing in time; EINVAL it said something else, or
 *        nothing; other errnos of pipe2, posix_spawn, poll and read
 */
dr_nodiscard int dr_server_version_of(const char *path, struct dr_server_version *ret_version);
/* The same with another time limit, for its test. */
dr_nodiscard int dr_server_version_of_within(
	const char *path, unsigned ms, struct dr_server_version *ret_version);

/* "redis 7.0.15" into text; returns text. */
const char *dr_server_version_format(
	const struct dr_server_version *version, char text[DR_SERVER_VERSION_SIZE]);

/*
 * Whether the server `have` loads every data folder that the server `recorded` wrote. No says only that this is not
 * promised: a server may be newer than what we know of it.
 */
bool dr_server_version_can_read(
	const struct dr_server_version *have, const struct dr_server_version *recorded);

/* Whether we work with it at all: Redis since 6.2, and every Valkey. */
bool dr_server_version_supported(const struct dr_server_version *version);

#endif
