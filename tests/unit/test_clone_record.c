/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "campaign/clone_record.h"

#include <fcntl.h>
#include <stdio.h>
#include <xxhash.h>

#include "unit.h"

/* A folder of a test, and the record that was read last. */
struct place {
	char base[64];
	struct dr_clone_record *record;
};

static void place_init(struct place *place)
{
	*place = (struct place){ .base = "/tmp/drover-test-record-XXXXXX" };
	ck_assert_ptr_nonnull(mkdtemp(place->base));
}

static void place_fini(struct place *place)
{
	dr_clone_record_free(place->record);
	ck_assert_int_ge(dr_remove_tree(AT_FDCWD, place->base), 0);
}

static int look(struct place *place, const char *to)
{
	dr_clone_record_free(place->record);
	place->record = NULL;
	return dr_clone_record_read(place->base, to, &place->record);
}

static int note_unseen(struct place *place, char *from, char *to, char *id, bool is_empty,
	const struct dr_clone_record *seen)
{
	char name[] = "c\"1", from_path[] = "/a\xff\n", to_path[] = "/b\\";
	struct dr_spec spec = {
		.name = name,
		.kind = DR_CLONE,
		.id = id,
		.created_ms = 1700000000123,
		.clone = { .from = from_path,
			.to = to_path,
			.from_identity = from,
			.to_identity = to },
	};
	return dr_clone_record_note(place->base, &spec, seen, is_empty);
}

static void note(struct place *place, char *from, char *to, char *id, bool is_empty)
{
	(void)look(place, to);
	ck_assert_int_eq(note_unseen(place, from, to, id, is_empty, place->record), 0);
	ck_assert_int_eq(look(place, to), 0);
}

static char src[] = "src \xff", src2[] = "src 2", dst[] = "dst \xfe", dst2[] = "dst 2";
static char id1[] = "1", id2[] = "2", id3[] = "3";

START_TEST(clone_record__comes_back_byte_for_byte)
{
	struct place place dr_cleanup(place_fini);
	place_init(&place);
	ck_assert_int_eq(look(&place, dst), -ENOENT);
	note(&place, src, dst, id1, true);
	const struct dr_clone_record *record = place.record;
	ck_assert_str_eq(record->to, "/b\\");
	ck_assert_str_eq(record->to_identity, dst);
	ck_assert(!record->merged);
	ck_assert_uint_eq(record->n_sources, 1);
	ck_assert_str_eq(record->sources[0].from, "/a\xff\n");
	ck_assert_str_eq(record->sources[0].from_identity, src);
	ck_assert_str_eq(record->sources[0].campaign, "c\"1");
	ck_assert_str_eq(record->sources[0].campaign_id, "1");
	ck_assert_uint_eq(record->sources[0].time_ms, 1700000000123);
	ck_assert(dr_clone_record_has(record, src));
	ck_assert(!dr_clone_record_has(record, src2));
	ck_assert_int_eq(look(&place, dst2), -ENOENT);
}
END_TEST

START_TEST(clone_record__keeps_every_source_of_a_target_that_is_not_empty)
{
	struct place place dr_cleanup(place_fini);
	place_init(&place);
	note(&place, src, dst, id1, true);
	note(&place, src2, dst, id2, false);
	ck_assert_uint_eq(place.record->n_sources, 2);
	ck_assert(!place.record->merged);
	/* A source that comes again is the latest, and stands there once. */
	note(&place, src, dst, id3, false);
	ck_assert_uint_eq(place.record->n_sources, 2);
	ck_assert_str_eq(place.record->sources[0].from_identity, src2);
	ck_assert_str_eq(place.record->sources[1].from_identity, src);
	ck_assert_str_eq(place.record->sources[1].campaign_id, "3");
}
END_TEST

START_TEST(clone_record__forgets_what_an_empty_target_held)
{
	struct place place dr_cleanup(place_fini);
	place_init(&place);
	note(&place, src, dst, id1, false);
	ck_assert(place.record->merged);
	note(&place, src2, dst, id2, true);
	ck_assert(!place.record->merged);
	ck_assert_uint_eq(place.record->n_sources, 1);
	ck_assert(!dr_clone_record_has(place.record, src));
}
END_TEST

START_TEST(clone_record__refuses_what_was_decided_on_an_older_one)
{
	struct place place dr_cleanup(place_fini);
	place_init(&place);
	note(&place, src, dst, id1, true);
	ck_assert_int_eq(note_unseen(&place, src2, dst, id2, true, NULL), -EAGAIN);
	note(&place, src, dst, id2, false);
	struct dr_clone_record *seen dr_cleanup(dr_clone_record_freep) = NULL;
	ck_assert_int_eq(dr_clone_record_read(place.base, dst, &seen), 0);
	note(&place, src, dst, id3, false);
	ck_assert_int_eq(note_unseen(&place, src, dst, id1, false, seen), -EAGAIN);
	ck_assert_int_eq(look(&place, dst), 0);
	ck_assert_str_eq(place.record->sources[0].campaign_id, "3");
}
END_TEST

static int allows(struct place *place, char *from, bool merge)
{
	struct dr_spec spec = {
		.kind = DR_CLONE,
		.clone = { .from_identity = from, .to_identity = dst, .merge = merge },
	};
	return dr_clone_record_allows_delete(place->base, &spec);
}

START_TEST(clone_record__allows_to_delete_what_one_source_filled)
{
	struct place place dr_cleanup(place_fini);
	place_init(&place);
	ck_assert_int_eq(allows(&place, src, true), -ENOENT);
	note(&place, src, dst, id1, true);
	ck_assert_int_eq(allows(&place, src, false), 0);
	ck_assert_int_eq(allows(&place, src2, true), -EPERM);
	note(&place, src2, dst, id2, false);
	ck_assert_int_eq(allows(&place, src, true), -EPERM);
	ck_assert_int_eq(allows(&place, src2, true), -EPERM);
	note(&place, src2, dst, id3, true);
	ck_assert_int_eq(allows(&place, src, true), -EPERM);
	ck_assert_int_eq(allows(&place, src2, false), 0);
}
END_TEST

START_TEST(clone_record__allows_to_delete_what_was_there_before_by_merge_only)
{
	struct place place dr_cleanup(place_fini);
	place_init(&place);
	note(&place, src, dst, id1, false);
	ck_assert_int_eq(allows(&place, src, false), -EPERM);
	ck_assert_int_eq(allows(&place, src, true), 0);
}
END_TEST

START_TEST(clone_record__says_when_it_is_damaged)
{
	static const char *const bad[] = { "", "{", "[]", "{}",
		"{\"format\": 1, \"to\": \"/b\", \"to_identity\": \"dst 2\", \"merged\": false, "
		"\"sources\": []}",
		"{\"format\": 1, \"to\": \"/b\", \"to_identity\": \"other\", \"merged\": false, "
		"\"sources\": [{\"from\": \"/a\", \"from_identity\": \"a\", \"campaign\": \"c\", "
		"\"campaign_id\": \"1\", \"time_ms\": 1}]}" };
	struct place place dr_cleanup(place_fini);
	place_init(&place);
	note(&place, src, dst2, id1, true);
	char *file dr_cleanup(dr_freep) = dr_xasprintf("%s/.clones/%016llx.json", place.base,
		(unsigned long long)XXH3_64bits(dst2, strlen(dst2)));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_ge(dr_replace_file(AT_FDCWD, file, 0644, bad[i], strlen(bad[i])), 0);
		ck_assert_msg(look(&place, dst2) == -EBADMSG, "%s", bad[i]);
		/* It is not replaced either: what it said is not known. */
		ck_assert_int_eq(note_unseen(&place, src, dst2, id2, true, NULL), -EBADMSG);
	}
}
END_TEST

DR_UNIT_MAIN("clone_record", clone_record__comes_back_byte_for_byte,
	clone_record__keeps_every_source_of_a_target_that_is_not_empty,
	clone_record__forgets_what_an_empty_target_held,
	clone_record__refuses_what_was_decided_on_an_older_one,
	clone_record__allows_to_delete_what_one_source_filled,
	clone_record__allows_to_delete_what_was_there_before_by_merge_only,
	clone_record__says_when_it_is_damaged)
