// SPDX-License-Identifier: GPL-2.0-or-later
// Policy states as lists of numbers and back: the pieces that several policies are made of.
#pragma once

#include <vector>

#include "policy/policy.hpp"

namespace l1dflush {

// Appends `count` bits of `word`, from bit `shift` up.
inline void append_bits(std::vector<int> &out, std::uint64_t word, int shift, int count) {
    for (int i = 0; i < count; ++i) out.push_back(static_cast<int>((word >> (shift + i)) & 1U));
}

// The `count` bits that stand in `in` from `first` on, as a word.
inline std::uint64_t read_bits(const std::vector<int> &in, int first, int count) {
    std::uint64_t word = 0;
    for (int i = 0; i < count; ++i) {
        const int bit = in[static_cast<std::size_t>(first + i)];
        require(bit == 0 || bit == 1, "a bit is 0 or 1");
        word |= static_cast<std::uint64_t>(bit) << i;
    }
    return word;
}

// Appends the first `count` entries of an order.
inline void append_order(std::vector<int> &out, std::uint64_t order, int count) {
    for (int i = 0; i < count; ++i) out.push_back(nibble(order, i));
}

// The order of 0 .. count-1 that `in` begins with.
inline std::uint64_t read_order(const std::vector<int> &in, int count) {
    std::uint64_t order = 0;
    unsigned seen = 0;
    for (int i = 0; i < count; ++i) {
        const int entry = in[static_cast<std::size_t>(i)];
        require(entry >= 0 && entry < count && !((seen >> entry) & 1U), "not an order");
        seen |= 1U << entry;
        order = with_nibble(order, i, entry);
    }
    return order;
}

// 0, 1, 2, ...: the order in which everything stands at its own place.
inline std::uint64_t rising_order(int count) {
    std::uint64_t order = 0;
    for (int i = 0; i < count; ++i) order = with_nibble(order, i, i);
    return order;
}

// ..., 2, 1, 0: with the oldest last, the one that comes up first is 0.
inline std::uint64_t falling_order(int count) {
    std::uint64_t order = 0;
    for (int i = 0; i < count; ++i) order = with_nibble(order, i, count - 1 - i);
    return order;
}

}  // namespace l1dflush
