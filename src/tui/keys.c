/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/keys.h"

static const struct {
	uint32_t key;
	enum top_command command;
} keys[] = {
	{ 'q', TOP_QUIT }, { 'Q', TOP_QUIT },
	{ 3, TOP_QUIT }, /* Ctrl-C, where the terminal makes no signal of it */
	{ 'h', TOP_HELP }, { '?', TOP_HELP }, { TOP_KEY_HELP, TOP_HELP }, { 'l', TOP_STALLED },
	{ '\t', TOP_STALLED }, { TOP_KEY_ESCAPE, TOP_BACK }, { TOP_KEY_ENTER, TOP_BACK },
	{ 'p', TOP_PAUSE }, { ' ', TOP_PAUSE }, { 'M', TOP_SORT_MDT }, { 'A', TOP_SORT_ACTION },
	{ 'S', TOP_SORT_STATUS }, { 'C', TOP_SORT_COUNT }, { 'D', TOP_SORT_DIFF },
	{ 'O', TOP_SORT_OLDEST }, { 'L', TOP_SORT_STALLED }, { '>', TOP_SORT_NEXT },
	{ '.', TOP_SORT_NEXT }, { '<', TOP_SORT_PREVIOUS }, { ',', TOP_SORT_PREVIOUS },
	{ 'r', TOP_SORT_REVERSE }, { 'R', TOP_SORT_REVERSE }, { 'm', TOP_ASK_MDT },
	{ 'a', TOP_ASK_ACTION }, { 's', TOP_ASK_STATUS }, { 'c', TOP_CLEAR_FILTERS },
	{ '+', TOP_SLOWER }, { '=', TOP_SLOWER }, { '-', TOP_FASTER }, { TOP_KEY_UP, TOP_UP },
	{ 'k', TOP_UP }, { TOP_KEY_DOWN, TOP_DOWN }, { 'j', TOP_DOWN },
	{ TOP_KEY_PAGE_UP, TOP_PAGE_UP }, { TOP_KEY_PAGE_DOWN, TOP_PAGE_DOWN },
	{ TOP_KEY_HOME, TOP_HOME }, { 'g', TOP_HOME }, { TOP_KEY_END, TOP_END }, { 'G', TOP_END },
	{ 12, TOP_REDRAW }, /* Ctrl-L */
};

enum top_command top_key_command(uint32_t key)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i].key == key) {
			return keys[i].command;
		}
	}
	return TOP_NOTHING;
}

/* --- the text of a filter --- */

static void append(char *text, uint32_t c)
{
	uint8_t utf8[4];
	size_t len = strlen(text), n;

	if (c < 0x80) {
		utf8[0] = (uint8_t)c;
		n = 1;
	} else {
		n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		utf8[0] = (uint8_t)((0xf00u >> n & 0xffu) | c >> 6 * (n - 1));
		for (size_t i = 1; i < n; i++) {
			utf8[i] = (uint8_t)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
		}
	}
	if (len + n < TOP_FILTER_SIZE) {
		memcpy(text + len, utf8, n);
		text[len + n] = 0;
	}
}

static void drop_last(char *text)
{
	size_t len = strlen(text);

	while (len && ((unsigned char)text[len - 1] & 0xc0) == 0x80) {
		len--;
	}
	text[len ? len - 1 : 0] = 0;
}

static void ask(struct top_model *model, enum top_filter filter)
{
	model->is_asking = true;
	model->asked = filter;
	memcpy(model->answer, model->filters[filter], sizeof(model->answer));
}

static void scroll_home(struct top_model *model)
{
	model->scroll[TOP_PAGE_TABLE] = 0;
	model->scroll[TOP_PAGE_STALLED] = 0;
}

static enum top_effect filters_changed(struct top_model *model)
{
	scroll_home(model);
	top_model_arrange(model);
	return TOP_EFFECT_DRAW;
}

static enum top_effect press_answering(struct top_model *model, uint32_t key)
{
	switch (key) {
	case TOP_KEY_ENTER:
		model->is_asking = false;
		memcpy(model->filters[model->asked], model->answer, sizeof(model->answer));
		return filters_changed(model);
	case 3: /* Ctrl-C */
	case TOP_KEY_ESCAPE:
		model->is_asking = false;
		return TOP_EFFECT_DRAW;
	case 8:
	case TOP_KEY_BACKSPACE:
		drop_last(model->answer);
		return TOP_EFFECT_DRAW;
	case 21: /* Ctrl-U */
		model->answer[0] = 0;
		return TOP_EFFECT_DRAW;
	case 12: /* Ctrl-L */
		return TOP_EFFECT_REDRAW;
	default:
		if (key >= 0x20 && key < 0x110000 && (key < 0x80 || key >= 0xa0)) {
			append(model->answer, key);
		}
		return TOP_EFFECT_DRAW;
	}
}

/* --- the rest --- */

static void sort_by(struct top_model *model, enum top_sort sort)
{
	model->sort = sort;
	model->page = TOP_PAGE_TABLE;
	model->scroll[TOP_PAGE_TABLE] = 0;
	top_model_arrange(model);
}

/* The next of some round numbers. */
static void change_interval(struct top_model *model, bool up)
{
	static const unsigned steps[] = { 250, 500, 1000, 2000, 5000, 10000, 20000, 30000, 60000 };
	const size_t n = sizeof(steps) / sizeof(steps[0]);

	for (size_t i = 0; i < n; i++) {
		unsigned step = up ? steps[i] : steps[n - 1 - i];

		if (up ? step > model->interval_ms : step < model->interval_ms) {
			model->interval_ms = step;
			return;
		}
	}
}

static void scroll(struct top_model *model, enum top_command command, size_t page, size_t lines)
{
	size_t *at = &model->scroll[model->page];
	size_t end = lines > page ? lines - page : 0;
	size_t step = command == TOP_PAGE_UP || command == TOP_PAGE_DOWN ? (page ? page : 1) : 1;

	/* The list may have become shorter since. */
	*at = *at < end ? *at : end;
	switch (command) {
	case TOP_UP:
	case TOP_PAGE_UP:
		*at -= *at < step ? *at : step;
		break;
	case TOP_DOWN:
	case TOP_PAGE_DOWN:
		*at += end - *at < step ? end - *at : step;
		break;
	case TOP_HOME:
		*at = 0;
		break;
	default:
		*at = end;
	}
}

static enum top_page toggled(const struct top_model *model, enum top_page page)
{
	return model->page == page ? TOP_PAGE_TABLE : page;
}

static enum top_effect set_page(struct top_model *model, enum top_page page)
{
	model->page = page;
	return TOP_EFFECT_DRAW;
}

enum top_effect top_press(struct top_model *model, uint32_t key, size_t page, size_t lines)
{
	enum top_command command;

	if (model->is_asking) {
		return press_answering(model, key);
	}
	command = top_key_command(key);
	switch (command) {
	case TOP_NOTHING:
		return TOP_EFFECT_NONE;
	case TOP_QUIT:
		return TOP_EFFECT_QUIT;
	case TOP_REDRAW:
		return TOP_EFFECT_REDRAW;
	case TOP_HELP:
		return set_page(model, toggled(model, TOP_PAGE_HELP));
	case TOP_STALLED:
		return set_page(model, toggled(model, TOP_PAGE_STALLED));
	case TOP_BACK:
		return set_page(model, TOP_PAGE_TABLE);
	case TOP_PAUSE:
		model->is_paused = !model->is_paused;
		return model->is_paused ? TOP_EFFECT_DRAW : TOP_EFFECT_LOOK;
	case TOP_SORT_NEXT:
		sort_by(model, (model->sort + 1) % TOP_N_SORTS);
		break;
	case TOP_SORT_PREVIOUS:
		sort_by(model, (model->sort + TOP_N_SORTS - 1) % TOP_N_SORTS);
		break;
	case TOP_SORT_REVERSE:
		model->is_reversed = !model->is_reversed;
		top_model_arrange(model);
		break;
	case TOP_ASK_MDT:
	case TOP_ASK_ACTION:
	case TOP_ASK_STATUS:
		ask(model, (enum top_filter)(TOP_FILTER_MDT + (command - TOP_ASK_MDT)));
		break;
	case TOP_CLEAR_FILTERS:
		memset(model->filters, 0, sizeof(model->filters));
		return filters_changed(model);
	case TOP_SLOWER:
	case TOP_FASTER:
		change_interval(model, command == TOP_SLOWER);
		break;
	case TOP_UP:
	case TOP_DOWN:
	case TOP_PAGE_UP:
	case TOP_PAGE_DOWN:
	case TOP_HOME:
	case TOP_END:
		scroll(model, command, page, lines);
		break;
	default:
		sort_by(model, (enum top_sort)(TOP_BY_MDT + (command - TOP_SORT_MDT)));
	}
	return TOP_EFFECT_DRAW;
}
