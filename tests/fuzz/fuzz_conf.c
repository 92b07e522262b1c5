/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/conf.h"
#include "base/fdio.h"

#include <stdio.h>
#include <sys/mman.h>

#include "fuzz.h"

struct target {
	char *text;
	uint64_t number, bytes, seconds;
	bool yes;
};

static const struct dr_conf_option table[] = {
	{ "t", DR_CONF_STRING, offsetof(struct target, text), 0, 0, NULL },
	{ "n", DR_CONF_U64, offsetof(struct target, number), 1, 65535, NULL },
	{ "b", DR_CONF_SIZE, offsetof(struct target, bytes), 4096, 0, NULL },
	{ "s", DR_CONF_SECONDS, offsetof(struct target, seconds), 1, 86400, NULL },
	{ "y", DR_CONF_BOOL, offsetof(struct target, yes), 0, 0, NULL },
};

/* A file is taken, or refused with one line that names it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct target target = { .number = 1, .bytes = 4096, .seconds = 1 };
	char *message dr_cleanup(dr_freep) = NULL;
	char path[32];
	int fd dr_cleanup(dr_fd_closep) = memfd_create("conf", MFD_CLOEXEC);
	FUZZ_CHECK(fd >= 0 && dr_write_full(fd, data, size) == 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int r = dr_conf_read(path, table, sizeof(table) / sizeof(table[0]), &target, &message);
	FUZZ_CHECK((r < 0) == (message != NULL));
	if (message) {
		FUZZ_CHECK(strncmp(message, path, strlen(path)) == 0 && !strchr(message, '\n'));
	}
	FUZZ_CHECK(target.number >= 1 && target.number <= 65535 && target.bytes >= 4096);
	FUZZ_CHECK(target.seconds >= 1 && target.seconds <= 86400);
	free(target.text);
	return 0;
}
