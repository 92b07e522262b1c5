/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DROVER_HSM_H
#define DROVER_HSM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * libdrover-hsm: the events of Lustre's HSM actions, as hsm-action-shipper puts them into Redis streams.
 *
 * A reader finds the streams PREFIX:MDT of a server by itself, also those that appear later, reads them in one call, connects
 * again when the connection is lost, and goes on where it was. Of one stream the order is kept; between streams there is none.
 *
 *     struct drover_hsm_options options;
 *     struct drover_hsm_reader *reader;
 *     const struct drover_hsm_event *event;
 *
 *     drover_hsm_options_init(&options, sizeof options);
 *     options.host = "redis.example.org";
 *     if (drover_hsm_open(&options, &reader) < 0) ...
 *     for (;;) {
 *         int r = drover_hsm_next(reader, -1, &event);
 *         if (r > 0 && event->status && strcmp(event->status, "FAILED") == 0) ...
 *     }
 *
 * Functions return 0 or more, or a negative errno. A reader belongs to one thread at a time; drover_hsm_stop() may be called from
 * any thread and from signal handlers. The caller ignores SIGPIPE. Structures only grow at their ends: `size` tells which the caller knows.
 */
struct drover_hsm_reader;

enum drover_hsm_type {
	DROVER_HSM_OTHER = 0,  /* an event_type that this version does not know; see json */
	DROVER_HSM_NEW = 1,    /* an action began */
	DROVER_HSM_UPDATE = 2, /* its line changed */
	DROVER_HSM_PURGED = 3, /* it is gone from the MDT's list */
	DROVER_HSM_RESET =
		4 /* forget all actions of that MDT: the stream was deleted, began anew, or was trimmed while this reader was away. Only stream and mdt are set */
};

enum drover_hsm_from {
	DROVER_HSM_FROM_NOW = 0,       /* what comes after the first connection */
	DROVER_HSM_FROM_BEGINNING = 1, /* all that the streams hold, then what comes */
	DROVER_HSM_ONCE =
		2 /* all that the streams hold at the first connection; after that drover_hsm_next() returns 0 at once */
};

enum drover_hsm_level {
	DROVER_HSM_ERROR = 1,
	DROVER_HSM_WARNING = 2,
	DROVER_HSM_INFO = 3,
	DROVER_HSM_DEBUG = 4
};

struct drover_hsm_options {
	size_t size; /* set by drover_hsm_options_init() */
	const char *
		url; /* redis://, rediss://, unix://, sentinel://, as redis_url in drover.conf(5); NULL: the next three */
	const char *host;          /* "localhost" */
	unsigned port;             /* 6379 */
	unsigned db;               /* 1 */
	const char *prefix;        /* "hsm:actions" */
	enum drover_hsm_from from; /* DROVER_HSM_FROM_NOW */
	unsigned discovery_ms;     /* how often new streams are looked for; 10,000 */
	unsigned batch;            /* entries of a stream read in one call; 1000 */
};

struct drover_hsm_event {
	size_t size;
	enum drover_hsm_type type;
	const char *stream;     /* the key */
	const char *mdt;        /* "fs-MDT0000" */
	uint64_t id_ms, id_seq; /* of the entry: milliseconds since 1970, and a count within them */
	int64_t cat_idx, rec_idx; /* of the record in the MDT's log; -1: the event has none */
	int64_t timestamp;        /* seconds since 1970; 0: none */
	/* NUL-terminated, UTF-8; NULL: the event has none. */
	const char *fid;        /* "0x200000402:0x50:0x0" */
	const char *action;     /* ARCHIVE, RESTORE, REMOVE, CANCEL */
	const char *status;     /* WAITING, STARTED, SUCCEED, FAILED, CANCELED; PURGED */
	const char *action_key; /* "FID:ACTION" */
	const char *cookie;     /* "0x6b02b268" */
	const char *raw;        /* the line of the actions file */
	const char *source;     /* "maintenance": the stream was put right */
	const char *
		json; /* the event as it is in the stream, with fields that this version does not know */
	size_t json_len; /* bytes, without its NUL */
};

/* Fills in the defaults. @param size sizeof(struct drover_hsm_options) */
void drover_hsm_options_init(struct drover_hsm_options *options, size_t size);

/*
 * Makes a reader; it connects at the first drover_hsm_next(). What the options point to is copied.
 * @error EINVAL a URL that will not do, an empty prefix, a size that this version does not know; ENOMEM
 */
int drover_hsm_open(
	const struct drover_hsm_options *options, struct drover_hsm_reader **ret_reader);
/* NULL is allowed. */
void drover_hsm_close(struct drover_hsm_reader *reader);

/*
 * The next event, lent until the next call with this reader.
 * @param timeout_ms how long to wait for one: 0 not at all, -1 as long as it takes
 * @return 1 an event; 0 nothing came within the time, and all streams are read to their ends
 * @error ENOTCONN no server there; EAGAIN it still loads its data; EACCES it refuses user, password or permission; EPROTO it is no such
 *        server: all four when not connected within the time, and the next call tries again; ECANCELED drover_hsm_stop() was called
 */
int drover_hsm_next(struct drover_hsm_reader *reader, int timeout_ms,
	const struct drover_hsm_event **ret_event);

/*
 * Before the first drover_hsm_next(): reads that stream from after that entry on. For consumers that keep their place.
 * @error EINVAL the first call was made; ENOMEM
 */
int drover_hsm_seek(
	struct drover_hsm_reader *reader, const char *stream, uint64_t id_ms, uint64_t id_seq);

/* From now on drover_hsm_next() returns -ECANCELED, within a quarter of a second where it waits for events. */
void drover_hsm_stop(struct drover_hsm_reader *reader);

/* Entries that were no events, and were skipped. */
uint64_t drover_hsm_bad_entries(const struct drover_hsm_reader *reader);

/* What happens to readers, as text: lost connections, bad entries. NULL: nothing is said (the default). Before the first reader. */
void drover_hsm_set_log(
	void (*log)(void *arg, enum drover_hsm_level level, const char *message), void *arg);

/* "0.1.0" */
const char *drover_hsm_version(void);

#ifdef __cplusplus
}
#endif

#endif
