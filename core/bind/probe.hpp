// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nanobind/nanobind.h>

namespace l1dflush {

// Adds CHAIN_CYCLES, FLUSH_PAGE, CONTROL_SETS, CONTROL_PAGES, MOST_STEPS and MOST_TIMED, and where there is native code
// the class Region and time_stamp().
void bind_probe(nanobind::module_ &m);

}  // namespace l1dflush
