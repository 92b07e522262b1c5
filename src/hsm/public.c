/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "hsm/drover-hsm.h"
#include "hsm/reader.h"

/*
 * The library that others link: a reader whose events are C strings. Structures of callers are as large as the callers know them: what
 * lies behind `size` is neither read nor written.
 */
#define OPTIONS_FIRST_SIZE                                                                         \
	(offsetof(struct drover_hsm_options, batch) + sizeof(unsigned)) /* of version 1 */

struct drover_hsm_reader {
	struct dr_url url;
	struct dr_reader *reader;
	char *prefix;
	bool is_begun;
	struct drover_hsm_event event;
	struct dr_buf texts; /* the event's strings, each with its NUL */
};

/* A library does not write to stderr unless it is told to. */
static void __attribute__((constructor)) be_quiet(void)
{
	dr_log_level = DR_LOG_NONE;
}

void drover_hsm_options_init(struct drover_hsm_options *options, size_t size)
{
	const struct drover_hsm_options defaults = {
		.size = size,
		.host = "localhost",
		.port = 6379,
		.db = 1,
		.prefix = "hsm:actions",
		.from = DROVER_HSM_FROM_NOW,
		.discovery_ms = 10000,
		.batch = 1000,
	};

	memset(options, 0, size);
	memcpy(options, &defaults, size < sizeof(defaults) ? size : sizeof(defaults));
}

static int parse_url(const struct drover_hsm_options *options, struct dr_url *ret_url)
{
	char *message dr_cleanup(dr_freep) = NULL;

	if (options->url) {
		int r = dr_url_parse(options->url, ret_url, &message);

		if (r < 0) {
			dr_log(DR_LOG_ERROR, "hsm-url", "error=\"%s\"", message ? message : "");
		}
		return r;
	}
	if (!options->host || !options->host[0] || options->port < 1 || options->port > 65535) {
		return -EINVAL;
	}
	struct dr_url_host *host = dr_xcalloc(1, sizeof(*host));

	host->name = dr_xstrdup(options->host);
	host->port = (uint16_t)options->port;
	*ret_url = (struct dr_url){
		.kind = DR_URL_TCP,
		.hosts = host,
		.n_hosts = 1,
		.db = options->db,
	};
	return 0;
}

int drover_hsm_open(const struct drover_hsm_options *options, struct drover_hsm_reader **ret_reader)
{
	static const enum dr_reader_from froms[] = {
		[DROVER_HSM_FROM_NOW] = DR_READER_FROM_NOW,
		[DROVER_HSM_FROM_BEGINNING] = DR_READER_FROM_BEGINNING,
		[DROVER_HSM_ONCE] = DR_READER_ONCE,
	};
	struct dr_url url = { 0 };

	if (options->size < OPTIONS_FIRST_SIZE || options->size > sizeof(*options) ||
		!options->prefix || !options->prefix[0] ||
		(size_t)options->from >= sizeof(froms) / sizeof(froms[0])) {
		return -EINVAL;
	}
	int r = parse_url(options, &url);

	if (r < 0) {
		return r;
	}
	struct drover_hsm_reader *reader = dr_xcalloc(1, sizeof(*reader));

	reader->url = url;
	reader->prefix = dr_xstrdup(options->prefix);
	reader->reader = dr_reader_new(&(struct dr_reader_options){
		.url = &reader->url,
		.prefix = reader->prefix,
		.from = froms[options->from],
		.discovery_ms = options->discovery_ms,
		.batch = options->batch,
	});
	*ret_reader = reader;
	return 0;
}

void drover_hsm_close(struct drover_hsm_reader *reader)
{
	if (reader) {
		dr_reader_free(reader->reader);
		dr_url_fini(&reader->url);
		dr_buf_fini(&reader->texts);
		free(reader->prefix);
		free(reader);
	}
}

/* The buffer has room for it: what is lent from it must not move. */
static const char *put_text(struct dr_buf *texts, struct dr_span text)
{
	if (!text.p) {
		return NULL;
	}
	const char *at = (const char *)texts->data + texts->len;

	dr_buf_put(texts, text.p, text.len);
	dr_buf_put_u8(texts, 0);
	return at;
}

static enum drover_hsm_type type_of(enum dr_event_type type)
{
	switch (type) {
	case DR_EVENT_NEW:
		return DROVER_HSM_NEW;
	case DR_EVENT_UPDATE:
		return DROVER_HSM_UPDATE;
	case DR_EVENT_PURGED:
		return DROVER_HSM_PURGED;
	case DR_EVENT_OTHER:
		break;
	}
	return DROVER_HSM_OTHER;
}

static void fill(struct drover_hsm_reader *reader, const struct dr_reader_event *from)
{
	const struct dr_event *event = &from->event;
	struct dr_buf *texts = &reader->texts;
	struct drover_hsm_event *to = &reader->event;

	*to = (struct drover_hsm_event){
		.size = sizeof(*to),
		.type = from->is_reset ? DROVER_HSM_RESET : type_of(event->type),
		.stream = from->stream,
		.mdt = from->mdt,
		.cat_idx = -1,
		.rec_idx = -1,
	};
	if (from->is_reset) {
		return;
	}
	dr_buf_clear(texts);
	dr_buf_reserve(texts, from->json.len + event->mdt.len + event->fid.len + event->action.len +
				      event->status.len + event->action_key.len +
				      event->cookie.len + event->raw.len + event->source.len + 16);
	if (event->has_idx) {
		to->cat_idx = (int64_t)event->cat;
		to->rec_idx = (int64_t)event->rec;
	}
	to->id_ms = from->id.ms;
	to->id_seq = from->id.seq;
	to->timestamp = event->timestamp;
	to->mdt = put_text(texts, event->mdt);
	to->fid = put_text(texts, event->fid);
	to->action = put_text(texts, event->action);
	to->status = put_text(texts, event->status);
	to->action_key = put_text(texts, event->action_key);
	to->cookie = put_text(texts, event->cookie);
	to->raw = put_text(texts, event->raw);
	to->source = put_text(texts, event->source);
	to->json = put_text(texts, from->json);
	to->json_len = from->json.len;
}

int drover_hsm_next(
	struct drover_hsm_reader *reader, int timeout_ms, const struct drover_hsm_event **ret_event)
{
	const struct dr_reader_event *event = NULL;

	reader->is_begun = true;
	int r = dr_reader_next(reader->reader, timeout_ms, &event);

	if (r > 0) {
		fill(reader, event);
		*ret_event = &reader->event;
	}
	return r;
}

int drover_hsm_seek(
	struct drover_hsm_reader *reader, const char *stream, uint64_t id_ms, uint64_t id_seq)
{
	size_t len = strlen(reader->prefix);

	if (reader->is_begun || strncmp(stream, reader->prefix, len) != 0 || stream[len] != ':' ||
		!stream[len + 1]) {
		return -EINVAL;
	}
	dr_reader_seek(reader->reader, stream, (struct dr_entry_id){ .ms = id_ms, .seq = id_seq });
	return 0;
}

void drover_hsm_stop(struct drover_hsm_reader *reader)
{
	dr_reader_stop(reader->reader);
}

uint64_t drover_hsm_bad_entries(const struct drover_hsm_reader *reader)
{
	return dr_reader_n_bad(reader->reader);
}

/* The levels are the same numbers; types of functions must be equal, though. */
struct log_to {
	void (*log)(void *arg, enum drover_hsm_level level, const char *message);
	void *arg;
};

static void pass_on(void *arg, enum dr_log_level level, const char *line)
{
	const struct log_to *to = arg;

	to->log(to->arg, (enum drover_hsm_level)level, line);
}

void drover_hsm_set_log(
	void (*log)(void *arg, enum drover_hsm_level level, const char *message), void *arg)
{
	static struct log_to to; /* set before the first reader, then only read */

	to = (struct log_to){ .log = log, .arg = arg };
	dr_log_set_sink(log ? pass_on : NULL, &to);
	dr_log_level = log ? DR_LOG_DEBUG : DR_LOG_NONE;
}

const char *drover_hsm_version(void)
{
	return DR_VERSION;
}
