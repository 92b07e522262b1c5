/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/paths.h"

/*
 * A ring of answers in the order of their age, and a table of chains that finds one by its FID. A new answer takes the place of the oldest.
 * One that is too old, or is asked for again, is renewed where it stands, and so leaves the ring a little early.
 */
#define NONE UINT32_MAX

struct answer {
	struct dr_fid fid;
	char *path; /* NULL: there is none */
	uint64_t asked_ns;
	uint32_t next; /* in the chain */
};

struct dr_paths {
	struct dr_fs *fs;
	char *top; /* before the paths, without a slash at its end */
	struct answer *ring;
	uint32_t n, max, oldest; /* the oldest is the next to be replaced once there are max */
	uint32_t *chains;        /* of positions in the ring */
	uint32_t mask;
	struct dr_buf buf;
	uint64_t n_asked;
};

static void set_top(struct dr_paths *paths, const char *mountpoint, const char *rest)
{
	char *real dr_cleanup(dr_freep) = realpath(mountpoint, NULL);
	/* As the user calls it where that is the root itself. */
	bool is_root = real && !rest[0] && strcmp(real, paths->fs->root) == 0;
	const char *top = is_root ? mountpoint : paths->fs->root;
	size_t len = strlen(top);

	while (len > 0 && top[len - 1] == '/') {
		len--;
	}
	paths->top = dr_xcalloc(1, len + 1);
	memcpy(paths->top, top, len);
}

int dr_paths_open(const char *mountpoint, size_t max, struct dr_paths **ret_paths)
{
	char *rest dr_cleanup(dr_freep) = NULL;
	struct dr_fs *fs = NULL;
	int r = dr_fs_open(mountpoint, &fs, &rest);

	if (r < 0) {
		return r;
	}
	if (!fs->ops->fid_path) {
		dr_fs_close(fs);
		return -EOPNOTSUPP;
	}
	struct dr_paths *paths = dr_xcalloc(1, sizeof(*paths));
	uint32_t n_chains = 1;

	paths->fs = fs;
	paths->max = max && max < NONE / 4 ? (uint32_t)max : DR_PATHS_MAX;
	while (n_chains < paths->max) {
		n_chains *= 2;
	}
	paths->mask = n_chains - 1;
	paths->ring = dr_xcalloc(paths->max, sizeof(*paths->ring));
	paths->chains = dr_xcalloc(n_chains, sizeof(*paths->chains));
	memset(paths->chains, 0xff, n_chains * sizeof(*paths->chains));
	set_top(paths, mountpoint, rest);
	*ret_paths = paths;
	return 0;
}

void dr_paths_close(struct dr_paths *paths)
{
	if (paths) {
		for (uint32_t i = 0; i < paths->n; i++) {
			free(paths->ring[i].path);
		}
		free(paths->ring);
		free(paths->chains);
		free(paths->top);
		dr_buf_fini(&paths->buf);
		dr_fs_close(paths->fs);
		free(paths);
	}
}

uint64_t dr_paths_n_asked(const struct dr_paths *paths)
{
	return paths->n_asked;
}

/* The head of the chain that a FID is in. */
static uint32_t *chain_of(struct dr_paths *paths, const struct dr_fid *fid)
{
	uint64_t h = (fid->seq << 32) ^ fid->seq ^ fid->oid;

	h *= UINT64_C(0x9e3779b97f4a7c15); /* an odd number near 2^64 divided by the golden ratio */
	return &paths->chains[(h >> 32) & paths->mask];
}

static struct answer *find(struct dr_paths *paths, const struct dr_fid *fid)
{
	for (uint32_t i = *chain_of(paths, fid); i != NONE; i = paths->ring[i].next) {
		if (dr_fid_equal(&paths->ring[i].fid, fid)) {
			return &paths->ring[i];
		}
	}
	return NULL;
}

/* A place in the ring for that FID, in its chain. */
static struct answer *add(struct dr_paths *paths, const struct dr_fid *fid)
{
	uint32_t at = paths->n;

	if (paths->n < paths->max) {
		paths->n++;
	} else {
		at = paths->oldest;
		paths->oldest = at + 1 < paths->max ? at + 1 : 0;
		uint32_t *link = chain_of(paths, &paths->ring[at].fid);

		while (*link != at) {
			link = &paths->ring[*link].next;
		}
		*link = paths->ring[at].next;
		free(paths->ring[at].path);
	}
	uint32_t *head = chain_of(paths, fid);

	paths->ring[at] = (struct answer){ .fid = *fid, .next = *head };
	*head = at;
	return &paths->ring[at];
}

static bool is_good(const struct answer *answer, uint64_t now_ns)
{
	uint64_t keep_ns = answer->path ? DR_PATHS_KEEP_NS : DR_PATHS_KEEP_NONE_NS;

	return now_ns - answer->asked_ns < keep_ns;
}

int dr_paths_find(
	struct dr_paths *paths, const struct dr_fid *fid, uint64_t now_ns, const char **ret_path)
{
	struct answer *answer = find(paths, fid);

	if (!answer || !is_good(answer, now_ns)) {
		dr_buf_clear(&paths->buf);
		dr_buf_put_str(&paths->buf, paths->top);
		dr_buf_put_u8(&paths->buf, '/');
		paths->n_asked++;
		int r = paths->fs->ops->fid_path(paths->fs, fid, &paths->buf);

		if (r < 0 && r != -ENOENT) {
			return r;
		}
		answer = answer ? answer : add(paths, fid);
		free(answer->path);
		answer->path = r == 0 ? dr_xstrdup(dr_buf_cstr(&paths->buf)) : NULL;
		answer->asked_ns = now_ns;
	}
	if (!answer->path) {
		return -ENOENT;
	}
	*ret_path = answer->path;
	return 0;
}
