// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nanobind/nanobind.h>

namespace l1dflush {

// Adds the classes Value and Terms.
void bind_terms(nanobind::module_ &m);

}  // namespace l1dflush
