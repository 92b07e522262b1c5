/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_REPLAY_H
#define DR_HSM_REPLAY_H

#include "hsm/live.h"

/*
 * Takes all that a reader of DR_READER_ONCE gives.
 * @param patience_ms how long it tries while there is no server
 * @error ENOTCONN, EAGAIN, EACCES, EPROTO as dr_reader_next(); ECANCELED; ENOMEM
 */
dr_nodiscard int dr_live_replay(
	struct dr_live *live, struct dr_reader *reader, unsigned patience_ms);

/* What such an error is, for people: "no server answers there". */
const char *dr_reader_why(int r);

#endif
