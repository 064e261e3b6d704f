// SPDX-License-Identifier: GPL-2.0-or-later
// The policy in a search with explicit contents: as it is, or with the contents seen by position (relative.hpp).
//
// A search is the same for all of them, and compiled once: it sees the class SteadyView.
//
// A miss that finds several invalid ways fills the lowest (or highest), which positions do not tell. What a relative
// view does then is its Order:
//
//   one     such a miss is not looked at, and nobody makes a second way invalid: every run is a real one, but some
//           real runs are left out;
//   every   any of the invalid ways may be filled: every real run is there, and perhaps more.
//
// Where no way is ever invalid the two are the same. Else the answers of `one` and `every` enclose the true one.
#pragma once

#include <array>
#include <unordered_map>
#include <vector>

#include "policy/reachable.hpp"
#include "policy/relative.hpp"
#include "prover/limits.hpp"
#include "prover/steady_state.hpp"
#include "prover/step.hpp"

namespace l1dflush {

enum class Order { one, every };

// What happened at one item, at one touch, or between two flushes. The first are those of step.hpp.
enum class SteadyOutcome : std::uint8_t { others_hit = 7, others_miss = 8, invalidated = 9 };

struct Event {
    std::uint8_t outcome = 0;
    std::uint8_t place = 0;  // the way, or for relative views the position at that moment
    std::uint8_t branch = 0;
    bool was_invalid = false;
    std::uint8_t label = old_line;  // what others brought in

    template <class Kind>
    bool is(Kind kind) const {
        return outcome == static_cast<std::uint8_t>(kind);
    }
};

// What one access may lead to; nearly always one thing, so the first few need no memory of their own.
template <std::size_t W>
class Nexts {
public:
    struct Next {
        SteadyState<W> state;
        std::uint8_t place;
        std::uint8_t branch;
        bool was_invalid;
    };
    void add(const SteadyState<W> &state, int place, bool was_invalid) {
        const Next next{state, static_cast<std::uint8_t>(place), branch_++, was_invalid};
        if (size_ < first_.size())
            first_[size_++] = next;
        else
            more_.push_back(next);
    }
    // Outcomes are numbered as the policy gives them, anew in each way that may be filled.
    void restart() { branch_ = 0; }
    template <class Use>
    void for_each(Use use) const {
        for (std::size_t i = 0; i < size_; ++i) use(first_[i]);
        for (const Next &next : more_) use(next);
    }

private:
    std::array<Next, 4> first_;
    std::size_t size_ = 0;
    std::uint8_t branch_ = 0;
    std::vector<Next> more_;
};

template <std::size_t W>
class SteadyView {
public:
    using State = SteadyState<W>;

    virtual ~SteadyView() = default;
    virtual int ways() const = 0;
    virtual bool one_invalid() const = 0;
    // `label` in all ways of every full set; or, with `invalid`, in the valid ways of every set that hits, misses and
    // invalidations lead to.
    virtual std::vector<State> starts(std::uint8_t label, bool invalid) const = 0;
    virtual void hit(const State &state, int place, Nexts<W> &nexts) const = 0;
    virtual void miss(const State &state, std::uint8_t label, Nexts<W> &nexts) const = 0;

    // To tell a run in ways and policy states.
    virtual PolicyState first_policy(const State &state) const = 0;
    virtual int way_of(PolicyState policy, int place) const = 0;
    virtual PolicyState after(PolicyState state, const Event &event, int way) const = 0;
    virtual std::vector<int> numbers(PolicyState state) const = 0;
};

// What the two have in common.
template <std::size_t W>
class ViewOf : public SteadyView<W> {
public:
    using State = SteadyState<W>;

    int ways() const override { return policy_.ways(); }
    std::vector<int> numbers(PolicyState state) const override { return policy_.numbers(state); }
    PolicyState after(PolicyState state, const Event &event, int way) const override {
        PolicyState result = state;
        int number = 0;
        auto take = [&](PolicyState next) {
            if (number++ == event.branch) result = next;
        };
        if (event.is(Outcome::hit) || event.is(Outcome::touch_hit) || event.is(SteadyOutcome::others_hit)) {
            policy_.each_hit(state, way, take);
        } else if (event.is(Outcome::miss) || event.is(Outcome::touch_miss) || event.is(SteadyOutcome::others_miss)) {
            if (event.was_invalid)
                policy_.each_fill(state, way, [&](PolicyState next, Weight) { take(next); });
            else
                policy_.each_miss(state, [&](int, PolicyState next, Weight) { take(next); });
        }
        return result;
    }

protected:
    ViewOf(const AnyPolicy &policy, const Limits &limits) : policy_(policy), limits_(limits) {}
    static std::size_t at(int place) { return static_cast<std::size_t>(place); }

    const AnyPolicy &policy_;
    Limits limits_;
};

template <std::size_t W>
class AbsoluteView : public ViewOf<W> {
public:
    using State = SteadyState<W>;

    AbsoluteView(const AnyPolicy &policy, const Limits &limits) : ViewOf<W>(policy, limits) {}

    bool one_invalid() const override { return false; }

    std::vector<State> starts(std::uint8_t valid_label, bool invalid) const override {
        std::vector<State> found;
        auto start = [&](PolicyState policy, unsigned valid) {
            State state{};
            state.policy = policy;
            for (int way = 0; way < ways(); ++way) state.label[at(way)] = (valid >> way) & 1U ? valid_label : no_line;
            found.push_back(state);
        };
        if (invalid && policy_.facts.has_fills)
            for (const auto &[policy, valid] : all_set_states(policy_, limits_)) start(policy, valid);
        else
            for (const PolicyState policy : full_set_states(policy_, limits_)) start(policy, ~0U);
        return found;
    }

    void hit(const State &state, int way, Nexts<W> &nexts) const override {
        policy_.each_hit(state.policy, way, [&](PolicyState next) {
            State to = state;
            to.policy = next;
            nexts.add(to, way, false);
        });
    }
    void miss(const State &state, std::uint8_t label, Nexts<W> &nexts) const override {
        unsigned invalid = 0;
        for (int way = 0; way < ways(); ++way) invalid |= static_cast<unsigned>(state.label[at(way)] == no_line) << way;
        auto bring = [&](int way, PolicyState next) {
            State to = state;
            to.label[at(way)] = label;
            to.policy = next;
            nexts.add(to, way, invalid != 0);
        };
        if (invalid == 0) {
            policy_.each_miss(state.policy, [&](int victim, PolicyState next, Weight) { bring(victim, next); });
            return;
        }
        if (!policy_.facts.has_fills) throw UnknownFill();
        const int way = policy_.invalid_way(invalid);
        policy_.each_fill(state.policy, way, [&](PolicyState next, Weight) { bring(way, next); });
    }

    PolicyState first_policy(const State &state) const override { return state.policy; }
    int way_of(PolicyState, int place) const override { return place; }

private:
    using ViewOf<W>::at;
    using ViewOf<W>::ways;
    using ViewOf<W>::policy_;
    using ViewOf<W>::limits_;
};

template <std::size_t W>
class RelativeView : public ViewOf<W> {
public:
    using State = SteadyState<W>;

    RelativeView(const AnyPolicy &policy, Order order, const Limits &limits)
        : ViewOf<W>(policy, limits), order_(order) {}

    bool one_invalid() const override { return order_ == Order::one; }

    std::vector<State> starts(std::uint8_t valid_label, bool invalid) const override {
        std::vector<State> found;
        State state{};
        auto full = [&](PolicyState residue) {
            state.policy = residue;
            for (int p = 0; p < ways(); ++p) state.label[at(p)] = valid_label;
        };
        if (!policy_.facts.has_residue) {
            const unsigned sets = invalid ? 1U << ways() : 1U;
            for (unsigned holes = 0; holes < sets; ++holes) {
                if (order_ == Order::one && std::popcount(holes) > 1) continue;
                full(0);
                for (int p = 0; p < ways(); ++p)
                    if ((holes >> p) & 1U) state.label[at(p)] = no_line;
                found.push_back(state);
            }
        } else {
            StateSet<State> seen;
            auto fresh = [&] {
                if (seen.insert(state, 0)) found.push_back(state);
            };
            if (!invalid) {
                for (const PolicyState policy : full_set_states(policy_, limits_)) {
                    full(policy_.residue(policy));
                    fresh();
                }
                return found;
            }
            for (const auto &[policy, valid] : all_set_states(policy_, limits_)) {
                if (order_ == Order::one && ways() - std::popcount(valid) > 1) continue;
                full(policy_.residue(policy));
                for (int way = 0; way < ways(); ++way)
                    if (!((valid >> way) & 1U)) state.label[at(policy_.position(policy, way))] = no_line;
                fresh();
            }
        }
        return found;
    }
    void hit(const State &state, int p, Nexts<W> &nexts) const override {
        for (const auto &change : tables_.at(state.policy).hit[at(p)]) nexts.add(moved(state, change), p, false);
    }
    void miss(const State &state, std::uint8_t label, Nexts<W> &nexts) const override {
        int invalid = 0;
        for (int p = 0; p < ways(); ++p) invalid += state.label[at(p)] == no_line;
        const RelativeTable &now = tables_.at(state.policy);
        if (invalid == 0) {
            for (const auto &miss : now.miss) {
                State to = state;
                to.label[at(miss.victim)] = label;
                nexts.add(moved(to, miss.change), miss.victim, false);
            }
            return;
        }
        if (invalid > 1 && order_ == Order::one) return;
        for (int p = 0; p < ways(); ++p) {
            if (state.label[at(p)] != no_line) continue;
            State to = state;
            to.label[at(p)] = label;
            nexts.restart();
            for (const auto &change : now.fill[at(p)]) nexts.add(moved(to, change), p, true);
        }
    }

    PolicyState first_policy(const State &state) const override { return policy_.representative(state.policy); }
    int way_of(PolicyState policy, int place) const override { return way_at(policy_, policy, place); }

private:
    using ViewOf<W>::at;
    using ViewOf<W>::ways;
    using ViewOf<W>::policy_;
    using ViewOf<W>::limits_;

    State moved(const State &from, const RelativeTable::Change &change) const {
        State to{};
        to.policy = change.residue;
        for (int i = 0; i < ways(); ++i) to.label[at(i)] = from.label[change.from[at(i)]];
        return to;
    }

    Order order_;
    RelativeTables tables_{policy_};
};

}  // namespace l1dflush
