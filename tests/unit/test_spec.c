/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "campaign/options.h"
#include "campaign/spec.h"

#include <fcntl.h>

#include "unit.h"

static struct dr_spec *sample(void)
{
	struct dr_spec *spec = dr_xcalloc(1, sizeof *spec);
	spec->name = dr_xstrdup("ost-evac-1");
	spec->id = dr_xstrdup("0123456789abcdef");
	spec->fs_root = dr_xstrdup("/mnt/l\xffustre");
	spec->fs_identity = dr_xstrdup("word");
	spec->fs_kind = dr_xstrdup("lab");
	spec->osts_text = dr_xstrdup("2,4-5");
	ck_assert_int_ge(dr_rangeset_parse(spec->osts_text, &spec->osts), 0);
	spec->scan_paths = dr_xcalloc(2, sizeof *spec->scan_paths);
	spec->scan_paths[0] = (struct dr_path){ dr_xstrdup(""), 0 };
	spec->scan_paths[1] = (struct dr_path){ dr_xstrdup("a/\xff\n\\b"), 6 };
	spec->n_scan_paths = 2;
	spec->excludes = dr_xcalloc(1, sizeof *spec->excludes);
	spec->excludes[0] = (struct dr_path){ dr_xstrdup("x/y"), 3 };
	spec->n_excludes = 1;
	spec->exclude_names = dr_xcalloc(1, sizeof *spec->exclude_names);
	spec->exclude_names[0] = (struct dr_path){ dr_xstrdup(".snapshot"), 9 };
	spec->n_exclude_names = 1;
	spec->dry_run = true;
	spec->created_ms = 1700000000123;
	return spec;
}

START_TEST(spec__comes_back_from_json_byte_for_byte)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample();
	struct dr_spec *back dr_cleanup(dr_spec_freep) = NULL;
	json_t *json = dr_spec_to_json(spec);
	char *text dr_cleanup(dr_freep) = json_dumps(json, 0);
	json_decref(json);
	ck_assert_ptr_nonnull(text);
	json = json_loads(text, 0, NULL);
	ck_assert_int_eq(dr_spec_from_json(json, &back), 0);
	json_decref(json);
	ck_assert_str_eq(back->name, spec->name);
	ck_assert_str_eq(back->id, spec->id);
	ck_assert_str_eq(back->fs_root, spec->fs_root);
	ck_assert_str_eq(back->fs_identity, "word");
	ck_assert_str_eq(back->fs_kind, "lab");
	ck_assert_uint_eq(back->osts.count, 3);
	ck_assert(dr_rangeset_has(&back->osts, 4));
	ck_assert_uint_eq(back->n_scan_paths, 2);
	ck_assert_uint_eq(back->scan_paths[0].len, 0);
	ck_assert_uint_eq(back->scan_paths[1].len, 6);
	ck_assert_str_eq(back->scan_paths[1].bytes, "a/\xff\n\\b");
	ck_assert_uint_eq(back->n_excludes, 1);
	ck_assert_str_eq(back->excludes[0].bytes, "x/y");
	ck_assert_str_eq(back->exclude_names[0].bytes, ".snapshot");
	ck_assert(back->dry_run);
	ck_assert_uint_eq(back->created_ms, 1700000000123);
}
END_TEST

START_TEST(spec__refuses_json_that_misses_any_key)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample();
	json_t *whole = dr_spec_to_json(spec);
	const char *key;
	json_t *value;
	json_object_foreach(whole, key, value)
	{
		struct dr_spec *back = NULL;
		json_t *json = json_copy(whole);
		json_object_del(json, key);
		ck_assert_msg(dr_spec_from_json(json, &back) == -EBADMSG, "without %s", key);
		json_object_set_new(json, key, json_null());
		ck_assert_msg(dr_spec_from_json(json, &back) == -EBADMSG, "null %s", key);
		ck_assert_ptr_null(back);
		json_decref(json);
	}
	json_decref(whole);
}
END_TEST

static void check_bad(const char *key, json_t *value)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample();
	struct dr_spec *back = NULL;
	json_t *json = dr_spec_to_json(spec);
	json_object_set_new(json, key, value);
	ck_assert_msg(dr_spec_from_json(json, &back) == -EBADMSG, "%s", key);
	json_decref(json);
}

START_TEST(spec__refuses_values_that_nobody_could_work_with)
{
	static const char *const paths[] = { "/a", "a/", "a//b", "..", "a/../b", ".", "a\\x00b",
		"a\\q" };
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		check_bad("scan_paths", json_pack("[s]", paths[i]));
	}
	check_bad("scan_paths", json_array());
	check_bad("osts", json_string("5-2"));
	check_bad("name", json_string("../x"));
	check_bad("kind", json_string("balance"));
	check_bad("format", json_integer(2));
	check_bad("fs_root", json_string("relative"));
	check_bad("created_ms", json_integer(-1));
	struct dr_spec *back = NULL;
	json_t *json = json_array();
	ck_assert_int_eq(dr_spec_from_json(json, &back), -EBADMSG);
	json_decref(json);
}
END_TEST

START_TEST(spec__list_may_stand_alone_or_beside_scan_paths)
{
	for (int alone = 0; alone < 2; alone++) {
		struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample();
		struct dr_spec *back dr_cleanup(dr_spec_freep) = NULL;
		spec->n_candidates = 3;
		spec->candidates_bytes = 1ull << 40;
		json_t *json = dr_spec_to_json(spec);
		if (alone) {
			json_object_set_new(json, "scan_paths", json_array());
		}
		ck_assert_int_eq(dr_spec_from_json(json, &back), 0);
		ck_assert_uint_eq(back->n_candidates, 3);
		ck_assert_uint_eq(back->candidates_bytes, 1ull << 40);
		ck_assert_uint_eq(back->n_scan_paths, alone ? 0 : 2);
		json_decref(json);
	}
	check_bad("from_list", json_null());
	check_bad("from_list", json_object());
	check_bad("from_list", json_pack("{s:i, s:i}", "candidates", 0, "bytes", 9));
	check_bad("from_list", json_pack("{s:i, s:i}", "candidates", 9, "bytes", 8));
	check_bad("from_list", json_pack("{s:i, s:s}", "candidates", 9, "bytes", "90"));
}
END_TEST

static struct dr_spec *sample_clone(void)
{
	struct dr_spec *spec = sample();
	spec->kind = DR_CLONE;
	spec->osts_text[0] = '\0';
	spec->n_scan_paths = 1;
	free(spec->scan_paths[1].bytes);
	spec->clone = (struct dr_spec_clone){
		.from = dr_xstrdup("/mnt/l\xffustre"),
		.to = dr_xstrdup("/new\n\\\xfe"),
		.from_identity = dr_xstrdup("lustre:a\xff [0x200000007:0x1:0x0]"),
		.to_identity = dr_xstrdup("posix:00 7"),
		.passes = DR_PASS_COPY | DR_PASS_DIRTIMES,
		.oldest_s = 7776000,
		.newest_s = 5,
		.min_size = 1,
		.max_size = 1ull << 62,
		.uids = dr_xstrdup("0-99,4294967294"),
		.projects = dr_xstrdup("7"),
		.n_exceptions = 12,
		.layout = DR_LAYOUT_RULES,
		.released = DR_CLONE_STUB,
		.max_delete = 5,
		.max_delete_is_percent = true,
		.checksum = true,
		.merge = true,
	};
	return spec;
}

START_TEST(spec__of_a_clone_comes_back_from_json_byte_for_byte)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample_clone();
	struct dr_spec *back dr_cleanup(dr_spec_freep) = NULL;
	json_t *json = dr_spec_to_json(spec);
	char *text dr_cleanup(dr_freep) = json_dumps(json, 0);
	json_decref(json);
	ck_assert_ptr_nonnull(text);
	json = json_loads(text, 0, NULL);
	ck_assert_int_eq(dr_spec_from_json(json, &back), 0);
	json_decref(json);
	const struct dr_spec_clone *clone = &back->clone;
	ck_assert_int_eq(back->kind, DR_CLONE);
	ck_assert_uint_eq(back->osts.count, 0);
	ck_assert_str_eq(clone->from, spec->clone.from);
	ck_assert_str_eq(clone->to, spec->clone.to);
	ck_assert_str_eq(clone->from_identity, spec->clone.from_identity);
	ck_assert_str_eq(clone->to_identity, spec->clone.to_identity);
	ck_assert_uint_eq(clone->passes, DR_PASS_COPY | DR_PASS_DIRTIMES);
	ck_assert_uint_eq(clone->oldest_s, 7776000);
	ck_assert_uint_eq(clone->newest_s, 5);
	ck_assert_uint_eq(clone->min_size, 1);
	ck_assert_uint_eq(clone->max_size, 1ull << 62);
	ck_assert_str_eq(clone->uids, "0-99,4294967294");
	ck_assert_ptr_null(clone->gids);
	ck_assert_str_eq(clone->projects, "7");
	ck_assert_uint_eq(clone->n_exceptions, 12);
	ck_assert_int_eq(clone->layout, DR_LAYOUT_RULES);
	ck_assert_int_eq(clone->released, DR_CLONE_STUB);
	ck_assert_uint_eq(clone->max_delete, 5);
	ck_assert(clone->max_delete_is_percent && clone->checksum && clone->merge);
	ck_assert(!clone->manifest);
}
END_TEST

START_TEST(spec__of_a_clone_without_a_bound_has_none_when_it_comes_back)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample_clone();
	struct dr_spec *back dr_cleanup(dr_spec_freep) = NULL;
	spec->clone.max_delete = UINT64_MAX;
	spec->clone.max_delete_is_percent = false;
	spec->clone.passes = DR_PASS_VERIFY;
	json_t *json = dr_spec_to_json(spec);
	ck_assert_int_eq(dr_spec_from_json(json, &back), 0);
	ck_assert_uint_eq(back->clone.max_delete, UINT64_MAX);
	ck_assert_uint_eq(back->clone.passes, DR_PASS_VERIFY);
	json_decref(json);
}
END_TEST

START_TEST(spec__refuses_a_clone_that_misses_any_key)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample_clone();
	struct dr_spec *back = NULL;
	json_t *whole = dr_spec_to_json(spec);
	const char *key;
	json_t *value;
	json_object_foreach(json_object_get(whole, "clone"), key, value)
	{
		json_t *json = json_deep_copy(whole);
		json_object_del(json_object_get(json, "clone"), key);
		ck_assert_msg(dr_spec_from_json(json, &back) == -EBADMSG, "without %s", key);
		json_object_set_new(json_object_get(json, "clone"), key, json_array());
		ck_assert_msg(dr_spec_from_json(json, &back) == -EBADMSG, "[] as %s", key);
		json_decref(json);
	}
	json_object_del(whole, "clone");
	ck_assert_int_eq(dr_spec_from_json(whole, &back), -EBADMSG);
	ck_assert_ptr_null(back);
	json_decref(whole);
}
END_TEST

static void check_bad_clone(const char *key, json_t *value)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample_clone();
	struct dr_spec *back = NULL;
	json_t *json = dr_spec_to_json(spec);
	json_object_set_new(json_object_get(json, "clone"), key, value);
	ck_assert_msg(dr_spec_from_json(json, &back) == -EBADMSG, "%s", key);
	json_decref(json);
}

START_TEST(spec__refuses_a_clone_that_nobody_could_work_on)
{
	check_bad_clone("from", json_string("relative"));
	check_bad_clone("to", json_string(""));
	check_bad_clone("to", json_string("/a\\x00b"));
	check_bad_clone("passes", json_pack("[s, s]", "verify", "copy"));
	check_bad_clone("passes", json_pack("[s]", "all"));
	check_bad_clone("passes", json_pack("[i]", 1));
	check_bad_clone("oldest_s", json_integer(-1));
	check_bad_clone("uids", json_string(""));
	check_bad_clone("layout", json_string("lose"));
	check_bad_clone("released", json_integer(0));
	check_bad_clone("max_delete", json_pack("{s:i}", "percent", 101));
	check_bad_clone("max_delete", json_object());
	check_bad_clone("max_delete", json_integer(3));
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample_clone();
	struct dr_spec *back = NULL;
	json_t *json = dr_spec_to_json(spec);
	json_object_set_new(json, "osts", json_string("3"));
	ck_assert_int_eq(dr_spec_from_json(json, &back), -EBADMSG);
	json_decref(json);
}
END_TEST

START_TEST(spec__passes_have_names)
{
	ck_assert_uint_eq(dr_pass_of("dirtimes", 8), DR_PASS_DIRTIMES);
	ck_assert_uint_eq(dr_pass_of("copy,", 4), DR_PASS_COPY);
	ck_assert_uint_eq(dr_pass_of("cop", 3), 0);
	ck_assert_uint_eq(dr_pass_of("", 0), 0);
	ck_assert_str_eq(dr_pass_name(DR_PASS_DELETE), "delete");
	ck_assert_ptr_null(dr_pass_name(DR_PASS_COPY | DR_PASS_DELETE));
}
END_TEST

START_TEST(spec__name_is_a_plain_word)
{
	char longest[66];
	memset(longest, 'x', sizeof(longest));
	longest[65] = '\0';
	ck_assert(!dr_spec_name_ok(longest));
	longest[64] = '\0';
	ck_assert(dr_spec_name_ok(longest));
	ck_assert(dr_spec_name_ok("ost-evac_1.b"));
	ck_assert(!dr_spec_name_ok(""));
	ck_assert(!dr_spec_name_ok(".hidden"));
	ck_assert(!dr_spec_name_ok("-x"));
	ck_assert(!dr_spec_name_ok("a/b"));
	ck_assert(!dr_spec_name_ok("a b"));
	ck_assert(!dr_spec_name_ok("\xff"));
}
END_TEST

/* Reads that text as a configuration. */
static int load(const char *text, struct dr_options *options, char **ret_message)
{
	char file[] = "/tmp/drover-test-options-XXXXXX";
	int fd = mkstemp(file);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(dr_write_full(fd, text, strlen(text)), 0);
	(void)close(fd);
	dr_options_init(options);
	int r = dr_options_load(options, file, ret_message);
	(void)unlink(file);
	return r;
}

static void check_refused(const char *text, const char *part)
{
	struct dr_options options dr_cleanup(dr_options_fini) = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;
	ck_assert_int_eq(load(text, &options, &message), -EINVAL);
	ck_assert_ptr_nonnull(message);
	ck_assert_msg(strstr(message, part) != NULL, "'%s' is not in '%s'", part, message);
	ck_assert_ptr_null(strchr(message, '\n'));
}

START_TEST(options__read_a_configuration_of_the_older_program_as_it_is)
{
	struct dr_options options dr_cleanup(dr_options_fini) = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;
	ck_assert_int_eq(load("# /etc/lustre-migrator.conf\n[main]\nbase_path = /var/lib/x\n"
			      "communication_subnet = 10.0.16.0/24\nscan_batch_size = 1000\n"
			      "redis_startup_timeout = 20\nredis_port = 6400\nmetrics_port = 9200\n"
			      "metrics_bind_address = 0.0.0.0\n"
			      "lfs_migrate_command = lfs migrate -c 1 -n\n",
				 &options, &message),
		0);
	ck_assert_str_eq(options.base_path, "/var/lib/x");
	ck_assert_str_eq(options.communication_subnet, "10.0.16.0/24");
	ck_assert_uint_eq(options.scan_batch_size, 1000);
	ck_assert_uint_eq(options.redis_startup_timeout, 20);
	ck_assert_uint_eq(options.redis_port, 6400);
	ck_assert_uint_eq(options.metrics_port, 9200);
	ck_assert_str_eq(options.metrics_bind_address, "0.0.0.0");
	ck_assert_str_eq(options.lfs_migrate_command, "lfs migrate -c 1 -n");
	ck_assert_ptr_null(dr_options_command(&options)); /* it serves mover = lfs alone */
	ck_assert_uint_eq(options.claim_timeout, 60);
	ck_assert(options.fsync);
}
END_TEST

START_TEST(options__refuse_a_command_in_buffered_mode)
{
	static const char *const bad[] = { "lfs migrate -D", "lfs migrate -nD -c 1",
		"lfs migrate -Dn", "sh -c 'lfs migrate -n -D'", "lfs migrate --non-direct",
		"lfs migrate --non-d", "lfs migrate \"-\"\"D\"" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *text dr_cleanup(dr_freep) =
			dr_xasprintf("[main]\nlfs_migrate_command = %s\n", bad[i]);
		check_refused(text, ":2: lfs_migrate_command: the value has the option -D");
	}
	static const char *const good[] = { "lfs migrate -n -c 1 -p D", "lfs migrate -pD",
		"lfs migrate --non-block" };
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct dr_options options dr_cleanup(dr_options_fini) = { 0 };
		char *message dr_cleanup(dr_freep) = NULL;
		char *text dr_cleanup(dr_freep) =
			dr_xasprintf("[main]\nlfs_migrate_command = %s\n", good[i]);
		ck_assert_int_eq(load(text, &options, &message), 0);
	}
}
END_TEST

START_TEST(options__the_mover_says_whether_there_is_a_command)
{
	static const struct {
		const char *text, *command;
	} cases[] = {
		{ "[main]\n", NULL },
		{ "[main]\nmover = native\nlfs_migrate_command = x\n", NULL },
		{ "[main]\nmover = lfs\n", "lfs migrate -n" },
		{ "[main]\nmover = lfs\nlfs_migrate_command =\n", "lfs migrate -n" },
		{ "[main]\nlfs_migrate_command = my script\nmover = lfs\n", "my script" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dr_options options dr_cleanup(dr_options_fini) = { 0 };
		char *message dr_cleanup(dr_freep) = NULL;

		ck_assert_int_eq(load(cases[i].text, &options, &message), 0);
		ck_assert_pstr_eq(dr_options_command(&options), cases[i].command);
		ck_assert_uint_eq(options.lfs_migrate_timeout, 3600);
	}
}
END_TEST

START_TEST(options__name_file_and_line_of_what_is_bad)
{
	check_refused("[main]\nmover = rsync\n", "is not one of native, lfs");
	check_refused("[main]\nlfs_migrate_command = lfs 'migrate\n", "quote that is not closed");
	check_refused("[main]\nlfs_migrate_timeout = 0\n", ":2: lfs_migrate_timeout");
	check_refused("[main]\n\nredis_prot = 1\n", ":3: unknown key 'redis_prot'");
	check_refused("[main]\nredis_port = 65536\n", ":2: redis_port");
	check_refused("[main]\nbase_path = relative\n", "is not an absolute path");
	check_refused("[main]\nbase_path =\n", "is not an absolute path");
	check_refused("[main]\nmetrics_bind_address = not an address\n", "is not an IP address");
	check_refused("[main]\ncommunication_subnet = 10.0.16.0/33\n", "is not a subnet");
	check_refused("[main]\ncommunication_subnet = 10.0.16.0\n", "is not a subnet");
	check_refused("[main]\nlog_level = loud\n", "is not one of error");
	check_refused("[main]\nretry_delays = 60,,5\n", "is not a list");
}
END_TEST

START_TEST(options__delays_are_a_list_of_times)
{
	uint64_t delays[DR_RETRIES_MAX];
	ck_assert_int_eq(dr_options_parse_delays("60,300,1800", delays), 3);
	ck_assert_uint_eq(delays[2], 1800);
	ck_assert_int_eq(dr_options_parse_delays(" 5m , 2h ", delays), 2);
	ck_assert_uint_eq(delays[0], 300);
	ck_assert_uint_eq(delays[1], 7200);
	ck_assert_int_eq(dr_options_parse_delays("0", delays), 1);
	ck_assert_int_eq(dr_options_parse_delays("", delays), 0);
	delays[0] = 7;
	ck_assert_int_eq(dr_options_parse_delays("1,", delays), -EINVAL);
	ck_assert_int_eq(dr_options_parse_delays(",1", delays), -EINVAL);
	ck_assert_int_eq(dr_options_parse_delays("1,x", delays), -EINVAL);
	ck_assert_int_eq(
		dr_options_parse_delays("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", delays),
		-EINVAL);
	ck_assert_uint_eq(delays[0], 7);
}
END_TEST

DR_UNIT_MAIN("spec", spec__comes_back_from_json_byte_for_byte,
	spec__refuses_json_that_misses_any_key, spec__refuses_values_that_nobody_could_work_with,
	spec__list_may_stand_alone_or_beside_scan_paths,
	spec__of_a_clone_comes_back_from_json_byte_for_byte,
	spec__of_a_clone_without_a_bound_has_none_when_it_comes_back,
	spec__refuses_a_clone_that_misses_any_key, spec__refuses_a_clone_that_nobody_could_work_on,
	spec__passes_have_names, spec__name_is_a_plain_word,
	options__read_a_configuration_of_the_older_program_as_it_is,
	options__refuse_a_command_in_buffered_mode,
	options__the_mover_says_whether_there_is_a_command,
	options__name_file_and_line_of_what_is_bad, options__delays_are_a_list_of_times)
