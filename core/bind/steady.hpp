// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nanobind/nanobind.h>

namespace l1dflush {

// Adds the question about protocols that are played again and again.
void bind_steady(nanobind::module_ &m);

}  // namespace l1dflush
