// SPDX-License-Identifier: GPL-2.0-or-later
// The native flushes, for Python.
#pragma once

#include <nanobind/nanobind.h>

namespace l1dflush {

void bind_native(nanobind::module_ &m);

}  // namespace l1dflush
