/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TUI_MODEL_H
#define DR_TUI_MODEL_H

#include "hsm/live.h"

/*
 * What hsm-action-top shows, and how: looks at the live actions, the differences between two of them, rates, and what the user chose.
 * Pure: no terminal, no clock, no server. Texts of groups are those of the dr_live, which must live as long as the model.
 */

#define TOP_MAX_STALLED 1000 /* that are listed */
#define TOP_RATE_SECONDS 60  /* over which rates are told */

/* One look. */
struct top_look {
	struct dr_live_group *groups; /* malloc'ed */
	size_t n_groups;
	struct dr_live_totals totals;
	struct dr_live_action *stalled; /* malloc'ed; the longest first */
	size_t n_stalled;
	uint64_t all_stalled; /* of those that the filters let through */
	uint64_t now_ms;      /* since 1970 */
	uint64_t now_ns;      /* of the monotonic clock */
	bool is_replayed;     /* what the streams held at the start was taken */
	bool was_connected, is_connected;
	const char *why;   /* it is not; a constant text */
	unsigned silent_s; /* for how long the server, or the way to it, let the reader wait */
	uint64_t n_bad;    /* entries that were no events */
};
void top_look_fini(struct top_look *look);

struct top_row {
	const char *mdt, *action, *status;
	uint64_t count;
	int64_t diff; /* to the look before */
	int64_t oldest_s;
	uint64_t stalled;
};

struct top_rates {
	bool is_known;
	unsigned seconds;                          /* over which; at most TOP_RATE_SECONDS */
	double begun, succeeded, failed, canceled; /* per second */
};

struct top_sample {
	uint64_t ns;
	uint64_t begun, succeeded, failed, canceled;
};

enum top_sort {
	TOP_BY_MDT,
	TOP_BY_ACTION,
	TOP_BY_STATUS,
	TOP_BY_COUNT,
	TOP_BY_DIFF,
	TOP_BY_OLDEST,
	TOP_BY_STALLED,
	TOP_N_SORTS
};
enum top_page { TOP_PAGE_TABLE, TOP_PAGE_STALLED, TOP_PAGE_HELP, TOP_N_PAGES };
enum top_filter { TOP_FILTER_MDT, TOP_FILTER_ACTION, TOP_FILTER_STATUS, TOP_N_FILTERS };
#define TOP_FILTER_SIZE 64 /* bytes, with the NUL */

struct top_model {
	/* Of the program's options. */
	const char *server; /* for people */
	uint64_t stalled_s;
	/* What was seen. */
	struct top_look look;
	struct top_row *rows; /* as they are shown */
	size_t n_rows;
	size_t n_all_rows;              /* without filters */
	struct dr_live_action *stalled; /* of look, what the filters let through */
	size_t n_stalled;
	struct dr_live_group *before; /* of the look before, for differences; NULL: there is none */
	size_t n_before;
	struct top_sample samples[TOP_RATE_SECONDS + 1]; /* a ring, about one a second */
	size_t n_samples, first_sample;
	struct top_rates rates;
	/* What the user chose. */
	enum top_sort sort;
	bool is_reversed, is_paused;
	enum top_page page;
	size_t scroll[TOP_N_PAGES]; /* first line shown */
	char filters[TOP_N_FILTERS][TOP_FILTER_SIZE];
	unsigned interval_ms;
	bool is_asking; /* for a filter's text */
	enum top_filter asked;
	char answer[TOP_FILTER_SIZE];
};

void top_model_init(struct top_model *model);
void top_model_fini(struct top_model *model);
/* Takes a look over; *look is empty then. */
void top_model_take(struct top_model *model, struct top_look *look);
/* Sorts and filters again, after the choice changed. */
void top_model_arrange(struct top_model *model);

/* Whether the filters let it through. A dr_live_want_fn, whose ctx is the model. */
bool top_model_wants(void *model, const char *mdt, const char *action, const char *status);
bool top_model_is_filtered(const struct top_model *model);
/* Before that, in seconds since 1970, a change makes an action a stalled one. */
int64_t top_model_stalled_before(const struct top_model *model, uint64_t now_ms);
/* Seconds since then, by the look's clock; 0 in the future. */
uint64_t top_model_age(const struct top_model *model, int64_t since_s);
/* Lines of the page that is shown; the help's are the frame's. */
size_t top_model_lines(const struct top_model *model);

#endif
