/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/engine.h"

#include "campaign/control.h"
#include "store/scripts.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_MS 1000
#define COMMAND_MS 10000

/* Proves that the server is there and lets us in, with its own words when not. */
static int knock(const struct dr_url *url, char **ret_message)
{
	char *why dr_cleanup(dr_freep) = NULL;
	redisContext *redis = NULL;
	int r = dr_connect_or_say(url, CONNECT_MS, COMMAND_MS, &redis, &why);

	if (r < 0) {
		char *shown dr_cleanup(dr_freep) = dr_url_show(url);

		*ret_message = dr_xasprintf("%s %s: %s", shown,
			r == -EACCES     ? "refuses us"
			: r == -ENOTCONN ? "does not answer"
			: r == -EAGAIN   ? "is not ready"
					 : "cannot be used",
			why);
		return r;
	}
	redisFree(redis);
	return 0;
}

/* One script on one connection. */
static int run(const struct dr_url *url, const char *name, struct dr_script *script,
	const struct dr_args *args, redisReply **ret_reply, char **ret_message)
{
	int r = knock(url, ret_message);

	if (r < 0) {
		return r;
	}
	char *prefix dr_cleanup(dr_freep) = dr_xasprintf("drover:%s:", name);
	const struct dr_endpoint endpoint = { .url = url, .prefix = prefix };
	struct dr_link *link = dr_link_new();
	struct dr_store *store = dr_store_new(link);

	dr_link_set(link, &endpoint);
	r = dr_store_run(store, script, args, false, ret_reply);
	dr_store_free(store);
	dr_link_free(link);
	if (r < 0) {
		char *shown dr_cleanup(dr_freep) = dr_url_show(url);

		*ret_message = dr_xasprintf(
			"%s does not run drover's scripts: %s", shown, strerrordesc_np(-r));
	}
	return r;
}

int dr_engine_check(const struct dr_url *url, char **ret_message)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	char *shown dr_cleanup(dr_freep) = dr_url_show(url);
	unsigned major = 0, minor = 0;
	int r = run(url, "", &dr_script_engine, &args, &reply, ret_message);

	if (r < 0) {
		return r;
	}
	const char *version = dr_reply_str(reply, 0, NULL);
	const char *policy = dr_reply_str(reply, 1, NULL);

	if (sscanf(version, "%u.%u", &major, &minor) != 2 || major < 6 || // NOLINT(cert-err34-c)
		(major == 6 && minor < 2)) {
		*ret_message =
			dr_xasprintf("%s is version %s: 6.2 or later is needed", shown, version);
		return -EINVAL;
	}
	if (strcmp(policy, "noeviction") != 0) {
		*ret_message = dr_xasprintf(
			"%s has maxmemory-policy %s, which may drop a campaign's keys: set it to noeviction",
			shown, policy);
		return -EINVAL;
	}
	return 0;
}

int dr_engine_register(const struct dr_url *url, const struct dr_spec *spec, char **ret_message)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	json_t *json = dr_spec_to_json(spec);
	char *text dr_cleanup(dr_freep) = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	dr_args_str(&args, spec->id);
	dr_args_str(&args, spec->name);
	dr_args_str(&args, text);
	int r = run(url, spec->name, &dr_script_register, &args, &reply, ret_message);

	if (r == 0 && dr_reply_int(reply, 0) != 1) {
		char *shown dr_cleanup(dr_freep) = dr_url_show(url);

		*ret_message = dr_xasprintf("%s has a campaign '%s' already", shown, spec->name);
		r = -EEXIST;
	}
	return r;
}

int dr_engine_forget(const struct dr_url *url, const struct dr_spec *spec, char **ret_message)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	dr_args_str(&args, spec->id);
	dr_args_str(&args, spec->name);
	int r = run(url, spec->name, &dr_script_forget, &args, &reply, ret_message);

	if (r == 0 && dr_reply_int(reply, 0) != 1) {
		*ret_message = dr_xasprintf("campaign '%s' is being worked on: its leader is on %s",
			spec->name, dr_reply_str(reply, 1, NULL));
		r = -EBUSY;
	}
	return r;
}

int dr_engine_list(const struct dr_url *url, void (*fn)(void *ctx, const char *name), void *ctx,
	char **ret_message)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	int r = run(url, "", &dr_script_list, &args, &reply, ret_message);

	for (size_t i = 0; r == 0 && i < reply->elements; i++) {
		fn(ctx, dr_reply_str(reply, i, NULL));
	}
	return r;
}

/* The spec as the server has it. @error ENOENT */
static int fetch(
	const struct dr_url *url, const char *name, struct dr_spec **ret_spec, char **ret_message)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	int r = run(url, name, &dr_script_spec, &args, &reply, ret_message);

	if (r < 0) {
		return r;
	}
	const char *text = dr_reply_str(reply, 0, NULL);

	if (!text[0]) {
		char *shown dr_cleanup(dr_freep) = dr_url_show(url);

		*ret_message = dr_xasprintf("no campaign '%s' in %s", name, shown);
		return -ENOENT;
	}
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	r = json ? dr_spec_from_json(json, ret_spec) : -EBADMSG;
	json_decref(json);
	if (r < 0) {
		*ret_message =
			dr_xasprintf("what the server knows of campaign '%s' cannot be read", name);
	}
	return r;
}

/* Makes this host's folder of a campaign that the server has. */
static int take_part(const struct dr_options *options, const char *name, char **ret_message)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = NULL;
	int r = fetch(options->engine, name, &spec, ret_message);

	if (r < 0) {
		return r;
	}
	r = dr_folder_create(options->base_path, spec);
	if (r < 0 && r != -EEXIST) { /* another process of this host was as quick */
		*ret_message = dr_xasprintf(
			"cannot make %s/%s: %s", options->base_path, name, strerrordesc_np(-r));
		return r;
	}
	return 0;
}

static int open_here(const struct dr_options *options, const char *name,
	struct dr_folder *ret_folder, struct dr_spec **ret_spec)
{
	int r = dr_folder_open(options->base_path, name, ret_folder);

	if (r == 0) {
		r = dr_folder_spec(ret_folder, ret_spec);
		if (r < 0) {
			dr_folder_fini(ret_folder);
		}
	}
	return r;
}

int dr_campaign_open(const struct dr_options *options, const char *name,
	struct dr_folder *ret_folder, struct dr_spec **ret_spec, char **ret_message)
{
	const char *base = options->base_path;
	struct dr_folder folder = { 0 };
	struct dr_spec *spec = NULL;
	bool name_ok = dr_spec_name_ok(name);
	int r = name_ok ? open_here(options, name, &folder, &spec) : -ENOENT;

	if (r == -ENOENT && name_ok && options->engine) {
		r = take_part(options, name, ret_message);
		if (r < 0) {
			return r;
		}
		r = open_here(options, name, &folder, &spec);
	}
	if (r < 0) {
		*ret_message = r == -ENOENT ? dr_xasprintf("no campaign '%s' in %s", name, base)
					    : dr_xasprintf("campaign '%s' in %s cannot be read: %s",
						      name, base, strerrordesc_np(-r));
		return r;
	}
	if (spec->external && !options->engine) {
		*ret_message = dr_xasprintf(
			"campaign '%s' is on the site's own server: the configuration needs its redis_url",
			name);
		dr_spec_free(spec);
		dr_folder_fini(&folder);
		return -EINVAL;
	}
	folder.engine = spec->external ? options->engine : NULL;
	*ret_folder = folder;
	*ret_spec = spec;
	return 0;
}
