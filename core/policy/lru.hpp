// SPDX-License-Identifier: GPL-2.0-or-later
// LRU and its relatives: the ways ordered by their last hit, the oldest is replaced. They differ in where a miss puts
// its line.
#pragma once

#include <array>

#include "policy/numbers.hpp"
#include "policy/policy.hpp"

namespace l1dflush {

// What they share: everything but the fill. A state is the order, newest first.
class WayOrder {
public:
    int ways() const { return ways_; }

    // The order before anything was cached never matters to LRU once the set is full; this one makes an empty set's
    // ways come up in the order 0, 1, 2, ...
    PolicyState empty() const { return falling_order(ways_); }
    PolicyState hit(PolicyState state, int way) const { return moved_to_front(state, ways_, way); }

    PolicyState base() const { return rising_order(ways_); }
    int position(PolicyState state, int way) const { return index_in_order(state, way); }

    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> order;
        append_order(order, state, ways_);
        return order;
    }
    PolicyState pack(const std::vector<int> &order) const {
        require(static_cast<int>(order.size()) == ways_, "an order is one number per way");
        return read_order(order, ways_);
    }

    // The same with way w called names[w].
    PolicyState renamed(PolicyState state, const std::array<int, max_ways> &names) const {
        PolicyState result = 0;
        for (int i = 0; i < ways_; ++i)
            result = with_nibble(result, i, names[static_cast<std::size_t>(nibble(state, i))]);
        return result;
    }

protected:
    explicit WayOrder(int ways) : ways_(ways) { require(ways >= 1 && ways <= max_ways, "there are 1 to 16 ways"); }
    int oldest(PolicyState state) const { return nibble(state, ways_ - 1); }

private:
    int ways_;
};

class Lru : public WayOrder {
public:
    static constexpr bool interchangeable = true;
    static constexpr bool fill_order_is_free = true;

    explicit Lru(int ways) : WayOrder(ways) {}

    PolicyState fill(PolicyState state, int way) const { return hit(state, way); }
    int victim(PolicyState state) const { return oldest(state); }
};

// LIP: a new line stays where the victim was, so that it goes first unless it is hit.
class Lip : public WayOrder {
public:
    static constexpr int repeat_hits = 1;  // the first hit after the miss
    static constexpr bool interchangeable = true;

    explicit Lip(int ways) : WayOrder(ways) {}

    PolicyState fill(PolicyState state, int) const { return state; }
    int victim(PolicyState state) const { return oldest(state); }
};

// BIP: one miss in 32 as LRU (branch 0), the others as LIP (branch 1).
class Bip : public WayOrder {
public:
    static constexpr int repeat_hits = 1;
    static constexpr bool interchangeable = true;

    explicit Bip(int ways) : WayOrder(ways) {}

    int branches() const { return 2; }
    Weight weight(int branch) const { return branch == 0 ? Weight{1, 32} : Weight{31, 32}; }
    PolicyState fill(PolicyState state, int way, int branch) const { return branch == 0 ? hit(state, way) : state; }
    int victim(PolicyState state, int) const { return oldest(state); }
};

}  // namespace l1dflush
