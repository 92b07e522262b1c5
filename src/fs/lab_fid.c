/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/lab_priv.h"
#include "fs/local.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The path of a file by its FID. Lustre's metadata server keeps a file's names with the file; what lies beneath a lab does
 * not. The kernel tells the path of an open file when it knows one, which is so when the file was looked up by name not long ago. Else
 * the name space is walked until the inode turns up. What either finds is a hint, and believed when the name leads to the FID.
 */

struct paths {
	char **v;
	size_t n, cap;
};

static void paths_fini(struct paths *paths)
{
	for (size_t i = 0; i < paths->n; i++) {
		free(paths->v[i]);
	}
	free(paths->v);
}

static void push(struct paths *paths, const struct dr_buf *path)
{
	if (paths->n == paths->cap) {
		paths->cap = paths->cap ? paths->cap * 2 : 16;
		paths->v = dr_xrealloc(paths->v, paths->cap * sizeof(*paths->v));
	}
	paths->v[paths->n] = dr_xcalloc(1, path->len + 1);
	memcpy(paths->v[paths->n++], path->data, path->len);
}

/* Whether the name in the directory is of that FID. @error ENOENT it is not */
static int is_name_of(struct dr_lab *lab, int dirfd, const char *name, const struct dr_fid *fid)
{
	int fd dr_cleanup(dr_fd_closep) = dr_local_open(dirfd, name);
	struct dr_fid found;
	struct stat st;
	if (fd < 0) {
		return fd;
	}
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	if ((uint64_t)st.st_dev != lab->ns_dev || !dr_lab_fid_is_ino(fid, (uint64_t)st.st_ino)) {
		return -ENOENT;
	}
	int r = dr_lab_fid_of_ino(lab, fd, (uint64_t)st.st_ino, &found);
	return r < 0 ? r : dr_fid_equal(&found, fid) ? 0 : -ENOENT;
}

/* What the kernel calls an open file, relative to the name space. @return its length, 0: it has no such name */
static size_t kernel_name(const struct dr_lab *lab, int fd, char *buf, size_t size)
{
	char link[64], root[PATH_MAX];
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", lab->ns_fd);
	ssize_t root_len = readlink(link, root, sizeof(root));
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, buf, size - 1);
	if (root_len <= 0 || root_len == (ssize_t)sizeof(root) || len <= root_len + 1 ||
		len == (ssize_t)size - 1 || memcmp(buf, root, (size_t)root_len) != 0 ||
		buf[root_len] != '/') {
		return 0;
	}
	len -= root_len + 1;
	memmove(buf, buf + root_len + 1, (size_t)len);
	buf[len] = '\0';
	return (size_t)len;
}

/* @return 1 appended; 0 the kernel knows no path that is right */
static int by_kernel(struct dr_lab *lab, int fd, const struct dr_fid *fid, struct dr_buf *out)
{
	char path[PATH_MAX];
	size_t len = kernel_name(lab, fd, path, sizeof(path));
	char *slash = len > 0 ? memrchr(path, '/', len) : NULL;
	size_t dir_len = slash ? (size_t)(slash - path) : 0;
	if (len == 0) {
		return 0;
	}
	int dir dr_cleanup(dr_fd_closep) = dr_open_dir_beneath(lab->ns_fd, path, dir_len);
	if (dir < 0 || is_name_of(lab, dir, slash ? slash + 1 : path, fid) < 0) {
		return 0;
	}
	dr_buf_put(out, path, len);
	return 1;
}

/* Looks through one directory, and puts those in it on the stack. @return 1 the file is there; *path is its path then */
static int look_into(struct dr_lab *lab, const struct dr_fid *fid, const char *at,
	struct dr_buf *path, struct paths *stack)
{
	struct dr_local_dir dir dr_cleanup(dr_local_dir_fini) = { .fd = -EBADF };
	int r = dr_local_dir_open(lab->ns_fd, lab->ns_dev, at, strlen(at), &dir);
	if (r < 0) {
		/* Gone or replaced since its name was read; another file system holds no file of the lab. */
		return r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EXDEV ? 0 : r;
	}
	for (;;) {
		struct dr_entry entry;
		r = dr_local_dir_next(&dir, &entry);
		if (r <= 0) {
			return r;
		}
		dr_buf_clear(path);
		dr_buf_put(path, at, strlen(at));
		dr_buf_put(path, "/", path->len > 0);
		dr_buf_put(path, entry.name, entry.name_len);
		if (dr_lab_fid_is_ino(fid, entry.ino)) {
			r = is_name_of(lab, dir.fd, entry.name, fid);
			if (r != -ENOENT) {
				return r < 0 ? r : 1;
			}
		}
		if (entry.type == DR_TYPE_DIR) {
			push(stack, path);
		}
	}
}

static int by_walk(struct dr_lab *lab, const struct dr_fid *fid, struct dr_buf *out)
{
	struct paths stack dr_cleanup(paths_fini) = { 0 };
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	int r = 0;
	dr_buf_put(&path, "", 1);
	path.len = 0;
	push(&stack, &path);
	while (r == 0 && stack.n > 0) {
		char *at dr_cleanup(dr_freep) = stack.v[--stack.n];
		r = look_into(lab, fid, at, &path, &stack);
	}
	if (r > 0) {
		dr_buf_put(out, path.data, path.len);
	}
	return r < 0 ? r : r > 0 ? 0 : -ENOENT;
}

int dr_lab_fid_path(struct dr_lab *lab, const struct dr_fid *fid, struct dr_buf *out)
{
	if (fid->seq < DR_LAB_SEQ || fid->seq - DR_LAB_SEQ > UINT32_MAX) {
		return -ENOENT;
	}
	int fd dr_cleanup(dr_fd_closep) = dr_lab_fid_open(lab, fid);
	if (fd == -ENOENT) {
		return -ENOENT;
	}
	/* Where FIDs cannot be opened, or this one not now, its name is found all the same. */
	return fd >= 0 && by_kernel(lab, fd, fid, out) ? 0 : by_walk(lab, fid, out);
}
