/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/replay.h"

int dr_live_replay(struct dr_live *live, struct dr_reader *reader, unsigned patience_ms)
{
	const struct dr_reader_event *event;
	int r;

	while ((r = dr_reader_next(reader, (int)patience_ms, &event)) > 0) {
		r = dr_live_take(live, event);
		if (r < 0) {
			break;
		}
	}
	return r;
}

const char *dr_reader_why(int r)
{
	switch (r) {
	case -ENOTCONN:
		return "no server answers";
	case -EAGAIN:
		return "the server still loads its data";
	case -EACCES:
		return "the server refuses user, password or permission";
	case -EPROTO:
		return "it is no server that will do";
	case -ENOMEM:
		return "out of memory";
	default:
		return strerrordesc_np(-r);
	}
}
