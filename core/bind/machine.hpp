// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nanobind/nanobind.h>

namespace l1dflush {

// Adds the class Machine, its exception and BASE numbers.
void bind_machine(nanobind::module_ &m);

}  // namespace l1dflush
