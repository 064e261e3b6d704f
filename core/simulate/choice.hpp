// SPDX-License-Identifier: GPL-2.0-or-later
// What a policy does when it is run instead of explored: its only outcome, or one drawn by chance.
#pragma once

#include <cstdint>
#include <numeric>

#include "policy/policy.hpp"

namespace l1dflush {

// SplitMix64 (Steele, Lea, Flood 2014): three lines, the same numbers everywhere, any seed is as good as another.
class SplitMix64 {
public:
    explicit SplitMix64(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        std::uint64_t x = state_ += 0x9E3779B97F4A7C15;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }

    // 0 .. below-1. Of the 2^32 draws no two results differ by more than one in how many they get.
    std::uint64_t next(std::uint32_t below) { return ((next() >> 32) * below) >> 32; }

private:
    std::uint64_t state_;
};

struct Outcome {
    int way;
    PolicyState state;
    Weight weight;
};

// What one step may lead to, in the policy's own order.
class Outcomes {
public:
    void add(int way, PolicyState state, Weight weight) {
        require(weight.denominator != 0, not_deterministic);
        require(count_ < most, "a policy with more than 64 outcomes of one access");
        all_[count_++] = {way, state, weight};
    }

    bool single() const { return count_ == 1; }

    // The only one; if there are several, one drawn number decides: the outcomes share 0 .. d-1 in their order, d the
    // least common denominator of their chances.
    const Outcome &pick(SplitMix64 &random) const {
        require(count_ > 0, "a policy that says nothing about an access");
        if (single()) return all_[0];
        std::uint64_t whole = 1;
        for (int i = 0; i < count_; ++i) whole = std::lcm(whole, std::uint64_t{all_[i].weight.denominator});
        require(whole <= UINT32_MAX, "chances without a common denominator below 2^32");
        std::uint64_t drawn = random.next(static_cast<std::uint32_t>(whole));
        for (int i = 0; i < count_ - 1; ++i) {
            const std::uint64_t share = whole / all_[i].weight.denominator * all_[i].weight.numerator;
            if (drawn < share) return all_[i];
            drawn -= share;
        }
        return all_[count_ - 1];
    }

    static constexpr const char *not_deterministic =
        "this policy is not deterministic: a simulation would be one outcome of many";

private:
    static constexpr int most = 64;
    int count_ = 0;
    Outcome all_[most];
};

template <class P>
Outcomes misses(const P &policy, PolicyState state) {
    Outcomes out;
    each_miss(policy, state, [&](int victim, PolicyState next, Weight weight) { out.add(victim, next, weight); });
    return out;
}

template <class P>
Outcomes fills(const P &policy, PolicyState state, int way) {
    Outcomes out;
    each_fill(policy, state, way, [&](PolicyState next, Weight weight) { out.add(way, next, weight); });
    return out;
}

// Hits have no chances, so several outcomes of one are nondeterminism.
template <class P>
PolicyState after_hit(const P &policy, PolicyState state, int way) {
    int outcomes = 0;
    PolicyState result = state;
    each_hit(policy, state, way, [&](PolicyState next) {
        result = next;
        ++outcomes;
    });
    require(outcomes == 1, Outcomes::not_deterministic);
    return result;
}

}  // namespace l1dflush
