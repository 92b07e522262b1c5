/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_READER_H
#define DR_HSM_READER_H

#include "hsm/event.h"
#include "store/url.h"

/*
 * Reads the events of all streams PREFIX:MDT of a server, in the order of each stream, several streams in one call.
 * It finds the streams by itself (SCAN), new ones while it reads, connects again with growing delays, and goes on where it was.
 * A stream that is deleted or begins anew is told as a reset, so that what was known of its actions can be forgotten; so is one that was trimmed while a reader
 * from the beginning had no connection, which is read again then.
 * Entries that are no events, and keys of that prefix that are no streams, are counted, logged once in a while, and skipped.
 * Memory: one batch of entries, whatever the streams hold.
 * Threads: one at a time, but dr_reader_stop() from any thread and from signal handlers.
 */
struct dr_reader;

enum dr_reader_from {
	DR_READER_FROM_BEGINNING,
	DR_READER_FROM_NOW, /* what comes after the first connection; all of a stream that appears later */
	DR_READER_ONCE, /* from the beginning to what was the last entry at the first connection; then always 0 */
	DR_READER_NOTHING, /* ONCE from NOW: only finds the streams */
};

struct dr_reader_options {
	const struct dr_url *url; /* lent for the reader's life */
	const char *prefix;       /* copied */
	enum dr_reader_from from;
	unsigned discovery_ms; /* how often it looks for new streams; 0: 10 s */
	unsigned batch;        /* entries of a stream in one call; 0: 1000 */
};

struct dr_reader_event {
	const char *stream; /* its key; lent for the reader's life, the same pointer every time */
	const char *mdt;    /* what follows the prefix in it; likewise */
	bool is_reset;      /* the stream is gone or began anew; all below is empty */
	struct dr_entry_id id;
	struct dr_event event; /* mdt filled from the stream where the event has none */
	struct dr_span json;
};

struct dr_reader *dr_reader_new(const struct dr_reader_options *options);
void dr_reader_free(struct dr_reader *reader);
/* From now on dr_reader_next() returns -ECANCELED; one that waits does so within 0.25 s, in a name's lookup or while it connects within 2 s. */
void dr_reader_stop(struct dr_reader *reader);

/*
 * The next event, lent until the next call.
 * @param timeout_ms how long to wait for one; 0: not at all; -1: as long as it takes
 * @return 1 an event; 0 all streams are read to their ends, and nothing came
 * @error ENOTCONN, EAGAIN, EACCES, EPROTO as dr_connect(): not connected within the time; call again. ECANCELED stopped
 */
dr_nodiscard int dr_reader_next(
	struct dr_reader *reader, int timeout_ms, const struct dr_reader_event **ret_event);

bool dr_reader_is_connected(const struct dr_reader *reader);
/* How many entries were no events, and how many keys of that prefix are no streams (at the last look). */
uint64_t dr_reader_n_bad(const struct dr_reader *reader);
size_t dr_reader_n_foreign(const struct dr_reader *reader);
/* Reads that stream from after that entry on, in place of where it would begin. Before the first dr_reader_next(). */
void dr_reader_seek(struct dr_reader *reader, const char *stream, struct dr_entry_id after);

/* What a stream holds, of XINFO STREAM. */
struct dr_stream_info {
	const char *stream, *mdt; /* as in events */
	uint64_t length;          /* entries */
	struct dr_entry_id first,
		last; /* of the first entry (0-0: none), and of the last that ever was */
};
/* Of all streams known, by name; the caller frees *ret_infos. @error as dr_reader_next() */
dr_nodiscard int dr_reader_infos(
	struct dr_reader *reader, struct dr_stream_info **ret_infos, size_t *ret_n);

#endif
