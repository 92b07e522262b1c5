/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/log.h"
#include "hsm/action.h"
#include "hsm/known.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "unit.h"

static struct dr_entry_id next_id = { .ms = 1759396325000 };

static void apply(struct dr_known *known, const char *json)
{
	struct dr_buf scratch = { 0 };
	struct dr_event event = { 0 };
	int r = dr_event_decode(json, strlen(json), &scratch, &event);

	next_id.seq++;
	ck_assert_int_eq(dr_known_apply(known, next_id, r < 0 ? NULL : &event), 0);
	ck_assert_int_eq(dr_entry_id_cmp(known->last, next_id), 0);
	dr_buf_fini(&scratch);
}

static void is_text(struct dr_span span, const char *expected)
{
	ck_assert_msg(
		dr_span_is(span, expected), "'%.*s' is not '%s'", (int)span.len, span.p, expected);
}

START_TEST(known__follows_an_action_from_new_to_purged)
{
	struct dr_known known;

	dr_known_init(&known);
	apply(&known,
		"{\"event_type\":\"NEW\",\"cat_idx\":1,\"rec_idx\":2,\"fid\":\"0x1:0x2:0x0\",\"action\":"
		"\"ARCHIVE\",\"cookie\":\"0x5\",\"timestamp\":100,\"raw\":\"a line\"}");
	struct dr_known_action *action = dr_known_find(&known, 1, 2);

	ck_assert_ptr_nonnull(action);
	is_text(dr_known_fid(action), "0x1:0x2:0x0");
	is_text(dr_known_name(action), "ARCHIVE");
	is_text(dr_known_cookie(action), "0x5");
	ck_assert_uint_eq(action->line_hash, dr_action_hash("a line", 6));
	ck_assert_int_eq(action->first_s, 100);
	ck_assert(!action->was_ours);

	apply(&known,
		"{\"event_type\":\"UPDATE\",\"cat_idx\":1,\"rec_idx\":2,\"fid\":\"0x1:0x2:0x0\",\"action\":"
		"\"ARCHIVE\",\"timestamp\":200,\"raw\":\"another\"}");
	action = dr_known_find(&known, 1, 2);
	ck_assert_int_eq(action->first_s, 100);
	ck_assert_ptr_null(dr_known_cookie(action).p);

	/* The index goes to another request, as programs that know no better tell it. */
	apply(&known,
		"{\"event_type\":\"UPDATE\",\"cat_idx\":1,\"rec_idx\":2,\"fid\":\"0x9\",\"timestamp\":300}");
	action = dr_known_find(&known, 1, 2);
	ck_assert_int_eq(action->first_s, 300);
	ck_assert_uint_eq(action->line_hash, 0);

	apply(&known, "no event");
	ck_assert_uint_eq(known.n_bad, 1);
	apply(&known, "{\"event_type\":\"MOVED\"}");
	ck_assert_uint_eq(known.actions.n, 1);
	apply(&known, "{\"event_type\":\"PURGED\",\"cat_idx\":1,\"rec_idx\":3}");
	ck_assert_uint_eq(known.actions.n, 1);
	apply(&known, "{\"event_type\":\"PURGED\",\"cat_idx\":1,\"rec_idx\":2}");
	ck_assert_uint_eq(known.actions.n, 0);
	dr_known_fini(&known);
}
END_TEST

START_TEST(known__forgets_all_of_a_key_when_a_purge_names_no_index)
{
	struct dr_known known;

	dr_known_init(&known);
	for (int i = 0; i < 100; i++) {
		char *json =
			dr_xasprintf("{\"event_type\":\"NEW\",\"cat_idx\":1,\"rec_idx\":%d,\"fid\":"
				     "\"0x%d\",\"action\":\"RESTORE\"}",
				i, i % 3);

		apply(&known, json);
		free(json);
	}
	apply(&known, "{\"event_type\":\"PURGED\",\"action_key\":\"0x1:RESTORE\"}");
	ck_assert_uint_eq(known.actions.n, 67);
	for (uint64_t i = 0; i < 100; i++) {
		ck_assert((dr_known_find(&known, 1, i) != NULL) == (i % 3 != 1));
	}
	dr_known_fini(&known);
}
END_TEST

START_TEST(known__tells_the_oldest_live_entry)
{
	struct dr_known known;
	struct dr_entry_id id = { 0 };

	dr_known_init(&known);
	ck_assert(!dr_known_oldest(&known, &id));
	apply(&known, "{\"event_type\":\"NEW\",\"cat_idx\":1,\"rec_idx\":1,\"fid\":\"a\"}");
	apply(&known, "{\"event_type\":\"NEW\",\"cat_idx\":1,\"rec_idx\":2,\"fid\":\"b\"}");
	struct dr_entry_id second = next_id;

	apply(&known, "{\"event_type\":\"UPDATE\",\"cat_idx\":1,\"rec_idx\":1,\"fid\":\"a\"}");
	ck_assert(dr_known_oldest(&known, &id));
	ck_assert_int_eq(dr_entry_id_cmp(id, second), 0);
	dr_known_fini(&known);
}
END_TEST

static void fill(struct dr_known_mdt *mdt, const char *name, int n)
{
	mdt->name = dr_xstrdup(name);
	dr_known_init(&mdt->known);
	for (int i = 0; i < n; i++) {
		struct dr_known_value value = {
			.cat = (uint64_t)i,
			.rec = INT64_MAX - (uint64_t)i,
			.line_hash = UINT64_MAX - (uint64_t)i,
			.id = { 1759396325000 + (uint64_t)i, (uint64_t)i },
			.first_s = 1759396325,
			.fid = dr_span_of("0x200000402:0x50:0x0"),
			.action = dr_span_of(i % 2 ? "ARCHIVE" : ""),
			.cookie = dr_span_of(i % 3 ? "0x6b02b268" : ""),
		};
		struct dr_known_action *action = NULL;

		ck_assert_int_eq(dr_known_set(&mdt->known, &value, &action), 0);
		action->was_ours = i % 5 == 0;
	}
	mdt->known.last = (struct dr_entry_id){ 1759396325999, 7 };
}

static void free_mdts(struct dr_known_mdt *mdts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(mdts[i].name);
		dr_known_fini(&mdts[i].known);
	}
}

static char path[64];

static void save_three(void)
{
	struct dr_known_mdt mdts[3];

	(void)snprintf(path, sizeof(path), "cache-%d/of/some", getpid());
	fill(&mdts[0], "fs-MDT0000", 1000);
	fill(&mdts[1], "fs-MDT0001", 0);
	fill(&mdts[2], "fs-MDT\xc3\xa9", 3);
	ck_assert_int_eq(dr_known_save(path, mdts, 3), 0);
	free_mdts(mdts, 3);
}

static void remove_cache(void)
{
	char top[32];

	(void)snprintf(top, sizeof(top), "cache-%d", getpid());
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, top), 0);
}

START_TEST(cache__gives_back_what_was_saved)
{
	struct dr_known_mdt *back = NULL;
	size_t n = 0;

	save_three();
	ck_assert_int_eq(dr_known_load(path, &back, &n), 0);
	ck_assert_uint_eq(n, 3);
	ck_assert_str_eq(back[0].name, "fs-MDT0000");
	ck_assert_uint_eq(back[0].known.actions.n, 1000);
	ck_assert_uint_eq(back[0].known.last.seq, 7);
	struct dr_known_mdt same;

	fill(&same, "x", 1000);
	ck_assert_uint_eq(dr_known_adopt(&same.known, &back[0].known), 0);
	for (uint32_t i = 0; i < 1000; i++) {
		const struct dr_known_action *a = dr_known_at(&same.known, i);
		const struct dr_known_action *b = dr_known_at(&back[0].known, i);

		ck_assert_int_eq(dr_entry_id_cmp(a->id, b->id), 0);
		ck_assert(dr_span_eq(dr_known_fid(a), dr_known_fid(b)));
		ck_assert(dr_span_eq(dr_known_name(a), dr_known_name(b)));
		ck_assert(dr_span_eq(dr_known_cookie(a), dr_known_cookie(b)));
		ck_assert_int_eq(a->first_s, b->first_s);
		ck_assert(b->was_ours == (i % 5 == 0));
	}
	free_mdts(&same, 1);
	free_mdts(back, n);
	free(back);
	remove_cache();
}
END_TEST

/* Cut anywhere, or one bit turned: told, and nothing of it is used. */
START_TEST(cache__that_is_torn_is_refused)
{
	struct dr_buf whole = { 0 };
	struct dr_known_mdt *back = NULL;
	size_t n = 0;

	save_three();
	ck_assert_int_eq(dr_read_file(AT_FDCWD, path, 1 << 20, &whole), 0);
	for (size_t len = 0; len < whole.len; len += len < 100 ? 1 : 997) {
		ck_assert_int_eq(dr_replace_file_fast(AT_FDCWD, path, 0600, whole.data, len), 0);
		ck_assert_int_eq(dr_known_load(path, &back, &n), -EBADMSG);
	}
	for (size_t at = 0; at < whole.len; at += at < 100 ? 1 : 997) {
		whole.data[at] ^= 1;
		ck_assert_int_eq(
			dr_replace_file_fast(AT_FDCWD, path, 0600, whole.data, whole.len), 0);
		int r = dr_known_load(path, &back, &n);

		ck_assert(r == -EBADMSG || (r == -EPROTONOSUPPORT && at >= 8 && at < 12));
		whole.data[at] ^= 1;
	}
	static const char json[] =
		"{\"fs-MDT0000:1:2\": {\"hash\": \"99170513ec7718e7221714d3f6126984\"}}";

	ck_assert_int_eq(dr_replace_file_fast(AT_FDCWD, path, 0600, json, sizeof(json) - 1), 0);
	ck_assert_int_eq(dr_known_load(path, &back, &n), -EBADMSG);
	ck_assert_int_eq(dr_known_load("/no/such/file", &back, &n), -ENOENT);
	ck_assert_int_eq(dr_known_load("/", &back, &n), -EBADMSG);
	ck_assert_ptr_null(back);
	dr_buf_fini(&whole);
	remove_cache();
}
END_TEST

START_TEST(known__adopts_the_marks_of_what_agrees_and_counts_the_rest)
{
	struct dr_known_mdt old;
	struct dr_known_mdt fresh;

	fill(&old, "x", 100);
	fill(&fresh, "x", 90);
	for (uint32_t i = 0; i < 90; i++) {
		dr_known_at(&fresh.known, i)->was_ours = false;
	}
	dr_known_at(&fresh.known, 5)->line_hash = 1;
	dr_known_drop(&fresh.known, dr_known_at(&fresh.known, 10));
	/* Ten are missing, one was dropped, one line differs in both. */
	ck_assert_uint_eq(dr_known_adopt(&fresh.known, &old.known), 10 + 1 + 2);
	ck_assert(!dr_known_find(&fresh.known, 5, INT64_MAX - 5)->was_ours);
	ck_assert(dr_known_find(&fresh.known, 15, INT64_MAX - 15)->was_ours);
	free_mdts(&old, 1);
	free_mdts(&fresh, 1);
}
END_TEST

DR_UNIT_MAIN("known", known__follows_an_action_from_new_to_purged,
	known__forgets_all_of_a_key_when_a_purge_names_no_index, known__tells_the_oldest_live_entry,
	cache__gives_back_what_was_saved, cache__that_is_torn_is_refused,
	known__adopts_the_marks_of_what_agrees_and_counts_the_rest)
