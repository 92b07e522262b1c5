/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "work/pool.h"
#include "work/target.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "unit.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)
#define N_OSTS 6

/* A file system that has OSTs and pools, and nothing else. */
struct fake {
	struct dr_fs base;
	struct dr_ost osts[N_OSTS];
	const struct dr_ost *v; /* osts, but where a test has more */
	uint32_t n;
	_Atomic unsigned looks; /* calls of osts */
	unsigned look_ms;       /* what each takes */
	int look_error;
	const char *pool; /* the only one; NULL: there is none */
	const char *pool_osts;
	_Atomic unsigned pool_looks;
	int pool_error;
};

static int fake_osts(struct dr_fs *fs, struct dr_ost **ret_osts, size_t *ret_n)
{
	struct fake *fake = dr_container_of(fs, struct fake, base);
	atomic_fetch_add(&fake->looks, 1);
	if (fake->look_ms) {
		dr_sleep_ms(fake->look_ms);
	}
	if (fake->look_error) {
		return fake->look_error;
	}
	*ret_osts = dr_xmemdup(fake->v, fake->n * sizeof(*fake->v));
	*ret_n = fake->n;
	return 0;
}

static int fake_pool_osts(struct dr_fs *fs, const char *pool, struct dr_rangeset *osts)
{
	struct fake *fake = dr_container_of(fs, struct fake, base);
	atomic_fetch_add(&fake->pool_looks, 1);
	if (fake->pool_error) {
		return fake->pool_error;
	}
	if (!fake->pool || strncmp(fake->pool, pool, strlen(fake->pool)) != 0) {
		return -ENOENT;
	}
	if (!fake->pool_osts[0]) {
		dr_rangeset_fini(osts);
		return 0;
	}
	return dr_rangeset_parse(fake->pool_osts, osts);
}

static const struct dr_fs_driver fake_driver = {
	.name = "fake",
	.osts = fake_osts,
	.pool_osts = fake_pool_osts,
};
static const struct dr_fs_driver poolless_driver = { .name = "fake", .osts = fake_osts };

static struct fake fake;
static struct dr_rangeset sources;

/* OSTs of 100 GiB with 90 free; the sources are 0 and 1. */
static struct dr_targets *start(unsigned reserve_percent)
{
	fake = (struct fake){ .base = { .ops = &fake_driver }, .n = N_OSTS };
	fake.v = fake.osts;
	for (uint32_t i = 0; i < N_OSTS; i++) {
		fake.osts[i] = (struct dr_ost){ .index = i,
			.total_bytes = 100 * GIB,
			.used_bytes = 10 * GIB,
			.avail_bytes = 90 * GIB };
	}
	ck_assert_int_eq(dr_rangeset_parse("0-1", &sources), 0);
	return dr_targets_new(&fake.base, &sources, reserve_percent);
}

static void end(struct dr_targets *targets)
{
	dr_targets_free(targets);
	dr_rangeset_fini(&sources);
}

static void put_object(struct dr_layout *layout, uint32_t comp, uint32_t i, uint32_t ost)
{
	layout->comps[comp].objects[i].ost = ost;
}

/* One component with objects on these OSTs ("1,3,1"). */
static void set_comp(struct dr_layout *layout, uint32_t c, const char *osts)
{
	struct dr_layout_comp *comp = &layout->comps[c];
	uint32_t n = 1;
	for (const char *p = osts; *p; p++) {
		n += *p == ',';
	}
	dr_layout_set_objects(layout, c, n);
	comp->pattern = DR_PATTERN_RAID0;
	comp->stripe_size = 1 << 20;
	comp->stripe_count = (uint16_t)n;
	for (uint32_t i = 0; i < n; i++) {
		char *next = NULL;
		put_object(layout, c, i, (uint32_t)strtoul(osts, &next, 10));
		osts = *next == ',' ? next + 1 : next;
	}
}

static struct dr_layout *plain(const char *osts, const char *pool)
{
	struct dr_layout *layout = dr_layout_new(DR_LAYOUT_PLAIN, 1);
	set_comp(layout, 0, osts);
	(void)snprintf(layout->comps[0].pool, sizeof(layout->comps[0].pool), "%s", pool);
	return layout;
}

/* Two mirrors of one component each. */
static struct dr_layout *mirrored(const char *first, const char *second)
{
	struct dr_layout *layout = dr_layout_new(DR_LAYOUT_COMPOSITE, 2);
	layout->mirror_count = 1;
	layout->flags = DR_LCM_RDONLY;
	layout->gen = 5;
	for (uint32_t c = 0; c < 2; c++) {
		set_comp(layout, c, c == 0 ? first : second);
		layout->comps[c].id = (c + 1) << 16 | (c + 1);
		layout->comps[c].flags = DR_COMP_INIT;
	}
	return layout;
}

static void osts_of(const struct dr_layout *layout, uint32_t c, char *text)
{
	*text = 0;
	for (uint32_t i = 0; i < layout->comps[c].n_objects; i++) {
		text += sprintf(text, "%s%u", i ? "," : "", layout->comps[c].objects[i].ost);
	}
}

/* How often each OST was chosen for the only object of a file on OST `from`, in `times` placements that arrive at once. */
static void count_choices(struct dr_targets *targets, const char *from, const char *pool,
	uint64_t size, unsigned times, unsigned counts[N_OSTS])
{
	struct dr_layout *file dr_cleanup(dr_layout_freep) = plain(from, pool);
	memset(counts, 0, N_OSTS * sizeof(*counts));
	for (unsigned i = 0; i < times; i++) {
		struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
		ck_assert_int_eq(dr_targets_place(targets, file, 0, size, &placed), 0);
		ck_assert_uint_lt(placed->comps[0].objects[0].ost, N_OSTS);
		counts[placed->comps[0].objects[0].ost]++;
		dr_targets_done(targets, placed, size);
	}
}

static int place(struct dr_targets *targets, const char *from, const char *pool, uint64_t size,
	struct dr_layout **ret_placed)
{
	struct dr_layout *file dr_cleanup(dr_layout_freep) = plain(from, pool);
	return dr_targets_place(targets, file, 0, size, ret_placed);
}

static int place_nothing(
	struct dr_targets *targets, const char *from, const char *pool, uint64_t size)
{
	struct dr_layout *placed = NULL;
	int r = place(targets, from, pool, size, &placed);
	ck_assert(r == 0 || !placed);
	if (r == 0) {
		dr_targets_done(targets, placed, size);
	}
	dr_layout_free(placed);
	return r;
}

static void assert_choices(const unsigned counts[N_OSTS], const char *allowed)
{
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = { 0 };
	ck_assert_int_eq(dr_rangeset_parse(allowed, &set), 0);
	for (uint32_t i = 0; i < N_OSTS; i++) {
		ck_assert_msg((counts[i] > 0) == dr_rangeset_has(&set, i), "OST %u: %u times", i,
			counts[i]);
	}
}

START_TEST(target__is_never_a_source)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	count_choices(targets, "0", "", MIB, 400, counts);
	assert_choices(counts, "2-5");
	ck_assert(dr_targets_is_source(targets, 1) && !dr_targets_is_source(targets, 2));
	end(targets);
}
END_TEST

START_TEST(target__leaves_objects_that_may_stay)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
	char text[64];
	ck_assert_int_eq(place(targets, "4,0,2", "", 10 * MIB, &placed), 0);
	osts_of(placed, 0, text);
	ck_assert(strcmp(text, "4,3,2") == 0 || strcmp(text, "4,5,2") == 0);
	end(targets);
}
END_TEST

START_TEST(target__keeps_its_reserve)
{
	struct dr_targets *targets = start(20);
	unsigned counts[N_OSTS];
	fake.osts[2].avail_bytes = 20 * GIB; /* the reserve, and nothing above it */
	fake.osts[3].avail_bytes = 20 * GIB + 100 * MIB;
	fake.osts[4].avail_bytes = 19 * GIB;
	count_choices(targets, "0", "", 99 * MIB, 4000, counts);
	ck_assert(counts[2] == 0 && counts[4] == 0 && counts[5] > counts[3]);
	count_choices(targets, "0", "", 101 * MIB, 100, counts);
	assert_choices(counts, "5");
	ck_assert_int_eq(place_nothing(targets, "0", "", 71 * GIB), -ENOSPC);
	end(targets);
}
END_TEST

START_TEST(target__is_an_ost_without_any_state)
{
	static const uint32_t states[] = { DR_OST_DEGRADED, DR_OST_READONLY, DR_OST_NOCREATE,
		DR_OST_ENOSPC, DR_OST_ENOINO, DR_OST_DOWN };
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		struct dr_targets *targets = start(5);
		unsigned counts[N_OSTS];
		fake.osts[3].state = states[i];
		count_choices(targets, "0", "", MIB, 200, counts);
		assert_choices(counts, "2,4-5");
		/* An object there goes, too: its copy would be a new object. */
		count_choices(targets, "3", "", MIB, 200, counts);
		assert_choices(counts, "2,4-5");
		end(targets);
	}
}
END_TEST

START_TEST(target__is_avoided_after_it_refused)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	count_choices(targets, "0", "", MIB, 1, counts);
	dr_targets_avoid(targets, 4);
	dr_targets_avoid(targets, 77); /* there is none */
	count_choices(targets, "0", "", MIB, 200, counts);
	assert_choices(counts, "2-3,5");
	for (uint32_t i = 2; i < N_OSTS; i++) {
		dr_targets_avoid(targets, i);
	}
	ck_assert_int_eq(place_nothing(targets, "0", "", MIB), -ENOSPC);
	end(targets);
}
END_TEST

START_TEST(target__counts_what_is_on_its_way)
{
	struct dr_targets *targets = start(0);
	struct dr_layout *placed[4] = { 0 };
	uint64_t own, others;
	char text[64];
	/* Each takes more than half of an OST: four files, four OSTs, and then none. */
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(place(targets, "0", "", 50 * GIB, &placed[i]), 0);
	}
	ck_assert_int_eq(place_nothing(targets, "0", "", 50 * GIB), -ENOSPC);
	dr_targets_flight_bytes(targets, &own, &others);
	ck_assert(own == 200 * GIB && others == 0);
	dr_targets_done(targets, placed[2], 50 * GIB);
	struct dr_layout *again dr_cleanup(dr_layout_freep) = NULL;
	ck_assert_int_eq(place(targets, "0", "", 50 * GIB, &again), 0);
	osts_of(placed[2], 0, text);
	ck_assert_uint_eq(again->comps[0].objects[0].ost, strtoul(text, NULL, 10));
	for (int i = 0; i < 4; i++) {
		dr_layout_free(placed[i]);
	}
	end(targets);
}
END_TEST

START_TEST(target__stripes_lie_apart_and_overstriped_where_they_must)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
	unsigned counts[N_OSTS] = { 0 };
	ck_assert_int_eq(place(targets, "0,1,0,1", "", 100 * MIB, &placed), 0);
	for (uint32_t i = 0; i < 4; i++) {
		counts[placed->comps[0].objects[i].ost]++;
	}
	for (uint32_t i = 2; i < N_OSTS; i++) {
		ck_assert_uint_eq(counts[i], 1);
	}
	ck_assert(!(placed->comps[0].pattern & DR_PATTERN_OVERSTRIPING));
	dr_layout_free(placed);
	placed = NULL;
	ck_assert_int_eq(place(targets, "0,1,0,1,0", "", 100 * MIB, &placed), 0);
	ck_assert(placed->comps[0].pattern & DR_PATTERN_OVERSTRIPING);
	end(targets);
}
END_TEST

/* ---- looking ---- */

START_TEST(target__is_looked_at_once_a_second)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	uint64_t began = dr_now_ns();
	count_choices(targets, "0", "", MIB, 1000, counts);
	ck_assert_uint_eq(fake.looks, 1);
	while (dr_now_ns() - began < 1300000000ull) {
		count_choices(targets, "0", "", MIB, 10, counts);
		dr_sleep_ms(5);
	}
	ck_assert_uint_eq(fake.looks, 2);
	end(targets);
}
END_TEST

START_TEST(target__is_looked_at_less_often_when_looking_is_dear)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	fake.look_ms = 100; /* then a look every 2.1 s is a twentieth of a thread */
	count_choices(targets, "0", "", MIB, 1, counts);
	uint64_t looked = dr_now_ns();
	while (dr_now_ns() - looked < 1800000000ull) {
		count_choices(targets, "0", "", MIB, 1, counts);
		dr_sleep_ms(10);
	}
	ck_assert_uint_eq(fake.looks, 1);
	while (dr_now_ns() - looked < 2400000000ull) {
		count_choices(targets, "0", "", MIB, 1, counts);
		dr_sleep_ms(10);
	}
	ck_assert_uint_eq(fake.looks, 2);
	end(targets);
}
END_TEST

START_TEST(target__is_looked_at_soon_after_one_was_avoided)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	fake.look_ms = 200;
	count_choices(targets, "0", "", MIB, 1, counts);
	uint64_t looked = dr_now_ns();
	while (dr_now_ns() - looked < 800000000ull) { /* not at each avoidance */
		dr_targets_avoid(targets, 2);
		count_choices(targets, "0", "", MIB, 1, counts);
		dr_sleep_ms(10);
	}
	ck_assert_uint_eq(fake.looks, 1);
	dr_sleep_ms(300);
	count_choices(targets, "0", "", MIB, 1, counts);
	ck_assert_uint_eq(fake.looks, 2);
	count_choices(targets, "0", "", MIB, 1, counts);
	ck_assert_uint_eq(fake.looks, 2); /* once for all of them */
	end(targets);
}
END_TEST

START_TEST(target__a_look_that_fails_leaves_what_is_known)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	fake.look_error = -EIO;
	ck_assert_int_eq(place_nothing(targets, "0", "", MIB), -EIO);
	fake.look_error = 0;
	count_choices(targets, "0", "", MIB, 1, counts);
	fake.look_error = -EIO;
	dr_sleep_ms(1050);
	count_choices(targets, "0", "", MIB, 100, counts);
	ck_assert_uint_eq(fake.looks, 3);
	assert_choices(counts, "2-5");
	end(targets);
}
END_TEST

static void *look_now(void *arg)
{
	ck_assert_int_eq(place_nothing(arg, "0", "", MIB), 0);
	return NULL;
}

START_TEST(target__one_thread_looks_and_the_others_go_on)
{
	struct dr_targets *targets = start(5);
	pthread_t thread;
	unsigned counts[N_OSTS];
	count_choices(targets, "0", "", MIB, 1, counts);
	dr_sleep_ms(1050);
	fake.look_ms = 500;
	ck_assert_int_eq(pthread_create(&thread, NULL, look_now, targets), 0);
	while (fake.looks < 2) {
		dr_sleep_ms(1);
	}
	uint64_t began = dr_now_ns();
	count_choices(targets, "0", "", MIB, 50, counts);
	ck_assert_uint_lt(dr_now_ns() - began, 300000000ull);
	(void)pthread_join(thread, NULL);
	ck_assert_uint_eq(fake.looks, 2);
	end(targets);
}
END_TEST

/* ---- pools ---- */

START_TEST(pool__binds_new_objects)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	fake.pool = "fast";
	fake.pool_osts = "0-3";
	count_choices(targets, "0", "fast", MIB, 200, counts);
	assert_choices(counts, "2-3");
	count_choices(targets, "0", "", MIB, 200, counts);
	assert_choices(counts, "2-5");
	ck_assert_uint_eq(fake.pool_looks, 1); /* remembered */
	end(targets);
}
END_TEST

START_TEST(pool__draws_in_what_lies_outside)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
	char text[64];
	fake.pool = "fast";
	fake.pool_osts = "2-4";
	ck_assert_int_eq(place(targets, "0,5,3", "fast", 10 * MIB, &placed), 0);
	osts_of(placed, 0, text);
	ck_assert_msg(strcmp(text, "2,4,3") == 0 || strcmp(text, "4,2,3") == 0, "%s", text);
	end(targets);
}
END_TEST

START_TEST(pool__overstripes_within_itself)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
	char text[64];
	fake.pool = "fast";
	fake.pool_osts = "2";
	ck_assert_int_eq(place(targets, "0,1,5", "fast", 10 * MIB, &placed), 0);
	osts_of(placed, 0, text);
	ck_assert_str_eq(text, "2,2,2");
	ck_assert(placed->comps[0].pattern & DR_PATTERN_OVERSTRIPING);
	end(targets);
}
END_TEST

START_TEST(pool__of_sources_alone_has_no_space)
{
	struct dr_targets *targets = start(5);
	fake.pool = "fast";
	fake.pool_osts = "0-1,3";
	fake.osts[3].state = DR_OST_NOCREATE;
	ck_assert_int_eq(place_nothing(targets, "0", "fast", MIB), -ENOSPC);
	ck_assert_int_eq(place_nothing(targets, "0", "", MIB), 0);
	end(targets);
}
END_TEST

START_TEST(pool__that_is_gone_or_empty_binds_nothing)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	count_choices(targets, "0", "gone", MIB, 200, counts);
	assert_choices(counts, "2-5");
	fake.pool = "empty";
	fake.pool_osts = "";
	count_choices(targets, "0", "empty", MIB, 200, counts);
	assert_choices(counts, "2-5");
	ck_assert_uint_eq(fake.pool_looks, 2); /* that there is none is remembered as well */
	end(targets);
}
END_TEST

START_TEST(pool__binds_nothing_where_the_driver_has_none)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	fake.base.ops = &poolless_driver;
	count_choices(targets, "0", "fast", MIB, 200, counts);
	assert_choices(counts, "2-5");
	end(targets);
}
END_TEST

START_TEST(pool__binds_its_own_component_only)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *file dr_cleanup(dr_layout_freep) = dr_layout_new(DR_LAYOUT_COMPOSITE, 2);
	fake.pool = "fast";
	fake.pool_osts = "2";
	unsigned others = 0;
	for (uint32_t c = 0; c < 2; c++) {
		set_comp(file, c, "0");
		file->comps[c].flags = DR_COMP_INIT;
	}
	file->comps[0].end = file->comps[1].start = MIB;
	memcpy(file->comps[1].pool, "fast", sizeof("fast"));
	for (int i = 0; i < 50; i++) {
		struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
		ck_assert_int_eq(dr_targets_place(targets, file, 0, 4 * MIB, &placed), 0);
		ck_assert_uint_eq(placed->comps[1].objects[0].ost, 2);
		ck_assert_str_eq(placed->comps[1].pool, "fast");
		others += placed->comps[0].objects[0].ost != 2;
		dr_targets_done(targets, placed, 4 * MIB);
	}
	ck_assert_uint_gt(others, 10);
	end(targets);
}
END_TEST

START_TEST(pool__that_changed_is_looked_up_when_the_file_system_says_so)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	fake.pool = "fast";
	fake.pool_osts = "2-3";
	count_choices(targets, "0", "fast", MIB, 100, counts);
	fake.pool_osts = "4";
	count_choices(targets, "0", "fast", MIB, 100, counts);
	assert_choices(counts, "2-3");
	dr_targets_forget_pools(targets);
	count_choices(targets, "0", "fast", MIB, 100, counts);
	assert_choices(counts, "4");
	end(targets);
}
END_TEST

START_TEST(pool__that_cannot_be_read_is_an_error)
{
	struct dr_targets *targets = start(5);
	fake.pool_error = -EIO;
	ck_assert_int_eq(place_nothing(targets, "0", "fast", MIB), -EIO);
	ck_assert_int_eq(place_nothing(targets, "0", "", MIB), 0);
	fake.pool_error = 0; /* and is tried again with the next file */
	fake.pool = "fast";
	fake.pool_osts = "5";
	ck_assert_int_eq(place_nothing(targets, "0", "fast", MIB), 0);
	end(targets);
}
END_TEST

START_TEST(pool__memory_is_bounded)
{
	struct dr_targets *targets = start(5);
	unsigned counts[N_OSTS];
	char name[DR_POOL_MAX + 1];
	fake.pool = "p"; /* all that begin so */
	fake.pool_osts = "5";
	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < 200; i++) {
			(void)snprintf(name, sizeof(name), "p%d", i);
			count_choices(targets, "0", name, MIB, 2, counts);
			assert_choices(counts, "5");
			count_choices(targets, "0", "pool-in-use", MIB, 1, counts);
		}
	}
	/* Each is looked up again in the second turn, for it was dropped; the one that is always asked for never was. */
	ck_assert_uint_eq(fake.pool_looks, 401);
	end(targets);
}
END_TEST

/* ---- mirrors ---- */

START_TEST(mirror__others_are_kept_apart)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *file dr_cleanup(dr_layout_freep) = mirrored("0,1", "2,3");
	for (int i = 0; i < 50; i++) {
		struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
		char text[64];
		ck_assert_int_eq(dr_targets_place(targets, file, 0, 100 * MIB, &placed), 0);
		ck_assert_uint_eq(placed->n_comps, 2);
		osts_of(placed, 0, text);
		ck_assert_msg(strcmp(text, "4,5") == 0 || strcmp(text, "5,4") == 0, "%s", text);
		osts_of(placed, 1, text);
		ck_assert_str_eq(text, "2,3");
		dr_targets_done(targets, placed, 100 * MIB);
	}
	end(targets);
}
END_TEST

START_TEST(mirror__is_placed_alone)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *file dr_cleanup(dr_layout_freep) = mirrored("0,1", "2,0");
	file->comps[0].flags |= DR_COMP_STALE; /* counts like any other */
	for (int i = 0; i < 50; i++) {
		for (uint32_t mirror = 1; mirror <= 2; mirror++) {
			struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
			uint64_t own, others;
			char text[64];
			ck_assert_int_eq(
				dr_targets_place(targets, file, mirror, 100 * MIB, &placed), 0);
			ck_assert(placed->n_comps == 1 && placed->mirror_count == 0);
			ck_assert(placed->flags == 0 && placed->comps[0].id == 0);
			ck_assert_uint_eq(placed->comps[0].flags, DR_COMP_INIT);
			osts_of(placed, 0, text);
			if (mirror == 1) {
				ck_assert_msg(!strchr(text, '0') && !strchr(text, '1') &&
						      !strchr(text, '2'),
					"%s", text);
			} else {
				ck_assert_msg(
					strncmp(text, "2,", 2) == 0 && text[2] >= '3', "%s", text);
			}
			/* Only that mirror's bytes are on their way. */
			dr_targets_flight_bytes(targets, &own, &others);
			ck_assert_uint_eq(own, 100 * MIB);
			dr_targets_done(targets, placed, 100 * MIB);
			dr_targets_flight_bytes(targets, &own, &others);
			ck_assert_uint_eq(own, 0);
		}
	}
	end(targets);
}
END_TEST

START_TEST(mirror__shares_an_ost_rather_than_stay)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *file dr_cleanup(dr_layout_freep) = mirrored("0", "4");
	struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
	fake.osts[2].state = fake.osts[3].state = fake.osts[5].state = DR_OST_NOCREATE;
	ck_assert_int_eq(dr_targets_place(targets, file, 1, MIB, &placed), 0);
	ck_assert_uint_eq(placed->comps[0].objects[0].ost, 4);
	end(targets);
}
END_TEST

START_TEST(mirror__that_is_not_there_is_refused)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *file dr_cleanup(dr_layout_freep) = mirrored("0", "2");
	struct dr_layout *placed = NULL;
	ck_assert_int_eq(dr_targets_place(targets, file, 3, MIB, &placed), -EINVAL);
	ck_assert_ptr_null(placed);
	end(targets);
}
END_TEST

/* ---- pinned ---- */

START_TEST(pinned__names_other_osts_and_weighs_nothing)
{
	struct dr_targets *targets = start(0);
	struct dr_layout *file dr_cleanup(dr_layout_freep) = dr_layout_new(DR_LAYOUT_COMPOSITE, 2);
	uint64_t own, others;
	set_comp(file, 0, "2");
	set_comp(file, 1, "0,3,1");
	file->comps[0].flags = DR_COMP_INIT;
	file->comps[0].end = file->comps[1].start = MIB;
	file->comps[1].magic = DR_LOV_MAGIC_SPECIFIC;
	/* The file reaches into the component, where it has a hole; and no OST could take so much. */
	for (int i = 0; i < 50; i++) {
		struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
		ck_assert_int_eq(dr_targets_place(targets, file, 0, 1000 * GIB, &placed), 0);
		const struct dr_layout_comp *comp = &placed->comps[1];
		ck_assert(comp->magic == DR_LOV_MAGIC_SPECIFIC && comp->n_objects == 3 &&
			  !(comp->flags & DR_COMP_INIT));
		ck_assert_uint_eq(placed->comps[0].objects[0].ost, 2);
		ck_assert_uint_eq(comp->objects[1].ost, 3);
		for (uint32_t k = 0; k < 3; k += 2) {
			ck_assert_uint_ge(comp->objects[k].ost, 2);
			ck_assert_uint_ne(comp->objects[k].ost, 3);
			ck_assert(dr_fid_is_zero(&comp->objects[k].fid));
		}
		ck_assert_uint_ne(comp->objects[0].ost, comp->objects[2].ost);
		dr_targets_flight_bytes(targets, &own, &others);
		ck_assert_uint_eq(own, MIB);
		dr_targets_done(targets, placed, 1000 * GIB);
	}
	end(targets);
}
END_TEST

START_TEST(pinned__obeys_its_pool)
{
	struct dr_targets *targets = start(5);
	struct dr_layout *file dr_cleanup(dr_layout_freep) = dr_layout_new(DR_LAYOUT_COMPOSITE, 1);
	struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
	char text[64];
	set_comp(file, 0, "3,1");
	file->comps[0].magic = DR_LOV_MAGIC_SPECIFIC;
	memcpy(file->comps[0].pool, "fast", sizeof("fast"));
	fake.pool = "fast";
	fake.pool_osts = "4-5";
	ck_assert_int_eq(dr_targets_place(targets, file, 0, MIB, &placed), 0);
	osts_of(placed, 0, text);
	ck_assert_msg(strcmp(text, "4,5") == 0 || strcmp(text, "5,4") == 0, "%s", text);
	end(targets);
}
END_TEST

/* ---- what others have on its way ---- */

static void hear(struct dr_targets *targets, const char *sum, uint64_t number, const char *told)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dr_targets_tell_flight(targets, &text);
	dr_unit_text(&text, told);
	ck_assert_int_eq(dr_targets_hear_flight(targets, sum, strlen(sum), number), 0);
}

static uint64_t others_of(struct dr_targets *targets)
{
	uint64_t own, others;
	dr_targets_flight_bytes(targets, &own, &others);
	return others;
}

START_TEST(flight__of_others_shifts_the_choice)
{
	struct dr_targets *targets = start(0);
	unsigned counts[N_OSTS];
	char sum[64];
	count_choices(targets, "0", "", MIB, 1, counts);
	(void)snprintf(
		sum, sizeof(sum), "2:%ju,3:%ju", (uintmax_t)(90 * GIB), (uintmax_t)(80 * GIB));
	hear(targets, "", 1, "");
	hear(targets, sum, 2, "");
	count_choices(targets, "0", "", MIB, 4000, counts);
	ck_assert_uint_eq(counts[2], 0);
	/* 10 GiB are left on OST 3, 90 on 4 and on 5. */
	ck_assert(counts[3] > 40 && counts[3] * 4 < counts[4] && counts[3] * 4 < counts[5]);
	count_choices(targets, "0", "", 11 * GIB, 200, counts);
	assert_choices(counts, "4-5");
	hear(targets, "", 3, "");
	count_choices(targets, "0", "", MIB, 400, counts);
	assert_choices(counts, "2-5");
	end(targets);
}
END_TEST

START_TEST(flight__of_others_outlives_a_look_at_the_osts)
{
	struct dr_targets *targets = start(0);
	unsigned counts[N_OSTS];
	count_choices(targets, "0", "", MIB, 1, counts);
	hear(targets, "", 1, "");
	hear(targets, "4:1000", 2, "");
	dr_sleep_ms(1050);
	count_choices(targets, "0", "", MIB, 1, counts);
	ck_assert_uint_eq(fake.looks, 2);
	ck_assert_uint_eq(others_of(targets), 1000);
	end(targets);
}
END_TEST

START_TEST(flight__of_ours_is_taken_from_the_sum_as_it_was_told)
{
	struct dr_targets *targets = start(0);
	struct dr_layout *first dr_cleanup(dr_layout_freep) = NULL;
	struct dr_layout *second dr_cleanup(dr_layout_freep) = NULL;
	fake.osts[2].state = fake.osts[3].state = fake.osts[4].state = DR_OST_DOWN;
	ck_assert_int_eq(place(targets, "0", "", 1000, &first), 0);
	hear(targets, "5:1", 1, "5:1000"); /* a sum of some time before: nothing is known of it */
	ck_assert_uint_eq(others_of(targets), 0);
	ck_assert_int_eq(place(targets, "0", "", 500, &second), 0);
	hear(targets, "5:1700", 2, "5:1500"); /* was made after 1000 was told, and before 1500 */
	ck_assert_uint_eq(others_of(targets), 700);
	hear(targets, "5:1700", 2, "5:1500"); /* the same sum again */
	ck_assert_uint_eq(others_of(targets), 700);
	dr_targets_done(targets, second, 500);
	hear(targets, "5:1600", 3, "5:1000"); /* from 1500 */
	ck_assert_uint_eq(others_of(targets), 100);
	hear(targets, "5:400", 4, "5:1000"); /* less than ours: never below nothing */
	ck_assert_uint_eq(others_of(targets), 0);
	end(targets);
}
END_TEST

START_TEST(flight__after_an_answer_that_was_lost_the_sum_is_not_used)
{
	struct dr_targets *targets = start(0);
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	unsigned counts[N_OSTS];
	count_choices(targets, "0", "", MIB, 1, counts);
	hear(targets, "", 1, "");
	hear(targets, "5:50", 2, "");
	ck_assert_uint_eq(others_of(targets), 50);
	dr_targets_tell_flight(targets, &text); /* no answer */
	hear(targets, "5:70", 3, "");
	ck_assert_uint_eq(others_of(targets), 50);
	hear(targets, "5:80", 4, "");
	ck_assert_uint_eq(others_of(targets), 80);
	end(targets);
}
END_TEST

START_TEST(flight__garbage_changes_nothing)
{
	struct dr_targets *targets = start(0);
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	unsigned counts[N_OSTS];
	count_choices(targets, "0", "", MIB, 1, counts);
	hear(targets, "", 1, "");
	hear(targets, "5:50", 2, "");
	dr_targets_tell_flight(targets, &text);
	ck_assert_int_eq(dr_targets_hear_flight(targets, "5:1,x", 5, 3), -EBADMSG);
	ck_assert_uint_eq(others_of(targets), 50);
	hear(targets, "5:60,999:7", 4, ""); /* OSTs that we do not know are none of ours */
	ck_assert_uint_eq(others_of(targets), 60);
	end(targets);
}
END_TEST

START_TEST(flight__of_many_osts_is_told_in_part_and_taken_back_in_part)
{
	enum { MANY = 300, TOLD = 32, LAST = 10 + 2 * (MANY - 1) };
	static struct dr_ost osts[MANY];
	struct dr_targets *targets = start(0);
	struct dr_layout *file dr_cleanup(dr_layout_freep) = dr_layout_new(DR_LAYOUT_PLAIN, 1);
	struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_set_objects(file, 0, MANY);
	file->comps[0].stripe_size = 1 << 16;
	for (uint32_t i = 0; i < MANY; i++) { /* with gaps between their indices */
		osts[i] = fake.osts[2];
		osts[i].index = 10 + 2 * i;
		put_object(file, 0, i, osts[i].index);
	}
	fake.v = osts;
	fake.n = MANY;
	ck_assert_int_eq(dr_targets_place(targets, file, 0, UINT64_C(65536) * MANY, &placed), 0);
	dr_targets_tell_flight(targets, &text);
	ck_assert_int_eq(dr_targets_hear_flight(targets, "", 0, 1), 0);
	unsigned commas = 0;
	for (size_t i = 0; i < text.len; i++) {
		commas += text.data[i] == ',';
	}
	ck_assert_uint_eq(commas, TOLD - 1);
	/* The sum holds what we told, and what somebody else told of an OST of which we told nothing. */
	dr_buf_printf(&text, ",%d:9", LAST);
	struct dr_buf again dr_cleanup(dr_buf_fini) = { 0 };
	dr_targets_tell_flight(targets, &again);
	ck_assert_int_eq(dr_targets_hear_flight(targets, (const char *)text.data, text.len, 2), 0);
	ck_assert_uint_eq(others_of(targets), 9);
	end(targets);
}
END_TEST

/* ---- all at once ---- */

static _Atomic bool stop;

static void *place_often(void *arg)
{
	static const char *const pools[] = { "", "p1", "p2", "q" };
	struct dr_targets *targets = arg;
	unsigned turn = 0;
	while (!atomic_load(&stop)) {
		struct dr_layout *file dr_cleanup(dr_layout_freep) =
			plain("0,4", pools[turn++ % 4]);
		struct dr_layout *placed dr_cleanup(dr_layout_freep) = NULL;
		ck_assert_int_eq(dr_targets_place(targets, file, 0, MIB, &placed), 0);
		for (uint32_t i = 0; i < 2; i++) {
			uint32_t ost = placed->comps[0].objects[i].ost;
			ck_assert(ost >= 2 && (placed->comps[0].pool[0] != 'p' || ost >= 4));
		}
		dr_targets_done(targets, placed, MIB);
	}
	return NULL;
}

START_TEST(target__serves_many_threads)
{
	struct dr_targets *targets = start(5);
	pthread_t threads[4];
	uint64_t own = 1, others, began = dr_now_ns();
	fake.pool = "p";
	fake.pool_osts = "4-5";
	atomic_store(&stop, false);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_create(&threads[i], NULL, place_often, targets), 0);
	}
	for (uint64_t number = 0; dr_now_ns() - began < 1500000000ull; number++) {
		struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
		dr_targets_tell_flight(targets, &text);
		ck_assert_int_eq(
			dr_targets_hear_flight(targets, (const char *)text.data, text.len, number),
			0);
		dr_targets_avoid(targets, 2 + number % 2);
		dr_targets_forget_pools(targets);
		dr_sleep_ms(1);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++) {
		(void)pthread_join(threads[i], NULL);
	}
	dr_targets_flight_bytes(targets, &own, &others);
	ck_assert_uint_eq(own, 0);
	ck_assert_uint_le(fake.looks, 3);
	end(targets);
}
END_TEST

DR_UNIT_MAIN("target", target__is_never_a_source, target__leaves_objects_that_may_stay,
	target__keeps_its_reserve, target__is_an_ost_without_any_state,
	target__is_avoided_after_it_refused, target__counts_what_is_on_its_way,
	target__stripes_lie_apart_and_overstriped_where_they_must,
	target__is_looked_at_once_a_second, target__is_looked_at_less_often_when_looking_is_dear,
	target__is_looked_at_soon_after_one_was_avoided,
	target__a_look_that_fails_leaves_what_is_known,
	target__one_thread_looks_and_the_others_go_on, pool__binds_new_objects,
	pool__draws_in_what_lies_outside, pool__overstripes_within_itself,
	pool__of_sources_alone_has_no_space, pool__that_is_gone_or_empty_binds_nothing,
	pool__binds_nothing_where_the_driver_has_none, pool__binds_its_own_component_only,
	pool__that_changed_is_looked_up_when_the_file_system_says_so,
	pool__that_cannot_be_read_is_an_error, pool__memory_is_bounded,
	mirror__others_are_kept_apart, mirror__is_placed_alone,
	mirror__shares_an_ost_rather_than_stay, mirror__that_is_not_there_is_refused,
	pinned__names_other_osts_and_weighs_nothing, pinned__obeys_its_pool,
	flight__of_others_shifts_the_choice, flight__of_others_outlives_a_look_at_the_osts,
	flight__of_ours_is_taken_from_the_sum_as_it_was_told,
	flight__after_an_answer_that_was_lost_the_sum_is_not_used, flight__garbage_changes_nothing,
	flight__of_many_osts_is_told_in_part_and_taken_back_in_part, target__serves_many_threads)
