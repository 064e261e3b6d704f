// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/shaped_tree.hpp"

namespace l1dflush {

namespace {

bool is_digit(std::string_view text, std::size_t at) {
    return at < text.size() && text[at] >= '0' && text[at] <= '9';
}

// How many parts the shape at `at` has: its node comes before theirs.
int parts(std::string_view text, std::size_t at) {
    int depth = 0;
    int found = 1;
    for (; at < text.size() && depth >= 0; ++at) {
        depth += text[at] == '(' ? 1 : text[at] == ')' ? -1 : 0;
        if (text[at] == '+' && depth == 0) ++found;
    }
    return found;
}

}  // namespace

ShapedTree::ShapedTree(std::string_view shape, int ways) {
    require(shape.size() <= 100, "this shape is too long");
    std::size_t at = 0;
    const int root = read_shape(shape, at);
    require(at == shape.size(), "a shape ends too early");
    require(root == 0 || root == a_way, "a shape is a tree");
    ways_ = root == a_way ? 1 : nodes_[0].ways;
    require(ways_ == ways, "the shape has another number of ways");
}

template <class Make>
int ShapedTree::add_node(int arity, Make make) {
    const int number = count();
    nodes_.emplace_back();
    Node node;
    node.arity = arity;
    std::array<std::string, 3> forms;
    for (int child = 0; child < arity; ++child) {
        node.first[child] = node.ways;
        node.child[child] = make(child);
        const bool single = node.child[child] == a_way;
        node.ways += single ? 1 : nodes_[node.child[child]].ways;
        forms[child] = single ? "." : nodes_[node.child[child]].form;
        node.form += forms[child];
    }
    require(node.ways <= max_ways, "a tree has at most 16 ways");
    node.form = "(" + node.form + ")";
    node.symmetric = forms[0] == forms[1] && (arity == 2 || forms[1] == forms[2]);
    nodes_[static_cast<std::size_t>(number)] = node;
    return number;
}

int ShapedTree::add_number(int ways) {
    if (ways == 1) return a_way;
    if (ways == 3) return add_node(3, [](int) { return a_way; });
    require(ways <= max_ways && is_power_of_two(ways), "a part of a shape is 1, 3 or a power of two");
    return add_node(2, [&](int) { return add_number(ways / 2); });
}

int ShapedTree::read_part(std::string_view text, std::size_t &at) {
    if (at < text.size() && text[at] == '(') {
        const int node = read_shape(text, ++at);
        require(at < text.size() && text[at] == ')', "a bracket is not closed");
        ++at;
        return node;
    }
    require(is_digit(text, at), "a part of a shape is a number or in brackets");
    int number = 0;
    for (; is_digit(text, at); ++at) {
        number = 10 * number + (text[at] - '0');
        require(number <= max_ways, "a tree has at most 16 ways");
    }
    return add_number(number);
}

int ShapedTree::read_shape(std::string_view text, std::size_t &at) {
    const int arity = parts(text, at);
    require(arity <= 3, "a node has two or three children");
    if (arity == 1) return read_part(text, at);
    return add_node(arity, [&](int child) {
        if (child > 0) {
            require(at < text.size() && text[at] == '+', "the parts of a shape are joined by '+'");
            ++at;
        }
        return read_part(text, at);
    });
}

}  // namespace l1dflush
