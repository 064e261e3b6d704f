// SPDX-License-Identifier: GPL-2.0-or-later
// tree-PLRU:SHAPE: pseudo-LRU trees for any number of ways, such as 8+4, (3+3)+(3+3), 4+4+4. A node has two or three
// children and points to the one in which the victim is; a touch makes every node on its path point to the child
// after the one touched. With two children that is tree-PLRU's bit.
//
// A shape is a number or two or three parts joined by '+', a part a number or a shape in brackets. Numbers are 1 (a
// way), a power of two (a balanced binary tree) and 3 (a node with three ways).
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "policy/policy.hpp"

namespace l1dflush {

class ShapedTree {
public:
    ShapedTree(std::string_view shape, int ways);

    int ways() const { return ways_; }
    PolicyState empty() const { return 0; }

    PolicyState hit(PolicyState state, int way) const {
        for (int node = nodes_.empty() ? a_way : 0; node != a_way;) {
            const int child = child_with(node, way);
            state = with_pointer(state, node, (child + 1) % nodes_[node].arity);
            way -= nodes_[node].first[child];
            node = nodes_[node].child[child];
        }
        return state;
    }
    PolicyState fill(PolicyState state, int way) const { return hit(state, way); }
    int victim(PolicyState state) const {
        int way = 0;
        for (int node = nodes_.empty() ? a_way : 0; node != a_way;) {
            const int child = pointer(state, node);
            way += nodes_[node].first[child];
            node = nodes_[node].child[child];
        }
        return way;
    }

    // Where all children of a node have the same shape, they may change places in a circle: children are counted from
    // the one pointed to, and the pointer is gone. Elsewhere everything stays.
    int position(PolicyState state, int way) const {
        int position = 0;
        for (int node = nodes_.empty() ? a_way : 0; node != a_way;) {
            const int child = child_with(node, way);
            position += nodes_[node].first[place(state, node, child)];
            way -= nodes_[node].first[child];
            node = nodes_[node].child[child];
        }
        return position;
    }
    PolicyState residue(PolicyState state) const {
        PolicyState out = 0;
        if (!nodes_.empty()) turn(state, 0, 0, out);
        return out;
    }
    PolicyState representative(PolicyState residue) const { return residue; }

    // What each node points to, a node before its children.
    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> out;
        for (int node = 0; node < count(); ++node) out.push_back(pointer(state, node));
        return out;
    }
    PolicyState pack(const std::vector<int> &in) const {
        require(in.size() == nodes_.size(), "the state of a tree is one number per node");
        PolicyState state = 0;
        for (int node = 0; node < count(); ++node) {
            const int to = in[static_cast<std::size_t>(node)];
            require(to >= 0 && to < nodes_[node].arity, "a node has no such child");
            state = with_pointer(state, node, to);
        }
        return state;
    }

private:
    static constexpr int a_way = -1;  // in place of a node's number: no node but a single way

    struct Node {
        int arity = 0;
        int ways = 0;
        std::array<int, 3> child{};  // node numbers
        std::array<int, 3> first{};  // the first way of each child, counted within the node
        bool symmetric = false;      // all children have the same shape
        std::string form;            // equal for equal shapes
    };

    int count() const { return static_cast<int>(nodes_.size()); }

    // Two bits a node: at most 15 nodes.
    static int pointer(PolicyState state, int node) { return static_cast<int>((state >> (2 * node)) & 3U); }
    static PolicyState with_pointer(PolicyState state, int node, int to) {
        return (state & ~(PolicyState{3} << (2 * node))) | (static_cast<PolicyState>(to) << (2 * node));
    }

    int child_with(int node, int way) const {
        int child = nodes_[node].arity - 1;
        while (way < nodes_[node].first[child]) --child;
        return child;
    }
    int place(PolicyState state, int node, int child) const {
        const int arity = nodes_[node].arity;
        return nodes_[node].symmetric ? (child - pointer(state, node) + arity) % arity : child;
    }
    // Writes the pointers below `node` to where they stand when `node` stands at `target`, a node of the same shape.
    void turn(PolicyState state, int node, int target, PolicyState &out) const {
        if (!nodes_[node].symmetric) out = with_pointer(out, target, pointer(state, node));
        for (int child = 0; child < nodes_[node].arity; ++child)
            if (nodes_[node].child[child] != a_way)
                turn(state, nodes_[node].child[child], nodes_[target].child[place(state, node, child)], out);
    }

    // A node is entered in the table before its children; they are read or made by `make`(number of the child).
    template <class Make>
    int add_node(int arity, Make make);
    int add_number(int ways);
    int read_part(std::string_view text, std::size_t &at);
    int read_shape(std::string_view text, std::size_t &at);

    std::vector<Node> nodes_;
    int ways_ = 0;
};

}  // namespace l1dflush
