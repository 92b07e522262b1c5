/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/rangeset.h"

#define N_WORDS (DR_RANGESET_MAX / 64)

void dr_rangeset_fini(struct dr_rangeset *set)
{
	free(set->bits);
	*set = (struct dr_rangeset){ 0 };
}

void dr_rangeset_add(struct dr_rangeset *set, uint32_t n)
{
	if (n >= DR_RANGESET_MAX || dr_rangeset_has(set, n)) {
		return;
	}
	if (!set->bits) {
		set->bits = dr_xcalloc(N_WORDS, sizeof(*set->bits));
	}
	set->bits[n / 64] |= UINT64_C(1) << (n % 64);
	set->count++;
}

void dr_rangeset_remove(struct dr_rangeset *set, uint32_t n)
{
	if (dr_rangeset_has(set, n)) {
		set->bits[n / 64] &= ~(UINT64_C(1) << (n % 64));
		set->count--;
	}
}

void dr_rangeset_copy(struct dr_rangeset *to, const struct dr_rangeset *from)
{
	if (to == from) {
		return;
	}
	dr_rangeset_fini(to);
	if (from->count) {
		to->bits = dr_xmemdup(from->bits, N_WORDS * sizeof(*from->bits));
		to->count = from->count;
	}
}

int dr_rangeset_next(const struct dr_rangeset *set, uint32_t from)
{
	if (!set->bits || from >= DR_RANGESET_MAX) {
		return -ENOENT;
	}
	uint32_t word = from / 64;
	uint64_t bits = set->bits[word] & (UINT64_MAX << (from % 64));
	while (!bits) {
		if (++word == N_WORDS) {
			return -ENOENT;
		}
		bits = set->bits[word];
	}
	return (int)(word * 64 + (uint32_t)__builtin_ctzll(bits));
}

static const char *skip_blanks(const char *s)
{
	while (*s == ' ' || *s == '\t') {
		s++;
	}
	return s;
}

/* One number with blanks around it; *s moves past them. */
static int parse_number(const char **s, uint32_t *ret_n)
{
	const char *p = skip_blanks(*s);
	if (*p < '0' || *p > '9') {
		return -EINVAL;
	}
	uint32_t n = 0;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (n < DR_RANGESET_MAX) { /* beyond that only the fact counts */
			n = n * 10 + (uint32_t)(*p - '0');
		}
	}
	*s = skip_blanks(p);
	if (n >= DR_RANGESET_MAX) {
		return -ERANGE;
	}
	*ret_n = n;
	return 0;
}

static int parse_into(const char *s, struct dr_rangeset *set)
{
	for (;;) {
		uint32_t first, last;
		int r = parse_number(&s, &first);
		if (r < 0) {
			return r;
		}
		last = first;
		if (*s == '-') {
			s++;
			r = parse_number(&s, &last);
			if (r < 0) {
				return r;
			}
		}
		if (last < first) {
			return -EINVAL;
		}
		for (uint32_t n = first; n <= last; n++) {
			dr_rangeset_add(set, n);
		}
		if (*s == 0) {
			return 0;
		}
		if (*s++ != ',') {
			return -EINVAL;
		}
	}
}

int dr_rangeset_parse(const char *s, struct dr_rangeset *ret_set)
{
	struct dr_rangeset set dr_cleanup(dr_rangeset_fini) = { 0 };
	int r = parse_into(s, &set);
	if (r < 0) {
		return r;
	}
	dr_rangeset_fini(ret_set);
	*ret_set = set;
	set = (struct dr_rangeset){ 0 };
	return 0;
}

void dr_rangeset_format(const struct dr_rangeset *set, struct dr_buf *out)
{
	const char *comma = "";
	int first = dr_rangeset_next(set, 0);
	while (first >= 0) {
		int last = first;
		while (dr_rangeset_has(set, (uint32_t)last + 1)) {
			last++;
		}
		if (first == last) {
			dr_buf_printf(out, "%s%d", comma, first);
		} else {
			dr_buf_printf(out, "%s%d-%d", comma, first, last);
		}
		comma = ",";
		first = dr_rangeset_next(set, (uint32_t)last + 1);
	}
}
