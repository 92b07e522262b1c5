/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"

#include <stdio.h>

/*
 * The length of the UTF-8 sequence at p that may stay as it is, or 0: not UTF-8 (overlong,
 * a surrogate, past U+10FFFF, cut off), or one of the control characters U+0080 to U+009F.
 */
static size_t utf8_len(const uint8_t *p, size_t left)
{
	size_t len;
	uint32_t c, least;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
		c = p[0] & 0x1f;
		least = 0xa0;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		len = 3;
		c = p[0] & 0x0f;
		least = 0x800;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		c = p[0] & 0x07;
		least = 0x10000;
	} else {
		return 0;
	}
	if (left < len) {
		return 0;
	}
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 0;
		}
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
		return 0;
	}
	return len;
}

void dr_text_escape(struct dr_buf *out, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	for (size_t i = 0; i < len;) {
		size_t keep =
			p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\' ? 1 : utf8_len(p + i, len - i);
		if (keep) {
			dr_buf_put(out, p + i, keep);
			i += keep;
			continue;
		}
		switch (p[i]) {
		case '\\':
			dr_buf_put(out, "\\\\", 2);
			break;
		case '\n':
			dr_buf_put(out, "\\n", 2);
			break;
		case '\t':
			dr_buf_put(out, "\\t", 2);
			break;
		case '\r':
			dr_buf_put(out, "\\r", 2);
			break;
		default:
			dr_buf_printf(out, "\\x%02x", p[i]);
		}
		i++;
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What follows a backslash. @return how many characters that was; -EINVAL */
static int unescape_one(const char *s, size_t left, uint8_t *ret_byte)
{
	int high, low;
	switch (left ? s[0] : 0) {
	case '\\':
		*ret_byte = '\\';
		return 1;
	case 'n':
		*ret_byte = '\n';
		return 1;
	case 't':
		*ret_byte = '\t';
		return 1;
	case 'r':
		*ret_byte = '\r';
		return 1;
	case 'x':
		high = left >= 3 ? hex_digit(s[1]) : -1;
		low = left >= 3 ? hex_digit(s[2]) : -1;
		if (high < 0 || low < 0) {
			return -EINVAL;
		}
		*ret_byte = (uint8_t)(high * 16 + low);
		return 3;
	default:
		return -EINVAL;
	}
}

int dr_text_unescape(struct dr_buf *out, const char *s, size_t len)
{
	size_t before = out->len;
	for (size_t i = 0; i < len;) {
		const char *backslash = memchr(s + i, '\\', len - i);
		size_t plain = backslash ? (size_t)(backslash - (s + i)) : len - i;
		dr_buf_put(out, s + i, plain);
		i += plain;
		if (i == len) {
			break;
		}
		uint8_t byte;
		int n = unescape_one(s + i + 1, len - i - 1, &byte);
		if (n < 0) {
			out->len = before;
			return n;
		}
		dr_buf_put_u8(out, byte);
		i += 1 + (size_t)n;
	}
	return 0;
}

const char *dr_text_bytes(char *buf, size_t size, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	if (bytes < 1024) {
		(void)snprintf(buf, size, "%u B", (unsigned)bytes);
		return buf;
	}
	double value = (double)bytes;
	size_t unit = 0;
	/* What would be printed as 1024 of a unit is 1 of the next. */
	while (value >= 1023.995 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	char number[32];
	int len = snprintf(number, sizeof(number), "%.2f", value);
	if (len > 0 && number[len - 1] == '0') {
		number[len - 1] = 0; /* 1.0 and 1.5, but 1.25 */
	}
	(void)snprintf(buf, size, "%s %s", number, units[unit]);
	return buf;
}

const char *dr_text_count(char *buf, size_t size, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	size_t at = 0;
	for (int i = 0; i < len && at + 2 < size; i++) {
		if (i > 0 && (len - i) % 3 == 0) {
			buf[at++] = ',';
		}
		buf[at++] = digits[i];
	}
	buf[at] = 0;
	return buf;
}

const char *dr_text_duration(char *buf, size_t size, uint64_t seconds)
{
	unsigned long long days = seconds / 86400;
	unsigned h = (unsigned)(seconds / 3600 % 24);
	unsigned m = (unsigned)(seconds / 60 % 60);
	unsigned s = (unsigned)(seconds % 60);
	if (days) {
		(void)snprintf(buf, size, "%llud %u:%02u:%02u", days, h, m, s);
	} else if (h) {
		(void)snprintf(buf, size, "%u:%02u:%02u", h, m, s);
	} else {
		(void)snprintf(buf, size, "%u:%02u", m, s);
	}
	return buf;
}

/* Digits from *s on. @error EINVAL none; ERANGE past 64 bits, and *s is past them all the same */
static int parse_digits(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t n = 0;
	bool overflow = false;
	if (*p < '0' || *p > '9') {
		return -EINVAL;
	}
	for (; *p >= '0' && *p <= '9'; p++) {
		overflow |= __builtin_mul_overflow(n, (uint64_t)10, &n);
		overflow |= __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n);
	}
	*s = p;
	if (overflow) {
		return -ERANGE;
	}
	*ret = n;
	return 0;
}

int dr_text_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;
	int r = parse_digits(&s, &n);
	if (r == -EINVAL || *s) {
		return -EINVAL;
	}
	if (r < 0 || n < min || n > max) {
		return -ERANGE;
	}
	*ret = n;
	return 0;
}

int dr_text_parse_seconds(const char *s, uint64_t *ret_seconds)
{
	uint64_t n = 0, unit;
	int r = parse_digits(&s, &n);
	if (r == -EINVAL) {
		return r;
	}
	switch (*s) {
	case 0:
	case 's':
		unit = 1;
		break;
	case 'm':
		unit = 60;
		break;
	case 'h':
		unit = 3600;
		break;
	case 'd':
		unit = 86400;
		break;
	default:
		return -EINVAL;
	}
	if (*s && s[1]) {
		return -EINVAL;
	}
	if (r < 0 || __builtin_mul_overflow(n, unit, &n)) {
		return -ERANGE;
	}
	*ret_seconds = n;
	return 0;
}

/* "", "K", "KB", "KiB", "B" in any case, to the power of 1024. */
static int parse_unit(const char *s, unsigned *ret_shift)
{
	static const char letters[] = "KMGTPE";
	unsigned shift = 0;
	char upper = (char)(*s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);
	const char *letter = upper ? strchr(letters, upper) : NULL;
	if (letter) {
		shift = 10 * (unsigned)(letter - letters + 1);
		s++;
		if (*s == 'i' && (s[1] == 'B' || s[1] == 'b')) {
			s++;
		}
	}
	if (*s == 'B' || *s == 'b') {
		s++;
	}
	if (*s) {
		return -EINVAL;
	}
	*ret_shift = shift;
	return 0;
}

int dr_text_parse_size(const char *s, uint64_t *ret_bytes)
{
	const uint64_t most = UINT64_C(1) << 63;
	uint64_t whole = 0, part = 0, scale = 1; /* whole + part / scale */
	int r = parse_digits(&s, &whole);
	if (r == -EINVAL) {
		return r;
	}
	bool fraction = *s == '.';
	if (fraction) {
		const char *p = ++s;
		for (; *p >= '0' && *p <= '9'; p++) {
			if (scale <
				UINT64_C(
					1000000000000000000)) { /* finer than a byte of an exbibyte */
				scale *= 10;
				part = part * 10 + (uint64_t)(*p - '0');
			}
		}
		if (p == s) {
			return -EINVAL;
		}
		s = p;
	}
	while (*s == ' ') {
		s++;
	}
	unsigned shift;
	if (parse_unit(s, &shift) < 0 || (fraction && shift == 0)) {
		return -EINVAL;
	}
	if (r < 0 || whole > most >> shift) {
		return -ERANGE;
	}
	uint64_t bytes = (whole << shift) + (uint64_t)(((unsigned __int128)part << shift) / scale);
	if (bytes > most) {
		return -ERANGE;
	}
	*ret_bytes = bytes;
	return 0;
}

/* A host name taken apart at its last number: "node-" 01 "". */
struct host {
	const char *name;
	size_t head;  /* bytes before the number */
	size_t width; /* digits; 0: no number */
	uint64_t number;
	const char *tail; /* what follows the number */
};

static struct host host_of(const char *name)
{
	size_t end = strlen(name);
	while (end && (name[end - 1] < '0' || name[end - 1] > '9')) {
		end--;
	}
	size_t start = end;
	while (start && name[start - 1] >= '0' && name[start - 1] <= '9') {
		start--;
	}
	struct host host = { .name = name, .head = strlen(name), .tail = "" };
	if (end > start && end - start <= 18) { /* so many digits fit 64 bits */
		host.head = start;
		host.width = end - start;
		host.tail = name + end;
		for (size_t i = start; i < end; i++) {
			host.number = host.number * 10 + (uint64_t)(name[i] - '0');
		}
	}
	return host;
}

/* Negative, 0 or positive: by what stands before the number, then after it. */
static int compare_family(const struct host *a, const struct host *b)
{
	int r = memcmp(a->name, b->name, a->head < b->head ? a->head : b->head);
	if (r == 0) {
		r = (a->head > b->head) - (a->head < b->head);
	}
	if (r == 0) {
		r = (a->width > 0) - (b->width > 0);
	}
	return r ? r : strcmp(a->tail, b->tail);
}

static int compare_hosts(const void *left, const void *right)
{
	struct host a = host_of(*(const char *const *)left);
	struct host b = host_of(*(const char *const *)right);
	int r = compare_family(&a, &b);
	if (r == 0) {
		r = (a.number > b.number) - (a.number < b.number);
	}
	return r ? r : (a.width > b.width) - (a.width < b.width);
}

/* Whether b is the name after a in a range written with a's width: 09, 10 and 99, 100. */
static bool follows(const struct host *a, const struct host *b)
{
	char next[24];
	int width = snprintf(
		next, sizeof(next), "%0*llu", (int)a->width, (unsigned long long)a->number + 1);
	return a->width && b->width && compare_family(a, b) == 0 && b->number == a->number + 1 &&
	       (size_t)width == b->width;
}

void dr_text_fold_hosts(struct dr_buf *out, const char **hosts, size_t n)
{
	if (n == 0) {
		return;
	}
	qsort(hosts, n, sizeof(*hosts), compare_hosts);
	size_t kept = 1;
	for (size_t i = 1; i < n; i++) {
		if (strcmp(hosts[i], hosts[kept - 1]) != 0) {
			hosts[kept++] = hosts[i];
		}
	}
	for (size_t i = 0; i < kept;) {
		struct host first = host_of(hosts[i]);
		size_t end = i + 1; /* past the last of the family */
		while (end < kept) {
			struct host next = host_of(hosts[end]);
			if (!first.width || compare_family(&first, &next) != 0) {
				break;
			}
			end++;
		}
		dr_buf_printf(out, "%s%.*s%s", i ? "," : "", (int)first.head, first.name,
			end - i > 1 ? "[" : "");
		for (size_t from = i; from < end;) {
			struct host low = host_of(hosts[from]), high = low;
			size_t to = from + 1;
			for (; to < end; to++) {
				struct host next = host_of(hosts[to]);
				if (!follows(&high, &next)) {
					break;
				}
				high = next;
			}
			dr_buf_printf(out, "%s%.*s", from > i ? "," : "", (int)low.width,
				low.name + low.head);
			if (to > from + 1) {
				dr_buf_printf(out, "-%.*s", (int)high.width, high.name + high.head);
			}
			from = to;
		}
		dr_buf_printf(out, "%s%s", end - i > 1 ? "]" : "", first.tail);
		i = end;
	}
}

/* Takes one byte, or two of which the first is a backslash, to *out. @return bytes taken; 0: the text ends too early */
static size_t take_byte(const char *p, char quote, char **out)
{
	bool escapes =
		*p == '\\' && (quote == 0 || (quote == '"' && p[1] && strchr("$`\"\\", p[1])));

	if (escapes && !p[1]) {
		return 0;
	}
	*(*out)++ = p[escapes];
	return escapes ? 2 : 1;
}

/* One word, which begins at *p, to *out with a NUL. */
static int split_word(const char **p, char **out)
{
	char quote = 0;

	while (**p && (quote || !strchr(" \t\r\n", **p))) {
		char here = **p;

		if (!quote && (here == '\'' || here == '"')) {
			quote = here;
			++*p;
			continue;
		}
		if (here == quote) {
			quote = 0;
			++*p;
			continue;
		}
		if ((!quote && strchr("|&;<>()", here)) || (quote != '\'' && strchr("$`", here))) {
			return -EOPNOTSUPP;
		}
		size_t taken = take_byte(*p, quote, out);

		if (taken == 0) {
			return -EINVAL;
		}
		*p += taken;
	}
	*(*out)++ = '\0';
	return quote ? -EINVAL : 0;
}

int dr_text_split_words(const char *s, char ***ret_words)
{
	/* A word takes a byte and a blank; its bytes and their NUL are no more than what it was made of, but for the last. */
	size_t room = strlen(s) / 2 + 2;
	char **words = dr_xcalloc(1, room * sizeof(*words) + strlen(s) + 1);
	char *out = (char *)(words + room);
	int n = 0;

	for (;;) {
		s += strspn(s, " \t\r\n");
		if (!*s) {
			break;
		}
		words[n++] = out;
		int r = split_word(&s, &out);

		if (r < 0) {
			free(words);
			return r;
		}
	}
	*ret_words = words;
	return n;
}
