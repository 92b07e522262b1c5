/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/layout.h"

/* "0x" and digits at *p, up to the end or the byte `stop`; *p is behind that byte then. */
static bool take_hex(const char **p, const char *end, char stop, uint64_t max, uint64_t *ret)
{
	const char *at = *p;
	uint64_t value = 0;
	size_t digits = 0;

	if (end - at < 3 || at[0] != '0' || (at[1] != 'x' && at[1] != 'X')) {
		return false;
	}
	for (at += 2; at < end && *at != stop; at++, digits++) {
		char c = *at;
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
				 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
							: 16;

		if (digit == 16 || value > max >> 4) {
			return false;
		}
		value = value << 4 | digit;
	}
	if (digits == 0 || (stop && at == end)) {
		return false;
	}
	*p = at + (stop != '\0');
	*ret = value;
	return true;
}

int dr_fid_parse(const char *text, size_t len, struct dr_fid *ret_fid)
{
	const char *p = text, *end = text + len;
	uint64_t seq, oid, ver;

	if (len > 0 && *p == '[') {
		p++;
		end--;
		if (end < p || *end != ']') {
			return -EINVAL;
		}
	}
	if (!take_hex(&p, end, ':', UINT64_MAX, &seq) ||
		!take_hex(&p, end, ':', UINT32_MAX, &oid) ||
		!take_hex(&p, end, '\0', UINT32_MAX, &ver) || p != end) {
		return -EINVAL;
	}
	*ret_fid = (struct dr_fid){ .seq = seq, .oid = (uint32_t)oid, .ver = (uint32_t)ver };
	return 0;
}
