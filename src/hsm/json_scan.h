/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_JSON_SCAN_H
#define DR_HSM_JSON_SCAN_H

#include "base/prelude.h"

#include <endian.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The loop that the codec of events spends its time in: over the plain bytes of a string in JSON, 16 or 8 at a time. */

#ifdef __SSE2__
/*
 * Goes on from *p as long as 16 bytes are left. @return whether it met what ends a string or needs a look, at which *p is then;
 * *seen gets the high bits of all bytes before it
 */
static inline bool dr_scan_16(const char **p, const char *end, unsigned *seen)
{
	for (; end - *p >= 16; *p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)*p);
		__m128i found = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
			_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));

		found = _mm_or_si128(
			found, _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v));
		unsigned specials = (unsigned)_mm_movemask_epi8(found);
		unsigned highs = (unsigned)_mm_movemask_epi8(v);

		if (specials) {
			*seen |= highs & (specials ^ (specials - 1)) >> 1;
			*p += __builtin_ctz(specials);
			return true;
		}
		*seen |= highs;
	}
	return false;
}
#else
static inline bool dr_scan_16(const char **p, const char *end, unsigned *seen)
{
	(void)p;
	(void)end;
	(void)seen;
	return false;
}
#endif

/*
 * The first byte from p on that ends a string or needs a look: a quote, a backslash, a control character.
 * *ret_is_ascii becomes false when a byte before it may be past ASCII.
 */
static inline const char *dr_scan_string(const char *p, const char *end, bool *ret_is_ascii)
{
	const uint64_t ones = 0x0101010101010101u;
	const uint64_t highs = 0x8080808080808080u;
	uint64_t seen = 0;
	unsigned seen_16 = 0;

	if (dr_scan_16(&p, end, &seen_16)) {
		*ret_is_ascii = seen_16 == 0;
		return p;
	}
	seen = seen_16 ? highs : 0;
	for (; end - p >= 8; p += 8) {
		uint64_t v = 0;

		memcpy(&v, p, sizeof(v));
		v = le64toh(v);
		uint64_t quote = v ^ (ones * '"');
		uint64_t backslash = v ^ (ones * '\\');
		uint64_t found = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
				 ((v - ones * 0x20) & ~v);

		found &= highs;
		if (found) {
			/* Bits above the lowest may be borrowed ones; the lowest is exact. */
			uint64_t below = (found ^ (found - 1)) >> 8;

			*ret_is_ascii = ((seen | (v & below)) & highs) == 0;
			return p + __builtin_ctzll(found) / 8;
		}
		seen |= v;
	}
	while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) {
		seen |= (unsigned char)*p++;
	}
	*ret_is_ascii = (seen & highs) == 0;
	return p;
}

#endif
