/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_SPEC_H
#define DR_CAMPAIGN_SPEC_H

#include "base/rangeset.h"

#include <jansson.h>

/*
 * What a campaign is: fixed at `drover start`, kept in its folder as campaign.json.
 * Paths are bytes; in JSON they are escaped by dr_text_escape().
 */
enum dr_campaign_kind { DR_EVACUATE, DR_CLONE };

/* The passes of a clone, in the order in which they run. */
enum dr_pass { DR_PASS_COPY = 1, DR_PASS_DELETE = 2, DR_PASS_DIRTIMES = 4, DR_PASS_VERIFY = 8 };

enum dr_clone_layout_kind { DR_LAYOUT_KEEP, DR_LAYOUT_DEFAULT, DR_LAYOUT_RULES };
enum dr_clone_released { DR_CLONE_SKIP, DR_CLONE_STUB, DR_CLONE_COPY };

/*
 * What a clone copies, and how. Zeroed in other campaigns. A clone's fs_root and fs_identity are those of `from`, and so are its excluded paths' root;
 * it has no OSTs (osts_text is ""), and one scan path, "".
 */
struct dr_spec_clone {
	char *from, *to;                   /* absolute, symlinks resolved */
	char *from_identity, *to_identity; /* dr_tree_identity() of both */
	unsigned passes;                   /* DR_PASS_*; VERIFY stands alone */
	uint64_t oldest_s, newest_s;       /* filters, see work/clone_filter.h; 0: none */
	uint64_t min_size, max_size;       /* bytes; max 0: none */
	char *uids, *gids, *projects;      /* range sets as text, "0-99,1000"; NULL: all */
	uint64_t
		n_exceptions; /* lines of the file `exceptions` in the campaign's folder; 0: there is none */
	enum dr_clone_layout_kind layout; /* RULES: the file `layout` in the campaign's folder */
	enum dr_clone_released released;
	uint64_t max_delete; /* entries, or percent of those of the target; UINT64_MAX: no bound */
	bool max_delete_is_percent;
	bool checksum;
	bool merge;    /* the target may hold what the source never had */
	bool manifest; /* verify: SHA-256 of each file, into manifest.HOST files of the folder */
};

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
	struct dr_spec_clone clone;
	bool dry_run;
	bool external; /* its queue is in the site's own server (redis_url) */
	uint64_t created_ms;
};

/* "evacuate", "clone" */
const char *dr_spec_kind_name(enum dr_campaign_kind kind);
/* "copy", "delete", "dirtimes", "verify"; NULL: not one pass */
const char *dr_pass_name(unsigned pass);
/* The pass of a name. @return DR_PASS_*; 0 there is none */
unsigned dr_pass_of(const char *name, size_t len);

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
