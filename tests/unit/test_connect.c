/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/connect.h"

#include "unit.h"

START_TEST(placeholder)
{
}
END_TEST

DR_UNIT_MAIN("connect", placeholder)
