// SPDX-License-Identifier: GPL-2.0-or-later
// A policy as a table, for policies with few states.
//
// The table is never written by hand: it is what the policy type answers. It covers full sets only. The states are
// numbered as they are found, starting from a state that a full set really is in and closing it under hits on every
// way and under the miss, so the policy is never asked about a state that does not occur.
//
// What a set in table form keeps is one word, number * 16 + victim: the victim of the next miss is at hand before it is
// known whether there will be one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "simulate/choice.hpp"

namespace l1dflush {

class PolicyTable {
public:
    // Beyond this the table would not stay in the nearer caches of the machine that runs the simulation.
    static constexpr std::size_t max_states = 4096;

    // A row has 2 * width entries: the words after a hit in each way, then after a miss that replaced each way (where
    // only the victim's entry means anything). Allocated once, so that rows() stays valid.
    PolicyTable(int ways, int width)
        : ways_(ways), width_(width), rows_(new std::uint16_t[max_states * 2 * static_cast<std::size_t>(width)]) {}

    const std::uint16_t *rows() const { return rows_.get(); }
    PolicyState state(std::uint64_t word) const { return states_[word / 16]; }
    std::uint64_t word(PolicyState state) const { return word_of(numbers_.at(state)); }

    // Takes in `start` and everything that follows from it. False, and nothing changes, if that is too much for the
    // table or a matter of chance; then the policy stays without a table for good.
    template <class P>
    bool close(const P &policy, PolicyState start) {
        if (numbers_.contains(start)) return true;
        if (gave_up_) return false;
        const std::size_t before = states_.size();
        number(start);
        for (std::size_t i = before; i < states_.size(); ++i) {
            const Outcomes missed = misses(policy, states_[i]);
            if (!missed.single() || states_.size() > max_states) {
                forget(before);
                gave_up_ = true;
                return false;
            }
            SplitMix64 unused(0);  // a single outcome needs no draw
            const Outcome miss = missed.pick(unused);
            victims_.push_back(static_cast<std::uint8_t>(miss.way));
            for (int way = 0; way < ways_; ++way) set(i, way, number(after_hit(policy, states_[i], way)));
            set(i, width_ + miss.way, number(miss.state));
        }
        // Only now every state's victim is known.
        for (std::size_t i = before; i < states_.size(); ++i) {
            for (int way = 0; way < ways_; ++way) set(i, way, word_of(entry(i, way)));
            set(i, width_ + victims_[i], word_of(entry(i, width_ + victims_[i])));
        }
        return true;
    }

private:
    std::uint16_t &entry(std::size_t number, int column) {
        return rows_[number * 2 * static_cast<std::size_t>(width_) + static_cast<std::size_t>(column)];
    }
    void set(std::size_t number, int column, std::size_t value) {
        entry(number, column) = static_cast<std::uint16_t>(value);
    }
    std::size_t word_of(std::size_t number) const { return number * 16 + victims_[number]; }

    std::size_t number(PolicyState state) {
        const auto [found, is_new] = numbers_.try_emplace(state, states_.size());
        if (is_new) states_.push_back(state);
        return found->second;
    }
    void forget(std::size_t before) {
        for (std::size_t i = before; i < states_.size(); ++i) numbers_.erase(states_[i]);
        states_.resize(before);
        victims_.resize(before);
    }

    int ways_;
    int width_;
    bool gave_up_ = false;
    std::unique_ptr<std::uint16_t[]> rows_;
    std::vector<PolicyState> states_;
    std::vector<std::uint8_t> victims_;
    std::unordered_map<PolicyState, std::size_t> numbers_;
};

}  // namespace l1dflush
