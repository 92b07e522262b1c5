/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/local.h"
#include "work/meta.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define CAPABILITY "security.capability"

/* What is changed: a descriptor of the entry, its own path through /proc where that is one of O_PATH, which most calls refuse. */
struct entry {
	int fd;
	char path[32]; /* "" when fd serves everything */
	const struct dr_meta *want, *have;
	unsigned parts;
	bool chowned;       /* setuid bits and capabilities are gone */
	bool flags_are_off; /* for the time of the change */
};

/* ---- single calls ---- */

static int do_chown(const struct entry *entry)
{
	const struct dr_meta *want = entry->want;
	int r = *entry->path ? fchownat(entry->fd, "", want->uid, want->gid, AT_EMPTY_PATH)
			     : fchown(entry->fd, want->uid, want->gid);
	return r < 0 ? -errno : 0;
}

static int do_chmod(const struct entry *entry, uint32_t mode)
{
	mode &= 07777;
	int r = *entry->path ? chmod(entry->path, mode) : fchmod(entry->fd, mode);
	return r < 0 ? -errno : 0;
}

static int do_set(const struct entry *entry, const struct dr_meta_attr *attr)
{
	int r = *entry->path ? setxattr(entry->path, attr->name, attr->value, attr->len, 0)
			     : fsetxattr(entry->fd, attr->name, attr->value, attr->len, 0);
	/* A host without labels does without; so it is where the label is the policy's to give. */
	if (r < 0 && strcmp(attr->name, DR_META_LABEL) == 0 && errno == EOPNOTSUPP) {
		return 0;
	}
	return r < 0 ? -errno : 0;
}

static int do_remove(const struct entry *entry, const char *name)
{
	int r = *entry->path ? removexattr(entry->path, name) : fremovexattr(entry->fd, name);
	return r < 0 && errno != ENODATA ? -errno : 0;
}

static int do_times(const struct entry *entry)
{
	const struct timespec times[2] = { entry->want->atime, entry->want->mtime };
	int r = *entry->path ? utimensat(AT_FDCWD, entry->path, times, 0)
			     : futimens(entry->fd, times);
	return r < 0 ? -errno : 0;
}

static int unsupported(int error)
{
	return error == ENOTTY || error == EINVAL || error == ENOSYS ? -EOPNOTSUPP : -error;
}

/* The entry open for ioctls. own: what the caller has to close */
static int open_for_ioctl(const struct entry *entry, int *own)
{
	if (!*entry->path) {
		return entry->fd;
	}
	*own = open(entry->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return *own < 0 ? -errno : *own;
}

/*
 * Gives the entry the immutable and append-only flags of meta; NULL: neither. By the older of the two calls: Lustre refuses the other one
 * on what is immutable.
 */
static int do_flags(const struct entry *entry, const struct dr_meta *meta)
{
	int own dr_cleanup(dr_fd_closep) = -EBADF;
	int flags = 0;
	int fd = open_for_ioctl(entry, &own);
	if (fd < 0) {
		return fd;
	}
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) {
		return unsupported(errno);
	}
	flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
	flags |= meta && meta->is_immutable ? FS_IMMUTABLE_FL : 0;
	flags |= meta && meta->is_append ? FS_APPEND_FL : 0;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? unsupported(errno) : 0;
}

static int do_project(const struct entry *entry)
{
	const struct dr_meta *want = entry->want;
	int own dr_cleanup(dr_fd_closep) = -EBADF;
	struct fsxattr attr = { 0 };
	int fd = open_for_ioctl(entry, &own);
	if (fd < 0) {
		return fd;
	}
	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0) {
		return unsupported(errno);
	}
	attr.fsx_projid = want->project;
	attr.fsx_xflags &= ~(uint32_t)FS_XFLAG_PROJINHERIT;
	attr.fsx_xflags |= want->project_inherits ? FS_XFLAG_PROJINHERIT : 0;
	return ioctl(fd, FS_IOC_FSSETXATTR, &attr) < 0 ? unsupported(errno) : 0;
}

/* ---- parts ---- */

static bool find_attr(const struct dr_meta *meta, const char *name, struct dr_meta_attr *ret_attr)
{
	struct dr_cur cur =
		meta ? dr_cur_of(meta->xattrs.data, meta->xattrs.len) : dr_cur_of("", 0);
	struct dr_meta_attr attr;
	while (dr_meta_next_attr(&cur, &attr)) {
		if (strcmp(attr.name, name) == 0) {
			*ret_attr = attr;
			return true;
		}
	}
	return false;
}

static int apply_owner(struct entry *entry)
{
	const struct dr_meta *want = entry->want, *have = entry->have;
	if (have && have->uid == want->uid && have->gid == want->gid) {
		return 0;
	}
	entry->chowned = true;
	return do_chown(entry);
}

static int apply_mode(const struct entry *entry)
{
	const struct dr_meta *have = entry->have;
	bool asked = entry->parts & DR_META_MODE;
	if (S_ISLNK(entry->want->mode) || (!asked && !have)) {
		return 0;
	}
	uint32_t mode = asked ? entry->want->mode : have->mode;
	bool was_stripped = entry->chowned && mode & (S_ISUID | S_ISGID);
	/* A new access ACL changes the bits; they are set first, and agree with it when they were read together. */
	if (have && (have->mode & 07777) == (mode & 07777) && !was_stripped) {
		return 0;
	}
	return do_chmod(entry, mode);
}

/* A change of owner took the capabilities. */
static bool is_taken(const struct entry *entry, const struct dr_meta_attr *attr)
{
	return entry->chowned && strcmp(attr->name, CAPABILITY) == 0;
}

static int apply_xattrs(const struct entry *entry)
{
	const struct dr_meta *want = entry->want, *have = entry->have;
	struct dr_cur cw = dr_cur_of(want->xattrs.data, want->xattrs.len);
	struct dr_cur ch = have ? dr_cur_of(have->xattrs.data, have->xattrs.len) : dr_cur_of("", 0);
	struct dr_meta_attr w, h;
	bool has_w = dr_meta_next_attr(&cw, &w), has_h = dr_meta_next_attr(&ch, &h);
	int r = 0;
	while (r == 0 && (has_w || has_h)) {
		int order = !has_h ? -1 : !has_w ? 1 : strcmp(w.name, h.name);
		bool same = order == 0 && w.len == h.len && memcmp(w.value, h.value, w.len) == 0;
		if (order > 0 && strcmp(h.name, DR_META_LABEL) != 0) {
			r = do_remove(entry, h.name);
		} else if (order <= 0 && (!same || is_taken(entry, &w))) {
			r = do_set(entry, &w);
		}
		has_w = order <= 0 ? dr_meta_next_attr(&cw, &w) : has_w;
		has_h = order >= 0 ? dr_meta_next_attr(&ch, &h) : has_h;
	}
	return r;
}

/* What a change of owner took along, where attributes are not asked for. */
static int restore_capability(const struct entry *entry)
{
	struct dr_meta_attr attr;
	if (!entry->chowned || !find_attr(entry->have, CAPABILITY, &attr)) {
		return 0;
	}
	return do_set(entry, &attr);
}

static bool has_ioctls(const struct dr_meta *meta)
{
	return S_ISREG(meta->mode) || S_ISDIR(meta->mode);
}

static int apply_project(const struct entry *entry)
{
	const struct dr_meta *want = entry->want, *have = entry->have;
	uint32_t now = have ? have->project : 0;
	bool inherits_now = have && have->project_inherits;
	if (!want->has_project || !has_ioctls(want) ||
		(want->project == now && want->project_inherits == inherits_now)) {
		return 0;
	}
	return do_project(entry);
}

static int apply_times(const struct entry *entry)
{
	const struct timespec *want = &entry->want->mtime;
	const struct dr_meta *have = entry->have;
	if (have && have->mtime.tv_sec == want->tv_sec && have->mtime.tv_nsec == want->tv_nsec) {
		return 0;
	}
	return do_times(entry);
}

static int apply_flags(struct entry *entry)
{
	const struct dr_meta *wish = entry->parts & DR_META_FLAGS ? entry->want : entry->have;
	bool immutable_now = entry->have && !entry->flags_are_off && entry->have->is_immutable;
	bool append_now = entry->have && !entry->flags_are_off && entry->have->is_append;
	if (!wish || !has_ioctls(wish) ||
		(wish->is_immutable == immutable_now && wish->is_append == append_now)) {
		return 0;
	}
	int r = do_flags(entry, wish);
	entry->flags_are_off = entry->flags_are_off && r < 0;
	return r;
}

static int apply_all(struct entry *entry, enum dr_meta_part *ret_part)
{
	const struct dr_meta *have = entry->have;
	int r = 0;
	enum dr_meta_part part = DR_META_FLAGS;
	if (have && (have->is_immutable || have->is_append) && has_ioctls(have)) {
		r = do_flags(entry, NULL);
		entry->flags_are_off = r == 0;
	}
	if (r == 0 && entry->parts & DR_META_OWNER) {
		part = DR_META_OWNER;
		r = apply_owner(entry);
	}
	if (r == 0) {
		part = DR_META_MODE;
		r = apply_mode(entry);
	}
	if (r == 0) {
		part = DR_META_XATTRS;
		r = entry->parts & DR_META_XATTRS ? apply_xattrs(entry) : restore_capability(entry);
	}
	if (r == 0 && entry->parts & DR_META_PROJECT) {
		part = DR_META_PROJECT;
		r = apply_project(entry);
	}
	if (r == 0 && entry->parts & DR_META_TIMES) {
		part = DR_META_TIMES;
		r = apply_times(entry);
	}
	if (r == 0) {
		part = DR_META_FLAGS;
		r = apply_flags(entry);
	}
	*ret_part = part;
	return r;
}

/* ---- the whole ---- */

/* Holds the entry of a name, if that is what the caller means. */
static int open_entry(struct entry *entry, int dir_fd, const char *name)
{
	struct stat st;
	entry->fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (entry->fd < 0 || fstat(entry->fd, &st) < 0) {
		return -errno;
	}
	if ((st.st_mode ^ entry->want->mode) & S_IFMT ||
		(entry->have && entry->have->ino != (uint64_t)st.st_ino)) {
		return -ESTALE;
	}
	(void)snprintf(entry->path, sizeof(entry->path), "/proc/self/fd/%d", entry->fd);
	return 0;
}

int dr_meta_apply(int dir_fd, const char *name, int fd, const struct dr_meta *want,
	const struct dr_meta *have, unsigned parts, enum dr_meta_part *ret_part)
{
	struct dr_meta now dr_cleanup(dr_meta_fini) = { .no_projects = !want->has_project };
	struct entry entry = { .fd = fd, .want = want, .have = have, .parts = parts };
	enum dr_meta_part part = DR_META_OWNER;
	int r = 0;
	if (fd < 0 && !*name) {
		entry.fd = dir_fd;
	} else if (fd < 0) {
		r = open_entry(&entry, dir_fd, name);
	}
	if (r == 0 && !have) {
		/* A default ACL and a project come from its directory. */
		r = dr_meta_read(dir_fd, name, fd, &now);
		entry.have = &now;
	}
	r = r < 0 ? r : apply_all(&entry, &part);
	if (r < 0 && entry.flags_are_off) {
		(void)do_flags(&entry, entry.have);
	}
	if (fd < 0 && *name) {
		dr_fd_closep(&entry.fd);
	}
	if (r < 0) {
		*ret_part = part;
	}
	return r;
}
