/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fs.h"

#include <string.h>

/* In this order: a lab may lie on anything, and anything is a posix file system. */
#define N_DRIVERS 3
static const struct dr_fs_driver *const drivers[N_DRIVERS] = { &dr_fs_lab, &dr_fs_lustre,
	&dr_fs_posix };

static int find_driver(const char *path, const struct dr_fs_driver **ret_driver, char **ret_root)
{
	for (size_t i = 0; i < N_DRIVERS; i++) {
		int r = drivers[i]->probe(path, ret_root);
		if (r != 0) {
			*ret_driver = drivers[i];
			return r < 0 ? r : 0;
		}
	}
	return -EOPNOTSUPP;
}

/* What of path lies below root; "" also for what is not below it (a lab's own folder). */
static char *rest_of(const char *path, const char *root)
{
	size_t len = strlen(root);
	if (len == 1) {
		return dr_xstrdup(path + 1);
	}
	if (strncmp(path, root, len) != 0 || path[len] != '/') {
		return dr_xstrdup("");
	}
	return dr_xstrdup(path + len + 1);
}

int dr_fs_open(const char *path, struct dr_fs **ret_fs, char **ret_rest)
{
	char *real dr_cleanup(dr_freep) = realpath(path, NULL);
	if (!real) {
		return -errno;
	}
	const struct dr_fs_driver *driver;
	char *root dr_cleanup(dr_freep) = NULL;
	int r = find_driver(real, &driver, &root);
	r = r < 0 ? r : driver->open(root, ret_fs);
	if (r < 0) {
		return r;
	}
	*ret_rest = rest_of(real, (*ret_fs)->root);
	return 0;
}

int dr_fs_open_root(const char *root, struct dr_fs **ret_fs)
{
	const struct dr_fs_driver *driver;
	char *found dr_cleanup(dr_freep) = NULL;
	int r = find_driver(root, &driver, &found);
	if (r < 0) {
		return r;
	}
	/* Another root: what was mounted here is not mounted now. */
	return strcmp(root, found) == 0 ? driver->open(found, ret_fs) : -ENOENT;
}

_Thread_local struct dr_fs_wait dr_fs_wait;

void dr_fs_close(struct dr_fs *fs)
{
	if (fs) {
		fs->ops->close(fs);
	}
}

void dr_dir_closep(struct dr_dir **dir)
{
	if (*dir) {
		(*dir)->fs->ops->dir_close(*dir);
		*dir = NULL;
	}
}

void dr_file_closep(struct dr_file **file)
{
	if (*file) {
		(*file)->fs->ops->file_close(*file);
		*file = NULL;
	}
}

void dr_vol_closep(struct dr_vol **vol)
{
	if (*vol) {
		(*vol)->fs->ops->vol_close(*vol);
		*vol = NULL;
	}
}
