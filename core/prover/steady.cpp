// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/steady.hpp"

#include <optional>

#include "prover/steady_fixpoint.hpp"
#include "prover/steady_view.hpp"

namespace l1dflush {

namespace {

// The answer in one view of the set; nothing if memory is not enough.
template <std::size_t W>
std::optional<SteadyAnswer> steady_in(const SteadyView<W> &view, const SteadyQuestion &question, const Limits &limits) {
    try {
        Fixpoint<W> fixpoint(view, question, limits);
        return question.from_any ? fixpoint.greatest() : fixpoint.least();
    } catch (const StateSpaceTooLarge &) {
        return std::nullopt;
    }
}

template <std::size_t W>
SteadyAnswer steady_with(const AnyPolicy &policy, const SteadyQuestion &question, bool absolute, const Limits &limits) {
    std::optional<SteadyAnswer> best;  // what is known to be left at least
    auto decided = [&](const std::optional<SteadyAnswer> &answer) {
        if (answer && (!best || answer->most() > best->most())) best = answer;
        return answer && (answer->per_word == question.enough || (question.verdict && answer->most() > 0));
    };
    const AbsoluteView<W> ways(policy, limits);
    // Whether what others can bring about again and again is enough; see ENOUGH.
    auto decided_again = [&](const SteadyView<W> &view) {
        if (!question.from_any || !question.protocol.invalidations) return false;
        try {
            return decided(Fixpoint<W>(view, question, limits).least_again());
        } catch (const StateSpaceTooLarge &) {
            return false;
        }
    };
    if (policy.facts.symmetric && !absolute) {
        const RelativeView<W> one(policy, Order::one, limits);
        if (decided_again(one)) return *best;
        const bool never_invalid = !question.protocol.invalidations && !question.protocol.flushes();
        const std::optional<SteadyAnswer> least = steady_in<W>(one, question, limits);
        if (decided(least) || (least && never_invalid)) return *least;
        if (never_invalid) throw StateSpaceTooLarge(limits.max_states);
        const RelativeView<W> every(policy, Order::every, limits);
        const std::optional<SteadyAnswer> most = steady_in<W>(every, question, limits);
        if (least && least->exact && most && most->exact && most->per_word == least->per_word) return *least;
    }
    if (decided_again(ways)) return *best;
    const std::optional<SteadyAnswer> answer = steady_in<W>(ways, question, limits);
    if (decided(answer) || (answer && answer->exact)) return *answer;
    if (!best || best->most() == 0) throw StateSpaceTooLarge(limits.max_states);
    best->exact = false;
    return *best;
}

}  // namespace

SteadyAnswer steady(const AnyPolicy &policy, const SteadyQuestion &question, bool absolute, const Limits &limits) {
    require(!question.protocol.turns.empty(), "a protocol has a turn");
    for (const auto &words : question.protocol.turns) {
        require(!words.empty(), "a turn has a word");
        for (const std::size_t word : words) require(word < question.protocol.words.size(), "a turn has known words");
    }
    if (static_cast<std::size_t>(question.protocol.lines) > most_lines)
        throw StateSpaceTooLarge("more than 252 lines that come back");
    return steady_with<16>(policy, question, absolute, limits);
}

}  // namespace l1dflush
