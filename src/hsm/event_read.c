/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/action.h"
#include "hsm/event.h"
#include "hsm/json_scan.h"

/*
 * Reading events. A parser for every kind of JSON costs ten times as much as the events' other work, so this one knows what it
 * looks for: it checks all of the text, keeps the dozen values it has names for, and copies nothing but strings with escapes.
 */

/* What a key's value must be. */
enum kind { KIND_TEXT, KIND_INDEX, KIND_SECONDS, KIND_TYPE };

static const struct field {
	const char *name;
	size_t name_len;
	enum kind kind;
	size_t offset;
} fields[] = {
#define FIELD(name, kind, member)                                                                  \
	{                                                                                          \
		name, sizeof(name) - 1, kind, offsetof(struct dr_event, member)                    \
	}
	FIELD("cat_idx", KIND_INDEX, cat),
	FIELD("rec_idx", KIND_INDEX, rec),
	FIELD("fid", KIND_TEXT, fid),
	FIELD("action", KIND_TEXT, action),
	FIELD("status", KIND_TEXT, status),
	FIELD("event_type", KIND_TYPE, type),
	FIELD("mdt", KIND_TEXT, mdt),
	FIELD("timestamp", KIND_SECONDS, timestamp),
	FIELD("raw", KIND_TEXT, raw),
	FIELD("action_key", KIND_TEXT, action_key),
	FIELD("cookie", KIND_TEXT, cookie),
	FIELD("first_seen", KIND_SECONDS, first_seen),
	FIELD("hash", KIND_TEXT, hash),
	FIELD("source", KIND_TEXT, source),
#undef FIELD
};
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

static const char *const type_names[] = { "", "NEW", "UPDATE", "PURGED" };

struct parser {
	const char *p, *end;
	struct dr_buf
		*scratch; /* its bytes do not move: it was made large enough for all of the text */
	unsigned depth;
};

static void skip_blanks(struct parser *parser)
{
	while (parser->p < parser->end && (*parser->p == ' ' || *parser->p == '\t' ||
						  *parser->p == '\n' || *parser->p == '\r')) {
		parser->p++;
	}
}

/* Whether that character is next, behind blanks; it is taken then. */
static inline bool take(struct parser *parser, char c)
{
	if (parser->p < parser->end && *parser->p == c) {
		parser->p++;
		return true;
	}
	skip_blanks(parser);
	if (parser->p < parser->end && *parser->p == c) {
		parser->p++;
		return true;
	}
	return false;
}

static bool take_word(struct parser *parser, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(parser->end - parser->p) < len || memcmp(parser->p, word, len) != 0) {
		return false;
	}
	parser->p += len;
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* The four digits behind \u. */
static int parse_hex4(struct parser *parser, unsigned *ret)
{
	unsigned v = 0;

	if (parser->end - parser->p < 4) {
		return -EBADMSG;
	}
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(*parser->p++);

		if (digit < 0) {
			return -EBADMSG;
		}
		v = v << 4 | (unsigned)digit;
	}
	*ret = v;
	return 0;
}

static void put_utf8(struct dr_buf *out, unsigned c)
{
	if (c < 0x80) {
		dr_buf_put_u8(out, (uint8_t)c);
	} else if (c < 0x800) {
		dr_buf_put_u8(out, (uint8_t)(0xc0 | c >> 6));
	} else if (c < 0x10000) {
		dr_buf_put_u8(out, (uint8_t)(0xe0 | c >> 12));
	} else {
		dr_buf_put_u8(out, (uint8_t)(0xf0 | c >> 18));
		dr_buf_put_u8(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
	}
	if (c >= 0x800) {
		dr_buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
	}
	if (c >= 0x80) {
		dr_buf_put_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
	}
}

/* \uXXXX, of which two may make one character. */
static int parse_unicode(struct parser *parser)
{
	unsigned c = 0;
	unsigned low = 0;

	if (parse_hex4(parser, &c) < 0 || c == 0 || (c >= 0xdc00 && c < 0xe000)) {
		return -EBADMSG;
	}
	if (c >= 0xd800 && c < 0xdc00) {
		if (!take_word(parser, "\\u") || parse_hex4(parser, &low) < 0 || low < 0xdc00 ||
			low >= 0xe000) {
			return -EBADMSG;
		}
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	put_utf8(parser->scratch, c);
	return 0;
}

static int parse_escape(struct parser *parser)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";

	if (parser->p == parser->end) {
		return -EBADMSG;
	}
	char c = *parser->p++;

	if (c == 'u') {
		return parse_unicode(parser);
	}
	const char *at = c ? strchr(from, c) : NULL;

	if (!at) {
		return -EBADMSG;
	}
	dr_buf_put_u8(parser->scratch, (uint8_t)to[at - from]);
	return 0;
}

/* A string, whose first quote is taken. */
static int parse_string(struct parser *parser, struct dr_span *ret)
{
	const char *begin = parser->p;
	size_t kept = parser->scratch->len;
	bool is_copied = false;
	bool is_ascii = true;

	for (;;) {
		const char *special = dr_scan_string(parser->p, parser->end, &is_ascii);
		size_t len = (size_t)(special - parser->p);

		if (special == parser->end || (unsigned char)*special < 0x20 ||
			(!is_ascii && !dr_utf8_is_valid(parser->p, len))) {
			return -EBADMSG;
		}
		bool is_end = *special == '"';

		if (is_end && !is_copied) {
			parser->p = special + 1;
			*ret = (struct dr_span){ .p = begin, .len = len };
			return 0;
		}
		is_copied = true;
		dr_buf_put(parser->scratch, parser->p, len);
		parser->p = special + 1;
		if (is_end) {
			*ret = (struct dr_span){
				.p = (const char *)parser->scratch->data + kept,
				.len = parser->scratch->len - kept,
			};
			return 0;
		}
		if (parse_escape(parser) < 0) {
			return -EBADMSG;
		}
	}
}

struct number {
	bool is_integer; /* no fraction, no exponent, and within 64 bits with a sign */
	int64_t v;       /* its whole part when that fits, else 0 */
	bool fits;
};

static bool skip_digits(struct parser *parser)
{
	const char *begin = parser->p;

	while (parser->p < parser->end && *parser->p >= '0' && *parser->p <= '9') {
		parser->p++;
	}
	return parser->p > begin;
}

static int parse_number(struct parser *parser, struct number *ret)
{
	bool is_negative = take_word(parser, "-");
	const char *begin = parser->p;
	struct number number = { .is_integer = true, .fits = true };
	uint64_t v = 0;
	uint64_t most = is_negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;

	if (!skip_digits(parser) || (*begin == '0' && parser->p - begin > 1)) {
		return -EBADMSG;
	}
	for (const char *p = begin; p < parser->p && number.fits; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (v > (most - digit) / 10) {
			number.fits = false;
		} else {
			v = v * 10 + digit;
		}
	}
	if (take_word(parser, ".")) {
		number.is_integer = false;
		if (!skip_digits(parser)) {
			return -EBADMSG;
		}
	}
	if (take_word(parser, "e") || take_word(parser, "E")) {
		number.is_integer = false;
		number.fits = false;
		if (!take_word(parser, "+")) {
			(void)take_word(parser, "-");
		}
		if (!skip_digits(parser)) {
			return -EBADMSG;
		}
	}
	if (number.is_integer && !number.fits) {
		return -EBADMSG;
	}
	if (number.fits) {
		number.v = is_negative ? (int64_t)-v : (int64_t)v;
	}
	*ret = number;
	return 0;
}

static int skip_value(struct parser *parser);

/* The inside of an object or array that nobody asked for, whose first bracket is taken. */
static int skip_inside(struct parser *parser, char end)
{
	struct dr_span name;
	int r = 0;

	if (++parser->depth > DR_EVENT_MAX_DEPTH) {
		return -EBADMSG;
	}
	if (take(parser, end)) {
		parser->depth--;
		return 0;
	}
	do {
		if (end == '}' && (!take(parser, '"') || parse_string(parser, &name) < 0 ||
					  !take(parser, ':'))) {
			return -EBADMSG;
		}
		r = skip_value(parser);
		if (r < 0) {
			return r;
		}
	} while (take(parser, ','));
	parser->depth--;
	return take(parser, end) ? 0 : -EBADMSG;
}

static int skip_value(struct parser *parser) /* NOLINT(misc-no-recursion): bounded by depth */
{
	struct dr_span text;
	struct number number;
	size_t kept = parser->scratch->len;

	if (take(parser, '"')) {
		int r = parse_string(parser, &text);

		parser->scratch->len = kept;
		return r;
	}
	if (take(parser, '{')) {
		return skip_inside(parser, '}');
	}
	if (take(parser, '[')) {
		return skip_inside(parser, ']');
	}
	if (take_word(parser, "true") || take_word(parser, "false") || take_word(parser, "null")) {
		return 0;
	}
	return parse_number(parser, &number);
}

/* Looked for from *next on, which becomes the one behind it: most events have their fields in the same order. */
static const struct field *field_of(struct dr_span name, size_t *next)
{
	for (size_t i = 0; i < N_FIELDS; i++) {
		const struct field *field = &fields[*next];

		*next = *next + 1 < N_FIELDS ? *next + 1 : 0;
		if (field->name_len == name.len && memcmp(field->name, name.p, name.len) == 0) {
			return field;
		}
	}
	return NULL;
}

static enum dr_event_type type_of(struct dr_span name)
{
	for (size_t i = DR_EVENT_NEW; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
		if (dr_span_is(name, type_names[i])) {
			return (enum dr_event_type)i;
		}
	}
	return DR_EVENT_OTHER;
}

/* What was found out besides the event's own fields. */
struct found {
	bool cat, rec, type;
	bool wrong; /* a known key's value is of another type: the rest is still checked */
};

static void mark(struct found *found, const struct field *field, bool is_there)
{
	if (field->kind == KIND_TYPE) {
		found->type = is_there;
	} else if (field->kind == KIND_INDEX) {
		*(field->offset == offsetof(struct dr_event, cat) ? &found->cat : &found->rec) =
			is_there;
	}
}

static void take_text(
	const struct field *field, struct dr_span text, struct found *found, struct dr_event *event)
{
	void *at = (char *)event + field->offset;

	if (field->kind == KIND_TEXT) {
		*(struct dr_span *)at = text;
	} else if (field->kind == KIND_TYPE) {
		event->type = type_of(text);
	} else {
		found->wrong = true;
	}
}

static void take_number(const struct field *field, const struct number *number, struct found *found,
	struct dr_event *event)
{
	void *at = (char *)event + field->offset;

	if (field->kind == KIND_SECONDS && number->fits) {
		*(int64_t *)at = number->v;
	} else if (field->kind == KIND_INDEX && number->is_integer && number->v >= 0) {
		*(uint64_t *)at = (uint64_t)number->v;
	} else {
		found->wrong = true;
	}
}

static int parse_field(struct parser *parser, const struct field *field, struct found *found,
	struct dr_event *event)
{
	struct dr_span text;
	struct number number;
	int r = 0;

	mark(found, field, true);
	if (take(parser, '"')) {
		r = parse_string(parser, &text);
		if (r == 0) {
			take_text(field, text, found, event);
		}
		return r;
	}
	if (parser->p < parser->end &&
		(*parser->p == '-' || (*parser->p >= '0' && *parser->p <= '9'))) {
		r = parse_number(parser, &number);
		if (r == 0) {
			take_number(field, &number, found, event);
		}
		return r;
	}
	if (take_word(parser, "null")) {
		size_t size = field->kind == KIND_TEXT   ? sizeof(struct dr_span)
			      : field->kind == KIND_TYPE ? sizeof(enum dr_event_type)
							 : sizeof(int64_t);

		memset((char *)event + field->offset, 0, size);
		mark(found, field, false);
		return 0;
	}
	found->wrong = true;
	return skip_value(parser);
}

/* Whether it says which action it is about. */
static bool is_complete(const struct dr_event *event, const struct found *found)
{
	if (found->wrong || !found->type) {
		return false;
	}
	if (event->type == DR_EVENT_OTHER || event->has_idx) {
		return true;
	}
	return event->type == DR_EVENT_PURGED && event->action_key.p;
}

int dr_event_decode(
	const char *json, size_t len, struct dr_buf *scratch, struct dr_event *ret_event)
{
	struct parser parser = { .p = json, .end = json + len, .scratch = scratch };
	struct dr_event event = { 0 };
	struct found found = { 0 };
	struct dr_span name;
	size_t next = 0; /* field */

	dr_buf_clear(scratch);
	if (memchr(json, '\\', len)) {
		/* Spans point into it: it must not move. No string is longer than it is written. */
		dr_buf_reserve(scratch, len);
	}
	if (!take(&parser, '{')) {
		return -EBADMSG;
	}
	parser.depth = 1;
	if (!take(&parser, '}')) {
		do {
			if (!take(&parser, '"') || parse_string(&parser, &name) < 0 ||
				!take(&parser, ':')) {
				return -EBADMSG;
			}
			const struct field *field = field_of(name, &next);
			int r = field ? parse_field(&parser, field, &found, &event)
				      : skip_value(&parser);

			if (r < 0) {
				return r;
			}
		} while (take(&parser, ','));
		if (!take(&parser, '}')) {
			return -EBADMSG;
		}
	}
	skip_blanks(&parser);
	if (parser.p != parser.end) {
		return -EBADMSG;
	}
	event.has_idx = found.cat && found.rec;
	if (!is_complete(&event, &found)) {
		return -EPROTO;
	}
	*ret_event = event;
	return 0;
}
