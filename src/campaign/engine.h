/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_ENGINE_H
#define DR_CAMPAIGN_ENGINE_H

#include "campaign/folder.h"
#include "campaign/options.h"

/*
 * Campaigns on a site's own server (redis_url): it has the queue and the spec, so that a host needs nothing but the
 * configuration to take part. On an error *ret_message (malloc'ed) is one line for the user.
 */

/*
 * Opens the campaign's folder and its spec. With an external server, a folder that is not on this host yet is made from
 * what the server knows.
 * @error ENOENT no such campaign; and others
 */
dr_nodiscard int dr_campaign_open(const struct dr_options *options, const char *name,
	struct dr_folder *ret_folder, struct dr_spec **ret_spec, char **ret_message);
/*
 * Whether the server will do: version 6.2 or later, maxmemory-policy noeviction.
 * @error ENOTCONN, EAGAIN, EACCES, EPROTO, EPROTONOSUPPORT, ENOENT: of dr_connect(); EINVAL it will not do
 */
dr_nodiscard int dr_engine_check(const struct dr_url *url, char **ret_message);
/* Tells the server of a new campaign. @error EEXIST there is another one of this name */
dr_nodiscard int dr_engine_register(
	const struct dr_url *url, const struct dr_spec *spec, char **ret_message);
/* Removes all that the server knows of a campaign. @error EBUSY it is being worked on */
dr_nodiscard int dr_engine_forget(
	const struct dr_url *url, const struct dr_spec *spec, char **ret_message);
/* Calls fn with the name of each campaign that the server knows. */
dr_nodiscard int dr_engine_list(const struct dr_url *url, void (*fn)(void *ctx, const char *name),
	void *ctx, char **ret_message);

#endif
