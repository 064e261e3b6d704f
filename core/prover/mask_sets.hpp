// SPDX-License-Identifier: GPL-2.0-or-later
// Pairwise different accesses, for policies with few states and few ways: every state, every set of settled ways.
//
// With pairwise different accesses no way needs a label (state.hpp): a set is its policy's state and which of its ways
// are settled. For a given policy state ALL sets of settled ways that occur are kept, as one bitmap with 2^ways bits:
// bit m stands for the ways in m. What an access does to all of them is done to whole words at once: settling way w
// moves bit m, for every m without w, to m + 2^w. That is faster than antichains where the policy has tens of thousands
// of states with a few hundred sets each, and it is exact without any argument about dominance.
//
// Invalid ways (Start::invalid) are settled at the miss that fills them, as in state.hpp: `phase` is how many ways, in
// the order in which invalid ways are filled, are known to be valid. Where filling does to the policy what a hit does,
// and any line may be cached at the start, invalid ways add nothing (see machine.hpp), and all are taken to be valid.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "policy/reachable.hpp"
#include "policy/state_numbers.hpp"
#include "prover/limits.hpp"
#include "prover/start.hpp"

namespace l1dflush {

class MaskSets {
public:
    // Throws StateSpaceTooLarge if it would take more memory than so many states of the other search.
    MaskSets(const AnyPolicy &policy, Start start, bool cold, const Limits &limits)
        : policy_(policy), ways_(policy.ways()), cold_(cold), words_(std::max<std::size_t>(1, (1U << ways_) / 64)) {
        const std::size_t budget = limits.max_states * bytes_per_state;
        const std::size_t each = 2 * words_ * 8;
        Limits less = limits;
        less.max_states = std::max<std::size_t>(budget / each, 1);
        number_states(start, less);
        if (start != Start::any && (cold || fills_ != hits_)) {
            phases_ = ways_ + 1;
            less.check(states());
        } else {
            fills_ = Edges{std::vector<std::uint32_t>(states_.size() + 1, 0), {}};
        }
        order_ways();
        layer_.assign(states_.size() * static_cast<std::size_t>(phases_) * words_, 0);
        next_ = layer_;
        for (std::size_t s = 0; s < starts_; ++s) at(layer_, s, 0)[0] = 1;
    }

    std::size_t states() const { return states_.size() * static_cast<std::size_t>(phases_); }

    // One access of a line that occurs once. Returns the most unknown ways afterwards.
    int advance(const Limits &limits) {
        std::fill(next_.begin(), next_.end(), 0);
        for (std::size_t s = 0; s < states_.size(); ++s) {
            limits.poll_now_and_then(s);
            for (int phase = 0; phase < phases_; ++phase) {
                const std::uint64_t *from = at(layer_, s, phase);
                if (std::all_of(from, from + words_, [](std::uint64_t word) { return word == 0; })) continue;
                step(s, phase, from);
            }
        }
        std::swap(layer_, next_);
        if (phases_ > 1) drop_dominated();
        return most_unknown();
    }

    const std::vector<std::uint64_t> &layer() const { return layer_; }

private:
    // What one operation may lead to, for all states: those of state s (and way) are in a row.
    struct Edge {
        int way;  // settled by it
        std::uint32_t to;
        bool operator==(const Edge &) const = default;
    };
    struct Edges {
        std::vector<std::uint32_t> first{0};
        std::vector<Edge> edges;
        bool operator==(const Edges &) const = default;
        void close() { first.push_back(static_cast<std::uint32_t>(edges.size())); }
        std::span<const Edge> of(std::size_t s) const { return {edges.data() + first[s], edges.data() + first[s + 1]}; }
    };

    std::uint64_t *at(std::vector<std::uint64_t> &layer, std::size_t state, int phase) const {
        return layer.data() + (state * static_cast<std::size_t>(phases_) + static_cast<std::size_t>(phase)) * words_;
    }

    // The start states first, then what else hits, misses and fills of invalid ways lead to.
    void number_states(Start start, const Limits &limits) {
        auto numbered = [&](PolicyState state) {
            const auto [number, fresh] = states_.add(state);
            if (fresh) limits.check(states_.size());
            return number;
        };
        for (const PolicyState state : full_set_states(policy_, limits)) numbered(state);
        starts_ = states_.size();
        for (std::size_t s = 0; s < states_.size(); ++s) {
            limits.poll_now_and_then(s);
            const PolicyState state = states_[s];
            for (int way = 0; way < ways_; ++way) {
                if (!cold_)
                    policy_.each_hit(state, way,
                             [&](PolicyState next) { hits_.edges.push_back({way, numbered(next)}); });
                if (start != Start::any)
                    policy_.each_fill(state, way,
                              [&](PolicyState next, Weight) { fills_.edges.push_back({way, numbered(next)}); });
            }
            policy_.each_miss(state, [&](int victim, PolicyState next, Weight) {
                misses_.edges.push_back({victim, numbered(next)});
            });
            hits_.close();
            fills_.close();
            misses_.close();
        }
    }

    // rank_[w]: how many ways are filled before w when all are invalid.
    void order_ways() {
        unsigned left = (1U << ways_) - 1U;
        for (int rank = 0; rank < ways_; ++rank) {
            const int way = policy_.invalid_way(left);
            rank_[static_cast<std::size_t>(way)] = rank;
            left &= ~(1U << way);
        }
    }

    void step(std::size_t s, int phase, const std::uint64_t *from) {
        for (const Edge &hit : hits_.of(s)) settle(from, at(next_, hit.to, phase), hit.way, false);
        for (const Edge &fill : fills_.of(s)) {
            const int rank = rank_[static_cast<std::size_t>(fill.way)];
            if (rank >= phase) settle(from, at(next_, fill.to, rank + 1), fill.way, false);
        }
        for (const Edge &miss : misses_.of(s)) settle(from, at(next_, miss.to, phases_ - 1), miss.way, true);
    }

    // Knowing less about which ways are valid leaves more open: what is there in an earlier phase is dropped in a later.
    void drop_dominated() {
        std::vector<std::uint64_t> earlier(words_);
        for (std::size_t s = 0; s < states_.size(); ++s) {
            std::fill(earlier.begin(), earlier.end(), 0);
            for (int phase = 0; phase < phases_; ++phase) {
                std::uint64_t *here = at(layer_, s, phase);
                for (std::size_t i = 0; i < words_; ++i) {
                    here[i] &= ~earlier[i];
                    earlier[i] |= here[i];
                }
            }
        }
    }

    // Adds to `to` the sets of `from`, with `way` settled: those in which it was unknown, or all.
    void settle(const std::uint64_t *from, std::uint64_t *to, int way, bool also_settled) const {
        if (way < 6) {
            const std::uint64_t without = unsettled[static_cast<std::size_t>(way)];
            const std::uint64_t keep = also_settled ? ~without : 0;
            const int shift = 1 << way;
            for (std::size_t i = 0; i < words_; ++i) to[i] |= ((from[i] & without) << shift) | (from[i] & keep);
            return;
        }
        const std::size_t block = std::size_t{1} << (way - 6);
        for (std::size_t i = 0; i < words_; i += 2 * block)
            for (std::size_t j = 0; j < block; ++j)
                to[i + block + j] |= from[i + j] | (also_settled ? from[i + block + j] : 0);
    }

    // Forgets the sets in which nothing is unknown.
    int most_unknown() {
        std::vector<std::uint64_t> any(words_, 0);
        const std::uint64_t all = std::uint64_t{1} << (((1U << ways_) - 1U) % 64);
        for (std::size_t i = 0; i < layer_.size(); i += words_) {
            layer_[i + words_ - 1] &= ~all;
            for (std::size_t j = 0; j < words_; ++j) any[j] |= layer_[i + j];
        }
        int most = 0;
        for (unsigned mask = 0; mask < (1U << ways_); ++mask)
            if ((any[mask / 64] >> (mask % 64)) & 1U) most = std::max(most, ways_ - std::popcount(mask));
        return most;
    }

    // The numbers m below 64 that do not contain way w, as bits.
    static constexpr std::array<std::uint64_t, 6> unsettled{0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F,
                                                            0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF, 0x00000000FFFFFFFF};

    const AnyPolicy &policy_;
    int ways_;
    bool cold_;
    std::size_t words_;
    int phases_ = 1;
    std::size_t starts_ = 0;
    StateNumbers states_;
    Edges hits_;
    Edges fills_;
    Edges misses_;
    std::array<int, max_ways> rank_{};
    std::vector<std::uint64_t> layer_;
    std::vector<std::uint64_t> next_;
};

}  // namespace l1dflush
