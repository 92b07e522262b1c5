/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_STREAMS_H
#define DR_HSM_STREAMS_H

#include "hsm/event.h"
#include "hsm/wire.h"

/*
 * The streams of a prefix, and what the server says of them. Keys are found by SCAN; XINFO STREAM tells both which of them are streams and
 * where these end, so that no key is asked twice.
 */
struct dr_stream {
	char *key;
	const char *mdt; /* in key */
	bool is_there;
	bool is_fresh; /* it appeared or began anew: where to begin is to be decided */
	bool is_reset; /* it is gone or began anew, which is still to be told */
	bool is_done;  /* of a reader that ends: read as far as it should be */
	struct dr_entry_id position; /* of the last entry that was given on */
	struct dr_entry_id until;    /* of a reader that ends: the last one that it reads */
	struct dr_entry_id first,
		last;    /* of the first entry (0-0: none), and of the last that ever was */
	uint64_t length; /* entries */
	uint64_t added;  /* entries that ever were, since Redis 7.0; before that 0 */
	uint64_t look;   /* the one that saw it last */
};

struct dr_streams {
	char *prefix;
	size_t prefix_len;
	char *pattern;           /* of SCAN */
	struct dr_stream **list; /* by key; each stays where it is until the end */
	size_t n;
	size_t n_foreign; /* keys that are no streams of MDTs */
	uint64_t look;    /* number of the last one */
};

void dr_streams_init(struct dr_streams *streams, const char *prefix);
void dr_streams_fini(struct dr_streams *streams);

/* "PREFIX:MDT" with an MDT, without a NUL. */
bool dr_streams_is_key(const struct dr_streams *streams, const char *key, size_t len);
/* The stream of that key, made if it is new. The key is one. */
struct dr_stream *dr_streams_add(struct dr_streams *streams, const char *key);

/*
 * Looks for all streams, and brings all but `position`, `until` and `is_done` up to date. A stream that was there began anew when its
 * last id is below our position, or it counts fewer entries than before. None is taken for gone unless the look went through.
 * @error as dr_wire_get(); EAGAIN, EACCES, ENOTCONN, EPROTO the server refuses: that is logged, and the connection closed
 */
dr_nodiscard int dr_streams_look(struct dr_streams *streams, struct dr_wire *wire);

#endif
