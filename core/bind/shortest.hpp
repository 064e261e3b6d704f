// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nanobind/nanobind.h>

namespace l1dflush {

// Adds the function complete_words.
void bind_shortest(nanobind::module_ &m);

}  // namespace l1dflush
