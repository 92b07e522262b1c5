/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_prune.h"

#include "base/log.h"
#include "base/text.h"
#include "work/name_set.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define ASK_EVERY 64 /* entries below an absent directory, between two questions about it */
#define FORBIDS (FS_IMMUTABLE_FL | FS_APPEND_FL)

/*
 * A directory of the target that is being looked through. The first is the one that was given; those after it are absent from the source, each an entry of the one
 * before. Only the last is open: ".." leads back, and is compared with what was left.
 */
struct level {
	size_t path_len; /* of run->path, that far it is this directory's */
	uint64_t dev, ino;
	struct dr_buf dirs; /* names, each with its NUL, of directories to go into */
	size_t at;          /* in dirs, the next one */
	/* Names that could not be removed. What is kept is asked for again. */
	struct dr_name_set left;
	bool again; /* to be read, the first time or once more: removing while reading may hide entries */
	bool stays; /* something in it does */
	int flags;  /* that were taken off */
};

struct run {
	struct dr_prune *prune;
	int from_fd, to_fd; /* lent */
	bool looks_only;
	uint64_t most;
	int fd; /* of the last level; to_fd in the first */
	struct level *levels;
	size_t depth, cap;
	struct dr_buf path;        /* below the directory that was given */
	struct dr_name_set source; /* what the source has in the first level */
	char *top;                 /* the name of the second level's directory */
	bool top_stays;   /* the source has it by now, or does not say: nothing more of it goes */
	unsigned unasked; /* entries since the last question */
	int end;          /* negative errno that ends all, from within a read */
};

static struct level *here(const struct run *run)
{
	return &run->levels[run->depth - 1];
}

static void push(struct run *run, int fd, const struct stat *st)
{
	if (run->depth == run->cap) {
		run->cap = run->cap ? run->cap * 2 : 8;
		run->levels = dr_xrealloc(run->levels, run->cap * sizeof(*run->levels));
	}
	run->levels[run->depth++] = (struct level){ .path_len = run->path.len,
		.dev = (uint64_t)st->st_dev,
		.ino = (uint64_t)st->st_ino,
		.again = true };
	run->fd = fd;
}

static void pop(struct run *run)
{
	struct level *level = here(run);

	dr_buf_fini(&level->dirs);
	dr_name_set_fini(&level->left);
	run->depth--;
	if (run->depth == 1) {
		free(run->top);
		run->top = NULL;
		run->top_stays = false;
	}
}

/* Makes the path that of an entry of the last level. */
static void set_path(struct run *run, const char *name, size_t len)
{
	run->path.len = here(run)->path_len;
	if (run->path.len > 0) {
		dr_buf_put(&run->path, "/", 1);
	}
	dr_buf_put(&run->path, name, len);
}

/* Entry or directory: what run->path says. */
static void fail(struct run *run, int error, const char *what)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	char link[64], dir[PATH_MAX];

	run->prune->n_errors++;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", run->to_fd);
	ssize_t n = readlink(link, dir, sizeof(dir));

	dr_text_escape(&text, dir, n > 0 ? (size_t)n : 0);
	dr_buf_put(&text, "/", 1);
	dr_text_escape(&text, run->path.data, run->path.len);
	const char *name = strerrorname_np(-error);

	dr_log(DR_LOG_WARNING, "not-deleted",
		"path=\"%s\" step=%s error=%s next=\"left in the target\"", dr_buf_cstr(&text),
		what, name ? name : "unknown");
}

/* An entry of the last level, whose path is set, stays. */
static void leave_alone(struct run *run, const char *name, size_t len)
{
	dr_name_set_add(&here(run)->left, name, len);
	here(run)->stays = true;
}

static void fail_entry(struct run *run, const char *name, size_t len, int error, const char *what)
{
	fail(run, error, what);
	leave_alone(run, name, len);
}

/* ---- the invariant ---- */

/* Asks the source itself. Of an error nothing follows but that it is no ENOENT. */
static bool is_absent(struct run *run, const char *name, bool is_dir)
{
	const struct dr_prune *prune = run->prune;
	struct stat st;

	if (fstatat(run->from_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		return is_dir && !S_ISDIR(st.st_mode) && prune->replaces &&
		       prune->replaces(prune->arg, name, strlen(name));
	}
	if (errno != ENOENT) {
		fail(run, -errno, "ask-source");
		return false;
	}
	return true;
}

/*
 * Whether the source has nothing of that entry of the last level: itself, or what it lies below. Every removal comes after this, with nothing between but the bound;
 * a read of the source has left its names in the first level before.
 * @param is_dir one is asked for in any case; else below the first level once in a while
 */
static bool may_go(struct run *run, const char *name, size_t len, bool is_dir)
{
	if (run->depth == 1) {
		if (is_absent(run, name, is_dir)) {
			return true;
		}
		leave_alone(run, name, len);
		return false;
	}
	if (is_dir || ++run->unasked >= ASK_EVERY) {
		run->unasked = 0;
		run->top_stays = run->top_stays || !is_absent(run, run->top, true);
	}
	return !run->top_stays;
}

static bool is_bounded(const struct run *run)
{
	return run->prune->n_removed >= run->most;
}

static bool is_stopping(const struct run *run)
{
	const _Atomic bool *stop = run->prune->cloner->stop;

	return stop && atomic_load_explicit(stop, memory_order_relaxed);
}

/* ---- flags that forbid removing ---- */

/* @return those that were taken off; 0: none were there, or they cannot be */
static int thaw(int fd)
{
	int flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & FORBIDS)) {
		return 0;
	}
	int rest = flags & ~FORBIDS;

	return ioctl(fd, FS_IOC_SETFLAGS, &rest) < 0 ? 0 : flags & FORBIDS;
}

static void freeze(int fd, int taken)
{
	int flags = 0;

	if (taken && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= taken;
		(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
}

/* Only files and directories have flags, and opening anything else may do something. */
static int open_for_flags(int dir_fd, const char *name)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return -errno;
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		return -EOPNOTSUPP;
	}
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int unlink_once(int dir_fd, const char *name, int how)
{
	return unlinkat(dir_fd, name, how) < 0 ? -errno : 0;
}

static int unlink_here(struct run *run, const char *name, int how)
{
	int r = unlink_once(run->fd, name, how);

	if (r != -EPERM && r != -EACCES) {
		return r;
	}
	int taken = thaw(run->fd);

	if (taken) {
		here(run)->flags |= taken;
		r = unlink_once(run->fd, name, how);
		if (r != -EPERM && r != -EACCES) {
			return r;
		}
	}
	int fd dr_cleanup(dr_fd_closep) = open_for_flags(run->fd, name);

	taken = fd < 0 ? 0 : thaw(fd);
	if (taken) {
		r = unlink_once(run->fd, name, how);
		if (r < 0) {
			freeze(fd, taken);
		}
	}
	return r;
}

/* ---- entries ---- */

static void count(struct run *run, enum dr_type type)
{
	struct dr_prune *prune = run->prune;

	prune->n_removed++;
	if (prune->tell) {
		prune->tell(prune->arg, dr_buf_cstr(&run->path), run->path.len, type);
	}
}

/* Removes an entry of the last level, whose path is set. @error those that end all */
static int take_out(struct run *run, const char *name, size_t len, enum dr_type type)
{
	bool is_dir = type == DR_TYPE_DIR;

	if (!may_go(run, name, len, is_dir)) {
		return 0;
	}
	if (is_bounded(run)) {
		return -EDQUOT;
	}
	if (run->looks_only) {
		count(run, type);
		return 0;
	}
	int r = unlink_here(run, name, is_dir ? AT_REMOVEDIR : 0);

	here(run)->again = true;
	if (r == 0) {
		count(run, type);
	} else if (r == -EISDIR && !is_dir) {
		dr_buf_put(&here(run)->dirs, name, len + 1); /* it is one by now */
	} else if (r == -ENOENT) {
		/* Gone by itself; one that is listed all the same shall not be tried for ever. */
		dr_name_set_add(&here(run)->left, name, len);
	} else {
		fail_entry(run, name, len, r, is_dir ? "rmdir" : "unlink");
	}
	return 0;
}

/* @return false the entry is gone, or nobody knows what it is */
static bool learn_type(struct run *run, const char *name, size_t len, enum dr_type *type)
{
	struct stat st;

	if (*type != DR_TYPE_UNKNOWN) {
		return true;
	}
	if (fstatat(run->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT) {
			fail_entry(run, name, len, -errno, "stat");
		}
		return false;
	}
	*type = S_ISDIR(st.st_mode)   ? DR_TYPE_DIR
		: S_ISREG(st.st_mode) ? DR_TYPE_FILE
		: S_ISLNK(st.st_mode) ? DR_TYPE_LINK
				      : DR_TYPE_OTHER;
	return true;
}

/* But for what is no directory there and one here. */
static bool is_in_source(struct run *run, const char *name, size_t len, enum dr_type type)
{
	if (run->depth > 1 || !dr_name_set_has(&run->source, name, len)) {
		return false;
	}
	return type != DR_TYPE_DIR || !run->prune->replaces || !is_absent(run, name, true);
}

/* @return 1 ends the read: run->end says whether it ends all, else this top stays */
static int on_target(void *arg, const char *name, size_t len, enum dr_type type, uint64_t ino)
{
	struct run *run = arg;
	const struct dr_prune *prune = run->prune;
	struct level *level = here(run);

	(void)ino;
	if (is_stopping(run)) {
		run->end = -ECANCELED;
		return 1;
	}
	if (dr_name_set_has(&level->left, name, len) || is_in_source(run, name, len, type)) {
		return 0;
	}
	set_path(run, name, len);
	if (prune->keeps && prune->keeps(prune->arg, dr_buf_cstr(&run->path), run->path.len)) {
		level->stays = true;
		return 0;
	}
	if (!learn_type(run, name, len, &type)) {
		return 0;
	}
	if (type == DR_TYPE_DIR) {
		dr_buf_put(&level->dirs, name, len + 1);
		return 0;
	}
	run->end = take_out(run, name, len, type);
	return run->end < 0 || run->top_stays ? 1 : 0;
}

static int on_source(void *arg, const char *name, size_t len, enum dr_type type, uint64_t ino)
{
	struct run *run = arg;

	(void)type;
	(void)ino;
	dr_name_set_add(&run->source, name, len);
	return is_stopping(run) ? 1 : 0;
}

/* ---- directories ---- */

static int read_dir(const struct run *run, int fd, dr_tree_entry_fn *fn, void *arg)
{
	return run->prune->read ? run->prune->read(fd, fn, arg) : dr_tree_read(fd, fn, arg);
}

/* Looks through the last level once: its files go, its directories wait for their turn. @error those that end all */
static int read_level(struct run *run)
{
	struct level *level = here(run);

	level->again = false;
	level->at = 0;
	dr_buf_clear(&level->dirs);
	run->path.len = level->path_len;
	if (run->depth > 2 && !may_go(run, NULL, 0, true)) {
		return 0;
	}
	run->end = 0;
	int r = read_dir(run, run->fd, on_target, run);

	if (r > 0) {
		return run->end;
	}
	if (r < 0 && run->depth == 1) {
		return r;
	}
	if (r < 0) {
		run->path.len = level->path_len;
		fail(run, r, "read");
		level->stays = true;
		level->again = false;
		dr_buf_clear(&level->dirs);
	} else if (level->dirs.len > 0) {
		level->again = true;
	}
	/* What is only looked at does not go, and would be counted again. */
	level->again = level->again && !run->looks_only;
	return 0;
}

/* Opens an entry of the last level: never through a symlink, never another mount. */
static int open_child(const struct run *run, const char *name, size_t len, struct stat *ret_st)
{
	/* To the tree's functions every directory of it that is held is as good as its first. */
	struct dr_tree at = *run->prune->cloner->to;

	at.fd = run->fd;
	int fd dr_cleanup(dr_fd_closep) = dr_tree_dir(&at, name, len);

	if (fd < 0) {
		return fd;
	}
	return fstat(fd, ret_st) < 0 ? -errno : dr_steal_fd(&fd);
}

/* Goes into the next directory of the last level. */
static void descend(struct run *run)
{
	struct level *level = here(run);
	const char *name = (const char *)level->dirs.data + level->at;
	size_t len = strlen(name);
	struct stat st;

	level->at += len + 1;
	set_path(run, name, len);
	if (run->depth == 1 && !may_go(run, name, len, true)) {
		return;
	}
	int fd = open_child(run, name, len, &st);

	if (fd < 0) {
		if (fd != -ENOENT) {
			fail_entry(run, name, len, fd, "open");
		}
		dr_name_set_add(&here(run)->left, name, len);
		return;
	}
	if (run->depth == 1) {
		run->top = dr_xstrdup(name);
		run->unasked = 0;
	} else {
		(void)close(run->fd);
	}
	push(run, fd, &st);
}

/* Opens the level before the last. @error ESTALE the last was moved away */
static int open_parent(const struct run *run)
{
	const struct level *parent = &run->levels[run->depth - 2];
	struct stat st;

	if (run->depth == 2) {
		return run->to_fd;
	}
	int fd dr_cleanup(dr_fd_closep) =
		openat(run->fd, "..", O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);

	if (fd < 0 && errno == EPERM) {
		fd = openat(run->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		return -errno;
	}
	if ((uint64_t)st.st_dev != parent->dev || (uint64_t)st.st_ino != parent->ino) {
		return -ESTALE;
	}
	return dr_steal_fd(&fd);
}

/* There is no way back to the level before: the first is held, and goes on without this top. */
static void abandon(struct run *run, int error)
{
	char *top dr_cleanup(dr_freep) = dr_xstrdup(run->top);

	fail(run, error, "go-back");
	(void)close(run->fd);
	while (run->depth > 1) {
		pop(run);
	}
	run->fd = run->to_fd;
	leave_alone(run, top, strlen(top));
}

/* The last level is done: it goes, if nothing in it stays. @error those that end all */
static int leave(struct run *run)
{
	const struct level *level = here(run);
	size_t path_len = level->path_len, above = run->levels[run->depth - 2].path_len;
	bool stays = level->stays || run->top_stays;

	run->path.len = path_len;
	if (stays) {
		freeze(run->fd, level->flags);
	}
	int parent = open_parent(run);

	if (parent < 0) {
		abandon(run, parent);
		return 0;
	}
	(void)close(run->fd);
	run->fd = parent;
	pop(run);
	const char *name = dr_buf_cstr(&run->path) + above + (above > 0 ? 1 : 0);
	size_t len = path_len - (size_t)(name - (const char *)run->path.data);

	if (stays) {
		leave_alone(run, name, len);
		return 0;
	}
	return take_out(run, name, len, DR_TYPE_DIR);
}

static int walk(struct run *run)
{
	for (;;) {
		const struct level *level = here(run);
		int r = 0;

		if (is_stopping(run)) {
			return -ECANCELED;
		}
		if (level->at < level->dirs.len && !run->top_stays) {
			descend(run);
		} else if (level->again && !run->top_stays) {
			r = read_level(run);
		} else if (run->depth > 1) {
			r = leave(run);
		} else {
			return 0;
		}
		if (r < 0) {
			return r;
		}
	}
}

static void run_fini(struct run *run)
{
	if (run->depth > 1) {
		(void)close(run->fd);
	}
	while (run->depth > 1) {
		pop(run);
	}
	if (run->depth == 1) {
		freeze(run->to_fd, here(run)->flags);
		pop(run);
	}
	free(run->levels);
	free(run->top);
	dr_name_set_fini(&run->source);
	dr_buf_fini(&run->path);
}

int dr_clone_prune(
	struct dr_prune *prune, int from_dir_fd, int to_dir_fd, bool looks_only, uint64_t most)
{
	struct run run dr_cleanup(run_fini) = {
		.prune = prune,
		.from_fd = from_dir_fd,
		.to_fd = to_dir_fd,
		.looks_only = looks_only,
		.most = most,
		.fd = to_dir_fd,
	};
	struct stat from, to;

	if (fstat(from_dir_fd, &from) < 0 || fstat(to_dir_fd, &to) < 0) {
		return -errno;
	}
	if ((uint64_t)from.st_dev != prune->cloner->from->dev ||
		(uint64_t)to.st_dev != prune->cloner->to->dev) {
		return -EXDEV;
	}
	push(&run, to_dir_fd, &to);
	int r = read_dir(&run, from_dir_fd, on_source, &run);

	if (r != 0) {
		return r < 0 ? r : -ECANCELED;
	}
	return walk(&run);
}
