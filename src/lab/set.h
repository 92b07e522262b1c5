/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_LAB_SET_H
#define DR_LAB_SET_H

#include <stdint.h>

/* The word for an enum dr_lab_ost_state, as `set --state` takes it; "unknown" for any other number. */
const char *dr_set_state_name(uint32_t state);

#endif
