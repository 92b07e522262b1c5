/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/lab_image.h"

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "fs/lab_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <jansson.h>

#define STATE_MAGIC 0x4c41422d44524f56ull
#define JSON_MAX 65536 /* bytes of lab.json */
#define FID_TRIES 100  /* a millisecond each */

static const char *const folders[] = { "ns", "layouts", "journal", "archive" };

void dr_lab_fault(const struct dr_lab *lab, const char *point)
{
	if (lab->fault && strcmp(lab->fault, point) == 0) {
		(void)kill(getpid(), SIGKILL);
	}
}

static size_t state_bytes(uint32_t n_osts)
{
	return sizeof(struct dr_lab_state) + n_osts * sizeof(struct dr_lab_ost);
}

/* A number that every boot of a machine changes; 0 where it is not told. */
static uint64_t boot_number(void)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	if (dr_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 256, &text) < 0) {
		return 0;
	}
	uint64_t hash = 0xcbf29ce484222325ull;
	for (size_t i = 0; i < text.len; i++) {
		hash = (hash ^ text.data[i]) * 0x100000001b3ull;
	}
	return hash;
}

/* ---- making one ---- */

static int make_folders(int dir_fd, uint32_t n_osts)
{
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		if (mkdirat(dir_fd, folders[i], 0755) < 0) {
			return -errno;
		}
	}
	for (uint32_t ost = 0; ost < n_osts; ost++) {
		char path[16];
		dr_lab_bucket_path(ost, 0, path);
		path[7] = 0;
		if (mkdirat(dir_fd, path, 0755) < 0) {
			return -errno;
		}
	}
	return 0;
}

static int make_state(int dir_fd, uint32_t n_osts, uint64_t ost_size)
{
	size_t bytes = state_bytes(n_osts);
	struct dr_lab_state *state dr_cleanup(dr_freep) = dr_xcalloc(1, bytes);
	atomic_init(&state->magic, STATE_MAGIC);
	atomic_init(&state->n_osts, n_osts);
	atomic_init(&state->boot, boot_number());
	for (uint32_t i = 0; i < n_osts; i++) {
		atomic_init(&state->ost[i].size_bytes, ost_size);
		atomic_init(&state->ost[i].next_number, 1);
	}
	int fd dr_cleanup(dr_fd_closep) =
		openat(dir_fd, "lab.state", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return fd < 0 ? -errno : dr_pwrite_full(fd, state, bytes, 0);
}

static int dir_is_empty(int fd)
{
	DIR *dir = fdopendir(fd);
	if (!dir) {
		return -errno;
	}
	int empty = 1;
	const struct dirent *entry;
	/* The stream belongs to this call: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (empty && (entry = readdir(dir))) {
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	}
	(void)closedir(dir);
	return empty;
}

int dr_lab_create(const char *dir, uint32_t n_osts, uint32_t n_mdts, uint64_t ost_size)
{
	if (n_osts < 1 || n_osts > DR_LAB_OST_MAX || n_mdts < 1 || ost_size > INT64_MAX) {
		return -EINVAL;
	}
	int r = dr_mkdirs(dir, 0755);
	if (r < 0) {
		return r;
	}
	int dir_fd dr_cleanup(dr_fd_closep) = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		return -errno;
	}
	int again = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = again < 0 ? -errno : dir_is_empty(again);
	if (r <= 0) {
		return r < 0 ? r : -EEXIST;
	}
	uint64_t word;
	if (getrandom(&word, sizeof(word), 0) != (ssize_t)sizeof(word)) {
		return -EIO;
	}
	r = make_folders(dir_fd, n_osts);
	r = r < 0 ? r : make_state(dir_fd, n_osts, ost_size);
	if (r < 0) {
		return r;
	}
	/* Last, and whole: what has no lab.json is no lab. */
	char json[256];
	int len = snprintf(json, sizeof(json),
		"{ \"format\": %d, \"osts\": %" PRIu32 ", \"mdts\": %" PRIu32
		", \"identity\": \"%016" PRIx64 "\" }\n",
		DR_LAB_FORMAT, n_osts, n_mdts, word);
	return dr_replace_file(dir_fd, "lab.json", 0644, json, (size_t)len);
}

/* ---- opening one ---- */

static int read_json(struct dr_lab *lab)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	int r = dr_read_file(lab->dir_fd, "lab.json", JSON_MAX, &text);
	if (r < 0) {
		return r;
	}
	json_t *json dr_cleanup(json_decrefp) =
		json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	json_int_t format, osts, mdts;
	const char *identity;
	if (json_unpack(json, "{s:I}", "format", &format) < 0) {
		return -EBADMSG;
	}
	if (format != DR_LAB_FORMAT) {
		return -ESTALE;
	}
	if (json_unpack(json, "{s:I s:I s:s}", "osts", &osts, "mdts", &mdts, "identity",
		    &identity) < 0 ||
		osts < 1 || osts > DR_LAB_OST_MAX || mdts < 1 || mdts > UINT16_MAX) {
		return -EBADMSG;
	}
	lab->n_osts = (uint32_t)osts;
	lab->n_mdts = (uint32_t)mdts;
	lab->identity = dr_xasprintf("lab:%s", identity);
	return 0;
}

static int state_lock(const struct dr_lab *lab, int cmd, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET };
	int r;
	do {
		r = fcntl(lab->state_fd, cmd, &lock);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* @return 1 nobody else has the lab open (and the lock keeps everybody else waiting), 0 somebody has */
static int map_state(struct dr_lab *lab)
{
	bool writable = true;
	lab->state_fd = openat(lab->dir_fd, "lab.state", O_RDWR | O_CLOEXEC);
	if (lab->state_fd < 0 && (errno == EROFS || errno == EACCES)) {
		writable = false;
		lab->state_fd = openat(lab->dir_fd, "lab.state", O_RDONLY | O_CLOEXEC);
	}
	if (lab->state_fd < 0) {
		return errno == ENOENT ? -EBADMSG : -errno;
	}
	int alone = writable && state_lock(lab, F_OFD_SETLK, F_WRLCK) == 0;
	int r = alone ? 0 : state_lock(lab, F_OFD_SETLKW, F_RDLCK);
	struct stat st;
	if (r < 0 || fstat(lab->state_fd, &st) < 0) {
		return r < 0 ? r : -errno;
	}
	size_t bytes = state_bytes(lab->n_osts);
	if ((uint64_t)st.st_size < bytes) {
		return -EBADMSG;
	}
	/* Who may only look gets a copy of his own: nothing that he changes counts. */
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, writable ? MAP_SHARED : MAP_PRIVATE,
		lab->state_fd, 0);
	if (map == MAP_FAILED) {
		return -errno;
	}
	lab->state = map;
	lab->state_bytes = bytes;
	if (lab->state->magic != STATE_MAGIC || lab->state->n_osts != lab->n_osts) {
		return -EBADMSG;
	}
	return alone;
}

static int open_folder(struct dr_lab *lab, const char *name, int *ret_fd)
{
	*ret_fd = openat(lab->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd >= 0) {
		return 0;
	}
	return errno == ENOENT || errno == ENOTDIR ? -EBADMSG : -errno;
}

/* A file handle as the kernel's file systems with 32 or (XFS) 64 bit inode numbers write it. */
union lab_handle {
	struct file_handle head;
	uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

#define HANDLE_INO32_GEN 1
#define HANDLE_XFS_INO64_GEN 0x81

static void handle_of(int type, uint64_t ino, uint32_t gen, union lab_handle *ret_handle)
{
	uint32_t words[3] = { (uint32_t)ino, (uint32_t)(ino >> 32), gen };
	if (type == HANDLE_INO32_GEN) {
		words[1] = gen;
	}
	ret_handle->head.handle_type = type;
	ret_handle->head.handle_bytes = type == HANDLE_INO32_GEN ? 8 : 12;
	memcpy(ret_handle->head.f_handle, words, sizeof(words));
}

/*
 * Finds out whether files can be opened by FID: the file system must have handles of a known form,
 * made of inode and generation alone (tmpfs finds only those that were asked for before), and
 * we must be allowed to.
 */
static void probe_handles(struct dr_lab *lab)
{
	lab->handle_type = -1;
	union lab_handle handle = { .head.handle_bytes = MAX_HANDLE_SZ };
	int mount;
	struct stat st;
	if (name_to_handle_at(lab->ns_fd, "", &handle.head, &mount, AT_EMPTY_PATH) < 0 ||
		fstat(lab->ns_fd, &st) < 0) {
		return;
	}
	int type = handle.head.handle_type;
	if (!(type == HANDLE_INO32_GEN && handle.head.handle_bytes == 8) &&
		!(type == HANDLE_XFS_INO64_GEN && handle.head.handle_bytes == 12)) {
		return;
	}
	struct dr_fid fid;
	if (dr_lab_fid_of_ino(lab, lab->ns_fd, (uint64_t)st.st_ino, &fid) < 0) {
		return;
	}
	union lab_handle ours = { 0 };
	handle_of(type, (uint64_t)st.st_ino, fid.ver, &ours);
	if (memcmp(ours.head.f_handle, handle.head.f_handle, handle.head.handle_bytes) != 0) {
		return;
	}
	int fd dr_cleanup(dr_fd_closep) =
		open_by_handle_at(lab->ns_fd, &ours.head, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		lab->handle_type = type;
	}
}

static int settle_usage(struct dr_lab *lab, bool alone)
{
	uint64_t boot = boot_number();
	if (alone && atomic_load(&lab->state->boot) != boot) {
		/* What the mapping held when the machine went down may have been lost. */
		for (uint32_t i = 0; i < lab->n_osts; i++) {
			atomic_store(&lab->state->ost[i].busy_until_ns, 0);
		}
		atomic_store(&lab->state->recount, 1);
		atomic_store(&lab->state->boot, boot);
	}
	int r = dr_lab_recover(lab);
	if (r < 0 && r != -EROFS && r != -EACCES) {
		return r;
	}
	if (!alone) {
		return 0;
	}
	r = atomic_load(&lab->state->recount) ? dr_lab_recount(lab) : 0;
	return r < 0 ? r : state_lock(lab, F_OFD_SETLK, F_RDLCK);
}

static void lab_closep(struct dr_lab **lab)
{
	dr_lab_close(*lab);
}

int dr_lab_open(const char *dir, struct dr_lab **ret_lab)
{
	struct dr_lab *lab dr_cleanup(lab_closep) = dr_xcalloc(1, sizeof(*lab));
	lab->ns_fd = lab->layouts_fd = lab->archive_fd = lab->journal_fd = lab->state_fd = -EBADF;
	lab->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lab->dir_fd < 0) {
		return -errno;
	}
	lab->dir = realpath(dir, NULL);
	if (!lab->dir) {
		return -errno;
	}
	int r = read_json(lab);
	if (r < 0) {
		return r;
	}
	int *const fds[] = { &lab->ns_fd, &lab->layouts_fd, &lab->journal_fd, &lab->archive_fd };
	for (size_t i = 0; r == 0 && i < sizeof(folders) / sizeof(*folders); i++) {
		r = open_folder(lab, folders[i], fds[i]);
	}
	struct stat st;
	if (r < 0 || fstat(lab->ns_fd, &st) < 0) {
		return r < 0 ? r : -errno;
	}
	lab->ns_dev = (uint64_t)st.st_dev;
	lab->fault = secure_getenv("DROVER_LAB_FAULT");
	probe_handles(lab);
	int alone = map_state(lab);
	if (alone < 0) {
		return alone;
	}
	lab->journal = dr_lab_journal_new(lab);
	r = settle_usage(lab, alone);
	if (r < 0) {
		return r;
	}
	*ret_lab = lab;
	lab = NULL;
	return 0;
}

void dr_lab_close(struct dr_lab *lab)
{
	if (!lab) {
		return;
	}
	dr_lab_journal_end(lab);
	dr_lab_journal_free(lab->journal);
	if (lab->state) {
		(void)munmap(lab->state, lab->state_bytes);
	}
	dr_fd_closep(&lab->state_fd);
	dr_fd_closep(&lab->journal_fd);
	dr_fd_closep(&lab->archive_fd);
	dr_fd_closep(&lab->layouts_fd);
	dr_fd_closep(&lab->ns_fd);
	dr_fd_closep(&lab->dir_fd);
	free(lab->identity);
	free(lab->dir);
	free(lab);
}

int dr_lab_find(const char *path, char **ret_dir)
{
	char *at dr_cleanup(dr_freep) = realpath(path, NULL);
	if (!at) {
		return -errno;
	}
	/* From the innermost "/ns" outwards: the folder that holds it must say that it is a lab. */
	for (size_t len = strlen(at); len > 0; len--) {
		bool at_end = at[len] == 0 || at[len] == '/';
		if (!at_end || len < 4 || memcmp(at + len - 3, "/ns", 3) != 0) {
			continue;
		}
		char *json dr_cleanup(dr_freep) = dr_xasprintf("%.*s/lab.json", (int)(len - 3), at);
		if (access(json, F_OK) == 0) {
			at[len - 3] = 0;
			*ret_dir = at;
			at = NULL;
			return 1;
		}
	}
	return 0;
}

/* ---- FIDs ---- */

int dr_lab_fid_of(struct dr_lab *lab, int fd, struct dr_fid *ret_fid)
{
	struct stat st;
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	return dr_lab_fid_of_ino(lab, fd, (uint64_t)st.st_ino, ret_fid);
}

int dr_lab_fid_open(struct dr_lab *lab, const struct dr_fid *fid)
{
	if (lab->handle_type < 0) {
		return -ENOTSUP;
	}
	if (fid->seq < DR_LAB_SEQ || fid->seq - DR_LAB_SEQ > UINT32_MAX) {
		return -ENOENT;
	}
	union lab_handle handle = { 0 };
	handle_of(lab->handle_type, (fid->seq - DR_LAB_SEQ) << 32 | fid->oid, fid->ver, &handle);
	for (unsigned tries = 0;; tries++) {
		int fd = open_by_handle_at(
			lab->ns_fd, &handle.head, O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0) {
			return fd;
		}
		/* ext4 says this, too, while it gives the inode number to a new file (Linux, iget_locked() and I_CREATING): a moment later it knows. */
		if (errno != ENOMEM || tries == FID_TRIES) {
			return errno == ESTALE ? -ENOENT : -errno;
		}
		dr_sleep_ms(1);
	}
}

int dr_lab_fid_exists(struct dr_lab *lab, const struct dr_fid *fid)
{
	int fd = dr_lab_fid_open(lab, fid);
	if (fd >= 0) {
		(void)close(fd);
		return 1;
	}
	/* ELOOP, ENXIO, EWOULDBLOCK and their like: an inode is there, whatever may be done with it. */
	switch (fd) {
	case -ENOENT:
		return 0;
	case -ENOTSUP:
	case -EIO:
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -EPERM:
		return fd;
	default:
		return 1;
	}
}

/* ---- OSTs ---- */

static uint32_t ost_flags(enum dr_lab_ost_state state)
{
	switch (state) {
	case DR_LAB_IS_DOWN:
		return DR_OST_DOWN;
	case DR_LAB_FULL:
		return DR_OST_ENOSPC;
	case DR_LAB_CLOSED:
		return DR_OST_NOCREATE;
	default:
		return 0;
	}
}

void dr_lab_osts(struct dr_lab *lab, struct dr_ost *ret_osts)
{
	struct statvfs disk;
	uint64_t room =
		fstatvfs(lab->dir_fd, &disk) < 0 ? 0 : (uint64_t)disk.f_bavail * disk.f_frsize;
	for (uint32_t i = 0; i < lab->n_osts; i++) {
		struct dr_lab_ost *from = &lab->state->ost[i];
		int64_t used = atomic_load(&from->used_bytes);
		int64_t objects = atomic_load(&from->objects);
		uint64_t size = atomic_load(&from->size_bytes);
		enum dr_lab_ost_state state = atomic_load(&from->state);
		struct dr_ost *to = &ret_osts[i];
		*to = (struct dr_ost){ .index = i, .state = ost_flags(state) };
		to->used_bytes = used > 0 ? (uint64_t)used : 0;
		to->objects_exact = true;
		to->objects = objects > 0 ? (uint64_t)objects : 0;
		to->total_bytes = size ? size : to->used_bytes + room;
		to->avail_bytes =
			to->total_bytes > to->used_bytes ? to->total_bytes - to->used_bytes : 0;
		/* The disk beneath may be fuller than the OST pretends to be. */
		to->avail_bytes = to->avail_bytes < room ? to->avail_bytes : room;
		to->avail_bytes = state == DR_LAB_FULL ? 0 : to->avail_bytes;
		(void)snprintf(to->name, sizeof(to->name), "lab-OST%04" PRIx32, i);
	}
}
