/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/process.h"

#include "base/buf.h"
#include "base/fdio.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

char *dr_process_host(void)
{
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = '\0';
	/* The name goes into file names and into keys. */
	for (char *p = host; *p; p++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
			    *p)) {
			*p = '_';
		}
	}
	return dr_xstrdup(host[0] ? host : "localhost");
}

static uint64_t machine(void)
{
	struct dr_buf boot dr_cleanup(dr_buf_fini) = { 0 };
	struct stat st = { 0 };

	(void)!dr_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 4096, &boot);
	(void)stat("/proc/self/ns/pid", &st);
	dr_buf_put_u64(&boot, st.st_ino);
	return XXH64(boot.data, boot.len, 0);
}

#define START_FIELD 22 /* proc(5), starttime */

/* Clock ticks after boot at which the process began; 0: there is none, or it is a zombie. */
static uint64_t start_of(long pid)
{
	char *path dr_cleanup(dr_freep) = dr_xasprintf("/proc/%ld/stat", pid);
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	if (dr_read_file(AT_FDCWD, path, 65536, &text) < 0) {
		return 0;
	}
	/* Field 2 is the name, which may hold anything: fields are counted after its last parenthesis. */
	const char *p = strrchr(dr_buf_cstr(&text), ')');

	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X') {
		return 0;
	}
	for (int field = 2; p && field < START_FIELD; field++) {
		p = strchr(p + 1, ' ');
	}
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

char *dr_process_name(const char *host)
{
	return dr_xasprintf("%s:%016" PRIx64 ":%ld:%" PRIu64, host, machine(), (long)getpid(),
		start_of(getpid()));
}

bool dr_process_is_dead(const char *name)
{
	const char *p = strchr(name, ':');
	char *end;

	if (!p) {
		return false;
	}
	uint64_t there = strtoull(p + 1, &end, 16);

	if (*end != ':' || there != machine()) {
		return false;
	}
	long pid = strtol(end + 1, &end, 10);

	return *end == ':' && start_of(pid) != strtoull(end + 1, NULL, 10);
}
