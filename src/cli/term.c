/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/term.h"

#include <langinfo.h>
#include <string.h>
#include <sys/ioctl.h>

bool term_is_live(FILE *stream)
{
	const char *term = getenv("TERM");

	return isatty(fileno(stream)) && term && *term && strcmp(term, "dumb") != 0;
}

void term_view(struct render_view *ret_view)
{
	const char *no_color = getenv("NO_COLOR");
	struct winsize size;

	*ret_view = (struct render_view){
		.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
	};
	if (!isatty(STDOUT_FILENO)) {
		return;
	}
	ret_view->columns = 80;
	ret_view->rows = 24;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
		ret_view->columns = size.ws_col;
		ret_view->rows = size.ws_row;
	}
	ret_view->color = term_is_live(stdout) && !(no_color && *no_color);
}

void term_frame(const struct dr_buf *frame, const struct render_view *view, bool first)
{
	if (!term_is_live(stdout)) {
		(void)fprintf(stdout, "%s%.*s", first ? "" : "\n", (int)frame->len,
			(const char *)frame->data);
		(void)fflush(stdout);
		return;
	}
	/* Home, then each line over the old one, then clear what is left below: nothing flickers. */
	(void)fputs(first ? "\033[H\033[2J" : "\033[H", stdout);
	for (size_t i = 0, lines = 1; i < frame->len; i++) {
		if (frame->data[i] == '\n') {
			(void)fputs("\033[K", stdout);
			if (++lines == view->rows) {
				(void)fputc('\n', stdout);
				break; /* one more would scroll, and home be elsewhere */
			}
		}
		(void)fputc(frame->data[i], stdout);
	}
	(void)fputs("\033[J", stdout);
	(void)fflush(stdout);
}
