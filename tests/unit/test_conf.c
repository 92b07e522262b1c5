/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/conf.h"
#include "base/fdio.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "unit.h"

struct target {
	char *path;
	char *address;
	char *command;
	uint64_t port, batch, timeout;
	bool verbose;
};

static int check_address(const char *value, const char **ret_why)
{
	if (strchr(value, ' ')) {
		*ret_why = "has a blank in it";
		return -EINVAL;
	}
	return 0;
}

static const struct dr_conf_option table[] = {
	{ "base_path", DR_CONF_STRING, offsetof(struct target, path), 0, 0, NULL },
	{ "address", DR_CONF_STRING, offsetof(struct target, address), 0, 0, check_address },
	{ "run", DR_CONF_COMMAND, offsetof(struct target, command), 0, 0, check_address },
	{ "port", DR_CONF_U64, offsetof(struct target, port), 1, 65535, NULL },
	{ "batch", DR_CONF_SIZE, offsetof(struct target, batch), 4096, 0, NULL },
	{ "timeout", DR_CONF_SECONDS, offsetof(struct target, timeout), 1, 86400, NULL },
	{ "verbose", DR_CONF_BOOL, offsetof(struct target, verbose), 0, 0, NULL },
};
#define N_OPTIONS (sizeof(table) / sizeof(table[0]))

static void target_fini(struct target *target)
{
	free(target->path);
	free(target->address);
	free(target->command);
}

/* Reads that text as the file t.conf of a folder of its own. */
static int read_bytes(const void *bytes, size_t len, struct target *target, char **ret_message)
{
	char folder[] = "/tmp/drover-test-conf-XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
	ck_assert_int_eq(dr_replace_file_fast(AT_FDCWD, "t.conf", 0600, bytes, len), 0);
	int r = dr_conf_read("t.conf", table, N_OPTIONS, target, ret_message);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, folder), 0);
	return r;
}

static void check_error_of(const void *bytes, size_t len, const char *expected)
{
	struct target target dr_cleanup(target_fini) = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;
	ck_assert_int_eq(read_bytes(bytes, len, &target, &message), -EINVAL);
	ck_assert_ptr_nonnull(message);
	ck_assert_str_eq(message, expected);
}

static void check_error(const char *text, const char *expected)
{
	check_error_of(text, strlen(text), expected);
}

static void check_good(const char *text, struct target *target)
{
	char *message dr_cleanup(dr_freep) = NULL;
	int r = read_bytes(text, strlen(text), target, &message);
	ck_assert_msg(r == 0, "%d: %s", r, message ? message : "");
	ck_assert_ptr_null(message);
}

START_TEST(conf__reads_every_type)
{
	struct target target dr_cleanup(target_fini) = { .path = dr_xstrdup("a default") };
	check_good("# a comment\n; another\n\n[main]\nbase_path = /mnt/a b/c\naddress=[::1]:6379\n"
		   "port: 9188\r\nbatch = 64K\ntimeout = 5m\nverbose = yes",
		&target);
	ck_assert_str_eq(target.path, "/mnt/a b/c");
	ck_assert_str_eq(target.address, "[::1]:6379");
	ck_assert_uint_eq(target.port, 9188);
	ck_assert_uint_eq(target.batch, 65536);
	ck_assert_uint_eq(target.timeout, 300);
	ck_assert(target.verbose);
}
END_TEST

START_TEST(conf__the_last_of_a_key_wins)
{
	struct target target dr_cleanup(target_fini) = { 0 };
	check_good("[main]\nbase_path = a\nport = 1\n[main]\nbase_path = b\nport = 2\n", &target);
	ck_assert_str_eq(target.path, "b");
	ck_assert_uint_eq(target.port, 2);
}
END_TEST

START_TEST(conf__an_indented_line_is_a_line)
{
	struct target target dr_cleanup(target_fini) = { 0 };
	check_good("  [main]\nbase_path = a\n\tport = 7\n   # indented comment\n", &target);
	ck_assert_str_eq(target.path, "a");
	ck_assert_uint_eq(target.port, 7);
	check_error("[main]\nbase_path = a\n  and more\n",
		"t.conf:3: neither [section], key = value nor a comment");
}
END_TEST

START_TEST(conf__takes_an_empty_file_and_a_byte_order_mark)
{
	struct target target dr_cleanup(target_fini) = { 0 };
	check_good("", &target);
	check_good("\n\n", &target);
	check_good("\xef\xbb\xbf[main]\nport = 7\n", &target);
	ck_assert_uint_eq(target.port, 7);
}
END_TEST

START_TEST(conf__bool_knows_eight_words)
{
	static const char *const words[] = { "no", "yes", "False", "TRUE", "off", "on", "0", "1" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct target target = { .verbose = i % 2 == 0 };
		char *message = NULL;
		ck_assert_int_eq(
			dr_conf_set(table, N_OPTIONS, &target, "verbose", words[i], &message), 0);
		ck_assert_int_eq(target.verbose, i % 2);
	}
	check_error("[main]\nverbose = maybe\n", "t.conf:2: verbose: 'maybe' is not yes or no");
}
END_TEST

START_TEST(conf__names_the_line_of_an_unknown_key)
{
	check_error("[main]\n# c\n\nport = 5\nredis_prot = 5\nport = 6\n",
		"t.conf:5: unknown key 'redis_prot'");
	check_error("[main]\nPort = 5\n", "t.conf:2: unknown key 'Port'");
	check_error("[main]\n\x1b[31m = 5\n", "t.conf:2: unknown key '\\x1b[31m'");
}
END_TEST

START_TEST(conf__names_the_line_of_a_bad_value)
{
	check_error("[main]\nport = 65536\n",
		"t.conf:2: port: '65536' is not a number from 1 to 65535");
	check_error("[main]\nport = 0\n", "t.conf:2: port: '0' is not a number from 1 to 65535");
	check_error("[main]\nport =\n", "t.conf:2: port: '' is not a number from 1 to 65535");
	check_error("[main]\nbatch = 4095\n",
		"t.conf:2: batch: '4095' is not a size (such as 64K or 1.5G) of at least 4096 bytes");
	check_error("[main]\ntimeout = 2d\n",
		"t.conf:2: timeout: '2d' is not a time (such as 90s, 5m, 2h or 1d) from 1 to 86400 seconds");
}
END_TEST

START_TEST(conf__a_text_value_stands_in_no_message)
{
	check_error(
		"[main]\naddress = my secret\n", "t.conf:2: address: the value has a blank in it");
}
END_TEST

START_TEST(conf__tells_the_first_error)
{
	check_error("[main]\nport = x\nnonsense\n",
		"t.conf:2: port: 'x' is not a number from 1 to 65535");
	check_error("[main]\nnonsense\nport = x\n",
		"t.conf:2: neither [section], key = value nor a comment");
}
END_TEST

START_TEST(conf__knows_one_section)
{
	check_error("port = 5\n[main]\n", "t.conf:1: an option before the section [main]");
	check_error("[main]\nport = 5\n\n[other]\nport = 6\n",
		"t.conf:4: unknown section [other]; only [main] is known");
	check_error("[other]\n", "t.conf:1: unknown section [other]; only [main] is known");
	check_error("[main\n", "t.conf:1: neither [section], key = value nor a comment");
}
END_TEST

START_TEST(conf__refuses_a_line_that_would_be_cut)
{
	char text[400];
	/* inih's buffer has 200 bytes, for the line, CR, LF and NUL. */
	int len = snprintf(text, sizeof(text), "[main]\nbase_path = %0184d\n", 0);
	ck_assert_int_eq(len, 7 + 12 + 184 + 1);
	struct target target dr_cleanup(target_fini) = { 0 };
	check_good(text, &target);
	ck_assert_uint_eq(strlen(target.path), 184);
	(void)snprintf(text, sizeof(text), "[main]\nbase_path = %0186d\n", 0);
	check_error(text, "t.conf:2: a line longer than 197 bytes");
	(void)snprintf(text, sizeof(text), "[main]\n# %0300d\nport = 5\n", 0);
	check_good(text, &target);
	ck_assert_uint_eq(target.port, 5);
}
END_TEST

START_TEST(conf__a_command_is_never_cut)
{
	struct target target dr_cleanup(target_fini) = { 0 };
	check_good("[main]\nrun = a;b#c='\"d\"';\n", &target);
	ck_assert_str_eq(target.command, "a;b#c='\"d\"';");
	check_error("[main]\nrun = a ; b\n", "t.conf:2: run: a ';' after a blank begins a comment");
	check_error("[main]\n  run\t:\ta\t; b\n",
		"t.conf:2: run: a ';' after a blank begins a comment");
	check_error("[main]\nrun = ;\n", "t.conf:2: run: a ';' after a blank begins a comment");
	check_error("[main]\nrun = a b\n", "t.conf:2: run: the value has a blank in it");
	/* Of other values the comment is one. */
	check_good("[main]\nbase_path = runs ; run = a\n", &target);
	ck_assert_str_eq(target.path, "runs");
}
END_TEST

START_TEST(conf__refuses_a_nul_byte)
{
	static const char text[] = "[main]\nport = 5\0\n";
	check_error_of(text, sizeof(text) - 1, "t.conf:2: a NUL byte");
}
END_TEST

START_TEST(conf__says_when_there_is_no_file)
{
	struct target target = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;
	ck_assert_int_eq(
		dr_conf_read("/nonexistent/t.conf", table, N_OPTIONS, &target, &message), -ENOENT);
	ck_assert_str_eq(message, "/nonexistent/t.conf: No such file or directory");
}
END_TEST

START_TEST(conf__set_names_the_key_alone)
{
	struct target target dr_cleanup(target_fini) = { .path = dr_xstrdup("old"), .port = 7 };
	char *message dr_cleanup(dr_freep) = NULL;
	ck_assert_int_eq(dr_conf_set(table, N_OPTIONS, &target, "base_path", "new", &message), 0);
	ck_assert_str_eq(target.path, "new");
	ck_assert_int_eq(dr_conf_set(table, N_OPTIONS, &target, "port", "-3", &message), -EINVAL);
	ck_assert_str_eq(message, "port: '-3' is not a number from 1 to 65535");
	ck_assert_uint_eq(target.port, 7);
}
END_TEST

DR_UNIT_MAIN("conf", conf__reads_every_type, conf__the_last_of_a_key_wins,
	conf__an_indented_line_is_a_line, conf__takes_an_empty_file_and_a_byte_order_mark,
	conf__bool_knows_eight_words, conf__names_the_line_of_an_unknown_key,
	conf__names_the_line_of_a_bad_value, conf__a_text_value_stands_in_no_message,
	conf__tells_the_first_error, conf__knows_one_section,
	conf__refuses_a_line_that_would_be_cut, conf__a_command_is_never_cut,
	conf__refuses_a_nul_byte, conf__says_when_there_is_no_file, conf__set_names_the_key_alone)
