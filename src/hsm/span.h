/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_SPAN_H
#define DR_HSM_SPAN_H

#include "base/prelude.h"

#include <string.h>

/* Bytes that are lent, without a NUL. p NULL: not there. */
struct dr_span {
	const char *p;
	size_t len;
};

static inline struct dr_span dr_span_of(const char *s)
{
	return (struct dr_span){ .p = s, .len = s ? strlen(s) : 0 };
}

static inline bool dr_span_eq(struct dr_span a, struct dr_span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool dr_span_is(struct dr_span span, const char *s)
{
	return span.p && dr_span_eq(span, dr_span_of(s));
}

#endif
