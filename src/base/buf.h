/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_BUF_H
#define DR_BASE_BUF_H

#include "base/prelude.h"

#include <string.h>

/*
 * A growable byte buffer, and a cursor that reads one back.
 *
 * The buffer aborts when memory is out: what is put into it is bounded by its
 * callers. The cursor never reads past its end: the first read that would do so
 * sets `bad`, and every later read gives 0 or NULL, so a decoder may read a whole
 * record and look at `bad` once.
 *
 * Integers are little endian; a varint is LEB128, at most ten bytes.
 */
struct dr_buf {
	uint8_t *data;
	size_t len; /* bytes */
	size_t cap; /* bytes */
};

void dr_buf_fini(struct dr_buf *buf);
void dr_buf_reserve(struct dr_buf *buf, size_t more);
void dr_buf_put(struct dr_buf *buf, const void *bytes, size_t len);
void dr_buf_put_u8(struct dr_buf *buf, uint8_t v);
void dr_buf_put_u16(struct dr_buf *buf, uint16_t v);
void dr_buf_put_u32(struct dr_buf *buf, uint32_t v);
void dr_buf_put_u64(struct dr_buf *buf, uint64_t v);
void dr_buf_put_varint(struct dr_buf *buf, uint64_t v);
/* A varint length, then the bytes. */
void dr_buf_put_blob(struct dr_buf *buf, const void *bytes, size_t len);
void dr_buf_put_str(struct dr_buf *buf, const char *s);
void dr_buf_printf(struct dr_buf *buf, const char *fmt, ...) dr_printf(2, 3);
/* The contents as a C string; the NUL is not counted in len. Lent until the next put. */
char *dr_buf_cstr(struct dr_buf *buf);

static inline void dr_buf_clear(struct dr_buf *buf)
{
	buf->len = 0;
}

struct dr_cur {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct dr_cur dr_cur_of(const void *bytes, size_t len)
{
	return (struct dr_cur){ .p = bytes, .end = len ? (const uint8_t *)bytes + len : bytes };
}

uint8_t dr_cur_u8(struct dr_cur *cur);
uint16_t dr_cur_u16(struct dr_cur *cur);
uint32_t dr_cur_u32(struct dr_cur *cur);
uint64_t dr_cur_u64(struct dr_cur *cur);
uint64_t dr_cur_varint(struct dr_cur *cur);
/* Lends len bytes of what the cursor reads, or NULL when they are not there. */
const uint8_t *dr_cur_bytes(struct dr_cur *cur, size_t len);
/* What dr_buf_put_blob wrote; NULL and *ret_len 0 when it is not there. */
const uint8_t *dr_cur_blob(struct dr_cur *cur, size_t *ret_len);

static inline size_t dr_cur_left(const struct dr_cur *cur)
{
	return (size_t)(cur->end - cur->p);
}

/* Zeroed memory that is there, or the process ends: for small internal allocations only. */
void *dr_xcalloc(size_t n, size_t size);
void *dr_xrealloc(void *ptr, size_t size);
char *dr_xstrdup(const char *s);
void *dr_xmemdup(const void *bytes, size_t len);
char *dr_xasprintf(const char *fmt, ...) dr_printf(1, 2);

#endif
