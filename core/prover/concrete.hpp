// The path of a search made concrete: a run of the policy itself, way by way.
#pragma once

#include <optional>
#include <vector>

#include "policy/any.hpp"
#include "prover/lazy_bits.hpp"
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

// Of all states that look the same from their pointers the first one whose invalid ways are filled in order. Nothing
// if there is none: the machine let any of them be filled first.
std::optional<Concrete> concrete(const RelativeMachine &machine, const AnyPolicy &policy, const Path &path,
                                 const Limits &limits);
std::optional<Concrete> concrete(const AbsoluteMachine &machine, const AnyPolicy &policy, const Path &path,
                                 const Limits &limits);
// The bits that the run left open: the first start state whose victims are the path's. The essay of LazyBitMachine
// promises that there is one. Its branches settle bits; the policy itself has one outcome.
std::optional<Concrete> concrete(const LazyBitMachine &machine, const AnyPolicy &policy, const Path &path,
                                 const Limits &limits);

}  // namespace l1dflush
