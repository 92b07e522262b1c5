/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unit.h"

START_TEST(buf__writes_little_endian)
{
	struct dr_buf buf = { 0 };
	dr_buf_put_u8(&buf, 0x01);
	dr_buf_put_u16(&buf, 0x0302);
	dr_buf_put_u32(&buf, 0x07060504);
	dr_buf_put_u64(&buf, UINT64_C(0x0f0e0d0c0b0a0908));
	ck_assert_uint_eq(buf.len, 15);
	for (size_t i = 0; i < buf.len; i++) {
		ck_assert_uint_eq(buf.data[i], i + 1);
	}
	dr_buf_fini(&buf);
	ck_assert_ptr_null(buf.data);
	dr_buf_fini(&buf);
}
END_TEST

START_TEST(buf__reads_back_what_it_wrote)
{
	static const uint64_t values[] = { 0, 1, 127, 128, 300, 16383, 16384, UINT32_MAX,
		(uint64_t)UINT32_MAX + 1, INT64_MAX, UINT64_MAX };
	const size_t n = sizeof(values) / sizeof(values[0]);
	struct dr_buf buf = { 0 };
	for (size_t i = 0; i < n; i++) {
		dr_buf_put_u8(&buf, (uint8_t)values[i]);
		dr_buf_put_u16(&buf, (uint16_t)values[i]);
		dr_buf_put_u32(&buf, (uint32_t)values[i]);
		dr_buf_put_u64(&buf, values[i]);
		dr_buf_put_varint(&buf, values[i]);
		dr_buf_put_blob(&buf, "blob\0x", i % 7);
	}
	struct dr_cur cur = dr_cur_of(buf.data, buf.len);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(dr_cur_u8(&cur), (uint8_t)values[i]);
		ck_assert_uint_eq(dr_cur_u16(&cur), (uint16_t)values[i]);
		ck_assert_uint_eq(dr_cur_u32(&cur), (uint32_t)values[i]);
		ck_assert_uint_eq(dr_cur_u64(&cur), values[i]);
		ck_assert_uint_eq(dr_cur_varint(&cur), values[i]);
		size_t len = 99;
		const uint8_t *blob = dr_cur_blob(&cur, &len);
		ck_assert_ptr_nonnull(blob);
		ck_assert_uint_eq(len, i % 7);
		ck_assert_mem_eq(blob, "blob\0x", len);
	}
	ck_assert(!cur.bad);
	ck_assert_uint_eq(dr_cur_left(&cur), 0);
	dr_buf_fini(&buf);
}
END_TEST

START_TEST(buf__varint_is_leb128)
{
	struct dr_buf buf = { 0 };
	dr_buf_put_varint(&buf, 300);
	ck_assert_uint_eq(buf.len, 2);
	ck_assert_mem_eq(buf.data, "\xac\x02", 2);
	dr_buf_clear(&buf);
	dr_buf_put_varint(&buf, UINT64_MAX);
	ck_assert_uint_eq(buf.len, 10);
	ck_assert_mem_eq(buf.data, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
	dr_buf_fini(&buf);
}
END_TEST

START_TEST(buf__grows_past_any_step)
{
	struct dr_buf buf = { 0 };
	for (unsigned i = 0; i < 100000; i++) {
		dr_buf_put_u8(&buf, (uint8_t)i);
	}
	ck_assert_uint_eq(buf.len, 100000);
	for (unsigned i = 0; i < 100000; i++) {
		ck_assert_uint_eq(buf.data[i], (uint8_t)i);
	}
	dr_buf_put(&buf, NULL, 0);
	ck_assert_uint_eq(buf.len, 100000);
	dr_buf_fini(&buf);
}
END_TEST

START_TEST(buf__printf_appends)
{
	struct dr_buf buf = { 0 };
	ck_assert_str_eq(dr_buf_cstr(&buf), "");
	dr_buf_put_str(&buf, "a=");
	dr_buf_printf(&buf, "%d %s", -7, "b");
	dr_unit_text(&buf, "a=-7 b");
	dr_buf_printf(&buf, "%0500d", 1);
	ck_assert_uint_eq(buf.len, 506);
	ck_assert_uint_eq(strlen(dr_buf_cstr(&buf)), 506);
	dr_buf_fini(&buf);
}
END_TEST

START_TEST(cursor__stays_bad_after_a_read_past_the_end)
{
	const uint8_t bytes[] = { 1, 2, 3, 4, 5 };
	struct dr_cur cur = dr_cur_of(bytes, sizeof(bytes));
	ck_assert_uint_eq(dr_cur_u16(&cur), 0x0201);
	ck_assert_uint_eq(dr_cur_u32(&cur), 0);
	ck_assert(cur.bad);
	ck_assert_uint_eq(dr_cur_u8(&cur), 0);
	ck_assert_uint_eq(dr_cur_varint(&cur), 0);
	ck_assert_ptr_null(dr_cur_bytes(&cur, 0));
	size_t len = 99;
	ck_assert_ptr_null(dr_cur_blob(&cur, &len));
	ck_assert_uint_eq(len, 0);
}
END_TEST

START_TEST(cursor__lends_exactly_what_is_there)
{
	const uint8_t bytes[] = { 1, 2, 3 };
	struct dr_cur cur = dr_cur_of(bytes, sizeof(bytes));
	ck_assert_ptr_eq(dr_cur_bytes(&cur, 3), bytes);
	ck_assert_ptr_nonnull(dr_cur_bytes(&cur, 0));
	ck_assert(!cur.bad);
	ck_assert_ptr_null(dr_cur_bytes(&cur, 1));
	ck_assert(cur.bad);

	cur = dr_cur_of(bytes, sizeof(bytes));
	ck_assert_ptr_null(dr_cur_bytes(&cur, SIZE_MAX));
	ck_assert(cur.bad);
}
END_TEST

START_TEST(cursor__reads_nothing_from_nothing)
{
	struct dr_cur cur = dr_cur_of(NULL, 0);
	ck_assert_uint_eq(dr_cur_left(&cur), 0);
	ck_assert_ptr_nonnull(dr_cur_bytes(&cur, 0));
	ck_assert(!cur.bad);
	ck_assert_uint_eq(dr_cur_u8(&cur), 0);
	ck_assert(cur.bad);
}
END_TEST

static bool varint_is_bad(const char *bytes, size_t len)
{
	struct dr_cur cur = dr_cur_of(bytes, len);
	ck_assert_uint_eq(dr_cur_varint(&cur), 0);
	return cur.bad;
}

START_TEST(cursor__refuses_a_varint_that_is_torn_or_too_long)
{
	ck_assert(varint_is_bad("", 0));
	ck_assert(varint_is_bad("\x80", 1));
	ck_assert(varint_is_bad("\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9));
	ck_assert(varint_is_bad("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10));
	ck_assert(varint_is_bad("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11));
	ck_assert(!varint_is_bad("\x00", 1));
}
END_TEST

START_TEST(cursor__refuses_a_blob_longer_than_what_is_left)
{
	struct dr_cur cur = dr_cur_of("\x05"
				      "abcd",
		5);
	size_t len = 99;
	ck_assert_ptr_null(dr_cur_blob(&cur, &len));
	ck_assert_uint_eq(len, 0);
	ck_assert(cur.bad);
}
END_TEST

START_TEST(xalloc__copies_and_zeroes)
{
	uint32_t *zero = dr_xcalloc(4, sizeof(*zero));
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(zero[i], 0);
	}
	free(zero);
	char *s = dr_xstrdup("text");
	ck_assert_str_eq(s, "text");
	s = dr_xrealloc(s, 100);
	ck_assert_str_eq(s, "text");
	free(s);
	char *f = dr_xasprintf("%s-%d", "a", 3);
	ck_assert_str_eq(f, "a-3");
	free(f);
	void *nothing = dr_xmemdup(NULL, 0);
	ck_assert_ptr_nonnull(nothing);
	free(nothing);
}
END_TEST

DR_UNIT_MAIN("buf", buf__writes_little_endian, buf__reads_back_what_it_wrote, buf__varint_is_leb128,
	buf__grows_past_any_step, buf__printf_appends, cursor__stays_bad_after_a_read_past_the_end,
	cursor__lends_exactly_what_is_there, cursor__reads_nothing_from_nothing,
	cursor__refuses_a_varint_that_is_torn_or_too_long,
	cursor__refuses_a_blob_longer_than_what_is_left, xalloc__copies_and_zeroes)
