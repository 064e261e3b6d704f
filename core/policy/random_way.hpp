// SPDX-License-Identifier: GPL-2.0-or-later
// Random replacement: any way, each as likely as the others. There is no state; filling an invalid way involves no
// choice.
#pragma once

#include <array>

#include "policy/policy.hpp"

namespace l1dflush {

class RandomWay {
public:
    static constexpr bool interchangeable = true;
    static constexpr bool stateless = true;

    explicit RandomWay(int ways) : ways_(ways) { require(ways >= 1 && ways <= max_ways, "random has 1 to 16 ways"); }

    int ways() const { return ways_; }
    PolicyState empty() const { return 0; }
    PolicyState hit(PolicyState state, int) const { return state; }

    int branches() const { return ways_; }
    Weight weight(int) const { return {1, static_cast<std::uint32_t>(ways_)}; }
    int victim(PolicyState, int branch) const { return branch; }
    PolicyState fill(PolicyState state, int, int) const { return state; }
    PolicyState fill_invalid(PolicyState state, int) const { return state; }

    PolicyState base() const { return 0; }
    int position(PolicyState, int way) const { return way; }
    PolicyState renamed(PolicyState state, const std::array<int, max_ways> &) const { return state; }

    std::vector<int> numbers(PolicyState) const { return {}; }
    PolicyState pack(const std::vector<int> &in) const {
        require(in.empty(), "random replacement has no state");
        return 0;
    }

private:
    int ways_;
};

}  // namespace l1dflush
