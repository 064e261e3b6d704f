// SPDX-License-Identifier: GPL-2.0-or-later
// Layer by layer through a word: what the searches have in common.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "policy/any.hpp"
#include "prover/frontier.hpp"
#include "prover/lazy_bits.hpp"
#include "prover/limits.hpp"
#include "prover/machine.hpp"
#include "prover/setting.hpp"
#include "prover/step.hpp"
#include "prover/word.hpp"

namespace l1dflush {

// Calls use(machine) with the machine that suits the policy, and again with absolute ways if the first finds
// that it needs them. BitMachine is the one to use for bit-PLRU.
template <class BitMachine, class Use>
auto with_machine(const AnyPolicy &policy, const Setting &setting, WordFacts word, const Limits &limits, Use use) {
    // Where ways that are invalid at the start may add nothing, see machine.hpp.
    const bool nothing_new = word.flushes != Flushes::lines_that_come_back && !word.cold;
    if (setting.view == View::fastest) {
        const PolicyFacts &facts = policy.facts;
        if (facts.symmetric) {
            try {
                RelativeMachine machine(policy, Start::any, limits);
                // See machine.hpp for when `any` will do. Where a residue remains, invalidations before the word may
                // lead to one that a full set never has.
                if (facts.fill_order_is_free && word.flushes == Flushes::lines_that_come_back) {
                    const Start start = setting.start == Start::any ? Start::any : Start::invalid;
                    return use(RelativeMachine(policy, start, limits));
                }
                const bool whole = setting.start != Start::invalidations || !facts.has_residue;
                if (setting.start == Start::any || (nothing_new && whole && machine.fills_like_hits()))
                    return use(machine);
                if (facts.interchangeable && word.flushes == Flushes::none)
                    return use(RelativeMachine(policy, Start::invalid, limits));
            } catch (const NeedsAbsoluteWays &) {
            }
        } else if (facts.lazy_bits && policy.ways() >= 2 && (setting.start == Start::any || nothing_new)) {
            // Filling does what hitting does, as for a RelativeMachine.
            if (setting.touches > 0) return use(LazyBitMachine(policy.ways()));
            return use(BitMachine(policy.ways()));
        }
    }
    return use(AbsoluteMachine(policy, setting.start, limits));
}

Frontier first_layer(const Machine &machine, const Limits &limits);

int most_unknown(const Machine &machine, const Frontier &layer);

// Adds all that up to `touches` touches make of `layer`, in place: touch(State, Node) inserts what one touch makes.
template <class Touch>
void add_touched(Frontier &layer, std::uint32_t touches, Touch touch) {
    std::vector<std::pair<State, Frontier::Node>> from;
    for (std::uint32_t used = 0; used < touches; ++used) {
        from.clear();
        layer.for_each([&](const State &state, const Frontier::Node &node) {
            if (node.touches == used) from.emplace_back(state, node);
        });
        for (const auto &[state, node] : from) touch(state, node);
    }
}

// All that `item` makes of `layer`, into `next`; before it others may touch the set. States without an unknown way are
// left out: nothing of the old content can be left in them any more. Returns the largest number of unknown ways.
int advance(const Machine &machine, const Item &item, const LiveLines &live, GoneSets &gone, std::uint32_t touches,
            Frontier &layer, Frontier &next, const Limits &limits);

}  // namespace l1dflush
