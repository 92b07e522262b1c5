/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_MOUNT_TABLE_H
#define DR_BASE_MOUNT_TABLE_H

#include "base/buf.h"

/*
 * The mounts of this process's name space, as mountinfo tells them (proc(5)). Where two directories are the same, or one holds the other,
 * by a bind mount, only this table says so: a mount hides what is above its root.
 */
struct dr_mount {
	uint64_t id;
	char *dev;   /* "8:1", of the file system: subvolumes share one */
	char *root;  /* the directory of the file system that is mounted, "/" or "/a/b" */
	char *point; /* where */
	char *type, *source;
};

struct dr_mount_table {
	struct dr_mount *mounts;
	size_t n;
};

/* Lines that cannot be read are passed over. Replaces nothing: ret_table is zeroed memory. */
void dr_mount_table_parse(const char *text, struct dr_mount_table *ret_table);
/* That of this process. @error ENOENT no /proc */
dr_nodiscard int dr_mount_table_read(struct dr_mount_table *ret_table);
void dr_mount_table_fini(struct dr_mount_table *table);

/* The mount of an open file; NULL: unknown. Lent by the table. */
const struct dr_mount *dr_mount_table_of(const struct dr_mount_table *table, int fd);
/* Whether the absolute path is the other one, or lies below it; both without a slash at the end. */
bool dr_mount_covers(const char *above, const char *path);
/*
 * Where an absolute path (links followed) lies in the file system of its mount, malloc'ed: /mnt/x/y is /a/y when /a is mounted on /mnt/x.
 * NULL: it does not lie below that mount.
 */
char *dr_mount_inner_path(const struct dr_mount *mount, const char *path);

#endif
