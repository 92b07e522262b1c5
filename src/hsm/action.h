/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_ACTION_H
#define DR_HSM_ACTION_H

#include "hsm/span.h"

/*
 * One line of mdt/NAME/hsm/actions, as mdt_hsm_actions_debugfs_show() of Lustre's mdt/mdt_hsm_cdt_actions.c prints it:
 *   lrh=[type=10680000 len=136 idx=1/2] fid=[0x..:0x..:0x0] dfid=[..] compound/cookie=0x0/0x6b02b268 action=ARCHIVE
 *   archive#=1 flags=0x0 extent=0x0-0xffffffffffffffff gid=0x0 datalen=0 status=WAITING data=[]
 * Only idx and fid must be there. Other fields may be missing, come in any order, and be joined by new ones.
 */
#define DR_ACTION_MAX_LINE 65536 /* bytes; a longer one is bad input */

struct dr_action {
	uint64_t cat, rec; /* idx=cat/rec, of the record in the MDT's log; at most INT64_MAX */
	/* Lent from the line. Not there: p NULL. */
	struct dr_span fid;  /* without brackets; any text */
	struct dr_span dfid; /* likewise */
	struct dr_span
		cookie; /* "0x6b02b268", of the request; a CANCEL has that of the one it cancels */
	struct dr_span action; /* ARCHIVE, RESTORE, REMOVE, CANCEL */
	struct dr_span status; /* WAITING, STARTED, SUCCEED, FAILED, CANCELED */
};

/* The line without the blanks at its ends: what is hashed, parsed and shipped. */
struct dr_span dr_action_strip(const char *line, size_t len);

/*
 * Parses a stripped line.
 * @error ENOMSG no idx; ENODATA no fid; EBADMSG a bracket that is not closed: it was cut; EILSEQ it holds a NUL or is not UTF-8;
 *        EMSGSIZE longer than DR_ACTION_MAX_LINE
 */
dr_nodiscard int dr_action_parse(const char *line, size_t len, struct dr_action *ret_action);

/*
 * Whether a line that no newline ends, the last of a file, is whole as far as can be told: its last word is a bracket that is closed,
 * or a status that Lustre has.
 */
bool dr_action_is_whole(const char *line, size_t len, const struct dr_action *action);

/* A hash of a stripped line, the same on every machine (XXH3, 64 bits). */
uint64_t dr_action_hash(const char *line, size_t len);

/* Whether the bytes are UTF-8 as RFC 3629 has it, without a NUL. */
bool dr_utf8_is_valid(const char *bytes, size_t len);

#endif
