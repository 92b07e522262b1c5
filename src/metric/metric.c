/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "metric/metric.h"

void dr_rate_update(struct dr_rate *rate, uint64_t now_ns, uint64_t value, double tau_s)
{
	if (!rate->primed) {
		*rate = (struct dr_rate){ .last_ns = now_ns, .last_value = value, .primed = true };
		return;
	}
	double dt = (double)(now_ns - rate->last_ns) / 1e9;

	if (dt < 0.05) {
		return;
	}
	/* A counter that went back is a new campaign's, or one whose results were moved to another class. */
	double now = value >= rate->last_value ? (double)(value - rate->last_value) / dt : 0;
	double weight = dt / (dt + tau_s);

	rate->per_sec += (now - rate->per_sec) * (rate->per_sec == 0 ? 1 : weight);
	rate->last_ns = now_ns;
	rate->last_value = value;
}
