/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/live_impl.h"

#include <xxhash.h>

#define MAX_GROUPS 65536
#define MAX_TEXT 255  /* bytes of an action's or a status' text */
#define SWEEP_AT 4096 /* purges that are always gathered */
#define NOTHING "N/A"
#define OTHER "other"

struct dr_live *dr_live_new(void)
{
	struct dr_live *live = dr_xcalloc(1, sizeof(*live));

	dr_table_init(&live->entries, sizeof(struct dr_live_entry));
	dr_table_init(&live->purges, sizeof(struct dr_live_purge));
	dr_table_init(&live->mdt_numbers, sizeof(struct dr_live_name));
	dr_table_init(&live->group_numbers, sizeof(struct dr_live_name));
	return live;
}

static void entry_free_text(struct dr_live_entry *entry)
{
	if (entry->has_text) {
		free(entry->fid_text);
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
		((struct dr_live_name *)found)->number = live->n_mdts;
		live->mdts[live->n_mdts++] = dr_xstrdup(mdt);
	}
	live->last_mdt = (uint32_t)((struct dr_live_name *)found)->number;
	*ret_number = live->last_mdt;
	return 0;
}

static enum dr_live_state state_of(struct dr_span status)
{
	if (dr_span_is(status, "WAITING") || dr_span_is(status, "STARTED")) {
		return DR_LIVE_OPEN;
	}
	if (dr_span_is(status, "SUCCEED")) {
		return DR_LIVE_SUCCEED;
	}
	if (dr_span_is(status, "FAILED")) {
		return DR_LIVE_FAILED;
	}
	return dr_span_is(status, "CANCELED") ? DR_LIVE_CANCELED : DR_LIVE_NONE;
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
	struct dr_live_bundle *group;
	char *texts = dr_xcalloc(1, action.len + status.len + 2);

	live->groups = grown(live->groups, live->n_groups, &live->cap_groups, sizeof(*group));
	group = &live->groups[live->n_groups++];
	*group = (struct dr_live_bundle){
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
	struct dr_live_name *name;
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
	((struct dr_live_name *)found)->number = live->n_groups;
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

static void entry_set_fid(struct dr_live_entry *entry, struct dr_span fid)
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
	entry->fid_text = text;
	entry->has_text = 1;
}

/* --- what ends actions --- */

static void remove_entry(struct dr_live *live, struct dr_live_entry *entry)
{
	live->groups[entry->group].count--;
	entry_free_text(entry);
	dr_table_remove(&live->entries, entry);
}

static bool is_over(const struct dr_live *live, const struct dr_live_entry *entry)
{
	struct dr_table_key key = { .cat = entry->action_key, .mdt = entry->key.mdt };
	const struct dr_live_purge *purge;

	if (!live->purges.n) {
		return false;
	}
	purge = dr_table_find(&live->purges, &key);
	return purge && purge->ordinal > entry->purges;
}

void dr_live_sweep(struct dr_live *live)
{
	if (!live->n_purges) {
		return;
	}
	/* Backwards, for what fills a gap comes from the end. */
	for (uint32_t i = live->entries.n; i-- > 0;) {
		struct dr_live_entry *entry = dr_table_at(&live->entries, i);

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
		struct dr_live_entry *entry = dr_table_at(&live->entries, i);

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
		struct dr_live_entry *entry = dr_table_find(&live->entries, &key);

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
	((struct dr_live_purge *)found)->ordinal = ++live->n_purges;
	if (live->n_purges >= SWEEP_AT && live->n_purges >= live->entries.n) {
		dr_live_sweep(live);
	}
	return 0;
}

/* --- what makes and changes them --- */

static void count_state(struct dr_live *live, enum dr_live_state state)
{
	live->totals.succeeded += state == DR_LIVE_SUCCEED;
	live->totals.failed += state == DR_LIVE_FAILED;
	live->totals.canceled += state == DR_LIVE_CANCELED;
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
	struct dr_live_entry *entry;
	uint32_t group;
	void *found;
	bool is_new;

	if (find_group(live, mdt, event->action, event->status, &group) < 0 ||
		dr_table_add(&live->entries, &key, &found, &is_new) < 0) {
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
