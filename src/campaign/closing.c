/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/closing.h"

#include "campaign/template.h"
#include "store/scripts.h"

#include <stdio.h>
#include <string.h>

int dr_closing_look(struct dr_fs *fs, const struct dr_rangeset *sources,
	struct dr_closing_ost **ret_osts, size_t *ret_n)
{
	struct dr_ost *osts = NULL;
	size_t n = 0, n_found = 0;
	int r = fs->ops->osts ? fs->ops->osts(fs, &osts, &n) : -ENOTSUP;

	if (r < 0) {
		return r;
	}
	struct dr_closing_ost *found =
		dr_xcalloc(sources->count ? sources->count : 1, sizeof(*found));

	for (int o = dr_rangeset_next(sources, 0); o >= 0;
		o = dr_rangeset_next(sources, (uint32_t)o + 1)) {
		struct dr_closing_ost *to = &found[n_found++];

		to->index = (uint32_t)o;
		for (size_t i = 0; i < n; i++) {
			if (osts[i].index == to->index) {
				(void)snprintf(to->name, sizeof(to->name), "%s", osts[i].name);
				to->shows_closed = osts[i].state & DR_OST_NOCREATE;
			}
		}
	}
	free(osts);
	*ret_osts = found;
	*ret_n = n_found;
	return 0;
}

void dr_closing_command(
	const char *template, const struct dr_closing_ost *ost, struct dr_command *ret_command)
{
	*ret_command = (struct dr_command){ .error = ost->name[0] ? 0 : -ENODEV };
	if (ost->name[0]) {
		ret_command->error =
			dr_template_expand(template, ost->name, ost->index, &ret_command->text);
	}
}

char *dr_closing_result(const struct dr_command *command)
{
	if (!command->text && command->error == -ENODEV) {
		return dr_xstrdup("the file system does not list it");
	}
	if (!command->text && command->error == -EINVAL) {
		return dr_xstrdup("its name cannot be put into a command");
	}
	return dr_command_result(command);
}

char *dr_closing_list(const struct dr_rangeset *sources)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	for (int o = dr_rangeset_next(sources, 0); o >= 0;
		o = dr_rangeset_next(sources, (uint32_t)o + 1)) {
		dr_buf_printf(&text, "%s%d", text.len ? "," : "", o);
	}
	return dr_xstrdup(dr_buf_cstr(&text));
}

static int run(struct dr_store *store, const struct dr_args *args, redisReply **ret_reply)
{
	return dr_store_run(store, &dr_script_closing, args, false, ret_reply);
}

/* A verb with nothing, or with the sources, whose answer tells nothing. */
static int say(struct dr_store *store, const char *verb, const struct dr_rangeset *sources)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	char *list dr_cleanup(dr_freep) = sources ? dr_closing_list(sources) : NULL;

	dr_args_str(&args, verb);
	if (list) {
		dr_args_str(&args, list);
	}
	return run(store, &args, &reply);
}

int dr_closing_begin(struct dr_store *store, const char *epoch, const struct dr_rangeset *sources,
	struct dr_rangeset *ret_todo)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	char *list dr_cleanup(dr_freep) = dr_closing_list(sources);

	dr_args_str(&args, "begin");
	dr_args_str(&args, list);
	dr_args_str(&args, epoch);
	int r = run(store, &args, &reply);

	if (r < 0 || dr_reply_int(reply, 0) != 1) {
		return r < 0 ? r : 0;
	}
	const char *todo = dr_reply_str(reply, 1, NULL);

	dr_rangeset_fini(ret_todo);
	return todo[0] && dr_rangeset_parse(todo, ret_todo) < 0 ? -EPROTO : 1;
}

int dr_closing_ran(struct dr_store *store, uint32_t ost, const struct dr_command *command)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	char *result dr_cleanup(dr_freep) = dr_closing_result(command);
	char *words dr_cleanup(dr_freep) = dr_xasprintf("%s\n%s", result, command->last_line);

	dr_args_str(&args, "ran");
	dr_args_u64(&args, ost);
	dr_args_str(&args, result[0] ? "0" : "1");
	dr_args_str(&args, words);
	int r = run(store, &args, &reply);

	return r < 0 ? r : (int)dr_reply_int(reply, 0);
}

int dr_closing_end(struct dr_store *store)
{
	return say(store, "end", NULL);
}

int dr_closing_shows(struct dr_store *store, const struct dr_closing_ost *osts, size_t n)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	dr_args_str(&args, "shows");
	for (size_t i = 0; i < n; i++) {
		dr_args_u64(&args, osts[i].index);
		dr_args_str(&args, osts[i].shows_closed ? "1" : "0");
	}
	return run(store, &args, &reply);
}

int dr_closing_open(struct dr_store *store, const struct dr_rangeset *sources, uint64_t seconds)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	char *list dr_cleanup(dr_freep) = dr_closing_list(sources);

	dr_args_str(&args, "open");
	dr_args_str(&args, list);
	dr_args_u64(&args, seconds * 1000);
	int r = run(store, &args, &reply);

	if (r < 0 || dr_reply_int(reply, 0) == 1) {
		return r < 0 ? r : 0;
	}
	return strcmp(dr_reply_str(reply, 1, NULL), "running") == 0 ? -EBUSY : -EALREADY;
}

int dr_closing_opened(struct dr_store *store)
{
	return say(store, "opened", NULL);
}

int dr_closing_forget(struct dr_store *store, const struct dr_rangeset *sources)
{
	return say(store, "forget", sources);
}

/* One of the status's sources. They stand in the order of their indices. */
static json_t *find_source(json_t *sources, unsigned long ost)
{
	size_t from = 0, to = json_array_size(sources);

	while (from < to) {
		size_t at = from + (to - from) / 2;
		json_t *source = json_array_get(sources, at);
		unsigned long here =
			(unsigned long)json_integer_value(json_object_get(source, "ost"));

		if (here == ost) {
			return source;
		}
		if (here < ost) {
			from = at + 1;
		} else {
			to = at;
		}
	}
	return NULL;
}

static json_t *text_json(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_string("");
}

static json_t *closing_of(json_t *source)
{
	json_t *closing = json_object_get(source, "closing");

	if (!json_is_object(closing)) {
		closing = json_pack("{s:n,s:b,s:i,s:s,s:s}", "command", "state_shows_it", 0,
			"ended_ms", 0, "result", "", "last_line", "");
		(void)json_object_set_new(source, "closing", closing);
	}
	return closing;
}

/* The record of a command. */
static void put_record(json_t *source, const char *record)
{
	char *text dr_cleanup(dr_freep) = dr_xstrdup(record);
	char *result = strchr(text, '\n'), *line = result ? strchr(result + 1, '\n') : NULL;

	if (!line) {
		return;
	}
	*result++ = *line++ = '\0';
	const char *ms = strrchr(text, ' ');
	json_t *closing = closing_of(source);

	(void)json_object_set_new(
		closing, "command", json_string(text[0] == '1' ? "succeeded" : "failed"));
	(void)json_object_set_new(
		closing, "ended_ms", json_integer(ms ? (json_int_t)strtoll(ms + 1, NULL, 10) : 0));
	(void)json_object_set_new(closing, "result", text_json(result));
	(void)json_object_set_new(closing, "last_line", text_json(line));
}

/* One field of the hash, "files:3" and the like. */
static void put_field(json_t *sources, const char *name, const char *value)
{
	static const struct {
		const char *head, *key;
	} counts[] = { { "files:", "files_moved" }, { "bytes:", "bytes_moved" },
		{ "new:", "files_appeared" } };
	const char *colon = strchr(name, ':');
	json_t *source = colon ? find_source(sources, strtoul(colon + 1, NULL, 10)) : NULL;

	if (!source) {
		return;
	}
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		if (strncmp(name, counts[i].head, strlen(counts[i].head)) == 0) {
			(void)json_object_set_new(source, counts[i].key,
				json_integer((json_int_t)strtoll(value, NULL, 10)));
		}
	}
	if (strncmp(name, "close:", 6) == 0) {
		put_record(source, value);
	} else if (strncmp(name, "opened:", 7) == 0) {
		(void)json_object_set_new(closing_of(source), "command", json_string("reopened"));
		(void)json_object_set_new(closing_of(source), "ended_ms",
			json_integer((json_int_t)strtoll(value, NULL, 10)));
	} else if (strncmp(name, "shows:", 6) == 0) {
		(void)json_object_set_new(
			closing_of(source), "state_shows_it", json_boolean(value[0] == '1'));
	}
}

json_t *dr_closing_sources_json(const redisReply *osts, const struct dr_spec *spec)
{
	json_t *sources = json_array();

	for (int o = dr_rangeset_next(&spec->osts, 0); o >= 0;
		o = dr_rangeset_next(&spec->osts, (uint32_t)o + 1)) {
		(void)json_array_append_new(
			sources, json_pack("{s:i,s:i,s:i,s:i,s:n}", "ost", o, "files_moved", 0,
					 "bytes_moved", 0, "files_appeared", 0, "closing"));
	}
	for (size_t i = 0; osts && i + 1 < osts->elements; i += 2) {
		put_field(sources, dr_reply_str(osts, i, NULL), dr_reply_str(osts, i + 1, NULL));
	}
	return sources;
}

void dr_closing_json_reopened(json_t *sources)
{
	for (size_t i = 0; i < json_array_size(sources); i++) {
		json_t *source = json_array_get(sources, i);

		(void)json_object_set_new(source, "closing", json_null());
		(void)json_object_set_new(closing_of(source), "command", json_string("reopened"));
	}
}
