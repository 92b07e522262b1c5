/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/url.h"

#include "unit.h"

static struct dr_url parse(const char *text)
{
	struct dr_url url;
	char *message = NULL;
	int r = dr_url_parse(text, &url, &message);
	ck_assert_msg(r == 0, "'%s': %s", text, message);
	ck_assert_ptr_null(message);
	return url;
}

static void check_host(const struct dr_url *url, size_t i, const char *name, unsigned port)
{
	ck_assert_uint_lt(i, url->n_hosts);
	ck_assert_str_eq(url->hosts[i].name, name);
	ck_assert_uint_eq(url->hosts[i].port, port);
}

/* One host, a database, and how it is shown. */
static void check_server(const char *text, enum dr_url_kind kind, const char *host, unsigned port,
	unsigned db, const char *shown)
{
	struct dr_url url dr_cleanup(dr_url_fini) = parse(text);
	char *show dr_cleanup(dr_freep) = dr_url_show(&url);
	ck_assert_int_eq(url.kind, kind);
	ck_assert_uint_eq(url.n_hosts, 1);
	check_host(&url, 0, host, port);
	ck_assert_uint_eq(url.db, db);
	ck_assert_ptr_null(url.path);
	ck_assert_ptr_null(url.name);
	ck_assert_str_eq(show, shown);
}

START_TEST(parse__a_server_has_a_host_a_port_and_a_database)
{
	check_server("redis://h", DR_URL_TCP, "h", 6379, 0, "redis://h:6379");
	check_server("redis://h/0", DR_URL_TCP, "h", 6379, 0, "redis://h:6379");
	check_server("redis://redis-1.site_a.example:7000/15", DR_URL_TCP, "redis-1.site_a.example",
		7000, 15, "redis://redis-1.site_a.example:7000/15");
	check_server("rediss://h", DR_URL_TLS, "h", 6379, 0, "rediss://h:6379");
	check_server("rediss://h:1/2147483647", DR_URL_TLS, "h", 1, 2147483647,
		"rediss://h:1/2147483647");
	check_server("redis://10.0.0.1:65535", DR_URL_TCP, "10.0.0.1", 65535, 0,
		"redis://10.0.0.1:65535");
	check_server("REDIS://h", DR_URL_TCP, "h", 6379, 0, "redis://h:6379");
}
END_TEST

START_TEST(parse__an_ipv6_address_stands_in_brackets)
{
	check_server("redis://[::1]", DR_URL_TCP, "::1", 6379, 0, "redis://[::1]:6379");
	check_server("redis://:p@[fd00::17:5]:7000/3", DR_URL_TCP, "fd00::17:5", 7000, 3,
		"redis://[fd00::17:5]:7000/3");
	check_server("rediss://[::ffff:10.0.0.1]:7000", DR_URL_TLS, "::ffff:10.0.0.1", 7000, 0,
		"rediss://[::ffff:10.0.0.1]:7000");
}
END_TEST

START_TEST(parse__a_socket_has_a_path)
{
	static const struct {
		const char *text, *path;
		unsigned db;
		const char *shown;
	} cases[] = {
		{ "unix:///run/redis.sock", "/run/redis.sock", 0, "unix:///run/redis.sock" },
		{ "unix:///run/redis.sock?db=2", "/run/redis.sock", 2,
			"unix:///run/redis.sock?db=2" },
		{ "unix:///a%20b/%3f%25%0a\xc3\xa4@x", "/a b/?%\n\xc3\xa4@x", 0,
			"unix:///a%20b/%3F%25%0A%C3%A4%40x" },
		{ "unix://u:p@/run/redis.sock", "/run/redis.sock", 0, "unix:///run/redis.sock" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dr_url url dr_cleanup(dr_url_fini) = parse(cases[i].text);
		char *show dr_cleanup(dr_freep) = dr_url_show(&url);
		ck_assert_int_eq(url.kind, DR_URL_UNIX);
		ck_assert_uint_eq(url.n_hosts, 0);
		ck_assert_str_eq(url.path, cases[i].path);
		ck_assert_uint_eq(url.db, cases[i].db);
		ck_assert_str_eq(show, cases[i].shown);
	}
}
END_TEST

START_TEST(parse__sentinels_are_a_list_and_know_a_name)
{
	struct dr_url url dr_cleanup(dr_url_fini) =
		parse("sentinel://u:p@s1,s2:5000,[::1]:5001,[fd00::1]/drover%2Fa%20b?db=7");
	char *show dr_cleanup(dr_freep) = dr_url_show(&url);
	ck_assert_int_eq(url.kind, DR_URL_SENTINEL);
	ck_assert_uint_eq(url.n_hosts, 4);
	check_host(&url, 0, "s1", 26379);
	check_host(&url, 1, "s2", 5000);
	check_host(&url, 2, "::1", 5001);
	check_host(&url, 3, "fd00::1", 26379);
	ck_assert_str_eq(url.name, "drover/a b");
	ck_assert_str_eq(url.user, "u");
	ck_assert_str_eq(url.password, "p");
	ck_assert_ptr_null(url.sentinel_password);
	ck_assert_uint_eq(url.db, 7);
	ck_assert_str_eq(
		show, "sentinel://s1:26379,s2:5000,[::1]:5001,[fd00::1]:26379/drover%2Fa%20b?db=7");
}
END_TEST

static void check_user(const char *text, const char *user, const char *password)
{
	struct dr_url url dr_cleanup(dr_url_fini) = parse(text);
	char *show dr_cleanup(dr_freep) = dr_url_show(&url);
	ck_assert_pstr_eq(url.user, user);
	ck_assert_pstr_eq(url.password, password);
	ck_assert_ptr_null(strchr(show, '@'));
	ck_assert_ptr_null(strstr(show, "secret"));
}

START_TEST(parse__user_and_password_stand_before_the_host)
{
	check_user("redis://h", NULL, NULL);
	check_user("redis://:secret@h", NULL, "secret");
	check_user("redis://user:secret@h/1", "user", "secret");
	check_user("redis://user:@h", "user", "");
	check_user(
		"redis://us%3aer:s%65cret%40:%2f%3F%25%23%20%ff@h", "us:er", "secret@:/?%# \xff");
	check_user("unix://:secret@/run/x", NULL, "secret");
	check_user("sentinel://:secret@a,b/name", NULL, "secret");
}
END_TEST

/* Every refusal: the output stays as it was, and the message is a line that gives nothing away. */
static char *refusal(const char *text)
{
	struct dr_url url, before;
	char *message = NULL;
	memset(&url, 0x5a, sizeof(url));
	before = url;
	int r = dr_url_parse(text, &url, &message);
	ck_assert_msg(r == -EINVAL, "'%s' gives %d", text, r);
	ck_assert_ptr_nonnull(message);
	ck_assert_mem_eq(&url, &before, sizeof(url));
	ck_assert_msg(strncmp(message, "redis_url: ", 11) == 0, "%s", message);
	for (const char *p = message; *p; p++) {
		ck_assert(*p >= ' ' && *p < 0x7f);
	}
	ck_assert_msg(!strstr(message, "secret"), "%s", message);
	return message;
}

static void check_refused(const char *const *texts, size_t n, const char *why)
{
	for (size_t i = 0; i < n; i++) {
		char *message dr_cleanup(dr_freep) = refusal(texts[i]);
		ck_assert_msg(strstr(message, why) != NULL, "'%s': %s", texts[i], message);
	}
}
#define CHECK_REFUSED(why, ...)                                                                    \
	do {                                                                                       \
		static const char *const texts_[] = { __VA_ARGS__ };                               \
		check_refused(texts_, sizeof(texts_) / sizeof(texts_[0]), why);                    \
	} while (0)

START_TEST(parse__refuses_an_unknown_scheme)
{
	CHECK_REFUSED("starts with none of", "", "redis", "redis:", "redis:/h", "redis:h", "h:6379",
		"http://h", "redisss://h", "valkey://h", "user:secret@h", "/run/redis.sock");
}
END_TEST

START_TEST(parse__refuses_what_is_no_host)
{
	CHECK_REFUSED("a host is missing", "redis://", "redis:///1", "redis://:6379",
		"redis://:secret@", "redis://:secret@:6379", "sentinel:///name",
		"sentinel://,a/name", "sentinel://a,/name", "sentinel://a,,b/name");
	CHECK_REFUSED("no host name has", "redis://a,b", "redis://h%41", "redis://h\xc3\xa4",
		"redis://*", "redis://user;secret", "rediss://a,b/1");
	CHECK_REFUSED("in brackets", "redis://::1", "redis://::1:6379", "redis://fd00::1/2",
		"redis://user:secret:more", "sentinel://a,fd00::1/name");
	CHECK_REFUSED("no IPv6 address", "redis://[]", "redis://[h]", "redis://[10.0.0.1]",
		"redis://[::1%25eth0]", "redis://[::1::]",
		"redis://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]");
	CHECK_REFUSED("has no ']'", "redis://[::1", "redis://[", "redis://:secret@[::1/2");
	CHECK_REFUSED("after ']'", "redis://[::1]6379", "redis://[::1]x", "redis://[::1]]");
	char host[300] = "redis://";
	memset(host + 8, 'a', 254);
	char *message dr_cleanup(dr_freep) = refusal(host);
	ck_assert_str_eq(message, "redis_url: a host has more than 253 characters");
	host[8 + 253] = 0;
	struct dr_url url dr_cleanup(dr_url_fini) = parse(host);
	ck_assert_uint_eq(strlen(url.hosts[0].name), 253);
}
END_TEST

START_TEST(parse__refuses_what_is_no_port)
{
	CHECK_REFUSED("not a number from 1 to 65535", "redis://h:", "redis://h:/1", "redis://h:0",
		"redis://h:65536", "redis://h:-1", "redis://h:+1", "redis://h:6379x",
		"redis://h:0x10", "redis://h:99999999999999999999",
		"redis://[::1]:", "redis://[::1]:0", "sentinel://a:1,b:0/name",
		"sentinel://a:x,b/name");
}
END_TEST

START_TEST(parse__shows_a_bad_port_only_where_it_can_be_no_password)
{
	char *message dr_cleanup(dr_freep) = refusal("redis://user:secret@h:x");
	ck_assert_str_eq(message, "redis_url: port 'x' is not a number from 1 to 65535");
	char *odd dr_cleanup(dr_freep) = refusal("redis://user:secret@h:\x80");
	ck_assert_str_eq(odd, "redis_url: port '\\x80' is not a number from 1 to 65535");
	CHECK_REFUSED("'@' is missing", "redis://user:secret", "redis://user:secret/0",
		"rediss://user:secret", "sentinel://user:secret,b/name");
	CHECK_REFUSED("%2F", "redis://user:sec/ret@h", "redis://:s?ecret@h", "redis://:a/secret@h",
		"sentinel://u:secret/x@h/name");
	CHECK_REFUSED(
		"%40", "redis://user:sec@ret@h", "redis://:secret@@h", "unix://u:secret@x@/run/x");
	CHECK_REFUSED("absolute path", "unix://:secret/x@/run/redis.sock");
}
END_TEST

START_TEST(parse__takes_a_word_for_a_user)
{
	struct dr_url url = { 0 };
	char *why = NULL;

	ck_assert_int_eq(dr_url_parse("redis://drover@h", &url, &why), 0);
	ck_assert_str_eq(url.user, "drover");
	ck_assert_ptr_null(url.password);
	dr_url_fini(&url);
	CHECK_REFUSED(
		"neither a user nor a password", "redis://:@h", "unix://:@/run/x", "redis://@h");
}
END_TEST

START_TEST(parse__refuses_what_is_no_database)
{
	CHECK_REFUSED("the database is not a number", "redis://h/", "redis://h/x", "redis://h/1x",
		"redis://h/-1", "redis://h/1/", "redis://h//1", "redis://h/2147483648",
		"redis://h/99999999999999999999", "unix:///run/x?db=", "unix:///run/x?db=x",
		"unix:///run/x?db=1x", "sentinel://h/name?db=-1", "sentinel://h/name?db=1/2",
		"unix:///run/x?db=1?db=1");
}
END_TEST

START_TEST(parse__refuses_unknown_queries)
{
	CHECK_REFUSED("other than db=N", "unix:///run/x?", "unix:///run/x?db",
		"unix:///run/x?database=1", "unix:///run/x?password=secret",
		"unix:///run/x?db=1&db=1", "unix:///run/x?db=1&timeout=5",
		"unix:///run/x?timeout=5&db=1", "sentinel://h/name?DB=1");
	CHECK_REFUSED("unix:// and sentinel:// only", "redis://h?db=1", "redis://h/1?db=1",
		"redis://h?", "rediss://h?password=secret");
}
END_TEST

START_TEST(parse__refuses_what_is_no_path_or_name)
{
	CHECK_REFUSED("absolute path", "unix://", "unix:///", "unix://run/redis.sock",
		"unix://:secret@run/redis.sock", "unix://?db=1", "unix:///?db=1",
		"unix://:secret@h:1/run/x");
	CHECK_REFUSED("name of the master set", "sentinel://h", "sentinel://h/",
		"sentinel://h/?db=1", "sentinel://h?db=1");
	CHECK_REFUSED("written %2F", "sentinel://h/a/b", "sentinel://h/name/0");
	char path[300] = "unix:///";
	memset(path + 8, 'a', 106);
	char *message dr_cleanup(dr_freep) = refusal(path);
	ck_assert_str_eq(message, "redis_url: the path has more than 106 bytes");
	path[8 + 105] = 0;
	struct dr_url url dr_cleanup(dr_url_fini) = parse(path);
	ck_assert_uint_eq(strlen(url.path), 106);
}
END_TEST

START_TEST(parse__refuses_bytes_that_are_not_encoded)
{
	CHECK_REFUSED("written %HH", " redis://h", "redis://h ", "redis://h\n", "redis://h\t:1",
		"redis://:sec ret@h", "redis://:secret#@h", "redis://h#x", "unix:///a b",
		"unix:///run/x\x7f");
	CHECK_REFUSED("without two hexadecimal digits", "redis://:secret%@h", "redis://:%4@h",
		"redis://:secret%4g@h", "redis://%zz:secret@h", "unix:///run/%", "unix:///run/%1",
		"sentinel://h/%1x");
	CHECK_REFUSED("NUL", "redis://:secret%00@h", "redis://u%00:secret@h", "unix:///run/%00",
		"sentinel://h/a%00b");
}
END_TEST

START_TEST(show__can_be_parsed_again)
{
	static const char *const texts[] = { "redis://:secret@h:1/2", "rediss://[::1]",
		"unix://u:secret@/%01%ff/%2e%2e/%25?db=3", "unix:////x",
		"sentinel://:secret@a,[::2]:7,c-d.e/%2f%3f%23%40?db=4", "sentinel://a/n%0a" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct dr_url one dr_cleanup(dr_url_fini) = parse(texts[i]);
		char *shown dr_cleanup(dr_freep) = dr_url_show(&one);
		struct dr_url two dr_cleanup(dr_url_fini) = parse(shown);
		char *again dr_cleanup(dr_freep) = dr_url_show(&two);
		ck_assert_str_eq(shown, again);
		ck_assert_int_eq(one.kind, two.kind);
		ck_assert_uint_eq(one.n_hosts, two.n_hosts);
		for (size_t j = 0; j < one.n_hosts; j++) {
			check_host(&two, j, one.hosts[j].name, one.hosts[j].port);
		}
		ck_assert_pstr_eq(one.path, two.path);
		ck_assert_pstr_eq(one.name, two.name);
		ck_assert_uint_eq(one.db, two.db);
		ck_assert_ptr_null(two.user);
		ck_assert_ptr_null(two.password);
	}
}
END_TEST

START_TEST(fini__frees_what_the_caller_set_and_can_be_repeated)
{
	struct dr_url url = parse("rediss://u:p@h");
	url.sentinel_password = dr_xstrdup("s");
	url.tls_ca = dr_xstrdup("ca.pem");
	url.tls_cert = dr_xstrdup("cert.pem");
	url.tls_key = dr_xstrdup("key.pem");
	dr_url_fini(&url);
	ck_assert_ptr_null(url.tls_ca);
	ck_assert_uint_eq(url.n_hosts, 0);
	dr_url_fini(&url);
}
END_TEST

DR_UNIT_MAIN("url", parse__a_server_has_a_host_a_port_and_a_database,
	parse__an_ipv6_address_stands_in_brackets, parse__a_socket_has_a_path,
	parse__sentinels_are_a_list_and_know_a_name, parse__user_and_password_stand_before_the_host,
	parse__refuses_an_unknown_scheme, parse__refuses_what_is_no_host,
	parse__refuses_what_is_no_port, parse__shows_a_bad_port_only_where_it_can_be_no_password,
	parse__takes_a_word_for_a_user, parse__refuses_what_is_no_database,
	parse__refuses_unknown_queries, parse__refuses_what_is_no_path_or_name,
	parse__refuses_bytes_that_are_not_encoded, show__can_be_parsed_again,
	fini__frees_what_the_caller_set_and_can_be_repeated)
