/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/lab_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Pools of OSTs. A pool is a file with its OSTs, so that a person can make one with an editor, too. */

#define POOLS "pools"
#define PATH_SIZE (sizeof(POOLS) + 1 + DR_POOL_MAX + 1)
#define POOL_BYTES_MAX 65536

bool dr_lab_pool_name_ok(const char *name)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t len = strlen(name);
	return len > 0 && len <= DR_POOL_MAX && name[0] != '.' && strspn(name, good) == len;
}

static void path_of(const char *name, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, POOLS "/%s", name);
}

int dr_lab_pool_get(struct dr_lab *lab, const char *name, struct dr_rangeset *osts)
{
	/* The name may come from a layout, and be anything. */
	if (!dr_lab_pool_name_ok(name)) {
		return -ENOENT;
	}
	char path[PATH_SIZE];
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	path_of(name, path);
	int r = dr_read_file(lab->dir_fd, path, POOL_BYTES_MAX, &text);
	if (r < 0) {
		return r == -ENOTDIR ? -ENOENT : r;
	}
	while (text.len > 0 && strchr(" \t\n", text.data[text.len - 1])) {
		text.len--;
	}
	if (text.len == 0) {
		dr_rangeset_fini(osts);
		return 0;
	}
	for (size_t i = 0; i < text.len; i++) {
		text.data[i] = text.data[i] == '\n' ? ',' : text.data[i];
	}
	return dr_rangeset_parse(dr_buf_cstr(&text), osts) < 0 ? -EBADMSG : 0;
}

int dr_lab_pool_set(struct dr_lab *lab, const char *name, const struct dr_rangeset *osts)
{
	if (!dr_lab_pool_name_ok(name)) {
		return -EINVAL;
	}
	char path[PATH_SIZE];
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	path_of(name, path);
	dr_rangeset_format(osts, &text);
	dr_buf_put_u8(&text, '\n');
	if (mkdirat(lab->dir_fd, POOLS, 0755) < 0 && errno != EEXIST) {
		return -errno;
	}
	return dr_replace_file(lab->dir_fd, path, 0644, text.data, text.len);
}

int dr_lab_pool_remove(struct dr_lab *lab, const char *name)
{
	char path[PATH_SIZE];
	if (!dr_lab_pool_name_ok(name)) {
		return -ENOENT;
	}
	path_of(name, path);
	return unlinkat(lab->dir_fd, path, 0) < 0 ? -errno : 0;
}

int dr_lab_pool_check(struct dr_lab *lab, const struct dr_layout *layout, uint32_t *ret_ost)
{
	struct dr_rangeset osts dr_cleanup(dr_rangeset_fini) = { 0 };
	const char *name = ""; /* whose OSTs are in osts */
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];
		if (!comp->pool[0] || comp->n_objects == 0) {
			continue;
		}
		int r = strcmp(name, comp->pool) == 0 ? 0 : dr_lab_pool_get(lab, comp->pool, &osts);
		if (r == -ENOENT) {
			dr_rangeset_fini(&osts);
		} else if (r < 0) {
			return r;
		}
		name = comp->pool;
		for (uint32_t i = 0; osts.count > 0 && i < comp->n_objects; i++) {
			if (!dr_rangeset_has(&osts, comp->objects[i].ost)) {
				*ret_ost = comp->objects[i].ost;
				return -EINVAL;
			}
		}
	}
	return 0;
}
