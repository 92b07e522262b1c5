/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TUI_SOURCE_H
#define DR_TUI_SOURCE_H

#include "tui/model.h"

/*
 * A thread that reads the streams into a table of live actions, and gives looks at it. It has all signals blocked.
 * Threads: all functions from one other thread.
 */
struct top_source;

/* @param options lent, with what they point to. @error EAGAIN, EMFILE and the like: no thread or descriptor */
dr_nodiscard int top_source_start(
	const struct dr_reader_options *options, struct top_source **ret_source);
/*
 * Asks the thread to end, and waits for it for a third of a second: a name's look-up, or a connection that is being made, may hold it
 * for longer. @return whether it ended, and the source is gone; if not, the process should end
 */
bool top_source_stop(struct top_source *source);

/* A descriptor that becomes readable when something happened that the user should see at once; it is read by top_source_look(). */
int top_source_fd(const struct top_source *source);
/* Fills *ret_look by the model's filters and its bound for stalled ones. @error ENOMEM the table could not grow: it is no longer true */
dr_nodiscard int top_source_look(
	struct top_source *source, struct top_model *model, struct top_look *ret_look);

/* The same look at a table of the caller's own. */
void top_look_at(struct dr_live *live, struct top_model *model, struct top_look *ret_look);

#endif
