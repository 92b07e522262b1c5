/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/mount_table.h"

#include "base/fdio.h"
#include "base/mounts.h"

#include <fcntl.h>
#include <string.h>

#define TABLE_MAX (64u << 20) /* bytes */

static bool is_octal(const char *s)
{
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' &&
	       s[2] <= '7';
}

/* A copy of a field, the kernel's \ooo undone. */
static char *field_dup(const char *field)
{
	char *copy = dr_xstrdup(field ? field : ""), *to = copy;

	for (const char *p = copy; *p; p++) {
		if (*p == '\\' && is_octal(p + 1)) {
			*to++ = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
			p += 3;
		} else {
			*to++ = *p;
		}
	}
	*to = '\0';
	return copy;
}

/* Cuts one line up, in place. */
static bool take_line(char *line, struct dr_mount *ret_mount)
{
	const char *fields[6] = { 0 };
	char *rest = line, *end = NULL;
	const char *field;

	for (size_t i = 0; i < 6; i++) {
		fields[i] = strsep(&rest, " ");
	}
	do { /* optional fields, none or several */
		field = strsep(&rest, " ");
	} while (field && strcmp(field, "-") != 0);
	const char *type = strsep(&rest, " "), *source = strsep(&rest, " ");
	if (!type || !source || !fields[0]) {
		return false;
	}
	*ret_mount = (struct dr_mount){ .id = strtoull(fields[0], &end, 10) };
	if (end == fields[0] || *end) {
		return false;
	}
	ret_mount->dev = field_dup(fields[2]);
	ret_mount->root = field_dup(fields[3]);
	ret_mount->point = field_dup(fields[4]);
	ret_mount->type = field_dup(type);
	ret_mount->source = field_dup(source);
	return true;
}

void dr_mount_table_parse(const char *text, struct dr_mount_table *ret_table)
{
	dr_cleanup(dr_freep) char *copy = dr_xstrdup(text);
	char *rest = copy;
	struct dr_mount mount;

	for (char *line; (line = strsep(&rest, "\n"));) {
		if (take_line(line, &mount)) {
			ret_table->mounts = dr_xrealloc(
				ret_table->mounts, (ret_table->n + 1) * sizeof *ret_table->mounts);
			ret_table->mounts[ret_table->n++] = mount;
		}
	}
}

int dr_mount_table_read(struct dr_mount_table *ret_table)
{
	dr_cleanup(dr_buf_fini) struct dr_buf text = { 0 };
	int r = dr_read_file(AT_FDCWD, "/proc/self/mountinfo", TABLE_MAX, &text);

	if (r < 0) {
		return r;
	}
	dr_mount_table_parse(dr_buf_cstr(&text), ret_table);
	return 0;
}

void dr_mount_table_fini(struct dr_mount_table *table)
{
	for (size_t i = 0; i < table->n; i++) {
		struct dr_mount *mount = &table->mounts[i];
		free(mount->dev);
		free(mount->root);
		free(mount->point);
		free(mount->type);
		free(mount->source);
	}
	free(table->mounts);
	*table = (struct dr_mount_table){ 0 };
}

const struct dr_mount *dr_mount_table_of(const struct dr_mount_table *table, int fd)
{
	uint64_t id = 0;

	if (dr_mount_id(fd, &id) < 0) {
		return NULL;
	}
	for (size_t i = 0; i < table->n; i++) {
		if (table->mounts[i].id == id) {
			return &table->mounts[i];
		}
	}
	return NULL;
}

bool dr_mount_covers(const char *above, const char *path)
{
	size_t len = strcmp(above, "/") == 0 ? 0 : strlen(above);

	return strncmp(above, path, len) == 0 && (!path[len] || path[len] == '/');
}

char *dr_mount_inner_path(const struct dr_mount *mount, const char *path)
{
	if (!dr_mount_covers(mount->point, path)) {
		return NULL;
	}
	const char *rest = path + (strcmp(mount->point, "/") == 0 ? 0 : strlen(mount->point));
	const char *root = strcmp(mount->root, "/") == 0 ? "" : mount->root;

	rest = strcmp(rest, "/") == 0 ? "" : rest;
	return *root || *rest ? dr_xasprintf("%s%s", root, rest) : dr_xstrdup("/");
}
