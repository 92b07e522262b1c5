/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_FS_LAYOUT_H
#define DR_FS_LAYOUT_H

#include "base/buf.h"
#include "base/rangeset.h"

/*
 * Lustre's binary layouts (the value of lustre.lov, trusted.lov, and what
 * IOC_MDC_GETFILEINFO_V2 returns), decoded from bytes and encoded to bytes.
 * Touches no file. Every function may be called from every thread.
 *
 * Formats: lustre/include/uapi/linux/lustre/lustre_user.h, struct lov_user_md_v1,
 * lov_user_md_v3, lov_comp_md_v1, lov_comp_md_entry_v1, lov_foreign_md.
 */

/* struct lu_fid */
struct dr_fid {
	uint64_t seq;
	uint32_t oid;
	uint32_t ver;
};

static inline bool dr_fid_equal(const struct dr_fid *a, const struct dr_fid *b)
{
	return a->seq == b->seq && a->oid == b->oid && a->ver == b->ver;
}

static inline bool dr_fid_is_zero(const struct dr_fid *fid)
{
	return fid->seq == 0 && fid->oid == 0 && fid->ver == 0;
}

#define DR_FID_TEXT_SIZE 48
/* "0x200000402:0x4:0x0" into buf (DR_FID_TEXT_SIZE bytes); returns buf. */
char *dr_fid_format(const struct dr_fid *fid, char *buf);
/* The same back, also in brackets: "[0x200000402:0x4:0x0]". @error EINVAL */
dr_nodiscard int dr_fid_parse(const char *text, size_t len, struct dr_fid *ret_fid);

#define DR_LOV_MAGIC_V1 0x0BD10BD0u
#define DR_LOV_MAGIC_V3 0x0BD30BD0u
#define DR_LOV_MAGIC_SPECIFIC 0x0BD50BD0u
#define DR_LOV_MAGIC_COMP_V1 0x0BD60BD0u
#define DR_LOV_MAGIC_FOREIGN 0x0BD70BD0u
#define DR_LOV_MAGIC_SEL 0x0BD80BD0u

#define DR_PATTERN_RAID0 0x1u
#define DR_PATTERN_MDT 0x100u /* DoM */
#define DR_PATTERN_OVERSTRIPING 0x200u
#define DR_PATTERN_FOREIGN 0x400u
#define DR_PATTERN_F_HOLE 0x40000000u
#define DR_PATTERN_F_RELEASED 0x80000000u

#define DR_COMP_STALE 0x1u
#define DR_COMP_PREFER_READ 0x2u
#define DR_COMP_PREFER_WRITE 0x4u
#define DR_COMP_INIT 0x10u
#define DR_COMP_NOSYNC 0x20u
#define DR_COMP_EXTENSION 0x40u
#define DR_COMP_PARITY 0x80u
#define DR_COMP_OF_MIRROR 0x2fu /* stale, preferred to read or write, offline, not to be synced */

#define DR_LCM_FLR_MASK 0xbu
#define DR_LCM_RDONLY 0x1u /* mirrored, all in sync */

#define DR_EOF UINT64_MAX
#define DR_POOL_MAX 15        /* bytes of a pool's name, LOV_MAXPOOLNAME */
#define DR_STRIPE_MAX 2000    /* LOV_MAX_STRIPE_COUNT */
#define DR_LAYOUT_MAX 65536   /* bytes of an encoded layout: XATTR_SIZE_MAX */
#define DR_STRIPE_ALIGN 65536 /* LOV_MIN_STRIPE_SIZE */

struct dr_layout_object {
	struct dr_fid fid; /* of the object, as l_ost_oi holds it in FID form */
	uint32_t gen;
	uint32_t ost; /* index */
};

struct dr_layout_comp {
	uint32_t id;         /* mirror id << 16 | number; 0 in a plain layout */
	uint32_t flags;      /* DR_COMP_*; a plain layout has DR_COMP_INIT */
	uint64_t start;      /* bytes, inclusive */
	uint64_t end;        /* bytes, exclusive; DR_EOF: no end */
	uint64_t timestamp;  /* of the mirror, as stored */
	uint32_t layout_gen; /* lcme_layout_gen */
	uint8_t coding[4];   /* bytes 44 to 47 of the entry, as stored: parity and compression */

	uint32_t magic;             /* DR_LOV_MAGIC_V1, _V3 or _SPECIFIC */
	uint32_t pattern;           /* DR_PATTERN_* */
	struct dr_fid oi;           /* lmm_oi: the file's own FID, or zero */
	uint32_t stripe_size;       /* bytes */
	uint16_t stripe_count;      /* as stored; 0xffff: all */
	uint16_t stripe_offset;     /* as stored: start index or layout generation */
	char pool[DR_POOL_MAX + 1]; /* "" for none; NUL-terminated */

	uint32_t n_objects; /* 0 where not initialised (see decode), DoM, or released */
	struct dr_layout_object *objects; /* lent by the layout */
	uint32_t room_bytes; /* that follow the objects and mean nothing, e.g. of a released file */
};

enum dr_layout_kind { DR_LAYOUT_PLAIN, DR_LAYOUT_COMPOSITE, DR_LAYOUT_FOREIGN };

struct dr_layout {
	enum dr_layout_kind kind;
	uint32_t magic;        /* composite: DR_LOV_MAGIC_COMP_V1 or _SEL */
	uint32_t gen;          /* lcm_layout_gen; 0 for plain */
	uint16_t flags;        /* lcm_flags */
	uint16_t mirror_count; /* as stored: mirrors - 1 */
	uint8_t ec_count;
	uint32_t n_comps; /* 1 for plain, 0 for foreign */
	struct dr_layout_comp *comps;
	uint32_t tail_bytes; /* composite: that follow the last component and mean nothing */
	/* foreign only */
	uint32_t foreign_type, foreign_flags;
	uint8_t *foreign_value;
	uint32_t foreign_len;
};

/*
 * Decodes a layout into a new structure, which the caller frees.
 * A released component has no objects, whatever bytes stand in their place; neither has DoM, nor a
 * component of a composite without DR_COMP_INIT, but for one: of magic DR_LOV_MAGIC_SPECIFIC with
 * room for all its stripes it is pinned, and its objects name OSTs (their FIDs mean nothing). A
 * plain layout that ends with its header is a template (a directory's default) and has none either.
 * Pool names end at their first NUL. Bytes after lcm_size, or after a foreign value, are ignored.
 * Components must follow one another in the value as their entries do, as Lustre writes them.
 * @error EINVAL torn, an unknown magic, offsets that overlap or leave the value, no component, an
 *        extent that ends before it starts, a stripe count that the value has no room for;
 *        E2BIG longer than DR_LAYOUT_MAX; ENOMEM
 */
dr_nodiscard int dr_layout_decode(const void *bytes, size_t len, struct dr_layout **ret_layout);
void dr_layout_free(struct dr_layout *layout);
static inline void dr_layout_freep(struct dr_layout **layout)
{
	dr_layout_free(*layout);
}
/* A deep copy, with room of its own. */
struct dr_layout *dr_layout_copy(const struct dr_layout *layout);
/*
 * One mirror of a mirrored layout alone, to make a volatile file of: a composite of its components without ids, generations
 * and times, and without the flags that say something of a mirror among others (DR_COMP_OF_MIRROR): whoever puts the mirror
 * into a file gives it those that its user wished for. mirror: id >> 16 of its components.
 * @return a new layout; NULL: no component is of that mirror
 */
struct dr_layout *dr_layout_mirror(const struct dr_layout *layout, uint32_t mirror);
/*
 * What of a layout can be asked for on another file system: components with their stripe sizes and counts, and pools; no objects, OST indices,
 * ids, generations or states. Of a mirrored one, `mirrors` keeps them all (a directory's default), else it is the first mirror that is not stale.
 * @return a new layout; NULL: foreign, released, or with parity
 */
struct dr_layout *dr_layout_template(const struct dr_layout *layout, bool mirrors);
/*
 * The first mirror with an object of an initialised component on the set, stale or not. @return its number; 0: there
 * is none, or the layout is not mirrored
 */
uint32_t dr_layout_next_mirror_on(const struct dr_layout *layout, const struct dr_rangeset *set);
/* A zeroed layout with n components; plain for kind PLAIN (n = 1). Objects by the next call. */
struct dr_layout *dr_layout_new(enum dr_layout_kind kind, uint32_t n_comps);
/* Gives a component n zeroed objects (owned by the layout), dropping what it had, room_bytes too. */
void dr_layout_set_objects(struct dr_layout *layout, uint32_t comp, uint32_t n);

/*
 * Appends the bytes of a layout. What decode read from Lustre's bytes encodes to the same bytes;
 * what Lustre leaves undefined becomes zero: padding, what follows a pool's name, room that holds no
 * objects. The objects of a component whose pattern says released become zeros as well.
 */
void dr_layout_encode(const struct dr_layout *layout, struct dr_buf *out);

/*
 * The scanner's question, answered from the bytes without an allocation.
 */
#define DR_LAYOUT_ON_SET 0x1u   /* an initialised component has an object on the set */
#define DR_LAYOUT_RELEASED 0x2u /* HSM released: never a candidate */
#define DR_LAYOUT_IS_FOREIGN 0x4u
#define DR_LAYOUT_PINNED 0x8u /* an uninitialised component names an OST of the set */
#define DR_LAYOUT_MIRRORED 0x10u
#define DR_LAYOUT_HAS_DOM 0x20u
#define DR_LAYOUT_HAS_OBJECTS 0x40u

struct dr_layout_look {
	uint32_t flags;    /* DR_LAYOUT_* */
	struct dr_fid fid; /* lmm_oi of the first component, or zero */
};

/*
 * set may be NULL: no flag that needs one is given.
 * @error EINVAL, E2BIG as dr_layout_decode()
 */
dr_nodiscard int dr_layout_look(const void *bytes, size_t len, const struct dr_rangeset *set,
	struct dr_layout_look *ret_look);

/*
 * Where a byte of a component lies (Lustre's RAID0): stripe number and offset in its object.
 * off is in the file; it lies in the component. *ret_run is how many bytes from there on, within
 * the component, lie contiguously in that object. n_stripes > 0, stripe_size > 0.
 */
void dr_layout_map(const struct dr_layout_comp *comp, uint32_t n_stripes, uint64_t off,
	uint32_t *ret_stripe, uint64_t *ret_object_off, uint64_t *ret_run);
/* How long the object of a stripe is when the file holds `size` bytes (in the file, from 0). */
uint64_t dr_layout_object_size(
	const struct dr_layout_comp *comp, uint32_t n_stripes, uint32_t stripe, uint64_t size);

/*
 * Text for people, one line: "raid0 1x4M [0]", "pfl 3 comps [3|4,5|-]", "flr 2 mirrors 3 comps
 * [dom|2|1 stale]"; a pinned component's OSTs stand in parentheses. Into out.
 */
void dr_layout_describe(const struct dr_layout *layout, struct dr_buf *out);

#endif
