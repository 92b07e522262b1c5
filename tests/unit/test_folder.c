/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "campaign/leadership.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "unit.h"

static char *base; /* of the test that runs; each test has a process of its own */

static void make_base(void)
{
	char name[] = "/tmp/drover-test-folder-XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(name));
	base = dr_xstrdup(name);
}

static void remove_base(void)
{
	ck_assert_int_ge(dr_remove_tree(AT_FDCWD, base), 0);
	free(base);
	base = NULL;
}

static struct dr_spec *sample(const char *name)
{
	struct dr_spec *spec = dr_xcalloc(1, sizeof *spec);
	spec->name = dr_xstrdup(name);
	spec->id = dr_xstrdup("0123456789abcdef");
	spec->fs_root = dr_xstrdup("/lab/ns");
	spec->fs_identity = dr_xstrdup("word");
	spec->fs_kind = dr_xstrdup("lab");
	spec->osts_text = dr_xstrdup("2");
	ck_assert_int_ge(dr_rangeset_parse(spec->osts_text, &spec->osts), 0);
	spec->scan_paths = dr_xcalloc(1, sizeof *spec->scan_paths);
	spec->scan_paths[0] = (struct dr_path){ dr_xstrdup("a"), 1 };
	spec->n_scan_paths = 1;
	return spec;
}

static struct dr_folder create(const char *name)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample(name);
	struct dr_folder folder;
	ck_assert_int_eq(dr_folder_create(base, spec), 0);
	ck_assert_int_eq(dr_folder_open(base, name, &folder), 0);
	return folder;
}

/* Entries of a directory, hidden ones too. */
static int count(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;
	ck_assert_ptr_nonnull(dir);
	while (readdir(dir)) {
		n++;
	}
	(void)closedir(dir);
	return n - 2;
}

START_TEST(folder__is_made_whole_with_its_spec)
{
	make_base();
	struct dr_folder folder = create("one");
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = NULL;
	struct stat st;
	ck_assert_int_eq(dr_folder_spec(&folder, &spec), 0);
	ck_assert_str_eq(spec->name, "one");
	ck_assert_str_eq(spec->scan_paths[0].bytes, "a");
	ck_assert_int_eq(fstatat(folder.fd, "logs", &st, 0), 0);
	ck_assert_int_eq(fstatat(folder.fd, "requests", &st, 0), 0);
	ck_assert_int_eq(count(base), 1);
	dr_folder_fini(&folder);
	dr_folder_fini(&folder); /* twice does no harm */
	remove_base();
}
END_TEST

START_TEST(folder__of_the_same_name_is_refused_and_the_first_stays)
{
	make_base();
	struct dr_folder folder = create("one");
	struct dr_spec *second dr_cleanup(dr_spec_freep) = sample("one");
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = NULL;
	free(second->id);
	second->id = dr_xstrdup("another");
	ck_assert_int_eq(dr_folder_create(base, second), -EEXIST);
	ck_assert_int_eq(count(base), 1);
	ck_assert_int_eq(dr_folder_spec(&folder, &spec), 0);
	ck_assert_str_eq(spec->id, "0123456789abcdef");
	dr_folder_fini(&folder);
	remove_base();
}
END_TEST

START_TEST(folder__that_cannot_be_made_leaves_no_base_path)
{
	make_base();
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample("a/b");
	char *deep dr_cleanup(dr_freep) = dr_xasprintf("%s/x//y/z", base);
	ck_assert_int_eq(dr_folder_create(deep, spec), -EINVAL);
	ck_assert_int_eq(count(base), 0);
	free(spec->name);
	spec->name = dr_xstrdup("ok");
	ck_assert_int_eq(dr_folder_create(deep, spec), 0);
	ck_assert_int_eq(count(deep), 1);
	char *file dr_cleanup(dr_freep) = dr_xasprintf("%s/x/y/z/ok/campaign.json/p/q", base);
	ck_assert_int_eq(dr_folder_create(file, spec), -ENOTDIR);
	ck_assert_int_eq(count(deep), 1);
	remove_base();
}
END_TEST

START_TEST(folder__in_the_making_becomes_a_campaign_or_nothing)
{
	make_base();
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = sample("one");
	struct dr_new_folder made;
	struct dr_folder folder;
	struct stat st;
	char *deep dr_cleanup(dr_freep) = dr_xasprintf("%s/x/y", base);
	ck_assert_int_eq(dr_folder_begin(deep, &made), 0);
	ck_assert_int_ge(dr_replace_file(made.fd, "candidates", 0600, "/a", 3), 0);
	ck_assert_int_eq(dr_folder_open(deep, "one", &folder), -ENOENT);
	dr_folder_abandon(&made);
	dr_folder_abandon(&made); /* twice does no harm */
	ck_assert_int_eq(count(base), 0);
	ck_assert_int_eq(dr_folder_begin(deep, &made), 0);
	ck_assert_int_ge(dr_replace_file(made.fd, "candidates", 0600, "/a", 3), 0);
	ck_assert_int_eq(dr_folder_commit(&made, spec), 0);
	dr_folder_abandon(&made);
	ck_assert_int_eq(count(deep), 1);
	ck_assert_int_eq(dr_folder_open(deep, "one", &folder), 0);
	ck_assert_int_eq(fstatat(folder.fd, "candidates", &st, 0), 0);
	dr_folder_fini(&folder);
	ck_assert_int_eq(dr_folder_begin(deep, &made), 0);
	ck_assert_int_eq(dr_folder_commit(&made, spec), -EEXIST);
	ck_assert_int_eq(count(deep), 1);
	remove_base();
}
END_TEST

START_TEST(folder__that_is_not_there_or_no_campaign_is_not_found)
{
	make_base();
	struct dr_folder folder;
	ck_assert_int_eq(dr_folder_open(base, "one", &folder), -ENOENT);
	ck_assert_int_eq(dr_folder_open(base, "..", &folder), -ENOENT);
	ck_assert_int_eq(dr_folder_open(base, "", &folder), -ENOENT);
	char *plain dr_cleanup(dr_freep) = dr_xasprintf("%s/plain", base);
	ck_assert_int_eq(mkdir(plain, 0755), 0);
	ck_assert_int_eq(dr_folder_open(base, "plain", &folder), -ENOENT);
	remove_base();
}
END_TEST

START_TEST(folder__json_is_read_as_it_was_written)
{
	make_base();
	struct dr_folder folder = create("one");
	json_t *json = json_pack("{s:s, s:i}", "state", "running", "n", 3);
	json_t *back = NULL;
	ck_assert_int_eq(dr_folder_read_json(&folder, "status.json", &back), -ENOENT);
	ck_assert_int_ge(dr_folder_write_json(&folder, "status.json", json), 0);
	ck_assert_int_eq(dr_folder_read_json(&folder, "status.json", &back), 0);
	ck_assert(json_equal(json, back));
	json_decref(json);
	json_decref(back);
	ck_assert_int_ge(dr_replace_file(folder.fd, "status.json", 0644, "{\"a\":", 5), 0);
	ck_assert_int_eq(dr_folder_read_json(&folder, "status.json", &back), -EBADMSG);
	dr_folder_fini(&folder);
	remove_base();
}
END_TEST

START_TEST(folder__leader_is_announced_with_a_secret_of_its_own_epoch)
{
	make_base();
	struct dr_folder folder = create("one");
	struct dr_leader_info leader = { .host = dr_xstrdup("node-01"),
		.address = dr_xstrdup("127.0.0.1"),
		.port = 6379,
		.epoch = 4,
		.pid = 77,
		.password = dr_xstrdup("word") };
	struct dr_leader_info found dr_cleanup(dr_leader_info_fini) = { 0 };
	struct stat st;
	ck_assert_int_eq(dr_folder_leader(&folder, &found), -ENOENT);
	ck_assert_int_ge(dr_folder_set_leader(&folder, &leader), 0);
	ck_assert_int_eq(fstatat(folder.fd, "secret", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(dr_folder_leader(&folder, &found), 0);
	ck_assert_str_eq(found.host, "node-01");
	ck_assert_str_eq(found.address, "127.0.0.1");
	ck_assert_uint_eq(found.port, 6379);
	ck_assert_uint_eq(found.epoch, 4);
	ck_assert_uint_eq(found.pid, 77);
	ck_assert_str_eq(found.password, "word");
	/* The secret of the next leader is there already, its announcement is not. */
	ck_assert_int_ge(dr_replace_file(folder.fd, "secret", 0600, "other\n5\n", 8), 0);
	struct dr_leader_info mixed = { 0 };
	ck_assert_int_eq(dr_folder_leader(&folder, &mixed), -ENOENT);
	/* An older leader's end does not take a newer one's announcement along. */
	dr_folder_clear_leader(&folder, 3);
	ck_assert_int_eq(faccessat(folder.fd, "leader.info", F_OK, 0), 0);
	dr_folder_clear_leader(&folder, 4);
	ck_assert_int_ne(faccessat(folder.fd, "leader.info", F_OK, 0), 0);
	ck_assert_int_eq(dr_folder_leader(&folder, &mixed), -ENOENT);
	dr_leader_info_fini(&leader);
	dr_folder_fini(&folder);
	remove_base();
}
END_TEST

START_TEST(folder__lock_is_held_by_one_and_passes_to_whoever_inherits_it)
{
	make_base();
	struct dr_folder folder = create("one");
	int lock = dr_folder_lock(&folder, NULL);
	struct stat st;
	ck_assert_int_ge(lock, 0);
	ck_assert_int_eq(fstat(lock, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_ne(fcntl(lock, F_GETFD) & FD_CLOEXEC, 0);
	/* An OFD lock belongs to the descriptor, not to the process. */
	ck_assert_int_eq(dr_folder_lock(&folder, NULL), -EAGAIN);
	int gate[2];
	ck_assert_int_eq(pipe(gate), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		char byte;
		(void)close(gate[1]);
		(void)!read(gate[0], &byte, 1);
		_exit(0);
	}
	(void)close(lock);
	ck_assert_int_eq(dr_folder_lock(&folder, NULL), -EAGAIN);
	(void)close(gate[1]);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	lock = dr_folder_lock(&folder, NULL);
	ck_assert_int_ge(lock, 0);
	(void)close(lock);
	ck_assert_int_eq(fstatat(folder.fd, "leader.lock", &st, 0), 0);
	dr_folder_fini(&folder);
	remove_base();
}
END_TEST

START_TEST(folder__requests_come_back_in_their_order)
{
	make_base();
	struct dr_folder folder = create("one");
	static const char *const verbs[] = { "pause", "retry-failed", "resume", "retry-skipped" };
	char *verb = NULL, *file = NULL;
	ck_assert_int_eq(dr_folder_next_request(&folder, &verb, &file), 0);
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_ge(dr_folder_request(&folder, verbs[i]), 0);
	}
	ck_assert_int_eq(dr_folder_request(&folder, "reboot"), -EINVAL);
	/* Litter and damage hold nothing up. */
	ck_assert_int_ge(dr_replace_file(folder.fd, "requests/.x", 0600, "pause", 5), 0);
	ck_assert_int_ge(dr_replace_file(folder.fd, "requests/000000000001.000000000-00000000",
				 0600, "nonsense", 8),
		0);
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_eq(dr_folder_next_request(&folder, &verb, &file), 1);
		ck_assert_str_eq(verb, verbs[i]);
		dr_folder_request_done(&folder, file);
		free(verb);
		free(file);
	}
	ck_assert_int_eq(dr_folder_next_request(&folder, &verb, &file), 0);
	dr_folder_fini(&folder);
	remove_base();
}
END_TEST

START_TEST(folder__tells_which_requests_wait)
{
	make_base();
	struct dr_folder folder = create("one");
	ck_assert(!dr_folder_requested(&folder, DR_REQUEST_REOPENED));
	ck_assert(!dr_folder_pause_requested(&folder));
	ck_assert_int_ge(dr_folder_request(&folder, "resume"), 0);
	ck_assert_int_ge(dr_folder_request(&folder, "pause"), 0);
	ck_assert_int_ge(dr_folder_request(&folder, DR_REQUEST_REOPENED), 0);
	ck_assert(dr_folder_requested(&folder, DR_REQUEST_REOPENED));
	ck_assert(dr_folder_pause_requested(&folder));
	ck_assert(!dr_folder_retry_requested(&folder));
	ck_assert_int_ge(dr_folder_request(&folder, "resume"), 0);
	ck_assert(!dr_folder_pause_requested(&folder));
	dr_folder_fini(&folder);
	remove_base();
}
END_TEST

DR_UNIT_MAIN("folder", folder__is_made_whole_with_its_spec,
	folder__of_the_same_name_is_refused_and_the_first_stays,
	folder__that_cannot_be_made_leaves_no_base_path,
	folder__in_the_making_becomes_a_campaign_or_nothing,
	folder__that_is_not_there_or_no_campaign_is_not_found,
	folder__json_is_read_as_it_was_written,
	folder__leader_is_announced_with_a_secret_of_its_own_epoch,
	folder__lock_is_held_by_one_and_passes_to_whoever_inherits_it,
	folder__requests_come_back_in_their_order, folder__tells_which_requests_wait)
