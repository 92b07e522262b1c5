/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_SCRIPTS_H
#define DR_STORE_SCRIPTS_H

#include "store/store.h"

/* One for each file of lua/, embedded at build; what each takes and returns stands at its head. */
extern struct dr_script dr_script_advance;
extern struct dr_script dr_script_beat;
extern struct dr_script dr_script_claim;
extern struct dr_script dr_script_closing;
extern struct dr_script dr_script_elect;
extern struct dr_script dr_script_engine;
extern struct dr_script dr_script_forget;
extern struct dr_script dr_script_giveback;
extern struct dr_script dr_script_hsm_add;
extern struct dr_script dr_script_known;
extern struct dr_script dr_script_lead;
extern struct dr_script dr_script_leftovers;
extern struct dr_script dr_script_list;
extern struct dr_script dr_script_open;
extern struct dr_script dr_script_prime;
extern struct dr_script dr_script_rates;
extern struct dr_script dr_script_reap;
extern struct dr_script dr_script_refresh;
extern struct dr_script dr_script_register;
extern struct dr_script dr_script_reprime;
extern struct dr_script dr_script_retry;
extern struct dr_script dr_script_settle_move;
extern struct dr_script dr_script_settle_scan;
extern struct dr_script dr_script_snapshot;
extern struct dr_script dr_script_spec;
extern struct dr_script dr_script_stage;
extern struct dr_script dr_script_state;

#endif
