/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/leadership.h"

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/mounts.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define SECRET_MAX 4096u /* bytes */

/*
 * The secret's second line is the epoch of the leadership that it belongs to: secret and
 * leader.info are two files, and a reader must not take one of each leader.
 */
static int read_secret(const struct dr_folder *folder, uint64_t epoch, char **ret_password)
{
	struct dr_buf text = { 0 };
	uint64_t of_epoch;
	int r = dr_read_file(folder->fd, "secret", SECRET_MAX, &text);

	if (r < 0) {
		dr_buf_fini(&text);
		return r;
	}
	char *line = dr_buf_cstr(&text);
	char *second = strchr(line, '\n');
	if (!second) {
		r = -EBADMSG;
	} else {
		*second++ = '\0';
		second[strcspn(second, "\n")] = '\0';
		r = dr_text_parse_u64(second, 0, UINT64_MAX, &of_epoch) < 0 ? -EBADMSG
		    : of_epoch != epoch                                     ? -EAGAIN
									    : 0;
	}
	if (r == 0) {
		*ret_password = dr_xstrdup(line);
	}
	explicit_bzero(text.data, text.len);
	dr_buf_fini(&text);
	return r;
}

static int read_leader(const struct dr_folder *folder, struct dr_leader_info *ret_info)
{
	const char *host, *address;
	json_int_t port, epoch, pid;
	char *password = NULL;
	json_t *json = NULL;
	int r = dr_folder_read_json(folder, "leader.info", &json);

	if (r < 0) {
		return r;
	}
	/* Jansson's unpacking lends the strings as long as the object lives. */
	if (json_unpack(json, "{s:s, s:s, s:I, s:I, s:I}", "host", &host, "address", &address,
		    "port", &port, "epoch", &epoch, "pid", &pid) < 0 ||
		port < 1 || port > 65535 || epoch < 0 || pid < 0) {
		json_decref(json);
		return -EBADMSG;
	}
	r = read_secret(folder, (uint64_t)epoch, &password);
	if (r == 0) {
		*ret_info = (struct dr_leader_info){
			.host = dr_xstrdup(host),
			.address = dr_xstrdup(address),
			.port = (uint16_t)port,
			.epoch = (uint64_t)epoch,
			.pid = (uint64_t)pid,
			.password = password,
		};
	}
	json_decref(json);
	return r;
}

int dr_folder_leader(const struct dr_folder *folder, struct dr_leader_info *ret_info)
{
	int r = -EAGAIN;

	/* A leader that is being announced is there a moment later. */
	for (int i = 0; i < 20 && r == -EAGAIN; i++) {
		if (i > 0) {
			dr_sleep_ms(5);
		}
		r = read_leader(folder, ret_info);
	}
	return r == -EAGAIN ? -ENOENT : r;
}

void dr_leader_info_fini(struct dr_leader_info *info)
{
	free(info->host);
	free(info->address);
	if (info->password) {
		explicit_bzero(info->password, strlen(info->password));
	}
	free(info->password);
	*info = (struct dr_leader_info){ 0 };
}

int dr_folder_set_leader(const struct dr_folder *folder, const struct dr_leader_info *info)
{
	dr_cleanup(dr_freep) char *secret =
		dr_xasprintf("%s\n%llu\n", info->password, (unsigned long long)info->epoch);
	int r = dr_replace_file(folder->fd, "secret", 0600, secret, strlen(secret));

	explicit_bzero(secret, strlen(secret));
	if (r < 0) {
		return r;
	}
	json_t *json = json_pack("{s:s, s:s, s:i, s:I, s:I, s:s}", "host", info->host, "address",
		info->address, "port", (int)info->port, "epoch", (json_int_t)info->epoch, "pid",
		(json_int_t)info->pid, "version", DR_VERSION);
	if (!json) {
		return -EINVAL;
	}
	r = dr_folder_write_json(folder, "leader.info", json);
	json_decref(json);
	return r;
}

int dr_folder_announced(const struct dr_folder *folder, uint64_t *ret_epoch)
{
	json_t *json = NULL;
	int r = dr_folder_read_json(folder, "leader.info", &json);

	if (r == 0) {
		json_int_t epoch = json_integer_value(json_object_get(json, "epoch"));

		*ret_epoch = epoch > 0 ? (uint64_t)epoch : 0;
	}
	json_decref(json);
	return r;
}

void dr_folder_clear_leader(const struct dr_folder *folder, uint64_t epoch)
{
	uint64_t announced;

	/* Another one's announcement is not ours to remove. */
	if (dr_folder_announced(folder, &announced) < 0 || announced != epoch) {
		return;
	}
	(void)unlinkat(folder->fd, "leader.info", 0);
	(void)unlinkat(folder->fd, "secret", 0);
}

static void closedirp(DIR **dir)
{
	if (*dir) {
		(void)closedir(*dir);
	}
}

/* The folder as a stream of names; its descriptor stays as it is. */
static int open_list(const struct dr_folder *folder, DIR **ret_dir)
{
	dr_cleanup(dr_fd_closep) int fd =
		openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		return -errno;
	}
	*ret_dir = fdopendir(fd);
	if (!*ret_dir) {
		return -errno;
	}
	(void)dr_steal_fd(&fd);
	return 0;
}

#define LOCK_NAME "leader.lock"

/* "leader.lock" is of generation 0, "leader.lock.3" of 3. */
static bool parse_lock(const char *name, uint64_t *ret_generation)
{
	size_t len = strlen(LOCK_NAME);

	if (strncmp(name, LOCK_NAME, len) != 0) {
		return false;
	}
	*ret_generation = 0;
	return name[len] == '\0' || (name[len] == '.' && dr_text_parse_u64(name + len + 1, 1,
								 UINT64_MAX, ret_generation) == 0);
}

int dr_folder_lock_generation(const struct dr_folder *folder, uint64_t *ret_generation)
{
	dr_cleanup(closedirp) DIR *dir = NULL;
	struct dirent *entry;
	int r = open_list(folder, &dir);

	if (r < 0 || !dir) {
		return r;
	}
	*ret_generation = 0;
	while ((errno = 0, entry = readdir(dir))) { // NOLINT(concurrency-mt-unsafe)
		uint64_t generation;

		if (parse_lock(entry->d_name, &generation) && generation > *ret_generation) {
			*ret_generation = generation;
		}
	}
	return -errno;
}

static void lock_name(uint64_t generation, char name[64])
{
	if (generation == 0) {
		(void)snprintf(name, 64, LOCK_NAME);
	} else {
		(void)snprintf(name, 64, LOCK_NAME ".%llu", (unsigned long long)generation);
	}
}

static int try_lock(const struct dr_folder *folder, uint64_t generation)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	dr_cleanup(dr_freep) char *why = NULL;
	char name[64];

	lock_name(generation, name);
	dr_cleanup(dr_fd_closep) int fd =
		openat(folder->fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		return -errno;
	}
	int r = dr_mount_locks(fd, &why);
	if (r < 0) {
		dr_log_limited(60, DR_LOG_ERROR, "locks-are-local", "why=\"%s\"", why);
		return r;
	}
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		/* ENOLCK: the file server's table is full, or its lock service away, for a while. */
		return errno == EACCES ? -EAGAIN : errno == ENOLCK ? -EIO : -errno;
	}
	return dr_steal_fd(&fd);
}

int dr_folder_lock(const struct dr_folder *folder, uint64_t *ret_generation)
{
	uint64_t generation = 0, newest = 0;
	int r = dr_folder_lock_generation(folder, &generation);

	while (r == 0) {
		dr_cleanup(dr_fd_closep) int fd = try_lock(folder, generation);

		if (fd < 0) {
			return fd;
		}
		/* A take-over may have come between the look and the lock. */
		r = dr_folder_lock_generation(folder, &newest);
		if (r == 0 && newest == generation) {
			if (ret_generation) {
				*ret_generation = generation;
			}
			return dr_steal_fd(&fd);
		}
		generation = newest;
	}
	return r;
}

int dr_folder_lock_renew(const struct dr_folder *folder, uint64_t generation)
{
	char name[64];

	lock_name(generation + 1, name);
	dr_cleanup(dr_fd_closep) int fd =
		openat(folder->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 || fsync(fd) < 0 || fsync(folder->fd) < 0 ? -errno : 0;
}

#define EPOCH_ASIDE "set-aside-"

int dr_epoch_parse(const char *name, uint64_t *ret_epoch)
{
	bool aside = strncmp(name, EPOCH_ASIDE, strlen(EPOCH_ASIDE)) == 0;
	const char *p = aside ? name + strlen(EPOCH_ASIDE) : name;
	char *end;

	if (strncmp(p, "epoch-", 6) != 0 || p[6] < '0' || p[6] > '9') {
		return 0;
	}
	*ret_epoch = strtoull(p + 6, &end, 10);
	if (aside) {
		return 3;
	}
	return *end == '\0' ? 1 : strcmp(end, ".new") == 0 ? 2 : 0;
}

int dr_epoch_is_complete(const struct dr_folder *folder, const char *name)
{
	dr_cleanup(dr_freep) char *record = dr_xasprintf("%s/" DR_EPOCH_RECORD, name);

	return faccessat(folder->fd, record, F_OK, 0) == 0 ? 1 : errno == ENOENT ? 0 : -errno;
}

int dr_folder_epochs(const struct dr_folder *folder, struct dr_epochs *ret_epochs)
{
	dr_cleanup(closedirp) DIR *dir = NULL;
	struct dirent *entry;
	int r = open_list(folder, &dir);

	if (r < 0 || !dir) {
		return r;
	}
	*ret_epochs = (struct dr_epochs){ 0 };
	while ((errno = 0, entry = readdir(dir))) { // NOLINT(concurrency-mt-unsafe)
		uint64_t epoch = 0;
		int kind = dr_epoch_parse(entry->d_name, &epoch);

		/* What cannot be told now is no reason to begin with an older one. */
		int complete = kind == 1 ? dr_epoch_is_complete(folder, entry->d_name) : 0;

		if (complete < 0) {
			return complete;
		}
		if (complete && epoch > ret_epochs->newest) {
			ret_epochs->newest = epoch;
		}
		if (kind > 0 && epoch > ret_epochs->highest) {
			ret_epochs->highest = epoch;
		}
	}
	return -errno;
}

int dr_folder_set_aside(const struct dr_folder *folder)
{
	struct dirent **entries = NULL;
	int n = scandirat(folder->fd, ".", &entries, NULL, NULL);
	int r = n < 0 ? -errno : 0;

	for (int i = 0; i < n; i++) {
		dr_cleanup(dr_freep) char *aside =
			dr_xasprintf(EPOCH_ASIDE "%s", entries[i]->d_name);
		uint64_t epoch;

		/* One that was being made holds nothing that another does not hold. */
		if (r == 0 && dr_epoch_parse(entries[i]->d_name, &epoch) == 1 &&
			renameat(folder->fd, entries[i]->d_name, folder->fd, aside) < 0) {
			r = -errno;
		}
		free(entries[i]);
	}
	free(entries);
	/* The mark goes last: without it a leader begins anew, and what it would begin on must be out of its way. */
	static const char *const files[] = { "leftovers.jsonl", "status.json", DR_PRIMED };
	for (size_t i = 0; r == 0 && i < sizeof files / sizeof files[0]; i++) {
		if (unlinkat(folder->fd, files[i], 0) < 0 && errno != ENOENT) {
			r = -errno;
		}
	}
	return r < 0 ? r : fsync(folder->fd) < 0 ? -errno : 0;
}
