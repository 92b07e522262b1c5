/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/action.h"

#include <xxhash.h>

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

struct dr_span dr_action_strip(const char *line, size_t len)
{
	while (len && is_blank(line[len - 1])) {
		len--;
	}
	while (len && is_blank(*line)) {
		line++;
		len--;
	}
	return (struct dr_span){ .p = line, .len = len };
}

uint64_t dr_action_hash(const char *line, size_t len)
{
	return XXH3_64bits(line, len);
}

/* How many bytes the character takes that begins at p; 0: none does. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (n == 0 || n > left || p[0] == 0 || p[0] > 0xf4) {
		return 0;
	}
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 0;
		}
	}
	/* No longer form than need be, no surrogate, nothing past U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) {
		return 0;
	}
	return n;
}

bool dr_utf8_is_valid(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes;
	const unsigned char *end = p + len;

	while (p < end) {
		uint64_t eight = 0;

		/* Eight ASCII characters at once: the high bits are clear, and no byte is 0. */
		if (end - p >= 8) {
			memcpy(&eight, p, sizeof(eight));
			if (((eight | (eight - 0x0101010101010101u)) & 0x8080808080808080u) == 0) {
				p += 8;
				continue;
			}
		}
		size_t n = utf8_length(p, (size_t)(end - p));

		if (n == 0) {
			return false;
		}
		p += n;
	}
	return true;
}

/* A word name=value, or name=[value], of a line or of the inside of a bracket. */
struct word {
	struct dr_span name, value; /* the value without its bracket */
	bool is_bracket;
};

/*
 * The next word at *p, which moves behind it.
 * @return 1 a word; 0 there is no more; -EBADMSG a bracket that is not closed
 */
static int next_word(const char **p, const char *end, struct word *ret)
{
	const char *equals = memchr(*p, '=', (size_t)(end - *p));

	while (equals) {
		const char *name = equals;

		while (name > *p && is_word(name[-1])) {
			name--;
		}
		const char *value = equals + 1;
		const char *stop = value;
		bool is_bracket = value < end && *value == '[';

		if (is_bracket) {
			value++;
			stop = memchr(value, ']', (size_t)(end - value));
			if (!stop) {
				return -EBADMSG;
			}
			*p = stop + 1;
		} else {
			while (stop < end && !is_blank(*stop)) {
				stop++;
			}
			*p = stop;
		}
		if (name < equals && (stop > value || is_bracket)) {
			*ret = (struct word){
				.name = { name, (size_t)(equals - name) },
				.value = { value, (size_t)(stop - value) },
				.is_bracket = is_bracket,
			};
			return 1;
		}
		equals = memchr(*p, '=', (size_t)(end - *p));
	}
	return 0;
}

static bool parse_number(const char **p, const char *end, uint64_t *ret)
{
	const char *s = *p;
	uint64_t v = 0;

	for (; s < end && *s >= '0' && *s <= '9'; s++) {
		uint64_t digit = (uint64_t)(*s - '0');

		if (v > ((uint64_t)INT64_MAX - digit) / 10) {
			return false;
		}
		v = v * 10 + digit;
	}
	if (s == *p) {
		return false;
	}
	*p = s;
	*ret = v;
	return true;
}

/* "517/42068" */
static bool parse_idx(struct dr_span value, struct dr_action *action)
{
	const char *p = value.p;
	const char *end = p + value.len;
	uint64_t cat = 0;
	uint64_t rec = 0;

	if (!parse_number(&p, end, &cat) || p == end || *p++ != '/' ||
		!parse_number(&p, end, &rec) || p != end) {
		return false;
	}
	action->cat = cat;
	action->rec = rec;
	return true;
}

/* lrh=[type=10680000 len=136 idx=1/2] */
static bool find_idx_inside(struct dr_span bracket, struct dr_action *action)
{
	const char *p = bracket.p;
	const char *end = p + bracket.len;
	struct word word;

	while (next_word(&p, end, &word) > 0) {
		if (dr_span_is(word.name, "idx")) {
			return parse_idx(word.value, action);
		}
	}
	return false;
}

/* "0x0/0x6b02b268" of compound/cookie, whose second half it is; a bare one stands alone. */
static struct dr_span cookie_of(struct dr_span value)
{
	const char *slash = memrchr(value.p, '/', value.len);

	if (slash) {
		value.len -= (size_t)(slash + 1 - value.p);
		value.p = slash + 1;
	}
	return value;
}

/* The first of its name counts. */
static void take_word(const struct word *word, struct dr_action *action)
{
	static const struct {
		const char *name;
		size_t offset;
	} fields[] = {
		{ "fid", offsetof(struct dr_action, fid) },
		{ "dfid", offsetof(struct dr_action, dfid) },
		{ "cookie", offsetof(struct dr_action, cookie) },
		{ "action", offsetof(struct dr_action, action) },
		{ "status", offsetof(struct dr_action, status) },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (dr_span_is(word->name, fields[i].name)) {
			struct dr_span *field =
				(struct dr_span *)(void *)((char *)action + fields[i].offset);

			if (!field->p && word->value.len) {
				*field = word->value;
			}
			return;
		}
	}
}

int dr_action_parse(const char *line, size_t len, struct dr_action *ret_action)
{
	struct dr_action action = { 0 };
	const char *p = line;
	const char *end = line + len;
	bool has_idx = false;
	struct word word;
	int r = 0;

	if (len > DR_ACTION_MAX_LINE) {
		return -EMSGSIZE;
	}
	if (!dr_utf8_is_valid(line, len)) {
		return -EILSEQ;
	}
	while ((r = next_word(&p, end, &word)) > 0) {
		if (dr_span_is(word.name, "idx")) {
			has_idx = has_idx || parse_idx(word.value, &action);
		} else if (dr_span_is(word.name, "lrh") && word.is_bracket) {
			has_idx = has_idx || find_idx_inside(word.value, &action);
		} else {
			take_word(&word, &action);
		}
	}
	if (r < 0) {
		return r;
	}
	if (!has_idx) {
		return -ENOMSG;
	}
	if (!action.fid.p) {
		return -ENODATA;
	}
	if (action.cookie.p) {
		action.cookie = cookie_of(action.cookie);
	}
	*ret_action = action;
	return 0;
}

bool dr_action_is_whole(const char *line, size_t len, const struct dr_action *action)
{
	static const char *const states[] = { "WAITING", "STARTED", "SUCCEED", "FAILED",
		"CANCELED" };

	if (len && line[len - 1] == ']') {
		return true;
	}
	if (!action->status.p || action->status.p + action->status.len != line + len) {
		return false;
	}
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (dr_span_is(action->status, states[i])) {
			return true;
		}
	}
	return false;
}
