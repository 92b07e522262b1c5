/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/clone_record.h"

#include "base/fdio.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <xxhash.h>

#define FOLDER ".clones"
#define FORMAT 1
#define FILE_MAX (16u << 20) /* bytes */

static void source_fini(struct dr_clone_source *source)
{
	free(source->from);
	free(source->from_identity);
	free(source->campaign);
	free(source->campaign_id);
}

void dr_clone_record_free(struct dr_clone_record *record)
{
	if (!record) {
		return;
	}
	for (size_t i = 0; i < record->n_sources; i++) {
		source_fini(&record->sources[i]);
	}
	free(record->sources);
	free(record->to);
	free(record->to_identity);
	free(record);
}

bool dr_clone_record_has(const struct dr_clone_record *record, const char *from_identity)
{
	for (size_t i = 0; i < record->n_sources; i++) {
		if (strcmp(record->sources[i].from_identity, from_identity) == 0) {
			return true;
		}
	}
	return false;
}

/* "0123456789abcdef" of the target, malloc'ed */
static char *hash_of(const char *to_identity)
{
	return dr_xasprintf(
		"%016llx", (unsigned long long)XXH3_64bits(to_identity, strlen(to_identity)));
}

static json_t *bytes_to_json(const char *bytes)
{
	dr_cleanup(dr_buf_fini) struct dr_buf text = { 0 };

	dr_text_escape(&text, bytes, strlen(bytes));
	return json_string(dr_buf_cstr(&text));
}

/* malloc'ed; NULL: it is no text, or holds a NUL */
static char *bytes_from_json(const json_t *json, const char *key)
{
	const json_t *value = json_object_get(json, key);
	const char *text = json_string_value(value);
	dr_cleanup(dr_buf_fini) struct dr_buf bytes = { 0 };

	if (!text || dr_text_unescape(&bytes, text, json_string_length(value)) < 0 ||
		bytes.len == 0 || memchr(bytes.data, '\0', bytes.len)) {
		return NULL;
	}
	return dr_xstrdup(dr_buf_cstr(&bytes));
}

static json_t *record_to_json(const struct dr_clone_record *record)
{
	json_t *sources = json_array();

	for (size_t i = 0; i < record->n_sources; i++) {
		const struct dr_clone_source *source = &record->sources[i];
		json_array_append_new(sources,
			json_pack("{s:o, s:o, s:o, s:o, s:I}", "from", bytes_to_json(source->from),
				"from_identity", bytes_to_json(source->from_identity), "campaign",
				bytes_to_json(source->campaign), "campaign_id",
				bytes_to_json(source->campaign_id), "time_ms",
				(json_int_t)source->time_ms));
	}
	return json_pack("{s:i, s:o, s:o, s:b, s:o}", "format", FORMAT, "to",
		bytes_to_json(record->to), "to_identity", bytes_to_json(record->to_identity),
		"merged", (int)record->merged, "sources", sources);
}

static int source_from_json(const json_t *json, struct dr_clone_source *source)
{
	const json_t *time = json_object_get(json, "time_ms");

	source->from = bytes_from_json(json, "from");
	source->from_identity = bytes_from_json(json, "from_identity");
	source->campaign = bytes_from_json(json, "campaign");
	source->campaign_id = bytes_from_json(json, "campaign_id");
	if (!source->from || !source->from_identity || !source->campaign || !source->campaign_id ||
		!json_is_integer(time) || json_integer_value(time) < 0) {
		return -EBADMSG;
	}
	source->time_ms = (uint64_t)json_integer_value(time);
	return 0;
}

static int record_from_json(const json_t *json, struct dr_clone_record **ret_record)
{
	dr_cleanup(dr_clone_record_freep) struct dr_clone_record *record =
		dr_xcalloc(1, sizeof *record);
	const json_t *sources = json_object_get(json, "sources");
	const json_t *merged = json_object_get(json, "merged");
	size_t n = json_array_size(sources);

	record->to = bytes_from_json(json, "to");
	record->to_identity = bytes_from_json(json, "to_identity");
	record->merged = json_is_true(merged);
	if (json_integer_value(json_object_get(json, "format")) != FORMAT || !record->to ||
		!record->to_identity || !json_is_boolean(merged) || n == 0 ||
		n > DR_CLONE_SOURCES_MAX) {
		return -EBADMSG;
	}
	record->sources = dr_xcalloc(n, sizeof *record->sources);
	for (size_t i = 0; i < n; i++) {
		record->n_sources = i + 1;
		int r = source_from_json(json_array_get(sources, i), &record->sources[i]);
		if (r < 0) {
			return r;
		}
	}
	*ret_record = record;
	record = NULL;
	return 0;
}

static int read_at(int folder_fd, const char *to_identity, struct dr_clone_record **ret_record)
{
	dr_cleanup(dr_freep) char *hash = hash_of(to_identity);
	dr_cleanup(dr_freep) char *file = dr_xasprintf("%s.json", hash);
	dr_cleanup(dr_buf_fini) struct dr_buf text = { 0 };
	dr_cleanup(dr_clone_record_freep) struct dr_clone_record *record = NULL;
	int r = dr_read_file(folder_fd, file, FILE_MAX, &text);

	if (r < 0) {
		return r == -EFBIG ? -EBADMSG : r;
	}
	json_t *json = json_loadb(dr_buf_cstr(&text), text.len, JSON_REJECT_DUPLICATES, NULL);
	r = json ? record_from_json(json, &record) : -EBADMSG;
	json_decref(json);
	if (r < 0) {
		return r;
	}
	/* Another target of the same hash would be told by its name, not taken for this one. */
	if (strcmp(record->to_identity, to_identity) != 0) {
		return -EBADMSG;
	}
	*ret_record = record;
	record = NULL;
	return 0;
}

int dr_clone_record_read(
	const char *base_path, const char *to_identity, struct dr_clone_record **ret_record)
{
	dr_cleanup(dr_freep) char *path = dr_xasprintf("%s/" FOLDER, base_path);
	dr_cleanup(dr_fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : read_at(fd, to_identity, ret_record);
}

int dr_clone_record_allows_delete(const char *base_path, const struct dr_spec *spec)
{
	dr_cleanup(dr_clone_record_freep) struct dr_clone_record *record = NULL;
	int r = dr_clone_record_read(base_path, spec->clone.to_identity, &record);

	if (!record) {
		return r < 0 ? r : -ENOENT;
	}
	return record->n_sources == 1 && dr_clone_record_has(record, spec->clone.from_identity) &&
			       (!record->merged || spec->clone.merge)
		       ? 0
		       : -EPERM;
}

/* One that is noted at a time. Where there are no locks the window is left open. */
static int lock(int folder_fd)
{
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = openat(folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0) {
		return -errno;
	}
	while (fcntl(fd, F_OFD_SETLKW, &all) < 0 && errno == EINTR) {
	}
	return fd;
}

/* Takes the source out, when it is there, and puts it to the end. */
static int put_source(struct dr_clone_record *record, const struct dr_spec *spec)
{
	size_t kept = 0;

	for (size_t i = 0; i < record->n_sources; i++) {
		if (strcmp(record->sources[i].from_identity, spec->clone.from_identity) == 0) {
			source_fini(&record->sources[i]);
		} else {
			record->sources[kept++] = record->sources[i];
		}
	}
	record->n_sources = kept;
	if (kept >= DR_CLONE_SOURCES_MAX) {
		return -E2BIG;
	}
	record->sources = dr_xrealloc(record->sources, (kept + 1) * sizeof *record->sources);
	record->sources[record->n_sources++] = (struct dr_clone_source){
		.from = dr_xstrdup(spec->clone.from),
		.from_identity = dr_xstrdup(spec->clone.from_identity),
		.campaign = dr_xstrdup(spec->name),
		.campaign_id = dr_xstrdup(spec->id),
		.time_ms = spec->created_ms,
	};
	return 0;
}

static bool is_as_seen(const struct dr_clone_record *record, const struct dr_clone_record *seen)
{
	if (!record || !seen) {
		return !record && !seen;
	}
	return strcmp(record->sources[record->n_sources - 1].campaign_id,
		       seen->sources[seen->n_sources - 1].campaign_id) == 0;
}

static int write_at(int folder_fd, const struct dr_clone_record *record)
{
	dr_cleanup(dr_freep) char *hash = hash_of(record->to_identity);
	dr_cleanup(dr_freep) char *file = dr_xasprintf("%s.json", hash);
	json_t *json = record_to_json(record);
	dr_cleanup(dr_freep) char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	json_decref(json);
	return text ? dr_replace_file(folder_fd, file, 0644, text, strlen(text)) : -EINVAL;
}

int dr_clone_record_note(const char *base_path, const struct dr_spec *spec,
	const struct dr_clone_record *seen, bool is_empty)
{
	dr_cleanup(dr_clone_record_freep) struct dr_clone_record *record = NULL;
	dr_cleanup(dr_freep) char *path = dr_xasprintf("%s/" FOLDER, base_path);
	int r = dr_mkdirs(path, 0755);

	if (r < 0) {
		return r;
	}
	dr_cleanup(dr_fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	dr_cleanup(dr_fd_closep) int lock_fd = lock(fd);
	if (lock_fd < 0) {
		return lock_fd;
	}
	r = read_at(fd, spec->clone.to_identity, &record);
	if (r < 0 && r != -ENOENT) {
		return r;
	}
	if (!is_as_seen(record, seen)) {
		return -EAGAIN;
	}
	if (is_empty) {
		dr_clone_record_free(record);
		record = NULL;
	}
	if (!record) {
		record = dr_xcalloc(1, sizeof *record);
		record->to_identity = dr_xstrdup(spec->clone.to_identity);
		record->merged = !is_empty;
	}
	free(record->to);
	record->to = dr_xstrdup(spec->clone.to);
	r = put_source(record, spec);
	return r < 0 ? r : write_at(fd, record);
}
