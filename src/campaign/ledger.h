/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_LEDGER_H
#define DR_CAMPAIGN_LEDGER_H

#include "campaign/chunk.h"
#include "campaign/claim.h"
#include "campaign/spec.h"

/*
 * The books: what a worker found or moved is told to the queue in one step, with the jobs that follow
 * from it. In every snapshot
 * discovered = succeeded + unneeded + busy + changed + refused + no_space + failed + gone + pending + in_progress.
 */

/* What came of the candidates of a list. */
struct dr_listed {
	uint64_t looked_at;   /* all of them */
	uint64_t on_sources;  /* queued */
	uint64_t gone;        /* the name leads to nothing */
	uint64_t excluded;    /* by the campaign */
	uint64_t below_paths; /* left to the scan of the scan paths */
};

/* What a clone's scanner did and saw, added to the ledger's counts of these names. */
enum dr_clone_count {
	DR_CLONED_DIRS_MADE,
	DR_CLONED_UNCHANGED,
	DR_CLONED_FILTERED,
	DR_CLONED_CORRECTED, /* directories whose attributes or times were set right */
	DR_CLONED_DELETED,
	DR_CLONED_WOULD_DELETE,   /* of the look before */
	DR_CLONED_TARGET_ENTRIES, /* seen by that look */
	DR_CLONED_DIFFERENCES,    /* of a verify pass */
	DR_N_CLONE_COUNTS,
};
/* "dirs_made", as in the status. */
const char *dr_clone_count_name(enum dr_clone_count count);

/* What a scanner found since it settled last. Zeroed memory is nothing. */
struct dr_scan_results {
	struct dr_buf chunks; /* per chunk: u64 files, u64 bytes, u64 length, payload */
	size_t n_chunks;
	struct dr_buf held; /* chunks that wait for the links stage of a clone; as chunks */
	size_t n_held;
	struct dr_buf
		parts; /* per huge file: blob its key, u64 number of parts, blob the chunk that ends it */
	size_t n_parts;
	uint64_t counts[DR_N_CLONE_COUNTS];
	struct dr_buf frontiers; /* per job for others: u64 length, payload */
	size_t n_frontiers;
	struct dr_buf
		residue; /* per thing that names a source without an object on it: u64 length, text */
	size_t n_residue;
	struct dr_buf errors; /* per directory that could not be read: u64 length, text */
	size_t n_errors;
	struct dr_buf
		appeared; /* per file that is new since the campaign began: blob FID, blob sources */
	size_t n_appeared;
	uint64_t entries, directories;
	struct dr_listed listed; /* in the first scan only, or they would count again in each */
};

/* How the queue stands after a settle. */
struct dr_queue_state {
	uint64_t scan_pending, files_pending; /* after a scan's settle */
	bool hungry;  /* workers of this kind, of any process, found nothing a moment ago */
	bool running; /* not paused, not over */
	bool drained; /* nothing is pending or in progress */
	struct dr_rangeset aside; /* after a move's settle; the caller's */
};

void dr_scan_results_add_chunk(struct dr_scan_results *results, struct dr_chunk_builder *builder);
/* The same for a chunk that waits. */
void dr_scan_results_add_held(struct dr_scan_results *results, struct dr_chunk_builder *builder);
/* A huge file in n parts, which the chunk `end` (of one file, kind END) is queued after. */
void dr_scan_results_add_parts(struct dr_scan_results *results, const struct dr_chunk_file *file,
	uint64_t n, struct dr_chunk_builder *end);
void dr_scan_results_add_frontier(struct dr_scan_results *results, const void *bytes, size_t len);
void dr_scan_results_add_error(struct dr_scan_results *results, const char *text);
void dr_scan_results_add_residue(struct dr_scan_results *results, const char *text);
/* A file of a chunk that appeared on these sources ("0,3") during the campaign. However often it is told, it counts once. */
void dr_scan_results_add_appeared(
	struct dr_scan_results *results, const struct dr_fid *fid, const char *sources);
void dr_scan_results_fini(struct dr_scan_results *results);

/*
 * Settles a scan: progress is what the next claimer goes on from; last: the job is done. report_only: found files
 * are listed, not moved. A settle that is sent twice, because its answer was lost, counts once.
 * The results are emptied. @return 1; 0 the claim is lost, drop everything. @error ECANCELED; ENOMEM the queue is
 * full, try again later; EPROTO
 */
dr_nodiscard int dr_ledger_settle_scan(struct dr_store *store, struct dr_claim *claim, bool last,
	const struct dr_buf *progress, bool report_only, struct dr_scan_results *results,
	struct dr_queue_state *ret_state);

/* What the leftover rules are. */
struct dr_ledger_rules {
	uint64_t retry_delays_s[16];
	unsigned n_retry_delays;
	uint64_t max_leftovers;
};

/*
 * Settles files [claim->next, to) of a chunk with their outcomes (outcomes[0] is of file claim->next), and moves
 * claim->next on. The last settle ends the claim: that of the last file, or one with parts > 0, which hands the files from
 * `to` on back to the queue, in so many chunks, for workers that have nothing to do.
 * @return 1; 0 the claim is lost. @error ECANCELED; ENOMEM; EPROTO
 */
dr_nodiscard int dr_ledger_settle_move(struct dr_store *store, struct dr_claim *claim,
	const struct dr_chunk *chunk, const struct dr_outcome *outcomes, size_t to, unsigned parts,
	const struct dr_ledger_rules *rules, struct dr_queue_state *ret_state);

/* Which of the FIDs (16 bytes each) are leftovers, or were until this round: flags[i] becomes 0 or 1. */
dr_nodiscard int dr_ledger_known(
	struct dr_store *store, const struct dr_fid *fids, size_t n, uint8_t *flags);

/*
 * Which name of each file with several names is copied, in a clone; the others become links to it. The first that asks for an inode gets it.
 * ret_elected[i] (malloc'ed) is that name's path, and NULL where it is paths[i].
 */
dr_nodiscard int dr_ledger_elect(struct dr_store *store, const uint64_t *inos,
	const struct dr_path *paths, size_t n, char **ret_elected);

#endif
