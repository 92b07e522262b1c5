/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 1000
#define COMMAND_TIMEOUT_MS 10000
#define RETRY_MS 50

/*
 * The link is a mailbox: the control loop puts a new endpoint in, every store compares its
 * generation before each call. Nothing is ever taken out, so a reader cannot miss the newest one.
 */
struct dr_link {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct dr_endpoint endpoint;
	bool there; /* an endpoint was set and not taken back */
	bool stopped;
	uint64_t stop_ns; /* 0: never */
	uint64_t generation;
};

struct dr_store {
	struct dr_link *link;
	redisContext *redis; /* NULL: not connected */
	uint64_t generation; /* of the link when it was connected */
	char *prefix;
	char epoch[DR_EPOCH_SIZE];
	const char **argv; /* scratch of one call */
	size_t *lens;
	size_t cap_argv;
};

static void endpoint_fini(struct dr_endpoint *endpoint)
{
	free(endpoint->host);
	free(endpoint->password);
	free(endpoint->prefix);
	free(endpoint->campaign);
	*endpoint = (struct dr_endpoint){ 0 };
}

static void endpoint_copy(struct dr_endpoint *to, const struct dr_endpoint *from)
{
	*to = (struct dr_endpoint){
		.url = from->url,
		.host = dr_xstrdup(from->host ? from->host : ""),
		.port = from->port,
		.password = dr_xstrdup(from->password ? from->password : ""),
		.prefix = dr_xstrdup(from->prefix),
		.campaign = dr_xstrdup(from->campaign ? from->campaign : ""),
	};
	memcpy(to->epoch, from->epoch, sizeof(to->epoch));
}

struct dr_link *dr_link_new(void)
{
	struct dr_link *link = dr_xcalloc(1, sizeof(*link));
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&link->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&link->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	return link;
}

void dr_link_free(struct dr_link *link)
{
	if (!link) {
		return;
	}
	endpoint_fini(&link->endpoint);
	(void)pthread_cond_destroy(&link->changed);
	(void)pthread_mutex_destroy(&link->lock);
	free(link);
}

void dr_link_set(struct dr_link *link, const struct dr_endpoint *endpoint)
{
	(void)pthread_mutex_lock(&link->lock);
	link->there = endpoint != NULL;
	if (endpoint) {
		endpoint_fini(&link->endpoint);
		endpoint_copy(&link->endpoint, endpoint);
	}
	link->generation++;
	(void)pthread_cond_broadcast(&link->changed);
	(void)pthread_mutex_unlock(&link->lock);
}

void dr_link_stop(struct dr_link *link)
{
	(void)pthread_mutex_lock(&link->lock);
	link->stopped = true;
	(void)pthread_cond_broadcast(&link->changed);
	(void)pthread_mutex_unlock(&link->lock);
}

void dr_link_stop_at(struct dr_link *link, uint64_t ns)
{
	(void)pthread_mutex_lock(&link->lock);
	link->stop_ns = ns;
	(void)pthread_mutex_unlock(&link->lock);
}

void dr_link_epoch(struct dr_link *link, char text[DR_EPOCH_SIZE])
{
	(void)pthread_mutex_lock(&link->lock);
	(void)snprintf(text, DR_EPOCH_SIZE, "%s", link->there ? link->endpoint.epoch : "");
	(void)pthread_mutex_unlock(&link->lock);
}

void dr_epoch_text(uint64_t number, const char *word, char text[DR_EPOCH_SIZE])
{
	(void)snprintf(text, DR_EPOCH_SIZE, "%" PRIu64 "%s%.24s", number, word ? "-" : "",
		word ? word : "");
}

uint64_t dr_epoch_number(const char *text)
{
	return strtoull(text, NULL, 10);
}

struct dr_store *dr_store_new(struct dr_link *link)
{
	struct dr_store *store = dr_xcalloc(1, sizeof(*store));

	store->link = link;
	return store;
}

static void disconnect(struct dr_store *store)
{
	if (store->redis) {
		redisFree(store->redis);
		store->redis = NULL;
	}
}

void dr_store_free(struct dr_store *store)
{
	if (!store) {
		return;
	}
	disconnect(store);
	free(store->prefix);
	free(store->argv);
	free(store->lens);
	free(store);
}

int dr_store_fd(const struct dr_store *store)
{
	return store->redis ? store->redis->fd : -1;
}

/* Waits until the link changes, is stopped, or some time has passed. @return -ECANCELED when it is stopped */
static int link_wait(struct dr_link *link, uint64_t generation, unsigned ms)
{
	struct timespec until;
	bool stopped;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_mutex_lock(&link->lock);
	while (!link->stopped && link->generation == generation) {
		if (pthread_cond_timedwait(&link->changed, &link->lock, &until) == ETIMEDOUT) {
			break;
		}
	}
	stopped = link->stopped || (link->stop_ns && dr_now_ns() > link->stop_ns);
	(void)pthread_mutex_unlock(&link->lock);
	return stopped ? -ECANCELED : 0;
}

/* Whether the server holds the campaign that the endpoint names, in the epoch that it names. */
static int check_server(redisContext *redis, const struct dr_endpoint *endpoint)
{
	if (!endpoint->campaign[0]) {
		return 0;
	}
	redisReply *reply dr_cleanup(dr_reply_freep) =
		redisCommand(redis, "HMGET %smeta id epoch", endpoint->prefix);

	if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
		return -ENOTCONN;
	}
	if (strcmp(dr_reply_str(reply, 0, NULL), endpoint->campaign) != 0) {
		return -ESTALE;
	}
	return endpoint->epoch[0] && strcmp(dr_reply_str(reply, 1, NULL), endpoint->epoch) != 0
		       ? -ESTALE
		       : 0;
}

static int store_connect(struct dr_store *store)
{
	struct dr_link *link = store->link;
	struct dr_endpoint endpoint = { 0 };
	int r;

	disconnect(store);
	(void)pthread_mutex_lock(&link->lock);
	store->generation = link->generation;
	r = link->stopped ? -ECANCELED : !link->there ? -ENOTCONN : 0;
	if (r == 0) {
		endpoint_copy(&endpoint, &link->endpoint);
	}
	(void)pthread_mutex_unlock(&link->lock);
	if (r < 0) {
		return r;
	}
	/* An embedded server, as a URL would tell it. */
	struct dr_url_host host = { endpoint.host, endpoint.port };
	const struct dr_url embedded = {
		.kind = DR_URL_TCP,
		.password = endpoint.password[0] ? endpoint.password : NULL,
		.hosts = &host,
		.n_hosts = 1,
		.quiet = true,
	};

	r = dr_connect(endpoint.url ? endpoint.url : &embedded, CONNECT_TIMEOUT_MS,
		COMMAND_TIMEOUT_MS, &store->redis);
	if (r == 0) {
		r = check_server(store->redis, &endpoint);
	}
	if (r == 0) {
		free(store->prefix);
		store->prefix = dr_xstrdup(endpoint.prefix);
		(void)snprintf(store->epoch, sizeof(store->epoch), "%s",
			endpoint.epoch[0] ? endpoint.epoch : "0");
	} else {
		disconnect(store);
	}
	endpoint_fini(&endpoint);
	return r;
}

static redisReply *script_send(struct dr_store *store, const char *sha, const struct dr_args *args)
{
	size_t n = args->n + 5;

	if (n > store->cap_argv) {
		store->cap_argv = n * 2;
		store->argv = dr_xrealloc(store->argv, store->cap_argv * sizeof(*store->argv));
		store->lens = dr_xrealloc(store->lens, store->cap_argv * sizeof(*store->lens));
	}
	const char **argv = store->argv;
	size_t *lens = store->lens;
	const char *head[5] = { "EVALSHA", sha, "1", store->prefix, store->epoch };

	for (size_t i = 0; i < 5; i++) {
		argv[i] = head[i];
		lens[i] = strlen(head[i]);
	}
	for (size_t i = 0; i < args->n; i++) {
		argv[i + 5] = args->v[i].bytes;
		lens[i + 5] = args->v[i].len;
	}
	return redisCommandArgv(store->redis, (int)n, argv, lens);
}

static bool starts(const char *s, const char *head)
{
	return strncmp(s, head, strlen(head)) == 0;
}

/* What an error reply means; 0: try again on this connection. */
static int reply_error(struct dr_store *store, const struct dr_script *script, const char *text)
{
	if (starts(text, "EPOCH")) {
		disconnect(store);
		return -ESTALE;
	}
	if (starts(text, "OOM") || strstr(text, "OOM command not allowed")) {
		return -ENOMEM;
	}
	if (starts(text, "LOADING")) {
		return -EAGAIN;
	}
	/* Redis 6.2 wraps the errors of a script's commands, and Redis 7 has words of its own for what an ACL forbids them. */
	static const char *const wrapped[] = { "-MISCONF", "-READONLY", "-NOREPLICAS",
		"-MASTERDOWN" };
	static const char *const forbidden[] = { "can't run this command",
		"can't access at least one", "-NOPERM", "ACL failure" };

	for (size_t i = 0; i < sizeof(wrapped) / sizeof(wrapped[0]); i++) {
		if (strstr(text, wrapped[i])) {
			text = strstr(text, wrapped[i]) + 1;
		}
	}
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		if (strstr(text, forbidden[i])) {
			dr_log_limited(10, DR_LOG_ERROR, "server-refuses",
				"script=%s answer=\"%.300s\"", script->name, text);
			return -EACCES;
		}
	}
	if (starts(text, "EMPTY")) {
		dr_log(DR_LOG_ERROR, "server-empty", "answer=\"%.200s\"", text);
		return -ENODATA;
	}
	if (starts(text, "NOPERM") || starts(text, "NOAUTH") || starts(text, "WRONGPASS")) {
		dr_log_limited(10, DR_LOG_ERROR, "server-refuses", "answer=\"%.200s\"", text);
		disconnect(store);
		return -EACCES;
	}
	if (starts(text, "BUSY ") || starts(text, "NOREPLICAS") || starts(text, "READONLY") ||
		starts(text, "MASTERDOWN") || starts(text, "MISCONF")) {
		dr_log_limited(10, DR_LOG_WARNING, "server-not-ready", "answer=\"%.200s\"", text);
		disconnect(store);
		return -ENOTCONN;
	}
	dr_log(DR_LOG_ERROR, "script-failed", "script=%s error=\"%.400s\"", script->name, text);
	return -EPROTO;
}

/* Loads the script and keeps the name that the server gives it. */
static int script_load(struct dr_store *store, struct dr_script *script, char ret_sha[41])
{
	redisReply *reply dr_cleanup(dr_reply_freep) =
		redisCommand(store->redis, "SCRIPT LOAD %s", script->text);

	if (!reply) {
		return -ENOTCONN;
	}
	if (reply->type == REDIS_REPLY_ERROR) {
		return reply_error(store, script, reply->str);
	}
	if (reply->type != REDIS_REPLY_STRING || reply->len != 40) {
		dr_log(DR_LOG_ERROR, "script-refused", "script=%s error=\"no SHA1\"", script->name);
		return -EPROTO;
	}
	(void)pthread_mutex_lock(&store->link->lock);
	memcpy(script->sha, reply->str, 41);
	(void)pthread_mutex_unlock(&store->link->lock);
	memcpy(ret_sha, reply->str, 41);
	return 0;
}

static int run_once(struct dr_store *store, struct dr_script *script, const struct dr_args *args,
	redisReply **ret_reply)
{
	char sha[41];
	int r;

	(void)pthread_mutex_lock(&store->link->lock);
	bool fresh = store->redis && store->generation == store->link->generation;
	bool stopped = store->link->stopped;
	memcpy(sha, script->sha, sizeof(sha));
	(void)pthread_mutex_unlock(&store->link->lock);
	if (stopped) {
		return -ECANCELED;
	}
	if (!fresh) {
		r = store_connect(store);
		if (r < 0) {
			return r;
		}
	}
	for (int attempt = 0; attempt < 2; attempt++) {
		if (!sha[0]) {
			r = script_load(store, script, sha);
			if (r < 0) {
				if (r == -ENOTCONN) {
					disconnect(store);
				}
				return r;
			}
		}
		redisReply *reply = script_send(store, sha, args);

		if (!reply) {
			disconnect(store);
			return -ENOTCONN;
		}
		if (reply->type != REDIS_REPLY_ERROR) {
			*ret_reply = reply;
			return 0;
		}
		if (starts(reply->str, "NOSCRIPT")) {
			sha[0] = '\0';
			freeReplyObject(reply);
			continue;
		}
		r = reply_error(store, script, reply->str);
		freeReplyObject(reply);
		return r;
	}
	return -EPROTO;
}

/* What another server, or the same one a little later, may do better. */
static bool is_passing(int error)
{
	return error == -ENOTCONN || error == -ESTALE || error == -EACCES || error == -EAGAIN;
}

int dr_store_run(struct dr_store *store, struct dr_script *script, const struct dr_args *args,
	bool wait, redisReply **ret_reply)
{
	for (;;) {
		int r = run_once(store, script, args, ret_reply);

		if (!wait || !is_passing(r)) {
			return r;
		}
		r = link_wait(store->link, store->generation, RETRY_MS);
		if (r < 0) {
			return r;
		}
	}
}

static void args_room(struct dr_args *args)
{
	if (args->n == args->cap) {
		args->cap = args->cap ? args->cap * 2 : 64;
		args->v = dr_xrealloc(args->v, args->cap * sizeof(*args->v));
	}
}

void dr_args_bytes(struct dr_args *args, const void *bytes, size_t len)
{
	args_room(args);
	/* hiredis refuses NULL even for nothing. */
	args->v[args->n++] = (struct dr_arg){ .bytes = bytes ? bytes : "", .len = len };
}

void dr_args_str(struct dr_args *args, const char *s)
{
	dr_args_bytes(args, s, strlen(s));
}

static void args_own(struct dr_args *args, char *s)
{
	if (args->n_owned == args->cap_owned) {
		args->cap_owned = args->cap_owned ? args->cap_owned * 2 : 32;
		args->owned = dr_xrealloc(args->owned, args->cap_owned * sizeof(*args->owned));
	}
	args->owned[args->n_owned++] = s;
	dr_args_str(args, s);
}

void dr_args_u64(struct dr_args *args, uint64_t v)
{
	args_own(args, dr_xasprintf("%" PRIu64, v));
}

void dr_args_i64(struct dr_args *args, int64_t v)
{
	args_own(args, dr_xasprintf("%" PRId64, v));
}

void dr_args_fini(struct dr_args *args)
{
	for (size_t i = 0; i < args->n_owned; i++) {
		free(args->owned[i]);
	}
	free(args->owned);
	free(args->v);
	*args = (struct dr_args){ 0 };
}

int64_t dr_reply_int(const redisReply *reply, size_t i)
{
	if (!reply || reply->type != REDIS_REPLY_ARRAY || i >= reply->elements) {
		return 0;
	}
	const redisReply *e = reply->element[i];

	if (e->type == REDIS_REPLY_INTEGER) {
		return e->integer;
	}
	return e->type == REDIS_REPLY_STRING ? strtoll(e->str, NULL, 10) : 0;
}

const char *dr_reply_str(const redisReply *reply, size_t i, size_t *ret_len)
{
	if (reply && reply->type == REDIS_REPLY_ARRAY && i < reply->elements &&
		(reply->element[i]->type == REDIS_REPLY_STRING ||
			reply->element[i]->type == REDIS_REPLY_STATUS)) {
		if (ret_len) {
			*ret_len = (size_t)reply->element[i]->len;
		}
		return reply->element[i]->str;
	}
	if (ret_len) {
		*ret_len = 0;
	}
	return "";
}
