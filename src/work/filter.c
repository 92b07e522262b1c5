/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/filter.h"

static bool is_at_or_below(const char *path, size_t len, const struct dr_path *top)
{
	return top->len == 0 || (len >= top->len && memcmp(path, top->bytes, top->len) == 0 &&
					(len == top->len || path[top->len] == '/'));
}

/* Whether the components of `names` stand somewhere in the path, whole. */
static bool has_components(const char *path, size_t len, const struct dr_path *names)
{
	for (size_t at = 0; at + names->len <= len; at++) {
		bool begins = at == 0 || path[at - 1] == '/';
		bool ends = at + names->len == len || path[at + names->len] == '/';

		if (begins && ends && memcmp(path + at, names->bytes, names->len) == 0) {
			return true;
		}
	}
	return false;
}

bool dr_filter_excludes(const struct dr_spec *spec, const char *path, size_t len)
{
	for (size_t i = 0; i < spec->n_excludes; i++) {
		if (is_at_or_below(path, len, &spec->excludes[i])) {
			return true;
		}
	}
	for (size_t i = 0; i < spec->n_exclude_names; i++) {
		if (has_components(path, len, &spec->exclude_names[i])) {
			return true;
		}
	}
	return false;
}

bool dr_filter_scans(const struct dr_spec *spec, const char *path, size_t len)
{
	for (size_t i = 0; i < spec->n_scan_paths; i++) {
		if (is_at_or_below(path, len, &spec->scan_paths[i])) {
			return true;
		}
	}
	return false;
}

static void add_name(struct dr_filter_dir *filter, const char *name, size_t len)
{
	if (filter->n == filter->cap) {
		filter->cap = filter->cap ? filter->cap * 2 : 8;
		filter->names = dr_xrealloc(filter->names, filter->cap * sizeof(*filter->names));
		filter->lens = dr_xrealloc(filter->lens, filter->cap * sizeof(*filter->lens));
	}
	filter->names[filter->n] = name;
	filter->lens[filter->n++] = len;
}

/* Splits a path into the directory part (no slash at its end) and the last component. */
static void split(
	const struct dr_path *path, size_t *ret_dir_len, const char **ret_name, size_t *ret_len)
{
	const char *slash = memrchr(path->bytes, '/', path->len);

	*ret_dir_len = slash ? (size_t)(slash - path->bytes) : 0;
	*ret_name = slash ? slash + 1 : path->bytes;
	*ret_len = path->len - (size_t)(*ret_name - path->bytes);
}

/* Whether the directory's last components are those: all of it, or after a slash. */
static bool ends_with(const char *dir, size_t len, const char *tail, size_t tail_len)
{
	return tail_len == 0 ||
	       (len >= tail_len && memcmp(dir + len - tail_len, tail, tail_len) == 0 &&
		       (len == tail_len || dir[len - tail_len - 1] == '/'));
}

void dr_filter_enter(
	struct dr_filter_dir *filter, const struct dr_spec *spec, const char *dir, size_t len)
{
	const char *name;
	size_t dir_len, name_len;

	filter->n = 0;
	for (size_t i = 0; i < spec->n_excludes; i++) {
		split(&spec->excludes[i], &dir_len, &name, &name_len);
		if (dir_len == len && memcmp(dir, spec->excludes[i].bytes, len) == 0) {
			add_name(filter, name, name_len);
		}
	}
	for (size_t i = 0; i < spec->n_exclude_names; i++) {
		split(&spec->exclude_names[i], &dir_len, &name, &name_len);
		if (ends_with(dir, len, spec->exclude_names[i].bytes, dir_len)) {
			add_name(filter, name, name_len);
		}
	}
}

void dr_filter_dir_fini(struct dr_filter_dir *filter)
{
	free(filter->names);
	free(filter->lens);
	*filter = (struct dr_filter_dir){ 0 };
}
