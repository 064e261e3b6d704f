// LRU: the ways ordered by their last touch; the victim is the one touched longest ago.
#pragma once

#include "policy/policy.hpp"

namespace l1dflush {

class Lru {
public:
    explicit Lru(int ways) : ways_(ways) { require(ways >= 1 && ways <= max_ways, "LRU has 1 to 16 ways"); }

    int ways() const { return ways_; }

    // The order before anything was cached never matters once the set is full; this one makes an empty set's
    // ways come up in the order 0, 1, 2, ...
    PolicyState empty() const {
        PolicyState state = 0;
        for (int i = 0; i < ways_; ++i) state = with_nibble(state, i, ways_ - 1 - i);
        return state;
    }

    PolicyState hit(PolicyState state, int way) const { return moved_to_front(state, ways_, way); }
    PolicyState fill(PolicyState state, int way) const { return moved_to_front(state, ways_, way); }
    int victim(PolicyState state) const { return nibble(state, ways_ - 1); }

    PolicyState base() const {
        PolicyState state = 0;
        for (int i = 0; i < ways_; ++i) state = with_nibble(state, i, i);
        return state;
    }
    int position(PolicyState state, int way) const { return index_in_order(state, way); }

    // The order, newest first.
    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> order;
        for (int i = 0; i < ways_; ++i) order.push_back(nibble(state, i));
        return order;
    }
    PolicyState pack(const std::vector<int> &order) const {
        require(static_cast<int>(order.size()) == ways_, "an LRU state is one number per way");
        PolicyState state = 0;
        unsigned seen = 0;
        for (int i = 0; i < ways_; ++i) {
            require(order[i] >= 0 && order[i] < ways_ && !((seen >> order[i]) & 1U), "not an order of the ways");
            seen |= 1U << order[i];
            state = with_nibble(state, i, order[i]);
        }
        return state;
    }

private:
    int ways_;
};

}  // namespace l1dflush
