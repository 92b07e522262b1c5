/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/log.h"
#include "daemon/server.h"
#include "store/aof.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void closedirp(DIR **dir)
{
	if (*dir) {
		(void)closedir(*dir);
	}
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

static bool is_log(const char *name)
{
	return strstr(name, ".incr.") != NULL;
}

/* Copies a file, with fsync. */
static int copy_file(int from_dir, int to_dir, const char *name)
{
	int from dr_cleanup(dr_fd_closep) = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	int to dr_cleanup(dr_fd_closep) =
		openat(to_dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
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
	if (is_log(name)) {
		int r = dr_aof_mend(to);

		if (r < 0) {
			return r;
		}
		if (r == 1) {
			dr_log(DR_LOG_WARNING, "torn-tail-cut",
				"file=%s next=\"what was in it is done again\"", name);
		}
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
			strcmp(name, "redis.log") == 0 || strcmp(name, "alive") == 0 ||
			strcmp(name, DR_EPOCH_RECORD) == 0) {
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

static void remove_epoch(const struct dr_folder *folder, const char *name)
{
	int r = dr_remove_tree(folder->fd, name);

	if (r < 0) {
		dr_log(DR_LOG_WARNING, "old-epoch-stays",
			"name=%s errno=%d next=\"tried again at the next start\"", name, -r);
	}
}

void dr_epoch_prune(const struct dr_folder *folder, uint64_t newest)
{
	DIR *dir dr_cleanup(closedirp) = NULL;
	struct dirent *entry;
	uint64_t kept = 0, epoch;

	if (open_dir_list(folder->fd, ".", &dir) < 0 || !dir) {
		return;
	}
	/* The one before the newest, whatever its number: epochs that were never finished leave gaps. */
	while ((entry = readdir(dir))) { // NOLINT(concurrency-mt-unsafe)
		if (dr_epoch_parse(entry->d_name, &epoch) != 1 || epoch >= newest) {
			continue;
		}
		int complete = dr_epoch_is_complete(folder, entry->d_name);

		if (complete < 0) {
			return; /* nothing goes while that cannot be told */
		}
		kept = complete && epoch > kept ? epoch : kept;
	}
	rewinddir(dir);
	while ((entry = readdir(dir))) { // NOLINT(concurrency-mt-unsafe)
		int kind = dr_epoch_parse(entry->d_name, &epoch);

		if ((kind == 2 && epoch <= newest) ||
			(kind == 1 && epoch < newest && epoch != kept)) {
			remove_epoch(folder, entry->d_name);
		}
	}
}

void dr_epoch_discard(const struct dr_folder *folder, uint64_t epoch, bool keep_log)
{
	char name[64], log[96];

	(void)snprintf(name, sizeof(name), "epoch-%" PRIu64, epoch);
	(void)snprintf(log, sizeof(log), "%s/redis.log", name);
	if (keep_log && renameat(folder->fd, log, folder->fd, DR_FAILED_LOG) < 0) {
		dr_log(DR_LOG_WARNING, "log-not-kept", "file=%s errno=%d", log, errno);
	}
	remove_epoch(folder, name);
}

/* Whether our server may load what the last epoch's server wrote. */
static int check_version(int epoch_fd, const struct dr_server_version *have)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_server_version wrote;
	char ours[DR_SERVER_VERSION_SIZE], theirs[DR_SERVER_VERSION_SIZE];
	int r = dr_read_file(epoch_fd, DR_EPOCH_RECORD, 256, &text);

	if (r < 0 || dr_server_version_parse(dr_buf_cstr(&text), &wrote) < 0) {
		/* A leader that died before it wrote the record started no server either. */
		return r == -ENOENT || r >= 0 ? 0 : r;
	}
	if (dr_server_version_can_read(have, &wrote)) {
		return 0;
	}
	dr_log_limited(60, DR_LOG_ERROR, "server-too-old",
		"ours=\"%s\" data=\"%s\" next=\"a host with a newer server must lead\"",
		dr_server_version_format(have, ours), dr_server_version_format(&wrote, theirs));
	return -EPROTONOSUPPORT;
}

/* Fills the new epoch with what the last one holds. */
static int fill_epoch(const struct dr_folder *folder, uint64_t last, const char *tmp_name,
	const struct dr_server_version *have)
{
	char old_name[64], text[DR_SERVER_VERSION_SIZE];
	int to dr_cleanup(dr_fd_closep) =
		openat(folder->fd, tmp_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = to < 0 ? -errno : 0;

	if (r == 0 && last > 0) {
		(void)snprintf(old_name, sizeof(old_name), "epoch-%" PRIu64, last);
		int from dr_cleanup(dr_fd_closep) =
			openat(folder->fd, old_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		r = from < 0 ? -errno : check_version(from, have);
		if (r == 0) {
			r = copy_dir(from, to);
		}
	}
	if (r == 0) {
		(void)dr_server_version_format(have, text);
		r = dr_replace_file(to, DR_EPOCH_RECORD, 0644, text, strlen(text));
	}
	return r;
}

int dr_epoch_make(
	const struct dr_folder *folder, const struct dr_server_version *have, uint64_t *ret_epoch)
{
	struct dr_epochs epochs = { 0 };
	char tmp_name[64], name[64];
	uint64_t epoch = 0;
	int r = dr_folder_epochs(folder, &epochs);

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
	r = fill_epoch(folder, epochs.newest, tmp_name, have);
	(void)snprintf(name, sizeof(name), "epoch-%" PRIu64, epoch);
	if (r == 0 &&
		(renameat(folder->fd, tmp_name, folder->fd, name) < 0 || fsync(folder->fd) < 0)) {
		r = -errno;
	}
	if (r < 0) {
		(void)!dr_remove_tree(folder->fd, tmp_name);
		return r;
	}
	*ret_epoch = epoch;
	return 0;
}
