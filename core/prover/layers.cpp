// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/layers.hpp"

#include <utility>

#include "prover/search.hpp"

namespace l1dflush {

namespace {

// As with_machine, but only machines that know of every way what is in it. Positions do not tell which of several
// invalid ways a miss fills, so with invalid ways they may stand for more than can happen. They are used where that
// is known to be no loss, see machine.hpp.
template <class Use>
auto with_plain_machine(const AnyPolicy &policy, const Setting &setting, WordFacts word, const Limits &limits,
                        Use use) {
    const PolicyFacts &facts = policy.facts;
    if (setting.view == View::fastest && facts.symmetric) {
        try {
            RelativeMachine full(policy, Start::any, limits);
            if (setting.start == Start::any) return use(full, true);
            const bool whole = setting.start != Start::invalidations || !facts.has_residue;
            const bool any_first = (whole && !word.cold && full.fills_like_hits()) || facts.interchangeable;
            if ((any_first && word.flushes == Flushes::none) || facts.fill_order_is_free)
                return use(RelativeMachine(policy, Start::invalid, limits), true);
        } catch (const NeedsAbsoluteWays &) {
        }
    }
    return use(AbsoluteMachine(policy, setting.start, limits), false);
}

// The numbers of the policy's part of a state.
std::vector<int> plain_policy(const AnyPolicy &policy, PolicyState state, bool positions) {
    if (!positions) return policy.numbers(state);
    return policy.facts.has_residue ? policy.numbers(policy.representative(state)) : std::vector<int>{};
}

std::int64_t plain_symbol(const State &state, int p, const LiveLines &live) {
    const Label label = state.key.label[static_cast<std::size_t>(p)];
    if (label == invalid) return plain_invalid;
    if (label == brought) return plain_brought;
    if (label != other) return live.line(label);
    if ((state.mask >> p) & 1U) return plain_settled;
    return ((state.mask >> (valid_shift + p)) & 1U) ? plain_valid : plain_maybe;
}

}  // namespace

Layers layers(const AnyPolicy &policy, const RawWord &raw, const Setting &setting, const Limits &limits) {
    const Word word = prepare(raw, unlimited);
    return with_plain_machine(policy, setting, raw.facts(), limits, [&](const Machine &machine, bool positions) {
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
                for (int p = 0; p < policy.ways(); ++p) to.holds.push_back(plain_symbol(state, p, live));
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
}

}  // namespace l1dflush
