/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "campaign/engine.h"
#include "daemon/daemon.h"
#include "store/scripts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/*
 * The external engine: a site's own server has the queue, and who leads is a key there that lives for some seconds. Every
 * process asks for it once a second; whoever asks first when it is gone leads, in an epoch of its own: a
 * number and a random word, so that two servers that both believe in the number (a fail-over lost the last second) are
 * told apart.
 */

#define LEASE_MS 5000

static char *random_word(void)
{
	uint64_t word = 0;

	if (getrandom(&word, sizeof(word), 0) != (ssize_t)sizeof(word)) {
		abort(); /* never for 8 bytes, once the machine is up */
	}
	return dr_xasprintf("%016" PRIx64, word);
}

/* The connection that asks, which takes a server of any epoch. */
static void open_any(struct dr_daemon *daemon)
{
	char *prefix dr_cleanup(dr_freep) = dr_control_prefix(daemon->spec);
	char *word dr_cleanup(dr_freep) = random_word();
	/* No campaign: the script says better than the connection what is wrong with what is there. */
	const struct dr_endpoint endpoint = { .url = daemon->folder.engine, .prefix = prefix };

	daemon->any_link = dr_link_new();
	daemon->any_store = dr_store_new(daemon->any_link);
	daemon->token = dr_xasprintf("%s %s", daemon->process, word);
	dr_link_set(daemon->any_link, &endpoint);
}

static int ask(struct dr_daemon *daemon, unsigned lease_ms, redisReply **ret_reply)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	char *word dr_cleanup(dr_freep) = random_word();

	dr_args_str(&args, daemon->spec->id);
	dr_args_str(&args, daemon->token);
	dr_args_u64(&args, lease_ms);
	dr_args_str(&args, daemon->host);
	dr_args_str(&args, word);
	return dr_store_run(daemon->any_store, &dr_script_lead, &args, false, ret_reply);
}

/* The role that the server gave us becomes ours, and the workers' connections get its epoch. */
static void take_role(
	struct dr_daemon *daemon, enum dr_role role, const char *epoch, const char *leader)
{
	char *prefix dr_cleanup(dr_freep) = dr_control_prefix(daemon->spec);
	struct dr_endpoint endpoint = {
		.url = daemon->folder.engine,
		.prefix = prefix,
		.campaign = daemon->spec->id,
	};

	if (role == daemon->role && strcmp(epoch, daemon->epoch_text) == 0) {
		return;
	}
	(void)snprintf(daemon->epoch_text, sizeof(daemon->epoch_text), "%s", epoch);
	memcpy(endpoint.epoch, daemon->epoch_text, sizeof(endpoint.epoch));
	dr_link_set(daemon->link, &endpoint);
	daemon->epoch = dr_epoch_number(epoch);
	daemon->role = role;
	if (role == DR_LEADER) {
		dr_log(DR_LOG_INFO, "leads", "campaign=%s epoch=%s", daemon->spec->name, epoch);
	} else {
		dr_log(DR_LOG_INFO, "follows", "leader=%s epoch=%s", leader, epoch);
	}
}

int dr_external_renew(struct dr_daemon *daemon)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	int r = ask(daemon, LEASE_MS, &reply);

	if (r < 0) {
		return r;
	}
	bool leads = dr_reply_int(reply, 0) > 0;

	if (leads && strcmp(dr_reply_str(reply, 3, NULL), DR_STATE_CREATED) == 0) {
		struct dr_store *store = daemon->any_store;

		r = dr_control_prime(
			store, daemon->spec, daemon->spec->dry_run || daemon->wants_dry_run);
		if (r < 0) {
			return r;
		}
	}
	take_role(daemon, leads ? DR_LEADER : DR_FOLLOWER, dr_reply_str(reply, 1, NULL),
		dr_reply_str(reply, 2, NULL));
	return 0;
}

int dr_external_elect(struct dr_daemon *daemon)
{
	char *why dr_cleanup(dr_freep) = NULL;

	if (!daemon->any_link) {
		open_any(daemon);
	}
	int r = dr_engine_check(daemon->folder.engine, &why);

	if (r < 0) {
		if (r != -ENOTCONN && r != -EAGAIN) {
			dr_log_limited(10, DR_LOG_ERROR, "server-will-not-do", "why=\"%s\"", why);
		}
		return r;
	}
	r = dr_external_renew(daemon);
	if (r == -ENODATA) {
		dr_log(DR_LOG_ERROR, "campaign-not-there",
			"campaign=%s next=\"'drover reprime %s' begins it anew\"",
			daemon->spec->name, daemon->spec->name);
	}
	if (r == -EPROTO) {
		dr_log(DR_LOG_ERROR, "campaign-is-another",
			"campaign=%s next=\"when this host's folder is of an older one: 'drover delete %s' here\"",
			daemon->spec->name, daemon->spec->name);
	}
	return r < 0 ? r : 1;
}

void dr_external_end(struct dr_daemon *daemon)
{
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	/* The next leader need not wait; when the server is away, the key goes by itself. */
	if (daemon->role == DR_LEADER && daemon->any_store && (daemon->stop || daemon->over) &&
		ask(daemon, 0, &reply) < 0) {
		dr_log(DR_LOG_DEBUG, "leadership-expires", "ms=%d", LEASE_MS);
	}
	dr_link_set(daemon->link, NULL);
	daemon->role = DR_NO_ROLE;
}
