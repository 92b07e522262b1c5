/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_LEADERSHIP_H
#define DR_CAMPAIGN_LEADERSHIP_H

#include "campaign/folder.h"

/*
 * Who leads a campaign with an embedded server, as the campaign's folder tells it: the announcement, the lock, the epochs.
 */

struct dr_leader_info {
	char *host;    /* bare name */
	char *address; /* to connect to */
	uint16_t port;
	uint64_t epoch;
	uint64_t pid;
	char *password;
};
/* leader.info and the secret. @error ENOENT nobody leads or led; EACCES the secret is not ours to read */
dr_nodiscard int dr_folder_leader(const struct dr_folder *folder, struct dr_leader_info *ret_info);
void dr_leader_info_fini(struct dr_leader_info *info);
dr_nodiscard int dr_folder_set_leader(
	const struct dr_folder *folder, const struct dr_leader_info *info);
/* The epoch that is announced. @error ENOENT none is */
dr_nodiscard int dr_folder_announced(const struct dr_folder *folder, uint64_t *ret_epoch);
/* After this no leader of that epoch is announced. */
void dr_folder_clear_leader(const struct dr_folder *folder, uint64_t epoch);

/*
 * Takes the leader's lock without waiting. Nobody ever steals a lock: a take-over makes a lock file of the next
 * generation, and only the newest one counts.
 * @return the descriptor; *ret_generation (may be NULL) which. @error EAGAIN held by another; ENOLCK locks are local to
 *         this host (logged)
 */
dr_nodiscard int dr_folder_lock(const struct dr_folder *folder, uint64_t *ret_generation);
/* The newest generation; 0: the first. */
dr_nodiscard int dr_folder_lock_generation(
	const struct dr_folder *folder, uint64_t *ret_generation);
/* Makes the lock file of the next generation, whose holder leads. @error EEXIST another take-over came first */
dr_nodiscard int dr_folder_lock_renew(const struct dr_folder *folder, uint64_t generation);

#define DR_EPOCH_RECORD "server" /* in an epoch's folder: which server wrote it */
/* The epochs of the folder; 0: none. */
struct dr_epochs {
	uint64_t newest;  /* complete: made by a leader, whole */
	uint64_t highest; /* complete, being made, or set aside */
};
dr_nodiscard int dr_folder_epochs(const struct dr_folder *folder, struct dr_epochs *ret_epochs);
/* What `name` in the folder is. @return 1 a complete epoch, 2 one being made, 3 one set aside, 0 none */
int dr_epoch_parse(const char *name, uint64_t *ret_epoch);
/* Whether the folder of that name, a complete epoch by its name, was made by a leader. @return 1 it was; 0. @error it cannot be told */
int dr_epoch_is_complete(const struct dr_folder *folder, const char *name);
/*
 * Gives all epochs and the mark that the campaign was primed up: the next leader begins anew. Only with the lock held.
 */
dr_nodiscard int dr_folder_set_aside(const struct dr_folder *folder);
#define DR_PRIMED "primed" /* a file: the campaign's data exists, and is never made anew */

#endif
