/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "fs/tree_lustre.h"
#include "work/clone_layout.h"
#include "work/clone_priv.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

/* The tick of the clock that files get their times from is a jiffy, 10 ms at most. */
#define TICK_NS INT64_C(10000000)
#define SECOND_NS INT64_C(1000000000)
#define CREATE_TRIES 4

int dr_clone_begin(struct dr_cloner *cloner)
{
	int r = dr_meta_keeps_projects(cloner->from->fd);

	if (r >= 0) {
		cloner->no_projects = r == 0;
	}
	return r < 0 ? r : 0;
}

int dr_clone_enter(struct dr_cloner *cloner, int to_fd)
{
	struct dr_meta meta dr_cleanup(dr_meta_fini) = { .no_projects = cloner->no_projects };
	int r = dr_meta_read(to_fd, "", to_fd, &meta);
	struct dr_cur cur = dr_cur_of(meta.xattrs.data, meta.xattrs.len);
	struct dr_meta_attr attr;

	cloner->is_bare = r == 0 && !meta.project_inherits;
	cloner->bare_fd = to_fd;
	while (cloner->is_bare && dr_meta_next_attr(&cur, &attr)) {
		cloner->is_bare = strcmp(attr.name, DR_META_DEFAULT_ACL) != 0;
	}
	return r;
}

int dr_clone_open(int from_fd, const char *name)
{
	/* O_NONBLOCK: it may have become a fifo meanwhile. */
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(from_fd, name, flags | O_NOATIME);

	if (fd < 0 && errno == EPERM) {
		fd = openat(from_fd, name, flags);
	}
	if (fd < 0) {
		return errno == ELOOP || errno == ENXIO ? -ESTALE
		       : errno == EAGAIN                ? -EBUSY /* a write lease */
							: -errno;
	}
	return fd;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool dr_clone_stamp_is(const struct dr_clone_stamp *stamp, const struct stat *st)
{
	return stamp->ino == st->st_ino && stamp->size == (uint64_t)st->st_size &&
	       same_time(&stamp->mtime, &st->st_mtim) && same_time(&stamp->ctime, &st->st_ctim);
}

bool dr_clone_let_tick(const struct dr_cloner *cloner, const struct timespec *ctime)
{
	int64_t tick = cloner->from->time_ns > TICK_NS ? cloner->from->time_ns : TICK_NS;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	/* A clock that is far off tells nothing, and waiting for it helps nobody. */
	if (now.tv_sec - ctime->tv_sec > 60 || ctime->tv_sec - now.tv_sec > 1) {
		return false;
	}
	int64_t age = (now.tv_sec - ctime->tv_sec) * SECOND_NS + now.tv_nsec - ctime->tv_nsec;
	int64_t left = tick - age < tick ? tick - age : tick;

	bool waits = left > 0;

	while (left > 0 &&
		!(cloner->stop && atomic_load_explicit(cloner->stop, memory_order_relaxed))) {
		int64_t some = left < 5 * TICK_NS ? left : 5 * TICK_NS;

		dr_sleep_ms((unsigned)((some + 999999) / 1000000));
		left -= some;
	}
	return waits;
}

int dr_clone_attrs_error(int to_fd, int error, enum dr_meta_part part)
{
	struct statvfs fs;

	if (error == -ENOSPC && part == DR_META_XATTRS && fstatvfs(to_fd, &fs) == 0 &&
		fs.f_bavail > 0) {
		return -E2BIG;
	}
	return error;
}

int dr_clone_create(const struct dr_cloner *cloner, const struct dr_clone_temp *temp, int from,
	uint64_t size, bool is_shared)
{
	struct dr_buf layout dr_cleanup(dr_buf_fini) = { 0 };
	int r = cloner->to->kind == DR_FS_LUSTRE && cloner->layouts
			? dr_clone_layout_for(cloner->layouts, from, size, &layout)
			: 0;
	size_t len = layout.len;

	if (r < 0) {
		return r;
	}
	for (int tries = 0; tries < CREATE_TRIES; tries++) {
		r = dr_tree_create(temp->dir_fd, temp->name, 0600, layout.data, len);
		if (r == -EEXIST && !is_shared) {
			/* Our own, of an earlier job that ended in the middle. */
			(void)unlinkat(temp->dir_fd, temp->name, 0);
		} else if ((r == -EINVAL || r == -EOPNOTSUPP) && len) {
			len = 0; /* this Lustre cannot have it so: the data counts for more */
		} else {
			break;
		}
	}
	return r;
}

int dr_clone_create_nameless(
	struct dr_cloner *cloner, const struct dr_clone_temp *temp, uint32_t mode)
{
	int fd = openat(temp->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode & 0777);

	if (fd >= 0) {
		return fd;
	}
	/* EISDIR: a file system or a kernel that does not know the flag. */
	cloner->no_nameless = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL ||
			      errno == ENOENT || errno == EPERM || errno == EACCES;
	return -errno;
}

int dr_clone_dress(const struct dr_cloner *cloner, const struct dr_clone_temp *temp, int fd,
	const struct dr_meta *want)
{
	enum dr_meta_part part = 0;
	bool is_bare = dr_clone_is_bare(cloner, temp->dir_fd);
	/* All that it has, in a directory that hands down nothing. No time is like these. */
	const struct dr_meta have = { .mode = temp->mode,
		.uid = temp->uid,
		.gid = temp->gid,
		.dev = temp->dev,
		.ino = temp->ino,
		.mtime = { .tv_nsec = -1 } };
	int r = dr_meta_apply(
		temp->dir_fd, temp->name, fd, want, is_bare ? &have : NULL, DR_CLONE_NEW, &part);

	return dr_clone_attrs_error(temp->dir_fd, r, part);
}

int dr_clone_lock(int to_fd, const char *name, const struct dr_meta *want)
{
	struct dr_meta have dr_cleanup(dr_meta_fini) = { .no_projects = true };
	enum dr_meta_part part = 0;
	int r = 0;

	if (want->is_immutable || want->is_append) {
		r = dr_meta_read(to_fd, name, -1, &have);
	}
	if (r == 0 && (want->is_immutable || want->is_append)) {
		r = dr_meta_apply(to_fd, name, -1, want, &have, DR_META_FLAGS, &part);
	}
	return r;
}

/* Lustre's rename gives a file the project that the directory hands down, in the directory where it was made, too. */
static int mend_project(
	const struct dr_cloner *cloner, int to_fd, const char *name, const struct dr_meta *want)
{
	struct dr_meta have dr_cleanup(dr_meta_fini) = { 0 };
	enum dr_meta_part part = 0;
	if (cloner->to->kind != DR_FS_LUSTRE || !want->has_project ||
		dr_clone_is_bare(cloner, to_fd)) {
		return 0;
	}
	int r = dr_meta_read(to_fd, name, -1, &have);

	if (r == 0 && have.project != want->project) {
		r = dr_meta_apply(to_fd, name, -1, want, &have, DR_META_PROJECT, &part);
	}
	return r;
}

int dr_clone_placed(
	const struct dr_cloner *cloner, int to_fd, const char *name, const struct dr_meta *want)
{
	int r = mend_project(cloner, to_fd, name, want);

	return r < 0 ? r : dr_clone_lock(to_fd, name, want);
}

int dr_clone_stub(const struct dr_cloner *cloner, int from)
{
	if (cloner->from->kind != DR_FS_LUSTRE || !dr_tree_is_released(from)) {
		return 0;
	}
	if (cloner->released == DR_RELEASED_COPY) {
		/* Reading restores it, and is to wait for that. */
		int flags = fcntl(from, F_GETFL);

		return flags < 0 || fcntl(from, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
	}
	return cloner->released == DR_RELEASED_STUB ? 1 : -ENODATA;
}

void dr_clone_conclude(
	struct dr_outcome *outcome, enum dr_class class, enum dr_step step, int error)
{
	outcome->class = class;
	outcome->step = step;
	outcome->error = error;
}

void dr_clone_conclude_error(struct dr_outcome *outcome, enum dr_step step, int error)
{
	enum dr_class class = dr_class_of(step, error);

	switch (-error) {
	case EFBIG: /* the target's limit of a file: no space helps */
		class = DR_REFUSED;
		break;
	case EISDIR:
	case E2BIG:
	case ERANGE:
	case EMLINK:
	case EILSEQ:
	case EINVAL:
	case ENAMETOOLONG:
		class = step == DR_STEP_OPEN || step == DR_STEP_COPY ? DR_FAILED : DR_REFUSED;
		break;
	case ENODATA:
		class = step == DR_STEP_LAYOUT ? DR_REFUSED : class;
		break;
	default:
		break;
	}
	outcome->bytes = 0;
	dr_clone_conclude(outcome, class, step, error);
}

int dr_clone_compare_times(
	const struct dr_cloner *cloner, const struct timespec *a, const struct timespec *b)
{
	struct dr_meta first = { .mtime = *a }, second = { .mtime = *b };
	uint32_t ns = cloner->from->time_ns > cloner->to->time_ns ? cloner->from->time_ns
								  : cloner->to->time_ns;

	return (dr_meta_compare(&first, &second, ns) & DR_META_TIMES) != 0;
}
