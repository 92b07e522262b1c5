/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/connect.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "store/store.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#ifdef DR_HAVE_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <hiredis/hiredis_ssl.h>
#endif

/*
 * The steps to a connection: look up the name, connect, encrypt, log in, look whether it is a server that will do,
 * select the database. With sentinels, the same up to logging in with each of them, until one names a server that does.
 * Each step adds what went wrong to `why`, and dr_connect() writes it to the log, once.
 */

#define LOG_SECONDS 10
#define MAX_TEXT 200    /* bytes of what a server says that go to the log */
#define MAX_ADDRESSES 4 /* of a name that are tried */
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

/* What a name lookup found: numeric addresses. */
struct addresses {
	int error; /* of getaddrinfo() */
	size_t n;
	char text[MAX_ADDRESSES][64];
};

struct lookup {
	int fd; /* a pipe, for the addresses */
	char host[MAX_HOST + 1];
};

/* IPv4 before IPv6, as hiredis has it. */
static struct addresses resolve(const char *host)
{
	static const int families[] = { AF_INET, AF_INET6 };
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addresses found = { 0 };
	struct addrinfo *list = NULL;

	found.error = getaddrinfo(host, NULL, &hints, &list);
	if (found.error) {
		return found;
	}
	for (size_t i = 0; i < 2; i++) {
		for (struct addrinfo *a = list; a && found.n < MAX_ADDRESSES; a = a->ai_next) {
			if (a->ai_family == families[i] &&
				getnameinfo(a->ai_addr, a->ai_addrlen, found.text[found.n],
					sizeof(found.text[0]), NULL, 0, NI_NUMERICHOST) == 0) {
				found.n++;
			}
		}
	}
	freeaddrinfo(list);
	found.error = found.n ? 0 : EAI_NONAME;
	return found;
}

static void *lookup_main(void *arg)
{
	struct lookup *lookup = arg;
	const struct addresses found = resolve(lookup->host);

	/* So few bytes are written at once or, when the asker has left, not at all. */
	if (write(lookup->fd, &found, sizeof(found)) < 0) {
		/* Nobody to tell. */
	}
	(void)close(lookup->fd);
	free(lookup);
	return NULL;
}

/* The thread takes no signals, and nobody waits for its end. The descriptor is its own if it starts. */
static int lookup_start(const char *host, int fd)
{
	struct lookup *lookup = dr_xcalloc(1, sizeof(*lookup));
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;

	lookup->fd = fd;
	(void)snprintf(lookup->host, sizeof(lookup->host), "%s", host);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, (size_t)512 * 1024);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&thread, &attr, lookup_main, lookup);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	if (error) {
		free(lookup);
	}
	return -error;
}

static uint64_t step_end_ns(const struct way *way)
{
	return dr_now_ns() + (uint64_t)way->step_ms * 1000000u;
}

static bool wait_for(int fd, short events, uint64_t until_ns)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now_ns = dr_now_ns();
		uint64_t left_ms = now_ns < until_ns ? (until_ns - now_ns) / 1000000u : 0;
		int n = poll(&poll_fd, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);

		if (n > 0 || (n < 0 && errno != EINTR) || left_ms == 0) {
			return n > 0;
		}
	}
}

/* In a thread of its own, which is left alone when it takes too long: getaddrinfo() knows no time limit. */
static int look_up(struct way *way, const char *host, struct addresses *ret)
{
	struct addresses found = { 0 };
	int ends[2] = { -EBADF, -EBADF };
	int r = pipe2(ends, O_CLOEXEC) < 0 ? -errno : lookup_start(host, ends[1]);
	int read_end dr_cleanup(dr_fd_closep) = ends[0];

	if (r < 0) {
		dr_fd_closep(&ends[1]);
		because(way, "'%s' cannot be looked up: %s", host, strerrordesc_np(-r));
		return -ENOTCONN;
	}
	if (!wait_for(read_end, POLLIN, step_end_ns(way)) ||
		read(read_end, &found, sizeof(found)) != (ssize_t)sizeof(found)) {
		because(way, "looking up '%s' takes longer than %u ms", host, way->step_ms);
		return -ENOTCONN;
	}
	if (found.error) {
		because(way, "looking up '%s': %s", host, gai_strerror(found.error));
		return -ENOTCONN;
	}
	*ret = found;
	return 0;
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
	struct addresses addresses = { .n = 1 };
	struct in6_addr literal;
	int r = -ENOTCONN;

	if (inet_pton(AF_INET, host, &literal) == 1 || inet_pton(AF_INET6, host, &literal) == 1) {
		(void)snprintf(addresses.text[0], sizeof(addresses.text[0]), "%s", host);
	} else {
		r = look_up(way, host, &addresses);
		if (r < 0) {
			return r;
		}
		r = -ENOTCONN;
	}
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

#ifdef DR_HAVE_TLS

bool dr_connect_has_tls(void)
{
	return true;
}

static void tls_freep(SSL **tls)
{
	SSL_free(*tls);
}

static void tls_context_freep(SSL_CTX **context)
{
	SSL_CTX_free(*context);
}

/* For a key that is encrypted: nobody is there to be asked. */
static int no_passphrase(char *buf, int size, int is_writing, void *arg)
{
	(void)is_writing, (void)arg;
	if (size > 0) {
		buf[0] = '\0';
	}
	return -1;
}

static int bad_file(struct way *way, const char *what, const char *path)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	if (access(path, R_OK) < 0) {
		because(way, "%s %s: %m", what, path);
	} else {
		because(way, "%s %s: %s", what, path, reason ? reason : "cannot be used");
	}
	return -ENOENT;
}

static int load_files(struct way *way, SSL_CTX *context)
{
	const struct dr_url *url = way->url;
	const char *key = url->tls_key ? url->tls_key : url->tls_cert; /* one file may hold both */

	ERR_clear_error();
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	if (!url->tls_ca && !SSL_CTX_set_default_verify_paths(context)) {
		because(way, "the system's CA certificates cannot be read");
		return -ENOENT;
	}
	if (url->tls_ca && !SSL_CTX_load_verify_locations(context, url->tls_ca, NULL)) {
		return bad_file(way, "tls_ca", url->tls_ca);
	}
	if (url->tls_cert && SSL_CTX_use_certificate_chain_file(context, url->tls_cert) != 1) {
		return bad_file(way, "tls_cert", url->tls_cert);
	}
	/* This refuses a key that is not the certificate's, too. */
	if (key && SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
		return bad_file(way, "tls_key", key);
	}
	return 0;
}

/* The certificate must be for the host that the URL names, whatever address that has. */
static bool expect_host(SSL *tls, char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(tls);
	struct in6_addr literal;

	if (inet_pton(AF_INET, host, &literal) == 1 || inet_pton(AF_INET6, host, &literal) == 1) {
		return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
	}
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(tls, host) == 1 && SSL_set_tlsext_host_name(tls, host) == 1;
}

/* What OpenSSL has to say about the failure that hiredis told of; 0: nothing. */
static int tls_error(struct way *way)
{
	unsigned long error = ERR_peek_last_error();
	const char *text = error ? ERR_reason_error_string(error) : NULL;

	if (!text || ERR_GET_LIB(error) != ERR_LIB_SSL) {
		return 0;
	}
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
	if (ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		because(way, "the server closed the connection");
		return -ENOTCONN;
	}
#endif
	/* Numbers from there on are what the server said. */
	if (ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET) {
		because(way, "the server refuses TLS with this host: %s", text);
		return -EACCES;
	}
	because(way, "TLS: %s", text);
	return -EPROTO;
}

/*
 * Gives the connection to hiredis, which would bound each read of the handshake, and not the whole: so it is told that
 * the socket does not block, begins, and leaves the rest to be done here.
 * @return SSL_ERROR_NONE, or what SSL_get_error() says
 */
static int shake_hands(struct way *way, SSL *tls)
{
	redisContext *redis = way->redis;
	uint64_t until_ns = step_end_ns(way);
	int flags = fcntl(redis->fd, F_GETFL);
	int state = SSL_ERROR_NONE;

	(void)fcntl(redis->fd, F_SETFL, flags | O_NONBLOCK);
	redis->flags &= ~REDIS_BLOCK;
	errno = 0;
	if (redisInitiateSSL(redis, tls) != REDIS_OK) {
		return SSL_get_error(tls, -1);
	}
	(void)SSL_up_ref(tls); /* hiredis owns one, from now on only */
	for (;;) {
		errno = 0;
		int n = SSL_do_handshake(tls);

		state = n == 1 ? SSL_ERROR_NONE : SSL_get_error(tls, n);
		if (state != SSL_ERROR_WANT_READ && state != SSL_ERROR_WANT_WRITE) {
			break;
		}
		if (!wait_for(redis->fd, state == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN,
			    until_ns)) {
			break;
		}
	}
	redis->flags |= REDIS_BLOCK;
	(void)fcntl(redis->fd, F_SETFL, flags);
	return state;
}

static int start_tls(struct way *way)
{
	SSL_CTX *context dr_cleanup(tls_context_freep) = SSL_CTX_new(TLS_client_method());

	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
		because(way, "OpenSSL does not start");
		return -ENOTCONN;
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	int r = load_files(way, context);

	if (r < 0) {
		return r;
	}
	SSL *tls dr_cleanup(tls_freep) = SSL_new(context);

	if (!tls || !expect_host(tls, way->url->hosts[0].name)) {
		because(way, "OpenSSL takes no such host name");
		return -EPROTO;
	}
	ERR_clear_error();
	int state = shake_hands(way, tls);
	int error = errno;
	long verdict = SSL_get_verify_result(tls);

	if (state == SSL_ERROR_NONE) {
		return 0;
	}
	if (verdict != X509_V_OK) {
		because(way, "the server's certificate: %s",
			X509_verify_cert_error_string(verdict));
		return -EPROTO;
	}
	if (state == SSL_ERROR_WANT_READ || state == SSL_ERROR_WANT_WRITE) {
		because(way, "no TLS within %u ms", way->step_ms);
		return -ENOTCONN;
	}
	r = tls_error(way);
	if (r == 0) {
		because(way, "TLS: %s", error ? strerrordesc_np(error) : "the server hung up");
		r = -ENOTCONN;
	}
	return r;
}

#else

bool dr_connect_has_tls(void)
{
	return false;
}

static int tls_error(struct way *way)
{
	(void)way;
	return 0;
}

static int start_tls(struct way *way)
{
	(void)way;
	return -EPROTONOSUPPORT;
}

#endif

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
	int r = 0;

	if (way->url->kind == DR_URL_TLS) {
		r = tls_error(way);
		if (r == 0 && !way->url->tls_cert) {
			/* What it says before it hangs up may be lost. */
			because(way, "%s (does the server want a client certificate, a tls_cert?)",
				redis->errstr);
			return -ENOTCONN;
		}
	}
	if (r == 0) {
		because(way, "%s", redis->errstr);
		r = -ENOTCONN;
	}
	return r;
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
		{ "LOADING", -ENOTCONN },
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
	return error_of(reply->str) == -ENOTCONN ? -ENOTCONN : -EACCES;
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
 * The first sentinel that answers is believed, unless nobody is there where it points to or that is no master: it may
 * be one that was cut off from the others. Then the next one is asked.
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
			if (r != -ENOTCONN) {
				return r;
			}
			way_close(way);
			free(failed);
			failed = dr_xstrdup(way->who);
		}
		/* As long as one of them may come back, that is what is waited for. */
		if (result == 0 || r == -ENOTCONN) {
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

	if (error == -ENOTCONN) {
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

int dr_connect(const struct dr_url *url, unsigned connect_ms, unsigned command_ms,
	redisContext **ret_redis)
{
	struct way way dr_cleanup(way_fini) = { .url = url };

	way.step_ms = connect_ms ? connect_ms : 1;
	if (url->kind == DR_URL_TLS && !dr_connect_has_tls()) {
		return -EPROTONOSUPPORT;
	}
	int r = url->kind == DR_URL_SENTINEL ? by_sentinels(&way) : direct(&way);

	if (r == 0 && redisSetTimeout(way.redis, time_of(command_ms)) != REDIS_OK) {
		because(&way, "%s", way.redis->errstr);
		r = -ENOTCONN;
	}
	if (r < 0) {
		tell(&way, r);
		return r;
	}
	*ret_redis = way.redis;
	way.redis = NULL;
	return 0;
}
