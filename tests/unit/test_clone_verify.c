/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "work/clone_verify.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "unit.h"

#define BUFFER_BYTES 16384

struct place {
	_Alignas(4096) uint8_t buffer[BUFFER_BYTES];
	char dir[64];
	struct dr_tree *from, *to;
	struct dr_cloner cloner;
	_Atomic bool stop;
	/* what the last call said */
	unsigned differences;
	struct dr_verify_digest digest;
	uint64_t bytes;
};

static void close_place(struct place *place)
{
	dr_tree_free(place->from);
	dr_tree_free(place->to);
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, place->dir), 0);
}

static void open_place(struct place *place)
{
	char path[128], *message = NULL;
	const char *tmp = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe) */

	memset(place, 0, sizeof(*place));
	(void)snprintf(
		place->dir, sizeof(place->dir), "%s/drover-verify-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(place->dir));
	for (int i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", place->dir, i ? "to" : "from");
		ck_assert_int_eq(mkdir(path, 0700), 0);
		int r = dr_tree_open(path, i ? &place->to : &place->from, &message);
		ck_assert_msg(r == 0, "%s", message);
	}
	place->cloner = (struct dr_cloner){ .from = place->from,
		.to = place->to,
		.word = "0123456789abcdef",
		.buffer = place->buffer,
		.buffer_bytes = sizeof(place->buffer),
		.stop = &place->stop };
}

static const struct timespec then[2] = { { .tv_sec = 1600000000, .tv_nsec = 123456789 },
	{ .tv_sec = 1600000001, .tv_nsec = 987654321 } };

static void set_times(int dir_fd, const char *name)
{
	ck_assert_int_eq(utimensat(dir_fd, name, then, AT_SYMLINK_NOFOLLOW), 0);
}

static void write_at(int dir_fd, const char *name, const void *bytes, size_t len, off_t off)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dr_pwrite_full(fd, bytes, len, off), 0);
	(void)close(fd);
	set_times(dir_fd, name);
}

static void set_size(int dir_fd, const char *name, off_t size)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	(void)close(fd);
	set_times(dir_fd, name);
}

static void write_both(struct place *place, const char *name, const void *bytes, size_t len)
{
	write_at(place->from->fd, name, bytes, len, 0);
	write_at(place->to->fd, name, bytes, len, 0);
}

static int verify(struct place *place, const char *name, bool wants_sha256)
{
	return dr_clone_verify(&place->cloner, place->from->fd, place->to->fd, name, wants_sha256,
		&place->differences, &place->digest, &place->bytes);
}

static unsigned differences(struct place *place, const char *name)
{
	ck_assert_int_eq(verify(place, name, false), 0);
	return place->differences;
}

START_TEST(verify__finds_equal_files_equal)
{
	static const size_t sizes[] = { 0, 1, 4096, 8191, 8192, 8193, 16384, 50000 };
	struct place place dr_cleanup(close_place);
	uint8_t bytes[50000];
	uint64_t random = 7;

	open_place(&place);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)dr_unit_random(&random);
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		write_both(&place, "file", bytes, sizes[i]);
		ck_assert_uint_eq(differences(&place, "file"), 0);
		ck_assert_uint_eq(place.bytes, sizes[i]);
	}
}
END_TEST

START_TEST(verify__finds_one_byte_that_differs)
{
	static const off_t offs[] = { 0, 8191, 8192, 49999 };
	struct place place dr_cleanup(close_place);
	uint8_t bytes[50000] = { 0 };

	open_place(&place);
	write_both(&place, "file", bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
		write_at(place.to->fd, "file", "x", 1, offs[i]);
		ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_DATA);
		ck_assert_uint_eq(place.bytes, sizeof(bytes)); /* the digest is of all */
		write_at(place.to->fd, "file", "", 1, offs[i]);
		ck_assert_uint_eq(differences(&place, "file"), 0);
	}
}
END_TEST

START_TEST(verify__finds_another_size)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	write_both(&place, "file", "abc", 3);
	write_at(place.to->fd, "file", "d", 1, 3);
	ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_DATA);
	set_size(place.to->fd, "file", 2);
	ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_DATA);
	ck_assert_uint_eq(place.bytes, 3);
}
END_TEST

START_TEST(verify__takes_holes_for_zeros)
{
	struct place place dr_cleanup(close_place);
	uint8_t zeros[100000] = { 0 };
	struct dr_verify_digest dense;

	open_place(&place);
	write_both(&place, "file", zeros, sizeof(zeros));
	write_at(place.from->fd, "file", "data", 4, 60000);
	ck_assert_int_eq(verify(&place, "file", true), 0);
	ck_assert_uint_eq(place.differences, DR_VERIFY_DATA);
	dense = place.digest;
	/* the same content with holes, on both sides */
	ck_assert_int_eq(unlinkat(place.from->fd, "file", 0), 0);
	ck_assert_int_eq(unlinkat(place.to->fd, "file", 0), 0);
	set_size(place.from->fd, "file", sizeof(zeros));
	write_at(place.from->fd, "file", "data", 4, 60000);
	set_size(place.to->fd, "file", sizeof(zeros));
	ck_assert_int_eq(verify(&place, "file", true), 0);
	ck_assert_uint_eq(place.differences, DR_VERIFY_DATA);
	ck_assert_mem_eq(place.digest.bytes, dense.bytes, 32);
	write_at(place.to->fd, "file", "data", 4, 60000);
	ck_assert_int_eq(verify(&place, "file", true), 0);
	ck_assert_uint_eq(place.differences, 0);
	ck_assert_uint_eq(place.bytes, sizeof(zeros));
	ck_assert_mem_eq(place.digest.bytes, dense.bytes, 32);
	/* and with holes on one side */
	write_at(place.to->fd, "file", zeros, 60000, 0);
	ck_assert_uint_eq(differences(&place, "file"), 0);
}
END_TEST

START_TEST(verify__goes_over_huge_holes)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	set_size(place.from->fd, "file", 1 << 28);
	set_size(place.to->fd, "file", 1 << 28);
	write_at(place.from->fd, "file", "data", 4, (1 << 27) + 5);
	write_at(place.to->fd, "file", "data", 4, (1 << 27) + 5);
	ck_assert_uint_eq(differences(&place, "file"), 0);
	ck_assert_uint_eq(place.bytes, 1 << 28);
	write_at(place.to->fd, "file", "x", 1, (1 << 28) - 1);
	ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_DATA);
}
END_TEST

static void hex(const uint8_t *bytes, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	}
}

START_TEST(verify__gives_the_digest_of_the_source)
{
	struct place place dr_cleanup(close_place);
	char text[80];

	open_place(&place);
	write_both(&place, "file", "abc", 3);
	ck_assert_int_eq(verify(&place, "file", true), 0);
	ck_assert(place.digest.is_sha256);
	hex(place.digest.bytes, 32, text);
	ck_assert_str_eq(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	ck_assert_int_eq(verify(&place, "file", false), 0);
	ck_assert(!place.digest.is_sha256);
	hex(place.digest.bytes, 16, text);
	ck_assert_str_eq(text, "06b05ab6733a618578af5f94892f3950"); /* xxhsum -H2 */
	ck_assert_int_eq(unlinkat(place.to->fd, "file", 0), 0);
	ck_assert_int_eq(verify(&place, "file", true), 0);
	ck_assert_uint_eq(place.differences, DR_VERIFY_MISSING);
	hex(place.digest.bytes, 32, text);
	ck_assert_str_eq(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

START_TEST(verify__finds_what_is_missing_or_of_another_type)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	ck_assert_int_eq(verify(&place, "none", false), -ENOENT);
	ck_assert_int_eq(mkdirat(place.from->fd, "dir", 0700), 0);
	ck_assert_uint_eq(differences(&place, "dir"), DR_VERIFY_MISSING);
	write_at(place.to->fd, "dir", "x", 1, 0);
	ck_assert_uint_eq(differences(&place, "dir"), DR_VERIFY_TYPE);
	write_at(place.from->fd, "file", "x", 1, 0);
	ck_assert_int_eq(symlinkat("dir", place.to->fd, "file"), 0);
	ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_TYPE);
	ck_assert_uint_eq(place.bytes, 1);
	ck_assert_int_eq(mkfifoat(place.from->fd, "fifo", 0600), 0);
	write_at(place.to->fd, "fifo", "x", 1, 0);
	ck_assert_uint_eq(differences(&place, "fifo"), DR_VERIFY_TYPE);
}
END_TEST

START_TEST(verify__compares_symlinks_by_their_targets)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	ck_assert_int_eq(symlinkat("a\xff\n", place.from->fd, "link"), 0);
	ck_assert_int_eq(symlinkat("a\xff\n", place.to->fd, "link"), 0);
	set_times(place.from->fd, "link");
	set_times(place.to->fd, "link");
	ck_assert_uint_eq(differences(&place, "link"), 0);
	ck_assert_int_eq(unlinkat(place.to->fd, "link", 0), 0);
	ck_assert_int_eq(symlinkat("a\xff\r", place.to->fd, "link"), 0);
	set_times(place.to->fd, "link");
	ck_assert_uint_eq(differences(&place, "link"), DR_VERIFY_DATA);
}
END_TEST

START_TEST(verify__compares_devices_by_their_numbers)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	if (mknodat(place.from->fd, "dev", S_IFCHR | 0600, makedev(1, 3)) < 0) {
		return; /* not as root */
	}
	ck_assert_int_eq(mknodat(place.to->fd, "dev", S_IFCHR | 0600, makedev(1, 5)), 0);
	set_times(place.from->fd, "dev");
	set_times(place.to->fd, "dev");
	ck_assert_uint_eq(differences(&place, "dev"), DR_VERIFY_DATA);
	ck_assert_int_eq(unlinkat(place.to->fd, "dev", 0), 0);
	ck_assert_int_eq(mknodat(place.to->fd, "dev", S_IFCHR | 0600, makedev(1, 3)), 0);
	set_times(place.to->fd, "dev");
	ck_assert_uint_eq(differences(&place, "dev"), 0);
}
END_TEST

START_TEST(verify__finds_metadata_that_differs)
{
	struct place place dr_cleanup(close_place);
	char words[128];

	open_place(&place);
	write_both(&place, "file", "abc", 3);
	ck_assert_int_eq(fchmodat(place.to->fd, "file", 0600, 0), 0);
	ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_MODE);
	ck_assert_int_eq(fchmodat(place.to->fd, "file", 0640, 0), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(fchownat(place.to->fd, "file", 1, 1, 0), 0);
		ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_OWNER);
		ck_assert_int_eq(fchownat(place.to->fd, "file", 0, 0, 0), 0);
	}
	struct timespec times[2] = { then[0], then[1] };
	times[1].tv_nsec++;
	ck_assert_int_eq(utimensat(place.to->fd, "file", times, 0), 0);
	ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_TIMES);
	place.to->time_ns = 1000000000; /* as Lustre's: the coarser side counts */
	ck_assert_uint_eq(differences(&place, "file"), 0);
	place.to->time_ns = 1;
	ck_assert_int_eq(linkat(place.from->fd, "file", place.from->fd, "other", 0), 0);
	ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_TIMES | DR_VERIFY_LINKS);
	set_size(place.to->fd, "file", 0);
	ck_assert_uint_eq(differences(&place, "file"), DR_VERIFY_DATA | DR_VERIFY_LINKS);
	ck_assert_str_eq(dr_verify_words(place.differences, words, sizeof(words)), "data links");
}
END_TEST

START_TEST(verify__compares_directories_without_their_entries)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	ck_assert_int_eq(mkdirat(place.from->fd, "dir", 0750), 0);
	ck_assert_int_eq(mkdirat(place.to->fd, "dir", 0750), 0);
	ck_assert_int_eq(mkdirat(place.from->fd, "dir/below", 0750), 0);
	write_at(place.to->fd, "dir/f", "x", 1, 0);
	set_times(place.from->fd, "dir");
	set_times(place.to->fd, "dir");
	ck_assert_uint_eq(differences(&place, "dir"), 0);
	ck_assert_int_eq(fchmodat(place.to->fd, "dir", 01750, 0), 0);
	ck_assert_uint_eq(differences(&place, "dir"), DR_VERIFY_MODE);
}
END_TEST

START_TEST(verify__leaves_the_atimes_as_they_are)
{
	struct place place dr_cleanup(close_place);
	struct stat st;

	open_place(&place);
	write_both(&place, "file", "abc", 3);
	ck_assert_uint_eq(differences(&place, "file"), 0);
	ck_assert_int_eq(fstatat(place.from->fd, "file", &st, 0), 0);
	ck_assert_int_eq(st.st_atim.tv_sec, then[0].tv_sec);
	ck_assert_int_eq(fstatat(place.to->fd, "file", &st, 0), 0);
	ck_assert_int_eq(st.st_atim.tv_nsec, then[0].tv_nsec);
}
END_TEST

static void *change_for_ever(void *arg)
{
	struct place *place = arg;
	unsigned n = 0;

	while (!place->stop) {
		ck_assert_int_eq(fchmodat(place->from->fd, "file", n++ % 2 ? 0640 : 0600, 0), 0);
	}
	return NULL;
}

START_TEST(verify__tells_a_source_that_changes_meanwhile)
{
	struct place place dr_cleanup(close_place);
	pthread_t thread;
	int r = 0;

	open_place(&place);
	set_size(place.from->fd, "file", 1 << 20);
	set_size(place.to->fd, "file", 1 << 20);
	place.cloner.stop = NULL;
	ck_assert_int_eq(pthread_create(&thread, NULL, change_for_ever, &place), 0);
	for (int i = 0; i < 10000 && r != -ESTALE; i++) {
		r = verify(&place, "file", true);
	}
	place.stop = true;
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(r, -ESTALE);
}
END_TEST

START_TEST(verify__ends_when_it_is_told_to_stop)
{
	struct place place dr_cleanup(close_place);

	open_place(&place);
	write_both(&place, "file", "abc", 3);
	place.stop = true;
	place.differences = 77;
	ck_assert_int_eq(verify(&place, "file", false), -ECANCELED);
	ck_assert_uint_eq(place.differences, 77);
	place.cloner.buffer_bytes = 4096;
	ck_assert_int_eq(verify(&place, "file", false), -EINVAL);
}
END_TEST

START_TEST(verify__has_words_for_all_differences)
{
	char words[128];

	ck_assert_str_eq(dr_verify_words(0, words, sizeof(words)), "");
	ck_assert_str_eq(dr_verify_words(2047, words, sizeof(words)),
		"missing extra type data owner mode xattrs project flags times links");
	ck_assert_str_eq(dr_verify_words(2047, words, 9), "missing ");
}
END_TEST

START_TEST(verify__writes_manifest_lines_that_sha256sum_reads)
{
	struct dr_verify_digest digest = { .is_sha256 = true };
	struct dr_buf out = { 0 };

	for (unsigned i = 0; i < 32; i++) {
		digest.bytes[i] = (uint8_t)(i * 8);
	}
	dr_verify_manifest_line(&out, &digest, "a/b \xff", 5);
	dr_unit_text(&out,
		"0008101820283038404850586068707880889098a0a8b0b8c0c8d0d8e0e8f0f8  a/b \xff\n");
	dr_buf_clear(&out);
	dr_verify_manifest_line(&out, &digest, "a\nb\\c\r", 6);
	dr_unit_text(&out,
		"\\0008101820283038404850586068707880889098a0a8b0b8c0c8d0d8e0e8f0f8  a\\nb\\\\c\\r\n");
	dr_buf_clear(&out);
	digest.is_sha256 = false;
	dr_verify_manifest_line(&out, &digest, "x", 1);
	dr_unit_text(&out, "00081018202830384048505860687078  x\n");
	dr_buf_fini(&out);
}
END_TEST

DR_UNIT_MAIN("clone_verify", verify__finds_equal_files_equal, verify__finds_one_byte_that_differs,
	verify__finds_another_size, verify__takes_holes_for_zeros, verify__goes_over_huge_holes,
	verify__gives_the_digest_of_the_source, verify__finds_what_is_missing_or_of_another_type,
	verify__compares_symlinks_by_their_targets, verify__compares_devices_by_their_numbers,
	verify__finds_metadata_that_differs, verify__compares_directories_without_their_entries,
	verify__leaves_the_atimes_as_they_are, verify__tells_a_source_that_changes_meanwhile,
	verify__ends_when_it_is_told_to_stop, verify__has_words_for_all_differences,
	verify__writes_manifest_lines_that_sha256sum_reads)
