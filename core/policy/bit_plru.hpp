// bit-PLRU, also called MRU: one bit per way, set when the way is touched. When all would be set, all others are
// cleared. The victim is the lowest way whose bit is clear.
#pragma once

#include <bit>

#include "policy/policy.hpp"

namespace l1dflush {

class BitPlru {
public:
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
        for (int i = 0; i < ways_; ++i) bits.push_back(static_cast<int>((state >> i) & 1U));
        return bits;
    }
    PolicyState pack(const std::vector<int> &bits) const {
        require(static_cast<int>(bits.size()) == ways_, "a bit-PLRU state is one bit per way");
        PolicyState state = 0;
        for (int i = 0; i < ways_; ++i) {
            require(bits[i] == 0 || bits[i] == 1, "a bit is 0 or 1");
            state |= static_cast<PolicyState>(bits[i]) << i;
        }
        require(ways_ == 1 || state != all_, "bit-PLRU never has all bits set");
        return state;
    }

private:
    int ways_;
    PolicyState all_;
};

}  // namespace l1dflush
