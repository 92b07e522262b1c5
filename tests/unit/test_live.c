/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/live.h"

#include <stdio.h>

#include "unit.h"

/* An event as short as a test needs it: what is NULL or 0 is not there. */
struct told {
	const char *mdt;
	enum dr_event_type type;
	uint64_t rec; /* 0: it has no index */
	const char *fid, *action, *status, *action_key;
	int64_t timestamp, first_seen;
	uint64_t id_ms;
};

static void tell(struct dr_live *live, struct told told)
{
	struct dr_reader_event event = {
		.mdt = told.mdt ? told.mdt : "fs-MDT0000",
		.id = { .ms = told.id_ms ? told.id_ms : 5000000 },
		.event = {
			.type = told.type,
			.has_idx = told.rec > 0,
			.cat = 1,
			.rec = told.rec,
			.timestamp = told.timestamp,
			.first_seen = told.first_seen,
			.fid = dr_span_of(told.fid),
			.action = dr_span_of(told.action),
			.status = dr_span_of(told.status),
			.action_key = dr_span_of(told.action_key),
		},
	};
	ck_assert_int_eq(dr_live_take(live, &event), 0);
}

#define NEW(...) tell(live, (struct told){ .type = DR_EVENT_NEW, __VA_ARGS__ })
#define UPDATE(...) tell(live, (struct told){ .type = DR_EVENT_UPDATE, __VA_ARGS__ })
#define PURGED(...) tell(live, (struct told){ .type = DR_EVENT_PURGED, __VA_ARGS__ })
#define A(n)                                                                                       \
	.fid = "0x200000401:0x" #n ":0x0", .action = "ARCHIVE",                                    \
	.action_key = "0x200000401:0x" #n ":0x0:ARCHIVE"
#define R(n)                                                                                       \
	.fid = "0x200000401:0x" #n ":0x0", .action = "RESTORE",                                    \
	.action_key = "0x200000401:0x" #n ":0x0:RESTORE"

/* "MDT ACTION STATUS count oldest stalled", a line for each group. */
static const char *groups(struct dr_live *live, int64_t stalled_before_s)
{
	static struct dr_buf out;
	struct dr_live_group *found dr_cleanup(dr_freep) = NULL;
	size_t n;

	dr_buf_clear(&out);
	dr_live_groups(live, stalled_before_s, &found, &n);
	for (size_t i = 0; i < n; i++) {
		dr_buf_printf(&out, "%s %s %s %d %d %d\n", found[i].mdt, found[i].action,
			found[i].status, (int)found[i].count, (int)found[i].oldest_s,
			(int)found[i].stalled);
	}
	return dr_buf_cstr(&out);
}

static struct dr_live_totals totals(struct dr_live *live)
{
	struct dr_live_totals all;

	dr_live_totals(live, &all);
	return all;
}

START_TEST(live__groups_what_is_live_by_mdt_action_and_status)
{
	struct dr_live *live = dr_live_new();

	ck_assert_str_eq(groups(live, 0), "");
	NEW(.mdt = "b", .rec = 1, A(1), .status = "WAITING", .timestamp = 100);
	NEW(.mdt = "a", .rec = 1, R(1), .status = "STARTED", .timestamp = 90);
	NEW(.mdt = "a", .rec = 2, A(2), .status = "WAITING", .timestamp = 80);
	NEW(.mdt = "a", .rec = 3, A(3), .status = "WAITING", .timestamp = 70);
	ck_assert_str_eq(groups(live, 75), "a ARCHIVE WAITING 2 70 1\n"
					   "a RESTORE STARTED 1 90 0\n"
					   "b ARCHIVE WAITING 1 100 0\n");
	UPDATE(.mdt = "a", .rec = 3, A(3), .status = "SUCCEED", .timestamp = 120);
	PURGED(.mdt = "b", .rec = 1, .timestamp = 130, .id_ms = 6000000);
	ck_assert_str_eq(groups(live, 1000), "a ARCHIVE SUCCEED 1 70 0\n"
					     "a ARCHIVE WAITING 1 80 1\n"
					     "a RESTORE STARTED 1 90 1\n");

	struct dr_live_totals all = totals(live);

	ck_assert_uint_eq(all.live, 3);
	ck_assert_uint_eq(all.events, 6);
	ck_assert_uint_eq(all.begun, 4);
	ck_assert_uint_eq(all.succeeded, 1);
	ck_assert_uint_eq(all.purged, 1);
	ck_assert_int_eq(all.oldest_s, 70);
	ck_assert_uint_eq(all.last_event_ms, 6000000);
	dr_live_free(live);
}
END_TEST

START_TEST(live__forgets_an_action_however_its_purge_was_made)
{
	struct dr_live *live = dr_live_new();

	NEW(.rec = 1, A(1), .status = "STARTED");
	NEW(.rec = 2, A(2), .status = "STARTED");
	NEW(.rec = 3, A(2), .status = "STARTED"); /* the same request again */
	NEW(.mdt = "other", .rec = 2, A(2), .status = "STARTED");
	PURGED(.rec = 1);
	PURGED(.action_key = "0x200000401:0x2:0x0:ARCHIVE");
	PURGED(.action_key = "nobody");
	PURGED(.rec = 77);
	PURGED(.fid = "without key or index");
	ck_assert_uint_eq(totals(live).live, 1);
	ck_assert_str_eq(groups(live, 0), "other ARCHIVE STARTED 1 5000 0\n");
	dr_live_free(live);
}
END_TEST

START_TEST(live__keeps_what_begins_after_a_purge_without_index)
{
	struct dr_live *live = dr_live_new();

	NEW(.rec = 1, A(1), .status = "WAITING", .timestamp = 10);
	NEW(.rec = 2, A(1), .status = "WAITING", .timestamp = 20);
	NEW(.rec = 3, A(3), .status = "WAITING", .timestamp = 30);
	PURGED(.action_key = "0x200000401:0x1:0x0:ARCHIVE");
	PURGED(.action_key = "0x200000401:0x3:0x0:ARCHIVE");
	UPDATE(.rec = 2, A(1), .status = "STARTED", .timestamp = 40); /* lives again */
	UPDATE(.rec = 3, R(3), .status = "WAITING", .timestamp = 50); /* another */
	ck_assert_str_eq(groups(live, 0), "fs-MDT0000 ARCHIVE STARTED 1 40 0\n"
					  "fs-MDT0000 RESTORE WAITING 1 50 0\n");
	/* Purges that were applied are forgotten. */
	NEW(.rec = 1, A(1), .status = "WAITING", .timestamp = 60);
	ck_assert_uint_eq(totals(live).live, 3);
	dr_live_free(live);
}
END_TEST

START_TEST(live__applies_many_purges_without_index_in_few_passes)
{
	enum { N = 200000 };
	struct dr_live *live = dr_live_new();
	char fid[64], key[80];

	for (int i = 0; i < N; i++) {
		(void)snprintf(fid, sizeof(fid), "0x200000401:0x%x:0x0", i);
		(void)snprintf(key, sizeof(key), "%s:ARCHIVE", fid);
		NEW(.rec = (uint64_t)i + 1, .fid = fid, .action = "ARCHIVE", .status = "STARTED",
			.action_key = key);
	}
	for (int i = 0; i < N; i++) {
		(void)snprintf(key, sizeof(key), "0x200000401:0x%x:0x0:ARCHIVE", i);
		PURGED(.action_key = key);
		if (i % 2) { /* each of them would be a pass of its own */
			NEW(.rec = (uint64_t)i + 1, .fid = "f", .action = "ARCHIVE",
				.status = "STARTED", .action_key = key);
		}
	}
	ck_assert_uint_eq(totals(live).live, N / 2);
	dr_live_free(live);
}
END_TEST

START_TEST(live__gives_an_index_to_the_request_that_holds_it_now)
{
	struct dr_live *live = dr_live_new();

	NEW(.rec = 1, A(1), .status = "SUCCEED", .timestamp = 10);
	UPDATE(.rec = 1, R(2), .status = "SUCCEED", .timestamp = 20);
	ck_assert_str_eq(groups(live, 0), "fs-MDT0000 RESTORE SUCCEED 1 20 0\n");
	ck_assert_uint_eq(totals(live).succeeded, 2);
	/* One without action_key is told by its FID and action. */
	UPDATE(.rec = 1, .fid = "0x200000401:0x2:0x0", .action = "RESTORE", .status = "SUCCEED",
		.timestamp = 30);
	ck_assert_str_eq(groups(live, 0), "fs-MDT0000 RESTORE SUCCEED 1 20 0\n");
	ck_assert_uint_eq(totals(live).succeeded, 2);
	dr_live_free(live);
}
END_TEST

START_TEST(live__takes_a_new_that_comes_twice_for_one)
{
	struct dr_live *live = dr_live_new();

	NEW(.rec = 1, A(1), .status = "FAILED", .timestamp = 10);
	NEW(.rec = 1, A(1), .status = "FAILED", .timestamp = 10);
	ck_assert_uint_eq(totals(live).live, 1);
	ck_assert_uint_eq(totals(live).begun, 1);
	ck_assert_uint_eq(totals(live).failed, 1);
	dr_live_free(live);
}
END_TEST

START_TEST(live__tells_age_by_first_seen_then_timestamp_then_id)
{
	struct dr_live *live = dr_live_new();

	NEW(.rec = 1, A(1), .status = "a", .timestamp = 100, .first_seen = 50);
	NEW(.rec = 2, A(2), .status = "b", .timestamp = 100);
	NEW(.rec = 3, A(3), .status = "c", .id_ms = 70999);
	UPDATE(.rec = 4, A(4), .status = "d", .timestamp = 300, .first_seen = 60);
	UPDATE(.rec = 5, A(5), .status = "e", .timestamp = 300);
	UPDATE(.rec = 2, A(2), .status = "b", .timestamp = 400);
	UPDATE(.rec = 3, A(3), .status = "c", .timestamp = -5);
	ck_assert_str_eq(groups(live, 0), "fs-MDT0000 ARCHIVE a 1 50 0\n"
					  "fs-MDT0000 ARCHIVE b 1 100 0\n"
					  "fs-MDT0000 ARCHIVE c 1 70 0\n"
					  "fs-MDT0000 ARCHIVE d 1 60 0\n"
					  "fs-MDT0000 ARCHIVE e 1 300 0\n");
	ck_assert_int_eq(totals(live).oldest_s, 50);
	dr_live_free(live);
}
END_TEST

START_TEST(live__forgets_an_mdt_at_a_reset)
{
	struct dr_live *live = dr_live_new();
	struct dr_reader_event reset = { .mdt = "a", .is_reset = true };

	for (uint64_t i = 1; i <= 100; i++) {
		NEW(.mdt = i % 3 ? "a" : "b", .rec = i, .fid = "odd", .action = "REMOVE",
			.status = "WAITING", .timestamp = 9);
	}
	ck_assert_int_eq(dr_live_take(live, &reset), 0);
	ck_assert_str_eq(groups(live, 0), "b REMOVE WAITING 33 9 0\n");
	dr_live_free(live);
}
END_TEST

static bool is_of_action(void *ctx, const char *mdt, const char *action, const char *status)
{
	(void)mdt;
	(void)status;
	return strcmp(action, ctx) == 0;
}

START_TEST(live__lists_the_longest_stalled)
{
	struct dr_live *live = dr_live_new();
	struct dr_live_action list[8];
	char long_fid[200];

	memset(long_fid, 'x', sizeof(long_fid));
	memcpy(long_fid + 61, "\xe4\xb8\xad", 3); /* would be cut in two */
	long_fid[199] = 0;
	NEW(.rec = 1, A(1), .status = "STARTED", .timestamp = 40);
	NEW(.rec = 2, .fid = long_fid, .action = "ARCHIVE", .status = "WAITING", .timestamp = 20);
	NEW(.rec = 3, A(3), .status = "FAILED", .timestamp = 5);
	NEW(.rec = 4, .action = "REMOVE", .status = "WAITING", .timestamp = 30);
	NEW(.rec = 5, A(5), .status = "WAITING", .timestamp = 100);
	NEW(.rec = 6, .fid = "0x1:0x02:0x0", .action = "RESTORE", .status = "WAITING",
		.timestamp = 40);
	UPDATE(.rec = 4, .action = "REMOVE", .status = "STARTED", .timestamp = 35);

	ck_assert_uint_eq(dr_live_stalled(live, 100, NULL, NULL, list, 8), 4);
	ck_assert_uint_eq(list[0].rec, 2);
	ck_assert_uint_eq(strlen(list[0].fid), 61);
	ck_assert_uint_eq(list[1].rec, 4);
	ck_assert_str_eq(list[1].fid, "");
	ck_assert_int_eq(list[1].first_s, 30);
	ck_assert_int_eq(list[1].changed_s, 35);
	ck_assert_str_eq(list[1].status, "STARTED");
	ck_assert_str_eq(list[2].fid, "0x200000401:0x1:0x0");
	ck_assert_str_eq(list[3].fid, "0x1:0x02:0x0"); /* as the event had it */
	ck_assert_uint_eq(dr_live_stalled(live, 100, NULL, NULL, list, 2), 4);
	ck_assert_uint_eq(list[1].rec, 4);
	ck_assert_uint_eq(dr_live_stalled(live, 100, NULL, NULL, NULL, 0), 4);
	char action[] = "REMOVE";

	ck_assert_uint_eq(dr_live_stalled(live, 100, is_of_action, action, list, 8), 1);
	ck_assert_uint_eq(list[0].rec, 4);
	dr_live_free(live);
}
END_TEST

START_TEST(live__finds_the_longest_stalled_of_many)
{
	struct dr_live *live = dr_live_new();
	struct dr_live_action list[100];
	uint64_t random = 7;

	for (uint64_t i = 1; i <= 5000; i++) {
		NEW(.rec = i, A(1), .status = "WAITING",
			.timestamp = (int64_t)(1 + dr_unit_random(&random) % 3000));
	}
	size_t n = dr_live_stalled(live, 2000, NULL, NULL, list, 100);

	ck_assert_uint_gt(n, 100);
	for (size_t i = 1; i < 100; i++) {
		ck_assert_int_le(list[i - 1].changed_s, list[i].changed_s);
		ck_assert(
			list[i - 1].changed_s < list[i].changed_s || list[i - 1].rec < list[i].rec);
	}
	/* As many as there are before the last one's time, and no other. */
	n = dr_live_stalled(live, list[99].changed_s, NULL, NULL, NULL, 0);
	ck_assert_uint_le(n, 99);
	dr_live_free(live);
}
END_TEST

START_TEST(live__bounds_the_groups_that_strangers_make)
{
	struct dr_live *live = dr_live_new();
	struct dr_live_group *found dr_cleanup(dr_freep) = NULL;
	uint64_t sum = 0;
	size_t n;
	char status[32];

	for (uint64_t i = 1; i <= 70000; i++) {
		(void)snprintf(status, sizeof(status), "s%u", (unsigned)i);
		NEW(.mdt = "m", .rec = i, .action = "ARCHIVE", .status = status);
	}
	NEW(.mdt = "m2", .rec = 1);
	dr_live_groups(live, 0, &found, &n);
	ck_assert_uint_eq(n, 65536 + 2);
	for (size_t i = 0; i < n; i++) {
		sum += found[i].count;
	}
	ck_assert_uint_eq(sum, 70001);
	ck_assert_str_eq(found[n - 1].mdt, "m2");
	ck_assert_str_eq(found[n - 1].status, "other");
	dr_live_free(live);
}
END_TEST

START_TEST(live__names_what_is_missing_and_cuts_what_is_long)
{
	struct dr_live *live = dr_live_new();
	char text[400];
	char expected[400];

	memset(text, 'x', sizeof(text));
	memcpy(text + 254, "\xc3\xa4", 2);
	text[399] = 0;
	NEW(.rec = 1, .status = text, .timestamp = 1);
	(void)snprintf(expected, sizeof(expected), "fs-MDT0000 N/A %.254s 1 1 0\n", text);
	ck_assert_str_eq(groups(live, 0), expected);
	dr_live_free(live);
}
END_TEST

/* The same random events for the table and for a plain list of what must be live. */
START_TEST(live__agrees_with_a_plain_list)
{
	enum { INDEXES = 40, KEYS = 12 };
	static const char *const statuses[] = { "WAITING", "STARTED", "SUCCEED" };
	struct {
		int key, status; /* key 0: not live */
	} plain[2][INDEXES] = { 0 };
	static const char *const mdts[] = { "a", "b" };
	struct dr_live *live = dr_live_new();
	uint64_t random = 3;

	for (int step = 0; step < 20000; step++) {
		unsigned m = dr_unit_random(&random) % 2;
		unsigned i = dr_unit_random(&random) % INDEXES;
		int key = 1 + (int)(dr_unit_random(&random) % KEYS);
		int status = (int)(dr_unit_random(&random) % 3);
		char text[16];

		(void)snprintf(text, sizeof(text), "k%d", key);
		switch (dr_unit_random(&random) % 8) {
		case 0:
			PURGED(.mdt = mdts[m], .rec = i + 1);
			plain[m][i].key = 0;
			break;
		case 1:
		case 2:
			PURGED(.mdt = mdts[m], .action_key = text);
			for (unsigned j = 0; j < INDEXES; j++) {
				plain[m][j].key = plain[m][j].key == key ? 0 : plain[m][j].key;
			}
			break;
		default:
			tell(live, (struct told){
					   .type = step % 2 ? DR_EVENT_NEW : DR_EVENT_UPDATE,
					   .mdt = mdts[m],
					   .rec = i + 1,
					   .fid = text,
					   .action = "ARCHIVE",
					   .status = statuses[status],
					   .action_key = text,
				   });
			plain[m][i].key = key;
			plain[m][i].status = status;
		}
		if (dr_unit_random(&random) % 16 == 0) {
			struct dr_buf expected dr_cleanup(dr_buf_fini) = { 0 };
			static const int order[] = { 1, 2, 0 }; /* STARTED, SUCCEED, WAITING */

			for (unsigned k = 0; k < 6; k++) {
				int count = 0;
				for (unsigned j = 0; j < INDEXES; j++) {
					count += plain[k / 3][j].key &&
						 plain[k / 3][j].status == order[k % 3];
				}
				if (count) {
					dr_buf_printf(&expected, "%s ARCHIVE %s %d 5000 0\n",
						mdts[k / 3], statuses[order[k % 3]], count);
				}
			}
			ck_assert_str_eq(groups(live, 0), dr_buf_cstr(&expected));
		}
	}
	dr_live_free(live);
}
END_TEST

DR_UNIT_MAIN("live", live__groups_what_is_live_by_mdt_action_and_status,
	live__forgets_an_action_however_its_purge_was_made,
	live__keeps_what_begins_after_a_purge_without_index,
	live__applies_many_purges_without_index_in_few_passes,
	live__gives_an_index_to_the_request_that_holds_it_now,
	live__takes_a_new_that_comes_twice_for_one,
	live__tells_age_by_first_seen_then_timestamp_then_id, live__forgets_an_mdt_at_a_reset,
	live__lists_the_longest_stalled, live__finds_the_longest_stalled_of_many,
	live__bounds_the_groups_that_strangers_make,
	live__names_what_is_missing_and_cuts_what_is_long, live__agrees_with_a_plain_list)
