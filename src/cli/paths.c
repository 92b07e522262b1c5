/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/cli.h"
#include "cli/start.h"

#include <glob.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

void paths_add(struct paths *paths, const char *bytes)
{
	paths->v = dr_xrealloc(paths->v, (paths->n + 1) * sizeof *paths->v);
	paths->v[paths->n++] = (struct dr_path){ .bytes = dr_xstrdup(bytes), .len = strlen(bytes) };
}

void paths_fini(struct paths *paths)
{
	for (size_t i = 0; i < paths->n; i++) {
		free(paths->v[i].bytes);
	}
	free(paths->v);
	*paths = (struct paths){ 0 };
}

bool path_is_within(const char *path, const char *above)
{
	size_t len = strlen(above);

	return len == 0 ||
	       (path && strncmp(path, above, len) == 0 && (!path[len] || path[len] == '/'));
}

bool path_has_components(const char *path, const char *name)
{
	while (*path) {
		if (path_is_within(path, name)) {
			return true;
		}
		path += strcspn(path, "/");
		path += *path == '/';
	}
	return false;
}

const char *path_below_root(const char *path, const char *root)
{
	bool is_top = strcmp(root, "/") == 0;

	if (!is_top && !path_is_within(path, root)) {
		return NULL;
	}
	path += is_top ? 0 : strlen(root);
	return path + (*path == '/');
}

int path_normalize(const char *path, char **ret_path)
{
	struct dr_buf normal = { 0 };

	while (*path) {
		size_t len = strcspn(path, "/");
		if (len == 2 && path[0] == '.' && path[1] == '.') {
			dr_buf_fini(&normal);
			return -EINVAL;
		}
		if (len > 0 && !(len == 1 && path[0] == '.')) {
			if (normal.len > 0) {
				dr_buf_put_u8(&normal, '/');
			}
			dr_buf_put(&normal, path, len);
		}
		path += len;
		path += *path == '/';
	}
	*ret_path = dr_xstrdup(dr_buf_cstr(&normal));
	dr_buf_fini(&normal);
	return 0;
}

/* A lab's own directory is a likely slip: its files lie in ns. */
static int refuse_plain(const char *what, const char *path, const char *word)
{
	dr_cleanup(dr_freep) char *mark = dr_xasprintf("%s/lab.json", path);
	struct stat st;

	if (stat(mark, &st) == 0) {
		return cli_refuse("%s: '%s' is a lab's own directory; its files lie in '%s/ns'",
			what, word, word);
	}
	return cli_refuse("%s: '%s' is not on Lustre or a lab", what, word);
}

int path_open(
	const char *what, const char *path, const char *word, struct dr_fs **fs, char **ret_rest)
{
	dr_cleanup(dr_freep) char *rest = NULL;
	struct dr_fs *own = NULL;
	int r = dr_fs_open(path, &own, &rest);

	if (r == -EOPNOTSUPP) {
		return cli_refuse(
			"%s: '%s' is on Lustre, which this build does not serve", what, word);
	}
	if (r < 0) {
		return cli_refuse("%s: cannot open '%s': %s", what, word, cli_strerror(r));
	}
	/* A driver may also answer for what belongs to it and is not in its name space. */
	dr_cleanup(dr_freep) char *real = realpath(path, NULL);
	if (own->ops->kind == DR_FS_POSIX || !real || !path_below_root(real, own->root)) {
		dr_fs_close(own);
		return refuse_plain(what, path, word);
	}
	if (*fs && strcmp((*fs)->root, own->root) != 0) {
		dr_cleanup(dr_freep) char *first = cli_escape((*fs)->root);
		dr_cleanup(dr_freep) char *second = cli_escape(own->root);
		dr_fs_close(own);
		return cli_refuse("%s: '%s' is on %s, other paths are on %s; a campaign has one "
				  "file system",
			what, word, second, first);
	}
	if (*fs) {
		dr_fs_close(own);
	} else {
		*fs = own;
	}
	*ret_rest = rest;
	rest = NULL;
	return CLI_OK;
}

/* Opens a directory that exists. */
static int open_directory(const char *what, const char *path, struct dr_fs **fs, char **ret_rest)
{
	dr_cleanup(dr_freep) char *word = cli_escape(path);
	struct stat st;

	if (stat(path, &st) < 0) {
		return cli_refuse("%s: '%s': %s", what, word, cli_strerror(-errno));
	}
	if (!S_ISDIR(st.st_mode)) {
		return cli_refuse("%s: '%s' is not a directory", what, word);
	}
	return path_open(what, path, word, fs, ret_rest);
}

/* Opens one path that exists, and adds it. */
static int scan_one(const char *path, struct dr_fs **fs, struct paths *paths)
{
	dr_cleanup(dr_freep) char *rest = NULL;
	int r = open_directory("--scan-path", path, fs, &rest);

	if (r == CLI_OK && rest) {
		paths_add(paths, rest);
	}
	return r;
}

int paths_root(const char *path, struct dr_fs **fs)
{
	dr_cleanup(dr_freep) char *rest = NULL;

	return open_directory("--root", path, fs, &rest);
}

int paths_scan(const char *pattern, struct dr_fs **fs, struct paths *paths)
{
	dr_cleanup(dr_freep) char *word = cli_escape(pattern);
	size_t before = paths->n;
	struct stat st;
	glob_t found;
	int r = CLI_OK;

	/* What exists is meant as it stands, be there brackets in its name. */
	if (lstat(pattern, &st) == 0) {
		return scan_one(pattern, fs, paths);
	}
	int failed = glob(pattern, 0, NULL, &found);
	if (failed == GLOB_NOMATCH) {
		return cli_refuse("--scan-path: '%s' matches nothing", word);
	}
	if (failed) {
		return cli_refuse("--scan-path: '%s': the pattern cannot be followed", word);
	}
	for (size_t i = 0; i < found.gl_pathc && r == CLI_OK; i++) {
		/* A link that a pattern happens to match is not a wish to follow it. */
		if (lstat(found.gl_pathv[i], &st) == 0 && !S_ISLNK(st.st_mode)) {
			r = scan_one(found.gl_pathv[i], fs, paths);
		}
	}
	globfree(&found);
	if (r == CLI_OK && paths->n == before) {
		return cli_refuse("--scan-path: '%s' matches nothing but links", word);
	}
	return r;
}

/*
 * The absolute path with every link in the part that exists followed; the rest stays as it is. malloc'ed.
 */
static int resolve(const char *path, char **ret_path)
{
	dr_cleanup(dr_freep) char *part = dr_xstrdup(path);
	size_t len = strlen(part);

	for (;;) {
		part[len] = '\0';
		dr_cleanup(dr_freep) char *real = realpath(len ? part : "/", NULL);
		if (real) {
			dr_cleanup(dr_freep) char *rest = NULL;
			int r = path_normalize(path + len, &rest);
			if (r < 0) {
				return r;
			}
			bool at_top = strcmp(real, "/") == 0;
			*ret_path = *rest ? dr_xasprintf("%s/%s", at_top ? "" : real, rest)
					  : dr_xstrdup(real);
			return 0;
		}
		if (errno != ENOENT && errno != ENOTDIR) {
			return -errno;
		}
		if (len == 0) {
			return -ENOENT;
		}
		while (len > 0 && part[len - 1] == '/') {
			len--;
		}
		while (len > 0 && part[len - 1] != '/') {
			len--;
		}
	}
}

int paths_exclude(const char *path, const char *root, const char *outside, struct paths *excludes,
	struct paths *names)
{
	dr_cleanup(dr_freep) char *word = cli_escape(path);
	dr_cleanup(dr_freep) char *normal = NULL;
	dr_cleanup(dr_freep) char *real = NULL;
	int r;

	if (path[0] != '/') {
		if (path_normalize(path, &normal) < 0 || !*normal) {
			return cli_refuse(
				"--exclude-path: '%s' is neither an absolute path nor the name of "
				"something",
				word);
		}
		paths_add(names, normal);
		return CLI_OK;
	}
	r = resolve(path, &real);
	if (r == -EINVAL) {
		return cli_refuse(
			"--exclude-path: '%s' goes up with '..' from what does not exist", word);
	}
	if (r < 0) {
		return cli_refuse("--exclude-path: '%s': %s", word, cli_strerror(r));
	}
	const char *rest = real ? path_below_root(real, root) : NULL;
	if (!rest) {
		dr_cleanup(dr_freep) char *top = cli_escape(root);
		return cli_refuse("--exclude-path: '%s' %s %s", word, outside, top);
	}
	paths_add(excludes, rest);
	return CLI_OK;
}

static bool is_excluded(const char *path, const struct paths *excludes, const struct paths *names)
{
	for (size_t i = 0; i < excludes->n; i++) {
		if (path_is_within(path, excludes->v[i].bytes)) {
			return true;
		}
	}
	for (size_t i = 0; i < names->n; i++) {
		if (path_has_components(path, names->v[i].bytes)) {
			return true;
		}
	}
	return false;
}

/* Byte order, but with '/' before all else: so a directory stands right before what lies below it. */
static int compare_paths(const void *left, const void *right)
{
	const unsigned char *a = (const unsigned char *)((const struct dr_path *)left)->bytes;
	const unsigned char *b = (const unsigned char *)((const struct dr_path *)right)->bytes;

	while (*a && *a == *b) {
		a++;
		b++;
	}
	int x = *a == '/' ? 1 : *a ? *a + 1 : 0;
	int y = *b == '/' ? 1 : *b ? *b + 1 : 0;
	return x - y;
}

void paths_reduce(struct paths *paths, const struct paths *excludes, const struct paths *names)
{
	size_t kept = 0;

	if (paths->n > 0) {
		qsort(paths->v, paths->n, sizeof *paths->v, compare_paths);
	}
	for (size_t i = 0; i < paths->n; i++) {
		const struct dr_path *path = &paths->v[i];
		if (is_excluded(path->bytes, excludes, names) ||
			(kept > 0 && path_is_within(path->bytes, paths->v[kept - 1].bytes))) {
			free(path->bytes);
		} else {
			paths->v[kept++] = *path;
		}
	}
	paths->n = kept;
}
