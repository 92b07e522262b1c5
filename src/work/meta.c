/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/meta.h"

#include "fs/local.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define LIST_BYTES 4096 /* of names that are read at once in most cases */
#define LIST_MAX 65536  /* XATTR_LIST_MAX, XATTR_SIZE_MAX: the kernel gives no more */
#define VALUE_BYTES 256
#define TOTAL_MAX (64u << 20)
#define TRIES 10
#define SECOND_NS 1000000000ll

void dr_meta_fini(struct dr_meta *meta)
{
	dr_buf_fini(&meta->xattrs);
}

/* ---- attributes ---- */

/*
 * An entry as the xattr calls take it: an open descriptor, or a path through the directory's, which the last component does not
 * follow when it is a symlink.
 */
struct handle {
	int fd;
	int dir_fd;
	const char *name;
	char path[NAME_MAX + 64];
};

/* Calls by directory and name, since Linux 6.13 and 6.17; the C library does not know them yet. */
#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif
#ifndef SYS_file_getattr
#define SYS_file_getattr 468
#endif
struct attr_of_file {
	uint64_t xflags;
	uint32_t extsize, nextents, projid, cowextsize;
};

static ssize_t list_names(const struct handle *at, char *list, size_t size)
{
	if (at->fd >= 0) {
		ssize_t n = flistxattr(at->fd, list, size);

		return n < 0 ? -errno : n;
	}
	long n = syscall(SYS_listxattrat, at->dir_fd, at->name, AT_SYMLINK_NOFOLLOW, list, size);

	if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
		n = llistxattr(at->path, list, size);
	}
	return n < 0 ? -errno : (ssize_t)n;
}

static ssize_t get_value(const struct handle *at, const char *name, void *value, size_t size)
{
	ssize_t n = at->fd >= 0 ? fgetxattr(at->fd, name, value, size)
				: lgetxattr(at->path, name, value, size);
	return n < 0 ? -errno : n;
}

static bool begins(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Whether an attribute is its user's, and not a file system's own book. */
static bool is_carried(const char *name)
{
	static const char *const own[] = { "lov", "lma", "lmv", "link", "fid", "hsm", "som", "dmv",
		"dataver", "version", "pin", "projid", "dummy", "lfsck_bitmap", "lfsck_ns",
		"rename_tgt", "SGI_ACL_FILE", "SGI_ACL_DEFAULT" };
	if (begins(name, "user.") || begins(name, "security.")) {
		return true;
	}
	if (begins(name, "system.")) {
		return strcmp(name, DR_META_ACL) == 0 || strcmp(name, DR_META_DEFAULT_ACL) == 0;
	}
	if (!begins(name, "trusted.")) {
		return false;
	}
	const char *rest = name + strlen("trusted.");
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		if (strcmp(rest, own[i]) == 0) {
			return false;
		}
	}
	return !begins(rest, "overlay.") && !begins(rest, "drover.");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Appends one attribute. @return -EAGAIN it is not there any more, or grew */
static int put_attr(const struct handle *at, const char *name, struct dr_buf *out)
{
	size_t len_at = out->len + strlen(name) + 1;
	dr_buf_put(out, name, strlen(name) + 1);
	dr_buf_put_u32(out, 0);
	for (size_t room = VALUE_BYTES;; room = LIST_MAX) {
		dr_buf_reserve(out, room);
		ssize_t n = get_value(at, name, out->data + out->len, room);
		if (n == -ERANGE && room < LIST_MAX) {
			continue;
		}
		if (n < 0) {
			return n == -ENODATA || n == -ERANGE ? -EAGAIN : (int)n;
		}
		for (int i = 0; i < 4; i++) {
			out->data[len_at + (size_t)i] = (uint8_t)((size_t)n >> (8 * i));
		}
		out->len += (size_t)n;
		return 0;
	}
}

/* Sorts the names that are carried to the front. @return their number, *ret_names malloc'ed unless it is 0 */
static size_t pick_names(const char *list, size_t len, const char ***ret_names)
{
	const char **names = NULL;
	size_t n = 0, cap = 0;
	for (const char *name = list; name < list + len; name += strlen(name) + 1) {
		if (!is_carried(name)) {
			continue;
		}
		if (n == cap) {
			cap = cap ? 2 * cap : 16;
			names = dr_xrealloc(names, cap * sizeof(*names));
		}
		names[n++] = name;
	}
	if (n > 1) {
		qsort(names, n, sizeof(*names), by_name);
	}
	*ret_names = names;
	return n;
}

/* One look. is_last: what is listed and cannot be read is left out, for some file systems list what they do not give. */
static int try_xattrs(const struct handle *at, struct dr_buf *out, bool is_last)
{
	char few[LIST_BYTES];
	char *many dr_cleanup(dr_freep) = NULL;
	const char *list = few;
	ssize_t len = list_names(at, few, sizeof(few));
	if (len == -ERANGE) {
		many = dr_xrealloc(NULL, LIST_MAX);
		list = many;
		len = list_names(at, many, LIST_MAX);
	}
	if (len < 0) {
		return len == -EOPNOTSUPP ? 0 : len == -ERANGE ? -EAGAIN : (int)len;
	}
	const char **names dr_cleanup(dr_freep) = NULL;
	size_t n = pick_names(list, (size_t)len, &names);
	for (size_t i = 0; i < n; i++) {
		size_t before = out->len;
		int r = put_attr(at, names[i], out);
		if (r == -EAGAIN && is_last) {
			out->len = before;
		} else if (r < 0) {
			return r;
		}
		if (out->len > TOTAL_MAX) {
			return -E2BIG;
		}
	}
	return 0;
}

static int read_xattrs(const struct handle *at, struct dr_buf *out)
{
	int r = -EAGAIN;
	/* A list that changes while it is read is read again. */
	for (int tries = 1; r == -EAGAIN && tries <= TRIES; tries++) {
		dr_buf_clear(out);
		r = try_xattrs(at, out, tries == TRIES);
	}
	return r;
}

bool dr_meta_next_attr(struct dr_cur *cur, struct dr_meta_attr *ret_attr)
{
	size_t left = dr_cur_left(cur);
	const uint8_t *end = left ? memchr(cur->p, 0, left) : NULL;
	if (!end) {
		return false;
	}
	ret_attr->name = (const char *)dr_cur_bytes(cur, (size_t)(end - cur->p) + 1);
	ret_attr->len = dr_cur_u32(cur);
	ret_attr->value = dr_cur_bytes(cur, ret_attr->len);
	return !cur->bad;
}

/* ---- all of an entry ---- */

static struct timespec time_of(const struct statx_timestamp *t)
{
	return (struct timespec){ .tv_sec = t->tv_sec, .tv_nsec = (long)t->tv_nsec };
}

static void take_stat(const struct statx *sx, struct dr_meta *meta)
{
	bool has_flags = S_ISREG(sx->stx_mode) || S_ISDIR(sx->stx_mode);
	meta->mode = sx->stx_mode;
	meta->uid = sx->stx_uid;
	meta->gid = sx->stx_gid;
	meta->nlink = sx->stx_nlink;
	meta->ino = sx->stx_ino;
	meta->dev = (uint64_t)makedev(sx->stx_dev_major, sx->stx_dev_minor);
	meta->rdev = (uint64_t)makedev(sx->stx_rdev_major, sx->stx_rdev_minor);
	meta->size = sx->stx_size;
	meta->blocks = sx->stx_blocks;
	meta->atime = time_of(&sx->stx_atime);
	meta->mtime = time_of(&sx->stx_mtime);
	meta->ctime = time_of(&sx->stx_ctime);
	meta->is_immutable = has_flags && sx->stx_attributes & STATX_ATTR_IMMUTABLE;
	meta->is_append = has_flags && sx->stx_attributes & STATX_ATTR_APPEND;
}

static bool has_none(int error)
{
	return error == ENOTTY || error == EOPNOTSUPP || error == EINVAL || error == ENOSYS;
}

static int read_project(int dir_fd, const char *name, int fd, struct dr_meta *meta)
{
	int own dr_cleanup(dr_fd_closep) = -EBADF;
	struct fsxattr attr = { 0 };
	struct attr_of_file at = { 0 };
	if (fd < 0 && syscall(SYS_file_getattr, dir_fd, name, &at, sizeof(at),
			      AT_SYMLINK_NOFOLLOW) == 0) {
		meta->has_project = true;
		meta->project = at.projid;
		meta->project_inherits = S_ISDIR(meta->mode) && at.xflags & FS_XFLAG_PROJINHERIT;
		return 0;
	}
	if (fd < 0) {
		own = dr_local_open(dir_fd, name);
		fd = own;
	}
	if (fd < 0) {
		return fd;
	}
	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0) {
		return has_none(errno) ? 0 : -errno;
	}
	meta->has_project = true;
	meta->project = attr.fsx_projid;
	meta->project_inherits = S_ISDIR(meta->mode) && attr.fsx_xflags & FS_XFLAG_PROJINHERIT;
	return 0;
}

int dr_meta_keeps_projects(int fd)
{
	struct fsxattr attr;
	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0) {
		return has_none(errno) ? 0 : -errno;
	}
	return 1;
}

int dr_meta_read(int dir_fd, const char *name, int fd, struct dr_meta *meta)
{
	struct handle at = { .fd = fd, .dir_fd = dir_fd, .name = name };
	struct statx sx;
	if (fd < 0 && !*name) {
		at.fd = fd = dir_fd;
	}
	int r = fd >= 0 ? statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx)
			: statx(dir_fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &sx);
	if (r < 0) {
		return -errno;
	}
	take_stat(&sx, meta);
	if (fd < 0) {
		int len = snprintf(at.path, sizeof(at.path), "/proc/self/fd/%d/%s", dir_fd, name);
		if (len < 0 || (size_t)len >= sizeof(at.path)) {
			return -ENAMETOOLONG;
		}
	}
	r = read_xattrs(&at, &meta->xattrs);
	/* Where there is no /proc nothing is gone. */
	if (r == -ENOENT && access("/proc/self/fd", F_OK) < 0) {
		return -ENOSYS;
	}
	meta->has_project = false;
	meta->project = 0;
	meta->project_inherits = false;
	if (r < 0 || meta->no_projects || (!S_ISREG(meta->mode) && !S_ISDIR(meta->mode))) {
		return r;
	}
	return read_project(dir_fd, name, fd, meta);
}

/* ---- comparing ---- */

static bool same_time(const struct timespec *a, const struct timespec *b, uint32_t time_ns)
{
	if (time_ns <= 1) {
		return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
	}
	/* Whole multiples, counted from the nearest even second below: no product that could overflow. */
	int64_t base = (a->tv_sec < b->tv_sec ? a->tv_sec : b->tv_sec) & ~(int64_t)1;
	int64_t far = 2 + time_ns / SECOND_NS;
	int64_t quarters = a->tv_sec / 4 - b->tv_sec / 4;
	if (quarters > far || quarters < -far) {
		return false;
	}
	int64_t a_ns = (a->tv_sec - base) * SECOND_NS + a->tv_nsec;
	int64_t b_ns = (b->tv_sec - base) * SECOND_NS + b->tv_nsec;
	return a_ns / time_ns == b_ns / time_ns;
}

/* A label that one side alone has: its host labels every file, or none. */
static bool same_xattrs(const struct dr_meta *a, const struct dr_meta *b)
{
	if (a->xattrs.len == b->xattrs.len &&
		(a->xattrs.len == 0 ||
			memcmp(a->xattrs.data, b->xattrs.data, a->xattrs.len) == 0)) {
		return true;
	}
	struct dr_cur ca = dr_cur_of(a->xattrs.data, a->xattrs.len);
	struct dr_cur cb = dr_cur_of(b->xattrs.data, b->xattrs.len);
	struct dr_meta_attr x, y;
	bool has_x = dr_meta_next_attr(&ca, &x), has_y = dr_meta_next_attr(&cb, &y);
	while (has_x || has_y) {
		int order = !has_y ? -1 : !has_x ? 1 : strcmp(x.name, y.name);
		if (order == 0 && (x.len != y.len || memcmp(x.value, y.value, x.len) != 0)) {
			return false;
		}
		if (order != 0 && strcmp(order < 0 ? x.name : y.name, DR_META_LABEL) != 0) {
			return false;
		}
		has_x = order <= 0 ? dr_meta_next_attr(&ca, &x) : has_x;
		has_y = order >= 0 ? dr_meta_next_attr(&cb, &y) : has_y;
	}
	return true;
}

unsigned dr_meta_compare(const struct dr_meta *a, const struct dr_meta *b, uint32_t time_ns)
{
	unsigned parts = 0;
	if (a->uid != b->uid || a->gid != b->gid) {
		parts |= DR_META_OWNER;
	}
	/* A symlink's mode means nothing, and is not to be set. */
	if (a->mode != b->mode && !(S_ISLNK(a->mode) && S_ISLNK(b->mode))) {
		parts |= DR_META_MODE;
	}
	if (!same_xattrs(a, b)) {
		parts |= DR_META_XATTRS;
	}
	/* A source that tells none has no say; a target that tells none has 0. */
	if (a->has_project &&
		(a->project != b->project || a->project_inherits != b->project_inherits)) {
		parts |= DR_META_PROJECT;
	}
	if (a->is_immutable != b->is_immutable || a->is_append != b->is_append) {
		parts |= DR_META_FLAGS;
	}
	if (!same_time(&a->mtime, &b->mtime, time_ns)) {
		parts |= DR_META_TIMES;
	}
	return parts;
}
