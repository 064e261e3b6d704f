// SPDX-License-Identifier: GPL-2.0-or-later
// A set between two items of a protocol that is played again and again, and sets of such states.
//
// Every line comes back, so every way has its explicit content (see steady.hpp). That makes states many, and they are
// kept small: a byte per way and the policy state.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "policy/policy.hpp"
#include "prover/steady_question.hpp"

namespace l1dflush {

// W is 8 or 16; ways (or positions) beyond the set's are 0.
template <std::size_t W>
struct SteadyState {
    std::array<std::uint8_t, W> label;
    PolicyState policy;

    auto operator<=>(const SteadyState &) const = default;

    std::uint64_t hash() const {
        std::uint64_t h = policy * 0x9E3779B97F4A7C15U;
        for (const std::uint64_t word : std::bit_cast<std::array<std::uint64_t, W / 8>>(label))
            h = (std::rotl(h, 29) ^ word) * 0xD6E8FEB86659FD93U;
        h ^= h >> 32;
        return (h * 0x9E3779B97F4A7C15U) >> 7;
    }
    int find(std::uint8_t wanted) const {
        for (std::size_t p = 0; p < W; ++p)
            if (label[p] == wanted) return static_cast<int>(p);
        return -1;
    }
};

// States in the order in which they came, each with a number that says where it came from. Nothing is ever copied to
// grow: the states stand in pieces, and the table is built anew from them.
template <class Key>
class StateSet {
public:
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    std::size_t size() const { return size_; }
    const Key &operator[](std::size_t i) const { return pieces_[i >> shift][i & low].key; }
    std::uint32_t origin(std::size_t i) const { return pieces_[i >> shift][i & low].origin; }

    // Whether it is new.
    bool insert(const Key &key, std::uint32_t origin) {
        if (3 * (size_ + 1) > 2 * table_.size()) grow();
        std::uint32_t &place = table_[find(key)];
        if (place != none) return false;
        place = static_cast<std::uint32_t>(size_);
        if ((size_ & low) == 0) pieces_.push_back(std::make_unique_for_overwrite<Entry[]>(std::size_t{1} << shift));
        pieces_.back()[size_ & low] = {key, origin};
        ++size_;
        return true;
    }
    // The number of the state, or none.
    std::uint32_t number(const Key &key) const { return table_.empty() ? none : table_[find(key)]; }
    bool contains(const Key &key) const { return number(key) != none; }

private:
    static constexpr int shift = 12;
    static constexpr std::size_t low = (std::size_t{1} << shift) - 1;
    struct Entry {
        Key key;
        std::uint32_t origin;
    };

    std::size_t find(const Key &key) const {
        std::size_t i = key.hash() & (table_.size() - 1);
        while (table_[i] != none && (*this)[table_[i]] != key) i = (i + 1) & (table_.size() - 1);
        return i;
    }
    void grow() {
        const std::size_t size = table_.empty() ? 64 : 2 * table_.size();
        std::vector<std::uint32_t>().swap(table_);
        table_.assign(size, none);
        for (std::size_t n = 0; n < size_; ++n) {
            std::size_t i = (*this)[n].hash() & (size - 1);
            while (table_[i] != none) i = (i + 1) & (size - 1);
            table_[i] = static_cast<std::uint32_t>(n);
        }
    }

    std::vector<std::unique_ptr<Entry[]>> pieces_;
    std::vector<std::uint32_t> table_;  // open addressing, a power of two, at most two thirds full
    std::size_t size_ = 0;
};

}  // namespace l1dflush
