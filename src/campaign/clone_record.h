/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_CLONE_RECORD_H
#define DR_CAMPAIGN_CLONE_RECORD_H

#include "campaign/spec.h"

/*
 * What filled a target: base_path/.clones/HASH.json, HASH being XXH3 of the target's identity. Written when a campaign that copies is started, before any of
 * it can work, and never removed: it outlives the campaigns that it names. It is what a delete pass rests on: a target that another source filled, or of which
 * nothing is known, is not pruned to the likeness of this one.
 *
 * Nothing of it lies in the source or the target. Hosts that do not share base_path (redis_url) know what was started on them alone.
 */

/* A source that was copied there, and the last campaign that did. */
struct dr_clone_source {
	char *from, *from_identity;
	char *campaign, *campaign_id; /* struct dr_spec: name, id */
	uint64_t time_ms;             /* since 1970 */
};

struct dr_clone_record {
	char *to, *to_identity;
	struct dr_clone_source *sources; /* the latest is the last; none of them twice */
	size_t n_sources;                /* at least one */
	bool merged;                     /* it held something else when the first one came */
};

/* More than this many sources in one target are refused. */
#define DR_CLONE_SOURCES_MAX 1000

/* @error ENOENT nothing is known of this target; EBADMSG the record is damaged */
dr_nodiscard int dr_clone_record_read(
	const char *base_path, const char *to_identity, struct dr_clone_record **ret_record);
void dr_clone_record_free(struct dr_clone_record *record);
static inline void dr_clone_record_freep(struct dr_clone_record **record)
{
	dr_clone_record_free(*record);
}
/* Whether this source is one of those. */
bool dr_clone_record_has(const struct dr_clone_record *record, const char *from_identity);

/*
 * For who is about to begin a campaign's delete pass: another source may have been copied there since its start.
 * @return 0 what is known allows it
 * @error EPERM another source was copied there, or the target held something before and the campaign has no --merge; ENOENT nothing is known here, which is
 *        what other hosts with redis_url see; EBADMSG
 */
dr_nodiscard int dr_clone_record_allows_delete(const char *base_path, const struct dr_spec *spec);

/*
 * Notes that the campaign copies into its target. Of two starts at once one is refused.
 * @param seen the record on which the start was decided, or NULL when there was none
 * @param is_empty the target holds nothing: what was known of it counts no more
 * @error EAGAIN another campaign was noted meanwhile; E2BIG too many sources; others of writing
 */
dr_nodiscard int dr_clone_record_note(const char *base_path, const struct dr_spec *spec,
	const struct dr_clone_record *seen, bool is_empty);

#endif
