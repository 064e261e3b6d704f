// One item of the word, in one state: everything that may happen.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "prover/state.hpp"
#include "prover/word.hpp"

namespace l1dflush {

enum class Outcome : std::uint8_t {
    miss = 0,
    hit = 1,
    dropped = 2,     // the prefetch did not happen
    flushed = 3,     // the flushed line was cached
    not_cached = 4,  // the flushed line was not
};

// What happened at one item. `from_start`: the line is said to have been cached since the start.
struct Move {
    Outcome outcome;
    bool from_start;
    std::uint8_t place;  // the way, or for relative machines the position at that moment, hit, filled or flushed
};

// A miss finds two invalid ways and has to know which has the lower number: positions are not enough (relative.hpp).
class NeedsAbsoluteWays : public std::runtime_error {
public:
    NeedsAbsoluteWays() : std::runtime_error("two invalid ways") {}
};

// Which line has which slot at this point of the word, and of which lines it is certain where they are.
class LiveLines {
public:
    explicit LiveLines(const Word &word) : line_of_slot_(word.slots + 1), known_(word.lines, false) {}

    void before(const Item &item) {
        if (item.slot != other) line_of_slot_[item.slot] = item.line;
    }
    void after(const Item &item) {
        if (item.kind != ItemKind::optional) known_[item.line] = true;
    }
    std::uint32_t line(Label slot) const { return line_of_slot_[slot]; }
    bool known(std::uint32_t line) const { return known_[line]; }

private:
    std::vector<std::uint32_t> line_of_slot_;
    std::vector<bool> known_;
};

// Calls out(State, Move) for everything that `item` may do in `state`. The essay in state.hpp says why this is all.
template <class Machine>
class Stepper {
public:
    Stepper(const Machine &machine, const LiveLines &live, GoneSets &gone)
        : machine_(machine), live_(live), gone_(gone) {}

    template <class Out>
    void step(const Item &item, const State &state, Out out) {
        const int ways = machine_.ways();
        const int labelled = find(item.slot, state, ways);
        const bool open = labelled < 0 && !item.known && !gone_.contains(state.key.gone, item.line);
        if (item.kind == ItemKind::optional) drop(item, state, labelled, out);

        State decided = state;
        // From here on the line's place is certain (or, after an OPTIONAL, written in the labels).
        decided.key.gone = gone_.without(state.key.gone, item.line);

        if (item.kind == ItemKind::flush) {
            if (labelled >= 0) {
                out(flushed(decided, labelled), Move{Outcome::flushed, false, place(labelled)});
                return;
            }
            if (open)
                machine_.flush_unknown(
                    decided, [&](int p, const State &next) { out(next, Move{Outcome::flushed, true, place(p)}); });
            out(decided, Move{Outcome::not_cached, false, 0});
            return;
        }
        if (labelled >= 0) {
            settle(item, decided, labelled);
            machine_.hit(decided, labelled,
                         [&](const State &next) { out(next, Move{Outcome::hit, false, place(labelled)}); });
            return;
        }
        if (open)
            machine_.hit_unknown(
                decided, item.more, [&](State &found, int p) { settle(item, found, p); },
                [&](int p, const State &next) { out(next, Move{Outcome::hit, true, place(p)}); });
        miss(item, decided, open, out);
    }

private:
    static std::uint8_t place(int p) { return static_cast<std::uint8_t>(p); }

    static int find(Label slot, const State &state, int ways) {
        if (slot == other) return -1;
        for (int p = 0; p < ways; ++p)
            if (state.key.label[p] == slot) return p;
        return -1;
    }

    // The item's line is now at p.
    static void settle(const Item &item, State &state, int p) {
        state.key.label[p] = item.more ? item.slot : other;
        state.mask = item.more ? state.mask & ~bit(p) : state.mask | bit(p);
    }

    template <class Out>
    void drop(const Item &item, const State &state, int labelled, Out &out) {
        State next = state;
        if (!item.more) {
            next.key.gone = gone_.without(state.key.gone, item.line);
            if (labelled >= 0) settle(item, next, labelled);
        }
        out(next, Move{Outcome::dropped, false, 0});
    }

    template <class Out>
    void miss(const Item &item, State state, bool open, Out &out) {
        const auto first = state.key.label.begin();
        const auto last = first + machine_.ways();
        const auto lowest = std::find(first, last, invalid);
        if (lowest != last) {
            if (!Machine::in_ways && std::find(lowest + 1, last, invalid) != last) throw NeedsAbsoluteWays();
            const int p = static_cast<int>(lowest - first);
            settle(item, state, p);
            machine_.fill(state, p, [&](const State &next) { out(next, Move{Outcome::miss, false, place(p)}); });
            return;
        }
        machine_.evict(
            state, open, [&](State &next, int victim) { replace(item, next, victim); },
            [&](int victim, const State &next) { out(next, Move{Outcome::miss, false, place(victim)}); });
    }

    void replace(const Item &item, State &state, int victim) {
        const Label evicted = state.key.label[victim];
        if (evicted != other && !live_.known(live_.line(evicted)))
            state.key.gone = gone_.with(state.key.gone, live_.line(evicted));
        settle(item, state, victim);
    }

    const Machine &machine_;
    const LiveLines &live_;
    GoneSets &gone_;
};

}  // namespace l1dflush
