// SPDX-License-Identifier: GPL-2.0-or-later
// Policies by canonical name.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "policy/any.hpp"
#include "policy/mealy.hpp"

namespace l1dflush {

// Which policy is meant: one of ours by its canonical name, or a machine from a file.
using PolicyChoice = std::variant<std::string, Mealy>;

// Throws std::invalid_argument for an unknown name or a wrong number of ways.
std::unique_ptr<const AnyPolicy> make_policy(const PolicyChoice &choice, int ways);

}  // namespace l1dflush
