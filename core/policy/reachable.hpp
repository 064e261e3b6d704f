// SPDX-License-Identifier: GPL-2.0-or-later
// The policy states that starts are made of.
#pragma once

#include <utility>
#include <vector>

#include "policy/any.hpp"
#include "prover/limits.hpp"

namespace l1dflush {

// The start states of `any`: every policy state of a full set that was filled from empty.
//
// Enumerated, never taken from a formula: from the empty set, misses fill the invalid ways in the policy's order with
// any hits on valid ways in between; in the full set any hit and any miss. A machine that does not say what filling an
// invalid way does begins with a full set, in its own start state.
std::vector<PolicyState> full_set_states(const AnyPolicy &policy, const Limits &limits);

// Policy state and valid ways (a bit set) of a set.
using SetState = std::pair<PolicyState, unsigned>;

// The start states of `invalidations`: all that hits, misses and invalidations lead to from the empty set.
std::vector<SetState> all_set_states(const AnyPolicy &policy, const Limits &limits);

}  // namespace l1dflush
