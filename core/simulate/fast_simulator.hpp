// SPDX-License-Identifier: GPL-2.0-or-later
// A cache with a policy, run in one of two ways that give the same result.
//
// `step` is the plain one: hit, fill of an invalid way, miss; any policy, any set. It is fast enough where the branch
// predictor can guess hits and misses, and slow where it cannot.
//
// `run` is for full sets and policies that can be asked without a branch. The way of an access is
//
//     lowest bit of (ways that hold the line | victim << width)
//
// which is a hit if it is below `width` and else the victim, so one expression covers both; the line is then written to
// the way (again, on a hit) and the policy moves on. What "can be asked" means is a Brain:
//
//   victim(word)         who would be replaced
//   after(word, where)   the word after a hit in way `where`, or after a miss that replaced way `where - width`
//
// One Brain looks the answers up in a PolicyTable; the other (policy_simulator.hpp) computes them, for policies with
// many states that do not care whether a full set's way was hit or filled. A set that is not full takes `step` until it
// is.
#pragma once

#include <bit>

#include "simulate/simulator.hpp"
#include "simulate/table.hpp"

namespace l1dflush {

class FastSimulator : public Simulator {
protected:
    explicit FastSimulator(const Shape &shape) : Simulator(shape), table_(ways_, static_cast<int>(width_)) {}

    // For a set that is not in fast form.
    virtual bool step(std::size_t set, Line line) = 0;

    // `run` with the table.
    std::uint64_t run_table(const std::uint64_t *addresses, std::size_t count, bool *hit);

    // use.operator()<width>(), for the width of this cache.
    template <class Use>
    std::uint64_t in_width(Use use) {
        if (width_ == 4) return use.template operator()<4>();
        if (width_ == 8) return use.template operator()<8>();
        return use.template operator()<16>();
    }
    template <unsigned width, class Brain>
    std::uint64_t run(const Brain &brain, const std::uint64_t *addresses, std::size_t count, bool *hit) {
        return hit ? run<width, true>(brain, addresses, count, hit) : run<width, false>(brain, addresses, count, hit);
    }
    template <unsigned width, bool tells_each, class Brain>
    std::uint64_t run(const Brain brain, const std::uint64_t *addresses, std::size_t count, bool *hit) {
        Line *const all_tags = tags_.data();
        std::uint64_t *const words = words_.data();
        const std::uint8_t *const fast = fast_.data();
        std::uint64_t hits = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Line line = line_of(addresses[i]);
            const std::size_t set = set_of(line);
            bool is_hit;
            if (fast[set]) [[likely]] {
                Line *const ways = all_tags + set * width;
                const std::uint64_t word = words[set];
                const unsigned candidates = ways_with(ways, width, line) | (1U << width << brain.victim(word));
                const auto where = static_cast<unsigned>(std::countr_zero(candidates));
                ways[where % width] = line;
                words[set] = brain.after(word, where);
                is_hit = where < width;
            } else {
                is_hit = step(set, line);
            }
            hits += is_hit;
            if constexpr (tells_each) hit[i] = is_hit;
        }
        return hits;
    }

    PolicyTable table_;
};

}  // namespace l1dflush
