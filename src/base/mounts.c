/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/mounts.h"

#include "base/fdio.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TABLE_MAX                                                                                  \
	(64u << 20) /* bytes of /proc/self/mountinfo; a host with 100,000 mounts has less */
#define FDINFO_MAX 65536u

/* One line of mountinfo, see proc(5); all strings point into the line. */
struct mount {
	const char *point;      /* field 5, with its \040 */
	const char *options;    /* field 6, of the mount */
	const char *type;       /* the first field after the hyphen */
	const char *fs_options; /* the third, of the file system */
};

/* A mount with this option has locks that no other host sees. */
struct local_rule {
	const char *type;
	const char *option; /* NULL: every mount of this type */
	const char *remedy; /* after "...: locks do not reach other hosts; " */
};

static const struct local_rule local_rules[] = {
	/*
	 * mount.lustre(8); ll_show_options() in lustre/llite/llite_lib.c prints it. Clients before 2.12.4 can have both
	 * this and flock, and use flock then (LU-12859): refused all the same, as the other hosts may differ.
	 */
	{ "lustre", "localflock", "mount it with flock" },
	/*
	 * nfs(5): nolock and local_lock; an OFD lock is a lock of the POSIX kind, so local_lock=flock does it no harm.
	 * nfs_show_options() in the kernel's fs/nfs/super.c always prints local_lock=, in both versions.
	 */
	{ "nfs", "nolock", "mount it without nolock" },
	{ "nfs", "local_lock=all", "mount it with local_lock=none" },
	{ "nfs", "local_lock=posix", "mount it with local_lock=none" },
	{ "nfs4", "nolock", "mount it without nolock" },
	{ "nfs4", "local_lock=all", "mount it with local_lock=none" },
	{ "nfs4", "local_lock=posix", "mount it with local_lock=none" },
	/*
	 * mount.cifs(8): nobrl sends no lock to the server. forcemandatorylock (printed as "forcemand") sends them as
	 * mandatory ones, which every client sees. Both: cifs_show_options() in fs/smb/client/cifsfs.c.
	 */
	{ "cifs", "nobrl", "mount it without nobrl" },
	{ "smb3", "nobrl", "mount it without nobrl" },
	/* gfs2(5): the VFS does all flock and fcntl locks. A file system made with lock_nolock prints it too. */
	{ "gfs2", "localflocks", "mount it without localflocks, with lock_dlm" },
	/*
	 * Documentation/filesystems/ocfs2.rst. The fcntl locks need a cluster stack of user space besides:
	 * ocfs2_populate_inode() asks ocfs2_stack_supports_plocks(), and o2cb (fs/ocfs2/stack_o2cb.c), the one
	 * with a heartbeat of its own, has none.
	 */
	{ "ocfs2", "localflocks", "mount it without localflocks" },
	{ "ocfs2", "heartbeat=local", "use the cluster stack pcmk" },
	{ "ocfs2", "heartbeat=global", "use the cluster stack pcmk" },
	/*
	 * libfuse's fuse.h: without a lock method the kernel locks locally; sshfs.c has none, and the protocol
	 * neither. Of other FUSE file systems we do not know.
	 */
	{ "fuse.sshfs", NULL, "use another file system" },
};

/* What is good for a reason that we know. */
static const struct {
	const char *type;
	const char *why;
} good_types[] = {
	{ "lustre", "mounted with flock" }, /* or it had been refused */
	{ "nfs", "the server locks" },
	{ "nfs4", "the server locks" },
	{ "cifs", "the server locks" },
	{ "smb3", "the server locks" },
	{ "gfs2", "the cluster locks" },
	{ "ocfs2", "the cluster locks" },
	/* the kernel's fs/ceph/locks.c */
	{ "ceph", "the metadata server locks" },
	/* Gluster's translator features/locks, which is part of each brick */
	{ "fuse.glusterfs", "the servers lock" },
	{ "ext2", "local to this host" },
	{ "ext3", "local to this host" },
	{ "ext4", "local to this host" },
	{ "xfs", "local to this host" },
	{ "btrfs", "local to this host" },
	{ "f2fs", "local to this host" },
	{ "zfs", "local to this host" },
	{ "tmpfs", "local to this host" },
	{ "ramfs", "local to this host" },
	{ "overlay", "local to this host" },
};

/* Whether the word stands in a list with commas. */
static bool lists(const char *options, const char *word)
{
	size_t len = strlen(word);
	for (const char *p = options; *p;) {
		size_t n = strcspn(p, ",");
		if (n == len && memcmp(p, word, len) == 0) {
			return true;
		}
		p += n + (p[n] == ',');
	}
	return false;
}

static bool has(const struct mount *mount, const char *option)
{
	return lists(mount->options, option) || lists(mount->fs_options, option);
}

/* Cuts the line up, in place. @return whether it was whole */
static bool parse(char *line, struct mount *ret_mount)
{
	struct mount mount = { 0 };
	char *rest = line;
	const char *field;
	line[strcspn(line, "\n")] = '\0';
	for (int i = 1; i <= 6; i++) {
		field = strsep(&rest, " ");
		mount.point = i == 5 ? field : mount.point;
		mount.options = i == 6 ? field : mount.options;
	}
	do { /* optional fields, none or several */
		field = strsep(&rest, " ");
	} while (field && strcmp(field, "-") != 0);
	mount.type = strsep(&rest, " ");
	(void)strsep(&rest, " "); /* the source, which may be empty */
	if (!rest || !*rest) {
		return false;
	}
	mount.fs_options = rest;
	*ret_mount = mount;
	return true;
}

static bool is_octal(const char *s)
{
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' &&
	       s[2] <= '7';
}

/* The mount point for people: the kernel's \ooo undone, and what is not printable escaped our way. */
static void put_point(struct dr_buf *out, const char *point)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	for (const char *p = point; *p; p++) {
		if (*p == '\\' && is_octal(p + 1)) {
			dr_buf_put_u8(&bytes,
				(uint8_t)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0')));
			p += 3;
		} else {
			dr_buf_put_u8(&bytes, (uint8_t)*p);
		}
	}
	dr_text_escape(out, bytes.data, bytes.len);
}

/* The buffer's text as *ret_why. */
static void take_why(struct dr_buf *text, char **ret_why)
{
	*ret_why = dr_xstrdup(dr_buf_cstr(text));
}

static int refuse(const struct mount *mount, struct dr_buf *text, char **ret_why)
{
	for (size_t i = 0; i < sizeof(local_rules) / sizeof(local_rules[0]); i++) {
		const struct local_rule *rule = &local_rules[i];
		if (strcmp(mount->type, rule->type) != 0 ||
			(rule->option && !has(mount, rule->option))) {
			continue;
		}
		if (rule->option) {
			dr_buf_printf(text, " is mounted with %s", rule->option);
		} else {
			dr_buf_printf(text, " is %s", rule->type);
		}
		dr_buf_printf(text, ": locks do not reach other hosts; %s", rule->remedy);
		take_why(text, ret_why);
		return -ENOLCK;
	}
	/*
	 * The default since 2.12.3 and 2.13 (LU-10885), and printed whenever it is on, in all releases. When it is off,
	 * a client prints nothing, or since 2.12.4 and 2.13 "noflock"; fcntl() says ENOSYS then.
	 */
	if (strcmp(mount->type, "lustre") == 0 && !has(mount, "flock")) {
		dr_buf_printf(text,
			" is mounted without flock: fcntl locks are off; mount it with flock");
		take_why(text, ret_why);
		return -ENOLCK;
	}
	return 0;
}

int dr_mount_locks_line(const char *line, char **ret_why)
{
	char *copy dr_cleanup(dr_freep) = dr_xstrdup(line);
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	struct mount mount;
	if (!parse(copy, &mount)) {
		*ret_why = NULL;
		return 0;
	}
	put_point(&text, mount.point);
	int r = refuse(&mount, &text, ret_why);
	if (r < 0) {
		return r;
	}
	*ret_why = NULL;
	for (size_t i = 0; i < sizeof(good_types) / sizeof(good_types[0]); i++) {
		if (strcmp(mount.type, good_types[i].type) == 0) {
			dr_buf_printf(&text, " is %s: %s", mount.type, good_types[i].why);
			take_why(&text, ret_why);
			break;
		}
	}
	return 0;
}

/* The number after the label at the beginning of a line. */
static int number_after(const char *text, const char *label, uint64_t *ret_number)
{
	size_t len = strlen(label);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, label, len) == 0) {
			char *end;
			unsigned long long number = strtoull(line + len, &end, 10);
			if (end != line + len) {
				*ret_number = number;
				return 0;
			}
		}
	}
	return -ENOENT;
}

int dr_mount_id(int fd, uint64_t *ret_id)
{
#ifdef STATX_MNT_ID
	struct statx stx;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx) == 0 &&
		(stx.stx_mask & STATX_MNT_ID)) {
		*ret_id = stx.stx_mnt_id;
		return 0;
	}
#endif
	/* Kernels before 5.8, or built against their headers; since 3.15. */
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	int r = dr_read_file(AT_FDCWD, path, FDINFO_MAX, &text);
	return r < 0 ? r : number_after(dr_buf_cstr(&text), "mnt_id:", ret_id);
}

int dr_mount_locks(int fd, char **ret_why)
{
	struct dr_buf table dr_cleanup(dr_buf_fini) = { 0 };
	uint64_t wanted, id;
	if (dr_mount_id(fd, &wanted) == 0 &&
		dr_read_file(AT_FDCWD, "/proc/self/mountinfo", TABLE_MAX, &table) == 0) {
		char *rest = dr_buf_cstr(&table);
		for (char *line; (line = strsep(&rest, "\n"));) {
			if (number_after(line, "", &id) == 0 && id == wanted) {
				return dr_mount_locks_line(line, ret_why);
			}
		}
	}
	/* No /proc, or a mount of another name space. */
	*ret_why = NULL;
	return 0;
}
