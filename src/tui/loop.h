/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TUI_LOOP_H
#define DR_TUI_LOOP_H

#include "tui/source.h"

/* Shows the source on the screen, which is open, until the user has enough or a signal ends it. @return 0; -ENOMEM, -EIO and the like */
dr_nodiscard int top_loop(struct top_source *source, struct top_model *model, int signal_fd);

/* Blocks the signals that end, stop or resize it; they come by the descriptor. @return the descriptor; negative errno */
dr_nodiscard int top_loop_signals(void);

#endif
