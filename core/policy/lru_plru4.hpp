// LRUgPLRU4: g groups of four ways in LRU order, a 4-way tree-PLRU in each. The victim is the tree's victim in the
// group touched longest ago.
#pragma once

#include "policy/policy.hpp"
#include "policy/tree_plru.hpp"

namespace l1dflush {

class LruPlru4 {
public:
    LruPlru4(int groups, int ways) : groups_(groups) {
        require(groups >= 1 && groups <= 4 && ways == 4 * groups, "LRUgPLRU4 has g groups of four ways, g from 1 to 4");
    }

    int ways() const { return 4 * groups_; }

    PolicyState empty() const {
        PolicyState state = 0;
        for (int i = 0; i < groups_; ++i) state = with_nibble(state, i, groups_ - 1 - i);
        return state;
    }
    PolicyState hit(PolicyState state, int way) const {
        const int group = way / 4;
        const std::uint64_t bits = TreeBits::touched(tree(state, group), 2, way % 4);
        const int shift = tree_shift(group);
        const PolicyState rest = state & ~(PolicyState{7} << shift) & ~order_mask;
        return rest | (bits << shift) | moved_to_front(state & order_mask, groups_, group);
    }
    PolicyState fill(PolicyState state, int way) const { return hit(state, way); }
    int victim(PolicyState state) const {
        const int group = nibble(state, groups_ - 1);
        return 4 * group + TreeBits::victim(tree(state, group), 2);
    }

    PolicyState base() const {
        PolicyState state = 0;
        for (int i = 0; i < groups_; ++i) state = with_nibble(state, i, i);
        return state;
    }
    int position(PolicyState state, int way) const {
        const int group = way / 4;
        return 4 * index_in_order(state, group) + TreeBits::position(tree(state, group), 2, way % 4);
    }

    // The groups, newest first, then three tree bits (heap order) for group 0, 1, ...
    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> out;
        for (int i = 0; i < groups_; ++i) out.push_back(nibble(state, i));
        for (int group = 0; group < groups_; ++group)
            for (int bit = 0; bit < 3; ++bit) out.push_back(static_cast<int>((tree(state, group) >> bit) & 1U));
        return out;
    }
    PolicyState pack(const std::vector<int> &in) const {
        require(static_cast<int>(in.size()) == 4 * groups_, "an LRUgPLRU4 state is g groups and 3g bits");
        PolicyState state = 0;
        unsigned seen = 0;
        for (int i = 0; i < groups_; ++i) {
            require(in[i] >= 0 && in[i] < groups_ && !((seen >> in[i]) & 1U), "not an order of the groups");
            seen |= 1U << in[i];
            state = with_nibble(state, i, in[i]);
        }
        for (int i = 0; i < 3 * groups_; ++i) {
            const int bit = in[groups_ + i];
            require(bit == 0 || bit == 1, "a bit is 0 or 1");
            state |= static_cast<PolicyState>(bit) << (tree_shift(i / 3) + i % 3);
        }
        return state;
    }

private:
    // Bits 0..15: the order of the groups. From bit 16: three tree bits a group.
    static constexpr PolicyState order_mask = 0xFFFF;
    static int tree_shift(int group) { return 16 + 3 * group; }
    static std::uint64_t tree(PolicyState state, int group) { return (state >> tree_shift(group)) & 7U; }

    int groups_;
};

}  // namespace l1dflush
