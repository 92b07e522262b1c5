/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/config.h"

#include "base/text.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

enum kind { KIND_TEXT, KIND_LEVEL, KIND_PORT, KIND_DB, KIND_COUNT, KIND_MS, KIND_BOOL };

static const struct key {
	const char *name;
	enum kind kind;
	size_t offset;
} keys[] = {
#define KEY(name, kind)                                                                            \
	{                                                                                          \
#name, kind, offsetof(struct dr_hsm_config, name)                                  \
	}
#define KEY_MS(name)                                                                               \
	{                                                                                          \
#name, KIND_MS, offsetof(struct dr_hsm_config, name##_ms)                          \
	}
	KEY(redis_host, KIND_TEXT),
	KEY(redis_port, KIND_PORT),
	KEY(redis_db, KIND_DB),
	KEY(redis_url, KIND_TEXT),
	KEY(redis_stream_prefix, KIND_TEXT),
	KEY(mdt_watch_glob, KIND_TEXT),
	KEY_MS(poll_interval),
	KEY_MS(reconcile_interval),
	{ "missing_purge_after", KIND_MS, offsetof(struct dr_hsm_config, missing_purge_ms) },
	KEY(trim_chunk_size, KIND_COUNT),
	{ "aggressive_trim_threshold", KIND_COUNT,
		offsetof(struct dr_hsm_config, trim_chunk_size) },
	KEY(use_approximate_trimming, KIND_BOOL),
	KEY(cache_path, KIND_TEXT),
	KEY(log_level, KIND_LEVEL),
	KEY(log_file, KIND_TEXT),
	KEY(mountpoint, KIND_TEXT),
#undef KEY
#undef KEY_MS
};
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

void dr_hsm_config_init(struct dr_hsm_config *config)
{
	*config = (struct dr_hsm_config){
		.redis_host = dr_xstrdup("localhost"),
		.redis_port = 6379,
		.redis_db = 1,
		.redis_stream_prefix = dr_xstrdup("hsm:actions"),
		.mdt_watch_glob = dr_xstrdup("/sys/kernel/debug/lustre/mdt/*-MDT????"
					     "/hsm/actions"),
		.poll_interval_ms = 20000,
		.reconcile_interval_ms = 21600000,
		.trim_chunk_size = 1000,
		.use_approximate_trimming = true,
		.cache_path = dr_xstrdup("/var/cache/hsm-action-shipper/cache.bin"),
		.log_level = DR_LOG_INFO,
	};
}

void dr_hsm_config_fini(struct dr_hsm_config *config)
{
	for (size_t i = 0; i < N_KEYS; i++) {
		if (keys[i].kind == KIND_TEXT) {
			char **text = (char **)(void *)((char *)config + keys[i].offset);

			free(*text);
			*text = NULL;
		}
	}
}

int dr_hsm_log_level(const char *s, enum dr_log_level *ret_level)
{
	if (strcasecmp(s, "critical") == 0) {
		*ret_level = DR_LOG_ERROR;
		return 0;
	}
	return dr_log_parse_level(s, ret_level);
}

int dr_hsm_log_open(enum dr_log_level level, const char *file, int *fd)
{
	bool is_file = file && *file;
	int opened = is_file    ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)
		     : *fd >= 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)
				: -1;

	dr_log_level = level;
	if (opened < 0) {
		return is_file ? -errno : 0;
	}
	if (*fd < 0) {
		*fd = opened;
		dr_log_set_fd(opened);
		return 0;
	}
	int r = dup3(opened, *fd, O_CLOEXEC) < 0 ? -errno : 0;

	(void)close(opened);
	return r;
}

/* ---- values ---- */

/* A whole number of YAML 1.1: digits, which '_' may part. */
static int parse_count(const char *value, uint64_t max, uint64_t *ret)
{
	char digits[32];
	size_t n = 0;

	for (const char *p = value + (*value == '+'); *p; p++) {
		if (*p == '_') {
			continue;
		}
		if (n + 1 == sizeof(digits)) {
			return -EINVAL;
		}
		digits[n++] = *p;
	}
	digits[n] = '\0';
	return dr_text_parse_u64(digits, 0, max, ret);
}

/* "20", "20.0", "0.25": seconds. At least a millisecond, unless it is 0. */
static int parse_ms(const char *value, uint64_t *ret)
{
	char *end = NULL;
	double seconds = strtod(value, &end);

	if (end == value || *end || strspn(value, "0123456789.eE+_-") != strlen(value) ||
		!(seconds >= 0 && seconds <= 1e9)) {
		return -EINVAL;
	}
	uint64_t ms = (uint64_t)(seconds * 1000 + 0.5);

	*ret = ms == 0 && seconds > 0 ? 1 : ms;
	return 0;
}

static int parse_bool(const char *value, bool *ret)
{
	static const char *const words[][4] = { { "no", "false", "off", "n" },
		{ "yes", "true", "on", "y" } };

	for (size_t i = 0; i < 8; i++) {
		if (strcasecmp(value, words[i / 4][i % 4]) == 0) {
			*ret = i >= 4;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is_null(const char *value)
{
	return *value == '\0' || strcmp(value, "~") == 0 || strcasecmp(value, "null") == 0;
}

/* @return NULL, or what the value is not */
static const char *set_value(struct dr_hsm_config *config, const struct key *key, const char *value)
{
	void *at = (char *)config + key->offset;
	uint64_t n = 0;

	switch (key->kind) {
	case KIND_TEXT:
		free(*(char **)at);
		*(char **)at = dr_xstrdup(value);
		return NULL;
	case KIND_LEVEL:
		return dr_hsm_log_level(value, at) < 0 ? "DEBUG, INFO, WARNING, ERROR or CRITICAL"
						       : NULL;
	case KIND_PORT:
		if (parse_count(value, 65535, &n) < 0 || n == 0) {
			return "a port from 1 to 65535";
		}
		*(uint16_t *)at = (uint16_t)n;
		return NULL;
	case KIND_DB:
		if (parse_count(value, 1000000, &n) < 0) {
			return "a number";
		}
		*(unsigned *)at = (unsigned)n;
		return NULL;
	case KIND_COUNT:
		return parse_count(value, 1000000000, at) < 0 ? "a number" : NULL;
	case KIND_MS:
		return parse_ms(value, at) < 0 ? "a number of seconds" : NULL;
	case KIND_BOOL:
		return parse_bool(value, at) < 0 ? "true or false" : NULL;
	}
	return NULL;
}

/* ---- the file ---- */

struct file {
	const char *path;
	yaml_parser_t yaml;
	struct dr_hsm_config *config;
	char **ret_message;
	bool seen[N_KEYS];
};

static int dr_printf(3, 4) complain(struct file *file, size_t line, const char *fmt, ...)
{
	struct dr_buf text = { 0 };
	char what[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	dr_buf_printf(&text, "%s:%zu: ", file->path, line);
	dr_text_escape(&text, what, strlen(what));
	*file->ret_message = dr_buf_cstr(&text);
	return -EINVAL;
}

static int next_event(struct file *file, yaml_event_t *event)
{
	if (yaml_parser_parse(&file->yaml, event)) {
		return 0;
	}
	return complain(file, file->yaml.problem_mark.line + 1, "%s",
		file->yaml.problem ? file->yaml.problem : "no YAML");
}

/* Passes over the value of an unknown key, whatever it holds. */
static int skip_value(struct file *file)
{
	int depth = 0;

	do {
		yaml_event_t event;
		int r = next_event(file, &event);

		if (r < 0) {
			return r;
		}
		yaml_event_type_t type = event.type;

		yaml_event_delete(&event);
		depth += type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
		depth -= type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
	} while (depth > 0);
	return 0;
}

static int take_value(struct file *file, const struct key *key)
{
	yaml_event_t event;
	int r = next_event(file, &event);

	if (r < 0) {
		return r;
	}
	size_t line = event.start_mark.line + 1;

	if (event.type != YAML_SCALAR_EVENT) {
		r = complain(file, line, "%s: a single value is wanted", key->name);
	} else {
		const char *value = (const char *)event.data.scalar.value;
		bool is_plain = event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
		const char *wanted =
			is_plain && is_null(value) ? NULL : set_value(file->config, key, value);

		if (wanted) {
			r = complain(file, line, "%s: '%s' is not %s", key->name, value, wanted);
		}
	}
	yaml_event_delete(&event);
	return r;
}

static const struct key *key_of(const char *name)
{
	for (size_t i = 0; i < N_KEYS; i++) {
		if (strcmp(keys[i].name, name) == 0) {
			return &keys[i];
		}
	}
	return NULL;
}

static void warn_of_key(const struct file *file, size_t line, const char *name)
{
	struct dr_buf text = { 0 };

	dr_text_escape(&text, name, strlen(name));
	dr_log(DR_LOG_WARNING, "unknown-key", "file=%s line=%zu key=%s", file->path, line,
		dr_buf_cstr(&text));
	dr_buf_fini(&text);
}

/* @return 1 a key and its value were taken; 0 the mapping ends */
static int take_pair(struct file *file)
{
	yaml_event_t event;
	int r = next_event(file, &event);

	if (r < 0) {
		return r;
	}
	size_t line = event.start_mark.line + 1;

	if (event.type == YAML_MAPPING_END_EVENT) {
		r = 0;
	} else if (event.type != YAML_SCALAR_EVENT) {
		r = complain(file, line, "a key is wanted");
	} else {
		const char *name = (const char *)event.data.scalar.value;
		const struct key *key = key_of(name);

		if (key) {
			file->seen[key - keys] = true;
			r = take_value(file, key);
		} else {
			warn_of_key(file, line, name);
			r = skip_value(file);
		}
		r = r < 0 ? r : 1;
	}
	yaml_event_delete(&event);
	return r;
}

static int read_events(struct file *file)
{
	int r = 0;

	for (;;) {
		yaml_event_t event;

		r = next_event(file, &event);
		if (r < 0) {
			return r;
		}
		yaml_event_type_t type = event.type;
		size_t line = event.start_mark.line + 1;
		bool is_empty =
			type == YAML_SCALAR_EVENT && is_null((const char *)event.data.scalar.value);

		yaml_event_delete(&event);
		if (type == YAML_MAPPING_START_EVENT) {
			break;
		}
		if (type == YAML_STREAM_END_EVENT || is_empty) {
			return 0;
		}
		if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT) {
			return complain(file, line, "no mapping of keys to values");
		}
	}
	do {
		r = take_pair(file);
	} while (r > 0);
	return r;
}

int dr_hsm_config_read(struct dr_hsm_config *config, const char *path, char **ret_message)
{
	struct file file = { .path = path, .config = config, .ret_message = ret_message };
	FILE *input = fopen(path, "re");
	int r = input ? 0 : -errno;

	if (r < 0) {
		*ret_message = dr_xasprintf("%s: %s", path, strerrordesc_np(-r));
		return r;
	}
	if (!yaml_parser_initialize(&file.yaml)) {
		(void)fclose(input);
		*ret_message = dr_xstrdup("out of memory");
		return -ENOMEM;
	}
	yaml_parser_set_input_file(&file.yaml, input);
	r = read_events(&file);
	yaml_parser_delete(&file.yaml);
	(void)fclose(input);
	if (r == 0 && file.seen[key_of("aggressive_trim_threshold") - keys]) {
		dr_log(DR_LOG_WARNING, "old-key",
			"file=%s key=aggressive_trim_threshold use=trim_chunk_size", path);
	}
	return r;
}

int dr_hsm_config_url(
	const struct dr_hsm_config *config, struct dr_url *ret_url, char **ret_message)
{
	if (config->redis_url && *config->redis_url) {
		return dr_url_parse(config->redis_url, ret_url, ret_message);
	}
	struct dr_url_host *host = dr_xcalloc(1, sizeof(*host));

	host->name = dr_xstrdup(config->redis_host);
	host->port = config->redis_port;
	*ret_url = (struct dr_url){
		.kind = DR_URL_TCP, .hosts = host, .n_hosts = 1, .db = config->redis_db
	};
	return 0;
}
