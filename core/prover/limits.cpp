// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/limits.hpp"

namespace l1dflush {

StateSpaceTooLarge::StateSpaceTooLarge(std::size_t limit)
    : std::runtime_error("more than " + std::to_string(limit) + " states") {}

}  // namespace l1dflush
