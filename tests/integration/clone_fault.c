/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Preloaded into a daemon: calls on files fail, as those of a broken disk do. The file $CLONE_FAULTS holds lines "CALL WORD ERRNO", read
 * anew at each call, so that a test can end a fault: CALL is read, write, list, type, stat, sync or lost, WORD is in the path of the file that is meant (* is any).
 * lost is a sync that tells of it as Linux does: once to each descriptor, whoever asks, and then no more.
 * type is a directory that does not say what its entries are; its ERRNO is of no matter.
 */

/* name: in the directory; "": the file itself */
static int fault_of_name(const char *call, int fd, const char *name)
{
	const char *file = getenv("CLONE_FAULTS"); // NOLINT(concurrency-mt-unsafe)
	char link[64], path[4096], line[512];
	FILE *faults = file ? fopen(file, "re") : NULL;
	int error = 0, saved = errno;

	if (!faults) {
		return 0;
	}
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);

	n = n > 0 ? n : 0;
	(void)snprintf(path + n, sizeof(path) - (size_t)n, "%s%s", name[0] ? "/" : "", name);
	while (!error && fgets(line, sizeof(line), faults)) {
		char *rest = line, *what = strsep(&rest, " "), *word = strsep(&rest, " ");

		if (word && rest && strcmp(what, call) == 0 &&
			(strcmp(word, "*") == 0 || strstr(path, word))) {
			error = (int)strtol(rest, NULL, 10);
		}
	}
	(void)fclose(faults);
	errno = error ? error : saved;
	return error;
}

static int fault_of(const char *call, int fd)
{
	return fault_of_name(call, fd, "");
}

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)

/* As the daemon was: with 64 bits of offset, by whatever names. */
#define NEXT(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	return fault_of("read", fd) ? -1 : NEXT(pread)(fd, buf, n, off);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
	return fault_of("write", fd) ? -1 : NEXT(pwrite)(fd, buf, n, off);
}

ssize_t copy_file_range(
	int in, off64_t *in_off, int out, off64_t *out_off, size_t n, unsigned flags)
{
	return fault_of("read", in) || fault_of("write", out)
		       ? -1
		       : NEXT(copy_file_range)(in, in_off, out, out_off, n, flags);
}

int syncfs(int fd)
{
	static atomic_bool told[1024];

	if (fault_of("sync", fd) || (fd >= 0 && fd < 1024 && fault_of("lost", fd) &&
					    !atomic_exchange(&told[fd], true))) {
		return -1;
	}
	return NEXT(syncfs)(fd);
}

int fstatat(int fd, const char *restrict name, struct stat *restrict st, int flags)
{
	return fault_of_name("stat", fd, name) ? -1 : NEXT(fstatat)(fd, name, st, flags);
}

int statx(int fd, const char *restrict name, int flags, unsigned mask, struct statx *restrict st)
{
	return fault_of_name("stat", fd, name) ? -1 : NEXT(statx)(fd, name, flags, mask, st);
}

static void hide_types(uint8_t *entries, long n)
{
	for (long at = 0; at < n;) {
		struct dirent64 *entry = (struct dirent64 *)(void *)(entries + at);

		entry->d_type = DT_UNKNOWN;
		at += entry->d_reclen;
	}
}

/* Directories are read by syscall(). Arguments that were not given are passed on as they are in the registers. */
long syscall(long number, ...)
{
	static long (*next)(long, ...);
	long a[6];
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++) {
		a[i] = va_arg(args, long);
	}
	va_end(args);
	if (!next) {
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	}
	if (number == SYS_getdents64 && fault_of("list", (int)a[0])) {
		return -1;
	}
	long r = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);

	if (number == SYS_getdents64 && r > 0 && fault_of("type", (int)a[0])) {
		hide_types((uint8_t *)a[1], r); // NOLINT(performance-no-int-to-ptr)
	}
	return r;
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)
