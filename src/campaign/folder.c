/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/folder.h"

#include "base/clock.h"
#include "base/fdio.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define JSON_FILE_MAX (64u << 20) /* bytes */
#define REQUEST_MAX 64u           /* bytes */

int dr_folder_open(const char *base_path, const char *name, struct dr_folder *ret_folder)
{
	dr_cleanup(dr_freep) char *path = dr_xasprintf("%s/%s", base_path, name);
	dr_cleanup(dr_fd_closep) int fd = -EBADF;

	if (!dr_spec_name_ok(name)) {
		return -ENOENT;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		return errno == ENOTDIR ? -ENOENT : -errno;
	}
	/* A folder without a spec is not a campaign. */
	if (faccessat(fd, "campaign.json", F_OK, 0) < 0) {
		return -errno;
	}
	*ret_folder = (struct dr_folder){ .path = path, .fd = dr_steal_fd(&fd) };
	path = NULL;
	return 0;
}

void dr_folder_fini(struct dr_folder *folder)
{
	if (folder->path) {
		dr_fd_closep(&folder->fd);
		free(folder->path);
	}
	*folder = (struct dr_folder){ .fd = -EBADF };
}

/* Fills a new folder with what every campaign has. */
static int fill_folder(int fd, const struct dr_spec *spec)
{
	struct dr_folder folder = { .fd = fd };
	json_t *json = dr_spec_to_json(spec);
	int r;

	if (mkdirat(fd, "logs", 0750) < 0 || mkdirat(fd, "requests", 0700) < 0) {
		r = -errno;
	} else {
		r = dr_folder_write_json(&folder, "campaign.json", json);
	}
	json_decref(json);
	return r;
}

/*
 * Not every file system knows RENAME_NOREPLACE (NFS does not). A plain rename will do there: the
 * folder of a campaign is never empty, and a directory that is not empty is never replaced.
 */
static int rename_new(int base_fd, const char *from, const char *to)
{
	if (renameat2(base_fd, from, base_fd, to, RENAME_NOREPLACE) == 0) {
		return 0;
	}
	if ((errno == EINVAL || errno == ENOSYS) && renameat(base_fd, from, base_fd, to) == 0) {
		return 0;
	}
	return errno == ENOTEMPTY || errno == ENOTDIR ? -EEXIST : -errno;
}

/* The length of the longest part of the path that exists; 0 when not even the first does. */
static size_t existing_part(const char *path)
{
	dr_cleanup(dr_freep) char *part = dr_xstrdup(path);
	size_t len = strlen(part);
	struct stat st;

	while (len > 0) {
		part[len] = '\0';
		if (stat(part, &st) == 0) {
			return len;
		}
		while (len > 0 && part[len - 1] != '/') {
			len--;
		}
		while (len > 1 && part[len - 1] == '/') {
			len--;
		}
		if (len == 1 && part[0] == '/') {
			return 1;
		}
	}
	return 0;
}

/* Removes the directories below the first keep bytes of the path, as far as they are empty. */
static void remove_made(const char *path, size_t keep)
{
	dr_cleanup(dr_freep) char *part = dr_xstrdup(path);
	size_t len = strlen(part);

	while (len > keep) {
		part[len] = '\0';
		if (part[len - 1] != '/' && rmdir(part) < 0 && errno != ENOENT) {
			return;
		}
		while (len > keep && part[len - 1] != '/') {
			len--;
		}
		while (len > keep && part[len - 1] == '/') {
			len--;
		}
	}
}

void dr_folder_abandon(struct dr_new_folder *folder)
{
	if (!folder->base_path) {
		return;
	}
	if (folder->hidden[0]) {
		/* Best effort: the error that counts is the one before. */
		if (dr_remove_tree(folder->base_fd, folder->hidden) < 0) {
			(void)unlinkat(folder->base_fd, folder->hidden, AT_REMOVEDIR);
		}
	}
	dr_fd_closep(&folder->fd);
	dr_fd_closep(&folder->base_fd);
	remove_made(folder->base_path, folder->base_len);
	free(folder->base_path);
	*folder = (struct dr_new_folder){ .base_fd = -EBADF, .fd = -EBADF };
}

static int make_hidden(struct dr_new_folder *folder)
{
	uint64_t word;

	folder->base_fd = open(folder->base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder->base_fd < 0) {
		return -errno;
	}
	if (getrandom(&word, sizeof word, 0) != sizeof word) {
		return -EIO;
	}
	dr_cleanup(dr_freep) char *hidden = dr_xasprintf(".new-%016llx", (unsigned long long)word);
	if (mkdirat(folder->base_fd, hidden, 0755) < 0) {
		return -errno;
	}
	(void)snprintf(folder->hidden, sizeof folder->hidden, "%s", hidden);
	folder->fd = openat(folder->base_fd, hidden, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder->fd < 0 ? -errno : 0;
}

int dr_folder_begin(const char *base_path, struct dr_new_folder *ret_folder)
{
	struct dr_new_folder folder = {
		.base_path = dr_xstrdup(base_path),
		.base_len = existing_part(base_path),
		.base_fd = -EBADF,
		.fd = -EBADF,
	};
	int r = dr_mkdirs(base_path, 0755);

	r = r < 0 ? r : make_hidden(&folder);
	if (r < 0) {
		dr_folder_abandon(&folder);
		return r;
	}
	*ret_folder = folder;
	return 0;
}

int dr_folder_commit(struct dr_new_folder *folder, const struct dr_spec *spec)
{
	int r = dr_spec_name_ok(spec->name) ? fill_folder(folder->fd, spec) : -EINVAL;

	if (r >= 0 && fsync(folder->fd) < 0) {
		r = -errno;
	}
	if (r >= 0) {
		r = rename_new(folder->base_fd, folder->hidden, spec->name);
	}
	if (r >= 0) {
		/* From here on it is a campaign. */
		folder->hidden[0] = '\0';
		folder->base_len = strlen(folder->base_path);
		r = fsync(folder->base_fd) < 0 ? -errno : 0;
	}
	dr_folder_abandon(folder);
	return r < 0 ? r : 0;
}

int dr_folder_create(const char *base_path, const struct dr_spec *spec)
{
	struct dr_new_folder folder;
	int r = dr_spec_name_ok(spec->name) ? dr_folder_begin(base_path, &folder) : -EINVAL;

	return r < 0 ? r : dr_folder_commit(&folder, spec);
}

int dr_folder_spec(const struct dr_folder *folder, struct dr_spec **ret_spec)
{
	json_t *json = NULL;
	int r = dr_folder_read_json(folder, "campaign.json", &json);

	if (r < 0) {
		return r;
	}
	r = dr_spec_from_json(json, ret_spec);
	json_decref(json);
	return r;
}

int dr_folder_read_json(const struct dr_folder *folder, const char *file, json_t **ret_json)
{
	struct dr_buf text = { 0 };
	int r = dr_read_file(folder->fd, file, JSON_FILE_MAX, &text);

	if (r >= 0) {
		json_t *json =
			json_loadb(dr_buf_cstr(&text), text.len, JSON_REJECT_DUPLICATES, NULL);
		if (json) {
			*ret_json = json;
		} else {
			r = -EBADMSG;
		}
	}
	dr_buf_fini(&text);
	return r < 0 ? r : 0;
}

int dr_folder_write_json(const struct dr_folder *folder, const char *file, const json_t *json)
{
	dr_cleanup(dr_freep) char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	if (!text) {
		return -EINVAL;
	}
	/* The NUL's place takes the newline. */
	size_t len = strlen(text);
	text[len] = '\n';
	return dr_replace_file(folder->fd, file, 0644, text, len + 1);
}

static bool verb_ok(const char *verb)
{
	static const char *const verbs[] = { "pause", "resume", "retry-skipped", "retry-failed",
		"retry-class-refused", "retry-class-no_space", "retry-class-failed",
		DR_REQUEST_REOPENED };

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(verb, verbs[i]) == 0) {
			return true;
		}
	}
	return false;
}

/* A request's name begins with the time, so that names sort in the order of the requests. */
int dr_folder_request(const struct dr_folder *folder, const char *verb)
{
	struct timespec now;
	uint32_t word;

	if (!verb_ok(verb)) {
		return -EINVAL;
	}
	if (getrandom(&word, sizeof word, 0) != sizeof word) {
		return -EIO;
	}
	(void)clock_gettime(CLOCK_REALTIME, &now);
	dr_cleanup(dr_freep) char *path = dr_xasprintf(
		"requests/%012lld.%09ld-%08x", (long long)now.tv_sec, now.tv_nsec, (unsigned)word);
	return dr_replace_file(folder->fd, path, 0600, verb, strlen(verb));
}

static bool request_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len == 12 + 1 + 9 + 1 + 8 && strspn(name, "0123456789abcdef.-") == len;
}

static int read_request(const struct dr_folder *folder, const char *name, char **ret_verb)
{
	dr_cleanup(dr_freep) char *path = dr_xasprintf("requests/%s", name);
	struct dr_buf text = { 0 };
	int r = dr_read_file(folder->fd, path, REQUEST_MAX, &text);

	if (r >= 0) {
		char *verb = dr_buf_cstr(&text);
		verb[strcspn(verb, "\n")] = '\0';
		r = verb_ok(verb) ? 1 : -EBADMSG;
		if (r == 1) {
			*ret_verb = dr_xstrdup(verb);
		}
	}
	dr_buf_fini(&text);
	return r;
}

static int only_requests(const struct dirent *entry)
{
	/* Temporary files and those of editors are none. */
	return request_name_ok(entry->d_name);
}

int dr_folder_next_request(const struct dr_folder *folder, char **ret_verb, char **ret_file)
{
	struct dirent **entries = NULL;
	int n = scandirat(folder->fd, "requests", &entries, only_requests, alphasort);
	int r = 0;

	if (n < 0) {
		return errno == ENOENT ? 0 : -errno;
	}
	for (int i = 0; i < n; i++) {
		/* One that is gone meanwhile, or that is damaged, does not stop the others. */
		if (r == 0) {
			r = read_request(folder, entries[i]->d_name, ret_verb);
			if (r == 1) {
				*ret_file = dr_xstrdup(entries[i]->d_name);
			} else if (r == -ENOENT || r == -EBADMSG || r == -EFBIG) {
				r = 0;
			}
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}

void dr_folder_request_done(const struct dr_folder *folder, const char *file)
{
	dr_cleanup(dr_freep) char *path = dr_xasprintf("requests/%s", file);

	(void)unlinkat(folder->fd, path, 0);
}

/* Of the requests that wait, the last one that is `a` or `b`; NULL: none is. */
static const char *last_of(const struct dr_folder *folder, const char *a, const char *b)
{
	struct dirent **entries = NULL;
	int n = scandirat(folder->fd, "requests", &entries, only_requests, alphasort);
	const char *last = NULL;

	for (int i = 0; i < n; i++) {
		dr_cleanup(dr_freep) char *verb = NULL;
		if (read_request(folder, entries[i]->d_name, &verb) == 1) {
			last = strcmp(verb, a) == 0 ? a : strcmp(verb, b) == 0 ? b : last;
		}
		free(entries[i]);
	}
	free(entries);
	return last;
}

bool dr_folder_requested(const struct dr_folder *folder, const char *verb)
{
	return last_of(folder, verb, verb) != NULL;
}

bool dr_folder_pause_requested(const struct dr_folder *folder)
{
	static const char pause[] = "pause";

	return last_of(folder, pause, "resume") == pause;
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

bool dr_folder_retry_requested(const struct dr_folder *folder)
{
	struct dirent **entries = NULL;
	int n = scandirat(folder->fd, "requests", &entries, not_hidden, NULL);
	bool found = false;

	for (int i = 0; i < n; i++) {
		dr_cleanup(dr_freep) char *path = dr_xasprintf("requests/%s", entries[i]->d_name);
		struct dr_buf verb = { 0 };
		if (!found && dr_read_file(folder->fd, path, 64, &verb) >= 0) {
			found = strncmp(dr_buf_cstr(&verb), "retry-", strlen("retry-")) == 0;
		}
		dr_buf_fini(&verb);
		free(entries[i]);
	}
	free(entries);
	return found;
}
