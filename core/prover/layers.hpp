// The layers of a search in plain form: what a certificate is made of.
//
// Before each item the states that are kept of all that may be (state.hpp), as an independent checker writes them:
// numbers, and a symbol per way. The search is the one of search.hpp, by the two machines that know of every way what
// is in it (machine.hpp), and nothing is left out that only makes it faster: no repeat is merged, and ways that are
// invalid at the start stay what they are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "prover/search.hpp"

namespace l1dflush {

// What stands for a way in a plain state; a line of the word is its number there, in the order of first occurrence.
enum PlainSymbol : std::int64_t {
    plain_maybe = -1,     // unknown, may be invalid
    plain_valid = -2,     // unknown, valid
    plain_settled = -3,
    plain_invalid = -4,
    plain_brought = -5
};

struct PlainState {
    std::vector<int> policy;             // the policy's numbers, or those of the residue; empty: there is no residue
    std::vector<std::int64_t> holds;     // per way, or per position
    std::uint32_t touches = 0;           // used up
    std::vector<std::uint32_t> gone;     // lines that only prefetches touched, and that were pushed out since
};

struct Layers {
    bool positions = false;                       // seen from the policy's pointers, not by way number
    // Before each item, and behind the last; empty: nothing can be left. Nothing: the same as the one before.
    std::vector<std::optional<std::vector<PlainState>>> layers;
};

// As with_machine, but only machines that know of every way what is in it. Positions do not tell which of several
// invalid ways a miss fills, so with invalid ways they may stand for more than can happen. They are used where that
// is known to be no loss, see machine.hpp.
template <class P, class Use>
auto with_plain_machine(const P &policy, const Setting &setting, WordFacts word, const Limits &limits, Use use) {
    if (setting.view == View::fastest) {
        if constexpr (SymmetricPolicy<P>) {
            try {
                RelativeMachine<P> full(policy, Start::any, limits);
                if (setting.start == Start::any) return use(full, true);
                const bool whole = setting.start != Start::invalidations || requires { policy.base(); };
                const bool any_first = (whole && !word.cold && full.fills_like_hits()) || interchangeable<P>();
                if ((any_first && word.flushes == Flushes::none) || fill_order_is_free<P>())
                    return use(RelativeMachine<P>(policy, Start::invalid, limits), true);
            } catch (const NeedsAbsoluteWays &) {
            }
        }
    }
    return use(AbsoluteMachine<P>(policy, setting.start, limits), false);
}

// The numbers of the policy's part of a state.
template <class P>
std::vector<int> plain_policy(const P &policy, PolicyState state, bool positions) {
    if constexpr (SymmetricPolicy<P>) {
        if constexpr (requires { policy.residue(state); }) {
            if (positions) return policy.numbers(policy.representative(state));
        } else {
            if (positions) return {};
        }
    }
    return policy.numbers(state);
}

inline std::int64_t plain_symbol(const State &state, int p, const LiveLines &live) {
    const Label label = state.key.label[static_cast<std::size_t>(p)];
    if (label == invalid) return plain_invalid;
    if (label == brought) return plain_brought;
    if (label != other) return live.line(label);
    if ((state.mask >> p) & 1U) return plain_settled;
    return ((state.mask >> (valid_shift + p)) & 1U) ? plain_valid : plain_maybe;
}

// The layers of `raw`, down to the first that is empty. `limits` also holds for all layers together. Layers that are the
// same as the one before are told by that (a line that is accessed again and again), though not all of them.
inline Layers layers(const PolicyChoice &choice, int ways, const RawWord &raw, const Setting &setting,
                     const Limits &limits) {
    const Word word = prepare(raw, unlimited);
    return with_policy(choice, ways, [&](const auto &policy) {
        return with_plain_machine(policy, setting, raw.facts(), limits, [&](const auto &machine, bool positions) {
            Layers result{positions, {}};
            LiveLines live(word);
            GoneSets gone;
            std::size_t total = 0;
            auto note = [&](const Frontier &layer) {
                limits.check(total += layer.size());
                auto &plain = result.layers.emplace_back().emplace();
                layer.for_each([&](const State &state, const Frontier::Node &node) {
                    PlainState &to = plain.emplace_back();
                    to.policy = plain_policy(policy, state.key.policy, positions);
                    for (int p = 0; p < ways; ++p) to.holds.push_back(plain_symbol(state, p, live));
                    to.touches = node.touches;
                    to.gone = gone.lines(state.key.gone);
                });
            };
            Frontier layer = first_layer(machine, limits);
            Frontier next;
            note(layer);
            for (const Item &item : word.items) {
                if (layer.size() == 0) break;
                // Whether the labels mean the same lines before and after this item.
                const bool relabelled = item.slot != other && (!item.more || live.line(item.slot) != item.line);
                live.before(item);
                const Frontier before = layer;  // advance adds to it what touches make of it
                advance(machine, item, live, gone, setting.touches, layer, next, limits);
                live.after(item);
                std::swap(layer, next);
                if (!relabelled && layer.same_states(before))
                    result.layers.emplace_back();
                else
                    note(layer);
                limits.poll();
            }
            return result;
        });
    });
}

}  // namespace l1dflush
