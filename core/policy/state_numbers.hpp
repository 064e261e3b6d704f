// SPDX-License-Identifier: GPL-2.0-or-later
// Policy states numbered in the order in which they are met.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "policy/policy.hpp"

namespace l1dflush {

// A hash table with open addressing: several times as fast as std::unordered_map, and its order is the order of
// insertion.
class StateNumbers {
public:
    struct Entry {
        std::uint32_t number;
        bool fresh;
    };

    // The number of `state`, and whether it is new.
    Entry add(PolicyState state) {
        if (2 * (states_.size() + 1) > slots_.size()) grow();
        std::size_t i = hash(state) & (slots_.size() - 1);
        for (; slots_[i] != 0; i = (i + 1) & (slots_.size() - 1))
            if (states_[slots_[i] - 1] == state) return {slots_[i] - 1, false};
        states_.push_back(state);
        slots_[i] = static_cast<std::uint32_t>(states_.size());
        return {slots_[i] - 1, true};
    }

    std::size_t size() const { return states_.size(); }
    PolicyState operator[](std::size_t number) const { return states_[number]; }
    const std::vector<PolicyState> &states() const { return states_; }

private:
    static std::size_t hash(PolicyState state) {
        const std::uint64_t h = state * 0x9E3779B97F4A7C15U;
        return static_cast<std::size_t>(h ^ (h >> 32));
    }

    void grow() {
        slots_.assign(slots_.empty() ? 64 : 2 * slots_.size(), 0);
        for (std::size_t number = 0; number < states_.size(); ++number) {
            std::size_t i = hash(states_[number]) & (slots_.size() - 1);
            while (slots_[i] != 0) i = (i + 1) & (slots_.size() - 1);
            slots_[i] = static_cast<std::uint32_t>(number + 1);
        }
    }

    std::vector<PolicyState> states_;
    std::vector<std::uint32_t> slots_;  // number + 1; 0: free
};

}  // namespace l1dflush
