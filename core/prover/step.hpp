// SPDX-License-Identifier: GPL-2.0-or-later
// One item of the word, or one touch by somebody else, in one state: everything that may happen.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "prover/outcome.hpp"
#include "prover/start.hpp"
#include "prover/state.hpp"
#include "prover/word.hpp"

namespace l1dflush {

// What happened at one item or touch.
struct Move {
    enum class Source : std::uint8_t {
        known,    // it was certain where the line is
        start,    // it is said to have been so since the start: the line was cached there, or the way was invalid
        brought,  // the line is said to be what a touch brought in
    };
    static constexpr std::uint32_t nobody = 0xFFFFFFFF;

    Outcome outcome;
    Source source = Source::known;
    std::uint8_t place = 0;       // the way, or for relative machines the position at that moment
    bool was_invalid = false;     // a miss filled an invalid way
    std::uint8_t branch = 0;      // which of the outcomes that the policy has here
    std::uint16_t choice = 0;     // moves from a state with the same number are branches of one choice of the adversary
    std::uint32_t line = nobody;  // the line that a touch brought in, if it is one that the word touched before
};

// A miss finds two invalid ways and has to know which has the lower number: positions are not enough (machine.hpp).
class NeedsAbsoluteWays : public std::runtime_error {
public:
    NeedsAbsoluteWays() : std::runtime_error("two invalid ways") {}
};

// Which line has which slot at this point of the word, and of which lines it is certain where they are.
class LiveLines {
public:
    explicit LiveLines(const Word &word)
        : line_of_slot_(word.slots + 1, Move::nobody), known_(word.lines, false) {}

    // It is certain of every line where it is, from the start: line i has slot i + 1.
    void commit() {
        for (std::size_t s = 1; s < line_of_slot_.size(); ++s) line_of_slot_[s] = static_cast<std::uint32_t>(s - 1);
        known_.assign(known_.size(), true);
    }
    void before(const Item &item) {
        if (item.slot != other) line_of_slot_[item.slot] = item.line;
    }
    void after(const Item &item) {
        if (item.kind != ItemKind::optional) known_[item.line] = true;
        if (item.slot != other && !item.more) line_of_slot_[item.slot] = Move::nobody;
    }
    std::uint32_t line(Label slot) const { return line_of_slot_[slot]; }
    bool known(std::uint32_t line) const { return known_[line]; }
    std::size_t slots() const { return line_of_slot_.size(); }

private:
    std::vector<std::uint32_t> line_of_slot_;
    std::vector<bool> known_;
};

// Calls out(State, Move, Weight) for everything that may happen in `state`; Weight is the chance of this branch of a
// choice of the adversary. The essay in state.hpp says why this is all.
// The machine: `Machine`, or the one that it is (machine.hpp).
template <class M>
class Stepper {
public:
    Stepper(const M &machine, const LiveLines &live, GoneSets &gone)
        : machine_(machine), live_(live), gone_(gone) {}

    // At an item of the word.
    template <class Out>
    void step(const Item &item, const State &state, Out out) {
        choice_ = 0;
        const int labelled = find(item.slot, state);
        const bool open = labelled < 0 && !item.known && !gone_.contains(state.key.gone, item.line);
        if (item.kind == ItemKind::optional) drop(item, state, labelled, out);

        State decided = state;
        // From here on the line's place is certain (or, after an OPTIONAL, written in the labels).
        decided.key.gone = gone_.without(state.key.gone, item.line);

        if (item.kind == ItemKind::flush) {
            flush(item, decided, labelled, open, out);
            return;
        }
        if (labelled >= 0) {
            settle(item, decided, labelled);
            hit(decided, labelled, Outcome::hit, Move::Source::known, out);
            return;
        }
        if (open) {
            auto found_at = [&](State &found, int p) { settle(item, found, p); };
            if (!item.cold)
                machine_.hit_unknown(decided, item.more, found_at, [&](int p, const State &next) {
                    out(next, Move{Outcome::hit, Move::Source::start, place(p), false, 0, ++choice_}, Weight{});
                });
            for (int p = 0; p < machine_.ways(); ++p) {
                if (decided.key.label[p] != brought) continue;
                State found = decided;
                settle(item, found, p);
                hit(found, p, Outcome::hit, Move::Source::brought, out);
            }
        }
        miss(decided, open && !item.cold, Outcome::miss, Move::nobody, [&](State &next, int p) { replace(item, next, p); }, out);
    }

    // At an access by somebody else.
    template <class Out>
    void touch(const State &state, Out out) {
        choice_ = 0;
        for (int p = 0; p < machine_.ways(); ++p) {
            if (state.key.label[p] == invalid) continue;
            State valid = state;
            mark_valid(valid, 1U << p);
            hit(valid, p, Outcome::touch_hit, Move::Source::known, out);
        }
        miss(state, false, Outcome::touch_miss, Move::nobody, [&](State &next, int p) {
            put(next, p, brought);
        }, out);
        for (std::size_t s = 1; s < live_.slots(); ++s) {
            const auto slot = static_cast<Label>(s);
            const std::uint32_t line = live_.line(slot);
            if (line == Move::nobody || find(slot, state) >= 0) continue;
            // A line that may still be where it was at the start, or be what an earlier touch brought in, is not
            // brought in by name: `brought` covers it.
            const bool pushed_out = gone_.contains(state.key.gone, line);
            if (!live_.known(line) && !pushed_out) continue;
            State decided = state;
            decided.key.gone = gone_.without(state.key.gone, line);
            miss(decided, false, Outcome::touch_miss, line, [&](State &next, int p) { put(next, p, slot); }, out);
        }
    }

private:
    static std::uint8_t place(int p) { return static_cast<std::uint8_t>(p); }

    int find(Label slot, const State &state) const {
        if (slot == other) return -1;
        for (int p = 0; p < machine_.ways(); ++p)
            if (state.key.label[p] == slot) return p;
        return -1;
    }

    // What was in p until now was pushed out; `label` is in it now.
    void put(State &state, int p, Label label) {
        const Label evicted = state.key.label[p];
        if (evicted != other && evicted < brought && !live_.known(live_.line(evicted)))
            state.key.gone = gone_.with(state.key.gone, live_.line(evicted));
        state.key.label[p] = label;
        state.mask &= ~bit(p);
        mark_valid(state, 1U << p);
    }

    // The item's line is now at p.
    static void settle(const Item &item, State &state, int p) {
        state.key.label[p] = item.more ? item.slot : other;
        state.mask = item.more ? state.mask & ~bit(p) : state.mask | bit(p);
        mark_valid(state, 1U << p);
    }

    void replace(const Item &item, State &state, int p) {
        put(state, p, other);
        settle(item, state, p);
    }

    template <class Out>
    void drop(const Item &item, const State &state, int labelled, Out &out) {
        State next = state;
        if (!item.more) {
            next.key.gone = gone_.without(state.key.gone, item.line);
            if (labelled >= 0) settle(item, next, labelled);
        }
        out(next, Move{Outcome::dropped, Move::Source::known, 0, false, 0, ++choice_}, Weight{});
    }

    template <class Out>
    void flush(const Item &item, const State &state, int labelled, bool open, Out &out) {
        if (labelled >= 0) {
            emit_flushed(flushed(state, labelled), labelled, Move::Source::known, out);
            return;
        }
        if (open) {
            if (!item.cold)
                machine_.flush_unknown(
                    state, [&](int p, const State &next) { emit_flushed(next, p, Move::Source::start, out); });
            for (int p = 0; p < machine_.ways(); ++p)
                if (state.key.label[p] == brought) emit_flushed(flushed(state, p), p, Move::Source::brought, out);
        }
        out(state, Move{Outcome::not_cached, Move::Source::known, 0, false, 0, ++choice_}, Weight{});
    }

    template <class Out>
    void emit_flushed(const State &next, int p, Move::Source source, Out &out) {
        out(next, Move{Outcome::flushed, source, place(p), false, 0, ++choice_}, Weight{});
    }

    template <class Out>
    void hit(const State &state, int p, Outcome outcome, Move::Source source, Out &out) {
        ++choice_;
        std::uint8_t number = 0;
        machine_.hit(state, p, [&](const State &next) {
            // Hits have no chances: where there are several outcomes the adversary chooses.
            out(next, Move{outcome, source, place(p), false, number, choice_}, Weight{});
            ++number;
            ++choice_;
        });
    }

    // A miss, of the word or of somebody else: which way was invalid, or which is evicted?
    template <class Settle, class Out>
    void miss(const State &state, bool open, Outcome outcome, std::uint32_t line, Settle settle_it, Out &out) {
        unsigned known_invalid = 0;
        for (int p = 0; p < machine_.ways(); ++p)
            if (state.key.label[p] == invalid) known_invalid |= 1U << p;
        const unsigned perhaps = maybe_invalid(state, machine_.ways());
        if ((known_invalid | perhaps) != 0 && !machine_.has_fills()) throw UnknownFill();
        if (!machine_.in_ways) {
            const bool order_matters = std::popcount(known_invalid) > 1 || (known_invalid != 0 && perhaps != 0);
            if (order_matters && !machine_.any_order()) throw NeedsAbsoluteWays();
        }

        auto fill = [&](int p, unsigned valid, bool since_start) {
            State next = state;
            mark_valid(next, valid);
            settle_it(next, p);
            ++choice_;
            const Move::Source source = since_start ? Move::Source::start : Move::Source::known;
            std::uint8_t number = 0;
            machine_.fill(next, p, [&](const State &to, Weight weight) {
                out(to, Move{outcome, source, place(p), true, number++, choice_of(weight), line}, weight);
            });
        };
        // An unknown way is the first invalid one: those before it are valid.
        for (int p = 0; perhaps != 0 && p < machine_.ways(); ++p) {
            if (!((perhaps >> p) & 1U)) continue;
            unsigned before = 0;
            if (machine_.in_ways) {
                if (known_invalid != 0 && machine_.first_invalid(known_invalid | (1U << p)) != p) continue;
                for (int q = 0; q < machine_.ways(); ++q)
                    if (q != p && machine_.first_invalid((1U << q) | (1U << p)) == q) before |= 1U << q;
            }
            fill(p, before & perhaps, true);
        }
        if (known_invalid != 0) {
            if (machine_.in_ways) {
                const int first = machine_.first_invalid(known_invalid);
                unsigned before = 0;
                for (int q = 0; q < machine_.ways(); ++q)
                    if (machine_.first_invalid((1U << q) | (1U << first)) == q) before |= 1U << q;
                fill(first, before & perhaps, false);
            } else {
                for (int p = 0; p < machine_.ways(); ++p)
                    if ((known_invalid >> p) & 1U) fill(p, 0, false);
            }
            return;
        }
        State full = state;
        mark_all_valid(full);
        ++choice_;
        std::uint8_t number = 0;
        machine_.evict(full, open, settle_it, [&](int victim, const State &next, Weight weight) {
            out(next, Move{outcome, Move::Source::known, place(victim), false, number++, choice_of(weight), line}, weight);
        });
    }

    // Branches whose chance nobody knows are choices of the adversary.
    std::uint16_t choice_of(Weight weight) { return weight.denominator == 0 ? ++choice_ : choice_; }

    const M &machine_;
    const LiveLines &live_;
    GoneSets &gone_;
    std::uint16_t choice_ = 0;
};

}  // namespace l1dflush
