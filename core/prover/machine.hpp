// Ways to carry the policy along in a search. Each "machine" offers
//
//   int ways()
//   starts(out)                       out(State): the start states, all ways unknown
//   hit(state, p, out)                out(State): after a hit at p
//   fill(state, p, out)               out(State): after filling the invalid way p
//   evict(state, open, settle, out)   out(victim, State): after a miss in a full set, for each victim that is possible;
//                                     settle(State&, victim) puts the new line there, before the policy is updated.
//                                     `open`: the line might as well have been cached from the start. A machine
//                                     may then leave out what a hit of the line does just as well
//   hit_unknown(state, more, settle, out)   out(p, State): after a hit in an unknown way, for every unknown way
//   flush_unknown(state, out)         out(p, State): after flushing an unknown way, for every unknown way
//   unknown(state)                    how many ways are unknown
//   in_ways                           whether p is a way number (true) or a position (false)
//
// Here are the two that suit any policy; bit-PLRU has two of its own (lazy_bits.hpp, nameless.hpp).
#pragma once

#include <concepts>

#include "policy/reachable.hpp"
#include "policy/relative.hpp"
#include "prover/limits.hpp"
#include "prover/state.hpp"

namespace l1dflush {

// For machines that know of every way what is in it: one after the other.
template <class Machine>
class NamedWays {
public:
    template <class Settle, class Out>
    void hit_unknown(const State &state, bool /*more*/, Settle settle, Out out) const {
        for (int p = 0; p < self().ways(); ++p) {
            if (!is_unknown(state, p)) continue;
            State found = state;
            settle(found, p);
            self().hit(found, p, [&](const State &next) { out(p, next); });
        }
    }
    template <class Out>
    void flush_unknown(const State &state, Out out) const {
        for (int p = 0; p < self().ways(); ++p)
            if (is_unknown(state, p)) out(p, flushed(state, p));
    }
    int unknown(const State &state) const { return count_unknown(state, self().ways()); }

private:
    const Machine &self() const { return static_cast<const Machine &>(*this); }
};

// The policy state as it is: always possible, for as many start states as there are.
template <class P>
class AbsoluteMachine : public NamedWays<AbsoluteMachine<P>> {
public:
    static constexpr bool in_ways = true;

    AbsoluteMachine(const P &policy, const Limits &limits)
        : policy_(policy), starts_(full_set_states(policy, limits)) {}

    int ways() const { return policy_.ways(); }

    template <class Out>
    void starts(Out out) const {
        for (const PolicyState policy : starts_) {
            State state;
            state.key.policy = policy;
            out(state);
        }
    }
    template <class Out>
    void hit(State state, int way, Out out) const {
        state.key.policy = policy_.hit(state.key.policy, way);
        out(state);
    }
    template <class Out>
    void fill(State state, int way, Out out) const {
        state.key.policy = policy_.fill(state.key.policy, way);
        out(state);
    }
    template <class Settle, class Out>
    void evict(State state, bool /*open*/, Settle settle, Out out) const {
        const int victim = policy_.victim(state.key.policy);
        settle(state, victim);
        state.key.policy = policy_.fill(state.key.policy, victim);
        out(victim, state);
    }

private:
    P policy_;
    std::vector<PolicyState> starts_;
};

// No policy state: contents are kept by position (relative.hpp). Positions do not tell which of two invalid ways a
// miss fills; where that is asked the search starts again with the absolute machine (NeedsAbsoluteWays).
class RelativeMachine : public NamedWays<RelativeMachine> {
public:
    static constexpr bool in_ways = false;

    explicit RelativeMachine(const RelativeTables &tables) : tables_(tables) {}

    int ways() const { return tables_.ways; }

    template <class Out>
    void starts(Out out) const {
        out(State{});
    }
    template <class Out>
    void hit(const State &state, int position, Out out) const {
        out(moved(state, tables_.hit_from[position]));
    }
    template <class Out>
    void fill(const State &state, int position, Out out) const {
        out(moved(state, tables_.fill_from[position]));
    }
    template <class Settle, class Out>
    void evict(State state, bool /*open*/, Settle settle, Out out) const {
        settle(state, tables_.victim);
        out(tables_.victim, moved(state, tables_.fill_from[tables_.victim]));
    }

private:
    State moved(const State &from, const RelativeTables::Permutation &old_position) const {
        State to;
        to.key.gone = from.key.gone;
        for (int i = 0; i < tables_.ways; ++i) {
            to.key.label[i] = from.key.label[old_position[i]];
            to.mask |= ((from.mask >> old_position[i]) & 1U) << i;
        }
        return to;
    }

    RelativeTables tables_;
};

}  // namespace l1dflush
