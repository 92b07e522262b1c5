/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/sink.h"

#include "fuzz.h"

/* What a server may send, in pieces of any size: entries are those of streams that were asked for, and lie in the arena. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "p:a", "p:b", "p:c" };
	size_t piece = size ? 1 + data[0] % 64 : 1;
	struct dr_sink sink;
	redisReader *parser = redisReaderCreateWithFunctions(NULL);

	FUZZ_CHECK(parser);
	dr_sink_init(&sink);
	dr_sink_begin(&sink, names, 3);
	dr_sink_attach(&sink, parser);
	for (size_t i = 1; i < size; i += piece) {
		size_t len = size - i < piece ? size - i : piece;
		void *reply = NULL;

		if (redisReaderFeed(parser, (const char *)data + i, len) != REDIS_OK ||
			redisReaderGetReply(parser, &reply) != REDIS_OK) {
			break;
		}
		if (!reply) {
			continue;
		}
		uint32_t stream = 0;

		for (size_t j = 0; j < sink.n; j++) {
			const struct dr_sink_entry *entry = &sink.entries[j];

			FUZZ_CHECK(entry->stream < 3 && entry->stream >= stream);
			stream = entry->stream;
			if (entry->state == DR_SINK_GOOD) {
				FUZZ_CHECK(entry->offset + entry->len < sink.arena.len);
				FUZZ_CHECK(sink.arena.data[entry->offset + entry->len] == 0);
			}
		}
		dr_sink_begin(&sink, names, 3);
	}
	redisReaderFree(parser);
	dr_sink_fini(&sink);
	return 0;
}
