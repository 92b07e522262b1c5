/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "campaign/candidates.h"
#include "cli/cli.h"
#include "cli/start.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/*
 * The list of candidates: read as a stream, each line checked, written into the campaign's folder in the form that scans read.
 */

#define BUFFER_BYTES (1u << 20)
#define SHOWN_BYTES 200u /* of a line, in messages */

struct list {
	char *name; /* as messages show it */
	bool nul;   /* candidates end with a NUL, not with the end of their line */
	struct dr_fs **fs;
	/* A directory outside of the root, as the list writes it, that leads into it; and where. */
	char *alias, *alias_base;
	int in_fd, out_fd, signal_fd;
	struct dr_buf out;
	uint64_t number; /* of the line at hand */
	uint64_t candidates, bytes;
	bool has_fids;
};

static void list_fini(struct list *list)
{
	free(list->name);
	free(list->alias);
	free(list->alias_base);
	if (list->in_fd != STDIN_FILENO) {
		dr_fd_closep(&list->in_fd);
	}
	dr_fd_closep(&list->out_fd);
	dr_buf_fini(&list->out);
}

/* "--from-list: FILE, line 3"; malloc'ed */
static char *place(const struct list *list)
{
	return dr_xasprintf("--from-list: %s, %s %llu", list->name, list->nul ? "entry" : "line",
		(unsigned long long)list->number);
}

/* The line fit for a message, malloc'ed. */
static char *show(const char *line)
{
	dr_cleanup(dr_freep) char *part = dr_xasprintf("%.*s", (int)SHOWN_BYTES, line);
	dr_cleanup(dr_freep) char *word = cli_escape(part);

	return dr_xasprintf("%s%s", word, strlen(line) > SHOWN_BYTES ? "..." : "");
}

static int refuse(const struct list *list, const char *line, const char *why)
{
	dr_cleanup(dr_freep) char *where = place(list);
	dr_cleanup(dr_freep) char *word = show(line);

	return cli_refuse("%s: '%s' %s", where, word, why);
}

/* The file system of the first path, of which at least a directory above must be there. */
static int open_fs(const struct list *list, const char *path)
{
	dr_cleanup(dr_freep) char *where = place(list);
	dr_cleanup(dr_freep) char *word = show(path);
	dr_cleanup(dr_freep) char *rest = NULL;
	dr_cleanup(dr_freep) char *at = dr_xstrdup(path);

	/* The last component is left out at once: a link there is not followed. */
	do {
		char *slash = strrchr(at, '/');
		slash[slash == at] = '\0';
	} while (at[1] && access(at, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR));
	return path_open(where, at, word, list->fs, &rest);
}

/*
 * The path relative to the root, malloc'ed; NULL when it does not lie there. A list may name the root by another way than ours,
 * through a link: the directories above the file system are followed once for all paths that begin alike.
 */
static char *rest_of(struct list *list, const char *path)
{
	const char *root = (*list->fs)->root;
	const char *rest = path_below_root(path, root);

	if (rest) {
		return dr_xstrdup(rest);
	}
	bool known = list->alias && path_is_within(path, list->alias);
	for (const char *p = path; !known && (p = strchr(p + 1, '/'));) {
		dr_cleanup(dr_freep) char *dir = dr_xasprintf("%.*s", (int)(p - path), path);
		dr_cleanup(dr_freep) char *real = realpath(dir, NULL);
		if (!real) {
			return NULL;
		}
		rest = path_below_root(real, root);
		if (rest) {
			free(list->alias);
			free(list->alias_base);
			list->alias = dir;
			dir = NULL;
			list->alias_base = dr_xstrdup(rest);
			known = true;
		}
	}
	if (!known) {
		return NULL;
	}
	rest = path + strlen(list->alias);
	rest += *rest == '/';
	return dr_xasprintf(
		"%s%s%s", list->alias_base, *list->alias_base && *rest ? "/" : "", rest);
}

static int take_path(struct list *list, const char *line)
{
	dr_cleanup(dr_freep) char *normal = NULL;
	int r = path_normalize(line, &normal);

	if (r < 0) {
		return refuse(list, line, "goes up with '..'");
	}
	dr_cleanup(dr_freep) char *path = dr_xasprintf("/%s", normal);
	if (!*list->fs) {
		r = open_fs(list, path);
		if (r != CLI_OK) {
			return r;
		}
	}
	dr_cleanup(dr_freep) char *rest = rest_of(list, path);
	if (!rest) {
		dr_cleanup(dr_freep) char *root = cli_escape((*list->fs)->root);
		dr_cleanup(dr_freep) char *why = dr_xasprintf("is not on the file system %s", root);
		return refuse(list, line, why);
	}
	if (!*rest) {
		return refuse(list, line, "is the root of the file system, and no file");
	}
	const struct dr_candidate candidate = { .path = rest, .len = strlen(rest) };
	dr_candidate_put(&list->out, &candidate);
	return CLI_OK;
}

static int flush(struct list *list)
{
	int r = dr_write_full(list->out_fd, list->out.data, list->out.len);

	if (r < 0) {
		return cli_refuse(
			"--from-list: %s: cannot keep it: %s", list->name, cli_strerror(r));
	}
	list->bytes += list->out.len;
	dr_buf_clear(&list->out);
	return CLI_OK;
}

/* One line without its end, which is a NUL now. */
static int take_line(struct list *list, const char *line, size_t len)
{
	struct dr_candidate candidate = { 0 };
	int r = CLI_OK;

	list->number++;
	if (len > DR_CANDIDATE_MAX - 1) {
		return refuse(list, line, "is longer than any path");
	}
	if (strlen(line) < len) {
		return refuse(list, line, "has a NUL after it: a list with NULs is read with -0");
	}
	if (line[0] == '/') {
		r = take_path(list, line);
	} else if (dr_fid_parse(line, len, &candidate.fid) == 0) {
		list->has_fids = true;
		dr_candidate_put(&list->out, &candidate);
	} else {
		r = refuse(list, line, "is neither an absolute path nor a FID");
	}
	list->candidates++;
	return r == CLI_OK && list->out.len >= BUFFER_BYTES ? flush(list) : r;
}

/* @return bytes; 0 at the end; -EINTR a signal came; -errno */
static ssize_t read_some(const struct list *list, char *buf, size_t size)
{
	struct pollfd fds[] = {
		{ .fd = list->in_fd, .events = POLLIN },
		{ .fd = list->signal_fd, .events = POLLIN },
	};

	if (poll(fds, 2, -1) < 0 && errno != EINTR) {
		return -errno;
	}
	if (fds[1].revents) {
		return -EINTR;
	}
	ssize_t n = read(list->in_fd, buf, size);
	return n < 0 ? -errno : n;
}

/* Takes all lines that are whole in [buf, buf + *len), and moves the rest to the front. */
static int take_lines(struct list *list, char *buf, size_t *len)
{
	char end = list->nul ? '\0' : '\n';
	char *at = buf, *stop;
	int r = CLI_OK;

	while (r == CLI_OK && (stop = memchr(at, end, (size_t)(buf + *len - at)))) {
		*stop = '\0';
		r = take_line(list, at, (size_t)(stop - at));
		at = stop + 1;
	}
	*len -= (size_t)(at - buf);
	memmove(buf, at, *len);
	return r;
}

static int take_all(struct list *list)
{
	/* One byte more, for the NUL after a last line that has no end. */
	dr_cleanup(dr_freep) char *buf = dr_xcalloc(1, BUFFER_BYTES + 1);
	size_t len = 0;
	int r = CLI_OK;

	while (r == CLI_OK) {
		ssize_t n = read_some(list, buf + len, BUFFER_BYTES - len);
		if (n == -EINTR) {
			return CLI_ERROR;
		}
		if (n < 0) {
			return cli_refuse("--from-list: cannot read %s: %s", list->name,
				cli_strerror((int)n));
		}
		if (n == 0) {
			break;
		}
		len += (size_t)n;
		r = take_lines(list, buf, &len);
		if (r == CLI_OK && len > DR_CANDIDATE_MAX) {
			buf[len] = '\0';
			return take_line(list, buf, len); /* refuses it */
		}
	}
	if (r == CLI_OK && len > 0) {
		buf[len] = '\0';
		r = take_line(list, buf, len);
	}
	return r == CLI_OK ? flush(list) : r;
}

/* What only the whole list tells. */
static int check_all(const struct list *list)
{
	if (list->candidates == 0) {
		return cli_refuse("--from-list: %s is empty", list->name);
	}
	if (!*list->fs) {
		return cli_refuse("--from-list: %s holds nothing but FIDs: --root or --scan-path "
				  "must tell of which file system",
			list->name);
	}
	if (list->has_fids && !(*list->fs)->ops->fid_path) {
		dr_cleanup(dr_freep) char *root = cli_escape((*list->fs)->root);
		return cli_refuse("--from-list: %s holds FIDs, and %s does not tell their paths",
			list->name, root);
	}
	return CLI_OK;
}

int list_take(const char *file, bool nul, struct dr_fs **fs, int folder_fd, int signal_fd,
	struct dr_spec *spec)
{
	bool is_stdin = strcmp(file, "-") == 0;
	dr_cleanup(list_fini) struct list list = {
		.name = is_stdin ? dr_xstrdup("standard input") : cli_escape(file),
		.nul = nul,
		.fs = fs,
		.in_fd = STDIN_FILENO,
		.out_fd = -EBADF,
		.signal_fd = signal_fd,
	};
	int r;

	if (!is_stdin) {
		list.in_fd = open(file, O_RDONLY | O_CLOEXEC);
	}
	if (list.in_fd < 0) {
		return cli_refuse(
			"--from-list: cannot open %s: %s", list.name, cli_strerror(-errno));
	}
	list.out_fd = openat(
		folder_fd, DR_CANDIDATES_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (list.out_fd < 0) {
		return cli_refuse(
			"--from-list: %s: cannot keep it: %s", list.name, cli_strerror(-errno));
	}
	r = take_all(&list);
	if (r == CLI_OK) {
		r = check_all(&list);
	}
	if (r == CLI_OK && fsync(list.out_fd) < 0) {
		r = cli_refuse(
			"--from-list: %s: cannot keep it: %s", list.name, cli_strerror(-errno));
	}
	if (r == CLI_OK) {
		spec->n_candidates = list.candidates;
		spec->candidates_bytes = list.bytes;
	}
	return r;
}
