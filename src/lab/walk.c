/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* One directory on the way down: all its names are read at once, so that its order is fixed. */
struct dr_walk_level {
	dev_t dev;
	ino_t ino;
	struct dr_buf names; /* each a DT_* byte, the name, NUL */
	const char **sorted; /* point behind the DT_* bytes */
	size_t n, next;
	size_t path_len; /* of the directory */
};

/* A directory stands where its entries' paths stand: as if its name ended in '/'. */
static int compare_names(const void *a, const void *b)
{
	const unsigned char *x = *(const unsigned char *const *)a;
	const unsigned char *y = *(const unsigned char *const *)b;
	unsigned char x_end = x[-1] == DT_DIR ? '/' : 0, y_end = y[-1] == DT_DIR ? '/' : 0;
	unsigned char cx, cy;

	while (*x && *x == *y) {
		x++;
		y++;
	}
	cx = *x ? *x : x_end;
	cy = *y ? *y : y_end;
	return (cx > cy) - (cx < cy);
}

static void level_fini(struct dr_walk_level *level)
{
	dr_buf_fini(&level->names);
	free(level->sorted);
}

static int read_names(DIR *dir, struct dr_walk_level *level)
{
	struct dirent *e;
	struct stat st;

	/* The stream belongs to this call: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (errno = 0, (e = readdir(dir))) {
		unsigned char type = e->d_type;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
			continue;
		}
		if (type == DT_UNKNOWN &&
			fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			type = IFTODT(st.st_mode);
		}
		dr_buf_put_u8(&level->names, type);
		dr_buf_put(&level->names, e->d_name, strlen(e->d_name) + 1);
		level->n++;
	}
	return -errno;
}

static int level_init(struct dr_walk_level *level, int fd, size_t path_len)
{
	struct stat st;
	DIR *dir;
	int r, copy = -1;

	*level = (struct dr_walk_level){ .path_len = path_len };
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	level->dev = st.st_dev;
	level->ino = st.st_ino;
	/* An open of its own: a dup would share the position with fd. */
	copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (copy < 0) {
		return -errno;
	}
	dir = fdopendir(copy);
	if (!dir) {
		r = -errno;
		(void)close(copy);
		return r;
	}
	r = read_names(dir, level);
	(void)closedir(dir);
	if (r < 0) {
		level_fini(level);
		return r;
	}
	level->sorted = dr_xcalloc(level->n ? level->n : 1, sizeof(*level->sorted));
	for (size_t i = 0, at = 0; i < level->n; i++) {
		level->sorted[i] = (const char *)level->names.data + at + 1;
		at += 1 + strlen(level->sorted[i]) + 1;
	}
	qsort(level->sorted, level->n, sizeof(*level->sorted), compare_names);
	return 0;
}

static int push_level(struct dr_walk *walk, int fd)
{
	struct dr_walk_level level;
	int r = level_init(&level, fd, walk->path_buf.len);

	if (r < 0) {
		return r;
	}
	if (walk->n_levels == walk->cap_levels) {
		walk->cap_levels = walk->cap_levels ? walk->cap_levels * 2 : 16;
		walk->levels = dr_xrealloc(walk->levels, walk->cap_levels * sizeof(*walk->levels));
	}
	walk->levels[walk->n_levels++] = level;
	return 0;
}

int dr_walk_init(struct dr_walk *walk, int root_fd)
{
	int r;

	*walk = (struct dr_walk){ .fd = root_fd };
	r = push_level(walk, root_fd);
	if (r < 0) {
		dr_walk_fini(walk);
	}
	return r;
}

void dr_walk_fini(struct dr_walk *walk)
{
	while (walk->n_levels > 0) {
		level_fini(&walk->levels[--walk->n_levels]);
	}
	free(walk->levels);
	walk->levels = NULL;
	dr_buf_fini(&walk->path_buf);
	dr_fd_closep(&walk->fd);
}

/* Drops the directory that was left; its parent is the current one again. */
static int go_up(struct dr_walk *walk)
{
	dr_cleanup(dr_fd_closep) int up = -EBADF;
	const struct dr_walk_level *parent;
	struct stat st;

	level_fini(&walk->levels[--walk->n_levels]);
	walk->leaving = false;
	if (walk->n_levels == 0) {
		return 0;
	}
	parent = &walk->levels[walk->n_levels - 1];
	up = openat(walk->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (up < 0 || fstat(up, &st) < 0) {
		return -errno;
	}
	if (st.st_dev != parent->dev || st.st_ino != parent->ino) {
		return -ESTALE;
	}
	(void)close(walk->fd);
	walk->fd = dr_steal_fd(&up);
	return 0;
}

static void set_path(struct dr_walk *walk, size_t dir_len, const char *name)
{
	walk->path_buf.len = dir_len;
	if (name && dir_len > 0) {
		dr_buf_put(&walk->path_buf, "/", 1);
	}
	if (name) {
		dr_buf_put(&walk->path_buf, name, strlen(name));
	}
	walk->path = dr_buf_cstr(&walk->path_buf);
	walk->path_len = walk->path_buf.len;
	for (walk->name = walk->path + walk->path_len; walk->name > walk->path; walk->name--) {
		if (walk->name[-1] == '/') {
			break;
		}
	}
}

int dr_walk_next(struct dr_walk *walk)
{
	struct dr_walk_level *level;
	const char *name;
	int r, fd;

	if (walk->leaving) {
		r = go_up(walk);
		if (r < 0) {
			return r;
		}
	}
	if (walk->n_levels == 0) {
		return DR_WALK_END;
	}
	level = &walk->levels[walk->n_levels - 1];
	if (level->next == level->n) {
		set_path(walk, level->path_len, NULL);
		walk->type = DT_DIR;
		walk->leaving = true;
		return DR_WALK_LEAVE;
	}
	name = level->sorted[level->next++];
	set_path(walk, level->path_len, name);
	walk->type = (unsigned char)name[-1];
	if (walk->type != DT_DIR) {
		return DR_WALK_ENTRY;
	}

	fd = openat(walk->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = fd < 0 ? -errno : push_level(walk, fd);
	if (r < 0) {
		if (fd >= 0) {
			(void)close(fd);
		}
		walk->error = r;
		return DR_WALK_ERROR;
	}
	(void)close(walk->fd);
	walk->fd = fd;
	return DR_WALK_ENTER;
}
