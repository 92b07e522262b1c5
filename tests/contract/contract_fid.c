/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/lab_priv.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "rig.h"

/* Looking up single files, by name and by FID. */

static struct dr_fid fid_of(struct rig *rig, const char *name)
{
	int fd dr_cleanup(dr_fd_closep) = openat(rig->ns, name, O_RDONLY | O_CLOEXEC);
	struct dr_fid fid = { 0 };
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dr_lab_fid_of(rig->lab, fd, &fid), 0);
	return fid;
}

/* walk: as where FIDs cannot be opened. The driver's own lab is out of reach, but ours serves as well. */
static void init(struct rig *rig, bool walk)
{
	rig_init(rig, RIG_LAB);
	if (walk) {
		rig->lab->handle_type = -1;
	}
}

static int path_of(struct rig *rig, const struct dr_fid *fid, struct dr_buf *out)
{
	dr_buf_clear(out);
	return rig->lab->handle_type < 0 ? dr_lab_fid_path(rig->lab, fid, out)
					 : rig->ops->fid_path(rig->fs, fid, out);
}

START_TEST(fid_path__is_where_the_file_is_now)
{
	struct rig rig;
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	init(&rig, _i > 0);
	ck_assert_int_eq(mkdirat(rig.ns, "d\n\xff", 0755), 0);
	ck_assert_int_eq(mkdirat(rig.ns, "d\n\xff/e", 0755), 0);
	rig_make(&rig, "file", RIG_PLAIN, 10, 10, 10);
	struct dr_fid fid = fid_of(&rig, "file");
	ck_assert_int_eq(path_of(&rig, &fid, &path), 0);
	ck_assert_str_eq(dr_buf_cstr(&path), "file");
	ck_assert_int_eq(renameat(rig.ns, "file", rig.ns, "d\n\xff/e/\x80 name"), 0);
	dr_buf_clear(&path);
	dr_buf_put_str(&path, "before ");
	ck_assert_int_eq(rig.ops->fid_path(rig.fs, &fid, &path), 0);
	ck_assert_str_eq(dr_buf_cstr(&path), "before d\n\xff/e/\x80 name");
	ck_assert_int_eq(path_of(&rig, &fid, &path), 0);
	ck_assert_str_eq(dr_buf_cstr(&path), "d\n\xff/e/\x80 name");
	/* Either of two names will do, also when the first one goes. */
	ck_assert_int_eq(linkat(rig.ns, "d\n\xff/e/\x80 name", rig.ns, "second", 0), 0);
	ck_assert_int_eq(unlinkat(rig.ns, "d\n\xff/e/\x80 name", 0), 0);
	ck_assert_int_eq(path_of(&rig, &fid, &path), 0);
	ck_assert_str_eq(dr_buf_cstr(&path), "second");
	rig_fini(&rig);
}
END_TEST

START_TEST(fid_path__says_enoent_of_what_is_not_there)
{
	struct rig rig;
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	init(&rig, _i > 0);
	rig_make(&rig, "file", RIG_PLAIN, 10, 10, 10);
	struct dr_fid fid = fid_of(&rig, "file"), other = fid;
	other.ver++;
	ck_assert_int_eq(path_of(&rig, &other, &path), -ENOENT);
	other = (struct dr_fid){ .seq = 0x200000401, .oid = 0xfffffff0 };
	ck_assert_int_eq(path_of(&rig, &other, &path), -ENOENT);
	other = (struct dr_fid){ .seq = 1, .oid = 2, .ver = 3 };
	ck_assert_int_eq(path_of(&rig, &other, &path), -ENOENT);
	/* Open, but without a name. */
	int fd dr_cleanup(dr_fd_closep) = openat(rig.ns, "file", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unlinkat(rig.ns, "file", 0), 0);
	ck_assert_int_eq(path_of(&rig, &fid, &path), -ENOENT);
	ck_assert_uint_eq(path.len, 0);
	dr_fd_closep(&fd);
	rig_fini(&rig);
}
END_TEST

START_TEST(fid_path__may_be_longer_than_the_kernel_tells)
{
	struct rig rig;
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	init(&rig, _i > 0);
	rig_make(&rig, "file", RIG_PLAIN, 10, 10, 10);
	struct dr_fid fid = fid_of(&rig, "file");
	char name[201];
	memset(name, 'd', 200);
	name[200] = 0;
	int at = openat(rig.ns, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int depth = 0; depth < 25; depth++) {
		ck_assert_int_eq(mkdirat(at, name, 0755), 0);
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ck_assert_int_ge(next, 0);
		(void)close(at);
		at = next;
	}
	ck_assert_int_eq(renameat(rig.ns, "file", at, "file"), 0);
	(void)close(at);
	ck_assert_int_eq(path_of(&rig, &fid, &path), 0);
	ck_assert_uint_eq(path.len, 25 * 201 + 4);
	rig_fini(&rig);
}
END_TEST

struct churn {
	int dirfd;
	_Atomic uint64_t ino; /* of the last one */
	atomic_bool stop;
};

static void *make_and_unlink(void *arg)
{
	struct churn *churn = arg;
	while (!atomic_load(&churn->stop)) {
		int fd = openat(churn->dirfd, "other", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		struct stat st;
		if (fd >= 0 && fstat(fd, &st) == 0) {
			atomic_store(&churn->ino, (uint64_t)st.st_ino);
		}
		(void)close(fd);
		(void)unlinkat(churn->dirfd, "other", 0);
	}
	return NULL;
}

/* ext4 says ENOMEM of an inode number that is being given to another file. */
START_TEST(fid_exists__is_sure_while_its_inode_number_is_used_again)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	struct churn churn = { .dirfd = rig.ns };
	pthread_t thread;
	rig_make(&rig, "file", RIG_PLAIN, 10, 10, 10);
	struct dr_fid fid = fid_of(&rig, "file");
	int gone = rig.lab->handle_type < 0 ? -ENOTSUP : 0;
	ck_assert_int_eq(unlinkat(rig.ns, "file", 0), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, make_and_unlink, &churn), 0);
	for (int i = 0; i < 50000; i++) {
		uint64_t ino = atomic_load(&churn.ino);
		struct dr_fid old = {
			.seq = DR_LAB_SEQ + (ino >> 32), .oid = (uint32_t)ino, .ver = fid.ver
		};
		int r = dr_lab_fid_exists(rig.lab, &old);
		if (r != gone) {
			ck_assert_int_eq(r, gone);
		}
	}
	atomic_store(&churn.stop, true);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	rig_fini(&rig);
}
END_TEST

static int keep_entry(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	(void)dir;
	*(struct dr_entry *)ctx = *entry;
	return 7;
}

static int keep_named(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	return strcmp(entry->name, "file") == 0 ? keep_entry(ctx, dir, entry) : 0;
}

START_TEST(entry_look__gives_what_dir_read_gives)
{
	struct rig rig;
	struct dr_entry read, looked;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", (enum rig_kind)_i, 5000, 5000, 5000);
	ck_assert_int_eq(mkdirat(rig.ns, "dir", 0755), 0);
	ck_assert_int_eq(symlinkat("file", rig.ns, "link"), 0);
	/* Two of them, for each lends its entry until the next call. */
	struct dr_dir *one dr_cleanup(dr_dir_closep) = rig_dir(&rig, "");
	struct dr_dir *two dr_cleanup(dr_dir_closep) = rig_dir(&rig, "");
	ck_assert_int_eq(rig.ops->dir_read(one, 0, keep_named, &read), 7);
	ck_assert_int_eq(rig.ops->entry_look(two, "file", keep_entry, &looked), 7);
	ck_assert_uint_eq(looked.ino, read.ino);
	ck_assert_int_eq(looked.type, DR_TYPE_FILE);
	ck_assert(dr_fid_equal(&looked.fid, &read.fid) && !dr_fid_is_zero(&looked.fid));
	ck_assert_uint_eq(looked.layout_len, read.layout_len);
	ck_assert_mem_eq(looked.layout, read.layout, read.layout_len);
	ck_assert_int_eq(rig.ops->entry_look(two, "dir", keep_entry, &looked), 7);
	ck_assert_int_eq(looked.type, DR_TYPE_DIR);
	ck_assert_int_eq(rig.ops->entry_look(two, "link", keep_entry, &looked), 7);
	ck_assert_int_eq(looked.type, DR_TYPE_LINK);
	ck_assert_int_eq(rig.ops->entry_look(two, "none", keep_entry, &looked), -ENOENT);
	dr_dir_closep(&one);
	dr_dir_closep(&two);
	rig_fini(&rig);
}
END_TEST

RIG_MAIN("contract-fid", { fid_path__is_where_the_file_is_now, 2 },
	{ fid_path__says_enoent_of_what_is_not_there, 2 },
	{ fid_path__may_be_longer_than_the_kernel_tells, 2 },
	{ fid_exists__is_sure_while_its_inode_number_is_used_again, 1 },
	{ entry_look__gives_what_dir_read_gives, RIG_KINDS })
