// SPDX-License-Identifier: GPL-2.0-or-later
// FIFO: a pointer to the way that is filled next. Hits change nothing.
#pragma once

#include "policy/policy.hpp"

namespace l1dflush {

class Fifo {
public:
    static constexpr bool ignores_hits = true;

    explicit Fifo(int ways) : ways_(ways) { require(ways >= 1 && ways <= max_ways, "FIFO has 1 to 16 ways"); }

    int ways() const { return ways_; }
    PolicyState empty() const { return 0; }
    PolicyState hit(PolicyState state, int) const { return state; }
    // Also for an invalid way that is not the pointer's: the pointer moves on from the way that was filled.
    PolicyState fill(PolicyState, int way) const { return static_cast<PolicyState>((way + 1) % ways_); }
    int victim(PolicyState state) const { return static_cast<int>(state); }

    PolicyState base() const { return 0; }
    int position(PolicyState state, int way) const { return (way - static_cast<int>(state) + ways_) % ways_; }

    std::vector<int> numbers(PolicyState state) const { return {static_cast<int>(state)}; }
    PolicyState pack(const std::vector<int> &pointer) const {
        require(pointer.size() == 1 && pointer[0] >= 0 && pointer[0] < ways_, "a FIFO state is one way number");
        return static_cast<PolicyState>(pointer[0]);
    }

private:
    int ways_;
};

}  // namespace l1dflush
