/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cache itself, for a file system that is none. */
#include "hsm/paths.c"

#include "unit.h"

static bool is_gone; /* files have no names now */

static int path_of(struct dr_fs *fs, const struct dr_fid *fid, struct dr_buf *out)
{
	(void)fs;
	if (fid->ver) {
		return -EPERM;
	}
	if (is_gone) {
		return -ENOENT;
	}
	dr_buf_printf(out, "file%u", fid->oid);
	return 0;
}

static void close_fs(struct dr_fs *fs)
{
	(void)fs;
}

static const struct dr_fs_driver driver = { .fid_path = path_of, .close = close_fs };
static struct dr_fs fs = { .ops = &driver };

static struct dr_paths *make(uint32_t max, uint32_t n_chains)
{
	struct dr_paths *paths = dr_xcalloc(1, sizeof(*paths));

	paths->fs = &fs;
	paths->max = max;
	paths->mask = n_chains - 1;
	paths->ring = dr_xcalloc(max, sizeof(*paths->ring));
	paths->chains = dr_xcalloc(n_chains, sizeof(*paths->chains));
	memset(paths->chains, 0xff, n_chains * sizeof(*paths->chains));
	paths->top = dr_xstrdup("/lustre");
	return paths;
}

static const char *find_at(struct dr_paths *paths, uint32_t oid, uint64_t now_ns)
{
	const struct dr_fid fid = { .seq = 0x200000402, .oid = oid };
	const char *path = NULL;
	int r = dr_paths_find(paths, &fid, now_ns, &path);

	ck_assert_int_eq(r, path ? 0 : -ENOENT);
	return path;
}

START_TEST(hsm_paths__are_asked_for_once)
{
	struct dr_paths *paths = make(4, 4);

	ck_assert_str_eq(find_at(paths, 7, 0), "/lustre/file7");
	ck_assert_str_eq(find_at(paths, 7, DR_PATHS_KEEP_NS - 1), "/lustre/file7");
	ck_assert_uint_eq(dr_paths_n_asked(paths), 1);
	dr_paths_close(paths);
}
END_TEST

START_TEST(hsm_paths__are_asked_for_again_when_they_are_old)
{
	struct dr_paths *paths = make(4, 4);

	ck_assert_ptr_nonnull(find_at(paths, 7, 0));
	is_gone = true;
	ck_assert_ptr_null(find_at(paths, 7, DR_PATHS_KEEP_NS));
	is_gone = false;
	ck_assert_ptr_null(find_at(paths, 7, DR_PATHS_KEEP_NS + DR_PATHS_KEEP_NONE_NS - 1));
	ck_assert_str_eq(
		find_at(paths, 7, DR_PATHS_KEEP_NS + DR_PATHS_KEEP_NONE_NS), "/lustre/file7");
	ck_assert_uint_eq(dr_paths_n_asked(paths), 3);
	ck_assert_uint_eq(paths->n, 1);
	dr_paths_close(paths);
}
END_TEST

/* With one chain for all, and with one for each. */
START_TEST(hsm_paths__go_the_oldest_first)
{
	for (uint32_t n_chains = 1; n_chains <= 64; n_chains *= 8) {
		struct dr_paths *paths = make(8, n_chains);

		for (uint32_t i = 0; i < 100; i++) {
			ck_assert_ptr_nonnull(find_at(paths, i, 0));
		}
		ck_assert_uint_eq(paths->n, 8);
		for (uint32_t i = 92; i < 100; i++) {
			ck_assert_ptr_nonnull(find_at(paths, i, 0));
		}
		ck_assert_uint_eq(dr_paths_n_asked(paths), 100);
		ck_assert_ptr_nonnull(find_at(paths, 91, 0));
		ck_assert_uint_eq(dr_paths_n_asked(paths), 101);
		ck_assert_ptr_nonnull(find_at(paths, 93, 0));
		ck_assert_uint_eq(dr_paths_n_asked(paths), 101);
		dr_paths_close(paths);
	}
}
END_TEST

START_TEST(hsm_paths__errors_are_not_kept)
{
	struct dr_paths *paths = make(4, 4);
	const struct dr_fid fid = { .seq = 1, .oid = 1, .ver = 1 };
	const char *path = NULL;

	ck_assert_int_eq(dr_paths_find(paths, &fid, 0, &path), -EPERM);
	ck_assert_int_eq(dr_paths_find(paths, &fid, 0, &path), -EPERM);
	ck_assert_uint_eq(dr_paths_n_asked(paths), 2);
	ck_assert_uint_eq(paths->n, 0);
	dr_paths_close(paths);
}
END_TEST

START_TEST(hsm_paths__need_a_file_system_with_fids)
{
	struct dr_paths *paths = NULL;

	ck_assert_int_eq(dr_paths_open("/nowhere/at/all", 0, &paths), -ENOENT);
	ck_assert_int_eq(dr_paths_open("/proc", 0, &paths), -EOPNOTSUPP);
	ck_assert_ptr_null(paths);
	dr_paths_close(NULL);
}
END_TEST

DR_UNIT_MAIN("hsm_paths", hsm_paths__are_asked_for_once,
	hsm_paths__are_asked_for_again_when_they_are_old, hsm_paths__go_the_oldest_first,
	hsm_paths__errors_are_not_kept, hsm_paths__need_a_file_system_with_fids)
