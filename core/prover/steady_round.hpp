// SPDX-License-Identifier: GPL-2.0-or-later
// One flush of a protocol in one state, and what others do between two flushes: everything that may happen.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "prover/limits.hpp"
#include "prover/steady_question.hpp"
#include "prover/steady_view.hpp"
#include "prover/step.hpp"
#include "prover/word.hpp"

namespace l1dflush {

template <std::size_t W>
class Round {
public:
    using State = SteadyState<W>;

    Round(const SteadyView<W> &view, const Protocol &protocol, const Limits &limits)
        : view_(view), protocol_(protocol), limits_(limits) {}

    int old_lines(const State &state) const {
        int count = 0;
        for (int p = 0; p < view_.ways(); ++p) count += state.label[at(p)] == old_line;
        return count;
    }

    bool invalid(const State &state) const { return state.find(no_line) >= 0; }

    // out(State, Event): everything that others may do once between two flushes.
    template <class Out>
    void between(const State &state, Out out) const {
        for (int p = 0; p < view_.ways(); ++p) {
            const std::uint8_t label = state.label[at(p)];
            if (label == old_line || is_own(label))
                hit(state, p, SteadyOutcome::others_hit, out);
        }
        miss(state, old_line, SteadyOutcome::others_miss, out);
        for (const std::uint8_t label : protocol_.own)
            if (state.find(label) < 0) miss(state, label, SteadyOutcome::others_miss, out);
        if (!protocol_.invalidations || (view_.one_invalid() && invalid(state))) return;
        for (int p = 0; p < view_.ways(); ++p) {
            if (state.label[at(p)] == no_line) continue;
            State to = state;
            to.label[at(p)] = no_line;
            out(to, event(SteadyOutcome::invalidated, p, 0));
        }
    }

    // out(State): the set after the word `number`, from `start`. The same state may come several times.
    template <class Out>
    void flush(std::size_t number, const State &start, Out out) {
        layer_.assign(1, {start, 0});
        for (const SteadyItem &item : protocol_.words[number]) advance(item);
        touch_all();
        for (const Local &local : layer_) out(local.state);
    }

    // The same from many starts with open lines, which are named item by item: a line that is named is in one of the
    // open ways, or in none. At the end all lines are named, and open ways hold old lines.
    template <class Out>
    void flush_open(std::size_t number, const std::vector<State> &starts, Out out) {
        layer_.clear();
        for (const State &state : starts) layer_.push_back({state, 0});
        std::vector<bool> named(static_cast<std::size_t>(protocol_.lines), false);
        auto name = [&](std::size_t line) {
            if (named[line]) return;
            named[line] = true;
            const auto label = static_cast<std::uint8_t>(first_line + line);
            const std::size_t before = layer_.size();
            for (std::size_t i = 0; i < before; ++i)
                for (int p = 0; p < view_.ways(); ++p) {
                    if (layer_[i].state.label[at(p)] != open_line) continue;
                    Local found = layer_[i];
                    found.state.label[at(p)] = label;
                    layer_.push_back(found);
                    limits_.check(layer_.size());
                }
        };
        // A touch may bring in any line, or hit it.
        if (protocol_.touches > 0)
            for (std::size_t line = 0; line < named.size(); ++line) name(line);
        for (const SteadyItem &item : protocol_.words[number]) {
            name(item.label - std::size_t{first_line});
            advance(item);
        }
        touch_all();
        for (std::size_t line = 0; line < named.size(); ++line) name(line);
        for (Local &local : layer_) {
            for (int p = 0; p < view_.ways(); ++p)
                if (local.state.label[at(p)] == open_line) local.state.label[at(p)] = old_line;
            out(local.state);
        }
    }

    // After the flush: what others brought in meanwhile is old at the next one.
    State settled(State state) const {
        for (int p = 0; p < view_.ways(); ++p)
            if (state.label[at(p)] == foreign_line) state.label[at(p)] = old_line;
        return state;
    }

    // What happens on the way from `start` through the word to a state for which `end` is true; nothing if there is none.
    template <class End>
    std::optional<std::vector<Event>> path(std::size_t number, const State &start, End end) const {
        struct Node {
            Local local;
            std::size_t parent;
            std::size_t item;
            Event event;
        };
        const std::vector<SteadyItem> &word = protocol_.words[number];
        std::vector<Node> nodes{{{start, 0}, 0, 0, {}}};
        std::size_t begin = 0;  // of the states before the item
        auto touches_before = [&](std::size_t i) {
            StateSet<Keyed> touched;
            for (std::size_t n = begin; n < nodes.size(); ++n) touched.insert({nodes[n].local}, 0);
            for (std::size_t n = begin; protocol_.touches > 0 && n < nodes.size(); ++n) {
                const Local from = nodes[n].local;
                touch(from, [&](const Local &to, const Event &event) {
                    if (touched.insert({to}, 0)) nodes.push_back({to, n, i, event});
                });
            }
        };
        for (std::size_t i = 0; i < word.size(); ++i) {
            touches_before(i);
            const std::size_t stop = nodes.size();
            StateSet<Keyed> reached;
            for (std::size_t n = begin; n < stop; ++n) {
                const Local from = nodes[n].local;
                step(word[i], from, [&](const Local &to, const Event &event) {
                    if (reached.insert({to}, 0)) nodes.push_back({to, n, i, event});
                });
            }
            begin = stop;
            limits_.check(nodes.size());
        }
        touches_before(word.size());
        for (std::size_t n = begin; n < nodes.size(); ++n) {
            if (!end(nodes[n].local.state)) continue;
            std::vector<Event> events;
            for (; n != 0; n = nodes[n].parent) events.push_back(nodes[n].event);
            std::reverse(events.begin(), events.end());
            return events;
        }
        return std::nullopt;
    }

private:
    // A state within a flush, and how often others have touched the set in it.
    struct Local {
        State state;
        std::uint32_t touches;
        auto operator<=>(const Local &) const = default;
    };
    struct Keyed {
        Local local;
        bool operator==(const Keyed &) const = default;
        std::uint64_t hash() const { return local.state.hash() * (2 * local.touches + 1); }
    };

    static std::size_t at(int p) { return static_cast<std::size_t>(p); }
    bool is_own(std::uint8_t label) const {
        return std::find(protocol_.own.begin(), protocol_.own.end(), label) != protocol_.own.end();
    }
    template <class Kind>
    static Event event(Kind outcome, int p, std::uint8_t branch) {
        return {static_cast<std::uint8_t>(outcome), static_cast<std::uint8_t>(p), branch, false, old_line};
    }

    // out(State, Event)
    template <class Kind, class Out>
    void hit(const State &state, int p, Kind outcome, Out &&out) const {
        Nexts<W> nexts;
        view_.hit(state, p, nexts);
        nexts.for_each([&](const auto &next) { out(next.state, event(outcome, p, next.branch)); });
    }
    template <class Kind, class Out>
    void miss(const State &state, std::uint8_t label, Kind outcome, Out &&out) const {
        Nexts<W> nexts;
        view_.miss(state, label, nexts);
        nexts.for_each([&](const auto &next) {
            Event happened = event(outcome, next.place, next.branch);
            happened.was_invalid = next.was_invalid;
            happened.label = label;
            out(next.state, happened);
        });
    }

    // Adds what touches make of the layer: before an item, and behind the last one, where a line of the word that comes
    // in is there when the next flush begins.
    void touch_all() {
        for (std::uint32_t used = 0; used < protocol_.touches; ++used) {
            const std::size_t before = layer_.size();
            for (std::size_t i = 0; i < before; ++i) {
                const Local from = layer_[i];
                if (from.touches == used) touch(from, [&](const Local &to, const Event &) { layer_.push_back(to); });
            }
            once(layer_);
        }
    }

    // The layer after the item, each state once.
    void advance(const SteadyItem &item) {
        touch_all();
        next_.clear();
        for (const Local &local : layer_) {
            step(item, local, [&](const Local &to, const Event &) { next_.push_back(to); });
            limits_.poll_now_and_then(++steps_);
            limits_.check(next_.size());
        }
        once(next_);
        std::swap(layer_, next_);
    }
    static void once(std::vector<Local> &layer) {
        if (layer.size() < 2) return;
        std::sort(layer.begin(), layer.end());
        layer.erase(std::unique(layer.begin(), layer.end()), layer.end());
    }

    template <class Out>
    void step(const SteadyItem &item, const Local &from, Out out) const {
        const State &state = from.state;
        if (item.kind == ItemKind::optional) out(from, event(Outcome::dropped, 0, 0));
        const int p = state.find(item.label);
        if (item.kind == ItemKind::flush) {
            Local to = from;
            if (p >= 0) to.state.label[at(p)] = no_line;
            out(to, event(p >= 0 ? Outcome::flushed : Outcome::not_cached, std::max(p, 0), 0));
        } else {
            auto done = [&](const State &next, const Event &happened) { out(Local{next, from.touches}, happened); };
            if (p >= 0)
                hit(state, p, Outcome::hit, done);
            else
                miss(state, item.label, Outcome::miss, done);
        }
    }

    // Somebody else's access during the flush: any valid way is hit, or a line comes in that is not an old line.
    template <class Out>
    void touch(const Local &from, Out out) const {
        if (from.touches >= protocol_.touches) return;
        const State &state = from.state;
        auto done = [&](const State &next, const Event &happened) { out(Local{next, from.touches + 1}, happened); };
        for (int p = 0; p < view_.ways(); ++p)
            if (state.label[at(p)] != no_line) hit(state, p, Outcome::touch_hit, done);
        miss(state, foreign_line, Outcome::touch_miss, done);
        for (int line = 0; line < protocol_.lines; ++line) {
            const auto label = static_cast<std::uint8_t>(first_line + line);
            if (state.find(label) < 0) miss(state, label, Outcome::touch_miss, done);
        }
    }

    const SteadyView<W> &view_;
    const Protocol &protocol_;
    const Limits &limits_;
    std::vector<Local> layer_;
    std::vector<Local> next_;
    std::size_t steps_ = 0;
};

}  // namespace l1dflush
