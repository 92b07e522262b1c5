/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "rig.h"

/* What goes wrong: OSTs that are down, full, closed or slow; lost objects; removed files; killed movers. */

/* ---- states of OSTs ---- */

START_TEST(ost__that_is_down_full_or_closed_takes_no_objects)
{
	static const struct {
		enum dr_lab_ost_state state;
		int error;
		uint32_t flag;
	} cases[] = {
		{ DR_LAB_IS_DOWN, -ENODEV, DR_OST_DOWN },
		{ DR_LAB_FULL, -ENOSPC, DR_OST_ENOSPC },
		{ DR_LAB_CLOSED, -ENOBUFS, DR_OST_NOCREATE },
	};
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_STRIPED, 1000, 1000, 1000);
	struct rig_hand hand;
	rig_hand_init(&rig, "file", &hand);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		rig_ost(&rig, RIG_OSTS / 2 + 1, cases[i].state);
		uint32_t ost = 99;
		ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), cases[i].error);
		ck_assert_uint_eq(ost, RIG_OSTS / 2 + 1);
		struct dr_ost *osts dr_cleanup(dr_freep) = NULL;
		size_t n;
		ck_assert_int_eq(rig.ops->osts(rig.fs, &osts, &n), 0);
		ck_assert_uint_eq(n, RIG_OSTS);
		ck_assert_uint_eq(osts[RIG_OSTS / 2 + 1].state, cases[i].flag);
		ck_assert_uint_eq(osts[RIG_OSTS / 2].state, 0);
		ck_assert_str_eq(osts[5].name, "lab-OST0005");
		if (cases[i].state == DR_LAB_FULL) {
			ck_assert_uint_eq(osts[RIG_OSTS / 2 + 1].avail_bytes, 0);
		}
		rig_check_books(&rig);
	}
	rig_ost(&rig, RIG_OSTS / 2 + 1, DR_LAB_UP);
	uint32_t ost;
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	rig_hand_fini(&hand);
	rig_fini(&rig);
}
END_TEST

START_TEST(ost__that_goes_down_gives_eio)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_STRIPED, 300000, 300000, 300000);
	struct rig_hand hand;
	rig_hand_init(&rig, "file", &hand);
	uint32_t ost = 99;
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	uint8_t buf[10] = { 1 };
	rig_ost(&rig, 1, DR_LAB_IS_DOWN);
	ck_assert_int_eq(rig.ops->read(hand.file, buf, 10, 0), 10);
	/* Short at the edge, an error behind it: never taken for the end of the file. */
	ck_assert_int_eq(rig.ops->read(hand.file, buf, 10, DR_STRIPE_ALIGN - 4), 4);
	ck_assert_int_eq(rig.ops->read(hand.file, buf, 10, DR_STRIPE_ALIGN), -EIO);
	rig_ost(&rig, RIG_OSTS / 2, DR_LAB_IS_DOWN);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, buf, 10, 0, &ost), -EIO);
	ck_assert_uint_eq(ost, RIG_OSTS / 2);
	rig_ost(&rig, RIG_OSTS / 2, DR_LAB_UP);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, buf, 10, 0, &ost), 0);
	rig_ost(&rig, RIG_OSTS / 2, DR_LAB_IS_DOWN);
	ck_assert_int_eq(rig.ops->vol_sync(hand.vol), -EIO);
	rig_ost(&rig, RIG_OSTS / 2, DR_LAB_UP);
	/* An error of a sync is not forgotten: bytes may be lost. */
	ck_assert_int_eq(rig.ops->vol_sync(hand.vol), -EIO);
	rig_hand_fini(&hand);
	rig_check_books(&rig);
	rig_fini(&rig);
}
END_TEST

START_TEST(ost__that_fills_up_says_enospc_and_keeps_its_books)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_PLAIN, 300000, 300000, 300000);
	atomic_store(&rig.lab->state->ost[RIG_OSTS / 2].size_bytes, 65536);
	struct rig_hand hand;
	rig_hand_init(&rig, "file", &hand);
	uint32_t ost = 99;
	static uint8_t bytes[300000];
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, bytes, 65536, 0, &ost), 0);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, bytes, 1, 65536, &ost), -ENOSPC);
	ck_assert_uint_eq(ost, RIG_OSTS / 2);
	/* What is there can be written again. */
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, bytes, 65536, 0, &ost), 0);
	rig_ost(&rig, RIG_OSTS / 2, DR_LAB_FULL);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, bytes, 65536, 0, &ost), 0);
	ck_assert_int_eq(rig.ops->vol_truncate(hand.vol, 4096), 0);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, bytes, 8192, 0, &ost), -ENOSPC);
	struct dr_ost osts[RIG_OSTS];
	dr_lab_osts(rig.lab, osts);
	ck_assert_uint_eq(osts[RIG_OSTS / 2].used_bytes, 4096);
	ck_assert_uint_eq(osts[RIG_OSTS / 2].total_bytes, 65536);
	rig_hand_fini(&hand);
	dr_lab_osts(rig.lab, osts);
	ck_assert_uint_eq(osts[RIG_OSTS / 2].used_bytes, 0);
	rig_check_books(&rig);
	rig_fini(&rig);
}
END_TEST

static void count_call(void *ctx)
{
	++*(int *)ctx;
}

START_TEST(ost__that_is_slow_keeps_callers_waiting_and_tells_them)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_PLAIN, 4096, 4096, 4096);
	atomic_store(&rig.lab->state->ost[0].latency_ms, 120);
	rig_ost(&rig, 0, DR_LAB_SLOW);
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(&rig, "file");
	int calls = 0;
	dr_fs_wait = (struct dr_fs_wait){ .fn = count_call, .ctx = &calls };
	uint8_t buf[4096];
	uint64_t before = dr_now_ns();
	ck_assert_int_eq(rig.ops->read(file, buf, sizeof(buf), 0), 4096);
	ck_assert_uint_ge(dr_now_ns() - before, 120000000u);
	ck_assert_int_ge(calls, 2);
	dr_fs_wait = (struct dr_fs_wait){ 0 };
	/* 4096 bytes at 40960 bytes per second. */
	atomic_store(&rig.lab->state->ost[0].latency_ms, 0);
	atomic_store(&rig.lab->state->ost[0].bandwidth, 40960);
	before = dr_now_ns();
	ck_assert_int_eq(rig.ops->read(file, buf, sizeof(buf), 0), 4096);
	ck_assert_uint_ge(dr_now_ns() - before, 100000000u);
	ck_assert_uint_lt(dr_now_ns() - before, 900000000u);
	dr_file_closep(&file);
	rig_fini(&rig);
}
END_TEST

static void break_lease(void *ctx)
{
	struct rig *rig = ctx;
	/* Breaks the lease without waiting for it. */
	int fd = openat(rig->ns, "file", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(errno, EWOULDBLOCK);
}

START_TEST(ost__that_is_slow_lets_go_when_the_lease_is_lost)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_PLAIN, 4096, 4096, 4096);
	struct rig_hand hand;
	rig_hand_init(&rig, "file", &hand);
	uint32_t ost;
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	for (uint32_t i = 0; i < RIG_OSTS; i++) {
		atomic_store(&rig.lab->state->ost[i].latency_ms, 100000);
		rig_ost(&rig, i, DR_LAB_SLOW);
	}
	rig_in_child(break_lease, &rig, 0);
	uint8_t buf[10];
	uint64_t before = dr_now_ns();
	ck_assert_int_eq(rig.ops->read(hand.file, buf, sizeof(buf), 0), -ECANCELED);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, buf, sizeof(buf), 0, &ost), -ECANCELED);
	ck_assert_uint_lt(dr_now_ns() - before, 500000000u);
	for (uint32_t i = 0; i < RIG_OSTS; i++) {
		rig_ost(&rig, i, DR_LAB_UP);
	}
	rig_hand_fini(&hand);
	rig_check_books(&rig);
	rig_fini(&rig);
}
END_TEST

/* ---- lost and removed ---- */

static int unlink_one(void *ctx, int dirfd, const char *name, const struct dr_layout_object *obj,
	const struct dr_fid *owner)
{
	(void)ctx;
	(void)obj;
	(void)owner;
	return unlinkat(dirfd, name, 0) < 0 ? -errno : 1;
}

START_TEST(read__past_a_lost_object_is_eio)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_STRIPED, 300000, 300000, 300000);
	ck_assert_int_eq(dr_lab_each_object(rig.lab, 1, unlink_one, NULL), 1);
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(&rig, "file");
	uint8_t buf[10];
	uint64_t start, end;
	ck_assert_int_eq(rig.ops->read(file, buf, 10, 0), 10);
	ck_assert_int_eq(rig.ops->read(file, buf, 10, DR_STRIPE_ALIGN), -EIO);
	ck_assert_int_eq(rig.ops->next_data(file, 0, &start, &end), -EIO);
	ck_assert_int_eq(rig_move(&rig, "file"), -EIO);
	rig_check_osts(&rig, "file", 0, RIG_OSTS / 2);
	dr_file_closep(&file);
	rig_fini(&rig);
}
END_TEST

START_TEST(settle__frees_the_objects_of_removed_files_only)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "gone", (enum rig_kind)_i, 300000, 300000, 300000);
	rig_make(&rig, "stays", RIG_PLAIN, 300000, 300000, 300000);
	rig_make(&rig, "moved-away", RIG_PLAIN, 10, 10, 10);
	ck_assert_int_eq(unlinkat(rig.ns, "gone", 0), 0);
	ck_assert_int_eq(mkdirat(rig.ns, "sub", 0755), 0);
	ck_assert_int_eq(renameat(rig.ns, "moved-away", rig.ns, "sub/new-name"), 0);
	uint64_t left, sum = 0;
	for (uint32_t i = 0; i < RIG_OSTS; i++) {
		ck_assert_int_eq(rig.ops->ost_settle(rig.fs, i, &left), 0);
		sum += left;
	}
	ck_assert_uint_eq(sum, 2);
	ck_assert_uint_eq(rig_count_objects(&rig), 2);
	ck_assert_int_eq(rig.ops->ost_settle(rig.fs, RIG_OSTS, &left), -EINVAL);
	rig_check_usage(&rig);
	rig_check_content(&rig, "stays", 300000, 300000, 300000);
	rig_check_layouts(&rig, 0);
	rig_fini(&rig);
}
END_TEST

START_TEST(released__file_is_read_from_the_archive)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", (enum rig_kind)_i, 1234567, 300000, 900000);
	int fd dr_cleanup(dr_fd_closep) = openat(rig.ns, "file", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(dr_lab_file_release(rig.lab, fd), 0);
	ck_assert_int_eq(dr_lab_file_release(rig.lab, fd), -EALREADY);
	ck_assert_uint_eq(rig_count_objects(&rig), 0);
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	ck_assert_int_eq(dr_lab_layout_get(rig.lab, fd, &bytes), 0);
	static const struct dr_rangeset none;
	struct dr_layout_look look;
	ck_assert_int_eq(dr_layout_look(bytes.data, bytes.len, &none, &look), 0);
	ck_assert(look.flags & DR_LAYOUT_RELEASED);
	rig_check_content(&rig, "file", 1234567, 300000, 900000);
	rig_check_books(&rig);
	rig_fini(&rig);
}
END_TEST

/* ---- killed movers ---- */

struct killed {
	struct rig *rig;
	const char *point; /* of DROVER_LAB_FAULT; "written": by itself, after the data */
};

/* In a process of its own, with a lab of its own, as a mover has. */
static void move_and_die(void *ctx)
{
	struct killed *killed = ctx;
	struct rig rig = *killed->rig;
	char path[96];
	(void)snprintf(path, sizeof(path), "%s/ns", rig.dir);
	ck_assert_int_eq(setenv("DROVER_LAB_FAULT", killed->point, 1), 0);
	ck_assert_int_eq(dr_fs_open(path, &rig.fs, &rig.prefix), 0);
	if (strcmp(killed->point, "written") == 0) {
		struct rig_hand hand;
		uint32_t ost;
		rig_hand_init(&rig, "file", &hand);
		ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
		ck_assert_int_eq(rig_copy(&rig, hand.file, hand.vol), 0);
		(void)raise(SIGKILL);
	}
	(void)!rig_move(&rig, "file");
}

static const char *const points[] = { "slot", "created", "charged", "written", "swap-before",
	"swap-after", "unlinked" };
#define N_POINTS ((int)(sizeof(points) / sizeof(*points)))
static const enum rig_kind killed_kinds[] = { RIG_PLAIN, RIG_PFL, RIG_MIRROR, RIG_LARGE };
#define N_KILLED_KINDS ((int)(sizeof(killed_kinds) / sizeof(*killed_kinds)))

START_TEST(kill__leaves_nothing_that_recovery_does_not_mend)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	const char *point = points[_i % N_POINTS];
	rig_make(&rig, "file", killed_kinds[_i / N_POINTS], 400000, 100000, 200000);
	uint64_t objects = rig_count_objects(&rig);
	struct killed killed = { &rig, point };
	rig_in_child(move_and_die, &killed, SIGKILL);
	rig_check_content(&rig, "file", 400000, 100000, 200000);
	ck_assert_int_eq(dr_lab_recover(rig.lab), 1);
	ck_assert_int_eq(dr_lab_recover(rig.lab), 0);
	ck_assert_uint_eq(rig_count_objects(&rig), objects);
	rig_check_content(&rig, "file", 400000, 100000, 200000);
	bool swapped = strcmp(point, "swap-after") == 0 || strcmp(point, "unlinked") == 0;
	rig_check_osts(&rig, "file", swapped ? RIG_OSTS / 2 : 0, swapped ? RIG_OSTS : RIG_OSTS / 2);
	/* The next one who has the lab for himself counts anew, and then all is exact. */
	ck_assert_uint_eq(atomic_load(&rig.lab->state->recount), 1);
	dr_fs_close(rig.fs);
	dr_lab_close(rig.lab);
	free(rig.prefix);
	ck_assert_int_eq(dr_lab_open(rig.dir, &rig.lab), 0);
	ck_assert_uint_eq(atomic_load(&rig.lab->state->recount), 0);
	char path[96];
	(void)snprintf(path, sizeof(path), "%s/ns", rig.dir);
	ck_assert_int_eq(dr_fs_open(path, &rig.fs, &rig.prefix), 0);
	rig_check_books(&rig);
	/* One layout file for a large layout, none else. */
	rig_check_layouts(&rig, killed_kinds[_i / N_POINTS] == RIG_LARGE);
	if (!swapped) {
		ck_assert_int_eq(rig_move(&rig, "file"), 0);
		rig_check_content(&rig, "file", 400000, 100000, 200000);
		rig_check_books(&rig);
	}
	rig_fini(&rig);
}
END_TEST

START_TEST(kill__between_two_movers_harms_only_its_own)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_STRIPED, 400000, 100000, 200000);
	rig_make(&rig, "other", RIG_STRIPED, 400000, 400000, 400000);
	/* A volatile of a process that lives, ours, must outlast the recovery. */
	struct rig_hand hand;
	uint32_t ost;
	rig_hand_init(&rig, "other", &hand);
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	ck_assert_int_eq(rig_copy(&rig, hand.file, hand.vol), 0);
	struct killed killed = { &rig, "swap-before" };
	rig_in_child(move_and_die, &killed, SIGKILL);
	ck_assert_int_eq(dr_lab_recover(rig.lab), 1);
	ck_assert_int_eq(rig.ops->vol_sync(hand.vol), 0);
	ck_assert_int_eq(rig.ops->swap(hand.file, hand.vol, hand.expect.data, hand.expect.len), 0);
	rig_hand_fini(&hand);
	rig_check_content(&rig, "other", 400000, 400000, 400000);
	rig_check_osts(&rig, "other", RIG_OSTS / 2, RIG_OSTS);
	rig_check_books(&rig);
	rig_fini(&rig);
}
END_TEST

START_TEST(kill__and_then_the_file_is_removed)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", _i ? RIG_LARGE : RIG_STRIPED, 400000, 100000, 200000);
	struct killed killed = { &rig, "swap-after" };
	rig_in_child(move_and_die, &killed, SIGKILL);
	ck_assert_int_eq(unlinkat(rig.ns, "file", 0), 0);
	ck_assert_int_eq(dr_lab_recover(rig.lab), 1);
	ck_assert_uint_eq(rig_count_objects(&rig), 0);
	rig_check_layouts(&rig, 0);
	rig_fini(&rig);
}
END_TEST

RIG_MAIN("contract-fault", { ost__that_is_down_full_or_closed_takes_no_objects, 1 },
	{ ost__that_goes_down_gives_eio, 1 },
	{ ost__that_fills_up_says_enospc_and_keeps_its_books, 1 },
	{ ost__that_is_slow_keeps_callers_waiting_and_tells_them, 1 },
	{ ost__that_is_slow_lets_go_when_the_lease_is_lost, 1 },
	{ read__past_a_lost_object_is_eio, 1 },
	{ settle__frees_the_objects_of_removed_files_only, RIG_KINDS },
	{ released__file_is_read_from_the_archive, RIG_KINDS },
	{ kill__leaves_nothing_that_recovery_does_not_mend, N_POINTS *N_KILLED_KINDS },
	{ kill__between_two_movers_harms_only_its_own, 1 },
	{ kill__and_then_the_file_is_removed, 2 })
