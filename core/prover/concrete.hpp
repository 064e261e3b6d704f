// SPDX-License-Identifier: GPL-2.0-or-later
// The path of a search made concrete: a run of the policy itself, way by way.
#pragma once

#include <optional>
#include <vector>

#include "policy/any.hpp"
#include "prover/limits.hpp"
#include "prover/machine.hpp"
#include "prover/state.hpp"
#include "prover/step.hpp"

namespace l1dflush {

struct Path {
    State root;
    std::vector<Move> moves;
};

// A path in ways: the start state of the policy, the way of every move and the policy state after it.
struct Concrete {
    PolicyState start = 0;
    std::vector<int> ways;
    std::vector<PolicyState> states;
};

// The outcome with that number, of those that the policy has here.
PolicyState next_state(const AnyPolicy &policy, PolicyState state, const Move &move, int way, int branch);

// A run with the path of this machine. Nothing if there is none: the machine let any of several invalid ways be filled
// first.
std::optional<Concrete> concrete(const Machine &machine, const AnyPolicy &policy, const Path &path,
                                 const Limits &limits);

}  // namespace l1dflush
