/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "store/version.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "unit.h"

static char *folder; /* of the test that runs; each test has a process of its own */

static void make_folder(void)
{
	char name[] = "/tmp/drover-test-version-XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(name));
	folder = dr_xstrdup(name);
}

static void remove_folder(void)
{
	ck_assert_int_ge(dr_remove_tree(AT_FDCWD, folder), 0);
	free(folder);
	folder = NULL;
}

/* A program in the folder; the caller frees its path. */
static char *make_program(const char *text, mode_t mode)
{
	char *path = dr_xasprintf("%s/redis-server", folder);
	ck_assert_int_ge(dr_replace_file(AT_FDCWD, path, mode, text, strlen(text)), 0);
	return path;
}

static struct dr_server_version parse(const char *text)
{
	struct dr_server_version version = { 0 };
	ck_assert_msg(dr_server_version_parse(text, &version) == 0, "%s", text);
	return version;
}

static void check_parse(const char *text, const char *expected)
{
	struct dr_server_version version = parse(text);
	char buf[DR_SERVER_VERSION_SIZE];
	const char *formatted = dr_server_version_format(&version, buf);
	ck_assert_ptr_eq(formatted, buf);
	ck_assert_str_eq(buf, expected);
	struct dr_server_version back = parse(buf);
	ck_assert_str_eq(dr_server_version_format(&back, buf), expected);
}

START_TEST(version__is_read_from_what_servers_print)
{
	check_parse(
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0\n",
		"redis 7.0.15");
	check_parse(
		"Redis server v=6.2.20 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64 build=5c4e2e6d8c1c7f1b\n",
		"redis 6.2.20");
	check_parse(
		"Redis server v=8.2.1 sha=00000000:1 malloc=jemalloc-5.3.0 bits=64 build=9c4a2a9a3cf9e3e9",
		"redis 8.2.1");
	check_parse(
		"Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=8c7a4bd8f1c40d4\n",
		"valkey 8.0.1");
	/* Valkey 7.2 does not say its name. */
	check_parse(
		"Server v=7.2.7 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=3b2f7f2a1e1f0a3c\n",
		"valkey 7.2.7");
	check_parse("Redis server v=255.255.255 sha=a25b15392c:0 malloc=libc bits=64 build=1\n",
		"redis 255.255.255");
	check_parse("Valkey server v=9.0.0\nanother line\n", "valkey 9.0.0");
}
END_TEST

START_TEST(version__is_read_from_our_own_record)
{
	check_parse("redis 7.0.15\n", "redis 7.0.15");
	check_parse("redis 7.0.15", "redis 7.0.15");
	check_parse("valkey 8.0.1\n", "valkey 8.0.1");
	check_parse("valkey 99999.99999.99999", "valkey 99999.99999.99999");
	struct dr_server_version all = { true, UINT32_MAX, UINT32_MAX, UINT32_MAX };
	char buf[DR_SERVER_VERSION_SIZE];
	ck_assert_str_eq(
		dr_server_version_format(&all, buf), "valkey 4294967295.4294967295.4294967295");
}
END_TEST

START_TEST(version__of_another_form_is_refused)
{
	static const char *const bad[] = { "", "\n", "redis", "redis ", "redis 7", "redis 7.0",
		"redis 7.0.", "redis 7.0.x", "redis 7..15", "redis 7.0.15.2", "redis 7.0.15x",
		"redis 7.0.15-rc1", "redis -7.0.15", "redis +7.0.15", "redis  7.0.15",
		"redis 7. 0.15", "redis 7.0\n.15", "redis 100000.0.0",
		"redis 7.0.99999999999999999999", "Redis 7.0.15", "valkey=8.0.1",
		"Redis server v=", "Redis server v=x.y.z", "Redis server version 2.4.10",
		"redis server v=7.0.15", " Redis server v=7.0.15", "KeyDB server v=6.3.4 sha=0",
		"\nRedis server v=7.0.15", "Redis server\n v=7.0.15",
		"redis-server: error while loading shared libraries: libsystemd.so.0" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dr_server_version version = { true, 1, 2, 3 };
		ck_assert_msg(dr_server_version_parse(bad[i], &version) == -EINVAL, "%s", bad[i]);
		ck_assert(version.valkey && version.major == 1 && version.minor == 2 &&
			  version.patch == 3);
	}
}
END_TEST

static void check_can_read(const char *have_text, const char *recorded_text, bool expected)
{
	struct dr_server_version have = parse(have_text), recorded = parse(recorded_text);
	ck_assert_msg(dr_server_version_can_read(&have, &recorded) == expected, "%s reads %s",
		have_text, recorded_text);
}

START_TEST(can_read__its_own_family_unless_newer)
{
	check_can_read("redis 7.0.15", "redis 7.0.15", true);
	check_can_read("redis 7.0.4", "redis 7.0.15", true); /* patch levels do not matter */
	check_can_read("redis 7.2.0", "redis 7.0.15", true);
	check_can_read("redis 7.0.15", "redis 7.2.0", false);
	check_can_read("redis 6.2.20", "redis 7.0.0", false);
	check_can_read("redis 7.0.0", "redis 6.2.20", true);
	check_can_read("redis 8.0.0", "redis 7.4.9", true);
	check_can_read("redis 7.4.9", "redis 8.0.0", false);
	check_can_read("redis 10.0.0", "redis 9.9.9", true);
	check_can_read("valkey 8.0.0", "valkey 7.2.7", true);
	check_can_read("valkey 7.2.7", "valkey 8.0.0", false);
	check_can_read("valkey 9.0.0", "valkey 8.1.4", true);
	check_can_read("valkey 8.1.4", "valkey 9.0.0", false);
}
END_TEST

START_TEST(can_read__valkey_takes_over_from_redis_up_to_7_2)
{
	static const char *const valkeys[] = { "valkey 7.2.4", "valkey 8.0.1", "valkey 8.1.4",
		"valkey 9.0.0" };
	for (size_t i = 0; i < sizeof(valkeys) / sizeof(valkeys[0]); i++) {
		check_can_read(valkeys[i], "redis 6.2.20", true);
		check_can_read(valkeys[i], "redis 7.0.15", true);
		check_can_read(valkeys[i], "redis 7.2.11", true);
		check_can_read(valkeys[i], "redis 7.3.240", false); /* 7.4-rc1 */
		check_can_read(valkeys[i], "redis 7.4.0", false);
		check_can_read(valkeys[i], "redis 8.0.0", false);
		check_can_read("redis 6.2.20", valkeys[i], false);
		check_can_read("redis 7.2.11", valkeys[i], false);
		check_can_read("redis 7.4.0", valkeys[i], false);
		check_can_read("redis 99.0.0", valkeys[i], false);
	}
}
END_TEST

START_TEST(supported__is_redis_since_6_2_and_valkey)
{
	static const struct {
		const char *text;
		bool supported;
	} cases[] = { { "redis 5.0.14", false }, { "redis 6.0.16", false },
		{ "redis 6.1.240", false }, { "redis 6.2.0", true }, { "redis 7.0.0", true },
		{ "redis 8.2.1", true }, { "valkey 7.2.4", true }, { "valkey 8.0.0", true },
		{ "valkey 9.0.0", true } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dr_server_version version = parse(cases[i].text);
		ck_assert_msg(dr_server_version_supported(&version) == cases[i].supported, "%s",
			cases[i].text);
	}
}
END_TEST

/* What a program of that text is told to be. */
static int version_of(const char *text, struct dr_server_version *version)
{
	char *path dr_cleanup(dr_freep) = make_program(text, 0755);
	return dr_server_version_of(path, version);
}

START_TEST(version_of__asks_the_program)
{
	struct dr_server_version version = { 0 };
	char buf[DR_SERVER_VERSION_SIZE];
	make_folder();
	/* It has its own name, the option, no input, and neither our blocked signals nor our ignored SIGPIPE. */
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &set, NULL), 0);
	ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	static const char program[] = "#!/bin/sh\n"
				      "[ \"$#\" -eq 1 ] && [ \"$1\" = --version ] || exit 1\n"
				      "[ \"${0##*/}\" = redis-server ] || exit 1\n"
				      "read -r line && exit 1\n"
				      "while read -r key value; do\n"
				      "  case $key$value in\n"
				      "  SigBlk:*[1-9a-f]*) exit 1 ;;\n"
				      "  SigIgn:*[13579bdf][!x][!x][!x]) exit 1 ;;\n"
				      "  esac\n"
				      "done </proc/self/status\n"
				      "echo 'Redis server v=7.0.15 sha=00000000:0 bits=64'\n";
	ck_assert_int_eq(version_of(program, &version), 0);
	ck_assert_str_eq(dr_server_version_format(&version, buf), "redis 7.0.15");
	remove_folder();
}
END_TEST

START_TEST(version_of__reads_the_first_line_of_the_output_only)
{
	struct dr_server_version version = { true, 1, 2, 3 };
	make_folder();
	ck_assert_int_eq(version_of("#!/bin/sh\nexit 0\n", &version), -EINVAL);
	ck_assert_int_eq(
		version_of("#!/bin/sh\necho 'Redis server v=7.0.15' >&2\n", &version), -EINVAL);
	ck_assert_int_eq(version_of("#!/bin/sh\necho; echo 'redis 7.0.15'\n", &version), -EINVAL);
	/* without an end, with and without lines */
	ck_assert_int_eq(version_of("#!/bin/sh\nexec yes\n", &version), -EINVAL);
	ck_assert_int_eq(version_of("#!/bin/sh\nexec cat /dev/zero\n", &version), -EINVAL);
	ck_assert_int_eq(version_of("#!/bin/sh\nexec printf %0600d 7\n", &version), -EINVAL);
	ck_assert(version.valkey && version.major == 1);
	ck_assert_int_eq(version_of("#!/bin/sh\nexec yes 'valkey 8.0.1'\n", &version), 0);
	ck_assert_int_eq(
		version_of("#!/bin/sh\nprintf 'Redis serv'; sleep 0.1; printf 'er v=7.2.3'\n",
			&version),
		0);
	ck_assert_uint_eq(version.minor, 2);
	remove_folder();
}
END_TEST

START_TEST(version_of__program_that_cannot_start_is_told)
{
	struct dr_server_version version;
	make_folder();
	char *path dr_cleanup(dr_freep) = make_program("#!/bin/sh\necho redis 7.0.15\n", 0644);
	ck_assert_int_eq(dr_server_version_of(path, &version), -EACCES);
	ck_assert_int_eq(dr_server_version_of(folder, &version), -EACCES);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(dr_server_version_of(path, &version), -ENOENT);
	ck_assert_int_eq(dr_server_version_of("sh", &version), -ENOENT); /* $PATH is not searched */
	/* no shell tries its luck with it */
	ck_assert_int_eq(version_of("echo redis 7.0.15\n", &version), -ENOEXEC);
	remove_folder();
}
END_TEST

/* Whether the process whose id the program wrote into the file `pid` ends within a second. */
static bool is_gone(void)
{
	char *path dr_cleanup(dr_freep) = dr_xasprintf("%s/pid", folder);
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	ck_assert_int_eq(dr_read_file(AT_FDCWD, path, 64, &text), 0);
	pid_t pid = (pid_t)strtol(dr_buf_cstr(&text), NULL, 10);
	ck_assert_int_gt(pid, 1);
	char *stat dr_cleanup(dr_freep) = dr_xasprintf("/proc/%d/stat", (int)pid);
	for (int i = 0; i < 100; i++) {
		struct dr_buf state dr_cleanup(dr_buf_fini) = { 0 };
		/* Whoever adopted it may be slow to reap it. */
		if (dr_read_file(AT_FDCWD, stat, 4096, &state) < 0 ||
			strstr(dr_buf_cstr(&state), ") Z ")) {
			return true;
		}
		dr_sleep_ms(10);
	}
	return false;
}

/* `child` writes its id and stays; so does the program, after that. */
#define LINGER                                                                                     \
	"#!/bin/sh\n"                                                                              \
	"sleep 600 &\n"                                                                            \
	"echo $! >\"${0%/*}/pid\"\n"

START_TEST(version_of__program_that_lingers_is_killed_with_its_children)
{
	struct dr_server_version version;
	uint64_t begin_ns = dr_now_ns();
	make_folder();
	ck_assert_int_eq(version_of(LINGER "echo 'Redis server v=7.0.15'\nwait\n", &version), 0);
	ck_assert_uint_lt(dr_now_ns() - begin_ns, UINT64_C(5000000000));
	ck_assert(is_gone());
	remove_folder();
}
END_TEST

START_TEST(version_of__program_that_says_nothing_in_time_is_killed)
{
	struct dr_server_version version;
	make_folder();
	char *path dr_cleanup(dr_freep) =
		make_program(LINGER "printf 'Redis server'\nwait\n", 0755);
	uint64_t begin_ns = dr_now_ns();
	ck_assert_int_eq(dr_server_version_of_within(path, 500, &version), -ETIMEDOUT);
	ck_assert_uint_ge(dr_now_ns() - begin_ns, UINT64_C(500000000));
	ck_assert_uint_lt(dr_now_ns() - begin_ns, UINT64_C(5000000000));
	ck_assert(is_gone());
	remove_folder();
}
END_TEST

DR_UNIT_MAIN("version", version__is_read_from_what_servers_print,
	version__is_read_from_our_own_record, version__of_another_form_is_refused,
	can_read__its_own_family_unless_newer, can_read__valkey_takes_over_from_redis_up_to_7_2,
	supported__is_redis_since_6_2_and_valkey, version_of__asks_the_program,
	version_of__reads_the_first_line_of_the_output_only,
	version_of__program_that_cannot_start_is_told,
	version_of__program_that_lingers_is_killed_with_its_children,
	version_of__program_that_says_nothing_in_time_is_killed)
