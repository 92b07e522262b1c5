/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/wire.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "store/connect.h"

#include <poll.h>

#define CONNECT_MS 2000u
#define COMMAND_MS 2000u /* of one read or write that poll() said would not wait */
#define SILENCE_NS UINT64_C(10000000000)
#define MAX_BUFFER (1u << 20) /* bytes that the parser keeps when all in it is read */
#define LOG_SECONDS 10

void dr_wire_nap(const struct dr_wire *wire, uint64_t until_ns)
{
	while (!dr_wire_is_stopped(wire)) {
		uint64_t now_ns = dr_now_ns();

		if (now_ns >= until_ns) {
			return;
		}
		uint64_t ms = (until_ns - now_ns + 999999u) / 1000000u;

		if (poll(NULL, 0, (int)(ms < DR_WIRE_SLICE_MS ? ms : DR_WIRE_SLICE_MS)) < 0) {
			return;
		}
	}
}

int dr_wire_connect(struct dr_wire *wire, const struct dr_url *url)
{
	int r = dr_connect(url, CONNECT_MS, COMMAND_MS, &wire->redis);

	switch (r) {
	case 0:
		wire->redis->reader->maxbuf = MAX_BUFFER;
		break;
	case -ENOTCONN:
	case -EAGAIN:
	case -EACCES:
		break;
	case -EPROTONOSUPPORT:
		dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "redis-unusable",
			"error=\"this build has no TLS\"");
		r = -EPROTO;
		break;
	default:
		r = -EPROTO;
	}
	return dr_wire_is_stopped(wire) ? -ECANCELED : r;
}

void dr_wire_close(struct dr_wire *wire)
{
	redisFree(wire->redis);
	wire->redis = NULL;
}

/* The connection is of no more use. */
static int broken(struct dr_wire *wire, const char *why)
{
	int r = wire->redis->err == REDIS_ERR_PROTOCOL ? -EPROTO : -ENOTCONN;
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	dr_text_escape(&text, why, strlen(why));
	dr_log_limited(LOG_SECONDS, DR_LOG_WARNING, "redis-lost",
		"error=\"%s\" next=\"connects again\"", dr_buf_cstr(&text));
	dr_wire_close(wire);
	return r;
}

int dr_wire_put(struct dr_wire *wire, int n_words, const char **words, const size_t *lens)
{
	if (redisAppendCommandArgv(wire->redis, n_words, words, lens) != REDIS_OK) {
		return broken(wire, wire->redis->errstr);
	}
	return 0;
}

/* Waits until the socket can be read, or written if `is_sent` is not yet so. */
static int await(struct dr_wire *wire, bool is_sent, uint64_t until_ns)
{
	struct pollfd fd = {
		.fd = wire->redis->fd,
		.events = (short)(is_sent ? POLLIN : POLLOUT),
	};

	for (;;) {
		if (dr_wire_is_stopped(wire)) {
			dr_wire_close(wire);
			return -ECANCELED;
		}
		int n = poll(&fd, 1, (int)DR_WIRE_SLICE_MS);

		if (n > 0) {
			return 0;
		}
		if (n < 0 && errno != EINTR) {
			return broken(wire, "poll failed");
		}
		if (dr_now_ns() >= until_ns) {
			return broken(wire, "no answer");
		}
	}
}

int dr_wire_get(struct dr_wire *wire, void **ret_reply)
{
	redisContext *redis = wire->redis;
	void *reply = NULL;
	int is_sent = 0;

	/* Not by redisGetReply(), which takes a reply for a redisReply since hiredis 1.0. */
	if (redisGetReplyFromReader(redis, &reply) != REDIS_OK) {
		return broken(wire, redis->errstr);
	}
	while (!reply) {
		int r = await(wire, is_sent, dr_now_ns() + SILENCE_NS);

		if (r < 0) {
			return r;
		}
		if (!is_sent) {
			r = redisBufferWrite(redis, &is_sent);
		} else {
			r = redisBufferRead(redis);
			r = r == REDIS_OK ? redisGetReplyFromReader(redis, &reply) : r;
		}
		if (r != REDIS_OK) {
			return broken(wire, redis->errstr);
		}
	}
	*ret_reply = reply;
	return 0;
}

int dr_wire_error(const char *text)
{
	static const struct {
		const char *head;
		int error;
	} table[] = {
		{ "LOADING", -EAGAIN },
		{ "NOAUTH", -EACCES },
		{ "NOPERM", -EACCES },
		{ "WRONGPASS", -EACCES },
		{ "DENIED", -EACCES },
		{ "MASTERDOWN", -ENOTCONN },
		{ "UNBLOCKED", -ENOTCONN },
		{ "BUSY ", -ENOTCONN },
		{ "ERR max number of clients", -ENOTCONN },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strncmp(text, table[i].head, strlen(table[i].head)) == 0) {
			return table[i].error;
		}
	}
	return -EPROTO;
}
