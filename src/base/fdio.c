/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void closedirp(DIR **dir)
{
	if (*dir) {
		(void)closedir(*dir);
	}
}

int dr_write_full(int fd, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return n < 0 ? -errno : -EIO;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int dr_pwrite_full(int fd, const void *bytes, size_t len, off_t off)
{
	const uint8_t *p = bytes;
	while (len) {
		ssize_t n = pwrite(fd, p, len, off);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return n < 0 ? -errno : -EIO;
		}
		p += n;
		len -= (size_t)n;
		off += n;
	}
	return 0;
}

ssize_t dr_pread_full(int fd, void *bytes, size_t len, off_t off)
{
	uint8_t *p = bytes;
	size_t done = 0;
	while (done < len) {
		ssize_t n = pread(fd, p + done, len - done, off + (off_t)done);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		if (n == 0) {
			break;
		}
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int dr_read_file(int dirfd, const char *path, size_t max, struct dr_buf *buf)
{
	int fd dr_cleanup(dr_fd_closep) = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	size_t before = buf->len;
	for (;;) {
		/* The size is not asked for: /proc and pipes have none, and it may change. */
		dr_buf_reserve(buf, 4096);
		ssize_t n = read(fd, buf->data + buf->len, buf->cap - buf->len);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			int r = -errno;
			buf->len = before;
			return r;
		}
		if (n == 0) {
			return 0;
		}
		buf->len += (size_t)n;
		if (buf->len - before > max) {
			buf->len = before;
			return -EFBIG;
		}
	}
}

/* Splits a path into the open folder that holds it and the last name, which points into path. */
static int open_parent(int dirfd, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *folder dr_cleanup(dr_freep) =
		slash ? dr_xasprintf("%.*s", slash == path ? 1 : (int)(slash - path), path)
		      : dr_xstrdup(".");
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		return -EINVAL;
	}
	int fd = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	*ret_name = name;
	return fd;
}

/* A new file that nobody else has; its name (32 bytes) is not one that a reader looks for. */
static int create_temporary(int folder, char *name)
{
	for (int tries = 0; tries < 100; tries++) {
		uint64_t word;
		if (getrandom(&word, sizeof(word), 0) != (ssize_t)sizeof(word)) {
			continue;
		}
		(void)snprintf(name, 32, ".tmp-%016llx", (unsigned long long)word);
		int fd = openat(
			folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0) {
			return fd;
		}
		if (errno != EEXIST) {
			return -errno;
		}
	}
	return -EEXIST;
}

/* Closes fd in any case: an error of close(2) is the last chance of some file systems to tell one. */
static int fill_and_close(int fd, mode_t mode, const void *bytes, size_t len, bool sync)
{
	int r = fchmod(fd, mode) < 0 ? -errno : dr_write_full(fd, bytes, len);
	if (r == 0 && sync && fsync(fd) < 0) {
		r = -errno;
	}
	if (close(fd) < 0 && r == 0 && errno != EINTR) {
		r = -errno;
	}
	return r;
}

static int replace_file(
	int dirfd, const char *path, mode_t mode, const void *bytes, size_t len, bool sync)
{
	const char *name = NULL;
	int folder dr_cleanup(dr_fd_closep) = open_parent(dirfd, path, &name);
	if (folder < 0) {
		return folder;
	}
	char temporary[32];
	int fd = create_temporary(folder, temporary);
	if (fd < 0) {
		return fd;
	}
	int r = fill_and_close(fd, mode, bytes, len, sync);
	if (r == 0 && renameat(folder, temporary, folder, name) < 0) {
		r = -errno;
	}
	if (r < 0) {
		(void)unlinkat(folder, temporary, 0);
		return r;
	}
	/* Some file systems cannot sync a folder, and say EINVAL. */
	if (sync && fsync(folder) < 0 && errno != EINVAL) {
		return -errno;
	}
	return 0;
}

int dr_replace_file(int dirfd, const char *path, mode_t mode, const void *bytes, size_t len)
{
	return replace_file(dirfd, path, mode, bytes, len, true);
}

int dr_replace_file_fast(int dirfd, const char *path, mode_t mode, const void *bytes, size_t len)
{
	return replace_file(dirfd, path, mode, bytes, len, false);
}

static int make_dir(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0) {
		return 0;
	}
	/* Whatever mkdir says (EEXIST, EROFS, EACCES): a directory that is there will do. */
	int r = -errno;
	struct stat st;
	if (stat(path, &st) < 0) {
		return r;
	}
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int dr_mkdirs(const char *path, mode_t mode)
{
	if (!*path) {
		return -ENOENT;
	}
	char *prefix dr_cleanup(dr_freep) = dr_xstrdup(path);
	for (char *p = prefix + 1; *p; p++) {
		if (*p != '/' || p[-1] == '/') {
			continue;
		}
		*p = 0;
		int r = make_dir(prefix, mode);
		if (r < 0) {
			return r;
		}
		*p = '/';
	}
	return make_dir(prefix, mode);
}

/*
 * rm -r of any depth with one open directory: where we are is a stack of names, and ".." leads
 * back up, compared with what was left, so that a directory that is moved away under us does not
 * lead us out.
 */
struct climb {
	char *name; /* of the child that we went into */
	dev_t dev;  /* of the directory that holds it */
	ino_t ino;
};

struct removal {
	int fd; /* the directory that we are in */
	struct climb *stack;
	size_t depth, cap;
};

static void removal_fini(struct removal *rm)
{
	dr_fd_closep(&rm->fd);
	for (size_t i = 0; i < rm->depth; i++) {
		free(rm->stack[i].name);
	}
	free(rm->stack);
}

/* @return 0 gone; 1 a directory that is not empty */
static int remove_entry(int fd, const char *name, bool maybe_file)
{
	if (maybe_file) {
		if (unlinkat(fd, name, 0) == 0 || errno == ENOENT) {
			return 0;
		}
		if (errno != EISDIR && errno != EPERM) {
			return -errno;
		}
	}
	int r = maybe_file ? -errno : 0;
	if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
		return 0;
	}
	if (errno == ENOTEMPTY || errno == EEXIST) {
		return 1;
	}
	if (errno == ENOTDIR) {
		return r < 0 ? r : remove_entry(fd, name, true);
	}
	return -errno;
}

/*
 * Removes what can be removed at once.
 * @return 0 the directory is empty; 1 with the (malloc'ed) name of a directory to go into
 */
static int empty_dir(int fd, char **ret_child)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (own < 0) {
		return -errno;
	}
	DIR *dir dr_cleanup(closedirp) = fdopendir(own);
	if (!dir) {
		int r = -errno;
		(void)close(own);
		return r;
	}
	for (bool any = true; any;) {
		/* Again until nothing shows: removing while reading may hide an entry. */
		any = false;
		rewinddir(dir);
		for (;;) {
			errno = 0;
			/* The stream belongs to this call: NOLINTNEXTLINE(concurrency-mt-unsafe) */
			const struct dirent *entry = readdir(dir);
			if (!entry) {
				if (errno) {
					return -errno;
				}
				break;
			}
			if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
				continue;
			}
			int r = remove_entry(fd, entry->d_name, entry->d_type != DT_DIR);
			if (r < 0) {
				return r;
			}
			if (r > 0) {
				*ret_child = dr_xstrdup(entry->d_name);
				return 1;
			}
			any = true;
		}
	}
	return 0;
}

static int climb_down(struct removal *rm, char *name)
{
	char *child dr_cleanup(dr_freep) = name;
	struct stat st;
	if (fstat(rm->fd, &st) < 0) {
		return -errno;
	}
	int fd = openat(rm->fd, child, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		/* Removed or replaced by somebody else: the next look at the directory tells. */
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
	}
	if (rm->depth == rm->cap) {
		rm->cap = rm->cap ? rm->cap * 2 : 16;
		rm->stack = dr_xrealloc(rm->stack, rm->cap * sizeof(*rm->stack));
	}
	rm->stack[rm->depth++] =
		(struct climb){ .name = child, .dev = st.st_dev, .ino = st.st_ino };
	child = NULL;
	dr_fd_closep(&rm->fd);
	rm->fd = fd;
	return 0;
}

static int climb_up(struct removal *rm)
{
	const struct climb *top = &rm->stack[rm->depth - 1];
	int fd = openat(rm->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	dr_fd_closep(&rm->fd);
	rm->fd = fd;
	struct stat st;
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	if (st.st_dev != top->dev || st.st_ino != top->ino) {
		return -ESTALE;
	}
	int r = remove_entry(fd, top->name, false);
	free(top->name);
	rm->depth--;
	return r < 0 ? r : 0; /* 1: filled again meanwhile; the next look goes into it once more */
}

int dr_remove_tree(int dirfd, const char *path)
{
	int r = remove_entry(dirfd, path, true);
	if (r <= 0) {
		return r == -ENOTDIR ? 0 : r; /* below something that is no directory nothing is */
	}
	struct removal rm dr_cleanup(removal_fini) = {
		.fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
	};
	if (rm.fd < 0) {
		return -errno;
	}
	for (;;) {
		char *child = NULL;
		r = empty_dir(rm.fd, &child);
		if (child) {
			r = climb_down(&rm, child);
		} else if (r == 0 && rm.depth) {
			r = climb_up(&rm);
		} else if (r == 0) {
			return unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno
											  : 0;
		}
		if (r < 0) {
			return r;
		}
	}
}

/* The length of the component at p, up to a slash or the end. */
static size_t component_len(const char *p, const char *end)
{
	const char *slash = memchr(p, '/', (size_t)(end - p));
	return (size_t)((slash ? slash : end) - p);
}

/* @return the descriptor; -ENOSYS this kernel or sandbox has no openat2 */
static int open_whole(int dirfd, const char *path, size_t len)
{
	char text[PATH_MAX];
	memcpy(text, path, len);
	text[len] = 0;
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
	};
	long fd = syscall(SYS_openat2, dirfd, text, &how, sizeof(how));
	if (fd >= 0) {
		return (int)fd;
	}
	return errno == EPERM || errno == E2BIG || errno == EAGAIN ? -ENOSYS : -errno;
}

static int open_component(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) {
		return fd;
	}
	int r = -errno;
	struct stat st;
	/* The kernel says ENOTDIR for a symlink when it is asked for a directory. */
	if (r == -ENOTDIR && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISLNK(st.st_mode)) {
		r = -ELOOP;
	}
	return r;
}

static int open_stepwise(int dirfd, const char *path, size_t len)
{
	int at dr_cleanup(dr_fd_closep) = -EBADF;
	const char *end = path + len;
	for (const char *p = path; p < end;) {
		size_t n = component_len(p, end);
		char name[NAME_MAX + 1];
		if (n > NAME_MAX) {
			return -ENAMETOOLONG;
		}
		if (n) {
			memcpy(name, p, n);
			name[n] = 0;
			int next = open_component(at >= 0 ? at : dirfd, name);
			if (next < 0) {
				return next;
			}
			dr_fd_closep(&at);
			at = next;
		}
		p += n < (size_t)(end - p) ? n + 1 : n;
	}
	return dr_steal_fd(&at);
}

int dr_open_dir_beneath(int dirfd, const void *path, size_t len)
{
	const char *text = len ? path : ".";
	len = len ? len : 1;
	const char *end = text + len;
	if (*text == '/' || memchr(text, 0, len)) {
		return -EINVAL;
	}
	for (const char *p = text; p < end;) {
		size_t n = component_len(p, end);
		if (n == 2 && memcmp(p, "..", 2) == 0) {
			return -EINVAL;
		}
		p += n < (size_t)(end - p) ? n + 1 : n;
	}
	if (len < PATH_MAX) {
		int fd = open_whole(dirfd, text, len);
		if (fd != -ENOSYS) {
			return fd;
		}
	}
	return open_stepwise(dirfd, text, len);
}
