/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_MOVER_FILE_H
#define DR_WORK_MOVER_FILE_H

#include "work/evacuate.h"

/* What evacuate.c and mover_file.c share, and what a command's end means. */

/* Opens the directory of a file, or keeps the one in hand. @error ENOENT gone, or no directory any more */
dr_nodiscard int dr_evacuation_enter(struct dr_evacuation *e, const struct dr_chunk_file *file);
/* Names in the outcome the sources that the layout has objects on. */
void dr_evacuation_note_sources(
	const struct dr_evacuation *e, const struct dr_layout *layout, struct dr_outcome *outcome);
/* Writes an outcome into the log of moves; a layout that is not known is NULL. */
void dr_evacuation_tell(struct dr_evacuation *e, const struct dr_chunk_file *file,
	const struct dr_outcome *outcome, const struct dr_layout *from, const struct dr_layout *to);

/*
 * Whether a file is a leftover because a command made it shorter, and has not grown back yet. It stays one: being off
 * the sources is no reason to forget what it lost.
 */
static inline bool dr_evacuation_is_cut(const struct dr_chunk_file *file, uint64_t size)
{
	return file->outcome.class == DR_FAILED && file->outcome.step == DR_STEP_VERIFY &&
	       file->outcome.error == -EILSEQ && size < file->size;
}

/*
 * Moves one file by the evacuation's command, and concludes.
 * @return 1 it has its outcome; 0 *stop was set, and the file is as it was
 */
size_t dr_mover_move(
	struct dr_evacuation *e, const struct dr_chunk_file *file, struct dr_outcome *outcome);

/* What is known of a file before or after the command. */
struct dr_mover_seen {
	int error;         /* negative errno of the look; 0: what follows was read */
	uint32_t flags;    /* DR_LAYOUT_* by the campaign's sources */
	bool other_layout; /* after: not the one before */
	uint64_t size;
	struct timespec mtime;
};

/*
 * What became of a file that was on a source: class, step and error of the outcome. The layout decides first, the sizes with
 * it, and only then what the command says. Pure.
 * @return false: nothing is certain but that it was stopped; the file may go back as it is
 */
bool dr_mover_verdict(const struct dr_mover_seen *before, const struct dr_mover_seen *after,
	const struct dr_mover_result *result, struct dr_outcome *outcome);

#endif
