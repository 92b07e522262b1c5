/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_CLOSING_H
#define DR_CAMPAIGN_CLOSING_H

#include "base/command.h"
#include "campaign/spec.h"
#include "fs/fs.h"
#include "store/store.h"

/*
 * Closing the sources to new objects: which commands that takes, and the queue's record of what became of them.
 *
 * The record of a source is text in the queue, three lines: "1|0 EPOCH MS" (whether it succeeded, the leadership that ran
 * it, when it ended), what dr_command_result() says, and the last line of its output.
 */

#define DR_CLOSING_AT_ONCE 8 /* commands */

/* A source as the file system shows it. */
struct dr_closing_ost {
	uint32_t index;
	char name[64];     /* "" : the file system does not list it */
	bool shows_closed; /* its state says that it takes no new objects */
};
/* All sources, by index; the caller frees *ret_osts. @error of the file system; ENOTSUP it has no OSTs */
dr_nodiscard int dr_closing_look(struct dr_fs *fs, const struct dr_rangeset *sources,
	struct dr_closing_ost **ret_osts, size_t *ret_n);

/* The command for a source. Where none can be made text is NULL, and the error ENODEV (it is not listed) or EINVAL (its name). */
void dr_closing_command(
	const char *template, const struct dr_closing_ost *ost, struct dr_command *ret_command);
/* As dr_command_result(), with words for what dr_closing_command() refused; malloc'ed. */
char *dr_closing_result(const struct dr_command *command);

/*
 * The leader of that epoch is about to run close_command: for which sources? For those without a record, and those where an earlier leader
 * failed. While there are some, the queue knows that this leadership runs commands, and nobody opens a source.
 * @return 1 with *ret_todo set (may be empty); 0 not now: the campaign does not run, is a dry run, or its sources are just being
 * opened, or another leads. @error of dr_store_run() with wait = false
 */
dr_nodiscard int dr_closing_begin(struct dr_store *store, const char *epoch,
	const struct dr_rangeset *sources, struct dr_rangeset *ret_todo);
/* One has ended. @return 1; 0 the campaign began anew meanwhile, and this counts no more. @error likewise */
dr_nodiscard int dr_closing_ran(
	struct dr_store *store, uint32_t ost, const struct dr_command *command);
/* All have ended. */
dr_nodiscard int dr_closing_end(struct dr_store *store);
/* What the state of each OST shows. */
dr_nodiscard int dr_closing_shows(
	struct dr_store *store, const struct dr_closing_ost *osts, size_t n);

/*
 * The sources are about to be opened by command: their records go, so that a campaign that goes on closes them again; until
 * dr_closing_opened(), and for so many seconds at the most, no leader closes them.
 * @error EBUSY the campaign is running; EALREADY its leader is running close_command; likewise
 */
dr_nodiscard int dr_closing_open(
	struct dr_store *store, const struct dr_rangeset *sources, uint64_t seconds);
dr_nodiscard int dr_closing_opened(struct dr_store *store);
/* The same, for a leader that finds the request of a `drover reopen` that ran without it. */
dr_nodiscard int dr_closing_forget(struct dr_store *store, const struct dr_rangeset *sources);

/* "0,1,5", malloc'ed. */
char *dr_closing_list(const struct dr_rangeset *sources);

/*
 * The part of the status that is about the sources, from the hash in the queue (NULL: nothing is known):
 * an array of {ost files_moved bytes_moved files_appeared closing}. closing is null, or
 * {command state_shows_it ended_ms result last_line}, command being "succeeded", "failed" or "reopened".
 */
json_t *dr_closing_sources_json(const redisReply *osts, const struct dr_spec *spec);
/* A request of `drover reopen` waits for the next leader: in that array no source was closed by a command. */
void dr_closing_json_reopened(json_t *sources);

#endif
