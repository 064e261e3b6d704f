// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nanobind/nanobind.h>

namespace l1dflush {

// Adds the functions chance and chance_curve.
void bind_chance(nanobind::module_ &m);

}  // namespace l1dflush
