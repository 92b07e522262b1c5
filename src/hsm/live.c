/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/live.h"

#include "hsm/table.h"

#include <stdio.h>
#include <xxhash.h>

/*
 * Every live action is an entry of a dr_table; its MDT is a number, and its texts are those of its group, whose count goes along.
 *
 * A PURGED without an index ends entries that only a pass over all of them finds. So that tens of thousands of them cost one pass, they
 * are gathered: `purges` has the ordinal of the latest for an (MDT, action_key), and an entry notes how many there had been when an event
 * last told of it. An entry is over when a purge of its key came later. Such entries are swept out before anything is counted, and
 * when there are as many purges as entries.
 */

#define MAX_GROUPS 65536
#define MAX_TEXT 255  /* bytes of an action's or a status' text */
#define SWEEP_AT 4096 /* purges that are always gathered */
#define NOTHING "N/A"
#define OTHER "other"

struct entry {
	struct dr_table_key key;
	uint64_t action_key; /* its hash */
	int64_t first_s, changed_s;
	/* "0xSEQ:0xOID:0xVER"; with has_text a pointer to a text of another form. seq 0: there is none. */
	uint64_t fid_seq;
	uint32_t fid_oid, fid_ver;
	uint32_t group : 31;
	uint32_t has_text : 1;
	uint32_t purges; /* how many of them were gathered at its last event */
};

/* A PURGED that named no index. Its key is the hash of the action_key, and the MDT. */
struct purge {
	struct dr_table_key key;
	uint64_t ordinal;
};

/* From a hash of a name to a number. */
struct name {
	struct dr_table_key key;
	uint64_t number;
};

enum state { STATE_NONE, STATE_OPEN, STATE_SUCCEED, STATE_FAILED, STATE_CANCELED };

struct group {
	uint32_t mdt;
	enum state state;
	char *action, *status; /* one block, at action */
	uint64_t count;
	/* Of the last look: */
	int64_t oldest_s;
	uint64_t stalled;
	bool is_wanted;
};

struct dr_live {
	struct dr_table entries;                    /* struct entry */
	struct dr_table purges;                     /* struct purge */
	uint32_t n_purges;                          /* gathered since the last sweep */
	struct dr_table mdt_numbers, group_numbers; /* struct name */
	char **mdts;
	struct group *groups;
	uint32_t n_mdts, cap_mdts, n_groups, cap_groups;
	uint32_t last_mdt;            /* number of the last event's */
	struct dr_live_totals totals; /* live and oldest_s are filled in when asked for */
};

struct dr_live *dr_live_new(void)
{
	struct dr_live *live = dr_xcalloc(1, sizeof(*live));

	dr_table_init(&live->entries, sizeof(struct entry));
	dr_table_init(&live->purges, sizeof(struct purge));
	dr_table_init(&live->mdt_numbers, sizeof(struct name));
	dr_table_init(&live->group_numbers, sizeof(struct name));
	return live;
}

static void entry_free_text(struct entry *entry)
{
	if (entry->has_text) {
		free((void *)(uintptr_t)entry->fid_seq); // NOLINT(performance-no-int-to-ptr)
	}
	entry->fid_seq = 0;
	entry->has_text = 0;
}

void dr_live_free(struct dr_live *live)
{
	if (!live) {
		return;
	}
	for (uint32_t i = 0; i < live->entries.n; i++) {
		entry_free_text(dr_table_at(&live->entries, i));
	}
	for (uint32_t i = 0; i < live->n_mdts; i++) {
		free(live->mdts[i]);
	}
	for (uint32_t i = 0; i < live->n_groups; i++) {
		free(live->groups[i].action);
	}
	dr_table_fini(&live->entries);
	dr_table_fini(&live->purges);
	dr_table_fini(&live->mdt_numbers);
	dr_table_fini(&live->group_numbers);
	free(live->mdts);
	free(live->groups);
	free(live);
}

/* --- names and groups --- */

/* Room for one more in an array that doubles. */
static void *grown(void *array, uint32_t n, uint32_t *cap, size_t size)
{
	if (n < *cap) {
		return array;
	}
	*cap = *cap ? *cap * 2 : 16;
	return dr_xrealloc(array, *cap * size);
}

static int find_mdt(struct dr_live *live, const char *mdt, uint32_t *ret_number)
{
	XXH128_hash_t hash;
	struct dr_table_key key = { 0 };
	void *found;
	bool is_new;
	int r;

	/* Streams come in batches of entries. */
	if (live->last_mdt < live->n_mdts && strcmp(live->mdts[live->last_mdt], mdt) == 0) {
		*ret_number = live->last_mdt;
		return 0;
	}
	hash = XXH3_128bits(mdt, strlen(mdt));
	key.cat = hash.low64;
	key.rec = hash.high64;
	r = dr_table_add(&live->mdt_numbers, &key, &found, &is_new);
	if (r < 0) {
		return -ENOMEM;
	}
	if (is_new) {
		live->mdts = grown(live->mdts, live->n_mdts, &live->cap_mdts, sizeof(*live->mdts));
		((struct name *)found)->number = live->n_mdts;
		live->mdts[live->n_mdts++] = dr_xstrdup(mdt);
	}
	live->last_mdt = (uint32_t)((struct name *)found)->number;
	*ret_number = live->last_mdt;
	return 0;
}

static enum state state_of(struct dr_span status)
{
	if (dr_span_is(status, "WAITING") || dr_span_is(status, "STARTED")) {
		return STATE_OPEN;
	}
	if (dr_span_is(status, "SUCCEED")) {
		return STATE_SUCCEED;
	}
	if (dr_span_is(status, "FAILED")) {
		return STATE_FAILED;
	}
	return dr_span_is(status, "CANCELED") ? STATE_CANCELED : STATE_NONE;
}

/* What a group is named by: not longer than MAX_TEXT, and cut between characters. */
static struct dr_span group_text(struct dr_span text)
{
	if (!text.p) {
		return dr_span_of(NOTHING);
	}
	if (text.len > MAX_TEXT) {
		text.len = MAX_TEXT;
		while (text.len && ((unsigned char)text.p[text.len] & 0xc0) == 0x80) {
			text.len--;
		}
	}
	return text;
}

static void add_group(
	struct dr_live *live, uint32_t mdt, struct dr_span action, struct dr_span status)
{
	struct group *group;
	char *texts = dr_xcalloc(1, action.len + status.len + 2);

	live->groups = grown(live->groups, live->n_groups, &live->cap_groups, sizeof(*group));
	group = &live->groups[live->n_groups++];
	*group = (struct group){
		.mdt = mdt,
		.state = state_of(status),
		.action = texts,
		.status = texts + action.len + 1,
	};
	memcpy(group->action, action.p, action.len);
	memcpy(group->status, status.p, status.len);
}

static int find_group(struct dr_live *live, uint32_t mdt, struct dr_span action,
	struct dr_span status, uint32_t *ret_group)
{
	char text[2 * MAX_TEXT + 1];
	XXH128_hash_t hash;
	struct name *name;
	void *found;
	bool is_new;
	int r;

	action = group_text(action);
	status = group_text(status);
	memcpy(text, action.p, action.len);
	text[action.len] = 0; /* none is in a text of JSON that the decoder took */
	memcpy(text + action.len + 1, status.p, status.len);
	hash = XXH3_128bits(text, action.len + 1 + status.len);

	struct dr_table_key key = { .cat = hash.low64, .rec = hash.high64, .mdt = mdt };

	name = dr_table_find(&live->group_numbers, &key);
	if (name) {
		*ret_group = (uint32_t)name->number;
		return 0;
	}
	if (live->n_groups >= MAX_GROUPS &&
		!(dr_span_is(action, OTHER) && dr_span_is(status, OTHER))) {
		return find_group(live, mdt, dr_span_of(OTHER), dr_span_of(OTHER), ret_group);
	}
	r = dr_table_add(&live->group_numbers, &key, &found, &is_new);
	if (r < 0) {
		return -ENOMEM;
	}
	((struct name *)found)->number = live->n_groups;
	*ret_group = live->n_groups;
	add_group(live, mdt, action, status);
	return 0;
}

/* --- FIDs --- */

/* "0x" and a number without leading zeros, at most `digits` long, as Lustre prints it. */
static bool take_hex(const char **p, const char *end, unsigned digits, uint64_t *ret)
{
	const char *s = *p;
	uint64_t value = 0;

	if (end - s < 3 || s[0] != '0' || s[1] != 'x') {
		return false;
	}
	s += 2;
	const char *first = s;

	while (s < end && ((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'f'))) {
		if ((unsigned)(s - first) == digits) {
			return false;
		}
		value = value << 4 | (uint64_t)(*s <= '9' ? *s - '0' : *s - 'a' + 10);
		s++;
	}
	if (s == first || (*first == '0' && s - first > 1)) {
		return false;
	}
	*p = s;
	*ret = value;
	return true;
}

static bool take_colon(const char **p, const char *end)
{
	if (*p == end || **p != ':') {
		return false;
	}
	(*p)++;
	return true;
}

static void entry_set_fid(struct entry *entry, struct dr_span fid)
{
	const char *p = fid.p, *end = fid.p ? fid.p + fid.len : NULL;
	uint64_t seq = 0, oid = 0, ver = 0;

	entry_free_text(entry);
	if (!fid.len) {
		return;
	}
	if (take_hex(&p, end, 16, &seq) && take_colon(&p, end) && take_hex(&p, end, 8, &oid) &&
		take_colon(&p, end) && take_hex(&p, end, 8, &ver) && p == end && seq) {
		entry->fid_seq = seq;
		entry->fid_oid = (uint32_t)oid;
		entry->fid_ver = (uint32_t)ver;
		return;
	}
	size_t len = fid.len;

	if (len >= sizeof(((struct dr_live_action *)NULL)->fid)) {
		len = sizeof(((struct dr_live_action *)NULL)->fid) - 1;
		while (len && ((unsigned char)fid.p[len] & 0xc0) == 0x80) {
			len--;
		}
	}
	char *text = dr_xcalloc(1, len + 1);

	memcpy(text, fid.p, len);
	entry->fid_seq = (uintptr_t)text;
	entry->has_text = 1;
}

static void entry_fid(const struct entry *entry, char fid[static 64])
{
	if (entry->has_text) {
		const char *text = (const char *)(uintptr_t)
					   entry->fid_seq; // NOLINT(performance-no-int-to-ptr)

		(void)snprintf(fid, 64, "%s", text);
	} else if (entry->fid_seq) {
		(void)snprintf(fid, 64, "0x%llx:0x%x:0x%x", (unsigned long long)entry->fid_seq,
			entry->fid_oid, entry->fid_ver);
	} else {
		fid[0] = 0;
	}
}

/* --- what ends actions --- */

static void remove_entry(struct dr_live *live, struct entry *entry)
{
	live->groups[entry->group].count--;
	entry_free_text(entry);
	dr_table_remove(&live->entries, entry);
}

static bool is_over(const struct dr_live *live, const struct entry *entry)
{
	struct dr_table_key key = { .cat = entry->action_key, .mdt = entry->key.mdt };
	const struct purge *purge;

	if (!live->purges.n) {
		return false;
	}
	purge = dr_table_find(&live->purges, &key);
	return purge && purge->ordinal > entry->purges;
}

static void sweep(struct dr_live *live)
{
	if (!live->n_purges) {
		return;
	}
	/* Backwards, for what fills a gap comes from the end. */
	for (uint32_t i = live->entries.n; i-- > 0;) {
		struct entry *entry = dr_table_at(&live->entries, i);

		if (is_over(live, entry)) {
			remove_entry(live, entry);
		} else {
			entry->purges = 0;
		}
	}
	dr_table_clear(&live->purges);
	live->n_purges = 0;
}

static void forget_mdt(struct dr_live *live, uint32_t mdt)
{
	for (uint32_t i = live->entries.n; i-- > 0;) {
		struct entry *entry = dr_table_at(&live->entries, i);

		if (entry->key.mdt == mdt) {
			remove_entry(live, entry);
		}
	}
}

static uint64_t hash_of(struct dr_span span)
{
	return span.len ? XXH3_64bits(span.p, span.len) : 0;
}

static int take_purged(struct dr_live *live, const struct dr_event *event, uint32_t mdt)
{
	void *found;
	bool is_new;
	int r;

	live->totals.purged++;
	if (event->has_idx) {
		struct dr_table_key key = { .cat = event->cat, .rec = event->rec, .mdt = mdt };
		struct entry *entry = dr_table_find(&live->entries, &key);

		if (entry) {
			remove_entry(live, entry);
		}
		return 0;
	}
	if (!event->action_key.len) {
		return 0;
	}
	struct dr_table_key key = { .cat = hash_of(event->action_key), .mdt = mdt };

	r = dr_table_add(&live->purges, &key, &found, &is_new);
	if (r < 0) {
		return -ENOMEM;
	}
	((struct purge *)found)->ordinal = ++live->n_purges;
	if (live->n_purges >= SWEEP_AT && live->n_purges >= live->entries.n) {
		sweep(live);
	}
	return 0;
}

/* --- what makes and changes them --- */

static void count_state(struct dr_live *live, enum state state)
{
	live->totals.succeeded += state == STATE_SUCCEED;
	live->totals.failed += state == STATE_FAILED;
	live->totals.canceled += state == STATE_CANCELED;
}

/* The action_key that an event has, or would have. */
static uint64_t action_key_of(const struct dr_event *event)
{
	if (event->action_key.p || !event->fid.p || !event->action.p) {
		return hash_of(event->action_key);
	}
	dr_cleanup(dr_buf_fini) struct dr_buf key = { 0 };

	dr_event_put_key(&key, event->fid, event->action);
	return XXH3_64bits(key.data, key.len);
}

static int take_action(struct dr_live *live, const struct dr_reader_event *from, uint32_t mdt)
{
	const struct dr_event *event = &from->event;
	struct dr_table_key key = { .cat = event->cat, .rec = event->rec, .mdt = mdt };
	uint64_t action_key = action_key_of(event);
	int64_t at_s = event->timestamp > 0 ? event->timestamp : (int64_t)(from->id.ms / 1000);
	struct entry *entry;
	uint32_t group;
	void *found;
	bool is_new;
	int r = find_group(live, mdt, event->action, event->status, &group);

	if (r == 0) {
		r = dr_table_add(&live->entries, &key, &found, &is_new);
	}
	if (r < 0) {
		return -ENOMEM;
	}
	entry = found;

	/* The index may have held another request, or one that is over. A NEW of what is live is a NEW that was shipped twice. */
	bool begins = is_new || entry->action_key != action_key || is_over(live, entry);
	bool is_told_new = event->type == DR_EVENT_NEW;

	live->totals.begun += begins && is_told_new;
	if (begins || live->groups[entry->group].state != live->groups[group].state) {
		count_state(live, live->groups[group].state);
	}
	if (!is_new) {
		live->groups[entry->group].count--;
	}
	live->groups[group].count++;
	if (event->first_seen > 0 || begins || is_told_new) {
		entry->first_s = event->first_seen > 0 ? event->first_seen : at_s;
	}
	if (begins || event->fid.p) {
		entry_set_fid(entry, event->fid);
	}
	entry->action_key = action_key;
	entry->changed_s = at_s;
	entry->group = group & 0x7fffffff;
	entry->purges = live->n_purges;
	return 0;
}

int dr_live_take(struct dr_live *live, const struct dr_reader_event *event)
{
	uint32_t mdt;
	int r = find_mdt(live, event->mdt, &mdt);

	if (r < 0) {
		return r;
	}
	if (event->is_reset) {
		forget_mdt(live, mdt);
		return 0;
	}
	switch (event->event.type) {
	case DR_EVENT_NEW:
	case DR_EVENT_UPDATE:
		r = take_action(live, event, mdt);
		break;
	case DR_EVENT_PURGED:
		r = take_purged(live, &event->event, mdt);
		break;
	default:
		return 0;
	}
	live->totals.events += r == 0;
	if (event->id.ms > live->totals.last_event_ms) {
		live->totals.last_event_ms = event->id.ms;
	}
	return r;
}

/* --- what is asked for --- */

static int compare_groups(const void *a, const void *b)
{
	const struct dr_live_group *x = a, *y = b;
	int r = strcmp(x->mdt, y->mdt);

	r = r ? r : strcmp(x->action, y->action);
	return r ? r : strcmp(x->status, y->status);
}

static bool is_stalled(const struct dr_live *live, const struct entry *entry, int64_t before_s)
{
	return entry->changed_s < before_s && live->groups[entry->group].state == STATE_OPEN;
}

void dr_live_groups(struct dr_live *live, int64_t stalled_before_s,
	struct dr_live_group **ret_groups, size_t *ret_n)
{
	struct dr_live_group *groups;
	size_t n = 0;

	sweep(live);
	for (uint32_t i = 0; i < live->n_groups; i++) {
		live->groups[i].oldest_s = 0;
		live->groups[i].stalled = 0;
		n += live->groups[i].count > 0;
	}
	for (uint32_t i = 0; i < live->entries.n; i++) {
		const struct entry *entry = dr_table_at(&live->entries, i);
		struct group *group = &live->groups[entry->group];

		if (!group->oldest_s || entry->first_s < group->oldest_s) {
			group->oldest_s = entry->first_s;
		}
		group->stalled += is_stalled(live, entry, stalled_before_s);
	}
	groups = dr_xcalloc(n ? n : 1, sizeof(*groups));
	n = 0;
	for (uint32_t i = 0; i < live->n_groups; i++) {
		const struct group *group = &live->groups[i];

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
	sweep(live);
	*ret_totals = live->totals;
	ret_totals->live = live->entries.n;
	for (uint32_t i = 0; i < live->entries.n; i++) {
		const struct entry *entry = dr_table_at(&live->entries, i);

		if (!ret_totals->oldest_s || entry->first_s < ret_totals->oldest_s) {
			ret_totals->oldest_s = entry->first_s;
		}
	}
}

/* Below 0: a has not changed for longer. */
static int compare_stalled(const struct dr_live *live, const struct entry *a, const struct entry *b)
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
static void sink(const struct dr_live *live, const struct entry **heap, size_t n, size_t at)
{
	for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
		if (child + 1 < n && compare_stalled(live, heap[child + 1], heap[child]) > 0) {
			child++;
		}
		if (compare_stalled(live, heap[at], heap[child]) >= 0) {
			return;
		}
		const struct entry *held = heap[at];

		heap[at] = heap[child];
		heap[child] = held;
		at = child;
	}
}

/* Keeps the n longest in the heap. @return how many there are */
static size_t find_stalled(const struct dr_live *live, int64_t before_s, const struct entry **heap,
	size_t n, size_t *ret_kept)
{
	size_t found = 0, kept = 0;

	for (uint32_t i = 0; i < live->entries.n; i++) {
		const struct entry *entry = dr_table_at(&live->entries, i);

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
	const struct entry **heap dr_cleanup(dr_freep) = NULL;
	size_t found, kept;

	sweep(live);
	for (uint32_t i = 0; i < live->n_groups; i++) {
		struct group *group = &live->groups[i];

		group->is_wanted =
			group->state == STATE_OPEN && group->count &&
			(!want || want(ctx, live->mdts[group->mdt], group->action, group->status));
	}
	heap = dr_xcalloc(n ? n : 1, sizeof(struct entry *));
	found = find_stalled(live, before_s, heap, n, &kept);
	for (size_t left = kept; left > 0; left--) {
		const struct entry *entry = heap[0];
		const struct group *group = &live->groups[entry->group];
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
