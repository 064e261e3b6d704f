// SPDX-License-Identifier: GPL-2.0-or-later
// All that can happen in a word as a game between the adversary, who chooses, and chance, who answers; and its value.
//
// A layer has the states that are possible before an item. A state has choices (Move::choice), a choice has branches
// with chances that add up to 1, and a branch leads to a state of the next layer or, after a touch, of the same layer
// with one touch more used. The value of a state is the largest chance that an unknown way is left at the end:
//
//     V(state) = max over its choices of the sum over the branches of chance * V(target)
//
// and 1 after the last item; a state without an unknown way is worth 0 and is not kept. See Puterman, "Markov decision
// processes" (1994), section 4.3: backward induction over a finite horizon.
//
// The values are exact. All chances are brought to a common denominator, the game's `base`. With r items and s touches
// still possible a value is a whole number over base^(r + s): every branch uses up exactly one of the two, so that
// nothing ever has to be divided.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "prover/limbs.hpp"
#include "prover/limits.hpp"
#include "prover/state.hpp"
#include "prover/step.hpp"

namespace l1dflush {

struct Position {
    State state;
    std::uint32_t touches;  // used so far
    bool operator==(const Position &that) const {
        return state.key == that.state.key && state.mask == that.state.mask && touches == that.touches;
    }
};

struct PositionHash {
    std::size_t operator()(const Position &p) const {
        return static_cast<std::size_t>((p.state.key.hash() ^ p.state.mask) * 0x9E3779B97F4A7C15U + p.touches);
    }
};

struct Branch {
    static constexpr std::uint32_t nothing_left = std::numeric_limits<std::uint32_t>::max();

    std::uint32_t target;
    Weight weight;  // over the game's base, once that is known
    bool first;     // of the branches of its choice
    bool touch;
    bool committed;  // says nothing about the start, nor about what an earlier touch brought in
};

struct GameLayer {
    std::vector<Position> positions;
    std::vector<std::size_t> first_branch;
    std::vector<Branch> branches;

    // The number of `position`, which is new if need be.
    std::uint32_t number(const Position &position) {
        const auto [entry, fresh] = numbers_.try_emplace(position, static_cast<std::uint32_t>(positions.size()));
        if (fresh) positions.push_back(position);
        return entry->second;
    }
    void forget_numbers() { numbers_ = {}; }

private:
    std::unordered_map<Position, std::uint32_t, PositionHash> numbers_;
};

// One number per position of a layer.
class Values {
public:
    Values(std::size_t width, std::size_t count) : width_(width), limbs_(width * count) {}
    std::size_t width() const { return width_; }
    std::uint32_t *at(std::size_t i) { return limbs_.data() + i * width_; }
    const std::uint32_t *at(std::size_t i) const { return limbs_.data() + i * width_; }
    Limbs number(std::size_t i) const {
        Limbs limbs(at(i), at(i) + width_);
        while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
        return limbs;
    }

private:
    std::size_t width_;
    std::vector<std::uint32_t> limbs_;
};

// Whose value: of all strategies, or only of those that settle nothing about the start on the way.
enum class Strategies { all, committed };

class Game {
public:
    Game(std::uint32_t touches, const Limits &limits) : touches_(touches), limits_(limits) {}

    std::vector<GameLayer> layers{GameLayer{}};

    std::uint32_t base() const { return base_; }
    std::size_t states() const { return states_; }

    // Everything that `item` may do in the last layer, and what follows: in a new layer, or for `circle` in the same one.
    // normal(State) is the one that stands for all that are worth the same.
    template <class Normal>
    void expand(const Machine &machine, Stepper<Machine> &stepper, const Item &item, bool circle, Normal normal) {
        GameLayer next;
        GameLayer &here = layers.back();
        GameLayer &there = circle ? here : next;
        for (std::size_t i = 0; i < here.positions.size(); ++i) {
            here.first_branch.push_back(here.branches.size());
            const Position from = here.positions[i];
            int last_choice = -1;
            auto add = [&](GameLayer &into, State to, const Move &move, Weight weight, bool touch) {
                const bool left = machine.unknown(to) > 0;
                if (weight.denominator == 0) weight = Weight{};
                const std::uint32_t target =
                    left ? into.number({normal(to), from.touches + (touch ? 1U : 0U)}) : Branch::nothing_left;
                here.branches.push_back({target, weight, move.choice != last_choice, touch,
                                         move.source == Move::Source::known});
                last_choice = move.choice;
                see(weight);
            };
            if (from.touches < touches_)
                stepper.touch(from.state, [&](const State &to, const Move &move, Weight weight) {
                    add(here, to, move, weight, true);
                });
            last_choice = -1;
            stepper.step(item, from.state, [&](const State &to, const Move &move, Weight weight) {
                add(there, to, move, weight, false);
            });
            limits_.poll_now_and_then(i);
            // A branch takes about a tenth of what a state does.
            limits_.check(states_ + here.positions.size() + next.positions.size() +
                          (branches_ + here.branches.size()) / 10);
        }
        here.first_branch.push_back(here.branches.size());
        here.forget_numbers();
        states_ += here.positions.size();
        branches_ += here.branches.size();
        if (!circle) layers.push_back(std::move(next));
    }

    // To be called once, when all is expanded.
    void scale() {
        for (GameLayer &layer : layers)
            for (Branch &branch : layer.branches)
                branch.weight = {branch.weight.numerator * (base_ / branch.weight.denominator), base_};
    }

    // The values after the last item.
    Values last(std::size_t count, const std::vector<Position> &positions) const {
        Values values(width(touches_), count);
        for (std::size_t i = 0; i < count; ++i) {
            Limbs power(values.width());
            power[0] = 1;
            for (std::uint32_t used = positions[i].touches; used < touches_; ++used) {
                const Limbs before = power;
                std::fill(power.begin(), power.end(), 0);
                add_product(power, base_, before.data(), before.size());
            }
            std::copy(power.begin(), power.end(), values.at(i));
        }
        return values;
    }

    // The values of `layer`, after which `items` items are still to come with the values `next`, its own included.
    // `best`: for each position the branch with which its best choice begins.
    Values before(const GameLayer &layer, std::size_t items, const Values &next, Strategies strategies,
                  std::vector<std::size_t> *best = nullptr) const {
        const std::size_t count = layer.positions.size();
        Values here(width(items + touches_), count);
        limits_.check(states_ + (count * here.width() + next.width()) / 50);
        if (best != nullptr) best->assign(count, 0);
        Limbs sum(here.width());
        std::size_t work = 0;
        // A touch leads to the same layer with one touch more used: those first.
        for (std::uint32_t used = touches_ + 1; used-- > 0;) {
            for (std::size_t i = 0; i < count; ++i) {
                if (layer.positions[i].touches != used) continue;
                std::size_t b = layer.first_branch[i];
                bool any = false;
                while (b < layer.first_branch[i + 1]) {
                    const std::size_t choice = b;
                    std::fill(sum.begin(), sum.end(), 0);
                    do {
                        const Branch &branch = layer.branches[b];
                        const Values &values = branch.touch ? here : next;
                        if (branch.target != Branch::nothing_left)
                            add_product(sum, branch.weight.numerator, values.at(branch.target), values.width());
                        ++b;
                    } while (b < layer.first_branch[i + 1] && !layer.branches[b].first);
                    work += here.width();
                    if (work > 0xFFFFF) {
                        limits_.poll();
                        work = 0;
                    }
                    const bool committed = layer.branches[choice].committed;
                    if (strategies == Strategies::committed && !committed) continue;
                    const int better = any ? compare(sum.data(), here.at(i), here.width()) : 1;
                    if (better > 0) std::copy(sum.begin(), sum.end(), here.at(i));
                    // Of choices that are as good, one that leaves the start alone.
                    const bool preferred = better > 0 || (better == 0 && committed);
                    if (best != nullptr && preferred) (*best)[i] = choice;
                    any = true;
                }
            }
        }
        return here;
    }

private:
    void see(Weight weight) {
        const std::uint64_t common = std::lcm(std::uint64_t{base_}, std::uint64_t{weight.denominator});
        if (common > std::numeric_limits<std::uint32_t>::max())
            throw StateSpaceTooLarge("chances whose common denominator has more than 32 bits");
        base_ = static_cast<std::uint32_t>(common);
    }

    // Limbs for base^exponent.
    std::size_t width(std::size_t exponent) const {
        return static_cast<std::size_t>(static_cast<double>(exponent) * std::log2(base_) / 32) + 2;
    }

    std::uint32_t touches_;
    const Limits &limits_;
    std::uint32_t base_ = 1;
    std::size_t states_ = 0;
    std::size_t branches_ = 0;
};

// Where the largest value is, of the first `count` of `values`.
inline std::size_t largest(const Values &values, std::size_t count) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < count; ++i)
        if (compare(values.at(i), values.at(best), values.width()) > 0) best = i;
    return best;
}

}  // namespace l1dflush
