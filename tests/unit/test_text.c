/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"

#include "unit.h"

static void check_escape(const char *bytes, size_t len, const char *expected)
{
	struct dr_buf text = { 0 }, back = { 0 };
	dr_text_escape(&text, bytes, len);
	dr_unit_text(&text, expected);
	ck_assert_int_eq(dr_text_unescape(&back, (const char *)text.data, text.len), 0);
	ck_assert_uint_eq(back.len, len);
	if (len) {
		ck_assert_mem_eq(back.data, bytes, len);
	}
	dr_buf_fini(&text);
	dr_buf_fini(&back);
}
#define CHECK_ESCAPE(literal, expected) check_escape(literal, sizeof(literal) - 1, expected)

START_TEST(escape__keeps_what_can_be_printed)
{
	CHECK_ESCAPE("", "");
	CHECK_ESCAPE("plain name ~!\"'", "plain name ~!\"'");
	CHECK_ESCAPE(
		"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x84", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x84");
	CHECK_ESCAPE("\xf4\x8f\xbf\xbf\xc2\xa0", "\xf4\x8f\xbf\xbf\xc2\xa0");
}
END_TEST

START_TEST(escape__spells_out_the_rest)
{
	CHECK_ESCAPE("a\\b", "a\\\\b");
	CHECK_ESCAPE("\n\t\r", "\\n\\t\\r");
	CHECK_ESCAPE("\xff\n", "\\xff\\n");
	CHECK_ESCAPE("\0\x1b[31m\x7f", "\\x00\\x1b[31m\\x7f");
}
END_TEST

START_TEST(escape__spells_out_what_is_no_utf8)
{
	CHECK_ESCAPE("\xc3", "\\xc3");                            /* cut off */
	CHECK_ESCAPE("\xe2\x82", "\\xe2\\x82");                   /* cut off */
	CHECK_ESCAPE("\xe2\x82z", "\\xe2\\x82z");                 /* cut off by another character */
	CHECK_ESCAPE("\xc0\xaf", "\\xc0\\xaf");                   /* overlong */
	CHECK_ESCAPE("\xe0\x80\xaf", "\\xe0\\x80\\xaf");          /* overlong */
	CHECK_ESCAPE("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* a surrogate */
	CHECK_ESCAPE("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* past U+10FFFF */
	CHECK_ESCAPE("\xc2\x9b", "\\xc2\\x9b"); /* a control character of 8 bits */
	CHECK_ESCAPE("\x80", "\\x80");
}
END_TEST

START_TEST(escape__can_be_undone_for_any_bytes)
{
	uint64_t state = 20261122;
	for (int i = 0; i < 20000; i++) {
		uint8_t bytes[40];
		size_t len = dr_unit_random(&state) % sizeof(bytes);
		for (size_t j = 0; j < len; j++) {
			/* Half of them from the range where UTF-8 is built. */
			uint64_t word = dr_unit_random(&state);
			bytes[j] = (uint8_t)(word & 0x100 ? word | 0x80 : word);
		}
		struct dr_buf text = { 0 }, back = { 0 };
		dr_text_escape(&text, bytes, len);
		for (size_t j = 0; j < text.len; j++) {
			ck_assert(text.data[j] >= 0x20 && text.data[j] != 0x7f);
		}
		ck_assert_int_eq(dr_text_unescape(&back, (const char *)text.data, text.len), 0);
		ck_assert_uint_eq(back.len, len);
		ck_assert(len == 0 || memcmp(back.data, bytes, len) == 0);
		dr_buf_fini(&text);
		dr_buf_fini(&back);
	}
}
END_TEST

START_TEST(unescape__refuses_other_backslashes)
{
	static const char *const bad[] = { "\\", "a\\", "\\a", "\\x", "\\x1", "\\xg0", "\\x0g",
		"\\0" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dr_buf out = { 0 };
		dr_buf_put_str(&out, "kept");
		ck_assert_int_eq(dr_text_unescape(&out, bad[i], strlen(bad[i])), -EINVAL);
		dr_unit_text(&out, "kept");
		dr_buf_fini(&out);
	}
	struct dr_buf out = { 0 };
	ck_assert_int_eq(dr_text_unescape(&out, "\\xfF\\\\x41", 9), 0);
	dr_unit_text(&out, "\xff\\x41");
	dr_buf_fini(&out);
}
END_TEST

static void check_bytes(uint64_t bytes, const char *expected)
{
	char buf[16];
	ck_assert_str_eq(dr_text_bytes(buf, sizeof(buf), bytes), expected);
}

START_TEST(bytes__are_written_in_powers_of_1024)
{
	check_bytes(0, "0 B");
	check_bytes(512, "512 B");
	check_bytes(1023, "1023 B");
	check_bytes(1024, "1.0 KiB");
	check_bytes(1536, "1.5 KiB");
	check_bytes(1280, "1.25 KiB");
	check_bytes((1u << 20) - 1, "1.0 MiB");
	check_bytes(UINT64_C(91534343766016), "83.25 TiB");
	check_bytes(UINT64_MAX, "16.0 EiB");
}
END_TEST

START_TEST(count__has_commas)
{
	static const struct {
		uint64_t n;
		const char *text;
	} cases[] = { { 0, "0" }, { 999, "999" }, { 1000, "1,000" }, { 1250000, "1,250,000" },
		{ 123456, "123,456" }, { UINT64_MAX, "18,446,744,073,709,551,615" } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char buf[32];
		ck_assert_str_eq(dr_text_count(buf, sizeof(buf), cases[i].n), cases[i].text);
	}
}
END_TEST

START_TEST(duration__grows_units_as_needed)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} cases[] = { { 0, "0:00" }, { 7, "0:07" }, { 65, "1:05" }, { 3599, "59:59" },
		{ 3600, "1:00:00" }, { 16330, "4:32:10" }, { 86399, "23:59:59" },
		{ 86400, "1d 0:00:00" }, { 2 * 86400 + 3 * 3600 + 4 * 60 + 5, "2d 3:04:05" },
		{ UINT64_MAX, "213503982334601d 7:00:15" } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char buf[32];
		ck_assert_str_eq(
			dr_text_duration(buf, sizeof(buf), cases[i].seconds), cases[i].text);
	}
}
END_TEST

START_TEST(parse_size__knows_units_and_fractions)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = { { "0", 0 }, { "4096", 4096 }, { "64K", 65536 }, { "64k", 65536 },
		{ "64KB", 65536 }, { "1.5G", UINT64_C(1610612736) }, { "16MiB", 16777216 },
		{ "2T", UINT64_C(1) << 41 }, { "2 TiB", UINT64_C(1) << 41 }, { "512 B", 512 },
		{ "8E", UINT64_C(1) << 63 }, { "0.5K", 512 },
		{ "1.0000000000000000000000001K", 1024 },
		{ "0.999999999999999999E", (UINT64_C(1) << 60) - 2 },
		{ "9223372036854775808", UINT64_C(1) << 63 } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 99;
		ck_assert_msg(dr_text_parse_size(cases[i].text, &bytes) == 0, "%s", cases[i].text);
		ck_assert_uint_eq(bytes, cases[i].bytes);
	}
}
END_TEST

START_TEST(parse_size__refuses_the_rest)
{
	static const struct {
		const char *text;
		int error;
	} cases[] = { { "", -EINVAL }, { "K", -EINVAL }, { "-1", -EINVAL }, { "+1", -EINVAL },
		{ " 1", -EINVAL }, { "1 ", 0 }, { "1KK", -EINVAL }, { "1Ki", -EINVAL },
		{ "1X", -EINVAL }, { "1.5", -EINVAL }, { "1.5B", -EINVAL }, { "1.K", -EINVAL },
		{ ".5K", -EINVAL }, { "1.5.5K", -EINVAL }, { "0x10", -EINVAL }, { "1iB", -EINVAL },
		{ "8.1E", -ERANGE }, { "9E", -ERANGE }, { "16384P", -ERANGE },
		{ "9223372036854775809", -ERANGE }, { "99999999999999999999", -ERANGE },
		{ "99999999999999999999x", -EINVAL } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 99;
		int r = dr_text_parse_size(cases[i].text, &bytes);
		ck_assert_msg(r == cases[i].error, "'%s' gives %d", cases[i].text, r);
		ck_assert_uint_eq(bytes, r < 0 ? 99 : 1);
	}
}
END_TEST

START_TEST(parse_u64__keeps_to_the_bounds)
{
	uint64_t n = 99;
	ck_assert_int_eq(dr_text_parse_u64("18446744073709551615", 0, UINT64_MAX, &n), 0);
	ck_assert_uint_eq(n, UINT64_MAX);
	ck_assert_int_eq(dr_text_parse_u64("5", 5, 5, &n), 0);
	ck_assert_uint_eq(n, 5);
	ck_assert_int_eq(dr_text_parse_u64("4", 5, 6, &n), -ERANGE);
	ck_assert_int_eq(dr_text_parse_u64("7", 5, 6, &n), -ERANGE);
	ck_assert_int_eq(dr_text_parse_u64("18446744073709551616", 0, UINT64_MAX, &n), -ERANGE);
	static const char *const bad[] = { "", " 1", "1 ", "-1", "+1", "1.0", "0x1", "1e3" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(dr_text_parse_u64(bad[i], 0, UINT64_MAX, &n), -EINVAL);
	}
	ck_assert_uint_eq(n, 5);
}
END_TEST

START_TEST(parse_seconds__knows_units)
{
	static const struct {
		const char *text;
		uint64_t seconds;
	} cases[] = { { "0", 0 }, { "90", 90 }, { "90s", 90 }, { "5m", 300 }, { "2h", 7200 },
		{ "1d", 86400 } };
	uint64_t seconds = 99;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(dr_text_parse_seconds(cases[i].text, &seconds), 0);
		ck_assert_uint_eq(seconds, cases[i].seconds);
	}
	static const char *const bad[] = { "", "s", "1x", "1ms", "1.5h", "-1s", "1 s", "1w" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(dr_text_parse_seconds(bad[i], &seconds), -EINVAL);
	}
	ck_assert_int_eq(dr_text_parse_seconds("18446744073709551615d", &seconds), -ERANGE);
	ck_assert_int_eq(dr_text_parse_seconds("99999999999999999999", &seconds), -ERANGE);
	ck_assert_uint_eq(seconds, 86400);
}
END_TEST

#define MAX_HOSTS 16
static void check_fold(const char *names, const char *expected)
{
	char *copy = dr_xstrdup(names);
	const char *hosts[MAX_HOSTS];
	size_t n = 0;
	char *state = NULL;
	for (char *name = strtok_r(copy, " ", &state); name; name = strtok_r(NULL, " ", &state)) {
		ck_assert_uint_lt(n, MAX_HOSTS);
		hosts[n++] = name;
	}
	struct dr_buf out = { 0 };
	dr_text_fold_hosts(&out, hosts, n);
	dr_unit_text(&out, expected);
	dr_buf_fini(&out);
	free(copy);
}

START_TEST(fold__makes_ranges)
{
	check_fold("", "");
	check_fold("login1", "login1");
	check_fold("node-03 login1 node-01 node-02", "login1,node-[01-03]");
	check_fold("n1 n2 n3 n5 n7 n8", "n[1-3,5,7-8]");
	check_fold("n9 n10 n11", "n[9-11]");
	check_fold("n09 n10 n11", "n[09-11]");
	check_fold("n099 n100", "n[099-100]");
	check_fold("n2 n1 n2 n1", "n[1-2]");
}
END_TEST

START_TEST(fold__keeps_different_names_apart)
{
	check_fold("alpha beta alpha", "alpha,beta");
	check_fold("node1-ib node2-ib node1 node2", "node[1-2],node[1-2]-ib");
	check_fold("n1 n02", "n[1,02]");
	check_fold("rack1-n1 rack2-n1", "rack1-n1,rack2-n1");
	check_fold("n123456789012345678901 n123456789012345678902",
		"n123456789012345678901,n123456789012345678902");
	check_fold("1 2 3", "[1-3]");
}
END_TEST

/* The words, each followed by a bar. */
static void check_split(const char *line, const char *expected)
{
	char **words dr_cleanup(dr_freep) = NULL;
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	int n = dr_text_split_words(line, &words);

	ck_assert_int_ge(n, 0);
	ck_assert_ptr_null(words[n]);
	for (int i = 0; i < n; i++) {
		dr_buf_printf(&text, "%s|", words[i]);
	}
	dr_unit_text(&text, expected);
}

START_TEST(split_words__does_as_a_shell_does)
{
	check_split("", "");
	check_split(" \t ", "");
	check_split("lfs migrate -n", "lfs|migrate|-n|");
	check_split("  a\tb  ", "a|b|");
	check_split("a b c d e f g", "a|b|c|d|e|f|g|");
	check_split("'a b' \"c d\" e\\ f", "a b|c d|e f|");
	check_split("''", "|");
	check_split("'' \"\" x", "||x|");
	check_split("-\"\"'D'", "-D|");
	check_split("'a\\b' \"a\\b\" a\\b", "a\\b|a\\b|ab|");
	check_split("\"\\\"\\$\\`\\\\\"", "\"$`\\|");
	check_split("'$x `y` | ;' \\$x \\;", "$x `y` | ;|$x|;|");
	check_split("\"a;b|c\"", "a;b|c|");
	check_split("\xff'\xfe'", "\xff\xfe|");
}
END_TEST

START_TEST(split_words__refuses_what_it_cannot_do)
{
	char **words = NULL;
	static const char *const torn[] = { "'a", "a 'b c", "\"a", "a\\", "\"a\\", "\"a\\\"" };
	static const char *const shell[] = { "a | b", "a;b", "a 2>&1", "a $x", "a \"$x\"", "`a`",
		"a &", "(a)", "a <b" };

	for (size_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++) {
		ck_assert_int_eq(dr_text_split_words(torn[i], &words), -EINVAL);
	}
	for (size_t i = 0; i < sizeof(shell) / sizeof(shell[0]); i++) {
		ck_assert_int_eq(dr_text_split_words(shell[i], &words), -EOPNOTSUPP);
	}
	ck_assert_ptr_null(words);
}
END_TEST

DR_UNIT_MAIN("text", escape__keeps_what_can_be_printed, escape__spells_out_the_rest,
	escape__spells_out_what_is_no_utf8, escape__can_be_undone_for_any_bytes,
	unescape__refuses_other_backslashes, bytes__are_written_in_powers_of_1024,
	count__has_commas, duration__grows_units_as_needed, parse_size__knows_units_and_fractions,
	parse_size__refuses_the_rest, parse_u64__keeps_to_the_bounds, parse_seconds__knows_units,
	fold__makes_ranges, fold__keeps_different_names_apart, split_words__does_as_a_shell_does,
	split_words__refuses_what_it_cannot_do)
