// SPDX-License-Identifier: GPL-2.0-or-later
// NRU (not recently used): one bit per way, set by hit and fill. On a miss that finds all bits set, all are cleared
// before the victim is chosen: the lowest way whose bit is clear.
//
// A hit may set the last bit. That is the difference to bit-PLRU, which clears the others at once.
#pragma once

#include <bit>

#include "policy/numbers.hpp"
#include "policy/policy.hpp"

namespace l1dflush {

class Nru {
public:
    // The bit is an age: the lowest way of those with bit 0 is replaced, and for the rest all ways are alike.
    static constexpr int age_bits = 1;

    explicit Nru(int ways) : ways_(ways), all_((PolicyState{1} << ways) - 1) {
        require(ways >= 1 && ways <= max_ways, "NRU has 1 to 16 ways");
    }

    int ways() const { return ways_; }
    PolicyState empty() const { return 0; }
    PolicyState hit(PolicyState state, int way) const { return state | (PolicyState{1} << way); }
    PolicyState fill(PolicyState state, int way) const { return hit(before_miss(state), way); }
    int victim(PolicyState state) const { return std::countr_one(before_miss(state)); }

    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> bits;
        append_bits(bits, state, 0, ways_);
        return bits;
    }
    PolicyState pack(const std::vector<int> &bits) const {
        require(static_cast<int>(bits.size()) == ways_, "an NRU state is one bit per way");
        return read_bits(bits, 0, ways_);
    }

private:
    PolicyState before_miss(PolicyState state) const { return state == all_ ? 0 : state; }

    int ways_;
    PolicyState all_;
};

}  // namespace l1dflush
