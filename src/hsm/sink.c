/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/sink.h"

/*
 * hiredis calls one function for each part of a reply and keeps what it returns in the part's task: here, how deep an array is, from 1 for
 * the reply itself. NULL would mean that memory is out, so a string is 1 as well; nobody looks at that.
 */
#define DEPTH_REPLY 1
#define DEPTH_STREAM 2
#define DEPTH_ENTRIES 3
#define DEPTH_ENTRY 4
#define DEPTH_FIELDS 5
#define KEEP_ARENA (4u << 20) /* bytes; a larger one is not kept for the next reply */

#if HIREDIS_MAJOR >= 1
typedef size_t array_size; /* the type of hiredis' own signature */
#else
typedef int array_size;
#endif

static struct dr_sink *sink_of(const redisReadTask *task)
{
	return task->privdata;
}

/* Of the array around this part; 0: it is the reply itself. */
static unsigned depth_around(const redisReadTask *task)
{
	return task->parent ? (unsigned)(uintptr_t)task->parent->obj : 0;
}

static void *object_of(unsigned depth)
{
	return (void *)(uintptr_t)depth; /* NOLINT(performance-no-int-to-ptr): never followed */
}

static void begin_stream(struct dr_sink *sink, const char *key, size_t len)
{
	/* The server answers in the order of the question, and leaves out streams without news. */
	for (; sink->name < sink->n_names; sink->name++) {
		const char *name = sink->names[sink->name];

		if (strlen(name) == len && memcmp(name, key, len) == 0) {
			return;
		}
	}
	sink->is_odd = true;
}

static void begin_entry(struct dr_sink *sink, const char *id, size_t len)
{
	sink->is_data = false;
	sink->is_taken = false;
	if (sink->name >= sink->n_names) {
		return; /* of a stream that nobody asked for */
	}
	if (sink->is_full || sink->arena.len >= DR_SINK_MAX_ARENA) {
		sink->is_full = true;
		return;
	}
	if (sink->n == sink->cap) {
		sink->cap = sink->cap ? sink->cap * 2 : 256;
		sink->entries = dr_xrealloc(sink->entries, sink->cap * sizeof(*sink->entries));
	}
	struct dr_sink_entry *entry = &sink->entries[sink->n++];

	*entry = (struct dr_sink_entry){
		.stream = (uint32_t)sink->name,
		.state = DR_SINK_NO_DATA,
	};
	if (dr_entry_id_parse(id, len, &entry->id) < 0) {
		entry->state = DR_SINK_BAD_ID;
	}
	sink->is_taken = true;
}

static void take_data(struct dr_sink *sink, const char *data, size_t len)
{
	struct dr_sink_entry *entry = &sink->entries[sink->n - 1];

	if (entry->state == DR_SINK_BAD_ID) {
		return;
	}
	if (len > DR_SINK_MAX_DATA) {
		entry->state = DR_SINK_TOO_LONG;
		return;
	}
	entry->state = DR_SINK_GOOD;
	entry->offset = sink->arena.len;
	entry->len = (uint32_t)len;
	dr_buf_reserve(&sink->arena, len + 1);
	memcpy(sink->arena.data + sink->arena.len, data, len);
	sink->arena.data[sink->arena.len + len] = 0;
	sink->arena.len += len + 1;
}

static void take_error(struct dr_sink *sink, const char *text, size_t len)
{
	size_t keep = len < sizeof(sink->error) - 1 ? len : sizeof(sink->error) - 1;

	memcpy(sink->error, text, keep);
	sink->error[keep] = 0;
	if (keep == 0) {
		sink->is_odd = true;
	}
}

static void take_field(
	struct dr_sink *sink, const redisReadTask *task, const char *text, size_t len)
{
	if (!sink->is_taken) {
		return;
	}
	if (task->idx % 2 == 0) {
		sink->is_data = len == 4 && memcmp(text, "data", 4) == 0;
	} else if (sink->is_data) {
		take_data(sink, text, len);
	}
}

/* hiredis' own signature has no const: NOLINTNEXTLINE(readability-non-const-parameter) */
static void *on_string(const redisReadTask *task, char *text, size_t len)
{
	struct dr_sink *sink = sink_of(task);
	unsigned depth = depth_around(task);

	bool is_string = task->type == REDIS_REPLY_STRING;

	if (is_string && depth == DEPTH_FIELDS) {
		take_field(sink, task, text, len);
	} else if (is_string && depth == DEPTH_ENTRY && task->idx == 0) {
		begin_entry(sink, text, len);
	} else if (is_string && depth == DEPTH_STREAM && task->idx == 0) {
		begin_stream(sink, text, len);
	} else if (task->type == REDIS_REPLY_ERROR && depth == 0) {
		take_error(sink, text, len);
	} else {
		sink->is_odd = true;
	}
	return object_of(1);
}

static void *on_array(const redisReadTask *task, array_size n)
{
	struct dr_sink *sink = sink_of(task);
	unsigned depth = depth_around(task) + 1;
	bool is_second = task->idx == 1;

	(void)n;
	if (task->type != REDIS_REPLY_ARRAY || depth > DEPTH_FIELDS ||
		((depth == DEPTH_ENTRIES || depth == DEPTH_FIELDS) && !is_second)) {
		sink->is_odd = true;
	}
	return object_of(depth);
}

static void *on_integer(const redisReadTask *task, long long value)
{
	(void)value;
	sink_of(task)->is_odd = true;
	return object_of(1);
}

/* Instead of the reply: nothing came. Instead of an entry's fields: it has none. */
static void *on_nil(const redisReadTask *task)
{
	unsigned depth = depth_around(task);

	if (depth != 0 && depth != DEPTH_ENTRY && depth != DEPTH_FIELDS) {
		sink_of(task)->is_odd = true;
	}
	return object_of(1);
}

static void on_free(void *object)
{
	(void)object;
}

void dr_sink_init(struct dr_sink *sink)
{
	*sink = (struct dr_sink){
		.functions = {
			.createString = on_string,
			.createArray = on_array,
			.createInteger = on_integer,
			.createNil = on_nil,
			.freeObject = on_free,
		},
	};
}

void dr_sink_fini(struct dr_sink *sink)
{
	dr_buf_fini(&sink->arena);
	free(sink->entries);
	*sink = (struct dr_sink){ 0 };
}

void dr_sink_begin(struct dr_sink *sink, const char *const *names, size_t n_names)
{
	if (sink->arena.cap > KEEP_ARENA) {
		dr_buf_fini(&sink->arena);
	}
	dr_buf_clear(&sink->arena);
	sink->names = names;
	sink->n_names = n_names;
	sink->n = 0;
	sink->is_full = false;
	sink->error[0] = 0;
	sink->is_odd = false;
	sink->name = 0;
	sink->is_data = false;
	sink->is_taken = false;
}

void dr_sink_attach(struct dr_sink *sink, redisReader *parser)
{
	sink->own = parser->fn;
	parser->fn = &sink->functions;
	parser->privdata = sink;
}

void dr_sink_detach(struct dr_sink *sink, redisReader *parser)
{
	parser->fn = sink->own;
	parser->privdata = NULL;
}
