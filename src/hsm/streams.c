/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/streams.h"

#include "base/log.h"
#include "base/text.h"

#include <stdio.h>

#define PIPELINE 200u /* commands that are sent before the first reply is read */
#define LOG_SECONDS 10
#define FOREIGN_SECONDS 3600

static void reply_freep(redisReply **reply)
{
	if (*reply) {
		freeReplyObject(*reply);
	}
}

void dr_streams_init(struct dr_streams *streams, const char *prefix)
{
	struct dr_buf pattern = { 0 };

	for (const char *p = prefix; *p; p++) {
		if (strchr("*?[]\\", *p)) {
			dr_buf_put_u8(&pattern, '\\');
		}
		dr_buf_put_u8(&pattern, (uint8_t)*p);
	}
	dr_buf_put_str(&pattern, ":*");
	*streams = (struct dr_streams){
		.prefix = dr_xstrdup(prefix),
		.prefix_len = strlen(prefix),
		.pattern = dr_buf_cstr(&pattern),
	};
}

void dr_streams_fini(struct dr_streams *streams)
{
	for (size_t i = 0; i < streams->n; i++) {
		free(streams->list[i]->key);
		free(streams->list[i]);
	}
	free(streams->list);
	free(streams->pattern);
	free(streams->prefix);
	*streams = (struct dr_streams){ 0 };
}

bool dr_streams_is_key(const struct dr_streams *streams, const char *key, size_t len)
{
	size_t head = streams->prefix_len;

	return len > head + 1 && memcmp(key, streams->prefix, head) == 0 && key[head] == ':' &&
	       !memchr(key, 0, len);
}

/* Where the key is in the list, or would be. */
static size_t find(const struct dr_streams *streams, const char *key, bool *ret_is_there)
{
	size_t low = 0, high = streams->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int r = strcmp(streams->list[middle]->key, key);

		if (r == 0) {
			*ret_is_there = true;
			return middle;
		}
		if (r < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	*ret_is_there = false;
	return low;
}

struct dr_stream *dr_streams_add(struct dr_streams *streams, const char *key)
{
	bool is_there = false;
	size_t at = find(streams, key, &is_there);

	if (is_there) {
		return streams->list[at];
	}
	struct dr_stream *stream = dr_xcalloc(1, sizeof(*stream));

	stream->key = dr_xstrdup(key);
	stream->mdt = stream->key + streams->prefix_len + 1;
	streams->list = dr_xrealloc(streams->list, (streams->n + 1) * sizeof(struct dr_stream *));
	memmove(streams->list + at + 1, streams->list + at,
		(streams->n - at) * sizeof(struct dr_stream *));
	streams->list[at] = stream;
	streams->n++;
	return stream;
}

/* What was asked cannot be had on this connection. */
static int refused(struct dr_wire *wire, const char *command, const redisReply *reply)
{
	const char *why = reply->type == REDIS_REPLY_ERROR ? reply->str : "an odd reply";
	int r = reply->type == REDIS_REPLY_ERROR ? dr_wire_error(reply->str) : -EPROTO;
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	dr_text_escape(&text, why, strnlen(why, 200));
	dr_log_limited(LOG_SECONDS, r == -EAGAIN ? DR_LOG_DEBUG : DR_LOG_WARNING, "redis-refused",
		"command=%s error=\"%s\"", command, dr_buf_cstr(&text));
	dr_wire_close(wire);
	return r;
}

static bool is_text(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
}

/* --- the keys --- */

/* Keys, each with a NUL. */
struct keys {
	struct dr_buf bytes;
	const char **list; /* into bytes */
	size_t n;
};

static void keys_fini(struct keys *keys)
{
	dr_buf_fini(&keys->bytes);
	free(keys->list);
}

static int by_name(const void *left, const void *right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Takes one page of SCAN. @return 0, or EPROTO: that is none */
static int take_page(struct dr_streams *streams, const redisReply *page, struct keys *keys,
	char *cursor, size_t cursor_size)
{
	if (page->type != REDIS_REPLY_ARRAY || page->elements != 2 || !is_text(page->element[0]) ||
		page->element[0]->len >= cursor_size ||
		page->element[1]->type != REDIS_REPLY_ARRAY) {
		return -EPROTO;
	}
	(void)snprintf(cursor, cursor_size, "%s", page->element[0]->str);
	for (size_t i = 0; i < page->element[1]->elements; i++) {
		const redisReply *key = page->element[1]->element[i];

		if (is_text(key) && dr_streams_is_key(streams, key->str, (size_t)key->len)) {
			dr_buf_put(&keys->bytes, key->str, (size_t)key->len + 1);
			keys->n++;
		} else {
			streams->n_foreign++;
		}
	}
	return 0;
}

/* All keys of the prefix, sorted, each once: SCAN may give one twice. */
static int find_keys(struct dr_streams *streams, struct dr_wire *wire, struct keys *keys)
{
	char cursor[32] = "0";
	const char *argv[] = { "SCAN", cursor, "MATCH", streams->pattern, "COUNT", "1000" };

	do {
		redisReply *page dr_cleanup(reply_freep) = NULL;
		int r = dr_wire_put(wire, 6, argv, NULL);

		r = r == 0 ? dr_wire_get(wire, (void **)&page) : r;
		if (r != 0) {
			return r;
		}
		if (take_page(streams, page, keys, cursor, sizeof(cursor)) < 0) {
			return refused(wire, "SCAN", page);
		}
	} while (strcmp(cursor, "0") != 0);
	keys->list = dr_xcalloc(keys->n, sizeof(*keys->list));
	const char *p = dr_buf_cstr(&keys->bytes);

	for (size_t i = 0; i < keys->n; i++) {
		keys->list[i] = p;
		p += strlen(p) + 1;
	}
	qsort(keys->list, keys->n, sizeof(*keys->list), by_name);
	size_t n = 0;

	for (size_t i = 0; i < keys->n; i++) {
		if (n == 0 || strcmp(keys->list[n - 1], keys->list[i]) != 0) {
			keys->list[n++] = keys->list[i];
		}
	}
	keys->n = n;
	return 0;
}

/* --- what they are --- */

/* A value in the reply of XINFO STREAM, which is name, value, name, value; NULL: it has none of that name. */
static const redisReply *info_of(const redisReply *reply, const char *name)
{
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		if (is_text(reply->element[i]) && strcmp(reply->element[i]->str, name) == 0) {
			return reply->element[i + 1];
		}
	}
	return NULL;
}

static uint64_t number_of(const redisReply *value)
{
	return value && value->type == REDIS_REPLY_INTEGER && value->integer > 0
		       ? (uint64_t)value->integer
		       : 0;
}

/* @error EPROTO no id */
static int id_of(const redisReply *value, struct dr_entry_id *ret_id)
{
	bool is_id = value && is_text(value);

	return is_id && dr_entry_id_parse(value->str, (size_t)value->len, ret_id) == 0 ? 0
										       : -EPROTO;
}

/* @error EPROTO that is no reply of XINFO STREAM */
static int take_info(struct dr_streams *streams, const char *key, const redisReply *reply)
{
	struct dr_entry_id first = { 0 }, last;

	if (reply->type != REDIS_REPLY_ARRAY || id_of(info_of(reply, "last-generated-id"), &last)) {
		return -EPROTO;
	}
	const redisReply *entry = info_of(reply, "first-entry");

	if (entry && entry->type == REDIS_REPLY_ARRAY && entry->elements > 0 &&
		id_of(entry->element[0], &first)) {
		return -EPROTO;
	}
	struct dr_stream *stream = dr_streams_add(streams, key);
	uint64_t added = number_of(info_of(reply, "entries-added"));

	if (!stream->is_there) {
		stream->is_fresh = true;
	} else if (dr_entry_id_cmp(last, stream->position) < 0 ||
		   (added && added < stream->added)) {
		stream->is_fresh = true;
		stream->is_reset = true;
	}
	stream->is_there = true;
	stream->first = first;
	stream->last = last;
	stream->length = number_of(info_of(reply, "length"));
	stream->added = added;
	stream->look = streams->look;
	return 0;
}

static void take_foreign(struct dr_streams *streams, const char *key)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	streams->n_foreign++;
	dr_text_escape(&text, key, strlen(key));
	dr_log_limited(FOREIGN_SECONDS, DR_LOG_WARNING, "hsm-foreign-key",
		"key=\"%s\" error=\"is no stream\" next=\"passed over\"", dr_buf_cstr(&text));
}

static int ask_infos(
	struct dr_streams *streams, struct dr_wire *wire, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *argv[] = { "XINFO", "STREAM", keys[i] };
		int r = dr_wire_put(wire, 3, argv, NULL);

		if (r < 0) {
			return r;
		}
	}
	for (size_t i = 0; i < n; i++) {
		redisReply *reply dr_cleanup(reply_freep) = NULL;
		int r = dr_wire_get(wire, (void **)&reply);

		if (r < 0) {
			return r;
		}
		if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "WRONGTYPE", 9) == 0) {
			take_foreign(streams, keys[i]);
		} else if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "no such key")) {
			continue; /* deleted since SCAN saw it */
		} else if (take_info(streams, keys[i], reply) < 0) {
			return refused(wire, "XINFO", reply);
		}
	}
	return 0;
}

int dr_streams_look(struct dr_streams *streams, struct dr_wire *wire)
{
	struct keys keys dr_cleanup(keys_fini) = { 0 };

	streams->look++;
	streams->n_foreign = 0;
	int r = find_keys(streams, wire, &keys);

	for (size_t i = 0; r == 0 && i < keys.n; i += PIPELINE) {
		size_t n = keys.n - i < PIPELINE ? keys.n - i : PIPELINE;

		r = ask_infos(streams, wire, keys.list + i, n);
	}
	if (r < 0) {
		return r;
	}
	for (size_t i = 0; i < streams->n; i++) {
		struct dr_stream *stream = streams->list[i];

		if (stream->is_there && stream->look != streams->look) {
			stream->is_there = false;
			stream->is_reset = true;
			stream->length = 0;
			stream->added = 0;
		}
	}
	return 0;
}
