// SPDX-License-Identifier: GPL-2.0-or-later
// bit-PLRU, also called MRU: one bit per way, set when the way is touched. When all would be set, all others are
// cleared. The victim is the lowest way whose bit is clear.
#pragma once

#include <bit>

#include "policy/numbers.hpp"
#include "policy/policy.hpp"

namespace l1dflush {

class BitPlru {
public:
    static constexpr bool lazy_bits = true;

    explicit BitPlru(int ways) : ways_(ways), all_((PolicyState{1} << ways) - 1) {
        require(ways >= 1 && ways <= max_ways, "bit-PLRU has 1 to 16 ways");
    }

    int ways() const { return ways_; }
    PolicyState empty() const { return 0; }
    PolicyState hit(PolicyState state, int way) const {
        const PolicyState bit = PolicyState{1} << way;
        return (state | bit) == all_ ? bit : state | bit;
    }
    PolicyState fill(PolicyState state, int way) const { return hit(state, way); }
    int victim(PolicyState state) const {
        if (ways_ == 1) return 0;  // its only bit is always set
        return std::countr_one(state);
    }

    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> bits;
        append_bits(bits, state, 0, ways_);
        return bits;
    }
    PolicyState pack(const std::vector<int> &bits) const {
        require(static_cast<int>(bits.size()) == ways_, "a bit-PLRU state is one bit per way");
        const PolicyState state = read_bits(bits, 0, ways_);
        require(ways_ == 1 || state != all_, "bit-PLRU never has all bits set");
        return state;
    }

private:
    int ways_;
    PolicyState all_;
};

}  // namespace l1dflush
