/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/local.h"

#include "base/fdio.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

int dr_local_mount_root(const char *path, char **ret_root)
{
	char *root dr_cleanup(dr_freep) = realpath(path, NULL);
	struct stat st;
	if (!root || stat(root, &st) < 0) {
		return -errno;
	}
	dev_t dev = st.st_dev;
	size_t len = strlen(root);
	while (len > 1) {
		size_t up = len;
		while (root[up - 1] != '/') {
			up--;
		}
		up = up > 1 ? up - 1 : 1;
		char *parent dr_cleanup(dr_freep) = dr_xasprintf("%.*s", (int)up, root);
		if (stat(parent, &st) < 0) {
			break; /* not ours to see: as high as we get */
		}
		if (st.st_dev != dev) {
			break;
		}
		root[len = up] = 0;
	}
	*ret_root = root;
	root = NULL;
	return 0;
}

int dr_local_dir_open(
	int root_fd, uint64_t dev, const void *path, size_t len, struct dr_local_dir *ret_dir)
{
	int fd dr_cleanup(dr_fd_closep) = dr_open_dir_beneath(root_fd, path, len);
	if (fd < 0) {
		return fd;
	}
	struct stat st;
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	if ((uint64_t)st.st_dev != dev) {
		return -EXDEV;
	}
	*ret_dir = (struct dr_local_dir){ .fd = dr_steal_fd(&fd) };
	return 0;
}

void dr_local_dir_fini(struct dr_local_dir *dir)
{
	dr_fd_closep(&dir->fd);
	free(dir->buf);
	dir->buf = NULL;
}

int dr_local_dir_seek(struct dr_local_dir *dir, uint64_t position)
{
	/* Reading on from where the last call stopped: what the buffer still holds is next. */
	if (position != 0 && position == dir->position) {
		return 0;
	}
	if (lseek(dir->fd, (off_t)position, SEEK_SET) < 0) {
		return -errno;
	}
	dir->position = position;
	dir->at = dir->len = 0;
	return 0;
}

static int fill(struct dr_local_dir *dir)
{
	if (!dir->buf) {
		dir->buf = dr_xcalloc(1, DR_LOCAL_BUFFER);
	}
	long n = syscall(SYS_getdents64, dir->fd, dir->buf, DR_LOCAL_BUFFER);
	if (n < 0) {
		/* ENOENT: the directory itself was removed; it has no entries any more. */
		return errno == ENOENT ? 0 : -errno;
	}
	dir->at = 0;
	dir->len = (size_t)n;
	return n > 0;
}

enum dr_type dr_local_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return DR_TYPE_FILE;
	case S_IFDIR:
		return DR_TYPE_DIR;
	case S_IFLNK:
		return DR_TYPE_LINK;
	default:
		return DR_TYPE_OTHER;
	}
}

/* @return false the entry is gone */
static bool entry_type(struct dr_local_dir *dir, unsigned char d_type, struct dr_entry *entry)
{
	switch (d_type) {
	case DT_REG:
		entry->type = DR_TYPE_FILE;
		return true;
	case DT_DIR:
		entry->type = DR_TYPE_DIR;
		return true;
	case DT_LNK:
		entry->type = DR_TYPE_LINK;
		return true;
	case DT_UNKNOWN:
		break;
	default:
		entry->type = DR_TYPE_OTHER;
		return true;
	}
	/* The file system does not say. */
	struct stat st;
	if (fstatat(dir->fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		entry->error = -errno;
		return errno != ENOENT;
	}
	entry->type = dr_local_type(st.st_mode);
	return true;
}

int dr_local_dir_next(struct dr_local_dir *dir, struct dr_entry *ret_entry)
{
	for (;;) {
		if (dir->at == dir->len) {
			int r = fill(dir);
			if (r <= 0) {
				return r;
			}
		}
		const struct dirent64 *d = (const void *)(dir->buf + dir->at);
		dir->at += d->d_reclen;
		dir->position = (uint64_t)d->d_off;
		const char *name = d->d_name;
		if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) {
			continue;
		}
		struct dr_entry entry = {
			.name = name,
			.name_len = strlen(name),
			.ino = d->d_ino,
			.position = (uint64_t)d->d_off,
		};
		if (entry_type(dir, d->d_type, &entry)) {
			*ret_entry = entry;
			return 1;
		}
	}
}

static struct timespec time_of(const struct statx_timestamp *t)
{
	return (struct timespec){ .tv_sec = t->tv_sec, .tv_nsec = (long)t->tv_nsec };
}

struct dr_stat dr_local_stat_of(const struct statx *sx)
{
	return (struct dr_stat){
		.size = sx->stx_size,
		.blocks = sx->stx_blocks,
		.mode = sx->stx_mode,
		.nlink = sx->stx_nlink,
		.uid = sx->stx_uid,
		.gid = sx->stx_gid,
		.ino = sx->stx_ino,
		.dev = (uint64_t)makedev(sx->stx_dev_major, sx->stx_dev_minor),
		.atime = time_of(&sx->stx_atime),
		.mtime = time_of(&sx->stx_mtime),
		.ctime = time_of(&sx->stx_ctime),
		.btime = sx->stx_mask & STATX_BTIME ? time_of(&sx->stx_btime)
						    : (struct timespec){ 0 },
		.immutable = sx->stx_attributes & STATX_ATTR_IMMUTABLE,
		.append = sx->stx_attributes & STATX_ATTR_APPEND,
	};
}

int dr_local_stat(int fd, const char *name, int flags, struct dr_stat *ret_stat)
{
	struct statx sx;
	if (statx(fd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &sx) < 0) {
		return -errno;
	}
	*ret_stat = dr_local_stat_of(&sx);
	return 0;
}

int dr_local_open(int dirfd, const char *name)
{
	/* O_NONBLOCK: neither a fifo nor somebody's write lease may hold us up. */
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = openat(dirfd, name, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM) {
		/* O_NOATIME is for the owner and root. */
		fd = openat(dirfd, name, flags);
	}
	if (fd >= 0) {
		return fd;
	}
	switch (errno) {
	case ELOOP: /* a symlink by now */
	case ENXIO: /* a socket */
	case ENODEV:
		return -ENOENT;
	case EWOULDBLOCK:
		return -EBUSY;
	default:
		return -errno;
	}
}

int dr_local_file_open(int dirfd, const char *name, struct dr_stat *ret_stat)
{
	int fd dr_cleanup(dr_fd_closep) = dr_local_open(dirfd, name);
	if (fd < 0) {
		return fd;
	}
	struct dr_stat st = { 0 };
	int r = dr_local_stat(fd, "", AT_EMPTY_PATH, &st);
	if (r < 0) {
		return r;
	}
	if (!S_ISREG(st.mode)) {
		return -ENOENT;
	}
	*ret_stat = st;
	return dr_steal_fd(&fd);
}

int dr_local_next_data(int fd, uint64_t off, uint64_t end, uint64_t *ret_start, uint64_t *ret_end)
{
	if (off >= end) {
		return -ENXIO;
	}
	off_t start = lseek(fd, (off_t)off, SEEK_DATA);
	if (start < 0) {
		return -errno;
	}
	if ((uint64_t)start >= end) {
		return -ENXIO;
	}
	off_t hole = lseek(fd, start, SEEK_HOLE);
	if (hole < 0) {
		return -errno;
	}
	*ret_start = (uint64_t)start;
	*ret_end = (uint64_t)hole < end ? (uint64_t)hole : end;
	return 0;
}
