// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/decide.hpp"

#include <utility>

#include "prover/nameless.hpp"
#include "prover/search.hpp"

namespace l1dflush {

namespace {

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

}  // namespace

Decision decide(const AnyPolicy &policy, const RawWord &raw, const Setting &setting, bool merge_repeats,
                const Limits &limits) {
    std::vector<std::size_t> ends;
    std::size_t end = raw.items_before_repeat();
    for (int tries = 0; tries < 3 && end < raw.lines.size(); ++tries, end += end / 4 + 1) ends.push_back(end);
    ends.push_back(raw.lines.size());
    const int repeats = merge_repeats ? useful_run(policy.facts.repeat_hits, setting.touches) : unlimited;
    return with_machine<NamelessMachine>(policy, setting, raw.facts(), limits, [&](const Machine &machine) {
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
}

}  // namespace l1dflush
