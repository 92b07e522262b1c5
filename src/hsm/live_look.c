/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/live_impl.h"

#include <stdio.h>

static int compare_groups(const void *a, const void *b)
{
	const struct dr_live_group *x = a, *y = b;
	int r = strcmp(x->mdt, y->mdt);

	r = r ? r : strcmp(x->action, y->action);
	return r ? r : strcmp(x->status, y->status);
}

static bool is_stalled(
	const struct dr_live *live, const struct dr_live_entry *entry, int64_t before_s)
{
	return entry->changed_s < before_s && live->groups[entry->group].state == DR_LIVE_OPEN;
}

void dr_live_groups(struct dr_live *live, int64_t stalled_before_s,
	struct dr_live_group **ret_groups, size_t *ret_n)
{
	struct dr_live_group *groups;
	size_t n = 0;

	dr_live_sweep(live);
	for (uint32_t i = 0; i < live->n_groups; i++) {
		live->groups[i].oldest_s = 0;
		live->groups[i].stalled = 0;
		n += live->groups[i].count > 0;
	}
	for (uint32_t i = 0; i < live->entries.n; i++) {
		const struct dr_live_entry *entry = dr_table_at(&live->entries, i);
		struct dr_live_bundle *group = &live->groups[entry->group];

		if (!group->oldest_s || entry->first_s < group->oldest_s) {
			group->oldest_s = entry->first_s;
		}
		group->stalled += is_stalled(live, entry, stalled_before_s);
	}
	groups = dr_xcalloc(n ? n : 1, sizeof(*groups));
	n = 0;
	for (uint32_t i = 0; i < live->n_groups; i++) {
		const struct dr_live_bundle *group = &live->groups[i];

		if (group->count) {
			groups[n++] = (struct dr_live_group){
				.mdt = live->mdts[group->mdt],
				.action = group->action,
				.status = group->status,
				.count = group->count,
				.oldest_s = group->oldest_s,
				.stalled = group->stalled,
			};
		}
	}
	qsort(groups, n, sizeof(*groups), compare_groups);
	*ret_groups = groups;
	*ret_n = n;
}

void dr_live_totals(struct dr_live *live, struct dr_live_totals *ret_totals)
{
	dr_live_sweep(live);
	*ret_totals = live->totals;
	ret_totals->live = live->entries.n;
	for (uint32_t i = 0; i < live->entries.n; i++) {
		const struct dr_live_entry *entry = dr_table_at(&live->entries, i);

		if (!ret_totals->oldest_s || entry->first_s < ret_totals->oldest_s) {
			ret_totals->oldest_s = entry->first_s;
		}
	}
}

static void entry_fid(const struct dr_live_entry *entry, char fid[static 64])
{
	if (entry->has_text) {
		(void)snprintf(fid, 64, "%s", entry->fid_text);
	} else if (entry->fid_seq) {
		(void)snprintf(fid, 64, "0x%llx:0x%x:0x%x", (unsigned long long)entry->fid_seq,
			entry->fid_oid, entry->fid_ver);
	} else {
		fid[0] = 0;
	}
}

/* Below 0: a has not changed for longer. */
static int compare_stalled(
	const struct dr_live *live, const struct dr_live_entry *a, const struct dr_live_entry *b)
{
	if (a->changed_s != b->changed_s) {
		return a->changed_s < b->changed_s ? -1 : 1;
	}
	if (a->key.mdt != b->key.mdt) {
		return strcmp(live->mdts[a->key.mdt], live->mdts[b->key.mdt]);
	}
	if (a->key.cat != b->key.cat) {
		return a->key.cat < b->key.cat ? -1 : 1;
	}
	return a->key.rec < b->key.rec ? -1 : a->key.rec > b->key.rec;
}

/* Lets what is at `at` sink in a heap whose top has changed the latest. */
static void sink(const struct dr_live *live, const struct dr_live_entry **heap, size_t n, size_t at)
{
	for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
		if (child + 1 < n && compare_stalled(live, heap[child + 1], heap[child]) > 0) {
			child++;
		}
		if (compare_stalled(live, heap[at], heap[child]) >= 0) {
			return;
		}
		const struct dr_live_entry *held = heap[at];

		heap[at] = heap[child];
		heap[child] = held;
		at = child;
	}
}

/* Keeps the n longest in the heap. @return how many there are */
static size_t find_stalled(const struct dr_live *live, int64_t before_s,
	const struct dr_live_entry **heap, size_t n, size_t *ret_kept)
{
	size_t found = 0, kept = 0;

	for (uint32_t i = 0; i < live->entries.n; i++) {
		const struct dr_live_entry *entry = dr_table_at(&live->entries, i);

		if (!live->groups[entry->group].is_wanted || !is_stalled(live, entry, before_s)) {
			continue;
		}
		found++;
		if (kept < n) {
			heap[kept++] = entry;
			for (size_t at = kept / 2; kept == n && at-- > 0;) {
				sink(live, heap, kept, at);
			}
		} else if (n && compare_stalled(live, entry, heap[0]) < 0) {
			heap[0] = entry;
			sink(live, heap, kept, 0);
		}
	}
	for (size_t at = kept / 2; kept < n && at-- > 0;) {
		sink(live, heap, kept, at);
	}
	*ret_kept = kept;
	return found;
}

size_t dr_live_stalled(struct dr_live *live, int64_t before_s, dr_live_want_fn *want, void *ctx,
	struct dr_live_action *actions, size_t n)
{
	const struct dr_live_entry **heap dr_cleanup(dr_freep) = NULL;
	size_t found, kept;

	dr_live_sweep(live);
	for (uint32_t i = 0; i < live->n_groups; i++) {
		struct dr_live_bundle *group = &live->groups[i];

		group->is_wanted =
			group->state == DR_LIVE_OPEN && group->count &&
			(!want || want(ctx, live->mdts[group->mdt], group->action, group->status));
	}
	heap = dr_xcalloc(n ? n : 1, sizeof(struct dr_live_entry *));
	found = find_stalled(live, before_s, heap, n, &kept);
	for (size_t left = kept; left > 0; left--) {
		const struct dr_live_entry *entry = heap[0];
		const struct dr_live_bundle *group = &live->groups[entry->group];
		struct dr_live_action *action = &actions[left - 1];

		*action = (struct dr_live_action){
			.mdt = live->mdts[entry->key.mdt],
			.action = group->action,
			.status = group->status,
			.cat = entry->key.cat,
			.rec = entry->key.rec,
			.first_s = entry->first_s,
			.changed_s = entry->changed_s,
		};
		entry_fid(entry, action->fid);
		heap[0] = heap[left - 1];
		sink(live, heap, left - 1, 0);
	}
	return found;
}
