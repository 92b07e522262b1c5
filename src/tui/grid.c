/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/grid.h"

#include "base/text.h"

#include <wchar.h>

#define MAX_GLYPHS 4096 /* of one text; what comes after is left out */

/* Characters of a text that take room. */
struct glyphs {
	uint32_t *c;
	uint8_t *width; /* 1 or 2 */
	size_t n;
	unsigned columns;
};

static void glyphs_fini(struct glyphs *glyphs)
{
	free(glyphs->c);
	free(glyphs->width);
}

/* One character of valid UTF-8. @return its bytes */
static size_t decode(const uint8_t *p, uint32_t *ret_c)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t c = len == 1 ? p[0] : p[0] & (0x7fu >> len);

	for (size_t i = 1; i < len; i++) {
		c = c << 6 | (p[i] & 0x3fu);
	}
	*ret_c = c;
	return len;
}

/* The character as it can be shown, and its width; 0: not at all. */
static unsigned fit_char(uint32_t *c, bool utf8)
{
	int width;

	if (*c < 0x80) {
		return 1; /* the escaped text holds no control character */
	}
	width = utf8 ? wcwidth((wchar_t)*c) : -1;
	if (width < 0) {
		*c = '?';
		return 1;
	}
	return (unsigned)width;
}

static struct glyphs glyphs_of(const char *text, bool utf8)
{
	dr_cleanup(dr_buf_fini) struct dr_buf escaped = { 0 };
	size_t len = strnlen(text, MAX_GLYPHS);
	struct glyphs glyphs = { 0 };

	dr_text_escape(&escaped, text, len);
	glyphs.c = dr_xcalloc(escaped.len + 1, sizeof(*glyphs.c));
	glyphs.width = dr_xcalloc(escaped.len + 1, 1);
	for (size_t at = 0; at < escaped.len;) {
		uint32_t c;

		at += decode(escaped.data + at, &c);
		unsigned width = fit_char(&c, utf8);

		if (width) {
			glyphs.c[glyphs.n] = c;
			glyphs.width[glyphs.n++] = (uint8_t)width;
			glyphs.columns += width;
		}
	}
	return glyphs;
}

unsigned top_text_width(const char *text, bool utf8)
{
	size_t plain = 0;

	while (text[plain] >= 0x20 && text[plain] < 0x7f && text[plain] != '\\' &&
		plain < MAX_GLYPHS) {
		plain++;
	}
	if (!text[plain]) {
		return (unsigned)plain; /* as nearly all are */
	}
	dr_cleanup(glyphs_fini) struct glyphs glyphs = glyphs_of(text, utf8);

	return glyphs.columns;
}

void top_grid_init(struct top_grid *grid, unsigned w, unsigned h, bool utf8)
{
	*grid = (struct top_grid){ .w = w, .h = h, .utf8 = utf8 };
	grid->cells = dr_xcalloc((size_t)w * h + 1, sizeof(*grid->cells));
	for (size_t i = 0; i < (size_t)w * h; i++) {
		grid->cells[i].c = ' ';
	}
}

void top_grid_fini(struct top_grid *grid)
{
	free(grid->cells);
	*grid = (struct top_grid){ 0 };
}

/* Puts glyphs [from, to) at *x; none goes over `end`. */
static void put_glyphs(struct top_grid *grid, unsigned *x, unsigned y, unsigned end, unsigned attr,
	const struct glyphs *glyphs, size_t from, size_t to)
{
	for (size_t i = from; i < to && *x + glyphs->width[i] <= end; i++) {
		*top_grid_at(grid, *x, y) = (struct top_cell){ glyphs->c[i], attr };
		if (glyphs->width[i] == 2) {
			*top_grid_at(grid, *x + 1, y) = (struct top_cell){ 0, attr };
		}
		*x += glyphs->width[i];
	}
}

/* How many glyphs from the start, or back from the end, fit into that many columns. */
static size_t how_many_fit(const struct glyphs *glyphs, unsigned columns, bool from_end)
{
	size_t n = 0;

	while (n < glyphs->n) {
		unsigned width = glyphs->width[from_end ? glyphs->n - 1 - n : n];

		if (width > columns) {
			break;
		}
		columns -= width;
		n++;
	}
	return n;
}

unsigned top_grid_put(struct top_grid *grid, unsigned x, unsigned y, unsigned w, enum top_fit fit,
	unsigned attr, const char *text)
{
	if (y >= grid->h || x >= grid->w || !w) {
		return 0;
	}
	if (w > grid->w - x) {
		w = grid->w - x;
	}
	dr_cleanup(glyphs_fini) struct glyphs glyphs = glyphs_of(text, grid->utf8);
	unsigned start = x, end = x + w;

	if (glyphs.columns <= w) {
		start += fit == TOP_RIGHT ? w - glyphs.columns : 0;
		x = start;
		put_glyphs(grid, &x, y, end, attr, &glyphs, 0, glyphs.n);
		return x - start;
	}
	unsigned tail = fit == TOP_MIDDLE ? (w - 1) * 2 / 3 : 0;
	size_t last = how_many_fit(&glyphs, tail, true);
	unsigned taken = 0;

	for (size_t i = 0; i < last; i++) {
		taken += glyphs.width[glyphs.n - 1 - i];
	}
	put_glyphs(grid, &x, y, end, attr, &glyphs, 0, how_many_fit(&glyphs, w - 1 - taken, false));
	*top_grid_at(grid, x, y) = (struct top_cell){ grid->utf8 ? 0x2026 : '~', attr };
	x++;
	put_glyphs(grid, &x, y, end, attr, &glyphs, glyphs.n - last, glyphs.n);
	return x - start;
}

void top_grid_paint(struct top_grid *grid, unsigned x, unsigned y, unsigned w, unsigned attr)
{
	for (unsigned i = 0; y < grid->h && i < w && x + i < grid->w; i++) {
		top_grid_at(grid, x + i, y)->attr |= attr;
	}
}

static void put_utf8(struct dr_buf *out, uint32_t c)
{
	if (c < 0x80) {
		dr_buf_put_u8(out, (uint8_t)c);
		return;
	}
	if (c < 0x800) {
		dr_buf_put_u8(out, (uint8_t)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			dr_buf_put_u8(out, (uint8_t)(0xe0 | c >> 12));
		} else {
			dr_buf_put_u8(out, (uint8_t)(0xf0 | c >> 18));
			dr_buf_put_u8(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
		}
		dr_buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
	}
	dr_buf_put_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
}

void top_grid_row(const struct top_grid *grid, unsigned y, struct dr_buf *out)
{
	unsigned w = grid->w;

	while (w && top_grid_at(grid, w - 1, y)->c == ' ') {
		w--;
	}
	for (unsigned x = 0; x < w; x++) {
		uint32_t c = top_grid_at(grid, x, y)->c;

		if (c) {
			put_utf8(out, c);
		}
	}
}
