/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/ship.h"

#include "base/log.h"
#include "base/text.h"
#include "hsm/source.h"

#include <inttypes.h>
#include <stdio.h>

#define BATCH_EVENTS 1000
#define BATCH_BYTES (1u << 20)
#define ATTEMPTS 5
#define LOG_SECONDS 60
#define LOGGED_BYTES 120 /* of a bad line */

/* An event that is to be shipped, and what it makes of the state. Texts are within its line, which its JSON holds only escaped. */
struct change {
	enum dr_event_type type;
	uint64_t cat, rec, line_hash;
	int64_t first_s;
	size_t text;           /* offset in `texts` of fid, action, cookie, each with its NUL */
	size_t json, json_len; /* in `jsons` */
};

struct changes {
	struct change *v;
	size_t n, cap;
	struct dr_buf jsons, texts;
	struct dr_table keys; /* of those that are NEW: a file that lists an index twice */
};

struct ship {
	struct dr_feed *feed;
	const char *key, *mdt;
	int64_t now_s;
	struct dr_known *known;
	struct dr_ship_counts *counts;
	uint32_t cursor; /* position in the table of the action that the next line most likely is */
	struct changes purges, news;
	struct dr_buf scratch;
	int error; /* of the stream, which ended the reading */
};

/* ---- collecting ---- */

static void changes_clear(struct changes *changes)
{
	changes->n = 0;
	dr_buf_clear(&changes->jsons);
	dr_buf_clear(&changes->texts);
	dr_table_clear(&changes->keys);
}

static void changes_init(struct changes *changes)
{
	*changes = (struct changes){ 0 };
	dr_table_init(&changes->keys, sizeof(struct dr_table_key));
}

static void changes_fini(struct changes *changes)
{
	free(changes->v);
	dr_buf_fini(&changes->jsons);
	dr_buf_fini(&changes->texts);
	dr_table_fini(&changes->keys);
}

static size_t bytes_of(const struct changes *changes)
{
	return changes->jsons.len + changes->texts.len + changes->n * sizeof(struct change);
}

static void put_text(struct dr_buf *texts, struct dr_span text)
{
	dr_buf_put(texts, text.p, text.len);
	dr_buf_put_u8(texts, '\0');
}

static void add_change(struct changes *changes, const struct dr_event *event, uint64_t line_hash)
{
	if (changes->n == changes->cap) {
		changes->cap = changes->cap ? changes->cap * 2 : 64;
		changes->v = dr_xrealloc(changes->v, changes->cap * sizeof(*changes->v));
	}
	struct change *change = &changes->v[changes->n++];

	*change = (struct change){
		.type = event->type,
		.cat = event->cat,
		.rec = event->rec,
		.line_hash = line_hash,
		.first_s = event->first_seen,
		.text = changes->texts.len,
		.json = changes->jsons.len,
	};
	put_text(&changes->texts, event->fid);
	put_text(&changes->texts, event->action);
	put_text(&changes->texts, event->cookie);
	dr_event_encode(event, &changes->jsons);
	change->json_len = changes->jsons.len - change->json;
}

/* "FID:ACTION", lent until the next call. */
static struct dr_span key_of(struct ship *ship, struct dr_span fid, struct dr_span action)
{
	dr_buf_clear(&ship->scratch);
	dr_event_put_key(&ship->scratch, fid, action);
	return (struct dr_span){ (const char *)ship->scratch.data, ship->scratch.len };
}

static void add_live(struct ship *ship, enum dr_event_type type, const struct dr_action *action,
	struct dr_span line, uint64_t line_hash, int64_t first_s)
{
	const struct dr_event event = {
		.type = type,
		.has_idx = true,
		.cat = action->cat,
		.rec = action->rec,
		.timestamp = ship->now_s,
		.first_seen = first_s,
		.mdt = dr_span_of(ship->mdt),
		.fid = action->fid,
		.action = action->action.p ? action->action : dr_span_of(""),
		.status = action->status.p ? action->status : dr_span_of(""),
		.action_key = key_of(ship, action->fid, action->action),
		.cookie = action->cookie,
		.raw = line,
	};

	add_change(&ship->news, &event, line_hash);
}

static void add_purged(struct ship *ship, const struct dr_known_action *action)
{
	char hash[17];
	const struct dr_event event = {
		.type = DR_EVENT_PURGED,
		.has_idx = true,
		.cat = action->key.cat,
		.rec = action->key.rec,
		.timestamp = ship->now_s,
		.mdt = dr_span_of(ship->mdt),
		.fid = dr_known_fid(action),
		.action = dr_known_name(action),
		.status = dr_span_of("PURGED"),
		.action_key = key_of(ship, dr_known_fid(action), dr_known_name(action)),
		.cookie = dr_known_cookie(action),
		.hash = { hash, 16 },
		.source = action->was_ours ? (struct dr_span){ 0 } : dr_span_of("maintenance"),
	};

	(void)snprintf(hash, sizeof(hash), "%016" PRIx64, action->line_hash);
	add_change(&ship->purges, &event, 0);
}

/* ---- shipping ---- */

static struct dr_span next_text(const char **p)
{
	struct dr_span text = dr_span_of(*p);

	*p += text.len + 1;
	return text;
}

static int apply_change(struct ship *ship, const struct changes *changes,
	const struct change *change, struct dr_entry_id id)
{
	struct dr_known *known = ship->known;
	struct dr_known_action *action = NULL;
	int r = 0;

	if (change->type == DR_EVENT_PURGED) {
		action = dr_known_find(known, change->cat, change->rec);
		if (action) {
			dr_known_drop(known, action);
		}
		ship->counts->n_purged++;
	} else {
		const char *text = (const char *)changes->texts.data + change->text;
		struct dr_known_value value = {
			.cat = change->cat,
			.rec = change->rec,
			.line_hash = change->line_hash,
			.id = id,
			.first_s = change->first_s,
		};

		value.fid = next_text(&text);
		value.action = next_text(&text);
		value.cookie = next_text(&text);
		r = dr_known_set(known, &value, &action);
		if (r < 0) {
			return r;
		}
		action->seen = known->pass;
		action->was_ours = true;
		*(change->type == DR_EVENT_NEW ? &ship->counts->n_new : &ship->counts->n_update) +=
			1;
	}
	known->last = id;
	return 0;
}

/* Ships the changes from `first` on that make one batch; returns how many. */
static int ship_batch(struct ship *ship, const struct changes *changes, size_t first)
{
	struct dr_span events[BATCH_EVENTS] = { 0 };
	struct dr_entry_id ids[BATCH_EVENTS];
	size_t n = 0;
	size_t bytes = 0;

	while (first + n < changes->n && n < BATCH_EVENTS && bytes < BATCH_BYTES) {
		const struct change *change = &changes->v[first + n];

		events[n].p = (const char *)changes->jsons.data + change->json;
		events[n].len = change->json_len;
		bytes += events[n++].len;
	}
	int r = dr_feed_add(ship->feed, ship->key, ship->known->last, events, n, ids);

	for (size_t i = 0; i < n && r == 0; i++) {
		r = apply_change(ship, changes, &changes->v[first + i], ids[i]);
	}
	return r < 0 ? r : (int)n;
}

static int ship_changes(struct ship *ship, struct changes *changes)
{
	size_t done = 0;

	while (done < changes->n) {
		int r = ship_batch(ship, changes, done);

		if (r < 0) {
			return r;
		}
		done += (size_t)r;
	}
	changes_clear(changes);
	return 0;
}

static int ship_all(struct ship *ship)
{
	int r = ship_changes(ship, &ship->purges);

	return r < 0 ? r : ship_changes(ship, &ship->news);
}

/* ---- reading ---- */

static void log_bad(const struct ship *ship, struct dr_span line, const char *why)
{
	struct dr_buf text = { 0 };

	dr_text_escape(&text, line.p, line.len < LOGGED_BYTES ? line.len : LOGGED_BYTES);
	dr_log_limited(LOG_SECONDS, DR_LOG_WARNING, "bad-line",
		"mdt=%s why=\"%s\" line=\"%s\" next=\"passed over\"", ship->mdt, why,
		dr_buf_cstr(&text));
	dr_buf_fini(&text);
}

static const char *why_bad(int error)
{
	switch (error) {
	case -ENOMSG:
		return "no idx";
	case -ENODATA:
		return "no fid";
	case -EBADMSG:
		return "cut off";
	case -EILSEQ:
		return "a NUL, or not UTF-8";
	default:
		return "too long";
	}
}

/* Whether the index still holds the same request: the rest of a line may change. */
static bool is_same_request(const struct dr_known_action *known, const struct dr_action *action)
{
	struct dr_span cookie = dr_known_cookie(known);

	return dr_span_eq(dr_known_fid(known), action->fid) &&
	       dr_span_eq(dr_known_name(known), action->action) &&
	       (!cookie.p || !action->cookie.p || dr_span_eq(cookie, action->cookie));
}

/* @return 1; 0 the file has that index twice */
static int take_changed(struct ship *ship, struct dr_known_action *known,
	const struct dr_action *action, struct dr_span line, uint64_t line_hash)
{
	if (known->seen == ship->known->pass) {
		return 0;
	}
	known->seen = ship->known->pass;
	ship->cursor = dr_table_position(&ship->known->actions, known) + 1;
	if (is_same_request(known, action)) {
		if (known->line_hash == line_hash) {
			known->was_ours = true;
		} else {
			add_live(ship, DR_EVENT_UPDATE, action, line, line_hash, known->first_s);
		}
	} else {
		add_purged(ship, known);
		add_live(ship, DR_EVENT_NEW, action, line, line_hash, ship->now_s);
	}
	return 1;
}

static int take_new(
	struct ship *ship, const struct dr_action *action, struct dr_span line, uint64_t line_hash)
{
	struct dr_table_key key = { .cat = action->cat, .rec = action->rec };
	void *entry = NULL;
	bool is_new = false;
	int r = dr_table_add(&ship->news.keys, &key, &entry, &is_new);

	if (r < 0 || !is_new) {
		return r;
	}
	add_live(ship, DR_EVENT_NEW, action, line, line_hash, ship->now_s);
	return 1;
}

/* dr_line_fn */
static int take_line(void *arg, struct dr_span line, bool is_last_and_open)
{
	struct ship *ship = arg;
	struct dr_known *known = ship->known;
	uint64_t hash = dr_action_hash(line.p, line.len);
	struct dr_action action;

	/* As the file was last time, in the same order: nothing to parse. */
	if (ship->cursor < known->actions.n) {
		struct dr_known_action *next = dr_known_at(known, ship->cursor);

		if (next->line_hash == hash && next->seen != known->pass) {
			next->seen = known->pass;
			next->was_ours = true;
			ship->cursor++;
			return 1;
		}
	}
	int r = dr_action_parse(line.p, line.len, &action);

	if (r < 0) {
		log_bad(ship, line, why_bad(r));
		return 0;
	}
	if (is_last_and_open && !dr_action_is_whole(line.p, line.len, &action)) {
		log_bad(ship, line, "cut off");
		return 0;
	}
	struct dr_known_action *there = dr_known_find(known, action.cat, action.rec);

	r = there ? take_changed(ship, there, &action, line, hash)
		  : take_new(ship, &action, line, hash);
	if (r == 0) {
		log_bad(ship, line, "an index that the file has twice");
	}
	if (r > 0 && bytes_of(&ship->news) > DR_SHIP_MAX_BYTES) {
		int shipped = ship_all(ship);

		ship->error = shipped < 0 ? shipped : 0;
		r = shipped < 0 ? shipped : r;
	} else if (r < 0) {
		ship->error = r;
	}
	return r;
}

static void collect_gone(struct ship *ship)
{
	struct dr_known *known = ship->known;

	for (uint32_t i = 0; i < known->actions.n; i++) {
		const struct dr_known_action *action = dr_known_at(known, i);

		if (action->seen != known->pass) {
			add_purged(ship, action);
		}
	}
}

/* One look at the file, and what came of it into the stream. */
static int pass(struct ship *ship, const char *path)
{
	struct dr_reading reading = { 0 };
	struct dr_ship_counts *counts = ship->counts;

	changes_clear(&ship->purges);
	changes_clear(&ship->news);
	ship->cursor = 0;
	ship->error = 0;
	ship->known->pass++;
	counts->file_error = 0;
	if (path) {
		int r = dr_source_read(path, take_line, ship, &reading);

		if (ship->error < 0) {
			return ship->error;
		}
		counts->file_error = r;
	} else {
		reading.is_stable = true;
	}
	counts->is_stable = counts->file_error == 0 && reading.is_stable;
	counts->n_lines = reading.n_lines;
	counts->n_bad = reading.n_bad;
	if (counts->is_stable) {
		collect_gone(ship);
	}
	return ship_all(ship);
}

int dr_ship_mdt(struct dr_feed *feed, const char *key, const char *mdt, const char *path,
	int64_t now_s, struct dr_known *known, struct dr_ship_counts *ret_counts)
{
	struct ship ship = {
		.feed = feed,
		.key = key,
		.mdt = mdt,
		.now_s = now_s,
		.known = known,
		.counts = ret_counts,
	};
	int r = -ESTALE;

	*ret_counts = (struct dr_ship_counts){ 0 };
	changes_init(&ship.purges);
	changes_init(&ship.news);
	for (int i = 0; i < ATTEMPTS && r == -ESTALE; i++) {
		/* Who else writes to the stream was there first: what it wrote is taken into account, and all is compared again. */
		int64_t n = dr_feed_catch_up(feed, key, known);

		ret_counts->n_read += n > 0 ? (uint64_t)n : 0;
		r = n < 0 ? (int)n : pass(&ship, path);
	}
	changes_fini(&ship.purges);
	changes_fini(&ship.news);
	dr_buf_fini(&ship.scratch);
	return r == -ESTALE ? -EAGAIN : r;
}
