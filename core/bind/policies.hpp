// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nanobind/nanobind.h>

namespace l1dflush {

// Adds the class Mealy and the functions policy_*.
void bind_policies(nanobind::module_ &m);

}  // namespace l1dflush
