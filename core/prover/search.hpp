// Layer by layer through a word: how many old lines can be left?
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "policy/registry.hpp"
#include "prover/frontier.hpp"
#include "prover/limits.hpp"
#include "prover/machine.hpp"
#include "prover/lazy_bits.hpp"
#include "prover/nameless.hpp"
#include "prover/step.hpp"

namespace l1dflush {

// Which machine the search uses. `fastest` is for use; `absolute` exists so that tests can compare.
enum class View { fastest, absolute };

// What is asked about a word: how the set may be at its start, and how often others may touch it meanwhile.
struct Setting {
    Start start = Start::any;
    std::uint32_t touches = 0;
    View view = View::fastest;
};

// Whether any renaming of the ways is a symmetry of the policy.
template <class P>
constexpr bool interchangeable() {
    if constexpr (requires { P::interchangeable; })
        return P::interchangeable;
    else
        return false;
}

// Calls use(machine, policy) with the machine that suits the policy, and again with absolute ways if the first finds
// that it needs them. BitMachine is the one to use for bit-PLRU.
template <class BitMachine, class P, class Use>
auto with_machine(const P &policy, const Setting &setting, WordFacts word, const Limits &limits, Use use) {
    // Where ways that are invalid at the start may add nothing, see machine.hpp.
    const bool nothing_new = word.flushes != Flushes::lines_that_come_back && !word.cold;
    if (setting.view == View::fastest) {
        if constexpr (SymmetricPolicy<P>) {
            try {
                RelativeMachine<P> machine(policy, Start::any, limits);
                // See machine.hpp for when `any` will do. Where a residue remains, invalidations before the word may
                // lead to one that a full set never has.
                if (fill_order_is_free<P>() && word.flushes == Flushes::lines_that_come_back)
                    return use(RelativeMachine<P>(policy, setting.start == Start::any ? Start::any : Start::invalid, limits),
                               policy);
                const bool whole = setting.start != Start::invalidations || requires { policy.base(); };
                if (setting.start == Start::any || (nothing_new && whole && machine.fills_like_hits()))
                    return use(machine, policy);
                if (interchangeable<P>() && word.flushes == Flushes::none)
                    return use(RelativeMachine<P>(policy, Start::invalid, limits), policy);
            } catch (const NeedsAbsoluteWays &) {
            }
        } else if constexpr (std::is_same_v<P, BitPlru>) {
            // Filling does what hitting does, as for a RelativeMachine.
            if (policy.ways() >= 2 && (setting.start == Start::any || nothing_new)) {
                if (setting.touches > 0) return use(LazyBitMachine(policy.ways()), policy);
                return use(BitMachine(policy.ways()), policy);
            }
        }
    }
    return use(AbsoluteMachine<P>(policy, setting.start, limits), policy);
}

template <class Machine>
Frontier first_layer(const Machine &machine, const Limits &limits) {
    Frontier layer;
    machine.starts([&](const State &state) {
        if (machine.unknown(state) == 0) return;
        layer.insert(state, Cost{}, 0, 0);
        limits.check(layer.size());
    });
    return layer;
}

template <class Machine>
int most_unknown(const Machine &machine, const Frontier &layer) {
    int most = 0;
    layer.for_each([&](const State &state, const Frontier::Node &) { most = std::max(most, machine.unknown(state)); });
    return most;
}

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
template <class Machine>
int advance(const Machine &machine, const Item &item, const LiveLines &live, GoneSets &gone, std::uint32_t touches,
            Frontier &layer, Frontier &next, const Limits &limits) {
    next.clear();
    int most = 0;
    std::size_t steps = 0;
    Stepper<Machine> stepper(machine, live, gone);
    add_touched(layer, touches, [&](const State &from, const Frontier::Node &node) {
        stepper.touch(from, [&](const State &to, const Move &, Weight) {
            limits.poll_now_and_then(steps++);
            if (machine.unknown(to) == 0) return;
            if (layer.insert(to, Cost{}, 0, node.touches + 1)) limits.check(layer.size() + gone.size());
        });
    });
    layer.for_each([&](const State &from, const Frontier::Node &node) {
        stepper.step(item, from, [&](const State &to, const Move &, Weight) {
            limits.poll_now_and_then(steps++);
            const int unknown = machine.unknown(to);
            if (unknown == 0) return;
            most = std::max(most, unknown);
            if (next.insert(to, Cost{}, 0, node.touches)) limits.check(layer.size() + next.size() + gone.size());
        });
    });
    return most;
}

struct Decision {
    std::vector<int> curve;    // most leftovers after 0, 1, 2, ... items, up to and with the first 0
    std::uint64_t states = 0;  // states kept, over all layers
    bool ended = false;        // the last entry is 0
};

template <class Machine>
Decision decide_word(const Machine &machine, const Word &word, std::uint32_t touches, const Limits &limits) {
    Decision decision;
    Frontier layer = first_layer(machine, limits);
    Frontier next;
    LiveLines live(word);
    GoneSets gone;
    decision.curve.push_back(most_unknown(machine, layer));
    decision.states = layer.size();
    for (const std::uint32_t kept : word.kept) {
        int most = decision.curve.back();
        if (most == 0) break;
        if (kept != 0) {
            const Item &item = word.items[kept - 1];
            live.before(item);
            most = advance(machine, item, live, gone, touches, layer, next, limits);
            live.after(item);
            std::swap(layer, next);
            decision.states += layer.size();
            limits.poll_now_and_then(kept);
        }
        decision.curve.push_back(most);
    }
    decision.ended = decision.curve.back() == 0;
    return decision;
}

// A line needs a label only while the word goes on to touch it again, and most complete words have done their work
// long before their end. So beginnings of the word are tried first, as words of their own: up to the first repeated
// line, then a quarter more, and again. What they leave is exactly what the word leaves up to there (the curve says
// nothing about later items), and when it is nothing, it stays nothing.
inline Decision decide(const PolicyChoice &choice, int ways, const RawWord &raw, const Setting &setting,
                       bool merge_repeats, const Limits &limits) {
    std::vector<std::size_t> ends;
    std::size_t end = raw.items_before_repeat();
    for (int tries = 0; tries < 3 && end < raw.lines.size(); ++tries, end += end / 4 + 1) ends.push_back(end);
    ends.push_back(raw.lines.size());
    return with_policy(choice, ways, [&](const auto &policy) {
        const int repeats = merge_repeats ? useful_run(policy, setting.touches) : unlimited;
        return with_machine<NamelessMachine>(
            policy, setting, raw.facts(), limits, [&](const auto &machine, const auto &) {
                Decision decision;
                std::uint64_t states = 0;
                for (const std::size_t length : ends) {
                    decision = decide_word(machine, prepare(raw.beginning(length), repeats), setting.touches, limits);
                    states += decision.states;
                    if (decision.ended) break;
                }
                decision.states = states;
                return decision;
            });
    });
}

}  // namespace l1dflush
