// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nanobind/nanobind.h>

namespace l1dflush {

void bind_layers(nanobind::module_ &m);

}  // namespace l1dflush
