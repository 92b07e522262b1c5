/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/source.h"

#include "base/buf.h"
#include "base/log.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#define BUFFER (1 << 20) /* bytes */
#define LOG_SECONDS 300

/* ---- which files there are ---- */

/* ".../fs-MDT0000/hsm/actions" -> "fs-MDT0000"; NULL: there is no such folder. */
static char *mdt_of(const char *path)
{
	const char *end = strrchr(path, '/');

	end = end ? memrchr(path, '/', (size_t)(end - path)) : NULL;
	if (!end || end == path) {
		return NULL;
	}
	const char *slash = memrchr(path, '/', (size_t)(end - path));
	const char *begin = slash ? slash + 1 : path;
	size_t len = (size_t)(end - begin);

	if (len == 0 || !dr_utf8_is_valid(begin, len)) {
		return NULL;
	}
	char *name = dr_xcalloc(1, len + 1);

	memcpy(name, begin, len);
	return name;
}

static int by_mdt(const void *a, const void *b)
{
	const struct dr_source *left = a;
	const struct dr_source *right = b;
	int order = strcmp(left->mdt, right->mdt);

	return order ? order : strcmp(left->path, right->path);
}

void dr_sources_free(struct dr_source *sources, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(sources[i].path);
		free(sources[i].mdt);
	}
	free(sources);
}

static size_t drop_doubles(struct dr_source *sources, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (kept && strcmp(sources[kept - 1].mdt, sources[i].mdt) == 0) {
			dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "mdt-twice",
				"mdt=%s path=%s next=\"only %s is read\"", sources[i].mdt,
				sources[i].path, sources[kept - 1].path);
			free(sources[i].path);
			free(sources[i].mdt);
		} else {
			sources[kept++] = sources[i];
		}
	}
	return kept;
}

int dr_sources_find(const char *pattern, struct dr_source **ret_sources, size_t *ret_n)
{
	glob_t found = { 0 };
	int r = glob(pattern, GLOB_NOSORT, NULL, &found); // NOLINT(concurrency-mt-unsafe): no tilde
	size_t n = 0;

	if (r != 0 && r != GLOB_NOMATCH) {
		globfree(&found);
		return r == GLOB_NOSPACE ? -ENOMEM : -EIO;
	}
	struct dr_source *sources = dr_xcalloc(found.gl_pathc + 1, sizeof(*sources));

	for (size_t i = 0; i < found.gl_pathc; i++) {
		char *mdt = mdt_of(found.gl_pathv[i]);

		if (mdt) {
			sources[n++] = (struct dr_source){ .path = dr_xstrdup(found.gl_pathv[i]),
				.mdt = mdt };
		} else {
			dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "mdt-unnamed",
				"n=%zu next=\"passed over: no folder two above it, or its name is not UTF-8\"",
				i);
		}
	}
	globfree(&found);
	qsort(sources, n, sizeof(*sources), by_mdt);
	*ret_n = drop_doubles(sources, n);
	*ret_sources = sources;
	return 0;
}

/* ---- reading one ---- */

struct scan {
	dr_line_fn *fn;
	void *arg;
	struct dr_reading reading;
	char *buf;
	size_t len;       /* bytes in buf that belong to a line that is not whole yet */
	bool is_skipping; /* in the middle of a line that was given to fn, too long */
};

static int give(struct scan *scan, const char *line, size_t len, bool is_open)
{
	struct dr_span text = dr_action_strip(line, len);

	if (text.len == 0) {
		return 0;
	}
	scan->reading.n_lines++;
	int r = scan->fn(scan->arg, text, is_open);

	scan->reading.n_bad += r == 0;
	if (r == 0 && is_open) {
		scan->reading.is_stable = false;
	}
	return r < 0 ? r : 0;
}

/* Gives the whole lines of buf[0, len), and keeps the rest at its beginning. */
static int give_lines(struct scan *scan)
{
	const char *p = scan->buf;
	const char *end = p + scan->len;
	const char *newline = NULL;
	int r = 0;

	while (r == 0 && (newline = memchr(p, '\n', (size_t)(end - p)))) {
		if (!scan->is_skipping) {
			r = give(scan, p, (size_t)(newline - p), false);
		}
		scan->is_skipping = false;
		p = newline + 1;
	}
	size_t left = (size_t)(end - p);

	if (r == 0 && left > DR_ACTION_MAX_LINE) {
		if (!scan->is_skipping) {
			r = give(scan, p, DR_ACTION_MAX_LINE + 1, false);
		}
		scan->is_skipping = true;
		left = 0;
	}
	memmove(scan->buf, end - left, left);
	scan->len = left;
	return r;
}

static int read_lines(int fd, struct scan *scan)
{
	for (;;) {
		ssize_t n = read(fd, scan->buf + scan->len, BUFFER - scan->len);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		if (n == 0) {
			break;
		}
		scan->len += (size_t)n;
		int r = give_lines(scan);

		if (r < 0) {
			return r;
		}
	}
	if (scan->len && !scan->is_skipping) {
		return give(scan, scan->buf, scan->len, true);
	}
	scan->reading.is_stable = scan->reading.is_stable && !scan->is_skipping;
	return 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int dr_source_read(const char *path, dr_line_fn *fn, void *arg, struct dr_reading *ret_reading)
{
	struct scan scan = { .fn = fn, .arg = arg, .reading = { .is_stable = true } };
	int fd dr_cleanup(dr_fd_closep) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat before;
	struct stat after;

	if (fd < 0 || fstat(fd, &before) < 0) {
		return -errno;
	}
	if (S_ISDIR(before.st_mode)) {
		return -EISDIR;
	}
	scan.buf = dr_xcalloc(1, BUFFER);
	int r = read_lines(fd, &scan);

	free(scan.buf);
	if (r < 0) {
		return r;
	}
	/* By its path: an MDT that left in the meantime took its file along, and another file may have come in its place. */
	if (stat(path, &after) < 0 || !is_same_file(&before, &after)) {
		scan.reading.is_stable = false;
	}
	*ret_reading = scan.reading;
	return 0;
}
