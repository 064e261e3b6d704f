// Layer by layer through a word: how many old lines can be left?
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "policy/registry.hpp"
#include "prover/frontier.hpp"
#include "prover/limits.hpp"
#include "prover/machine.hpp"
#include "prover/nameless.hpp"
#include "prover/step.hpp"

namespace l1dflush {

// Which machine the search uses. `fastest` is for use; `absolute` exists so that tests can compare.
enum class View { fastest, absolute };

// What this search can follow so far: one successor for every choice of the adversary, and invalid ways that are
// filled from the lowest and like victims.
template <class P>
concept SearchablePolicy =
    !RandomPolicy<P> && !RelationalPolicy<P> && !fills_highest<P>() &&
    !requires(const P &policy, PolicyState state, int way) { policy.fill_invalid(state, way); };

// Calls use(machine, policy) with the machine that suits the policy, and again with absolute ways if the first finds
// that it needs them. BitMachine is the one to use for bit-PLRU.
template <class BitMachine, class Use>
auto with_machine(const PolicyChoice &choice, int ways, View view, const Limits &limits, Use use) {
    using Result = std::invoke_result_t<Use, const AbsoluteMachine<Lru> &, const Lru &>;
    return with_policy(choice, ways, [&](const auto &policy) -> Result {
        using P = std::decay_t<decltype(policy)>;
        if constexpr (!SearchablePolicy<P>) {
            throw std::invalid_argument("flushes are not yet proved for this policy");
        } else {
            if (view == View::fastest) {
                if constexpr (PermutingPolicy<P>) {
                    try {
                        return use(RelativeMachine(relative_tables(policy)), policy);
                    } catch (const NeedsAbsoluteWays &) {
                    }
                } else if constexpr (std::is_same_v<P, BitPlru>) {
                    if (ways >= 2) return use(BitMachine(ways), policy);
                }
            }
            return use(AbsoluteMachine<P>(policy, limits), policy);
        }
    });
}

// Words leave out immediate repeats (word.hpp), which is right only where touching the way touched last changes
// nothing. A hit right after a miss moves on the state of LIP and of the policies with ages.
template <class P>
void require_words(const P &) {
    if constexpr (std::is_same_v<P, Lip> || std::is_same_v<P, Qlru<false>>)
        throw std::invalid_argument("words are not yet decided for this policy");
}

template <class Machine>
Frontier first_layer(const Machine &machine, const Limits &limits) {
    Frontier layer;
    machine.starts([&](const State &state) {
        layer.insert(state, Cost{}, 0);
        limits.check(layer.size());
    });
    return layer;
}

// All that `item` makes of `layer`, into `next`. States without an unknown way are left out: nothing of the old
// content can be left in them any more. Returns the largest number of unknown ways.
template <class Machine>
int advance(const Machine &machine, const Item &item, const LiveLines &live, GoneSets &gone, const Frontier &layer,
            Frontier &next, const Limits &limits) {
    next.clear();
    int most = 0;
    std::size_t steps = 0;
    Stepper<Machine> stepper(machine, live, gone);
    layer.for_each([&](const State &from, const Frontier::Node &) {
        stepper.step(item, from, [&](const State &to, const Move &) {
            limits.poll_now_and_then(steps++);
            const int unknown = machine.unknown(to);
            if (unknown == 0) return;
            most = std::max(most, unknown);
            if (next.insert(to, Cost{}, 0)) limits.check(layer.size() + next.size() + gone.size());
        });
    });
    return most;
}

struct Decision {
    std::vector<int> curve;    // most leftovers after 0, 1, 2, ... items, up to and with the first 0
    std::uint64_t states = 0;  // states kept, over all layers
    bool ended = false;        // for `distinct`: the last entry is 0
    bool repeats = false;      // for `distinct`: it will never be 0
};

template <class Machine>
Decision decide_word(const Machine &machine, const Word &word, const Limits &limits) {
    Decision decision;
    Frontier layer = first_layer(machine, limits);
    Frontier next;
    LiveLines live(word);
    GoneSets gone;
    decision.curve.push_back(machine.ways());
    decision.states = layer.size();
    for (const std::uint32_t kept : word.kept) {
        int most = decision.curve.back();
        if (kept != 0) {
            const Item &item = word.items[kept - 1];
            live.before(item);
            most = advance(machine, item, live, gone, layer, next, limits);
            live.after(item);
            std::swap(layer, next);
            decision.states += layer.size();
            limits.poll_now_and_then(kept);
        }
        decision.curve.push_back(most);
        if (most == 0) break;
    }
    decision.ended = decision.curve.back() == 0;
    return decision;
}

// A line needs a label only while the word goes on to touch it again, and most complete words have done their work
// long before their end. So beginnings of the word are tried first, as words of their own: up to the first repeated
// line, then a quarter more, and again. What they leave is exactly what the word leaves up to there (the curve says
// nothing about later items), and when it is nothing, it stays nothing.
inline Decision decide(const PolicyChoice &choice, int ways, const std::vector<std::uint32_t> &lines,
                       const std::vector<std::uint8_t> &kinds, View view, bool merge_repeats, const Limits &limits) {
    if (lines.size() != kinds.size()) throw std::invalid_argument("as many kinds as lines are needed");
    std::vector<std::size_t> ends;
    std::size_t end = items_before_repeat(lines);
    for (int tries = 0; tries < 3 && end < lines.size(); ++tries, end += end / 4 + 1) ends.push_back(end);
    return with_machine<NamelessMachine>(choice, ways, view, limits, [&](const auto &machine, const auto &policy) {
        require_words(policy);
        std::uint64_t states = 0;
        for (const std::size_t length : ends) {
            const auto cut = static_cast<std::ptrdiff_t>(length);
            const Word beginning =
                prepare({lines.begin(), lines.begin() + cut}, {kinds.begin(), kinds.begin() + cut}, merge_repeats);
            Decision decision = decide_word(machine, beginning, limits);
            states += decision.states;
            decision.states = states;
            if (decision.ended) return decision;
        }
        Decision decision = decide_word(machine, prepare(lines, kinds, merge_repeats), limits);
        decision.states += states;
        return decision;
    });
}

// Pairwise different accesses, until nothing can be left, `limit` of them are made, or the layers go round in a
// circle. Each access is of a line that occurs once, so a layer is a function of the one before it: once a layer has
// been there before, nothing new can come. Comparing with a layer remembered at every power of two finds a circle of
// any length.
inline Decision distinct(const PolicyChoice &choice, int ways, std::optional<std::uint64_t> limit, View view,
                         const Limits &limits) {
    return with_machine<NamelessMachine>(choice, ways, view, limits, [&](const auto &machine, const auto &) {
        Decision decision;
        Frontier layer = first_layer(machine, limits);
        Frontier next;
        Frontier remembered = layer;
        const Item item{0, ItemKind::access, other, false, false};
        const LiveLines live{Word{}};
        GoneSets gone;
        decision.curve.push_back(ways);
        decision.states = layer.size();
        for (std::uint64_t n = 1; !limit || n <= *limit; ++n) {
            limits.poll_now_and_then(n);
            const int most = advance(machine, item, live, gone, layer, next, limits);
            std::swap(layer, next);
            decision.states += layer.size();
            decision.curve.push_back(most);
            if (most == 0) {
                decision.ended = true;
                break;
            }
            if (layer.same_states(remembered)) {
                decision.repeats = true;
                break;
            }
            if ((n & (n - 1)) == 0) remembered = layer;
        }
        return decision;
    });
}

}  // namespace l1dflush
