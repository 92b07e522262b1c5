/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/reader.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "hsm/sink.h"
#include "hsm/streams.h"

#include <stdio.h>

/*
 * dr_reader_next() gives, in this order: resets that a look found; what is left of the last reply; and when both are empty, it connects,
 * looks for streams, or reads, whichever is due, and begins again. All that happens to a stream so comes in its order, and a lost
 * connection costs nothing: the position of a stream is that of the last entry that was given on.
 */
#define DELAY_FIRST_MS 250u
#define DELAY_MOST_MS 30000u
#define DISCOVERY_MS 10000u
#define EMPTY_NS UINT64_C(1000000000) /* between looks while there are no streams */
#define LOOK_SHARE 10u                /* at most a tenth of the time goes into looks */
#define BLOCK_MS 200u                 /* of one XREAD: a stop goes unseen no longer */
#define INFO_WAIT_MS 5000u            /* dr_reader_infos() waits so long for a connection */
#define BATCH 1000u
#define BATCHES 8u            /* entries of all streams in one reply: so many times those of one */
#define LEAST 20u             /* of each stream, however many there are */
#define MOST_BYTES (8u << 20) /* of a reply: it asks for fewer entries when they are long */
#define LOG_SECONDS 60

struct dr_reader {
	const struct dr_url *url;
	enum dr_reader_from from;
	uint64_t discovery_ns;
	unsigned batch;
	struct dr_wire wire;
	struct dr_streams streams;

	bool is_started;    /* the first look went through */
	bool is_looked;     /* on this connection */
	uint64_t look_ns;   /* when the next one is due */
	uint64_t retry_ns;  /* after a failure: not before that */
	unsigned delay_ms;  /* after the next failure */
	int error;          /* of the last failure */
	bool has_failed;    /* since it was last connected */
	bool is_wrong_type; /* the last XREAD said so */

	/* The last reply, and what it was asked for. */
	struct dr_sink sink;
	struct dr_stream **asked;
	const char **names;
	size_t n_asked;
	size_t next;     /* of its entries */
	size_t n_resets; /* that are still to be told, at most */
	unsigned count;  /* entries of a stream in the next reply */

	struct dr_buf scratch;
	struct dr_reader_event event;
	uint64_t n_bad;
};

static bool is_ending(const struct dr_reader *reader)
{
	return reader->from == DR_READER_ONCE || reader->from == DR_READER_NOTHING;
}

struct dr_reader *dr_reader_new(const struct dr_reader_options *options)
{
	struct dr_reader *reader = dr_xcalloc(1, sizeof(*reader));
	unsigned ms = options->discovery_ms ? options->discovery_ms : DISCOVERY_MS;

	reader->url = options->url;
	reader->from = options->from;
	reader->discovery_ns = (uint64_t)ms * 1000000u;
	reader->batch = options->batch ? options->batch : BATCH;
	reader->count = reader->batch;
	reader->delay_ms = DELAY_FIRST_MS;
	reader->error = -ENOTCONN;
	dr_streams_init(&reader->streams, options->prefix);
	dr_sink_init(&reader->sink);
	return reader;
}

void dr_reader_free(struct dr_reader *reader)
{
	if (reader) {
		/* The connection first: its parser may have the sink. */
		dr_wire_close(&reader->wire);
		dr_sink_fini(&reader->sink);
		dr_streams_fini(&reader->streams);
		dr_buf_fini(&reader->scratch);
		free(reader->asked);
		free(reader->names);
		free(reader);
	}
}

void dr_reader_stop(struct dr_reader *reader)
{
	dr_wire_stop(&reader->wire);
}

bool dr_reader_is_connected(const struct dr_reader *reader)
{
	return reader->wire.redis && reader->is_looked;
}

uint64_t dr_reader_n_bad(const struct dr_reader *reader)
{
	return reader->n_bad;
}

size_t dr_reader_n_foreign(const struct dr_reader *reader)
{
	return reader->streams.n_foreign;
}

void dr_reader_seek(struct dr_reader *reader, const char *stream, struct dr_entry_id after)
{
	if (!reader->is_started && dr_streams_is_key(&reader->streams, stream, strlen(stream))) {
		struct dr_stream *found = dr_streams_add(&reader->streams, stream);

		/* As if a look had seen it: one that is not there, or ends before that, is told as a reset. */
		found->is_there = true;
		found->position = after;
	}
}

/* --- to be ready --- */

static void failed(struct dr_reader *reader, int error)
{
	dr_wire_close(&reader->wire);
	reader->has_failed = true;
	reader->error = error;
	reader->retry_ns = dr_now_ns() + (uint64_t)reader->delay_ms * 1000000u;
	reader->delay_ms =
		reader->delay_ms * 2 < DELAY_MOST_MS ? reader->delay_ms * 2 : DELAY_MOST_MS;
}

static void begin_stream(const struct dr_reader *reader, struct dr_stream *stream)
{
	bool is_late = reader->is_started;
	bool is_from_end = reader->from == DR_READER_FROM_NOW || reader->from == DR_READER_NOTHING;

	stream->is_fresh = false;
	stream->position = (struct dr_entry_id){ 0 };
	stream->until = stream->last;
	stream->is_done = reader->from == DR_READER_NOTHING ||
			  (reader->from == DR_READER_ONCE && is_late && !stream->is_reset);
	if (!is_late && !stream->is_reset && is_from_end) {
		stream->position = stream->last;
	}
}

/*
 * Whether entries that were not read yet may have been trimmed while there was no connection: a PURGED among them would be missed for good.
 */
static bool is_trimmed_past(const struct dr_reader *reader, const struct dr_stream *stream)
{
	bool has_gap =
		dr_entry_id_cmp(stream->position, stream->last) < 0 &&
		(stream->length == 0 || dr_entry_id_cmp(stream->position, stream->first) < 0);

	return has_gap && stream->is_there && !stream->is_fresh && reader->is_started &&
	       !reader->is_looked && reader->from == DR_READER_FROM_BEGINNING &&
	       (stream->position.ms || stream->position.seq);
}

/* Decides where to begin what a look found. @return how many streams there are */
static size_t begin_streams(struct dr_reader *reader)
{
	const struct dr_streams *streams = &reader->streams;
	size_t n = 0;

	reader->n_resets = 0;
	for (size_t i = 0; i < streams->n; i++) {
		struct dr_stream *stream = streams->list[i];

		if (!reader->is_started) {
			stream->until = stream->last; /* also where somebody keeps a place */
		}
		if (is_trimmed_past(reader, stream)) {
			stream->is_reset = true;
			stream->is_fresh = true;
		}
		if (stream->is_fresh) {
			begin_stream(reader, stream);
		}
		n += stream->is_there;
		reader->n_resets += stream->is_reset;
	}
	if (reader->n_resets > 0) {
		/* What is left of the last reply may be of the stream that is gone; all else is read again. */
		reader->sink.n = reader->next;
	}
	if (!reader->is_looked) {
		dr_log(reader->has_failed ? DR_LOG_INFO : DR_LOG_DEBUG, "hsm-connected",
			"streams=%zu foreign=%zu", n, streams->n_foreign);
		reader->has_failed = false;
	}
	reader->is_started = true;
	reader->is_looked = true;
	return n;
}

static int look(struct dr_reader *reader)
{
	uint64_t begin_ns = dr_now_ns();
	int r = dr_streams_look(&reader->streams, &reader->wire);

	if (r < 0) {
		return r;
	}
	size_t n = begin_streams(reader);
	uint64_t end_ns = dr_now_ns();
	uint64_t least_ns = (end_ns - begin_ns) * LOOK_SHARE;
	uint64_t pause_ns = reader->discovery_ns;

	if (n == 0 && pause_ns > EMPTY_NS) {
		pause_ns = EMPTY_NS;
	}
	reader->look_ns = end_ns + (pause_ns > least_ns ? pause_ns : least_ns);
	return 0;
}

/* Connects and looks for streams when that is due. @error as dr_reader_next() */
static int make_ready(struct dr_reader *reader, uint64_t until_ns)
{
	for (;;) {
		uint64_t now_ns = dr_now_ns();
		int r = 0;

		if (dr_wire_is_stopped(&reader->wire)) {
			return -ECANCELED;
		}
		if (!reader->wire.redis && now_ns < reader->retry_ns) {
			if (now_ns >= until_ns) {
				return reader->error;
			}
			dr_wire_nap(&reader->wire,
				reader->retry_ns < until_ns ? reader->retry_ns : until_ns);
			continue;
		}
		if (!reader->wire.redis) {
			reader->is_looked = false;
			r = dr_wire_connect(&reader->wire, reader->url);
		}
		if (r == 0 &&
			(!reader->is_looked || (!is_ending(reader) && now_ns >= reader->look_ns))) {
			r = look(reader);
		}
		if (r == 0 || r == -ECANCELED) {
			return r;
		}
		failed(reader, r);
	}
}

/* --- to read --- */

/* The streams that there is something to read of; how many. */
static size_t choose(struct dr_reader *reader)
{
	const struct dr_streams *streams = &reader->streams;
	size_t n = 0;

	reader->asked = dr_xrealloc(reader->asked, streams->n * sizeof(struct dr_stream *));
	reader->names = dr_xrealloc(reader->names, streams->n * sizeof(*reader->names));
	for (size_t i = 0; i < streams->n; i++) {
		struct dr_stream *stream = streams->list[i];

		if (is_ending(reader) && !stream->is_done) {
			stream->is_done = dr_entry_id_cmp(stream->position, stream->until) >= 0;
		}
		if (stream->is_there && !stream->is_done) {
			reader->asked[n] = stream;
			reader->names[n++] = stream->key;
		}
	}
	reader->n_asked = n;
	return n;
}

/* XREAD COUNT count [BLOCK ms] STREAMS key... id... */
static int put_xread(struct dr_reader *reader, unsigned block_ms)
{
	size_t n = reader->n_asked, at = 0;
	unsigned most = n > BATCHES ? reader->batch * BATCHES / (unsigned)n : reader->batch;
	unsigned count = reader->count < most ? reader->count : most > LEAST ? most : LEAST;
	char count_text[16], block_text[16];
	const char **argv dr_cleanup(dr_freep) = dr_xcalloc(2 * n + 6, sizeof(*argv));
	char(*ids)[DR_ENTRY_ID_SIZE] dr_cleanup(dr_freep) = dr_xcalloc(n, sizeof(*ids));

	(void)snprintf(count_text, sizeof(count_text), "%u", count);
	(void)snprintf(block_text, sizeof(block_text), "%u", block_ms);
	argv[at++] = "XREAD";
	argv[at++] = "COUNT";
	argv[at++] = count_text;
	if (block_ms) { /* 0 would be for ever */
		argv[at++] = "BLOCK";
		argv[at++] = block_text;
	}
	argv[at++] = "STREAMS";
	for (size_t i = 0; i < n; i++) {
		argv[at++] = reader->names[i];
	}
	for (size_t i = 0; i < n; i++) {
		argv[at++] = dr_entry_id_text(reader->asked[i]->position, ids[i]);
	}
	return dr_wire_put(&reader->wire, (int)at, argv, NULL);
}

/* Asks for fewer entries the next time when these were long, and for more again when they were not. */
static void adjust_count(struct dr_reader *reader)
{
	size_t bytes = reader->sink.arena.len;
	unsigned count = reader->count;

	if (bytes > MOST_BYTES) {
		count = (unsigned)((uint64_t)count * MOST_BYTES / bytes);
	} else if (bytes < MOST_BYTES / 4) {
		count = count < reader->batch / 2 ? count * 2 : reader->batch;
	}
	reader->count = count ? count : 1;
}

/* What was asked cannot be had. A key that is no stream any more is found by a look; one that comes back at once must wait for it. */
static int refused(struct dr_reader *reader)
{
	const char *why = reader->sink.is_odd ? "an odd reply" : reader->sink.error;
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	bool is_wrong_type = !reader->sink.is_odd && strncmp(why, "WRONGTYPE", 9) == 0;

	if (is_wrong_type && !reader->is_wrong_type) {
		reader->is_wrong_type = true;
		reader->is_looked = false;
		return 0;
	}
	dr_text_escape(&text, why, strlen(why));
	dr_log_limited(LOG_SECONDS, DR_LOG_WARNING, "redis-refused",
		"command=XREAD error=\"%s\" next=\"connects again\"", dr_buf_cstr(&text));
	return reader->sink.is_odd ? -EPROTO : dr_wire_error(why);
}

/* An ending reader got nothing of a stream: it is at its end, although the last entry that ever was may be deleted. */
static void end_streams(struct dr_reader *reader)
{
	size_t entry = 0;

	for (size_t i = 0; i < reader->n_asked; i++) {
		while (entry < reader->sink.n && reader->sink.entries[entry].stream < i) {
			entry++;
		}
		bool is_got = entry < reader->sink.n && reader->sink.entries[entry].stream == i;

		/* What a full sink left out comes behind the last entry that it took. */
		reader->asked[i]->is_done |= !is_got && !reader->sink.is_full;
	}
}

/* One XREAD of the streams that choose() chose. @error as dr_wire_get() */
static int read_batch(struct dr_reader *reader, unsigned block_ms)
{
	struct dr_sink *sink = &reader->sink;
	void *reply = NULL;

	reader->next = 0;
	dr_sink_begin(sink, reader->names, reader->n_asked);
	int r = put_xread(reader, block_ms);

	if (r < 0) {
		return r;
	}
	dr_sink_attach(sink, reader->wire.redis->reader);
	r = dr_wire_get(&reader->wire, &reply);
	if (r < 0) {
		/* The connection is closed. What it gave is whole but for the last entry, and is read again. */
		sink->n = 0;
		return r;
	}
	dr_sink_detach(sink, reader->wire.redis->reader);
	if (sink->is_odd || sink->error[0]) {
		sink->n = 0;
		return refused(reader);
	}
	reader->is_wrong_type = false;
	reader->delay_ms = DELAY_FIRST_MS;
	adjust_count(reader);
	if (is_ending(reader)) {
		end_streams(reader);
	}
	return 0;
}

/* Makes a step: waits, looks or reads. @return 1 look at what is there now; 0 nothing came. @error as dr_reader_next() */
static int step(struct dr_reader *reader, uint64_t until_ns)
{
	int r = make_ready(reader, until_ns);

	if (r < 0) {
		return r;
	}
	if (reader->n_resets > 0) {
		return 1;
	}
	uint64_t now_ns = dr_now_ns();
	bool is_late = now_ns >= until_ns;
	size_t n = choose(reader);

	if (n == 0) {
		reader->delay_ms = DELAY_FIRST_MS;
		if (is_ending(reader) || is_late) {
			return 0;
		}
		dr_wire_nap(&reader->wire, reader->look_ns < until_ns ? reader->look_ns : until_ns);
		return 1;
	}
	uint64_t left_ms = is_late ? 0 : (until_ns - now_ns - 1) / 1000000u + 1;
	unsigned block_ms = left_ms < BLOCK_MS ? (unsigned)left_ms : BLOCK_MS;

	r = read_batch(reader, is_ending(reader) ? 0 : block_ms);
	if (r < 0) {
		if (r != -ECANCELED) {
			failed(reader, r);
		}
		return r == -ECANCELED ? r : 1;
	}
	return reader->sink.n > 0 || !is_late || is_ending(reader) || !reader->is_looked;
}

/* --- to give on --- */

static bool take_reset(struct dr_reader *reader)
{
	for (size_t i = 0; reader->n_resets > 0 && i < reader->streams.n; i++) {
		struct dr_stream *stream = reader->streams.list[i];

		if (stream->is_reset) {
			stream->is_reset = false;
			reader->n_resets--;
			reader->event = (struct dr_reader_event){
				.stream = stream->key,
				.mdt = stream->mdt,
				.is_reset = true,
			};
			return true;
		}
	}
	reader->n_resets = 0;
	return false;
}

static void bad(struct dr_reader *reader, const struct dr_stream *stream, struct dr_entry_id id,
	const char *why)
{
	char text[DR_ENTRY_ID_SIZE];
	struct dr_buf key dr_cleanup(dr_buf_fini) = { 0 };

	reader->n_bad++;
	dr_text_escape(&key, stream->key, strlen(stream->key));
	dr_log_limited(LOG_SECONDS, DR_LOG_WARNING, "hsm-bad-entry",
		"stream=\"%s\" id=%s error=\"%s\" n=%llu next=\"skipped\"", dr_buf_cstr(&key),
		dr_entry_id_text(id, text), why, (unsigned long long)reader->n_bad);
}

/* @return whether the entry is an event, which is in reader->event then */
static bool take_entry(struct dr_reader *reader, const struct dr_sink_entry *entry)
{
	static const char *const reasons[] = {
		[DR_SINK_NO_DATA] = "no field data",
		[DR_SINK_TOO_LONG] = "longer than 1 MiB",
		[DR_SINK_BAD_ID] = "no id",
	};
	struct dr_stream *stream = reader->asked[entry->stream];
	struct dr_reader_event *event = &reader->event;

	if (entry->state == DR_SINK_BAD_ID) {
		bad(reader, stream, stream->position, reasons[entry->state]);
		return false;
	}
	if (is_ending(reader) && dr_entry_id_cmp(entry->id, stream->until) > 0) {
		stream->is_done = true;
		return false;
	}
	stream->position = entry->id;
	if (entry->state != DR_SINK_GOOD) {
		bad(reader, stream, entry->id, reasons[entry->state]);
		return false;
	}
	const char *json = (const char *)reader->sink.arena.data + entry->offset;
	int r = dr_event_decode(json, entry->len, &reader->scratch, &event->event);

	if (r < 0) {
		bad(reader, stream, entry->id, r == -EBADMSG ? "no JSON" : "no event");
		return false;
	}
	event->stream = stream->key;
	event->mdt = stream->mdt;
	event->is_reset = false;
	event->id = entry->id;
	event->json = (struct dr_span){ .p = json, .len = entry->len };
	if (!event->event.mdt.p) {
		event->event.mdt = dr_span_of(stream->mdt);
	}
	return true;
}

int dr_reader_next(
	struct dr_reader *reader, int timeout_ms, const struct dr_reader_event **ret_event)
{
	uint64_t until_ns = timeout_ms < 0 ? UINT64_MAX : 0;

	for (;;) {
		if (dr_wire_is_stopped(&reader->wire)) {
			return -ECANCELED;
		}
		bool is_event = take_reset(reader);

		while (!is_event && reader->next < reader->sink.n) {
			is_event = take_entry(reader, &reader->sink.entries[reader->next++]);
		}
		if (is_event) {
			*ret_event = &reader->event;
			return 1;
		}
		/* The clock is not asked for events that are there. */
		if (timeout_ms >= 0 && until_ns == 0) {
			until_ns = dr_now_ns() + (uint64_t)timeout_ms * 1000000u;
		}
		int r = step(reader, until_ns);

		if (r <= 0) {
			return r;
		}
	}
}

int dr_reader_infos(struct dr_reader *reader, struct dr_stream_info **ret_infos, size_t *ret_n)
{
	const struct dr_streams *streams = &reader->streams;
	size_t n = 0;

	/* What is left of the last reply stays, and is given on afterwards. */
	reader->is_looked = false;
	int r = make_ready(reader, dr_now_ns() + INFO_WAIT_MS * UINT64_C(1000000));

	if (r < 0) {
		return r;
	}
	struct dr_stream_info *infos = dr_xcalloc(streams->n, sizeof(*infos));

	for (size_t i = 0; i < streams->n; i++) {
		const struct dr_stream *stream = streams->list[i];

		if (stream->is_there) {
			infos[n++] = (struct dr_stream_info){
				.stream = stream->key,
				.mdt = stream->mdt,
				.length = stream->length,
				.first = stream->first,
				.last = stream->last,
			};
		}
	}
	*ret_infos = infos;
	*ret_n = n;
	return 0;
}
