/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_SPEC_H
#define DR_CAMPAIGN_SPEC_H

#include "base/rangeset.h"

#include <jansson.h>

/*
 * What a campaign is: fixed at `drover start`, kept in its folder as campaign.json.
 * Paths are bytes; in JSON they are escaped by dr_text_escape().
 */
enum dr_campaign_kind { DR_EVACUATE };

struct dr_path {
	char *bytes; /* NUL-terminated; a path holds no NUL */
	size_t len;
};

struct dr_spec {
	char *name;
	enum dr_campaign_kind kind;
	char *id;          /* a random word: tells this campaign from an earlier one of its name */
	char *fs_root;     /* absolute */
	char *fs_identity; /* dr_fs identity */
	char *fs_kind;     /* "lab", "lustre" */
	struct dr_rangeset osts;
	char *osts_text;
	struct dr_path *scan_paths; /* relative to fs_root; none lies below another */
	size_t n_scan_paths;        /* 0 only with a list */
	/* The list of candidates, see campaign/candidates.h: how many, and the file's length; 0: there is none. */
	uint64_t n_candidates, candidates_bytes;
	struct dr_path *excludes; /* relative to fs_root */
	size_t n_excludes;
	struct dr_path *exclude_names; /* "a" or "a/b": these components at any depth */
	size_t n_exclude_names;
	bool dry_run;
	bool external; /* its queue is in the site's own server (redis_url) */
	uint64_t created_ms;
};

void dr_spec_free(struct dr_spec *spec);
static inline void dr_spec_freep(struct dr_spec **spec)
{
	dr_spec_free(*spec);
}
json_t *dr_spec_to_json(const struct dr_spec *spec);
/* @error EBADMSG something is missing or of the wrong type */
dr_nodiscard int dr_spec_from_json(const json_t *json, struct dr_spec **ret_spec);
/* Whether the path has the form that the rest of the program relies on: a/b/c, no dots, or "". */
bool dr_path_is_normal(const char *path);
/* 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot or dash */
bool dr_spec_name_ok(const char *name);

#endif
