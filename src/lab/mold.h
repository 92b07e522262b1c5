/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_LAB_MOLD_H
#define DR_LAB_MOLD_H

#include "fs/lab_image.h"

/*
 * Which layout a new file gets, and on which OSTs its objects lie. Both follow from the options, the
 * seed and the file's place in the order of making, so that the same command gives the same lab.
 */
enum dr_mold_kind { DR_MOLD_PLAIN, DR_MOLD_PFL, DR_MOLD_MIXED };

#define DR_MOLD_ALL_STRIPES (-1)

struct dr_mold {
	enum dr_mold_kind kind;
	int stripe_count;             /* 0: the kind's own; DR_MOLD_ALL_STRIPES */
	uint32_t stripe_size;         /* bytes, a multiple of DR_STRIPE_ALIGN; 0: the kind's own */
	const char *pool;             /* that all components name, lent; NULL: none */
	struct dr_rangeset pool_osts; /* where objects go then; empty: anywhere */
	uint64_t seed;
};

/* A number that the seed and these bytes decide. */
uint64_t dr_mold_hash(uint64_t seed, const void *bytes, size_t len);
/* The next of a row of random numbers (SplitMix64); state may start as anything. */
static inline uint64_t dr_mold_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* The OSTs that take new objects, in the order of their use. For one thread. */
struct dr_mold_place {
	uint32_t *osts;
	uint32_t n;
	uint32_t width; /* an overstriped component uses so many of them; 0: all */
	uint64_t at;    /* where the next object goes, modulo n */
};

/* n is 0 when no OST takes new objects. */
void dr_mold_place_init(
	struct dr_mold_place *place, struct dr_lab *lab, const struct dr_mold *mold);
void dr_mold_place_fini(struct dr_mold_place *place);

/* The template for a file of this size and this random number, on n_osts targets. The caller frees it. */
struct dr_layout *dr_mold_layout(
	const struct dr_mold *mold, uint64_t size, uint64_t random, uint32_t n_osts);

struct dr_mold_file {
	int dirfd;
	const char *name;
	mode_t mode;
	uint64_t size;   /* bytes, as src_fd has them */
	uint64_t random; /* decides what is left to chance */
	int src_fd;      /* -1: an empty file */
};
/*
 * Makes a file at `place`; when an OST is full or does not take the object, once more on those with the most space.
 * *ret_fd is the stub, open for writing.
 * @error ENOSPC no room; ENOBUFS no OST takes new objects; EEXIST; others of dr_lab_file_make()
 */
dr_nodiscard int dr_mold_file_make(struct dr_lab *lab, const struct dr_mold *mold,
	struct dr_mold_place *place, const struct dr_mold_file *file, int *ret_fd);

#endif
