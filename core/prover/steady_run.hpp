// SPDX-License-Identifier: GPL-2.0-or-later
// A run through flushes and what others do between them, step by step, in ways and policy states.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "prover/steady_question.hpp"
#include "prover/steady_round.hpp"

namespace l1dflush {

// The pieces of a run as the search sees them: what happens in one flush, or one thing between two.
template <class State>
struct Legs {
    struct Leg {
        int word;
        std::vector<Event> events;
    };
    State root;
    std::vector<Leg> legs;

    void append(const Legs &that) { legs.insert(legs.end(), that.legs.begin(), that.legs.end()); }

    // A flush by one of these words, from `from` to a state for which end(word, state) is true.
    template <class Round, class End>
    void flush(const Round &round, const std::vector<std::size_t> &words, const State &from, End end) {
        for (const std::size_t word : words) {
            auto events = round.path(word, from, [&](const State &state) { return end(word, state); });
            if (!events) continue;
            legs.push_back({static_cast<int>(word), std::move(*events)});
            return;
        }
        throw std::logic_error("a state of the search cannot be reached again");
    }

    // From `from` to `to`: by a flush of one of these words, or by one thing between.
    template <class Round>
    void move(const Round &round, const std::vector<std::size_t> &words, const State &from, const State &to,
              bool by_flush) {
        if (by_flush) {
            flush(round, words, from, [&](std::size_t, const State &end) { return round.settled(end) == to; });
            return;
        }
        bool found = false;
        round.between(from, [&](const State &reached, const Event &event) {
            if (found || reached != to) return;
            found = true;
            legs.push_back({SteadyRun::Leg::between, {event}});
        });
        if (!found) throw std::logic_error("a state of the search cannot be reached again");
    }
};

template <std::size_t W>
SteadyRun told(const SteadyView<W> &view, const Legs<SteadyState<W>> &legs, std::size_t again) {
    PolicyState state = view.first_policy(legs.root);
    SteadyRun run{view.numbers(state), std::vector<int>(static_cast<std::size_t>(view.ways())), {}, again};
    for (int p = 0; p < view.ways(); ++p) {
        const int label = legs.root.label[static_cast<std::size_t>(p)];
        run.content[static_cast<std::size_t>(view.way_of(state, p))] =
            label >= first_line ? label - first_line : label == no_line ? -2 : -1;
    }
    for (const auto &leg : legs.legs) {
        run.legs.push_back({leg.word, {}});
        int item = 0;
        for (const Event &event : leg.events) {
            const int way = view.way_of(state, event.place);
            state = view.after(state, event, way);
            const int line = event.label >= first_line ? event.label - first_line : -1;
            run.legs.back().steps.push_back({event.outcome, way, item, line, view.numbers(state)});
            const bool touch = event.is(Outcome::touch_hit) || event.is(Outcome::touch_miss);
            if (!touch) ++item;
        }
    }
    return run;
}

}  // namespace l1dflush
