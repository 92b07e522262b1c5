/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/log.h"
#include "daemon/server.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define EPOCHS_KEPT 2

static void closedirp(DIR **dir)
{
	if (*dir) {
		(void)closedir(*dir);
	}
}

/* "epoch-12" and "epoch-12.new" are of epoch 12. @return 1 complete, 2 being made, 0 neither */
static int parse_epoch(const char *name, uint64_t *ret_epoch)
{
	char *end;

	if (strncmp(name, "epoch-", 6) != 0 || name[6] < '0' || name[6] > '9') {
		return 0;
	}
	*ret_epoch = strtoull(name + 6, &end, 10);
	return *end == '\0' ? 1 : strcmp(end, ".new") == 0 ? 2 : 0;
}

static int open_dir_list(int dirfd, const char *path, DIR **ret_dir)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		return -errno;
	}
	*ret_dir = fdopendir(fd);
	if (!*ret_dir) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	return 0;
}

/* Copies a file, with fsync. */
static int copy_file(int from_dir, int to_dir, const char *name)
{
	int from dr_cleanup(dr_fd_closep) = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	int to dr_cleanup(dr_fd_closep) =
		openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char buffer[65536];
	off_t off = 0;
	ssize_t n;

	if (from < 0 || to < 0) {
		return -errno;
	}
	while ((n = dr_pread_full(from, buffer, sizeof(buffer), off)) > 0) {
		int r = dr_write_full(to, buffer, (size_t)n);

		if (r < 0) {
			return r;
		}
		off += n;
	}
	if (n < 0) {
		return (int)n;
	}
	return fsync(to) < 0 ? -errno : 0;
}

/* Redis never writes again to a base file of the append-only log; all else may grow. */
static bool never_grows(const char *name)
{
	return strstr(name, ".base.") != NULL;
}

static int copy_dir(int from, int to)
{
	DIR *dir dr_cleanup(closedirp) = NULL;
	struct dirent *entry;
	int r = open_dir_list(from, ".", &dir);

	if (r < 0 || !dir) {
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir))) { // NOLINT(concurrency-mt-unsafe)
		const char *name = entry->d_name;
		struct stat st;

		if (name[0] == '.' || strncmp(name, "temp-", 5) == 0 ||
			strcmp(name, "redis.log") == 0) {
			continue;
		}
		if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			return -errno;
		}
		if (S_ISDIR(st.st_mode)) {
			if (mkdirat(to, name, 0700) < 0) {
				return -errno;
			}
			int sub_from dr_cleanup(dr_fd_closep) =
				openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			int sub_to dr_cleanup(dr_fd_closep) =
				openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			r = sub_from < 0 || sub_to < 0 ? -errno : copy_dir(sub_from, sub_to);
		} else if (S_ISREG(st.st_mode)) {
			if (!never_grows(name) || linkat(from, name, to, name, 0) < 0) {
				r = copy_file(from, to, name);
			}
		}
	}
	if (r == 0 && errno != 0) {
		r = -errno;
	}
	return r < 0 ? r : fsync(to) < 0 ? -errno : 0;
}

struct epochs {
	uint64_t newest;  /* complete; 0: none */
	uint64_t highest; /* complete or not */
};

static int list_epochs(const struct dr_folder *folder, struct epochs *ret)
{
	DIR *dir dr_cleanup(closedirp) = NULL;
	struct dirent *entry;
	int r = open_dir_list(folder->fd, ".", &dir);

	if (r < 0 || !dir) {
		return r;
	}
	*ret = (struct epochs){ 0 };
	while ((errno = 0, entry = readdir(dir))) { // NOLINT(concurrency-mt-unsafe)
		uint64_t epoch = 0;
		int kind = parse_epoch(entry->d_name, &epoch);

		if (kind == 1 && epoch > ret->newest) {
			ret->newest = epoch;
		}
		if (kind > 0 && epoch > ret->highest) {
			ret->highest = epoch;
		}
	}
	return -errno;
}

/* Removes what no leader will read again. */
static void prune(const struct dr_folder *folder, uint64_t newest)
{
	DIR *dir dr_cleanup(closedirp) = NULL;
	struct dirent *entry;

	if (open_dir_list(folder->fd, ".", &dir) < 0 || !dir) {
		return;
	}
	while ((entry = readdir(dir))) { // NOLINT(concurrency-mt-unsafe)
		uint64_t epoch = 0;
		int kind = parse_epoch(entry->d_name, &epoch);

		if ((kind == 2 && epoch <= newest) ||
			(kind == 1 && epoch + EPOCHS_KEPT <= newest)) {
			int r = dr_remove_tree(folder->fd, entry->d_name);

			if (r < 0) {
				dr_log(DR_LOG_WARNING, "old-epoch-stays",
					"epoch=%" PRIu64
					" errno=%d next=\"tried again at the next start\"",
					epoch, -r);
			}
		}
	}
}

int dr_epoch_make(const struct dr_folder *folder, uint64_t *ret_epoch, bool *ret_first)
{
	struct epochs epochs = { 0 };
	char old_name[64], tmp_name[64], name[64];
	uint64_t epoch = 0;
	int r = list_epochs(folder, &epochs);

	if (r < 0) {
		return r;
	}
	/* mkdir decides who has the number, also between two that both believe they hold the lock. */
	for (epoch = epochs.highest + 1;; epoch++) {
		(void)snprintf(tmp_name, sizeof(tmp_name), "epoch-%" PRIu64 ".new", epoch);
		if (mkdirat(folder->fd, tmp_name, 0700) == 0) {
			break;
		}
		if (errno != EEXIST) {
			return -errno;
		}
	}
	if (epochs.newest > 0) {
		(void)snprintf(old_name, sizeof(old_name), "epoch-%" PRIu64, epochs.newest);
		int from dr_cleanup(dr_fd_closep) =
			openat(folder->fd, old_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int to dr_cleanup(dr_fd_closep) =
			openat(folder->fd, tmp_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		r = from < 0 || to < 0 ? -errno : copy_dir(from, to);
		if (r < 0) {
			(void)!dr_remove_tree(folder->fd, tmp_name);
			return r;
		}
	}
	(void)snprintf(name, sizeof(name), "epoch-%" PRIu64, epoch);
	if (renameat(folder->fd, tmp_name, folder->fd, name) < 0 || fsync(folder->fd) < 0) {
		return -errno;
	}
	prune(folder, epoch);
	*ret_epoch = epoch;
	*ret_first = epochs.newest == 0;
	return 0;
}
