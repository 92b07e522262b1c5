/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/idset.h"

void dr_idset_fini(struct dr_idset *set)
{
	free(set->ranges);
	*set = (struct dr_idset){ 0 };
}

/* The first range that ends at or after this number. */
static size_t find(const struct dr_idset *set, uint32_t id)
{
	size_t from = 0, to = set->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (set->ranges[middle].last < id) {
			from = middle + 1;
		} else {
			to = middle;
		}
	}
	return from;
}

bool dr_idset_has(const struct dr_idset *set, uint32_t id)
{
	size_t at = find(set, id);

	return at < set->n && set->ranges[at].first <= id;
}

void dr_idset_add(struct dr_idset *set, uint32_t first, uint32_t last)
{
	/* All that overlap or touch the new range become one with it. */
	size_t at = find(set, first > 0 ? first - 1 : 0), end = at;

	for (; end < set->n && set->ranges[end].first <= last + 1; end++) {
		first = set->ranges[end].first < first ? set->ranges[end].first : first;
		last = set->ranges[end].last > last ? set->ranges[end].last : last;
	}
	if (end == at) {
		set->ranges = dr_xrealloc(set->ranges, (set->n + 1) * sizeof *set->ranges);
	}
	memmove(set->ranges + at + 1, set->ranges + end, (set->n - end) * sizeof *set->ranges);
	set->n = set->n - (end - at) + 1;
	set->ranges[at] = (struct dr_idset_range){ first, last };
}

static int take_number(const char **s, const char *end, uint32_t *ret_number)
{
	const char *p = *s;
	uint64_t n = 0;

	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (uint64_t)(*p - '0');
		if (n > DR_ID_MAX) {
			return -ERANGE;
		}
	}
	if (p == *s) {
		return -EINVAL;
	}
	*s = p;
	*ret_number = (uint32_t)n;
	return 0;
}

int dr_idset_parse_range(const char *s, size_t len, uint32_t *ret_first, uint32_t *ret_last)
{
	const char *end = s + len;
	uint32_t first = 0, last = 0;
	int r = take_number(&s, end, &first);

	if (r < 0) {
		return r;
	}
	last = first;
	if (s < end && *s == '-') {
		s++;
		r = take_number(&s, end, &last);
	}
	if (r < 0 || s != end || last < first) {
		return r < 0 ? r : -EINVAL;
	}
	*ret_first = first;
	*ret_last = last;
	return 0;
}

int dr_idset_parse(const char *s, struct dr_idset *ret_set)
{
	dr_cleanup(dr_idset_fini) struct dr_idset set = { 0 };

	for (;;) {
		size_t len = strcspn(s, ",");
		uint32_t first = 0, last = 0;
		int r = dr_idset_parse_range(s, len, &first, &last);
		if (r < 0) {
			return r;
		}
		dr_idset_add(&set, first, last);
		if (!s[len]) {
			break;
		}
		s += len + 1;
	}
	dr_idset_fini(ret_set);
	*ret_set = set;
	set = (struct dr_idset){ 0 };
	return 0;
}

void dr_idset_format(const struct dr_idset *set, struct dr_buf *out)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct dr_idset_range *range = &set->ranges[i];
		dr_buf_printf(out, "%s%u", i > 0 ? "," : "", range->first);
		if (range->last > range->first) {
			dr_buf_printf(out, "-%u", range->last);
		}
	}
}
