/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_SINK_H
#define DR_HSM_SINK_H

#include "base/buf.h"
#include "hsm/event.h"

#include <hiredis/hiredis.h>

/*
 * Takes replies of XREAD as hiredis' parser reads them, without an object for each of their parts: the ids and the values of the fields
 * `data` go into one arena. The shape is
 *   [[key, [[id, [name, value, ...]], ...]], ...]    or nil: nothing came    or an error
 * Does no I/O.
 */
#define DR_SINK_MAX_DATA (1u << 20)   /* bytes; longer data is bad input, and not kept */
#define DR_SINK_MAX_ARENA (16u << 20) /* bytes; the entries behind are not taken, but read again */

enum dr_sink_state {
	DR_SINK_GOOD,
	DR_SINK_NO_DATA,  /* no field of that name, or its value is no string */
	DR_SINK_TOO_LONG, /* more than DR_SINK_MAX_DATA */
	DR_SINK_BAD_ID,   /* not "ms-seq" */
};

struct dr_sink_entry {
	struct dr_entry_id id;
	size_t offset; /* of data in the arena, where a NUL follows it */
	uint32_t len;
	uint32_t stream; /* position in the names that were asked for */
	enum dr_sink_state state;
};

struct dr_sink {
	const char *const *names; /* of the streams, in the order of the command; lent */
	size_t n_names;

	struct dr_buf arena;
	struct dr_sink_entry *entries;
	size_t n, cap;
	bool is_full; /* entries were left out behind the last one that was taken */

	/* The reply as a whole. */
	char error[256]; /* "": none */
	bool is_odd;     /* no reply of XREAD */

	/* How far it is read. */
	size_t name;   /* of the stream whose entries come */
	bool is_data;  /* the value of `data` comes next */
	bool is_taken; /* the entry that comes is one of entries */
	redisReplyObjectFunctions functions;
	redisReplyObjectFunctions *own; /* of the parser, while the sink is in their place */
};

void dr_sink_init(struct dr_sink *sink);
void dr_sink_fini(struct dr_sink *sink);
/* The next reply is for these streams. What was taken before is forgotten. */
void dr_sink_begin(struct dr_sink *sink, const char *const *names, size_t n_names);
/*
 * From now on the parser gives what it reads to the sink, which must outlive it or the matching dr_sink_detach(). At both moments the
 * parser is between two replies; one that broke may be freed as it is.
 */
void dr_sink_attach(struct dr_sink *sink, redisReader *parser);
void dr_sink_detach(struct dr_sink *sink, redisReader *parser);

#endif
