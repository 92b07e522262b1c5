/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

_Noreturn static void out_of_memory(void)
{
	static const char message[] = "drover: out of memory\n";
	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0) {
		/* Nobody to tell. */
	}
	abort();
}

void *dr_xcalloc(size_t n, size_t size)
{
	void *ptr = calloc(n ? n : 1, size ? size : 1);
	if (!ptr) {
		out_of_memory();
	}
	return ptr;
}

void *dr_xrealloc(void *ptr, size_t size)
{
	void *grown = realloc(ptr, size ? size : 1);
	if (!grown) {
		out_of_memory();
	}
	return grown;
}

void *dr_xmemdup(const void *bytes, size_t len)
{
	void *copy = dr_xcalloc(1, len);
	if (len) {
		memcpy(copy, bytes, len);
	}
	return copy;
}

char *dr_xstrdup(const char *s)
{
	return dr_xmemdup(s, strlen(s) + 1);
}

char *dr_xasprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0) {
		out_of_memory();
	}
	return text;
}

void dr_buf_fini(struct dr_buf *buf)
{
	free(buf->data);
	*buf = (struct dr_buf){ 0 };
}

void dr_buf_reserve(struct dr_buf *buf, size_t more)
{
	if (buf->cap - buf->len >= more) {
		return;
	}
	if (more > SIZE_MAX / 4 || buf->len > SIZE_MAX / 4) {
		out_of_memory();
	}
	size_t cap = buf->cap < 64 ? 64 : buf->cap * 2;
	if (cap < buf->len + more) {
		cap = buf->len + more;
	}
	buf->data = dr_xrealloc(buf->data, cap);
	buf->cap = cap;
}

void dr_buf_put(struct dr_buf *buf, const void *bytes, size_t len)
{
	if (len) {
		dr_buf_reserve(buf, len);
		memcpy(buf->data + buf->len, bytes, len);
		buf->len += len;
	}
}

void dr_buf_put_u8(struct dr_buf *buf, uint8_t v)
{
	dr_buf_put(buf, &v, sizeof(v));
}

static void put_le(struct dr_buf *buf, uint64_t v, size_t len)
{
	uint8_t bytes[8];
	for (size_t i = 0; i < len; i++) {
		bytes[i] = (uint8_t)(v >> (8 * i));
	}
	dr_buf_put(buf, bytes, len);
}

void dr_buf_put_u16(struct dr_buf *buf, uint16_t v)
{
	put_le(buf, v, 2);
}

void dr_buf_put_u32(struct dr_buf *buf, uint32_t v)
{
	put_le(buf, v, 4);
}

void dr_buf_put_u64(struct dr_buf *buf, uint64_t v)
{
	put_le(buf, v, 8);
}

void dr_buf_put_varint(struct dr_buf *buf, uint64_t v)
{
	uint8_t bytes[10];
	size_t len = 0;
	while (v >= 0x80) {
		bytes[len++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	bytes[len++] = (uint8_t)v;
	dr_buf_put(buf, bytes, len);
}

void dr_buf_put_blob(struct dr_buf *buf, const void *bytes, size_t len)
{
	dr_buf_put_varint(buf, len);
	dr_buf_put(buf, bytes, len);
}

void dr_buf_put_str(struct dr_buf *buf, const char *s)
{
	dr_buf_put(buf, s, strlen(s));
}

void dr_buf_printf(struct dr_buf *buf, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0) {
		out_of_memory();
	}
	dr_buf_reserve(buf, (size_t)len + 1);
	(void)vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, fmt, again);
	va_end(again);
	buf->len += (size_t)len;
}

char *dr_buf_cstr(struct dr_buf *buf)
{
	dr_buf_reserve(buf, 1);
	buf->data[buf->len] = 0;
	return (char *)buf->data;
}

const uint8_t *dr_cur_bytes(struct dr_cur *cur, size_t len)
{
	if (cur->bad || dr_cur_left(cur) < len) {
		cur->bad = true;
		return NULL;
	}
	if (len == 0) {
		return cur->p ? cur->p : (const uint8_t *)"";
	}
	const uint8_t *p = cur->p;
	cur->p += len;
	return p;
}

static uint64_t get_le(struct dr_cur *cur, size_t len)
{
	const uint8_t *p = dr_cur_bytes(cur, len);
	uint64_t v = 0;
	for (size_t i = 0; p && i < len; i++) {
		v |= (uint64_t)p[i] << (8 * i);
	}
	return v;
}

uint8_t dr_cur_u8(struct dr_cur *cur)
{
	return (uint8_t)get_le(cur, 1);
}

uint16_t dr_cur_u16(struct dr_cur *cur)
{
	return (uint16_t)get_le(cur, 2);
}

uint32_t dr_cur_u32(struct dr_cur *cur)
{
	return (uint32_t)get_le(cur, 4);
}

uint64_t dr_cur_u64(struct dr_cur *cur)
{
	return get_le(cur, 8);
}

uint64_t dr_cur_varint(struct dr_cur *cur)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte = dr_cur_u8(cur);
		if (shift == 63 && byte > 1) {
			break; /* bits past the 64th, or an eleventh byte */
		}
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			return cur->bad ? 0 : v;
		}
	}
	cur->bad = true;
	return 0;
}

const uint8_t *dr_cur_blob(struct dr_cur *cur, size_t *ret_len)
{
	uint64_t len = dr_cur_varint(cur);
	if (len > dr_cur_left(cur)) {
		cur->bad = true;
	}
	*ret_len = cur->bad ? 0 : (size_t)len;
	return dr_cur_bytes(cur, *ret_len);
}
