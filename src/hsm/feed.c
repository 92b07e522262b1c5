/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/feed.h"

#include "base/log.h"
#include "base/text.h"
#include "store/connect.h"
#include "store/scripts.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#define CONNECT_MS 2000
#define COMMAND_MS 15000
#define READ_ENTRIES 1000 /* in one command */
#define LOG_SECONDS 60
#define MIN_TRIM 100 /* entries: a node of a stream, as servers come; fewer would remove none */

struct dr_feed {
	const struct dr_url *url;
	void (*beat)(void *arg);
	void *arg;
	pthread_mutex_t lock; /* guards the two below, and that `redis` changes */
	bool is_cancelled;
	redisContext *redis; /* NULL: not connected */
	char sha[41];        /* of the script; "": this connection's server has not been given it */
	struct dr_buf scratch;
};

struct dr_feed *dr_feed_new(const struct dr_url *url, void (*beat)(void *arg), void *arg)
{
	struct dr_feed *feed = dr_xcalloc(1, sizeof(*feed));

	feed->url = url;
	feed->beat = beat;
	feed->arg = arg;
	(void)pthread_mutex_init(&feed->lock, NULL);
	return feed;
}

static void disconnect(struct dr_feed *feed)
{
	(void)pthread_mutex_lock(&feed->lock);
	redisContext *redis = feed->redis;

	feed->redis = NULL;
	(void)pthread_mutex_unlock(&feed->lock);
	if (redis) {
		redisFree(redis);
	}
	feed->sha[0] = '\0';
}

void dr_feed_free(struct dr_feed *feed)
{
	if (!feed) {
		return;
	}
	disconnect(feed);
	dr_buf_fini(&feed->scratch);
	(void)pthread_mutex_destroy(&feed->lock);
	free(feed);
}

void dr_feed_cancel(struct dr_feed *feed)
{
	(void)pthread_mutex_lock(&feed->lock);
	feed->is_cancelled = true;
	if (feed->redis) {
		(void)shutdown(feed->redis->fd, SHUT_RDWR);
	}
	(void)pthread_mutex_unlock(&feed->lock);
}

bool dr_feed_is_connected(const struct dr_feed *feed)
{
	return feed->redis != NULL;
}

static bool is_cancelled(struct dr_feed *feed)
{
	(void)pthread_mutex_lock(&feed->lock);
	bool cancelled = feed->is_cancelled;

	(void)pthread_mutex_unlock(&feed->lock);
	return cancelled;
}

static int ensure(struct dr_feed *feed)
{
	redisContext *redis = NULL;

	if (feed->beat) {
		feed->beat(feed->arg);
	}
	if (is_cancelled(feed)) {
		return -ECANCELED;
	}
	if (feed->redis) {
		return 0;
	}
	int r = dr_connect(feed->url, CONNECT_MS, COMMAND_MS, &redis);

	if (r < 0) {
		return r;
	}
	(void)pthread_mutex_lock(&feed->lock);
	feed->redis = redis;
	(void)pthread_mutex_unlock(&feed->lock);
	char *where dr_cleanup(dr_freep) = dr_url_show(feed->url);

	dr_log(DR_LOG_INFO, "connected", "server=%s", where);
	return 0;
}

static bool has(const char *text, const char *word)
{
	return strstr(text, word) != NULL;
}

/* What an error reply means. Errors of a script's commands stand within its own. */
static int reply_error(struct dr_feed *feed, const char *key, const char *text)
{
	struct dr_buf what = { 0 };

	dr_text_escape(&what, text, strnlen(text, 300));
	dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "server-refuses",
		"stream=%s answer=\"%s\" next=\"tries again\"", key, dr_buf_cstr(&what));
	dr_buf_fini(&what);
	if (has(text, "WRONGTYPE")) {
		return -EMEDIUMTYPE;
	}
	if (has(text, "OOM")) {
		return -ENOSPC;
	}
	/* Another server, or the same one a little later, may do. */
	disconnect(feed);
	if (has(text, "READONLY") || has(text, "MISCONF") || has(text, "NOREPLICAS")) {
		return -EROFS;
	}
	if (has(text, "NOPERM") || has(text, "NOAUTH") || has(text, "ACL") ||
		has(text, "can't run this command") || has(text, "can't access")) {
		return -EACCES;
	}
	return has(text, "LOADING") || has(text, "BUSY") ? -EAGAIN : -EPROTO;
}

/* Sends a command and waits for its answer, which is never an error. */
static int ask(struct dr_feed *feed, const char *key, const struct dr_span *words, int n,
	redisReply **ret_reply)
{
	int r = ensure(feed);

	if (r < 0) {
		return r;
	}
	const char **argv dr_cleanup(dr_freep) = dr_xcalloc((size_t)n, sizeof(*argv));
	size_t *lens dr_cleanup(dr_freep) = dr_xcalloc((size_t)n, sizeof(*lens));

	for (int i = 0; i < n; i++) {
		argv[i] = words[i].p;
		lens[i] = words[i].len;
	}
	redisReply *reply = redisCommandArgv(feed->redis, n, argv, lens);

	if (!reply) {
		if (is_cancelled(feed)) {
			r = -ECANCELED;
		} else {
			dr_log(DR_LOG_WARNING, "server-lost", "why=\"%s\"", feed->redis->errstr);
			r = -ENOTCONN;
		}
		disconnect(feed);
		return r;
	}
	if (reply->type == REDIS_REPLY_ERROR) {
		r = has(reply->str, "NOSCRIPT")      ? -ENOEXEC
		    : has(reply->str, "no such key") ? -ENOENT
						     : reply_error(feed, key, reply->str);
		freeReplyObject(reply);
		return r;
	}
	*ret_reply = reply;
	return 0;
}

/* ---- reading ---- */

/* The id of the last entry that a stream ever had, also when that is no longer in it; 0-0: there is no stream. */
static int last_generated(struct dr_feed *feed, const char *key, struct dr_entry_id *ret_id)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	const struct dr_span words[] = { dr_span_of("XINFO"), dr_span_of("STREAM"),
		dr_span_of(key) };
	int r = ask(feed, key, words, 3, &reply);

	if (r == -ENOENT) {
		*ret_id = (struct dr_entry_id){ 0 };
		return 0;
	}
	if (r < 0) {
		return r;
	}
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		size_t len = 0;

		if (strcmp(dr_reply_str(reply, i, NULL), "last-generated-id") == 0) {
			const char *id = dr_reply_str(reply, i + 1, &len);

			return dr_entry_id_parse(id, len, ret_id) < 0 ? -EPROTO : 0;
		}
	}
	return -EPROTO;
}

/* The value of the field `data` of an entry; p NULL: it has none. */
static struct dr_span data_of(const redisReply *entry)
{
	const redisReply *fields = entry->elements > 1 ? entry->element[1] : NULL;

	for (size_t i = 0; fields && i + 1 < fields->elements; i += 2) {
		if (strcmp(dr_reply_str(fields, i, NULL), "data") == 0) {
			struct dr_span data = { 0 };

			data.p = dr_reply_str(fields, i + 1, &data.len);
			return data;
		}
	}
	return (struct dr_span){ 0 };
}

static int apply_entry(
	struct dr_feed *feed, const char *key, const redisReply *entry, struct dr_known *known)
{
	struct dr_entry_id id = { 0 };
	struct dr_event event = { 0 };
	size_t len = 0;
	const char *text = entry->type == REDIS_REPLY_ARRAY ? dr_reply_str(entry, 0, &len) : "";

	if (dr_entry_id_parse(text, len, &id) < 0) {
		return -EPROTO;
	}
	struct dr_span data = data_of(entry);
	int r = data.p ? dr_event_decode(data.p, data.len, &feed->scratch, &event) : -ENODATA;

	if (r < 0) {
		dr_log_limited(LOG_SECONDS, DR_LOG_WARNING, "bad-entry",
			"stream=%s id=%s why=\"%s\" next=\"passed over\"", key, text,
			r == -ENODATA   ? "no field data"
			: r == -EBADMSG ? "no JSON object"
					: "no event");
	}
	return dr_known_apply(known, id, r < 0 ? NULL : &event);
}

static int ask_range(struct dr_feed *feed, const char *key, const char *from, uint64_t count,
	redisReply **ret_reply)
{
	char number[24];

	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)count);
	const struct dr_span words[] = { dr_span_of("XRANGE"), dr_span_of(key), dr_span_of(from),
		dr_span_of("+"), dr_span_of("COUNT"), dr_span_of(number) };

	return ask(feed, key, words, 6, ret_reply);
}

/* A range of entries from an id on, with that one. */
static int read_range(
	struct dr_feed *feed, const char *key, struct dr_entry_id from, redisReply **ret_reply)
{
	char text[DR_ENTRY_ID_SIZE];
	int r = ask_range(feed, key, dr_entry_id_text(from, text), READ_ENTRIES, ret_reply);

	if (r == 0 && (*ret_reply)->type != REDIS_REPLY_ARRAY) {
		dr_reply_freep(ret_reply);
		disconnect(feed);
		return -EPROTO;
	}
	return r;
}

static bool begins_with(const redisReply *range, struct dr_entry_id id)
{
	struct dr_entry_id first = { 0 };
	size_t len = 0;

	if (range->elements == 0 || range->element[0]->type != REDIS_REPLY_ARRAY) {
		return false;
	}
	const char *text = dr_reply_str(range->element[0], 0, &len);

	return dr_entry_id_parse(text, len, &first) == 0 && dr_entry_id_cmp(first, id) == 0;
}

/*
 * Whether the stream goes on from what is known: its entry known->last is there, and `last` does not lie before it. Otherwise what is known
 * may not be in the stream, and is forgotten.
 * *ret_range is what comes from known->last on; *ret_skip how many of that are known.
 */
static int find_place(struct dr_feed *feed, const char *key, struct dr_entry_id last,
	struct dr_known *known, redisReply **ret_range, size_t *ret_skip)
{
	const struct dr_entry_id none = { 0 };
	int r = read_range(feed, key, known->last, ret_range);

	if (r < 0) {
		return r;
	}
	*ret_skip = 0;
	if (dr_entry_id_cmp(known->last, none) == 0) {
		return 0;
	}
	if (begins_with(*ret_range, known->last) && dr_entry_id_cmp(last, known->last) > 0) {
		*ret_skip = 1;
		return 0;
	}
	dr_reply_freep(ret_range);
	dr_log(DR_LOG_INFO, "stream-replayed",
		"stream=%s why=\"it does not hold the last entry that was known\"", key);
	dr_known_clear(known);
	return read_range(feed, key, none, ret_range);
}

int64_t dr_feed_catch_up(struct dr_feed *feed, const char *key, struct dr_known *known)
{
	redisReply *range dr_cleanup(dr_reply_freep) = NULL;
	struct dr_entry_id last = { 0 };
	size_t skip = 0;
	int64_t n_applied = 0;
	int r = last_generated(feed, key, &last);

	if (r < 0 || dr_entry_id_cmp(last, known->last) == 0) {
		return r;
	}
	r = find_place(feed, key, last, known, &range, &skip);
	while (r == 0 && range->elements > skip) {
		bool is_full = range->elements == READ_ENTRIES;

		for (size_t i = skip; r == 0 && i < range->elements; i++) {
			r = apply_entry(feed, key, range->element[i], known);
			n_applied++;
		}
		if (r < 0 || !is_full) {
			break;
		}
		dr_reply_freep(&range);
		skip = 1;
		r = read_range(feed, key, known->last, &range);
	}
	/* Entries up to that one which are not there were trimmed or deleted: it was asked for before they were read. */
	if (r == 0 && dr_entry_id_cmp(known->last, last) < 0) {
		known->last = last;
	}
	return r < 0 ? r : n_applied;
}

/* ---- writing ---- */

static int load_script(struct dr_feed *feed, const char *key)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	const struct dr_span words[] = { dr_span_of("SCRIPT"), dr_span_of("LOAD"),
		dr_span_of(dr_script_hsm_add.text) };
	int r = ask(feed, key, words, 3, &reply);

	if (r < 0) {
		return r;
	}
	if (reply->type != REDIS_REPLY_STRING || reply->len != 40) {
		return -EPROTO;
	}
	memcpy(feed->sha, reply->str, 41);
	return 0;
}

static int parse_ids(const char *text, size_t len, struct dr_entry_id *ret_ids, size_t n)
{
	const char *end = text + len;

	for (size_t i = 0; i < n; i++) {
		const char *blank = memchr(text, ' ', (size_t)(end - text));
		const char *stop = blank ? blank : end;

		if (dr_entry_id_parse(text, (size_t)(stop - text), &ret_ids[i]) < 0 ||
			(blank != NULL) != (i + 1 < n)) {
			return -EPROTO;
		}
		text = stop + (blank != NULL);
	}
	return 0;
}

int dr_feed_add(struct dr_feed *feed, const char *key, struct dr_entry_id last,
	const struct dr_span *events, size_t n, struct dr_entry_id *ret_ids)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	struct dr_span *words dr_cleanup(dr_freep) = dr_xcalloc(n + 5, sizeof(*words));
	char text[DR_ENTRY_ID_SIZE];
	size_t len = 0;
	int r = -ENOEXEC;

	words[0] = dr_span_of("EVALSHA");
	words[2] = dr_span_of("1");
	words[3] = dr_span_of(key);
	words[4] = dr_span_of(dr_entry_id_text(last, text));
	memcpy(words + 5, events, n * sizeof(*events));
	for (int attempt = 0; attempt < 2 && r == -ENOEXEC; attempt++) {
		r = feed->redis && feed->sha[0] && attempt == 0 ? 0 : load_script(feed, key);
		if (r == 0) {
			words[1] = dr_span_of(feed->sha);
			r = ask(feed, key, words, (int)n + 5, &reply);
		}
	}
	if (r < 0) {
		return r == -ENOEXEC ? -EPROTO : r;
	}
	const char *ids = dr_reply_str(reply, 1, &len);

	if (dr_reply_int(reply, 0) != 1) {
		return -ESTALE;
	}
	return parse_ids(ids, len, ret_ids, n);
}

/* ---- trimming ---- */

static int trim_once(struct dr_feed *feed, const char *key, const char *how, const char *id,
	const char *limit, int64_t *ret_n)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	const struct dr_span words[] = { dr_span_of("XTRIM"), dr_span_of(key), dr_span_of("MINID"),
		dr_span_of(how), dr_span_of(id), dr_span_of("LIMIT"), dr_span_of(limit) };
	int r = ask(feed, key, words, limit ? 7 : 5, &reply);

	if (r == 0) {
		*ret_n = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
	}
	return r;
}

/* The id of the entry that is `chunk` behind the first; 0: there are no more than that. */
static int chunk_end(
	struct dr_feed *feed, const char *key, uint64_t chunk, struct dr_entry_id *ret_id)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	size_t len = 0;
	int r = ask_range(feed, key, "-", chunk + 1, &reply);

	if (r < 0) {
		return r;
	}
	*ret_id = (struct dr_entry_id){ 0 };
	if (reply->elements <= chunk) {
		return 0;
	}
	const char *id = dr_reply_str(reply->element[reply->elements - 1], 0, &len);

	return dr_entry_id_parse(id, len, ret_id) < 0 ? -EPROTO : 1;
}

/* Exactly, and yet in chunks: each up to an entry that many further on. */
static int trim_exactly(struct dr_feed *feed, const char *key, struct dr_entry_id keep,
	uint64_t chunk, int64_t *ret_n)
{
	char text[DR_ENTRY_ID_SIZE];
	struct dr_entry_id end = { 0 };
	int r = chunk_end(feed, key, chunk, &end);

	if (r < 0) {
		return r;
	}
	bool is_last = r == 0 || dr_entry_id_cmp(end, keep) >= 0;

	r = trim_once(feed, key, "=", dr_entry_id_text(is_last ? keep : end, text), NULL, ret_n);
	return r < 0 ? r : !is_last;
}

int64_t dr_feed_trim(struct dr_feed *feed, const char *key, struct dr_entry_id keep, uint64_t chunk,
	bool is_approximate)
{
	char text[DR_ENTRY_ID_SIZE];
	char limit[24];
	int64_t total = 0;
	int64_t n = 0;
	int r = 1;

	chunk = chunk < MIN_TRIM ? MIN_TRIM : chunk;
	(void)snprintf(limit, sizeof(limit), "%llu", (unsigned long long)chunk);
	while (r > 0) {
		if (is_approximate) {
			r = trim_once(feed, key, "~", dr_entry_id_text(keep, text), limit, &n);
			r = r < 0 ? r : n > 0;
		} else {
			r = trim_exactly(feed, key, keep, chunk, &n);
		}
		total += r < 0 ? 0 : n;
	}
	return r < 0 ? r : total;
}
