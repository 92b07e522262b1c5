/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/url.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

/*
 * Two things are not as redis-cli has them. A single word before '@' is a password there, and a user name in RFC 3986
 * and in the scheme's registration, as here; callers that have no password for it from elsewhere should refuse it, so that no
 * password is ever sent as a name. And in ':password@' the user is the default one, not one whose name is empty.
 *
 * A URL may be one with a slip, so that its password stands where a port or a path is looked for
 * (redis://user:secret, without a host). Therefore no message repeats a part of it, but for a port that an '@' stands
 * before.
 */

#define PORT 6379
#define SENTINEL_PORT 26379
#define MAX_HOST 253
/* Of bytes: hiredis before 1.0 leaves the last byte of sun_path[108] as it finds it, and cuts off what is longer. */
#define MAX_PATH 106

/* A part of the text. */
struct piece {
	const char *p;
	size_t len; /* bytes */
};

struct parser {
	struct dr_url url;
	bool has_user_info;
	char *message;
};

static int dr_printf(2, 3) refuse(struct parser *parser, const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;

	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);
	va_end(ap);
	free(parser->message);
	parser->message = dr_xasprintf("redis_url: %s", len < 0 ? "is no URL" : text);
	if (len >= 0) {
		free(text);
	}
	return -EINVAL;
}

static struct piece piece_of(const char *s)
{
	return (struct piece){ .p = s, .len = strlen(s) };
}

/* Cuts off the piece's first len bytes and returns them. */
static struct piece cut(struct piece *piece, size_t len)
{
	struct piece head = { .p = piece->p, .len = len };

	piece->p += len;
	piece->len -= len;
	return head;
}

/* Where the byte is, or the piece's length. */
static size_t find(struct piece piece, char c)
{
	const char *at = piece.len ? memchr(piece.p, c, piece.len) : NULL;

	return at ? (size_t)(at - piece.p) : piece.len;
}

/* Cuts off what stands before the byte, and the byte. */
static struct piece cut_at(struct piece *piece, char c)
{
	struct piece head = cut(piece, find(*piece, c));

	if (piece->len) {
		(void)cut(piece, 1);
	}
	return head;
}

static bool starts_with(struct piece piece, char c)
{
	return piece.len && piece.p[0] == c;
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
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

static void wipe(char *secret)
{
	if (secret) {
		explicit_bzero(secret, strlen(secret));
	}
	free(secret);
}

/* The piece without its %HH, malloc'ed. In one allocation, so that no other copy of a password is left. */
static int decode(struct parser *parser, struct piece piece, const char *what, char **ret)
{
	char *text = dr_xcalloc(1, piece.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < piece.len; i++) {
		char c = piece.p[i];

		if (c == '%') {
			int high = i + 2 < piece.len ? hex_digit(piece.p[i + 1]) : -1;
			int low = i + 2 < piece.len ? hex_digit(piece.p[i + 2]) : -1;

			if (high < 0 || low < 0) {
				wipe(text);
				return refuse(parser,
					"the %s has a '%%' without two hexadecimal digits", what);
			}
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (c == '\0') {
			wipe(text);
			return refuse(parser, "the %s has a NUL byte", what);
		}
		text[len++] = c;
	}
	*ret = text;
	return 0;
}

static int parse_scheme(struct parser *parser, struct piece *rest)
{
	static const struct {
		const char *head;
		enum dr_url_kind kind;
	} schemes[] = { { "redis://", DR_URL_TCP }, { "rediss://", DR_URL_TLS },
		{ "unix://", DR_URL_UNIX }, { "sentinel://", DR_URL_SENTINEL } };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t len = strlen(schemes[i].head);

		if (rest->len >= len && strncasecmp(rest->p, schemes[i].head, len) == 0) {
			parser->url.kind = schemes[i].kind;
			(void)cut(rest, len);
			return 0;
		}
	}
	return refuse(parser, "starts with none of redis://, rediss://, unix://, sentinel://");
}

static int parse_user_info(struct parser *parser, struct piece info)
{
	struct dr_url *url = &parser->url;
	size_t colon = find(info, ':');
	int r = 0;

	bool has_password = colon < info.len;
	struct piece user = info;

	if (has_password) {
		user = cut_at(&info, ':');
	}
	if (user.len == 0 && (info.len == 0 || !has_password)) {
		return refuse(parser, "before '@' stands neither a user nor a password");
	}
	if (user.len) {
		r = decode(parser, user, "user", &url->user);
	}
	return r < 0 || !has_password ? r : decode(parser, info, "password", &url->password);
}

static int parse_port(struct parser *parser, struct piece piece, uint16_t *ret)
{
	char digits[16] = { 0 };
	uint64_t port = 0;

	if (piece.len < sizeof(digits)) {
		memcpy(digits, piece.p, piece.len);
	}
	/* What is too long is as if empty, and that is no number either. */
	if (dr_text_parse_u64(digits, 1, 65535, &port) < 0) {
		struct dr_buf shown dr_cleanup(dr_buf_fini) = { 0 };

		if (!parser->has_user_info) {
			return refuse(parser,
				"the port is not a number from 1 to 65535 (or '@' is missing after a password)");
		}
		dr_text_escape(&shown, piece.p, piece.len < 64 ? piece.len : 64);
		return refuse(
			parser, "port '%s' is not a number from 1 to 65535", dr_buf_cstr(&shown));
	}
	*ret = (uint16_t)port;
	return 0;
}

static int check_address(struct parser *parser, struct piece name)
{
	char text[INET6_ADDRSTRLEN] = { 0 };
	struct in6_addr address;

	if (name.len < sizeof(text)) {
		memcpy(text, name.p, name.len);
	}
	return inet_pton(AF_INET6, text, &address) == 1
		       ? 0
		       : refuse(parser, "in the brackets stands no IPv6 address");
}

static int check_name(struct parser *parser, struct piece name)
{
	if (name.len == 0) {
		return refuse(parser, "a host is missing");
	}
	if (name.len > MAX_HOST) {
		return refuse(parser, "a host has more than %d characters", MAX_HOST);
	}
	for (size_t i = 0; i < name.len; i++) {
		if (!is_alnum(name.p[i]) && !strchr("-._", name.p[i])) {
			return refuse(parser, "a host has a character that no host name has");
		}
	}
	return 0;
}

/* host[:port] */
static int parse_host(struct parser *parser, struct piece piece, uint16_t port)
{
	struct dr_url *url = &parser->url;
	bool is_address = starts_with(piece, '[');
	struct piece name;
	int r;

	if (is_address) {
		(void)cut(&piece, 1);
		if (find(piece, ']') == piece.len) {
			return refuse(parser, "'[' has no ']'");
		}
		name = cut_at(&piece, ']');
		r = check_address(parser, name);
		if (r == 0 && piece.len && !starts_with(piece, ':')) {
			r = refuse(parser, "after ']' stands something other than a port");
		}
	} else {
		name = cut(&piece, find(piece, ':'));
		r = piece.len && memchr(piece.p + 1, ':', piece.len - 1)
			    ? refuse(parser, "an IPv6 address stands in brackets, as in [::1]")
			    : check_name(parser, name);
	}
	if (r == 0 && piece.len) {
		(void)cut(&piece, 1);
		r = parse_port(parser, piece, &port);
	}
	if (r < 0) {
		return r;
	}
	url->hosts = dr_xrealloc(url->hosts, (url->n_hosts + 1) * sizeof(*url->hosts));
	url->hosts[url->n_hosts++] = (struct dr_url_host){
		.name = dr_xasprintf("%.*s", (int)name.len, name.p),
		.port = port,
	};
	return 0;
}

static int parse_hosts(struct parser *parser, struct piece piece)
{
	uint16_t port = parser->url.kind == DR_URL_SENTINEL ? SENTINEL_PORT : PORT;
	bool more;
	int r;

	if (parser->url.kind == DR_URL_UNIX) {
		return piece.len ? refuse(parser, "unix:// is followed by an absolute path") : 0;
	}
	if (parser->url.kind != DR_URL_SENTINEL) {
		return parse_host(parser, piece, port);
	}
	do {
		struct piece host = cut(&piece, find(piece, ','));

		more = piece.len > 0;
		if (more) {
			(void)cut(&piece, 1);
		}
		r = parse_host(parser, host, port);
	} while (r == 0 && more);
	return r;
}

static int parse_db(struct parser *parser, struct piece piece)
{
	char digits[16] = { 0 };
	uint64_t db = 0;

	if (piece.len < sizeof(digits)) {
		memcpy(digits, piece.p, piece.len);
	}
	if (dr_text_parse_u64(digits, 0, INT_MAX, &db) < 0) {
		return refuse(parser, "the database is not a number from 0 to %d", INT_MAX);
	}
	parser->url.db = (unsigned)db;
	return 0;
}

/* What stands after '?' */
static int parse_query(struct parser *parser, struct piece piece)
{
	static const char key[] = "db=";
	size_t len = sizeof(key) - 1;

	if (piece.len < len || memcmp(piece.p, key, len) != 0 || find(piece, '&') < piece.len) {
		return refuse(parser, "after '?' stands something other than db=N");
	}
	(void)cut(&piece, len);
	return parse_db(parser, piece);
}

static int parse_path(struct parser *parser, struct piece path)
{
	struct dr_url *url = &parser->url;

	if (path.len < 2) {
		return refuse(parser, "unix:// is followed by an absolute path");
	}
	int r = decode(parser, path, "path", &url->path);

	if (r == 0 && strlen(url->path) > MAX_PATH) {
		r = refuse(parser, "the path has more than %d bytes", MAX_PATH);
	}
	return r;
}

static int parse_name(struct parser *parser, struct piece name)
{
	if (name.len < 2) {
		return refuse(parser, "sentinel://host is followed by /name of the master set");
	}
	(void)cut(&name, 1);
	if (find(name, '/') < name.len) {
		return refuse(parser, "a '/' in the master set's name is written %%2F");
	}
	return decode(parser, name, "name", &parser->url.name);
}

/* Everything behind the hosts: "", or from the first '/' or '?' on. */
static int parse_tail(struct parser *parser, struct piece tail)
{
	enum dr_url_kind kind = parser->url.kind;
	struct piece path = cut(&tail, find(tail, '?'));
	int r = 0;

	if (kind == DR_URL_UNIX) {
		r = parse_path(parser, path);
	} else if (kind == DR_URL_SENTINEL) {
		r = parse_name(parser, path);
	} else if (tail.len) {
		r = refuse(parser, "a '?' stands in unix:// and sentinel:// only");
	} else if (path.len) {
		(void)cut(&path, 1);
		r = parse_db(parser, path);
	}
	if (r == 0 && tail.len) {
		(void)cut(&tail, 1);
		r = parse_query(parser, tail);
	}
	return r;
}

static int parse(struct parser *parser, const char *text)
{
	struct piece rest = piece_of(text);

	for (size_t i = 0; i < rest.len; i++) {
		if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f || text[i] == '#') {
			return refuse(parser, "a space, '#' or control character is written %%HH");
		}
	}
	int r = parse_scheme(parser, &rest);

	if (r < 0) {
		return r;
	}
	struct piece authority = cut(&rest, strcspn(rest.p, "/?"));

	/* In the path of a socket it may be. */
	if (parser->url.kind != DR_URL_UNIX && find(rest, '@') < rest.len) {
		return refuse(parser,
			"'/', '?' and '@' in a user, password or name are written %%2F, %%3F and %%40");
	}
	parser->has_user_info = find(authority, '@') < authority.len;
	if (parser->has_user_info) {
		struct piece info = cut_at(&authority, '@');

		if (find(authority, '@') < authority.len) {
			return refuse(parser, "an '@' in a user or password is written %%40");
		}
		r = parse_user_info(parser, info);
	}
	if (r == 0) {
		r = parse_hosts(parser, authority);
	}
	return r < 0 ? r : parse_tail(parser, rest);
}

int dr_url_parse(const char *text, struct dr_url *ret_url, char **ret_message)
{
	struct parser parser = { 0 };
	int r = parse(&parser, text);

	if (r < 0) {
		dr_url_fini(&parser.url);
		*ret_message = parser.message;
		return r;
	}
	*ret_url = parser.url;
	return 0;
}

void dr_url_fini(struct dr_url *url)
{
	for (size_t i = 0; i < url->n_hosts; i++) {
		free(url->hosts[i].name);
	}
	free(url->hosts);
	free(url->user);
	wipe(url->password);
	free(url->path);
	free(url->name);
	wipe(url->sentinel_password);
	free(url->tls_ca);
	free(url->tls_cert);
	free(url->tls_key);
	*url = (struct dr_url){ 0 };
}

static void put_encoded(struct dr_buf *out, const char *text, const char *kept)
{
	for (const char *p = text; *p; p++) {
		if (is_alnum(*p) || strchr(kept, *p)) {
			dr_buf_put_u8(out, (uint8_t)*p);
		} else {
			dr_buf_printf(out, "%%%02X", (unsigned)(uint8_t)*p);
		}
	}
}

char *dr_url_show(const struct dr_url *url)
{
	static const char *const schemes[] = {
		[DR_URL_TCP] = "redis://",
		[DR_URL_TLS] = "rediss://",
		[DR_URL_UNIX] = "unix://",
		[DR_URL_SENTINEL] = "sentinel://",
	};
	struct dr_buf out = { 0 };
	bool has_query = url->kind == DR_URL_UNIX || url->kind == DR_URL_SENTINEL;

	dr_buf_put_str(&out, schemes[url->kind]);
	for (size_t i = 0; i < url->n_hosts; i++) {
		const struct dr_url_host *host = &url->hosts[i];

		dr_buf_printf(&out, strchr(host->name, ':') ? "%s[%s]:%u" : "%s%s:%u", i ? "," : "",
			host->name, host->port);
	}
	if (url->path) {
		put_encoded(&out, url->path, "-._~/");
	}
	if (url->name) {
		dr_buf_put_str(&out, "/");
		put_encoded(&out, url->name, "-._~");
	}
	if (url->db) {
		dr_buf_printf(&out, "%s%u", has_query ? "?db=" : "/", url->db);
	}
	return dr_buf_cstr(&out);
}
