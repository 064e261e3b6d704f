// SPDX-License-Identifier: GPL-2.0-or-later
// A simulator of one policy, compiled for it: the plain steps, and where need be a loop that computes what a table
// would be too large for. What is the same for all policies is in fast_simulator.hpp.
#pragma once

#include "policy/list.hpp"
#include "simulate/choice.hpp"
#include "simulate/fast_simulator.hpp"

namespace l1dflush {

// Whether fill is the same function as hit, and cheap.
template <class P>
inline constexpr bool fill_is_hit = false;
template <>
inline constexpr bool fill_is_hit<Lru> = true;
template <>
inline constexpr bool fill_is_hit<TreePlru> = true;
template <>
inline constexpr bool fill_is_hit<BitPlru> = true;
template <>
inline constexpr bool fill_is_hit<LruPlru4> = true;

template <unsigned width, class P>
struct ComputingBrain {
    P policy;

    unsigned victim(std::uint64_t word) const { return static_cast<unsigned>(policy.victim(word)); }
    std::uint64_t after(std::uint64_t word, unsigned where) const {
        return policy.hit(word, static_cast<int>(where % width));
    }
};

template <class P>
class PolicySimulator final : public FastSimulator {
public:
    // `plain`: never `run`, for comparison.
    PolicySimulator(const P &policy, const Shape &shape, std::uint64_t seed, bool plain)
        : FastSimulator(shape), policy_(policy), seed_(seed), random_(seed) {
        require(has_fills(policy), "this policy does not say what filling an invalid way does");
        const Form best = form_of_first_full_set();  // also where a policy that is not deterministic is refused
        form_ = plain ? Form::plain : best;
        reset();
    }

    std::uint64_t access(const std::uint64_t *addresses, std::size_t count, bool *hit) override {
        if (form_ == Form::table) return run_table(addresses, count, hit);
        if constexpr (fill_is_hit<P>)
            if (form_ == Form::computed)
                return in_width([&]<unsigned width>() {
                    return run<width>(ComputingBrain<width, P>{policy_}, addresses, count, hit);
                });
        std::uint64_t hits = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Line line = line_of(addresses[i]);
            const bool is_hit = step(set_of(line), line);
            hits += is_hit;
            if (hit) hit[i] = is_hit;
        }
        return hits;
    }

    std::vector<int> numbers(std::size_t set) const override { return policy_.numbers(state(set)); }

    void reset() override {
        random_ = SplitMix64(seed_);
        fast_.assign(sets(), 0);
        words_.assign(sets(), policy_.empty());
        flush_all();
    }

private:
    enum class Form { plain, table, computed };

    // Fills a set from empty to see which form its policy allows.
    Form form_of_first_full_set() {
        PolicyState state = policy_.empty();
        for (unsigned invalid = all_ways(); invalid != 0;) {
            const int way = first_filled(invalid, fills_highest<P>());
            invalid &= ~(1U << way);
            const Outcomes filled = fills(policy_, state, way);
            if (!filled.single()) return Form::plain;
            state = filled.pick(random_).state;
        }
        if (table_.close(policy_, state)) return Form::table;
        return fill_is_hit<P> ? Form::computed : Form::plain;
    }

    // For a set that is not in fast form.
    bool step(std::size_t set, Line line) override {
        const unsigned ways = found(set, line);
        std::uint64_t &state = words_[set];
        if (ways != 0) {
            state = after_hit(policy_, state, std::countr_zero(ways));
            return true;
        }
        if (invalid_[set] != 0) {
            const int way = first_filled(invalid_[set], fills_highest<P>());
            state = fills(policy_, state, way).pick(random_).state;
            tags(set)[way] = line;
            invalid_[set] = static_cast<std::uint16_t>(invalid_[set] & ~(1U << way));
            if (invalid_[set] == 0) enter_fast_form(set);
        } else {
            const Outcomes missed = misses(policy_, state);
            const Outcome &outcome = missed.pick(random_);
            state = outcome.state;
            tags(set)[outcome.way] = line;
        }
        return false;
    }

    PolicyState state(std::size_t set) const {
        return fast_[set] && form_ == Form::table ? table_.state(words_[set]) : words_[set];
    }
    void enter_fast_form(std::size_t set) {
        if (form_ == Form::table) {
            if (!table_.close(policy_, words_[set])) return;
            words_[set] = table_.word(words_[set]);
        }
        fast_[set] = form_ != Form::plain;
    }
    void leave_fast_form(std::size_t set) override {
        words_[set] = state(set);
        fast_[set] = 0;
    }

    Form form_ = Form::plain;
    P policy_;
    std::uint64_t seed_;
    SplitMix64 random_;
};

}  // namespace l1dflush
