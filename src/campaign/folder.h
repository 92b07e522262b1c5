/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_FOLDER_H
#define DR_CAMPAIGN_FOLDER_H

#include "campaign/spec.h"
#include "store/url.h"

/*
 * A campaign's folder, base_path/NAME/. All hosts share it; where the site's own server has the queue, each host may have
 * its own, with campaign.json and logs/ in it:
 *   campaign.json   the spec
 *   candidates      the list of candidates, when there is one, see campaign/candidates.h
 *   leader.lock     held by the leader and its server; never unlinked. leader.lock.N after the Nth take-over
 *   leader.info     JSON: host, pid, address, port, epoch, version; replaced atomically
 *   secret          password of the running server, mode 0600
 *   epoch-N/        the server's append-only file; one a leadership. Its file "alive" changes every second while it leads
 *   set-aside-epoch-N/  the same, given up by reprime
 *   status.json     the last status that a leader wrote, see dr_status_json()
 *   leftovers.jsonl what is left and why, a line a file, when the campaign is over
 *   requests/       commands given while no daemon ran, for the next one
 *   logs/           per host: what was moved, what was not and why
 */
struct dr_folder {
	char *path;
	int fd; /* of the directory */
	const struct dr_url *
		engine; /* lent: the site's own server, which has the queue; NULL: an embedded one has it */
};

/* @error ENOENT no such campaign */
dr_nodiscard int dr_folder_open(
	const char *base_path, const char *name, struct dr_folder *ret_folder);
void dr_folder_fini(struct dr_folder *folder);
/*
 * A folder in the making: hidden in base_path, until it becomes that of a campaign. What a campaign brings along is written into it by
 * its descriptor. A process that is killed meanwhile leaves it there, as .new-WORD.
 */
struct dr_new_folder {
	char *base_path;
	size_t base_len; /* of what was there of base_path before */
	int base_fd, fd;
	char hidden[32];
};
dr_nodiscard int dr_folder_begin(const char *base_path, struct dr_new_folder *ret_folder);
/*
 * Gives it spec and name, with all that lies in it on the disk. Ends it in any case: after an error nothing is left.
 * @error EEXIST a campaign of this name exists
 */
dr_nodiscard int dr_folder_commit(struct dr_new_folder *folder, const struct dr_spec *spec);
/* Removes it, and of base_path what was made for it. Does nothing after a commit, or of zeroed memory. */
void dr_folder_abandon(struct dr_new_folder *folder);
/*
 * Makes the folder with its spec, whole or not at all.
 * @error EEXIST a campaign of this name exists
 */
dr_nodiscard int dr_folder_create(const char *base_path, const struct dr_spec *spec);
dr_nodiscard int dr_folder_spec(const struct dr_folder *folder, struct dr_spec **ret_spec);

/* A whole JSON file of the folder. @error ENOENT; EBADMSG not JSON */
dr_nodiscard int dr_folder_read_json(
	const struct dr_folder *folder, const char *file, json_t **ret_json);
dr_nodiscard int dr_folder_write_json(
	const struct dr_folder *folder, const char *file, const json_t *json);

/*
 * Requests: "pause", "resume", "retry-skipped", "retry-failed", "retry-class-C" (one class alone), "reopened" (the
 * sources were opened by command), left for the next leader in order.
 */
#define DR_REQUEST_REOPENED "reopened"
dr_nodiscard int dr_folder_request(const struct dr_folder *folder, const char *verb);
/* 1 and the oldest one, or 0 when there is none. *ret_file is removed by dr_folder_request_done(). */
dr_nodiscard int dr_folder_next_request(
	const struct dr_folder *folder, char **ret_verb, char **ret_file);
void dr_folder_request_done(const struct dr_folder *folder, const char *file);
/* Whether this request waits for the next daemon. */
bool dr_folder_requested(const struct dr_folder *folder, const char *verb);
/* Whether, of the requests that wait, the last one to pause or resume is to pause. */
bool dr_folder_pause_requested(const struct dr_folder *folder);
/* Whether a retry waits for the next daemon, be it behind other requests. */
bool dr_folder_retry_requested(const struct dr_folder *folder);

#endif
