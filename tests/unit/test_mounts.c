/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/mounts.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "unit.h"

/* Whether statx() fails as on a kernel that has none. */
static bool no_statx;

/* In place of the C library's. */
int statx(
	int dirfd, const char *restrict path, int flags, unsigned mask, struct statx *restrict stx)
{
	if (no_statx) {
		errno = ENOSYS;
		return -1;
	}
	return (int)syscall(SYS_statx, dirfd, path, flags, mask, stx);
}

/* expected NULL: no reason is given. */
static void check_line(int line_number, const char *line, int result, const char *expected)
{
	char *why = (char *)(uintptr_t)1; /* must be set in any case */
	ck_assert_msg(dr_mount_locks_line(line, &why) == result, "line %d of this file: %s",
		line_number, line);
	if (expected) {
		ck_assert_ptr_nonnull(why);
		ck_assert_str_eq(why, expected);
	} else {
		ck_assert_ptr_null(why);
	}
	free(why);
}
#define SHARED(line, why) check_line(__LINE__, line, 0, why)
#define UNKNOWN(line) check_line(__LINE__, line, 0, NULL)
#define LOCAL(line, why) check_line(__LINE__, line, -ENOLCK, why)

START_TEST(mounts__lustre_needs_flock)
{
	/* 2.15, which prints the options in the order of its table */
	SHARED("604 28 0:52 / /mnt/lustre rw,relatime shared:331 - lustre 192.0.2.11@tcp:192.0.2.12@tcp:/scratch rw,checksum,flock,nouser_xattr,lruresize,lazystatfs,nouser_fid2path,verbose,noencrypt",
		"/mnt/lustre is lustre: mounted with flock");
	LOCAL("604 28 0:52 / /mnt/lustre rw,relatime shared:331 - lustre 192.0.2.11@tcp:/scratch rw,checksum,localflock,user_xattr,lruresize,lazystatfs,nouser_fid2path,verbose,encrypt",
		"/mnt/lustre is mounted with localflock: locks do not reach other hosts; mount it with flock");
	LOCAL("604 28 0:52 / /mnt/lustre rw,relatime shared:331 - lustre 192.0.2.11@tcp:/scratch rw,checksum,noflock,user_xattr,lruresize,lazystatfs,nouser_fid2path,verbose,encrypt",
		"/mnt/lustre is mounted without flock: fcntl locks are off; mount it with flock");
	/* 2.12 */
	SHARED("96 40 0:43 / /lfs/home rw,nosuid,nodev shared:55 - lustre 192.0.2.1@o2ib:192.0.2.2@o2ib:/home rw,flock,user_xattr,lazystatfs",
		"/lfs/home is lustre: mounted with flock");
	LOCAL("96 40 0:43 / /lfs/home rw,nosuid,nodev shared:55 - lustre 192.0.2.1@o2ib:/home rw,noflock,lazystatfs",
		"/lfs/home is mounted without flock: fcntl locks are off; mount it with flock");
	/* 2.12.3 had both when only localflock was asked for */
	LOCAL("96 40 0:43 / /lfs/home rw shared:55 - lustre 192.0.2.1@o2ib:/home rw,flock,localflock,lazystatfs",
		"/lfs/home is mounted with localflock: locks do not reach other hosts; mount it with flock");
	/* 2.10 and before say nothing when it is off */
	LOCAL("77 22 0:41 / /lustre rw,relatime - lustre 192.0.2.5@tcp:/fs1 rw,lazystatfs",
		"/lustre is mounted without flock: fcntl locks are off; mount it with flock");
	LOCAL("77 22 0:41 / /lustre rw,relatime - lustre 192.0.2.5@tcp:/fs1 rw",
		"/lustre is mounted without flock: fcntl locks are off; mount it with flock");
	/* A mount of a part of it, and "nolock", which is about data and comes without its comma. */
	SHARED("605 28 0:52 /projects /mnt/projects ro,relatime master:331 - lustre 192.0.2.11@tcp:/scratch rwnolock,checksum,flock",
		"/mnt/projects is lustre: mounted with flock");
}
END_TEST

START_TEST(mounts__nfs_may_have_local_flocks_only)
{
	SHARED("3417 2892 0:212 / /home rw,relatime - nfs4 192.0.2.43:/data/home rw,vers=4.1,rsize=1048576,wsize=1048576,namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,clientaddr=192.0.2.27,local_lock=none,addr=192.0.2.43",
		"/home is nfs4: the server locks");
	SHARED("61 29 0:48 / /home rw,nosuid,relatime shared:39 - nfs filer:/vol/home rw,vers=3,rsize=65536,wsize=65536,namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,mountaddr=192.0.2.9,mountvers=3,mountport=635,mountproto=udp,local_lock=none,addr=192.0.2.9",
		"/home is nfs: the server locks");
	SHARED("61 29 0:48 / /home rw shared:39 - nfs filer:/vol/home rw,vers=3,hard,proto=tcp,local_lock=flock,addr=192.0.2.9",
		"/home is nfs: the server locks");
	/* nolock brings local_lock=all with it; kernels before 2.6.37 have the first only */
	LOCAL("61 29 0:48 / /var/lib/x rw shared:39 - nfs filer:/vol/x rw,vers=3,hard,nolock,proto=tcp,timeo=600,retrans=2,sec=sys,mountaddr=192.0.2.9,mountvers=3,mountport=635,mountproto=tcp,local_lock=all,addr=192.0.2.9",
		"/var/lib/x is mounted with nolock: locks do not reach other hosts; mount it without nolock");
	LOCAL("61 29 0:48 / /x rw - nfs filer:/x rw,vers=3,hard,local_lock=all,addr=192.0.2.9",
		"/x is mounted with local_lock=all: locks do not reach other hosts; mount it with local_lock=none");
	LOCAL("61 29 0:48 / /x rw - nfs filer:/x rw,vers=3,hard,local_lock=posix,addr=192.0.2.9",
		"/x is mounted with local_lock=posix: locks do not reach other hosts; mount it with local_lock=none");
	LOCAL("61 29 0:48 / /x rw - nfs4 filer:/x rw,vers=4.2,hard,local_lock=posix,addr=192.0.2.9",
		"/x is mounted with local_lock=posix: locks do not reach other hosts; mount it with local_lock=none");
}
END_TEST

START_TEST(mounts__smb_must_send_its_locks)
{
	SHARED("512 28 0:61 / /mnt/share rw,relatime shared:280 - cifs //files/share rw,vers=3.1.1,cache=strict,username=hpc,uid=0,noforceuid,gid=0,noforcegid,addr=192.0.2.20,file_mode=0755,dir_mode=0755,soft,nounix,serverino,mapposix,rsize=4194304,wsize=4194304,bsize=1048576,echo_interval=60,actimeo=1,closetimeo=1",
		"/mnt/share is cifs: the server locks");
	SHARED("512 28 0:61 / /mnt/share rw - smb3 //files/share rw,vers=3.1.1,cache=strict,forcemand,mapposix",
		"/mnt/share is smb3: the server locks");
	LOCAL("512 28 0:61 / /mnt/share rw shared:280 - cifs //files/share rw,vers=3.0,cache=strict,soft,nounix,serverino,mapposix,nobrl,mfsymlinks,rsize=1048576,wsize=1048576,actimeo=1",
		"/mnt/share is mounted with nobrl: locks do not reach other hosts; mount it without nobrl");
	LOCAL("512 28 0:61 / /mnt/share rw - smb3 //files/share rw,vers=3.1.1,nobrl",
		"/mnt/share is mounted with nobrl: locks do not reach other hosts; mount it without nobrl");
}
END_TEST

START_TEST(mounts__cluster_file_systems_must_lock_in_the_cluster)
{
	SHARED("88 25 253:4 / /gfs rw,relatime shared:44 - gfs2 /dev/mapper/vg-gfs rw",
		"/gfs is gfs2: the cluster locks");
	LOCAL("88 25 253:4 / /gfs rw,relatime shared:44 - gfs2 /dev/mapper/vg-gfs rw,localflocks",
		"/gfs is mounted with localflocks: locks do not reach other hosts; mount it without localflocks, with lock_dlm");
	SHARED("90 25 8:17 / /ocfs rw,relatime shared:45 - ocfs2 /dev/sdb1 rw,heartbeat=none,nointr,data=ordered,errors=remount-ro,atime_quantum=60,cluster_stack=pcmk,coherency=full,user_xattr,acl",
		"/ocfs is ocfs2: the cluster locks");
	/* The stray comma is the kernel's. */
	LOCAL("90 25 8:17 / /ocfs rw shared:45 - ocfs2 /dev/sdb1 rw,heartbeat=none,nointr,data=ordered,errors=remount-ro,atime_quantum=60,localflocks,,cluster_stack=pcmk,coherency=full",
		"/ocfs is mounted with localflocks: locks do not reach other hosts; mount it without localflocks");
	LOCAL("90 25 8:17 / /ocfs rw shared:45 - ocfs2 /dev/sdb1 rw,_netdev,heartbeat=local,nointr,data=ordered,errors=remount-ro,atime_quantum=60,coherency=full,user_xattr,acl",
		"/ocfs is mounted with heartbeat=local: locks do not reach other hosts; use the cluster stack pcmk");
	LOCAL("90 25 8:17 / /ocfs rw shared:45 - ocfs2 /dev/sdb1 rw,_netdev,heartbeat=global,nointr,cluster_stack=o2cb,coherency=full",
		"/ocfs is mounted with heartbeat=global: locks do not reach other hosts; use the cluster stack pcmk");
	SHARED("91 25 0:55 / /ceph rw,relatime shared:46 - ceph 192.0.2.31:6789:/ rw,name=admin,secret=<hidden>,acl",
		"/ceph is ceph: the metadata server locks");
}
END_TEST

START_TEST(mounts__fuse_is_judged_by_its_subtype)
{
	SHARED("101 55 0:42 / /mnt/gluster rw,relatime shared:12 - fuse.glusterfs server-a:/gv0 rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=131072",
		"/mnt/gluster is fuse.glusterfs: the servers lock");
	LOCAL("40 22 0:50 / /mnt/nas rw,nosuid,nodev,relatime shared:30 - fuse.sshfs admin@nas:/srv rw,user_id=1000,group_id=1000",
		"/mnt/nas is fuse.sshfs: locks do not reach other hosts; use another file system");
	UNKNOWN("41 22 0:51 / /mnt/bucket rw,nosuid,nodev,relatime shared:31 - fuse.s3fs s3fs rw,user_id=0,group_id=0,allow_other");
	UNKNOWN("42 22 8:33 / /media/disk rw,relatime shared:32 - fuseblk /dev/sdc1 rw,user_id=0,group_id=0");
}
END_TEST

START_TEST(mounts__other_types_are_local_or_unknown)
{
	SHARED("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
		"/ is ext4: local to this host");
	SHARED("25 24 0:23 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw,inode64",
		"/dev/shm is tmpfs: local to this host");
	SHARED("31 23 0:27 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w",
		"/ is overlay: local to this host");
	/* Options of one type mean nothing for another. */
	SHARED("29 1 8:3 / /data rw,nolock - xfs /dev/sda3 rw,localflock,nobrl,localflocks,local_lock=all",
		"/data is xfs: local to this host");
	UNKNOWN("35 28 0:60 / /gpfs rw,relatime shared:20 - gpfs gpfs rw");
	UNKNOWN("36 28 0:61 / /mnt/beegfs rw,relatime shared:21 - beegfs beegfs_nodev rw,cfgFile=/etc/beegfs/beegfs-client.conf");
}
END_TEST

START_TEST(mounts__line_may_have_odd_fields)
{
	/* several optional fields, none, and one with a hyphen in it */
	SHARED("1 2 0:3 / /m rw shared:1 master:2 propagate_from:3 unbindable - lustre a:/f rw,flock",
		"/m is lustre: mounted with flock");
	SHARED("1 2 0:3 / /m rw - lustre a:/f rw,flock", "/m is lustre: mounted with flock");
	SHARED("1 2 0:3 / /m rw x-y:- - lustre a:/f rw,flock", "/m is lustre: mounted with flock");
	/* the option may be one of the mount; only whole words count */
	SHARED("1 2 0:3 / /m rw,flock - lustre a:/f rw", "/m is lustre: mounted with flock");
	LOCAL("1 2 0:3 / /m rw,localflock - lustre a:/f rw,flock",
		"/m is mounted with localflock: locks do not reach other hosts; mount it with flock");
	LOCAL("1 2 0:3 / /m rw - lustre a:/f rw,flocks,xflock,flock=1",
		"/m is mounted without flock: fcntl locks are off; mount it with flock");
	/* an empty source; a newline at the end */
	SHARED("1 2 0:3 / /m rw - tmpfs  rw\n", "/m is tmpfs: local to this host");
	LOCAL("1 2 0:3 / /m rw - lustre a:/f rw,noflock\n",
		"/m is mounted without flock: fcntl locks are off; mount it with flock");
}
END_TEST

START_TEST(mounts__mount_point_is_unescaped_and_fit_to_print)
{
	LOCAL("1 2 0:3 /a\\040b /my\\040data\\134x rw - lustre a:/f rw",
		"/my data\\\\x is mounted without flock: fcntl locks are off; mount it with flock");
	LOCAL("1 2 0:3 / /tab\\011line\\012\xc3\xa4\xff rw - lustre a:/f rw",
		"/tab\\tline\\n\xc3\xa4\\xff is mounted without flock: fcntl locks are off; mount it with flock");
	/* no escapes of the kernel's */
	LOCAL("1 2 0:3 / /x\\04 rw - lustre a:/f rw",
		"/x\\\\04 is mounted without flock: fcntl locks are off; mount it with flock");
	LOCAL("1 2 0:3 / /x\\400\\ rw - lustre a:/f rw",
		"/x\\\\400\\\\ is mounted without flock: fcntl locks are off; mount it with flock");
}
END_TEST

START_TEST(mounts__cut_line_is_unknown)
{
	static const char line[] =
		"96 40 0:43 / /lfs rw,nosuid shared:55 - lustre a:/home rw,localflock";
	size_t complete = strlen(line) - strlen("rw,localflock");
	for (size_t len = 0; len <= complete; len++) {
		char *cut = dr_xstrdup(line);
		cut[len] = '\0';
		UNKNOWN(cut);
		free(cut);
	}
	UNKNOWN("\n");
	UNKNOWN("no line of it at all, with - a hyphen");
	UNKNOWN(" - lustre - lustre a b");
}
END_TEST

/* A folder of its own; the caller frees the name. */
static char *make_folder(void)
{
	char name[] = "/tmp/drover-test-mounts-XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(name));
	return dr_xstrdup(name);
}

START_TEST(mounts__folder_on_a_local_file_system_is_good)
{
	char *folder dr_cleanup(dr_freep) = make_folder();
	int fd dr_cleanup(dr_fd_closep) = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *by_statx dr_cleanup(dr_freep) = NULL, *by_fdinfo dr_cleanup(dr_freep) = NULL;
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dr_mount_locks(fd, &by_statx), 0);
	no_statx = true;
	ck_assert_int_eq(dr_mount_locks(fd, &by_fdinfo), 0);
	no_statx = false;
	ck_assert(!by_statx == !by_fdinfo);
	ck_assert(!by_statx || strcmp(by_statx, by_fdinfo) == 0);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(mounts__descriptor_of_no_mount_is_unknown)
{
	char *why = NULL;
	int pipes[2];
	ck_assert_int_eq(dr_mount_locks(-1, &why), 0);
	ck_assert_ptr_null(why);
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	ck_assert_int_eq(dr_mount_locks(pipes[0], &why), 0);
	ck_assert_ptr_null(why);
	(void)close(pipes[0]);
	(void)close(pipes[1]);
}
END_TEST

/* The last of all: it takes this process into a name space of its own. */
START_TEST(mounts__mount_is_found_among_those_of_the_process)
{
	char *folder dr_cleanup(dr_freep) = make_folder();
	char *point dr_cleanup(dr_freep) = dr_xasprintf("%s/a b", folder);
	ck_assert_int_eq(mkdir(point, 0755), 0);
	bool apart = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
	/* Not everybody may. */
	if (apart && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		mount("none", point, "tmpfs", 0, NULL) == 0) {
		int fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		char *expected dr_cleanup(dr_freep) =
			dr_xasprintf("%s is tmpfs: local to this host", point);
		for (int i = 0; i < 2; i++) {
			char *why dr_cleanup(dr_freep) = NULL;
			no_statx = i == 1;
			ck_assert_int_eq(dr_mount_locks(fd, &why), 0);
			ck_assert_ptr_nonnull(why);
			ck_assert_str_eq(why, expected);
		}
		no_statx = false;
		/* Unmounted and still open: in no table any more. */
		char *why = NULL;
		ck_assert_int_eq(umount2(point, MNT_DETACH), 0);
		ck_assert_int_eq(dr_mount_locks(fd, &why), 0);
		ck_assert_ptr_null(why);
		(void)close(fd);
	}
	ck_assert_int_ge(dr_remove_tree(AT_FDCWD, folder), 0);
}
END_TEST

DR_UNIT_MAIN("mounts", mounts__lustre_needs_flock, mounts__nfs_may_have_local_flocks_only,
	mounts__smb_must_send_its_locks, mounts__cluster_file_systems_must_lock_in_the_cluster,
	mounts__fuse_is_judged_by_its_subtype, mounts__other_types_are_local_or_unknown,
	mounts__line_may_have_odd_fields, mounts__mount_point_is_unescaped_and_fit_to_print,
	mounts__cut_line_is_unknown, mounts__folder_on_a_local_file_system_is_good,
	mounts__descriptor_of_no_mount_is_unknown,
	mounts__mount_is_found_among_those_of_the_process)
