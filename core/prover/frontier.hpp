// SPDX-License-Identifier: GPL-2.0-or-later
// One layer of a search: states grouped by Key, in each group only those that no other dominates: by `mask`, cost and
// touches used.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <vector>

#include "prover/state.hpp"

namespace l1dflush {

// What a run cost its adversary: word lines cached at the start, then hits; compared in that order. Adding the same
// to two costs never changes their order, so a cheaper state that leaves as much open stays the better one.
struct Cost {
    std::uint32_t cached = 0;
    std::uint32_t hits = 0;
    auto operator<=>(const Cost &) const = default;
};

class Frontier {
public:
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    struct Node {
        std::uint64_t mask;
        Cost cost;
        std::uint32_t trace;
        std::uint32_t next;
        std::uint32_t touches;
    };

    // False if a state that is already here dominates it (then nothing changed).
    bool insert(const State &state, Cost cost, std::uint32_t trace, std::uint32_t touches) {
        Group &group = find_or_add(state.key);
        for (std::uint32_t i = group.first; i != none; i = nodes_[i].next)
            if (subset(nodes_[i].mask, state.mask) && nodes_[i].cost <= cost && nodes_[i].touches <= touches) return false;
        std::uint32_t *link = &group.first;
        while (*link != none) {
            Node &node = nodes_[*link];
            if (subset(state.mask, node.mask) && cost <= node.cost && touches <= node.touches) {
                const std::uint32_t removed = *link;
                *link = node.next;
                node.next = free_;
                free_ = removed;
                --size_;
            } else {
                link = &node.next;
            }
        }
        std::uint32_t slot = free_;
        if (slot != none) {
            free_ = nodes_[slot].next;
            nodes_[slot] = {state.mask, cost, trace, group.first, touches};
        } else {
            slot = static_cast<std::uint32_t>(nodes_.size());
            nodes_.push_back({state.mask, cost, trace, group.first, touches});
        }
        group.first = slot;
        ++size_;
        return true;
    }

    std::size_t size() const { return size_; }

    // use(State, Node), in an order that depends on nothing but what was inserted.
    template <class Use>
    void for_each(Use use) const {
        for (const Group &group : groups_)
            for (std::uint32_t i = group.first; i != none; i = nodes_[i].next)
                use(State{group.key, nodes_[i].mask}, nodes_[i]);
    }

    bool contains(const State &state, std::uint32_t touches) const {
        if (table_.empty()) return false;
        const Group *group = find(state.key);
        if (group == nullptr) return false;
        for (std::uint32_t i = group->first; i != none; i = nodes_[i].next)
            if (nodes_[i].mask == state.mask && nodes_[i].touches == touches) return true;
        return false;
    }

    // Whether both hold the same states (costs aside).
    bool same_states(const Frontier &that) const {
        if (size() != that.size()) return false;
        bool same = true;
        for_each([&](const State &state, const Node &node) { same = same && that.contains(state, node.touches); });
        return same;
    }

    void clear() {
        groups_.clear();
        nodes_.clear();
        table_.assign(table_.size(), none);
        free_ = none;
        size_ = 0;
    }

private:
    struct Group {
        Key key;
        std::uint32_t first;
    };

    const Group *find(const Key &key) const {
        for (std::size_t i = key.hash() & (table_.size() - 1);; i = (i + 1) & (table_.size() - 1)) {
            if (table_[i] == none) return nullptr;
            if (groups_[table_[i]].key == key) return &groups_[table_[i]];
        }
    }

    Group &find_or_add(const Key &key) {
        if (2 * (groups_.size() + 1) > table_.size()) grow();
        std::size_t i = key.hash() & (table_.size() - 1);
        while (table_[i] != none) {
            Group &group = groups_[table_[i]];
            if (group.key == key) return group;
            i = (i + 1) & (table_.size() - 1);
        }
        table_[i] = static_cast<std::uint32_t>(groups_.size());
        groups_.push_back({key, none});
        return groups_.back();
    }

    void grow() {
        table_.assign(table_.empty() ? 64 : 2 * table_.size(), none);
        for (std::size_t g = 0; g < groups_.size(); ++g) {
            std::size_t i = groups_[g].key.hash() & (table_.size() - 1);
            while (table_[i] != none) i = (i + 1) & (table_.size() - 1);
            table_[i] = static_cast<std::uint32_t>(g);
        }
    }

    std::vector<Group> groups_;
    std::vector<Node> nodes_;
    std::vector<std::uint32_t> table_;  // open addressing, a power of two, at most half full
    std::uint32_t free_ = none;         // nodes that were dominated later
    std::size_t size_ = 0;
};

}  // namespace l1dflush
