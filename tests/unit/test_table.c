/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/table.h"

#include "unit.h"

struct entry {
	struct dr_table_key key;
	uint64_t value;
};

#define N_CATS 5
#define N_RECS 200

/* Against a plain array that says for every key what is there. */
START_TEST(table__holds_what_was_added_and_not_removed)
{
	uint64_t seed = 42;
	uint64_t values[N_CATS][N_RECS] = { 0 };
	uint32_t n = 0;
	struct dr_table table;

	dr_table_init(&table, sizeof(struct entry));
	for (int i = 0; i < 200000; i++) {
		uint64_t random = dr_unit_random(&seed);
		uint64_t cat = random % N_CATS;
		/* Few in the first half, many in the second: it grows and shrinks. */
		uint64_t rec = random / 8 % (i < 100000 ? 20 : N_RECS);
		struct dr_table_key key = { .cat = cat, .rec = rec << 32, .mdt = (uint32_t)cat };
		uint64_t *value = &values[cat][rec];
		struct entry *entry = dr_table_find(&table, &key);

		ck_assert_uint_eq(entry ? entry->value : 0, *value);
		if (entry && random >> 60 < 8) {
			dr_table_remove(&table, entry);
			*value = 0;
			n--;
		} else {
			void *added = NULL;
			bool is_new = false;

			ck_assert_int_eq(dr_table_add(&table, &key, &added, &is_new), 0);
			ck_assert(is_new == (*value == 0));
			entry = added;
			ck_assert_uint_eq(entry->value, *value);
			entry->value = *value = random | 1;
			n += is_new;
		}
		ck_assert_uint_eq(table.n, n);
	}
	for (uint32_t i = 0; i < table.n; i++) {
		struct entry *entry = dr_table_at(&table, i);

		ck_assert_uint_eq(entry->value, values[entry->key.cat][entry->key.rec >> 32]);
		ck_assert_ptr_eq(dr_table_find(&table, &entry->key), entry);
		ck_assert_uint_eq(dr_table_position(&table, entry), i);
	}
	dr_table_clear(&table);
	ck_assert_uint_eq(table.n, 0);
	dr_table_fini(&table);
}
END_TEST

START_TEST(table__tells_mdts_and_catalogues_apart)
{
	struct dr_table table;
	void *entry = NULL;
	bool is_new = false;

	dr_table_init(&table, sizeof(struct entry));
	for (uint32_t mdt = 0; mdt < 2; mdt++) {
		for (uint64_t cat = 0; cat < 2; cat++) {
			struct dr_table_key key = { .cat = cat, .rec = 1, .mdt = mdt };

			ck_assert_ptr_null(dr_table_find(&table, &key));
			ck_assert_int_eq(dr_table_add(&table, &key, &entry, &is_new), 0);
			ck_assert(is_new);
		}
	}
	ck_assert_uint_eq(table.n, 4);
	dr_table_fini(&table);
}
END_TEST

DR_UNIT_MAIN("table", table__holds_what_was_added_and_not_removed,
	table__tells_mdts_and_catalogues_apart)
