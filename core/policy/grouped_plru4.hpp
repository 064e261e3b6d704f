// SPDX-License-Identifier: GPL-2.0-or-later
// LRUgPLRU4 and MRUgPLRU4: g groups of four ways, a 4-way tree-PLRU in each. They differ in which group a miss goes
// to; the way is then the one that the group's tree leads to.
#pragma once

#include "policy/numbers.hpp"
#include "policy/policy.hpp"
#include "policy/tree_plru.hpp"

namespace l1dflush {

// What they share: the trees. Bits 0..15 of a state are for the choice of the group; from bit 16: three bits a group.
class GroupedTrees {
public:
    int ways() const { return 4 * groups_; }

protected:
    GroupedTrees(int groups, int ways) : groups_(groups) {
        require(groups >= 1 && groups <= 4 && ways == 4 * groups, "there are g groups of four ways, g from 1 to 4");
    }

    static constexpr PolicyState choice_mask = 0xFFFF;

    // `state` with the trees touched at `way`.
    static PolicyState touched(PolicyState state, int way) {
        const int shift = tree_shift(way / 4);
        const std::uint64_t bits = TreeBits::touched(tree(state, way / 4), 2, way % 4);
        return (state & ~(PolicyState{7} << shift)) | (bits << shift);
    }
    static int victim_in(PolicyState state, int group) { return 4 * group + TreeBits::victim(tree(state, group), 2); }
    static int position_in_group(PolicyState state, int way) {
        return TreeBits::position(tree(state, way / 4), 2, way % 4);
    }

    void append_trees(std::vector<int> &out, PolicyState state) const { append_bits(out, state, 16, 3 * groups_); }
    PolicyState read_trees(const std::vector<int> &in, int first) const {
        return read_bits(in, first, 3 * groups_) << 16;
    }

    int groups_;

private:
    static int tree_shift(int group) { return 16 + 3 * group; }
    static std::uint64_t tree(PolicyState state, int group) { return (state >> tree_shift(group)) & 7U; }
};

// The group touched longest ago.
class LruPlru4 : public GroupedTrees {
public:
    LruPlru4(int groups, int ways) : GroupedTrees(groups, ways) {}

    PolicyState empty() const { return falling_order(groups_); }
    PolicyState hit(PolicyState state, int way) const {
        return (touched(state, way) & ~choice_mask) | moved_to_front(state & choice_mask, groups_, way / 4);
    }
    PolicyState fill(PolicyState state, int way) const { return hit(state, way); }
    int victim(PolicyState state) const { return victim_in(state, nibble(state, groups_ - 1)); }

    PolicyState base() const { return rising_order(groups_); }
    int position(PolicyState state, int way) const {
        return 4 * index_in_order(state, way / 4) + position_in_group(state, way);
    }

    // The groups, newest first, then three tree bits (heap order) for group 0, 1, ...
    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> out;
        append_order(out, state, groups_);
        append_trees(out, state);
        return out;
    }
    PolicyState pack(const std::vector<int> &in) const {
        require(static_cast<int>(in.size()) == 4 * groups_, "an LRUgPLRU4 state is g groups and 3g bits");
        return read_order(in, groups_) | read_trees(in, groups_);
    }
};

// The group after the one touched last.
class MruPlru4 : public GroupedTrees {
public:
    MruPlru4(int groups, int ways) : GroupedTrees(groups, ways) {}

    PolicyState empty() const { return static_cast<PolicyState>(groups_ - 1); }
    PolicyState hit(PolicyState state, int way) const {
        return (touched(state, way) & ~choice_mask) | static_cast<PolicyState>(way / 4);
    }
    PolicyState fill(PolicyState state, int way) const { return hit(state, way); }
    int victim(PolicyState state) const { return victim_in(state, (last(state) + 1) % groups_); }

    PolicyState base() const { return empty(); }
    int position(PolicyState state, int way) const {
        // Groups are counted from the one that is next.
        return 4 * ((way / 4 - last(state) - 1 + groups_) % groups_) + position_in_group(state, way);
    }

    // The group touched last, then three tree bits (heap order) for group 0, 1, ...
    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> out{last(state)};
        append_trees(out, state);
        return out;
    }
    PolicyState pack(const std::vector<int> &in) const {
        require(static_cast<int>(in.size()) == 1 + 3 * groups_, "an MRUgPLRU4 state is a group and 3g bits");
        require(in[0] >= 0 && in[0] < groups_, "no such group");
        return static_cast<PolicyState>(in[0]) | read_trees(in, 1);
    }

private:
    static int last(PolicyState state) { return static_cast<int>(state & choice_mask); }
};

}  // namespace l1dflush
