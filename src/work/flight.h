/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_FLIGHT_H
#define DR_WORK_FLIGHT_H

#include "base/buf.h"

/*
 * What is on its way to each OST, as text that processes tell one another through the queue: "3:1048576,17:4096", OST and
 * bytes, each OST once, "" for nothing. lua/rates.lua reads it and writes it, too. Touches nothing but its arguments.
 */

/* Of one process: the OSTs with the most bytes. A thousand processes must not keep the queue busy with adding up. */
#define DR_FLIGHT_OWN_MAX 32u
/* Bytes of a text of all processes together; a longer one is garbage. 2,000 OSTs need 40,000. */
#define DR_FLIGHT_TEXT_MAX 131072u
/* The most bytes of one OST that are told: a larger number is none that a sum in Lua keeps exactly. */
#define DR_FLIGHT_BYTES_MAX (UINT64_C(1) << 52)

struct dr_flight {
	uint32_t ost; /* below DR_RANGESET_MAX */
	uint64_t bytes;
};

/* Appends the text. Of more than `most` entries those with the most bytes; none with 0 bytes. Sorts the entries. */
void dr_flight_put(struct dr_buf *out, struct dr_flight *v, size_t n, size_t most);
/*
 * Reads a text, malloc'ed to *ret_v (NULL when it holds nothing). OSTs may come in any order.
 * @return 0. @error EBADMSG not of that form, too long, an index or a number out of bounds, an entry without bytes;
 *         ENOMEM
 */
dr_nodiscard int dr_flight_parse(
	const char *text, size_t len, struct dr_flight **ret_v, size_t *ret_n);

#endif
