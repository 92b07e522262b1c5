/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_FS_LUSTRE_ABI_H
#define DR_FS_LUSTRE_ABI_H

#include "base/prelude.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/*
 * The part of Lustre's public kernel interface that drover uses, in its own words: numbers, offsets and meanings, no code. Each
 * entry names the header under lustre/include/uapi/linux/lustre/ of Lustre 2.17 that defines it, and the release that has it
 * first. All of it was checked against a running 2.17.0 on x86-64. The kernel's structures are little endian on every client, and
 * packed as the assertions say.
 */

/* lustre_user.h: LL_SUPER_MAGIC */
#define DR_LUSTRE_MAGIC 0x0BD00BD0u
/* lustre_user.h: FILEID_LUSTRE, the type of a file handle that holds a FID */
#define DR_LUSTRE_HANDLE 0x97

/* lustre_fid.h, lustre_user.h: struct lu_fid, in the byte order of the client */
struct dr_lustre_fid {
	uint64_t seq;
	uint32_t oid;
	uint32_t ver;
};
_Static_assert(sizeof(struct dr_lustre_fid) == 16, "lu_fid");

/*
 * lustre_user.h: struct lov_user_mds_data; IOC_MDC_GETFILEINFO_V2 (2.12) on a directory's descriptor. In: a name, NUL-terminated,
 * at offset 0. Out: the same buffer, overwritten. The kernel is not told how long the buffer is: it copies the whole layout. No
 * layout: size 0. A symlink is not followed. ENOENT: no such name.
 */
struct dr_lustre_info {
	struct dr_lustre_fid fid;
	struct statx stx;
	uint64_t valid;
	uint32_t layout_size;
	uint32_t padding;
	uint8_t layout[65536]; /* XATTR_SIZE_MAX */
};
_Static_assert(offsetof(struct dr_lustre_info, stx) == 16, "lmd_stx");
_Static_assert(offsetof(struct dr_lustre_info, layout_size) == 280, "lmd_lmmsize");
_Static_assert(offsetof(struct dr_lustre_info, layout) == 288, "lmd_lmm");
#define DR_LUSTRE_GETFILEINFO 0xc1406916ul
/* The same of the directory itself: LL_IOC_MDC_GETINFO_V2 (2.12). Its layout is its default, with the start index that lustre.lov hides */
#define DR_LUSTRE_GETINFO 0xc1406917ul

/* lustre_user.h: LL_IOC_PATH2FID (2.0), on a file or directory; of others ENOTTY */
#define DR_LUSTRE_PATH2FID 0x800866adul
/* lustre_user.h: LL_IOC_GET_MDTIDX (2.4): an int out */
#define DR_LUSTRE_GET_MDTIDX 0x800466aful
/* lustre_ioctl_old.h, lustre_user.h: LL_IOC_GETOBDCOUNT (2.0): a u32; in 0: the OSTs, gaps counted; in 1: the MDTs */
#define DR_LUSTRE_GETOBDCOUNT 0x800866a8ul
/* lustre_ioctl.h: OBD_IOC_GETDTNAME (2.0): the name of this mount's LOV device, "lustre-clilov-ffff9c7b4235a000" */
#define DR_LUSTRE_GETDTNAME 0x8080667ful
#define DR_LUSTRE_DTNAME_SIZE 128

/* lustre_user.h: struct getinfo_fid2path; OBD_IOC_FID2PATH (2.0): the path without the mount point */
struct dr_lustre_fid2path {
	struct dr_lustre_fid fid;
	uint64_t recno;
	uint32_t linkno;
	uint32_t pathlen; /* in: room for the path */
	char path[4096];
};
_Static_assert(offsetof(struct dr_lustre_fid2path, path) == 32, "gf_u");
#define DR_LUSTRE_FID2PATH 0xc0086696ul

/* lustre_user.h: struct ioc_data_version; LL_IOC_DATA_VERSION (2.3). RD_FLUSH: every client's dirty pages go to the OSTs first */
struct dr_lustre_data_version {
	uint64_t version;
	uint32_t layout_version;
	uint32_t flags;
};
_Static_assert(sizeof(struct dr_lustre_data_version) == 16, "ioc_data_version");
#define DR_LUSTRE_DATA_VERSION 0x801066daul
#define DR_LUSTRE_DV_RD_FLUSH 0x1u

/*
 * lustre_user.h: struct ll_ioc_lease; LL_IOC_SET_LEASE (2.11 in this form), LL_IOC_GET_LEASE (2.7). Taking: 0, or EBUSY while anybody
 * has the file open for writing or leased. Giving back: 1 or 2 (its type) when it was held all the time, 0 when it was lost. MERGE:
 * ids[0] is the descriptor of a volatile, whose layout becomes a mirror. SPLIT: ids are the descriptor of a volatile without a layout
 * and the number of the mirror that it takes along.
 */
struct dr_lustre_lease {
	uint32_t mode, flags, count;
	uint32_t ids[2];
};
_Static_assert(offsetof(struct dr_lustre_lease, ids) == 12, "lil_ids");
#define DR_LUSTRE_SET_LEASE 0xc00c66f3ul
#define DR_LUSTRE_GET_LEASE 0x000066f4ul
#define DR_LUSTRE_LEASE_READ 1u
#define DR_LUSTRE_LEASE_UNLOCK 4u
#define DR_LUSTRE_LEASE_MERGE 4u
#define DR_LUSTRE_LEASE_SPLIT 8u

/*
 * lustre_user.h: struct lustre_swap_layouts; LL_IOC_LOV_SWAP_LAYOUTS (2.4; CLOSE: 2.8) on a descriptor open for writing. CLOSE
 * swaps only while the lease is held, and ends it whatever comes: ESTALE it was lost; ENOLCK there was none; EPERM another
 * owner. The versions count for archived files only; comparing the source's is the caller's duty.
 */
struct dr_lustre_swap {
	uint64_t flags;
	uint32_t fd;
	uint32_t gid;
	uint64_t version_file, version_vol;
};
_Static_assert(sizeof(struct dr_lustre_swap) == 32, "lustre_swap_layouts");
#define DR_LUSTRE_SWAP 0x402066dbul
#define DR_LUSTRE_SWAP_CLOSE 0x10u

/* linux/fs.h: struct fsxattr; FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR, for the project (2.10) */
struct dr_lustre_fsxattr {
	uint32_t xflags, extsize, nextents, project, cowextsize;
	uint8_t padding[8];
};
_Static_assert(sizeof(struct dr_lustre_fsxattr) == 28, "fsxattr");
#define DR_LUSTRE_XFLAG_INHERIT 0x200u /* FS_XFLAG_PROJINHERIT */
#define DR_LUSTRE_FSGETXATTR 0x801c581ful
#define DR_LUSTRE_FSSETXATTR 0x401c5820ul

/*
 * lustre_ioctl.h: struct obd_ioctl_data with its inline data; IOC_OBD_STATFS (2.0), on any descriptor. EAGAIN: no such index, or
 * a gap; ENODATA: this client has it inactive.
 */
struct dr_lustre_statfs_call {
	uint32_t len;     /* of all, 592 */
	uint32_t version; /* OBD_IOCTL_VERSION */
	uint8_t unused1[472];
	uint32_t statfs_len, padding1; /* ioc_plen1 */
	void *statfs;                  /* ioc_pbuf1 */
	uint32_t uuid_len, padding2;   /* ioc_plen2 */
	void *uuid;                    /* ioc_pbuf2 */
	uint32_t inline1_len, padding3;
	void *inline1;
	uint32_t inline2_len, padding4;
	void *inline2;
	uint8_t unused3[32];
	uint32_t type, padding5; /* inline, each rounded up to 8 bytes */
	uint32_t index, padding6;
};
_Static_assert(offsetof(struct dr_lustre_statfs_call, statfs_len) == 480, "ioc_plen1");
_Static_assert(offsetof(struct dr_lustre_statfs_call, uuid) == 504, "ioc_pbuf2");
_Static_assert(offsetof(struct dr_lustre_statfs_call, inline2_len) == 528, "ioc_inllen2");
_Static_assert(offsetof(struct dr_lustre_statfs_call, type) == 576, "ioc_bulk");
_Static_assert(sizeof(struct dr_lustre_statfs_call) == 592, "obd_ioctl_data");
#define DR_LUSTRE_STATFS 0xc00866a4ul
#define DR_LUSTRE_IOCTL_VERSION 0x00010004u
#define DR_LUSTRE_STATFS_MDT 1u /* LL_STATFS_LMV */
#define DR_LUSTRE_STATFS_OST 2u /* LL_STATFS_LOV */
#define DR_LUSTRE_STATFS_NODELAY                                                                   \
	4u /* LL_STATFS_NODELAY: a server that is down answers at once, with an error */

/* lustre_idl.h, lustre_user.h: struct obd_statfs */
struct dr_lustre_statfs {
	uint64_t type, blocks, bfree, bavail, files, ffree;
	uint8_t fsid[40];
	uint32_t bsize, namelen;
	uint64_t maxbytes;
	uint32_t state; /* OS_STATFS_*, as DR_OST_* */
	uint32_t fprecreated, granted;
	uint8_t spare[28];
};
_Static_assert(offsetof(struct dr_lustre_statfs, state) == 104, "os_state");
_Static_assert(sizeof(struct dr_lustre_statfs) == 144, "obd_statfs");
struct dr_lustre_uuid {
	char text[40]; /* "lustre-OST0000_UUID" */
};

/*
 * lustre_user.h: struct lmv_user_md_v1, and lustre_ioctl.h: struct obd_ioctl_data as above with two inline buffers, each rounded up to 8 bytes: the name
 * with its NUL, and this. LL_IOC_LMV_SETSTRIPE (2.4) on a directory makes a directory of that name, on that MDT. Without CREATE_ONLY (2.14) a
 * directory that is there already is spread anew.
 */
struct dr_lustre_dir_stripe {
	uint32_t magic, count;
	uint32_t mdt; /* index of the first */
	uint32_t hash, type;
	uint8_t inherit, inherit_rr;
	uint8_t padding[10];
	char pool[16];
};
_Static_assert(sizeof(struct dr_lustre_dir_stripe) == 48, "lmv_user_md_v1");
struct dr_lustre_mkdir_call {
	uint32_t len; /* of all, with the inline buffers */
	uint32_t version;
	uint8_t unused1[112];
	uint32_t flags; /* ioc_obdo1.o_flags */
	uint8_t unused2[352];
	uint32_t mode; /* ioc_type */
	uint8_t unused3[32];
	uint32_t name_len, padding3;
	void *name;
	uint32_t stripe_len, padding4;
	void *stripe;
	uint8_t unused4[32];
};
_Static_assert(offsetof(struct dr_lustre_mkdir_call, flags) == 120, "ioc_obdo1.o_flags");
_Static_assert(offsetof(struct dr_lustre_mkdir_call, mode) == 476, "ioc_type");
_Static_assert(offsetof(struct dr_lustre_mkdir_call, name_len) == 512, "ioc_inllen1");
_Static_assert(sizeof(struct dr_lustre_mkdir_call) == 576, "obd_ioctl_data");
#define DR_LUSTRE_MKDIR 0xc03066f0ul
#define DR_LUSTRE_MKDIR_CREATE_ONLY 2u  /* OBD_FL_OBDMDEXISTS */
#define DR_LUSTRE_DIR_MAGIC 0x0CD30CD0u /* LMV_USER_MAGIC */

/* lustre_user.h: O_LOV_DELAY_CREATE (O_NOCTTY | FASYNC): a new file gets no objects until it gets a layout, or is written */
#define DR_LUSTRE_O_DELAY_CREATE (O_NOCTTY | FASYNC)
/*
 * lustre_user.h: LUSTRE_VOLATILE_HDR (2.4): a file created under this name has none, and goes with its last descriptor. Then
 * ":MDT:RANDOM:fd=NN", numbers in hex; fd names the file whose encryption context it gets.
 */
#define DR_LUSTRE_VOLATILE ".\x0c\x13\x14\x12:VOLATILE"

#endif
