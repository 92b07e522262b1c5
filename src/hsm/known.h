/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_KNOWN_H
#define DR_HSM_KNOWN_H

#include "hsm/event.h"
#include "hsm/table.h"

/*
 * What a stream says of its MDT: the actions that are live in it up to one entry. It is the shipper's only state, and it is always a
 * replay of the stream: what the shipper adds to the stream is applied once the server has taken it, what others added is read and
 * applied before anything is compared. So a crash, a lost cache, a fail-over and a second shipper are all the same case.
 * Threads: one at a time.
 */
struct dr_known_action {
	struct dr_table_key key; /* mdt 0 */
	uint64_t line_hash;      /* dr_action_hash() of the line as the stream has it; 0: unknown */
	struct dr_entry_id id;   /* of its last NEW or UPDATE */
	int64_t first_s;         /* seconds since 1970 when it was first seen */
	char *text;    /* fid, action, cookie, each with its NUL; "" where there is none */
	uint32_t seen; /* the pass over the file that saw it last */
	bool was_ours; /* this shipper saw it in the file: its end there is a purge seen, and not a stream put right */
};

struct dr_known {
	struct dr_table actions; /* struct dr_known_action */
	struct dr_entry_id last; /* all entries up to this one are in it */
	uint32_t pass;
	uint64_t n_bad; /* entries that were no events */
};

void dr_known_init(struct dr_known *known);
void dr_known_fini(struct dr_known *known);
/* As of an empty stream. */
void dr_known_clear(struct dr_known *known);

static inline struct dr_known_action *dr_known_at(const struct dr_known *known, uint32_t i)
{
	return dr_table_at(&known->actions, i);
}
struct dr_known_action *dr_known_find(const struct dr_known *known, uint64_t cat, uint64_t rec);

/* What dr_known_set() is told of an action. */
struct dr_known_value {
	uint64_t cat, rec, line_hash;
	struct dr_entry_id id;
	int64_t first_s;
	struct dr_span fid, action, cookie;
};
/* The action is live, with these values. @error ENOMEM, ENOSPC */
dr_nodiscard int dr_known_set(struct dr_known *known, const struct dr_known_value *value,
	struct dr_known_action **ret_action);
void dr_known_drop(struct dr_known *known, struct dr_known_action *action);

/*
 * Applies an entry of the stream: event NULL is one that is no event. A PURGED without an index, as other programs make them, ends all
 * actions of its action_key.
 * @error ENOMEM, ENOSPC
 */
dr_nodiscard int dr_known_apply(
	struct dr_known *known, struct dr_entry_id id, const struct dr_event *event);

/* The parts of an action's text. */
struct dr_span dr_known_fid(const struct dr_known_action *action);
struct dr_span dr_known_name(const struct dr_known_action *action);
struct dr_span dr_known_cookie(const struct dr_known_action *action); /* p NULL: none */

/* The smallest id of the live ones; false: none is live. */
bool dr_known_oldest(const struct dr_known *known, struct dr_entry_id *ret_id);

/*
 * Compares what is live in both, by index and line; the marks of `from` (was_ours) are copied where they agree.
 * @return how many differ
 */
size_t dr_known_adopt(struct dr_known *to, const struct dr_known *from);

/* ---- The cache: the states of all MDTs in one file, so that a restart reads only what is new in the streams. ---- */

struct dr_known_mdt {
	char *name;
	struct dr_known known;
};

/*
 * Writes them to the file, by way of a temporary one beside it; makes its folder. Nothing is synced: a file that was torn is found out
 * when it is read. Memory: 1 MiB, whatever they hold.
 * @error those of open, write, rename
 */
dr_nodiscard int dr_known_save(const char *path, const struct dr_known_mdt *mdts, size_t n);
/*
 * Reads them. The caller frees each (free(name), dr_known_fini()) and *ret_mdts.
 * @error ENOENT no file; EBADMSG torn, or no such file; EPROTONOSUPPORT of another version; those of open and read
 */
dr_nodiscard int dr_known_load(const char *path, struct dr_known_mdt **ret_mdts, size_t *ret_n);
/* The same from memory. @error EBADMSG, EPROTONOSUPPORT, ENOMEM */
dr_nodiscard int dr_known_decode(
	const void *data, size_t len, struct dr_known_mdt **ret_mdts, size_t *ret_n);

#endif
