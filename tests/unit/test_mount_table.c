/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/mount_table.h"

#include <fcntl.h>

#include "unit.h"

static const char text[] =
	"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	"23 22 0:21 / /proc rw - proc proc rw\n"
	"no line\n"
	"40 22 8:1 /data/a\\040b /mnt/x rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n"
	"41 22 0:50 / /lustre rw - lustre mgs@tcp:/fs1 rw,flock\n";

START_TEST(mount_table__reads_what_the_kernel_writes)
{
	struct dr_mount_table table dr_cleanup(dr_mount_table_fini) = { 0 };
	dr_mount_table_parse(text, &table);
	ck_assert_uint_eq(table.n, 4);
	ck_assert_uint_eq(table.mounts[2].id, 40);
	ck_assert_str_eq(table.mounts[2].dev, "8:1");
	ck_assert_str_eq(table.mounts[2].root, "/data/a b");
	ck_assert_str_eq(table.mounts[2].point, "/mnt/x");
	ck_assert_str_eq(table.mounts[2].type, "ext4");
	ck_assert_str_eq(table.mounts[3].source, "mgs@tcp:/fs1");
}
END_TEST

static void check_inner(const struct dr_mount *mount, const char *path, const char *expected)
{
	char *inner dr_cleanup(dr_freep) = dr_mount_inner_path(mount, path);
	ck_assert_pstr_eq(inner, expected);
}

START_TEST(mount_table__tells_where_a_path_lies_in_its_file_system)
{
	struct dr_mount_table table dr_cleanup(dr_mount_table_fini) = { 0 };
	dr_mount_table_parse(text, &table);
	check_inner(&table.mounts[0], "/", "/");
	check_inner(&table.mounts[0], "/data/a b", "/data/a b");
	check_inner(&table.mounts[2], "/mnt/x", "/data/a b");
	check_inner(&table.mounts[2], "/mnt/x/y", "/data/a b/y");
	check_inner(&table.mounts[2], "/mnt/xy", NULL);
	check_inner(&table.mounts[3], "/lustre", "/");
	check_inner(&table.mounts[3], "/lustre/home", "/home");
}
END_TEST

START_TEST(mount_table__covers_by_components)
{
	ck_assert(dr_mount_covers("/", "/"));
	ck_assert(dr_mount_covers("/", "/a"));
	ck_assert(dr_mount_covers("/a", "/a"));
	ck_assert(dr_mount_covers("/a", "/a/b"));
	ck_assert(!dr_mount_covers("/a", "/ab"));
	ck_assert(!dr_mount_covers("/a/b", "/a"));
	ck_assert(!dr_mount_covers("/a", "/"));
}
END_TEST

START_TEST(mount_table__finds_the_mount_of_a_file)
{
	struct dr_mount_table table dr_cleanup(dr_mount_table_fini) = { 0 };
	int fd dr_cleanup(dr_fd_closep) = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dr_mount_table_read(&table), 0);
	const struct dr_mount *mount = dr_mount_table_of(&table, fd);
	ck_assert_ptr_nonnull(mount);
	ck_assert_str_eq(mount->point, "/proc");
	ck_assert_str_eq(mount->type, "proc");
}
END_TEST

DR_UNIT_MAIN("mount_table", mount_table__reads_what_the_kernel_writes,
	mount_table__tells_where_a_path_lies_in_its_file_system, mount_table__covers_by_components,
	mount_table__finds_the_mount_of_a_file)
