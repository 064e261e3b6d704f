// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/concrete.hpp"

#include <array>
#include <stdexcept>

#include "policy/reachable.hpp"
#include "policy/relative.hpp"
#include "prover/lazy_bits.hpp"

namespace l1dflush {

namespace {

bool missed(const Move &move) { return move.outcome == Outcome::miss || move.outcome == Outcome::touch_miss; }

int victim(const AnyPolicy &policy, PolicyState state) {
    int result = 0;
    policy.each_miss(state, [&](int way, PolicyState, Weight) { result = way; });
    return result;
}

// Plays the moves from `start`, finding the way of each by way_of(state, move).
template <class WayOf, class BranchOf>
Concrete play(const AnyPolicy &policy, PolicyState start, const Path &path, WayOf way_of, BranchOf branch_of) {
    Concrete result{start, {}, {}};
    PolicyState state = start;
    for (const Move &move : path.moves) {
        const int way = way_of(state, move);
        state = next_state(policy, state, move, way, branch_of(move));
        result.ways.push_back(way);
        result.states.push_back(state);
    }
    return result;
}

// Whether of several invalid ways the first is filled, and nothing is evicted while there is one.
bool fills_in_order(const AnyPolicy &policy, const Path &path, const Concrete &run) {
    unsigned invalid_ways = 0;
    for (int way = 0; way < max_ways; ++way)
        if (path.root.key.label[static_cast<std::size_t>(way)] == invalid) invalid_ways |= 1U << way;
    for (std::size_t i = 0; i < path.moves.size(); ++i)
        if (path.moves[i].was_invalid && path.moves[i].source == Move::Source::start) invalid_ways |= 1U << run.ways[i];
    for (std::size_t i = 0; i < path.moves.size(); ++i) {
        const Move &move = path.moves[i];
        if (move.outcome == Outcome::flushed) invalid_ways |= 1U << run.ways[i];
        if (!missed(move)) continue;
        if (move.was_invalid != (invalid_ways != 0)) return false;
        if (move.was_invalid && policy.invalid_way(invalid_ways) != run.ways[i]) return false;
        invalid_ways &= ~(1U << run.ways[i]);
    }
    return true;
}

// Of all states that look the same from their pointers the first one whose invalid ways are filled in order.
std::optional<Concrete> from_positions(const AnyPolicy &policy, const Path &path, const Limits &limits) {
    auto from = [&](PolicyState start) {
        return play(
            policy, start, path,
            [&](PolicyState state, const Move &move) { return way_at(policy, state, move.place); },
            [](const Move &move) { return int{move.branch}; });
    };
    Concrete run = from(policy.representative(path.root.key.policy));
    if (fills_in_order(policy, path, run)) return run;
    if (policy.facts.interchangeable) {
        // Number the ways in the order in which they are filled.
        std::array<int, max_ways> names{};
        names.fill(-1);
        int next = 0;
        auto name = [&](int way) {
            if (names[static_cast<std::size_t>(way)] < 0) names[static_cast<std::size_t>(way)] = next++;
        };
        for (std::size_t i = 0; i < path.moves.size(); ++i)
            if (path.moves[i].was_invalid) name(run.ways[i]);
        for (int way = 0; way < policy.ways(); ++way) name(way);
        run.start = policy.renamed(run.start, names);
        for (int &way : run.ways) way = names[static_cast<std::size_t>(way)];
        for (PolicyState &state : run.states) state = policy.renamed(state, names);
        if (fills_in_order(policy, path, run)) return run;
    } else {
        for (const PolicyState start : full_set_states(policy, limits)) {
            if (policy.residue(start) != path.root.key.policy) continue;
            run = from(start);
            if (fills_in_order(policy, path, run)) return run;
        }
    }
    return std::nullopt;
}

// The bits that the run left open: the first start state whose victims are the path's. The essay of LazyBitMachine
// promises that there is one. Its branches settle bits; the policy itself has one outcome.
Concrete from_lazy_bits(const AnyPolicy &policy, const Path &path, const Limits &limits) {
    const unsigned all = (1U << policy.ways()) - 1U;
    for (unsigned start = 1; start < all; ++start) {
        limits.poll_now_and_then(start);
        bool fits = true;
        Concrete result = play(
            policy, start, path,
            [&](PolicyState state, const Move &move) {
                fits = fits && (!missed(move) || move.was_invalid || victim(policy, state) == move.place);
                return int{move.place};
            },
            [](const Move &) { return 0; });
        if (fits) return result;
    }
    throw std::logic_error("no start state fits the counterexample");
}

}  // namespace

PolicyState next_state(const AnyPolicy &policy, PolicyState state, const Move &move, int way, int branch) {
    PolicyState result = state;
    int number = 0;
    auto take = [&](PolicyState next) {
        if (number++ == branch) result = next;
    };
    if (move.outcome == Outcome::hit || move.outcome == Outcome::touch_hit)
        policy.each_hit(state, way, take);
    else if (missed(move) && move.was_invalid)
        policy.each_fill(state, way, [&](PolicyState next, Weight) { take(next); });
    else if (missed(move))
        policy.each_miss(state, [&](int, PolicyState next, Weight) { take(next); });
    return result;
}

std::optional<Concrete> concrete(const Machine &machine, const AnyPolicy &policy, const Path &path,
                                 const Limits &limits) {
    if (!machine.in_ways) return from_positions(policy, path, limits);
    if (dynamic_cast<const LazyBitMachine *>(&machine) != nullptr) return from_lazy_bits(policy, path, limits);
    return play(
        policy, path.root.key.policy, path, [](PolicyState, const Move &move) { return int{move.place}; },
        [](const Move &move) { return int{move.branch}; });
}

}  // namespace l1dflush
