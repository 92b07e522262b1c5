/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/connect.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "store/lookup.h"
#include "store/store.h"
#include "store/tls.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

/*
 * The steps to a connection: look up the name, connect, encrypt, log in, look whether it is a server that will do,
 * select the database. With sentinels, the same up to logging in with each of them, until one names a server that does.
 * Each step adds what went wrong to `why`, and dr_connect() writes it to the log, once.
 */

#define LOG_SECONDS 10
#define MAX_TEXT 200 /* bytes of what a server says that go to the log */
#define MAX_HOST 255

/* A connection under construction. */
struct way {
	const struct dr_url *url;
	unsigned step_ms;    /* at least 1 */
	redisContext *redis; /* NULL: not connected */
	char *who;           /* whom `why` is about; NULL: there is only one server */
	struct dr_buf why;
};

static void way_close(struct way *way)
{
	redisFree(way->redis);
	way->redis = NULL;
}

static void way_fini(struct way *way)
{
	way_close(way);
	free(way->who);
	dr_buf_fini(&way->why);
}

static void dr_printf(2, 3) because(struct way *way, const char *fmt, ...)
{
	va_list ap;
	char text[512];

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (way->why.len) {
		dr_buf_put_str(&way->why, "; ");
	}
	if (way->who) {
		dr_buf_printf(&way->why, "%s: ", way->who);
	}
	dr_text_escape(&way->why, text, strlen(text));
}

/* Never 0, which the kernel takes for "for ever". */
static struct timeval time_of(uint64_t ms)
{
	ms = ms ? ms : 1;
	return (struct timeval){
		.tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000 * 1000),
	};
}

static uint64_t step_end_ns(const struct way *way)
{
	return dr_now_ns() + (uint64_t)way->step_ms * 1000000u;
}

/* Takes what hiredis made of an attempt. errno is that of the attempt. */
static int adopt(struct way *way, redisContext *redis, const char *address)
{
	int error = errno;

	if (redis && !redis->err) {
		way->redis = redis;
		/* hiredis leaves the socket open across exec. */
		(void)fcntl(redis->fd, F_SETFD, FD_CLOEXEC);
		return 0;
	}
	because(way, "%s: %s", address, redis ? redis->errstr : "out of memory");
	/* A socket file that this user may not write to is a permission refused. */
	bool is_refused = redis && redis->err == REDIS_ERR_IO && error == EACCES;

	redisFree(redis);
	return is_refused ? -EACCES : -ENOTCONN;
}

static int open_unix(struct way *way)
{
	const char *path = way->url->path;

	errno = 0;
	return adopt(way, redisConnectUnixWithTimeout(path, time_of(way->step_ms)), "the socket");
}

static int open_tcp(struct way *way, const char *host, uint16_t port)
{
	struct dr_addresses addresses;
	char *message dr_cleanup(dr_freep) = NULL;
	int r = dr_lookup(host, way->step_ms, &addresses, &message);

	if (r < 0) {
		because(way, "%s", message);
		return -ENOTCONN;
	}
	r = -ENOTCONN;
	for (size_t i = 0; i < addresses.n; i++) {
		const char *address = addresses.text[i];

		errno = 0;
		r = adopt(way, redisConnectWithTimeout(address, port, time_of(way->step_ms)),
			address);
		if (r == 0) {
			(void)redisEnableKeepAlive(way->redis);
			return 0;
		}
	}
	return r;
}

static int start_tls(struct way *way)
{
	char *message dr_cleanup(dr_freep) = NULL;
	int r = dr_tls_start(way->redis, way->url, way->step_ms, &message);

	if (r < 0) {
		because(way, "%s", message);
	}
	return r;
}

/* What it means that hiredis gave up on the connection. */
static int broken(struct way *way, bool is_late)
{
	const redisContext *redis = way->redis;
	bool is_timeout = redis->err == REDIS_ERR_IO && (errno == EAGAIN || errno == ETIMEDOUT);

	if (is_late || is_timeout) {
		because(way, "no answer within %u ms", way->step_ms);
		return -ENOTCONN;
	}
	if (redis->err == REDIS_ERR_PROTOCOL) {
		because(way, "speaks no Redis protocol: %s", redis->errstr);
		return -EPROTO;
	}
	char *message dr_cleanup(dr_freep) = NULL;
	bool is_tls = way->url->kind == DR_URL_TLS;
	int r = is_tls ? dr_tls_explain(&message) : 0;

	if (r < 0) {
		because(way, "%s", message);
		return r;
	}
	/* What it says before it hangs up may be lost. */
	because(way, "%s%s", redis->errstr,
		is_tls && !way->url->tls_cert
			? " (does the server want a client certificate, a tls_cert?)"
			: "");
	return -ENOTCONN;
}

/*
 * One command and its reply, which stays NULL on an error. hiredis bounds each read and write; here they are bounded
 * together.
 */
static int ask(struct way *way, int argc, const char **argv, redisReply **ret_reply)
{
	redisContext *redis = way->redis;
	uint64_t until_ns = step_end_ns(way);
	int r = redisAppendCommandArgv(redis, argc, argv, NULL);
	int is_sent = 0;
	void *reply = NULL;

	for (;;) {
		if (r == REDIS_OK && is_sent) {
			r = redisGetReplyFromReader(redis, &reply);
		}
		if (reply) {
			*ret_reply = reply;
			return 0;
		}
		uint64_t now_ns = dr_now_ns();

		if (r != REDIS_OK || now_ns >= until_ns) {
			return broken(way, r == REDIS_OK);
		}
		r = redisSetTimeout(redis, time_of((until_ns - now_ns + 999999u) / 1000000u));
		errno = 0;
		if (r == REDIS_OK) {
			r = is_sent ? redisBufferRead(redis) : redisBufferWrite(redis, &is_sent);
		}
	}
}

static int ask_words(struct way *way, const char *one, const char *two, redisReply **ret_reply)
{
	const char *argv[] = { one, two };

	return ask(way, two ? 2 : 1, argv, ret_reply);
}

static bool starts(const char *s, const char *head)
{
	return strncmp(s, head, strlen(head)) == 0;
}

static bool is_error(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ERROR;
}

/* What an error reply means. */
static int error_of(const char *text)
{
	static const struct {
		const char *head;
		int error;
	} table[] = {
		{ "LOADING", -EAGAIN },
		{ "MASTERDOWN", -ENOTCONN },
		{ "BUSY ", -ENOTCONN },
		{ "MISCONF", -ENOTCONN },
		{ "ERR max number of clients", -ENOTCONN },
		{ "NOAUTH", -EACCES },
		{ "WRONGPASS", -EACCES },
		{ "NOPERM", -EACCES },
		{ "DENIED", -EACCES },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (starts(text, table[i].head)) {
			return table[i].error;
		}
	}
	return -EPROTO;
}

static int refused(struct way *way, const redisReply *reply, const char *command)
{
	if (!is_error(reply)) {
		because(way, "answers %s with something else", command);
		return -EPROTO;
	}
	because(way, "%.*s", MAX_TEXT, reply->str);
	return error_of(reply->str);
}

static int log_in(struct way *way, const char *user, const char *password)
{
	const char *argv[3] = { "AUTH" };
	int argc = 1;
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	if (!user && !password) {
		return 0;
	}
	if (user) {
		argv[argc++] = user;
	}
	argv[argc++] = password ? password : "";
	int r = ask(way, argc, argv, &reply);

	if (!reply) {
		return r;
	}
	if (!is_error(reply)) {
		return 0;
	}
	/* A server that does not know the command repeats what it was given: "unknown command `AUTH`, with args ..." */
	char *args = strstr(reply->str, ", with args");

	if (args) {
		*args = '\0';
	}
	bool is_told = password && password[0] && strstr(reply->str, password);

	because(way, "%.*s", MAX_TEXT, is_told ? "AUTH is refused" : reply->str);
	r = error_of(reply->str);
	return r == -EPROTO ? -EACCES : r;
}

/* Commands that are refused while a server loads its data, which INFO and ROLE are not. */
static int check_ready(struct way *way)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	int r = ask_words(way, "PING", NULL, &reply);

	if (!reply) {
		return r;
	}
	if (reply->type == REDIS_REPLY_STATUS ||
		(is_error(reply) && starts(reply->str, "NOPERM"))) {
		return 0;
	}
	return refused(way, reply, "PING");
}

/* @return whether INFO has that text. @error ENODATA it may not be asked */
static int info_has(struct way *way, const char *section, const char *text)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	int r = ask_words(way, "INFO", section, &reply);

	if (!reply) {
		return r;
	}
	return reply->type == REDIS_REPLY_STRING ? strstr(reply->str, text) != NULL : -ENODATA;
}

/* A Redis Cluster would refuse the scripts, whose keys are in several slots: better now than in the middle. */
static int check_cluster(struct way *way)
{
	int r = info_has(way, "cluster", "cluster_enabled:1");

	if (r == 1) {
		because(way, "Redis Cluster is not supported");
		return -EPROTO;
	}
	return r == -ENODATA ? 0 : r;
}

/* What a sentinel named may have been a master until a moment ago, and would take writes that are lost. */
static int check_role(struct way *way)
{
	bool is_named = way->url->kind == DR_URL_SENTINEL;
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	int r = ask_words(way, "ROLE", NULL, &reply);

	if (!reply) {
		return r;
	}
	const char *role = dr_reply_str(reply, 0, NULL);

	if (strcmp(role, "sentinel") == 0) {
		because(way, "is a sentinel: redis_url is sentinel://host/name then");
		return -EPROTO;
	}
	if (!is_named || strcmp(role, "master") == 0) {
		return 0;
	}
	if (is_error(reply)) {
		r = info_has(way, "replication", "role:master");
		if (r != 0) {
			return r == -ENODATA ? refused(way, reply, "ROLE") : r < 0 ? r : 0;
		}
	}
	because(way, "is not a master, or not any more");
	return -ENOTCONN;
}

static int select_db(struct way *way)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	char db[16];

	if (way->url->db == 0) {
		return 0;
	}
	(void)snprintf(db, sizeof(db), "%u", way->url->db);
	int r = ask_words(way, "SELECT", db, &reply);

	if (!reply) {
		return r;
	}
	return reply->type == REDIS_REPLY_STATUS ? 0 : refused(way, reply, "SELECT");
}

/* Everything from a connected socket to a connection that is ready for commands. */
static int make_ready(struct way *way)
{
	int r = log_in(way, way->url->user, way->url->password);

	if (r == 0) {
		r = check_ready(way);
	}
	if (r == 0) {
		r = check_cluster(way);
	}
	if (r == 0) {
		r = check_role(way);
	}
	return r == 0 ? select_db(way) : r;
}

static int read_master(
	struct way *way, const redisReply *reply, char **ret_host, uint16_t *ret_port)
{
	size_t len;
	const char *host = dr_reply_str(reply, 0, &len);
	uint64_t port;

	if (reply->type == REDIS_REPLY_NIL) {
		because(way, "knows no master set '%s'", way->url->name);
		return -ENOTCONN;
	}
	if (len == 0 || len > MAX_HOST || strlen(host) != len ||
		dr_text_parse_u64(dr_reply_str(reply, 1, NULL), 1, 65535, &port) < 0) {
		return refused(way, reply, "SENTINEL get-master-addr-by-name");
	}
	*ret_host = dr_xstrdup(host);
	*ret_port = (uint16_t)port;
	return 0;
}

static int ask_sentinel(
	struct way *way, const struct dr_url_host *sentinel, char **ret_host, uint16_t *ret_port)
{
	const char *argv[] = { "SENTINEL", "get-master-addr-by-name", way->url->name };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	int r = open_tcp(way, sentinel->name, sentinel->port);

	if (r == 0) {
		r = log_in(way, NULL, way->url->sentinel_password);
	}
	if (r == 0) {
		r = ask(way, 3, argv, &reply);
	}
	if (reply) {
		r = read_master(way, reply, ret_host, ret_port);
	}
	way_close(way);
	return r;
}

static void set_who(struct way *way, const char *what, const char *host, uint16_t port)
{
	free(way->who);
	way->who = dr_xasprintf(strchr(host, ':') ? "%s [%s]:%u" : "%s %s:%u", what, host, port);
}

/*
 * The first sentinel that answers is believed, unless nobody is there where it points to, or that is no master or still
 * loads its data: it may be one that was cut off from the others. Then the next one is asked.
 */
static int by_sentinels(struct way *way)
{
	const struct dr_url *url = way->url;
	char *failed dr_cleanup(dr_freep) = NULL; /* the server that was tried last */
	int result = 0;

	for (size_t i = 0; i < url->n_hosts; i++) {
		char *host dr_cleanup(dr_freep) = NULL;
		uint16_t port = 0;

		set_who(way, "sentinel", url->hosts[i].name, url->hosts[i].port);
		int r = ask_sentinel(way, &url->hosts[i], &host, &port);

		if (host) {
			set_who(way, "server", host, port);
			if (failed && strcmp(failed, way->who) == 0) {
				continue;
			}
			r = open_tcp(way, host, port);
			if (r == 0) {
				r = make_ready(way);
			}
			if (r != -ENOTCONN && r != -EAGAIN) {
				return r;
			}
			way_close(way);
			free(failed);
			failed = dr_xstrdup(way->who);
		}
		/* A server that loads its data is what is waited for, or else one that may come back. */
		if (result == 0 || r == -EAGAIN || (r == -ENOTCONN && result != -EAGAIN)) {
			result = r;
		}
	}
	return result;
}

static int direct(struct way *way)
{
	const struct dr_url *url = way->url;
	int r = url->kind == DR_URL_UNIX ? open_unix(way)
					 : open_tcp(way, url->hosts[0].name, url->hosts[0].port);

	if (r == 0 && url->kind == DR_URL_TLS) {
		r = start_tls(way);
	}
	return r == 0 ? make_ready(way) : r;
}

static void tell(struct way *way, int error)
{
	char *url dr_cleanup(dr_freep) = dr_url_show(way->url);
	const char *why = dr_buf_cstr(&way->why);

	if (error == -EAGAIN || (error == -ENOTCONN && way->url->quiet)) {
		dr_log_limited(LOG_SECONDS, DR_LOG_DEBUG,
			error == -EAGAIN ? "redis-loading" : "redis-unreachable",
			"url=%s error=\"%s\"", url, why);
	} else if (error == -ENOTCONN) {
		dr_log_limited(LOG_SECONDS, DR_LOG_WARNING, "redis-unreachable",
			"url=%s error=\"%s\"", url, why);
	} else if (error == -EACCES) {
		dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "redis-refused", "url=%s error=\"%s\"",
			url, why);
	} else {
		dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "redis-unusable", "url=%s error=\"%s\"",
			url, why);
	}
}

bool dr_connect_has_tls(void)
{
	return dr_tls_is_there();
}

static int connect_by(struct way *way, unsigned connect_ms, unsigned command_ms)
{
	way->step_ms = connect_ms ? connect_ms : 1;
	if (way->url->kind == DR_URL_TLS && !dr_tls_is_there()) {
		because(way, "this drover was built without TLS");
		return -EPROTONOSUPPORT;
	}
	int r = way->url->kind == DR_URL_SENTINEL ? by_sentinels(way) : direct(way);

	if (r == 0 && redisSetTimeout(way->redis, time_of(command_ms)) != REDIS_OK) {
		because(way, "%s", way->redis->errstr);
		r = -ENOTCONN;
	}
	return r;
}

int dr_connect(const struct dr_url *url, unsigned connect_ms, unsigned command_ms,
	redisContext **ret_redis)
{
	struct way way dr_cleanup(way_fini) = { .url = url };
	int r = connect_by(&way, connect_ms, command_ms);

	if (r < 0) {
		if (r != -EPROTONOSUPPORT) {
			tell(&way, r);
		}
		return r;
	}
	*ret_redis = way.redis;
	way.redis = NULL;
	return 0;
}

int dr_connect_or_say(const struct dr_url *url, unsigned connect_ms, unsigned command_ms,
	redisContext **ret_redis, char **ret_why)
{
	struct way way dr_cleanup(way_fini) = { .url = url };
	int r = connect_by(&way, connect_ms, command_ms);

	if (r < 0) {
		*ret_why = dr_xstrdup(dr_buf_cstr(&way.why));
		return r;
	}
	*ret_redis = way.redis;
	way.redis = NULL;
	return 0;
}
