/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/known.h"

#include "base/log.h"
#include "hsm/action.h"

void dr_known_init(struct dr_known *known)
{
	*known = (struct dr_known){ 0 };
	dr_table_init(&known->actions, sizeof(struct dr_known_action));
}

void dr_known_clear(struct dr_known *known)
{
	for (uint32_t i = 0; i < known->actions.n; i++) {
		free(dr_known_at(known, i)->text);
	}
	dr_table_clear(&known->actions);
	known->last = (struct dr_entry_id){ 0 };
}

void dr_known_fini(struct dr_known *known)
{
	dr_known_clear(known);
	dr_table_fini(&known->actions);
}

struct dr_known_action *dr_known_find(const struct dr_known *known, uint64_t cat, uint64_t rec)
{
	struct dr_table_key key = { .cat = cat, .rec = rec };

	return dr_table_find(&known->actions, &key);
}

struct dr_span dr_known_fid(const struct dr_known_action *action)
{
	return dr_span_of(action->text);
}

struct dr_span dr_known_name(const struct dr_known_action *action)
{
	return dr_span_of(action->text + strlen(action->text) + 1);
}

struct dr_span dr_known_cookie(const struct dr_known_action *action)
{
	struct dr_span name = dr_known_name(action);
	struct dr_span cookie = dr_span_of(name.p + name.len + 1);

	return cookie.len ? cookie : (struct dr_span){ 0 };
}

static bool has_text(const struct dr_known_action *action, const struct dr_known_value *value)
{
	return action->text && dr_span_eq(dr_known_fid(action), value->fid) &&
	       dr_span_eq(dr_known_name(action), value->action) &&
	       dr_span_eq(dr_known_cookie(action), value->cookie);
}

/* No part holds a NUL: it would end there, and the parts behind it would be wrong. */
static char *make_text(const struct dr_known_value *value)
{
	const struct dr_span parts[] = { value->fid, value->action, value->cookie };
	char *text = malloc(value->fid.len + value->action.len + value->cookie.len + 3);
	char *p = text;

	for (size_t i = 0; text && i < 3; i++) {
		if (parts[i].len) {
			memcpy(p, parts[i].p, parts[i].len);
		}
		p += parts[i].len;
		*p++ = '\0';
	}
	return text;
}

int dr_known_set(struct dr_known *known, const struct dr_known_value *value,
	struct dr_known_action **ret_action)
{
	struct dr_table_key key = { .cat = value->cat, .rec = value->rec };
	void *entry = NULL;
	bool is_new = false;
	int r = dr_table_add(&known->actions, &key, &entry, &is_new);

	if (r < 0) {
		return r;
	}
	struct dr_known_action *action = entry;

	if (!has_text(action, value)) {
		char *text = make_text(value);

		if (!text) {
			if (is_new) {
				dr_table_remove(&known->actions, action);
			}
			return -ENOMEM;
		}
		free(action->text);
		action->text = text;
	}
	action->line_hash = value->line_hash;
	action->id = value->id;
	action->first_s = value->first_s;
	*ret_action = action;
	return 0;
}

void dr_known_drop(struct dr_known *known, struct dr_known_action *action)
{
	free(action->text);
	dr_table_remove(&known->actions, action);
}

static void drop_by_key(struct dr_known *known, struct dr_span key)
{
	struct dr_buf text = { 0 };

	/* From the end: the one that fills a gap was looked at already. */
	for (uint32_t i = known->actions.n; i-- > 0;) {
		struct dr_known_action *action = dr_known_at(known, i);

		dr_buf_clear(&text);
		dr_event_put_key(&text, dr_known_fid(action), dr_known_name(action));
		if (dr_span_eq((struct dr_span){ (const char *)text.data, text.len }, key)) {
			dr_known_drop(known, action);
		}
	}
	dr_buf_fini(&text);
}

/* The text before the last colon of "FID:ACTION", for events that have no fid. */
static struct dr_span fid_of(const struct dr_event *event)
{
	const char *colon = event->fid.p || !event->action_key.len
				    ? NULL
				    : memrchr(event->action_key.p, ':', event->action_key.len);

	return colon ? (struct dr_span){ event->action_key.p,
		(size_t)(colon - event->action_key.p) }
		     : event->fid;
}

static int apply_live(struct dr_known *known, struct dr_entry_id id, const struct dr_event *event)
{
	struct dr_known_action *action = dr_known_find(known, event->cat, event->rec);
	struct dr_known_value value = {
		.cat = event->cat,
		.rec = event->rec,
		.line_hash = event->raw.p ? dr_action_hash(event->raw.p, event->raw.len) : 0,
		.id = id,
		.first_s = event->first_seen,
		.fid = fid_of(event),
		.action = event->action,
		.cookie = event->cookie,
	};

	if (value.first_s == 0) {
		bool goes_on = action && event->type == DR_EVENT_UPDATE &&
			       dr_span_eq(dr_known_fid(action), value.fid);

		value.first_s = goes_on                ? action->first_s
				: event->timestamp > 0 ? event->timestamp
						       : (int64_t)(id.ms / 1000);
	}
	return dr_known_set(known, &value, &action);
}

int dr_known_apply(struct dr_known *known, struct dr_entry_id id, const struct dr_event *event)
{
	int r = 0;

	if (!event) {
		known->n_bad++;
	} else if (event->type == DR_EVENT_PURGED && event->has_idx) {
		struct dr_known_action *action = dr_known_find(known, event->cat, event->rec);

		if (action) {
			dr_known_drop(known, action);
		}
	} else if (event->type == DR_EVENT_PURGED) {
		drop_by_key(known, event->action_key);
	} else if (event->type == DR_EVENT_NEW || event->type == DR_EVENT_UPDATE) {
		r = apply_live(known, id, event);
	}
	if (r == 0) {
		known->last = id;
	}
	return r;
}

bool dr_known_oldest(const struct dr_known *known, struct dr_entry_id *ret_id)
{
	for (uint32_t i = 0; i < known->actions.n; i++) {
		struct dr_entry_id id = dr_known_at(known, i)->id;

		if (i == 0 || dr_entry_id_cmp(id, *ret_id) < 0) {
			*ret_id = id;
		}
	}
	return known->actions.n > 0;
}

size_t dr_known_adopt(struct dr_known *to, const struct dr_known *from)
{
	size_t n_same = 0;

	for (uint32_t i = 0; i < from->actions.n; i++) {
		const struct dr_known_action *theirs = dr_known_at(from, i);
		struct dr_known_action *ours = dr_known_find(to, theirs->key.cat, theirs->key.rec);

		if (ours && ours->line_hash == theirs->line_hash) {
			ours->was_ours = theirs->was_ours;
			n_same++;
		}
	}
	return (to->actions.n - n_same) + (from->actions.n - n_same);
}
