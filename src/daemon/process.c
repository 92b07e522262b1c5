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
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *p)) {
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

/* Clock ticks after boot at which the process began; 0: there is none, or it is a zombie. */
static uint64_t start_of(long pid)
{
	char *path dr_cleanup(dr_freep) = dr_xasprintf("/proc/%ld/stat", pid);
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	unsigned long long start = 0;
	char state = 0;

	if (dr_read_file(AT_FDCWD, path, 65536, &text) < 0) {
		return 0;
	}
	/* Field 2 is the name, which may hold anything; the fields after its last parenthesis are counted. */
	const char *p = strrchr(dr_buf_cstr(&text), ')');

	if (!p || sscanf(p, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
			   &start) != 2) {
		return 0;
	}
	return state == 'Z' || state == 'X' ? 0 : start;
}

char *dr_process_name(const char *host)
{
	return dr_xasprintf("%s:%016" PRIx64 ":%ld:%" PRIu64, host, machine(), (long)getpid(), start_of(getpid()));
}

bool dr_process_is_dead(const char *name)
{
	const char *p = strchr(name, ':');
	uint64_t there, start;
	long pid;

	if (!p || sscanf(p, ":%" SCNx64 ":%ld:%" SCNu64, &there, &pid, &start) != 3 || there != machine()) {
		return false;
	}
	return start_of(pid) != start;
}
