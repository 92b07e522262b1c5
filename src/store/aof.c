/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/aof.h"

#include "base/buf.h"

#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define NUMBER_MAX 20 /* digits of a length */

struct reader {
	const char *at, *end;
};

enum { TORN = -1, FOREIGN = -2 };

/* "*3\r\n" or "$5\r\n". @return the number, TORN or FOREIGN */
static int64_t read_number(struct reader *r, char kind)
{
	const char *p = r->at;
	int64_t n = 0;

	if (p == r->end) {
		return TORN;
	}
	if (*p++ != kind) {
		return FOREIGN;
	}
	const char *digits = p;

	for (; p < r->end && *p >= '0' && *p <= '9' && p - digits < NUMBER_MAX - 2; p++) {
		n = n * 10 + (*p - '0');
	}
	if (p == r->end || (p > digits && *p == '\r' && p + 1 == r->end)) {
		return TORN;
	}
	if (p == digits || p[0] != '\r' || p[1] != '\n') {
		return FOREIGN;
	}
	r->at = p + 2;
	return n;
}

/* One argument. @return its length, TORN or FOREIGN */
static int64_t read_word(struct reader *r, const char **ret_word)
{
	int64_t len = read_number(r, '$');

	if (len < 0) {
		return len;
	}
	if (r->end - r->at < len + 2) {
		return TORN;
	}
	if (r->at[len] != '\r' || r->at[len + 1] != '\n') {
		return FOREIGN;
	}
	*ret_word = r->at;
	r->at += len + 2;
	return len;
}

static bool is_word(const char *word, int64_t len, const char *name)
{
	return (size_t)len == strlen(name) && strncasecmp(word, name, (size_t)len) == 0;
}

/* One command; it begins or ends a transaction, or neither. @return 0, TORN or FOREIGN */
static int read_command(struct reader *r, bool *in_transaction)
{
	const char *name = NULL, *word = NULL;
	int64_t n, len = 0;

	if (r->at < r->end && *r->at == '#') {
		const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));

		r->at = newline ? newline + 1 : r->end;
		return newline ? 0 : TORN;
	}
	n = read_number(r, '*');
	if (n < 0) {
		return (int)n;
	}
	for (int64_t i = 0; i < n; i++) {
		int64_t got = read_word(r, i == 0 ? &name : &word);

		if (got < 0) {
			return (int)got;
		}
		len = i == 0 ? got : len;
	}
	if (n == 1 && is_word(name, len, "MULTI")) {
		*in_transaction = true;
	} else if (n == 1 && is_word(name, len, "EXEC")) {
		*in_transaction = false;
	}
	return 0;
}

size_t dr_aof_whole(const void *bytes, size_t len)
{
	struct reader r = { .at = bytes, .end = (const char *)bytes + len };
	const char *whole = bytes;
	bool in_transaction = false;

	while (r.end > r.at && r.end[-1] == '\0') {
		r.end--; /* some file systems fill a tail that never reached the disk with NULs; a command ends with a newline */
	}
	while (r.at < r.end) {
		int result = read_command(&r, &in_transaction);

		if (result == FOREIGN) {
			return len;
		}
		if (result < 0) {
			break;
		}
		whole = in_transaction ? whole : r.at;
	}
	return (size_t)(whole - (const char *)bytes);
}

int dr_aof_mend(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	if (st.st_size == 0) {
		return 0;
	}
	size_t len = (size_t)st.st_size;
	void *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);

	if (bytes == MAP_FAILED) {
		return -errno;
	}
	(void)madvise(bytes, len, MADV_SEQUENTIAL);
	size_t whole = dr_aof_whole(bytes, len);

	(void)munmap(bytes, len);
	if (whole == len) {
		return 0;
	}
	return ftruncate(fd, (off_t)whole) < 0 || fsync(fd) < 0 ? -errno : 1;
}
