/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "clone_trees.h"

#define PART (256u << 10)
#define SIZE (3 * PART + 100)

struct whole {
	struct trees t;
	uint8_t *bytes;
	struct dr_clone_stamp stamp;
};

static void whole_fini(struct whole *w)
{
	free(w->bytes);
	trees_fini(&w->t);
}

static void whole_stamp(struct whole *w)
{
	struct stat st = trees_stat(w->t.from, "f");

	w->stamp = (struct dr_clone_stamp){ .ino = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime = st.st_mtim,
		.ctime = st.st_ctim };
}

static void whole_init(struct whole *w)
{
	uint64_t state = 7;

	trees_init(&w->t);
	w->bytes = dr_xcalloc(1, SIZE);
	for (size_t i = 0; i < SIZE; i++) {
		w->bytes[i] = (uint8_t)dr_unit_random(&state);
	}
	trees_write(w->t.from, "f", w->bytes, SIZE);
	ck_assert_int_eq(fchmodat(w->t.from, "f", 04711, 0), 0);
	whole_stamp(w);
}

static void part(struct whole *w, uint64_t i)
{
	dr_clone_part(
		&w->t.cloner, w->t.from, w->t.to, "f", &w->stamp, i * PART, PART, &w->t.outcome);
}

static void end(struct whole *w)
{
	dr_clone_end_parts(&w->t.cloner, w->t.from, w->t.to, "f", &w->stamp, &w->t.outcome);
}

START_TEST(parts__come_in_any_order_and_twice)
{
	struct whole w dr_cleanup(whole_fini);
	static const unsigned order[] = { 3, 1, 0, 3, 2, 0 };

	whole_init(&w);
	for (size_t i = 0; i < 6; i++) {
		w.t.cloner.no_range_copy = i % 2;
		part(&w, order[i]);
		trees_is(&w.t, DR_SUCCEEDED, DR_STEP_DONE, 0);
		ck_assert_uint_eq(w.t.outcome.bytes, order[i] == 3 ? 100 : PART);
		ck_assert(!trees_has(w.t.to, "f"));
	}
	end(&w);
	trees_is(&w.t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	trees_holds(w.t.to, "f", w.bytes, SIZE);
	ck_assert_uint_eq(trees_stat(w.t.to, "f").st_mode, S_IFREG | 04711);
	ck_assert_int_eq(trees_count(w.t.to), 1);
	/* A worker died between the rename and the settle. */
	end(&w);
	trees_is(&w.t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	trees_unneeded(&w.t, "f");
}
END_TEST

START_TEST(parts__of_a_changed_source_leave_nothing)
{
	struct whole w dr_cleanup(whole_fini);

	whole_init(&w);
	trees_text(w.t.to, "f", "old");
	part(&w, 0);
	part(&w, 1);
	ck_assert_int_eq(trees_count(w.t.to), 2);
	trees_write(w.t.from, "f", w.bytes, SIZE);
	part(&w, 2);
	trees_is(&w.t, DR_CHANGED, DR_STEP_VERSION, -ESTALE);
	end(&w);
	trees_is(&w.t, DR_CHANGED, DR_STEP_VERSION, -ESTALE);
	trees_holds(w.t.to, "f", "old", 3);
	ck_assert_int_eq(trees_count(w.t.to), 1);
}
END_TEST

START_TEST(parts__end_as_changed_when_the_source_changed_after_them)
{
	struct whole w dr_cleanup(whole_fini);

	whole_init(&w);
	for (uint64_t i = 0; i < 4; i++) {
		part(&w, i);
	}
	ck_assert_int_eq(fchmodat(w.t.from, "f", 0600, 0), 0);
	end(&w);
	trees_is(&w.t, DR_CHANGED, DR_STEP_VERSION, -ESTALE);
	ck_assert_int_eq(trees_count(w.t.to), 0);
}
END_TEST

START_TEST(parts__whose_file_is_gone_end_as_changed)
{
	struct whole w dr_cleanup(whole_fini);

	whole_init(&w);
	end(&w);
	trees_is(&w.t, DR_CHANGED, DR_STEP_SWAP, -ESTALE);
	part(&w, 0);
	ck_assert_int_eq(unlinkat(w.t.from, "f", 0), 0);
	end(&w);
	trees_is(&w.t, DR_GONE, DR_STEP_OPEN, -ENOENT);
	ck_assert_int_eq(trees_count(w.t.to), 0);
}
END_TEST

START_TEST(parts__of_two_versions_do_not_meet)
{
	struct whole w dr_cleanup(whole_fini);

	whole_init(&w);
	part(&w, 0);
	part(&w, 1);
	int fd = openat(w.t.from, "f", O_WRONLY | O_TRUNC);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	(void)close(fd);
	memset(w.bytes, 0, SIZE);
	whole_stamp(&w);
	for (uint64_t i = 0; i < 4; i++) {
		part(&w, i);
		trees_is(&w.t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	}
	end(&w);
	trees_is(&w.t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	trees_holds(w.t.to, "f", w.bytes, SIZE);
	ck_assert_int_eq(trees_stat(w.t.to, "f").st_blocks, 0);
}
END_TEST

START_TEST(parts__touch_nothing_in_a_dry_run)
{
	struct whole w dr_cleanup(whole_fini);

	whole_init(&w);
	w.t.cloner.dry_run = true;
	part(&w, 0);
	trees_is(&w.t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	end(&w);
	trees_is(&w.t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	ck_assert_int_eq(trees_count(w.t.to), 0);
}
END_TEST

DR_UNIT_MAIN("clone_parts", parts__come_in_any_order_and_twice,
	parts__of_a_changed_source_leave_nothing,
	parts__end_as_changed_when_the_source_changed_after_them,
	parts__whose_file_is_gone_end_as_changed, parts__of_two_versions_do_not_meet,
	parts__touch_nothing_in_a_dry_run)
