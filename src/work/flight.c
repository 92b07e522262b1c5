/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/flight.h"

#include "base/rangeset.h"

#include <inttypes.h>

static int by_bytes(const void *a, const void *b)
{
	const struct dr_flight *x = a, *y = b;

	if (x->bytes != y->bytes) {
		return x->bytes < y->bytes ? 1 : -1;
	}
	return (x->ost > y->ost) - (x->ost < y->ost);
}

void dr_flight_put(struct dr_buf *out, struct dr_flight *v, size_t n, size_t most)
{
	if (n > 1) {
		qsort(v, n, sizeof(*v), by_bytes);
	}
	for (size_t i = 0; i < n && i < most && v[i].bytes > 0; i++) {
		dr_buf_printf(out, "%s%" PRIu32 ":%" PRIu64, i ? "," : "", v[i].ost,
			v[i].bytes < DR_FLIGHT_BYTES_MAX ? v[i].bytes : DR_FLIGHT_BYTES_MAX);
	}
}

/* A decimal number at *p, up to most; *p moves behind it. */
static int parse_number(const char **p, const char *end, uint64_t most, uint64_t *ret)
{
	uint64_t n = 0;
	const char *at = *p;

	for (; at < end && *at >= '0' && *at <= '9'; at++) {
		n = n * 10 + (uint64_t)(*at - '0');
		if (n > most) {
			return -EBADMSG;
		}
	}
	if (at == *p) {
		return -EBADMSG;
	}
	*p = at;
	*ret = n;
	return 0;
}

static int parse_entry(const char **p, const char *end, struct dr_flight *ret)
{
	uint64_t ost = 0, bytes = 0;
	int r = parse_number(p, end, DR_RANGESET_MAX - 1, &ost);

	if (r == 0 && (*p == end || *(*p)++ != ':')) {
		r = -EBADMSG;
	}
	r = r < 0 ? r : parse_number(p, end, DR_FLIGHT_BYTES_MAX, &bytes);
	if (r == 0 && bytes == 0) {
		r = -EBADMSG;
	}
	if (r == 0) {
		*ret = (struct dr_flight){ .ost = (uint32_t)ost, .bytes = bytes };
	}
	return r;
}

int dr_flight_parse(const char *text, size_t len, struct dr_flight **ret_v, size_t *ret_n)
{
	size_t n = 0, most = 1;

	if (len > DR_FLIGHT_TEXT_MAX) {
		return -EBADMSG;
	}
	if (len == 0) {
		*ret_v = NULL;
		*ret_n = 0;
		return 0;
	}
	const char *p = text, *end = text + len;

	for (size_t i = 0; i < len; i++) {
		most += text[i] == ',';
	}
	struct dr_flight *v = calloc(most, sizeof(*v));

	if (!v) {
		return -ENOMEM;
	}
	int r = parse_entry(&p, end, &v[n++]);

	while (r == 0 && p < end) {
		r = *p++ == ',' ? parse_entry(&p, end, &v[n++]) : -EBADMSG;
	}
	if (r < 0) {
		free(v);
		return r;
	}
	*ret_v = v;
	*ret_n = n;
	return 0;
}
