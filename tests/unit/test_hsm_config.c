/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "hsm/config.h"

#include <fcntl.h>
#include <stdio.h>

#include "unit.h"

static char path[64];
static char *message;

static int read_text(const char *text, struct dr_hsm_config *config)
{
	(void)snprintf(path, sizeof(path), "config-%d.yaml", getpid());
	ck_assert_int_eq(dr_replace_file_fast(AT_FDCWD, path, 0600, text, strlen(text)), 0);
	dr_hsm_config_init(config);
	dr_log_level = DR_LOG_NONE;
	free(message);
	message = NULL;
	int r = dr_hsm_config_read(config, path, &message);

	(void)unlink(path);
	return r;
}

START_TEST(config__reads_a_file_of_the_documented_system)
{
	struct dr_hsm_config config;

	ck_assert_int_eq(
		read_text("# comment\n---\nredis_host: \"redis.example.org\"\nredis_port: 6_380\n"
			  "redis_db: 2\nredis_stream_prefix: 'a:b'\npoll_interval: 20.5\n"
			  "reconcile_interval: 0.25\nuse_approximate_trimming: off\n"
			  "aggressive_trim_threshold: 500\nlog_level: CRITICAL\n"
			  "mdt_watch_glob: \"/x/*-MDT???\?/hsm/actions\"\n"
			  "cache_path: /c # why\nlog_file: ~\nmountpoint: /lustre\n",
			&config),
		0);
	ck_assert_str_eq(config.redis_host, "redis.example.org");
	ck_assert_uint_eq(config.redis_port, 6380);
	ck_assert_uint_eq(config.redis_db, 2);
	ck_assert_str_eq(config.redis_stream_prefix, "a:b");
	ck_assert_uint_eq(config.poll_interval_ms, 20500);
	ck_assert_uint_eq(config.reconcile_interval_ms, 250);
	ck_assert(!config.use_approximate_trimming);
	ck_assert_uint_eq(config.trim_chunk_size, 500);
	ck_assert_int_eq(config.log_level, DR_LOG_ERROR);
	ck_assert_str_eq(config.cache_path, "/c");
	ck_assert_ptr_null(config.log_file);
	ck_assert_str_eq(config.mountpoint, "/lustre");

	struct dr_url url = { 0 };

	ck_assert_int_eq(dr_hsm_config_url(&config, &url, &message), 0);
	ck_assert_str_eq(url.hosts[0].name, "redis.example.org");
	ck_assert_uint_eq(url.db, 2);
	dr_url_fini(&url);
	dr_hsm_config_fini(&config);
}
END_TEST

START_TEST(config__has_defaults_and_passes_over_unknown_keys)
{
	static const char *const texts[] = { "", "# nothing\n", "~\n", "{}\n",
		"unknown: 1\nalso:\n  - [a, {b: c}]\n  - d\nlast: {}\n" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct dr_hsm_config config;

		ck_assert_int_eq(read_text(texts[i], &config), 0);
		ck_assert_str_eq(config.redis_host, "localhost");
		ck_assert_uint_eq(config.redis_db, 1);
		ck_assert_uint_eq(config.poll_interval_ms, 20000);
		ck_assert_str_eq(config.mdt_watch_glob,
			"/sys/kernel/debug/lustre/mdt/*-MDT???\?/hsm/actions");
		dr_hsm_config_fini(&config);
	}
}
END_TEST

START_TEST(config__names_the_line_that_is_wrong)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{ "redis_db: 1\nredis_port: abc\n",
			":2: redis_port: 'abc' is not a port from 1 to 65535" },
		{ "redis_port: 0\n", ":1: redis_port: '0' is not a port" },
		{ "poll_interval: fast\n", ":1: poll_interval: 'fast' is not a number of seconds" },
		{ "poll_interval: nan\n", "is not a number of seconds" },
		{ "poll_interval: -1\n", "is not a number of seconds" },
		{ "use_approximate_trimming: 2\n", "is not true or false" },
		{ "log_level: loud\n", "is not DEBUG, INFO" },
		{ "redis_host: [a, b]\n", ":1: redis_host: a single value is wanted" },
		{ "- a\n- b\n", ":1: no mapping" },
		{ "just text\n", ":1: no mapping" },
		{ "a: 'b\n", ":" },
		{ "\t: x: y\n", ":1: " },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dr_hsm_config config;

		ck_assert_msg(read_text(cases[i].text, &config) == -EINVAL, "%s", cases[i].text);
		ck_assert_msg(strstr(message, cases[i].said), "%s: %s", cases[i].text, message);
		ck_assert_ptr_null(strchr(message, '\n'));
		dr_hsm_config_fini(&config);
	}
	struct dr_hsm_config config;

	dr_hsm_config_init(&config);
	free(message);
	ck_assert_int_eq(dr_hsm_config_read(&config, "/no/such/file", &message), -ENOENT);
	ck_assert_str_eq(message, "/no/such/file: No such file or directory");
	dr_hsm_config_fini(&config);
}
END_TEST

DR_UNIT_MAIN("hsm_config", config__reads_a_file_of_the_documented_system,
	config__has_defaults_and_passes_over_unknown_keys, config__names_the_line_that_is_wrong)
