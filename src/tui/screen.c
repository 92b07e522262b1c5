/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/screen.h"

#include "tui/keys.h"

#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <wchar.h>

#define NCURSES_WIDECHAR 1
#include <term.h>

#include <curses.h>

enum { PAIR_RED = 1, PAIR_GREEN, PAIR_YELLOW, PAIR_CYAN };

#define DEFAULT_W 80
#define DEFAULT_H 24
#define MAX_SIDE 1000 /* columns or rows; what a terminal says may be anything */

/* The one terminal there is: signal handlers reach nothing else. */
static struct {
	SCREEN *screen; /* NULL: not open */
	bool has_color, utf8;
	/* For a crash: */
	struct termios termios;
	char reset[256];
	size_t reset_len;
} term;

static void put_back(int number)
{
	if (term.reset_len) {
		(void)!write(STDOUT_FILENO, term.reset, term.reset_len);
	}
	(void)tcsetattr(STDOUT_FILENO, TCSANOW, &term.termios);
	(void)signal(number, SIG_DFL);
	(void)raise(number);
}

static void add_reset(const char *name)
{
	char key[16];

	(void)snprintf(key, sizeof(key), "%s", name);
	const char *text = tigetstr(key);

	/* (char *)-1 says that name is no string of any terminal. */
	if (text && text != (const char *)-1 && // NOLINT(performance-no-int-to-ptr)
		term.reset_len + strlen(text) < sizeof(term.reset)) {
		memcpy(term.reset + term.reset_len, text, strlen(text));
		term.reset_len += strlen(text);
	}
}

static void prepare_for_crash(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

	term.reset_len = 0;
	add_reset("sgr0");
	add_reset("cnorm");
	add_reset("rmcup");
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		(void)signal(signals[i], put_back);
	}
}

bool top_screen_is_possible(void)
{
	const char *name = getenv("TERM"); // NOLINT(concurrency-mt-unsafe)

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && name && *name &&
	       strcmp(name, "dumb") != 0;
}

static void prepare_colors(void)
{
	const char *no_color = getenv("NO_COLOR"); // NOLINT(concurrency-mt-unsafe)

	term.has_color = false;
	if ((no_color && *no_color) || !has_colors() || start_color() == ERR) {
		return;
	}
	(void)use_default_colors();
	term.has_color = init_pair(PAIR_RED, COLOR_RED, -1) != ERR &&
			 init_pair(PAIR_GREEN, COLOR_GREEN, -1) != ERR &&
			 init_pair(PAIR_YELLOW, COLOR_YELLOW, -1) != ERR &&
			 init_pair(PAIR_CYAN, COLOR_CYAN, -1) != ERR;
}

static void set_modes(void)
{
	(void)cbreak();
	(void)noecho();
	(void)nonl();
	(void)intrflush(stdscr, FALSE);
	(void)keypad(stdscr, TRUE);
	(void)nodelay(stdscr, TRUE);
	(void)set_escdelay(25); /* over ssh, too, the bytes of one key come together */
}

int top_screen_open(void)
{
	if (tcgetattr(STDOUT_FILENO, &term.termios) < 0) {
		return -ENOTTY;
	}
	term.screen = newterm(NULL, stdout, stdin);
	if (!term.screen) {
		return -ENOTTY;
	}
	const char *move = tigetstr((char[]){ "cup" });

	if (!move || move == (const char *)-1) { // NOLINT(performance-no-int-to-ptr)
		top_screen_close();
		return -ENOTTY;
	}
	term.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	set_modes();
	prepare_colors();
	prepare_for_crash();
	top_screen_resize();
	return 0;
}

void top_screen_close(void)
{
	if (term.screen) {
		(void)curs_set(1);
		(void)endwin();
		delscreen(term.screen);
		term.screen = NULL;
	}
}

void top_screen_resize(void)
{
	struct winsize size;
	int w = DEFAULT_W, h = DEFAULT_H;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
		w = size.ws_col < MAX_SIDE ? size.ws_col : MAX_SIDE;
		h = size.ws_row < MAX_SIDE ? size.ws_row : MAX_SIDE;
	}
	if (w != COLS || h != LINES) {
		(void)resizeterm(h, w);
	}
}

void top_screen_grid(struct top_grid *ret_grid)
{
	int w = getmaxx(stdscr), h = getmaxy(stdscr);

	top_grid_init(ret_grid, w > 0 ? (unsigned)w : 1, h > 0 ? (unsigned)h : 1, term.utf8);
}

static attr_t attr_of(unsigned attr)
{
	return (attr & TOP_BOLD ? A_BOLD : 0) | (attr & TOP_DIM ? A_DIM : 0) |
	       (attr & TOP_REVERSE ? A_REVERSE : 0);
}

static short pair_of(unsigned attr)
{
	if (!term.has_color) {
		return 0;
	}
	return attr & TOP_RED      ? PAIR_RED
	       : attr & TOP_YELLOW ? PAIR_YELLOW
	       : attr & TOP_GREEN  ? PAIR_GREEN
	       : attr & TOP_CYAN   ? PAIR_CYAN
				   : 0;
}

static void draw_cell(const struct top_grid *grid, unsigned x, unsigned y)
{
	const struct top_cell *cell = top_grid_at(grid, x, y);
	wchar_t text[2] = { (wchar_t)cell->c, 0 };
	cchar_t c;

	/* The last cell of the screen cannot move the cursor on: curses says ERR, and has drawn it. */
	if (cell->c && setcchar(&c, text, attr_of(cell->attr), pair_of(cell->attr), NULL) == OK) {
		(void)mvadd_wch((int)y, (int)x, &c);
	}
}

void top_screen_draw(const struct top_grid *grid, bool all)
{
	(void)erase();
	if (all) {
		(void)clearok(curscr, TRUE);
	}
	for (unsigned y = 0; y < grid->h; y++) {
		for (unsigned x = 0; x < grid->w; x++) {
			draw_cell(grid, x, y);
		}
	}
	(void)curs_set(grid->has_cursor);
	(void)move((int)grid->cursor_y, (int)grid->cursor_x);
	(void)refresh();
}

static uint32_t key_of(wint_t code)
{
	switch (code) {
	case KEY_UP:
		return TOP_KEY_UP;
	case KEY_DOWN:
		return TOP_KEY_DOWN;
	case KEY_PPAGE:
		return TOP_KEY_PAGE_UP;
	case KEY_NPAGE:
		return TOP_KEY_PAGE_DOWN;
	case KEY_HOME:
		return TOP_KEY_HOME;
	case KEY_END:
		return TOP_KEY_END;
	case KEY_ENTER:
		return TOP_KEY_ENTER;
	case KEY_BACKSPACE:
	case KEY_DC:
		return TOP_KEY_BACKSPACE;
	case KEY_F(1):
		return TOP_KEY_HELP;
	default:
		return 0;
	}
}

bool top_screen_key(uint32_t *ret_key)
{
	wint_t c = 0;
	int r = get_wch(&c);

	if (r == ERR) {
		return false;
	}
	*ret_key = r == KEY_CODE_YES ? key_of(c) : c == '\r' ? TOP_KEY_ENTER : (uint32_t)c;
	return true;
}

void top_screen_suspend(void)
{
	(void)curs_set(1);
	(void)endwin();
}

void top_screen_resume(void)
{
	(void)refresh(); /* curses takes the terminal again */
	top_screen_resize();
}
