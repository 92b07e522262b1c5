/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define PREFIX ".drover-"
#define WORD_LEN 16
#define SWEEP_MOST 64
#define PLACE_TRIES 4 /* a directory that was emptied, flags that were taken off, and both */

void dr_clone_temp_init(struct dr_clone_temp *temp, const struct dr_cloner *cloner, int to_fd,
	uint64_t ino, uint64_t delivery)
{
	*temp = (struct dr_clone_temp){ .dir_fd = to_fd, .fd = -EBADF };
	(void)snprintf(temp->name, sizeof(temp->name), PREFIX "%.16s-%" PRIu64 ".%" PRIu64,
		cloner->word, ino, delivery);
}

void dr_clone_temp_init_parts(struct dr_clone_temp *temp, const struct dr_cloner *cloner, int to_fd,
	const struct dr_clone_stamp *stamp)
{
	uint64_t fields[] = { stamp->ino, stamp->size, (uint64_t)stamp->mtime.tv_sec,
		(uint64_t)stamp->mtime.tv_nsec, (uint64_t)stamp->ctime.tv_sec,
		(uint64_t)stamp->ctime.tv_nsec };
	uint64_t version = XXH64(fields, sizeof(fields), 0);

	/*
	 * Parts of different versions must not meet in one file: holes of the newer would show the data of the older, and a late worker write over what was copied
	 * after it.
	 */
	*temp = (struct dr_clone_temp){ .dir_fd = to_fd, .fd = -EBADF };
	(void)snprintf(temp->name, sizeof(temp->name), PREFIX "%.16s-%" PRIu64 ".0-%016" PRIx64,
		cloner->word, stamp->ino, version);
}

/* The length of the run of those characters, at most `most`. */
static size_t run(const char *p, const char *chars, size_t most)
{
	size_t n = strspn(p, chars);

	return n < most ? n : most;
}

bool dr_clone_is_temporary(const struct dr_cloner *cloner, const char *name, bool *ret_is_ours)
{
	static const char digits[] = "0123456789", hex[] = "0123456789abcdef";
	const char *word = name + strlen(PREFIX), *p = word;
	size_t n;

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 || run(word, hex, WORD_LEN) != WORD_LEN) {
		return false;
	}
	p += WORD_LEN;
	if (*p++ != '-' || (n = run(p, digits, 20)) == 0 || p[n] != '.') {
		return false;
	}
	p += n + 1;
	if ((n = run(p, digits, 20)) == 0) {
		return false;
	}
	p += n;
	if (*p == '-' && run(p + 1, hex, 16) == 16) {
		p += 17;
	}
	if (*p) {
		return false;
	}
	*ret_is_ours = strncmp(word, cloner->word, WORD_LEN) == 0;
	return true;
}

int dr_clone_temp_made(struct dr_clone_temp *temp, int fd)
{
	struct stat st;
	int r = fd >= 0 ? fstat(fd, &st)
			: fstatat(temp->dir_fd, temp->name, &st, AT_SYMLINK_NOFOLLOW);

	if (r < 0) {
		return -errno;
	}
	temp->dev = st.st_dev;
	temp->ino = st.st_ino;
	temp->mode = st.st_mode;
	temp->uid = st.st_uid;
	temp->gid = st.st_gid;
	return 0;
}

/* @return 1 the name still is what was made; 0 not */
static int is_there(const struct dr_clone_temp *temp)
{
	struct stat st;

	if (fstatat(temp->dir_fd, temp->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return errno == ENOENT ? 0 : -errno;
	}
	return st.st_ino == temp->ino && st.st_dev == temp->dev;
}

void dr_clone_temp_drop(struct dr_clone_temp *temp)
{
	if (temp->fd >= 0) {
		dr_fd_closep(&temp->fd);
	} else if (temp->ino && is_there(temp) == 1) {
		(void)unlinkat(temp->dir_fd, temp->name, 0);
	}
}

int dr_clone_unlock(int dir_fd, const char *name)
{
	struct dr_meta have dr_cleanup(dr_meta_fini) = { .no_projects = true };
	enum dr_meta_part part = 0;
	int r = dr_meta_read(dir_fd, name, -1, &have);

	if (r < 0) {
		return r;
	}
	if (!have.is_immutable && !have.is_append) {
		return -EPERM;
	}
	/* The attributes are lent: only flags are looked at. */
	struct dr_meta want = have;

	want.is_immutable = want.is_append = false;
	return dr_meta_apply(dir_fd, name, -1, &want, &have, DR_META_FLAGS, &part);
}

static int found_one(void *arg, const char *name, size_t len, enum dr_type type, uint64_t ino)
{
	(void)arg, (void)name, (void)len, (void)type, (void)ino;
	return 1;
}

int dr_clone_is_full_dir(int dir_fd, const char *name)
{
	int fd dr_cleanup(dr_fd_closep) =
		openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0) {
		return errno == ENOTDIR || errno == ELOOP || errno == ENOENT ? 0 : -errno;
	}
	return dr_tree_read(fd, found_one, NULL);
}

int dr_clone_place(const struct dr_clone_temp *temp, const char *name)
{
	for (int tries = 0; tries < PLACE_TRIES; tries++) {
		int r = is_there(temp);

		if (r <= 0) {
			return r < 0 ? r : -ESTALE;
		}
		if (renameat(temp->dir_fd, temp->name, temp->dir_fd, name) == 0) {
			return 0;
		}
		r = errno == ENOENT ? -ESTALE : -errno;
		if (r == -EISDIR) {
			if (unlinkat(temp->dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
				return errno == ENOTEMPTY || errno == EEXIST ? -EISDIR : -errno;
			}
			continue;
		}
		if (r == -EPERM) {
			/* The entry may be immutable; when there is none, the directory is. */
			int unlocked = dr_clone_unlock(temp->dir_fd, name);

			if (unlocked == 0) {
				continue;
			}
			r = unlocked == -ENOENT ? r : unlocked;
		}
		return r;
	}
	return -EPERM;
}

int dr_clone_place_nameless(
	struct dr_cloner *cloner, const struct dr_clone_temp *temp, const char *name)
{
	if (linkat(temp->fd, "", temp->dir_fd, name, AT_EMPTY_PATH) == 0) {
		return 0;
	}
	if (errno == ENOENT) {
		/* That way is root's. */
		char path[32];

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", temp->fd);
		if (linkat(AT_FDCWD, path, temp->dir_fd, name, AT_SYMLINK_FOLLOW) == 0) {
			return 0;
		}
	}
	int error = errno;

	cloner->no_nameless = error == ENOENT || error == EPERM || error == EACCES ||
			      error == EXDEV || error == EINVAL || error == EOPNOTSUPP ||
			      error == ENOSYS;
	return error == EEXIST ? -ESTALE : -error;
}

void dr_clone_sweep(const struct dr_cloner *cloner, int to_fd, uint64_t ino, uint64_t delivery)
{
	for (uint64_t n = 1; n <= SWEEP_MOST && n < delivery; n++) {
		struct dr_clone_temp old;

		dr_clone_temp_init(&old, cloner, to_fd, ino, delivery - n);
		(void)unlinkat(to_fd, old.name, 0);
	}
}
