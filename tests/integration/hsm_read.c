/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "base/text.h"
#include "hsm/reader.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/*
 * What the tests see a reader do: hsm-read URL PREFIX beginning|now|once|nothing [count|infos|seek=KEY@ID|discovery=MS|batch=N|wait=MS]...
 * A line for each event, "KEY MDT ID JSON" ("KEY MDT reset"), "idle" when all is read, "error NAME" when that changes. SIGTERM stops it; a
 * reader that ends says how many entries were bad and how many keys foreign.
 */
static struct dr_reader *reader;

static void on_signal(int number)
{
	(void)number;
	dr_reader_stop(reader);
}

struct run {
	int wait_ms;
	bool is_ending, is_counting, has_infos;
	unsigned long long n;
	int last; /* what dr_reader_next() said last, but for events */
};

static void print_event(const struct dr_reader_event *event)
{
	char id[DR_ENTRY_ID_SIZE];

	if (event->is_reset) {
		(void)printf("%s %s reset\n", event->stream, event->mdt);
	} else {
		(void)printf("%s %s %s %.*s\n", event->stream, event->mdt,
			dr_entry_id_text(event->id, id), (int)event->json.len, event->json.p);
	}
	(void)fflush(stdout);
}

static void print_infos(void)
{
	struct dr_stream_info *infos dr_cleanup(dr_freep) = NULL;
	size_t n = 0;
	char first[DR_ENTRY_ID_SIZE], last[DR_ENTRY_ID_SIZE];

	if (dr_reader_infos(reader, &infos, &n) < 0) {
		(void)printf("no infos\n");
	}
	for (size_t i = 0; i < n; i++) {
		(void)printf("info %s %s %llu %s %s\n", infos[i].stream, infos[i].mdt,
			(unsigned long long)infos[i].length,
			dr_entry_id_text(infos[i].first, first),
			dr_entry_id_text(infos[i].last, last));
	}
}

static int run_reader(struct run *run)
{
	for (;;) {
		const struct dr_reader_event *event = NULL;
		int r = dr_reader_next(reader, run->wait_ms, &event);

		if (r == -ECANCELED) {
			return 0;
		}
		if (r > 0) {
			run->n++;
			if (!run->is_counting) {
				print_event(event);
			}
		} else if (r < 0 && r != run->last) {
			(void)printf("error %s\n", strerrorname_np(-r));
		} else if (r == 0 && run->last != 0 && !run->is_ending) {
			(void)printf("idle\n");
		} else if (r == 0 && run->is_ending) {
			return 0;
		}
		run->last = r > 0 ? 1 : r;
		(void)fflush(stdout);
	}
}

static int take_word(struct run *run, struct dr_reader_options *options, const char *word)
{
	const char *value = strchr(word, '=');
	uint64_t n = 0;

	if (strcmp(word, "count") == 0) {
		run->is_counting = true;
	} else if (strcmp(word, "infos") == 0) {
		run->has_infos = true;
	} else if (strncmp(word, "seek=", 5) == 0) {
		return 0;
	} else if (!value || dr_text_parse_u64(value + 1, 0, 1000000, &n) < 0) {
		return -EINVAL;
	} else if (strncmp(word, "discovery=", 10) == 0) {
		options->discovery_ms = (unsigned)n;
	} else if (strncmp(word, "batch=", 6) == 0) {
		options->batch = (unsigned)n;
	} else if (strncmp(word, "wait=", 5) == 0) {
		run->wait_ms = (int)n;
	} else {
		return -EINVAL;
	}
	return 0;
}

static void seek(char *word)
{
	char *at = strrchr(word, '@');
	struct dr_entry_id id;

	if (strncmp(word, "seek=", 5) == 0 && at &&
		dr_entry_id_parse(at + 1, strlen(at + 1), &id) == 0) {
		*at = '\0';
		dr_reader_seek(reader, word + 5, id);
	}
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "beginning", "now", "once", "nothing" };
	struct dr_url url;
	struct run run = { .wait_ms = 100, .last = 1 };
	struct dr_reader_options options = { .url = &url };
	char *message = NULL;
	size_t from = 0;

	dr_log_level = DR_LOG_DEBUG;
	while (argc > 3 && from < 4 && strcmp(argv[3], names[from]) != 0) {
		from++;
	}
	if (argc < 4 || from == 4 || dr_url_parse(argv[1], &url, &message) < 0) {
		(void)fprintf(stderr, "hsm-read: %s\n", message ? message : "usage");
		return 2;
	}
	options.prefix = argv[2];
	options.from = (enum dr_reader_from)from;
	run.is_ending = from >= 2;
	for (int i = 4; i < argc; i++) {
		if (take_word(&run, &options, argv[i]) < 0) {
			(void)fprintf(stderr, "hsm-read: what is %s?\n", argv[i]);
			return 2;
		}
	}
	reader = dr_reader_new(&options);
	for (int i = 4; i < argc; i++) {
		seek(argv[i]);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGTERM, on_signal);
	int r = run_reader(&run);

	if (run.has_infos) {
		print_infos();
	}
	(void)printf("end events=%llu bad=%llu foreign=%zu\n", run.n,
		(unsigned long long)dr_reader_n_bad(reader), dr_reader_n_foreign(reader));
	dr_reader_free(reader);
	dr_url_fini(&url);
	return r;
}
