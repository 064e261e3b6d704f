// SPDX-License-Identifier: GPL-2.0-or-later
// Ways to carry the policy along in a search.
//
// A search that takes a `const Machine &` is compiled once. Where the most time is spent (`advance` in search.cpp, and
// shortest.cpp) it is known which machine it is, so that what a machine does becomes a part of the loop.
//
// Here are the two machines that suit any policy; bit-PLRU has two of its own (lazy_bits.hpp, nameless.hpp).
#pragma once

#include <bit>
#include <unordered_set>

#include "policy/reachable.hpp"
#include "policy/relative.hpp"
#include "prover/limits.hpp"
#include "prover/start.hpp"
#include "prover/state.hpp"

namespace l1dflush {

// Whoever is told what may follow: states, the place of what happened (a way or a position) and the chance of the branch.
using ToState = Out<const State &>;
using ToBranch = Out<const State &, Weight>;
using ToPlace = Out<int, const State &>;
using ToVictim = Out<int, const State &, Weight>;
// Puts the line that comes in at a place.
using Settle = Out<State &, int>;

class Machine {
public:
    virtual ~Machine() = default;

    const bool in_ways;  // whether a place is a way number (true) or a position (false)

    virtual int ways() const = 0;
    // Whether it is known what filling an invalid way does.
    virtual bool has_fills() const { return true; }
    // Which of several invalid ways (a bit set) is filled first, if in_ways.
    virtual int first_invalid(unsigned ways) const { return first_filled(ways, false); }
    // If not: whether any of them may be.
    virtual bool any_order() const { return false; }

    // The start states, all ways unknown (or known to be invalid).
    virtual void starts(ToState out) const = 0;
    virtual void hit(const State &state, int place, ToState out) const = 0;
    // After filling the invalid way there.
    virtual void fill(const State &state, int place, ToBranch out) const = 0;
    // After a miss in a full set, for each victim that is possible; `settle` puts the new line there, before the policy
    // is updated. `open`: the line might as well have been cached from the start. A machine may then leave out what a
    // hit of the line does just as well.
    virtual void evict(const State &state, bool open, Settle settle, ToVictim out) const = 0;
    // After a hit in an unknown way, for every unknown way.
    virtual void hit_unknown(const State &state, bool more, Settle settle, ToPlace out) const = 0;
    // After flushing an unknown way, for every unknown way.
    virtual void flush_unknown(const State &state, ToPlace out) const = 0;
    // How many ways are unknown.
    virtual int unknown(const State &state) const = 0;

protected:
    explicit Machine(bool in_ways) : in_ways(in_ways) {}
};

// For machines that know of every way what is in it: one after the other.
template <class Derived>
class NamedWays : public Machine {
public:
    void hit_unknown(const State &state, bool /*more*/, Settle settle, ToPlace out) const override {
        for (int p = 0; p < self().ways(); ++p) {
            if (!is_unknown(state, p)) continue;
            State found = state;
            settle(found, p);
            self().hit(found, p, [&](const State &next) { out(p, next); });
        }
    }
    void flush_unknown(const State &state, ToPlace out) const override {
        for (int p = 0; p < self().ways(); ++p)
            if (is_unknown(state, p)) out(p, flushed(state, p));
    }
    int unknown(const State &state) const override { return count_unknown(state, self().ways()); }

protected:
    using Machine::Machine;

private:
    const Derived &self() const { return static_cast<const Derived &>(*this); }
};

// The policy state as it is: always possible, for as many start states as there are.
class AbsoluteMachine final : public NamedWays<AbsoluteMachine> {
public:
    AbsoluteMachine(const AnyPolicy &policy, Start start, const Limits &limits)
        : NamedWays(true), policy_(policy), start_(start), limits_(limits) {}

    int ways() const override { return policy_.ways(); }
    bool has_fills() const override { return policy_.facts.has_fills; }
    int first_invalid(unsigned ways) const override { return policy_.invalid_way(ways); }

    void starts(ToState out) const override {
        State state;
        if (start_ == Start::invalidations) {
            if (!has_fills()) throw UnknownFill();
            for (const auto &[policy, valid] : all_set_states(policy_, limits_)) {
                state = State{};
                state.key.policy = policy;
                for (int way = 0; way < ways(); ++way)
                    if (!((valid >> way) & 1U)) state.key.label[static_cast<std::size_t>(way)] = invalid;
                mark_all_valid(state);
                out(state);
            }
            return;
        }
        mark_valid(state, start_ == Start::any ? 0xFFFFU : 0xFFFFU << ways());
        for (const PolicyState policy : full_set_states(policy_, limits_)) {
            state.key.policy = policy;
            out(state);
        }
    }
    void hit(const State &state, int way, ToState out) const override {
        State to = state;
        policy_.each_hit(state.key.policy, way, [&](PolicyState next) {
            to.key.policy = next;
            out(to);
        });
    }
    void fill(const State &state, int way, ToBranch out) const override {
        State to = state;
        policy_.each_fill(state.key.policy, way, [&](PolicyState next, Weight weight) {
            to.key.policy = next;
            out(to, weight);
        });
    }
    void evict(const State &state, bool /*open*/, Settle settle, ToVictim out) const override {
        policy_.each_miss(state.key.policy, [&](int victim, PolicyState next, Weight weight) {
            State to = state;
            settle(to, victim);
            to.key.policy = next;
            out(victim, to, weight);
        });
    }

private:
    const AnyPolicy &policy_;
    Start start_;
    Limits limits_;
};

// Contents are kept by position (relative.hpp), and of the policy state only the residue.
//
// Positions do not tell which of two invalid ways a miss fills. Where that is asked the search starts again with the
// absolute machine (NeedsAbsoluteWays). It is not asked in two cases:
//   - Filling an invalid way does to the policy what a hit does, no line is accessed after a FLUSH of it, and any line
//     may be cached at the start. Then ways that are invalid at the start add nothing, and the start `any` will do: compare a run that fills p, invalid since
//     the start, with the one in which p holds the line that fills it, or an old line if it is a touch that fills it.
//     What p goes through is the same. It is the first access of that line: all that were accessed before are still
//     cached, because nothing is evicted while a way is invalid, and none of those flushed comes back. Ways that become
//     invalid during the word are filled in the same order in both runs.
//   - The ways are interchangeable (any renaming of the ways is a symmetry). Then a run may fill invalid ways in any
//     order: number the ways in that order at the start. (Not so if ways become invalid during the word as well, but
//     for LRU: there it never matters which of them is filled, because where an empty way stands in the order means
//     nothing until it is filled, and then it comes first.)
// With the start `invalid` this machine lets any of the invalid ways be filled first. Where the ways are not
// interchangeable that is more than can happen, and a run must be checked (witness.hpp).
class RelativeMachine final : public NamedWays<RelativeMachine> {
public:
    RelativeMachine(const AnyPolicy &policy, Start start, const Limits &limits)
        : NamedWays(false), policy_(policy), start_(start), limits_(limits) {}

    int ways() const override { return policy_.ways(); }
    // Whether of several invalid ways any may be filled first, rather than the lowest.
    bool any_order() const override { return start_ != Start::any || policy_.facts.fill_order_is_free; }

    // Whether filling an invalid way does what a hit in it does, in every state.
    bool fills_like_hits() const {
        for (const PolicyState r : residues()) {
            const RelativeTable &table = tables_.at(r);
            for (std::size_t p = 0; p < static_cast<std::size_t>(ways()); ++p)
                if (table.hit[p] != table.fill[p]) return false;
        }
        return true;
    }

    void starts(ToState out) const override {
        State state;
        mark_valid(state, start_ == Start::any ? 0xFFFFU : 0xFFFFU << ways());
        for (const PolicyState r : residues()) {
            state.key.policy = r;
            out(state);
        }
    }
    void hit(const State &state, int position, ToState out) const override {
        for (const auto &change : tables_.at(state.key.policy).hit[static_cast<std::size_t>(position)])
            out(moved(state, change));
    }
    void fill(const State &state, int position, ToBranch out) const override {
        for (const auto &change : tables_.at(state.key.policy).fill[static_cast<std::size_t>(position)])
            out(moved(state, change), change.weight);
    }
    void evict(const State &state, bool /*open*/, Settle settle, ToVictim out) const override {
        for (const auto &miss : tables_.at(state.key.policy).miss) {
            State to = state;
            settle(to, miss.victim);
            out(miss.victim, moved(to, miss.change), miss.change.weight);
        }
    }

private:
    // The residues of a full set: what `any` starts with.
    const std::vector<PolicyState> &residues() const {
        if (!residues_.empty()) return residues_;
        if (!policy_.facts.has_residue) {
            residues_.push_back(0);
        } else {
            std::unordered_set<PolicyState> seen;
            for (const PolicyState state : full_set_states(policy_, limits_))
                if (seen.insert(policy_.residue(state)).second) residues_.push_back(policy_.residue(state));
        }
        return residues_;
    }

    State moved(const State &from, const RelativeTable::Change &change) const {
        State to;
        to.key.gone = from.key.gone;
        to.key.policy = change.residue;
        unsigned valid = 0xFFFFU << ways();
        for (int i = 0; i < ways(); ++i) {
            const int old = change.from[static_cast<std::size_t>(i)];
            to.key.label[static_cast<std::size_t>(i)] = from.key.label[static_cast<std::size_t>(old)];
            to.mask |= ((from.mask >> old) & 1U) << i;
            valid |= static_cast<unsigned>((from.mask >> (valid_shift + old)) & 1U) << i;
        }
        mark_valid(to, start_ == Start::any ? 0xFFFFU : valid);
        return to;
    }

    const AnyPolicy &policy_;
    Start start_;
    Limits limits_;
    mutable std::vector<PolicyState> residues_;
    RelativeTables tables_{policy_};
};

}  // namespace l1dflush
