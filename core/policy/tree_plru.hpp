// SPDX-License-Identifier: GPL-2.0-or-later
// tree-PLRU: a binary tree over 2^d ways with one bit per inner node. The bits lead to the victim (0: left,
// 1: right); a touch makes every bit on its path point away from the way touched.
#pragma once

#include "policy/numbers.hpp"
#include "policy/policy.hpp"

namespace l1dflush {

// The tree itself, over 2^depth leaves. Nodes are numbered as in a heap: root 1, children 2n and 2n+1; the bit of
// node n is bit n-1 of `bits`.
struct TreeBits {
    static std::uint64_t touched(std::uint64_t bits, int depth, int leaf) {
        int node = 1;
        for (int level = depth - 1; level >= 0; --level) {
            const int went = (leaf >> level) & 1;
            // Without a branch on `went`, which nobody could predict.
            const std::uint64_t bit = std::uint64_t{1} << (node - 1);
            const std::uint64_t away = static_cast<std::uint64_t>(went ^ 1) << (node - 1);
            bits = (bits & ~bit) | away;
            node = 2 * node + went;
        }
        return bits;
    }

    static int victim(std::uint64_t bits, int depth) {
        int node = 1;
        for (int level = 0; level < depth; ++level) node = 2 * node + static_cast<int>((bits >> (node - 1)) & 1U);
        return node - (1 << depth);
    }

    // The leaf's path written as "does it follow the bit (0) or leave it (1)", root first: the victim is at 0.
    static int position(std::uint64_t bits, int depth, int leaf) {
        int node = 1;
        int result = 0;
        for (int level = depth - 1; level >= 0; --level) {
            const int went = (leaf >> level) & 1;
            result = 2 * result + (went ^ static_cast<int>((bits >> (node - 1)) & 1U));
            node = 2 * node + went;
        }
        return result;
    }
};

class TreePlru {
public:
    explicit TreePlru(int ways) : ways_(ways) {
        require(ways >= 1 && ways <= max_ways && is_power_of_two(ways), "tree-PLRU needs a power of two up to 16");
        for (int n = ways; n > 1; n /= 2) ++depth_;
    }

    int ways() const { return ways_; }
    PolicyState empty() const { return 0; }
    PolicyState hit(PolicyState state, int way) const { return TreeBits::touched(state, depth_, way); }
    PolicyState fill(PolicyState state, int way) const { return TreeBits::touched(state, depth_, way); }
    int victim(PolicyState state) const { return TreeBits::victim(state, depth_); }

    PolicyState base() const { return 0; }
    int position(PolicyState state, int way) const { return TreeBits::position(state, depth_, way); }

    // The bits in heap order, root first.
    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> bits;
        append_bits(bits, state, 0, ways_ - 1);
        return bits;
    }
    PolicyState pack(const std::vector<int> &bits) const {
        require(static_cast<int>(bits.size()) == ways_ - 1, "a tree-PLRU state is one bit per inner node");
        return read_bits(bits, 0, ways_ - 1);
    }

private:
    int ways_;
    int depth_ = 0;
};

}  // namespace l1dflush
