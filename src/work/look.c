/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/look.h"

#include "work/filter.h"

#include <string.h>

/* Errors that say that no file of the file system has such a name. */
static bool is_gone(int error)
{
	return error == -ENOENT || error == -ENOTDIR || error == -ESTALE ||
	       error == -ENAMETOOLONG || error == -EXDEV;
}

static int find_path(struct dr_look *look, const struct dr_candidate *candidate)
{
	int r = 0;

	dr_buf_clear(&look->path);
	if (candidate->path) {
		dr_buf_put(&look->path, candidate->path, candidate->len);
	} else if (look->fs->ops->fid_path) {
		r = look->fs->ops->fid_path(look->fs, &candidate->fid, &look->path);
	} else {
		r = -EOPNOTSUPP;
	}
	(void)dr_buf_cstr(&look->path);
	return r;
}

static int open_dir(struct dr_look *look, const char *path, size_t len)
{
	if (look->dir && look->dir_path.len == len &&
		(len == 0 || memcmp(look->dir_path.data, path, len) == 0)) {
		return 0;
	}
	dr_dir_closep(&look->dir);
	dr_buf_clear(&look->dir_path);
	dr_buf_put(&look->dir_path, path, len);
	(void)dr_buf_cstr(&look->dir_path);
	look->opened++;
	return look->fs->ops->dir_open(look->fs, path, len, &look->dir);
}

/* Stands before the caller's fn, whose errors are not those of the file system. */
struct asked {
	const struct dr_candidate *candidate;
	dr_entry_fn *fn;
	void *ctx;
	bool called;
	int result;
};

static int take_entry(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	struct asked *asked = ctx;

	/* The name of a FID may have passed to another file since it was asked for. */
	if (asked->candidate->path || dr_fid_is_zero(&entry->fid) ||
		dr_fid_equal(&entry->fid, &asked->candidate->fid)) {
		asked->called = true;
		asked->result = asked->fn(asked->ctx, dir, entry);
	}
	return 0;
}

int dr_look_at(struct dr_look *look, const struct dr_candidate *candidate, dr_entry_fn *fn,
	void *ctx, int *ret_result)
{
	struct asked asked = { .candidate = candidate, .fn = fn, .ctx = ctx };
	int r = find_path(look, candidate);
	const char *path = (const char *)look->path.data;
	size_t len = look->path.len;

	if (r == 0 && dr_filter_excludes(look->spec, path, len)) {
		return DR_LOOKED_OUT;
	}
	if (r == 0 && dr_filter_scans(look->spec, path, len)) {
		return DR_LOOKED_BELOW;
	}
	if (r == 0 && len == 0) {
		return -EISDIR; /* the root's own FID */
	}
	if (r == 0) {
		const char *slash = memrchr(path, '/', len);

		r = open_dir(look, path, slash ? (size_t)(slash - path) : 0);
		if (r == 0) {
			r = look->fs->ops->entry_look(
				look->dir, slash ? slash + 1 : path, take_entry, &asked);
		}
	}
	if (r < 0) {
		return is_gone(r) ? DR_LOOKED_GONE : r;
	}
	if (!asked.called) {
		return DR_LOOKED_GONE;
	}
	*ret_result = asked.result;
	return DR_LOOKED_AT;
}

void dr_look_fini(struct dr_look *look)
{
	dr_dir_closep(&look->dir);
	dr_buf_fini(&look->dir_path);
	dr_buf_fini(&look->path);
}
