// SPDX-License-Identifier: GPL-2.0-or-later
// The least and the greatest fixpoint of a protocol, in one view of the set. What they are: steady.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "prover/limits.hpp"
#include "prover/steady_question.hpp"
#include "prover/steady_round.hpp"
#include "prover/steady_run.hpp"
#include "prover/steady_view.hpp"

namespace l1dflush {

template <std::size_t W>
class Fixpoint {
public:
    using State = SteadyState<W>;
    using Set = StateSet<State>;

    Fixpoint(const SteadyView<W> &view, const SteadyQuestion &question, const Limits &limits)
        : view_(view), question_(question), limits_(limits), round_(view, question.protocol, limits) {
        answer_.per_word.assign(question.protocol.words.size(), 0);
    }

    SteadyAnswer least() {
        sets_ = std::vector<Set>(turns());
        for (const State &state : cold()) sets_[0].insert(state, from_nowhere);
        try {
            go_on();
        } catch (const StateSpaceTooLarge &) {
            if (!best_) throw;
            answer_.exact = false;
        }
        if (best_) answer_.run = told(view_, legs_of(places_back()), 0);
        return answer_;
    }

    // What `least` reaches from one cold state that others can always bring about again, for it counts for `greatest`
    // as well; its run is told as one that first goes round once. Nothing if that state does not come again.
    std::optional<SteadyAnswer> least_again() {
        const State first = cold().front();
        const std::optional<Legs<State>> round = way_back(first);
        if (!round) return std::nullopt;
        sets_ = std::vector<Set>(turns());
        sets_[0].insert(first, from_nowhere);
        try {
            go_on();
        } catch (const StateSpaceTooLarge &) {
            answer_.exact = false;
        }
        if (best_) {
            Legs<State> legs = *round;
            legs.append(legs_of(places_back()));
            answer_.run = told(view_, legs, round->legs.size());
        }
        return answer_;
    }

    SteadyAnswer greatest() {
        Set now = first_round(view_.starts(open_line, question_.protocol.invalidations));
        if (question_.protocol.flushes() && !question_.protocol.invalidations) close(now);
        while (answer_.most() > 0) {
            Set next = round(now);
            ++answer_.rounds;
            answer_.states = next.size();
            if (next.size() == now.size()) {
                if (best_) answer_.run = told_again(now);
                break;
            }
            now = std::move(next);
        }
        return answer_;
    }

private:
    static constexpr std::uint32_t from_nowhere = Set::none;
    static constexpr std::uint32_t by_flush = 0x8000'0000;  // the origin is a state before the turn before this one

    std::size_t turns() const { return question_.protocol.turns.size(); }
    const std::vector<std::size_t> &words(std::size_t turn) const { return question_.protocol.turns[turn]; }
    std::size_t next(std::size_t turn) const { return turn + 1 == turns() ? 0 : turn + 1; }
    std::size_t previous(std::size_t turn) const { return turn == 0 ? turns() - 1 : turn - 1; }

    // Full sets without buffer lines; own lines anywhere.
    std::vector<State> cold() const {
        std::vector<State> states = view_.starts(old_line, false);
        for (const std::uint8_t label : question_.protocol.own) {
            const std::size_t before = states.size();
            for (std::size_t i = 0; i < before; ++i)
                for (std::size_t p = 0; p < static_cast<std::size_t>(view_.ways()); ++p) {
                    if (states[i].label[p] != old_line) continue;
                    State with_own = states[i];
                    with_own.label[p] = label;
                    states.push_back(with_own);
                    limits_.check(states.size());
                }
        }
        return states;
    }

    void note(std::size_t turn, std::size_t word, std::size_t from, const State &end) {
        const int left = round_.old_lines(end);
        if (left > answer_.most() || (left > 0 && !best_)) best_ = {turn, from};
        answer_.per_word[word] = std::max(answer_.per_word[word], left);
    }
    bool enough() const {
        if (question_.verdict && best_) return true;
        for (std::size_t word = 0; word < answer_.per_word.size(); ++word)
            if (answer_.per_word[word] < question_.enough[word]) return false;
        return true;
    }
    void look(std::size_t states) {
        limits_.poll_now_and_then(++steps_);
        limits_.check(states);
    }

    // Adds what others make of a state by one thing that they do.
    void between(Set &set, std::size_t number) const {
        const State from = set[number];
        const auto origin = static_cast<std::uint32_t>(number);
        round_.between(from, [&](const State &to, const Event &) { set.insert(to, origin); });
    }

    void go_on() {
        std::vector<Set> &sets = sets_;
        std::vector<std::size_t> done(turns(), 0);
        std::vector<std::pair<State, std::uint32_t>> later;
        for (bool fresh = true; fresh;) {
            fresh = false;
            ++answer_.rounds;
            for (std::size_t turn = 0; turn < turns(); ++turn) {
                // What the flushes lead to waits until all that others do before them is there: so runs stay short.
                later.clear();
                for (; done[turn] < sets[turn].size(); ++done[turn]) {
                    fresh = true;
                    const std::size_t number = done[turn];
                    const State from = sets[turn][number];
                    for (const std::size_t word : words(turn))
                        round_.flush(word, from, [&](const State &end) {
                            note(turn, word, number, end);
                            const State to = round_.settled(end);
                            if (!sets[next(turn)].contains(to))
                                later.emplace_back(to, static_cast<std::uint32_t>(number));
                        });
                    between(sets[turn], number);
                    answer_.states = later.size();
                    for (const Set &set : sets) answer_.states += set.size();
                    look(answer_.states);
                    if (enough()) return;
                }
                for (const auto &[to, number] : later) sets[next(turn)].insert(to, number | by_flush);
            }
        }
    }

    // The states before the first turn that one round makes of `any`, which has open ways.
    Set first_round(const std::vector<State> &any) {
        Set set;
        for (const std::size_t word : words(0))
            round_.flush_open(word, any, [&](const State &end) { arrive(set, 0, word, 0, end); });
        finish(set, 0);
        for (std::size_t turn = 1; turn < turns(); ++turn) set = flushed(set, turn);
        ++answer_.rounds;
        return set;
    }
    // The states before the first turn that one round makes of `from`.
    Set round(const Set &from) {
        std::fill(answer_.per_word.begin(), answer_.per_word.end(), 0);
        best_.reset();
        Set set = flushed(from, 0);
        for (std::size_t turn = 1; turn < turns(); ++turn) set = flushed(set, turn);
        return set;
    }
    // The states before the next turn.
    Set flushed(const Set &from, std::size_t turn) {
        Set set;
        for (std::size_t number = 0; number < from.size(); ++number) {
            look(from.size() + set.size());
            for (const std::size_t word : words(turn))
                round_.flush(word, from[number], [&](const State &end) { arrive(set, turn, word, number, end); });
        }
        finish(set, from.size());
        return set;
    }
    void arrive(Set &set, std::size_t turn, std::size_t word, std::size_t number, const State &end) {
        note(turn, word, number, end);
        set.insert(round_.settled(end), static_cast<std::uint32_t>(number) | by_flush);
    }
    void finish(Set &set, std::size_t others) {
        for (std::size_t number = 0; number < set.size(); ++number) {
            between(set, number);
            look(others + set.size());
        }
    }
    // Adds all that rounds make of `set`.
    void close(Set &set) {
        for (bool fresh = true; fresh;) {
            fresh = false;
            const Set more = round(set);
            for (std::size_t number = 0; number < more.size(); ++number) fresh |= set.insert(more[number], 0);
            look(set.size() + more.size());
        }
    }

    // A state of a run, the last one first. `flush`: it is left by a flush, else by one thing between.
    struct Place {
        std::size_t turn;
        std::uint32_t number;
        bool flush;
    };

    // How the state that leaves most came about, back to a first state.
    std::vector<Place> places_back() const {
        std::vector<Place> places{{best_->first, static_cast<std::uint32_t>(best_->second), true}};
        for (;;) {
            const Place here = places.back();
            const std::uint32_t origin = sets_[here.turn].origin(here.number);
            if (origin == from_nowhere) return places;
            if ((origin & by_flush) == 0)
                places.push_back({here.turn, origin, false});
            else
                places.push_back({previous(here.turn), origin & ~by_flush, true});
        }
    }

    // The run through these places, and the end of the last flush.
    Legs<State> legs_of(const std::vector<Place> &places) const {
        Legs<State> legs{state_at(places.back()), {}};
        for (std::size_t i = places.size(); i-- > 1;)
            legs.move(round_, words(places[i].turn), state_at(places[i]), state_at(places[i - 1]), places[i].flush);
        const Place &last = places.front();
        const int most = answer_.most();
        legs.flush(round_, words(last.turn), state_at(last), [&](std::size_t, const State &end) {
            return round_.old_lines(end) == most;
        });
        return legs;
    }
    const State &state_at(const Place &place) const { return sets_[place.turn][place.number]; }

    // A round from a cold state back to itself: after the flushes others make every way invalid that holds no old line,
    // one after the other, and bring one in; then they go from one full set of old lines to the next.
    std::optional<Legs<State>> way_back(const State &start) {
        Legs<State> legs{start, {}};
        State state = start;
        auto go = [&](std::size_t turn, const State &to, bool flush) {
            legs.move(round_, words(turn), state, to, flush);
            state = to;
        };
        for (std::size_t turn = 0; turn < turns(); ++turn) {
            std::optional<State> end;
            round_.flush(words(turn).front(), state, [&](const State &to) { end = round_.settled(to); });
            if (!end) return std::nullopt;
            go(turn, *end, true);
        }
        while (round_.old_lines(state) < view_.ways()) {
            const bool invalid = round_.invalid(state);
            std::optional<State> to;
            round_.between(state, [&](const State &reached, const Event &event) {
                const bool old_comes = event.label == old_line && event.is(SteadyOutcome::others_miss);
                const bool other_goes = event.is(SteadyOutcome::invalidated) &&
                                        round_.old_lines(reached) == round_.old_lines(state);
                if (invalid ? old_comes : other_goes) to = reached;
            });
            if (!to) return std::nullopt;
            go(0, *to, false);
        }
        Set full;
        full.insert(state, from_nowhere);
        for (std::size_t number = 0; number < full.size() && !full.contains(start); ++number) {
            look(full.size());
            const State from = full[number];
            round_.between(from, [&](const State &to, const Event &) {
                if (round_.old_lines(to) == view_.ways()) full.insert(to, static_cast<std::uint32_t>(number));
            });
        }
        if (!full.contains(start)) return std::nullopt;
        std::vector<std::uint32_t> chain;
        for (std::uint32_t number = full.number(start); number != from_nowhere; number = full.origin(number))
            chain.push_back(number);
        for (std::size_t i = chain.size() - 1; i-- > 0;) go(0, full[chain[i]], false);
        return legs;
    }

    // A run to the state that leaves most, beginning with a round (or several) from its first state back to it: every
    // state of the fixpoint `now` has one before it there, and going back from one to the next comes round at last.
    SteadyRun told_again(const Set &now) {
        std::vector<Set> sets(turns());
        for (std::size_t turn = 0; turn < turns(); ++turn)
            sets[next(turn)] = flushed(turn == 0 ? now : sets[turn], turn);
        sets_ = std::move(sets);
        // Numbers before the first turn are those of sets_[0]; flushes from there have those of `now`.
        auto before = [&](std::size_t turn, std::size_t number) {
            return turn == 0 ? sets_[0].number(now[number]) : static_cast<std::uint32_t>(number);
        };
        std::vector<Place> places{{best_->first, before(best_->first, best_->second), true}};
        std::unordered_map<std::uint32_t, std::size_t> seen;  // the places before the first turn: number and index
        for (;;) {
            const Place here = places.back();
            if (here.turn == 0 && here.flush) {
                const auto [known, fresh] = seen.try_emplace(here.number, places.size() - 1);
                if (!fresh) {
                    const auto loop = static_cast<std::ptrdiff_t>(known->second);
                    Legs<State> legs = legs_of(places);
                    const Legs<State> rest = legs_of({places.begin(), places.begin() + loop + 1});
                    return told(view_, legs, legs.legs.size() - rest.legs.size());
                }
            }
            const std::uint32_t origin = sets_[here.turn].origin(here.number);
            if ((origin & by_flush) == 0)
                places.push_back({here.turn, origin, false});
            else
                places.push_back({previous(here.turn), before(previous(here.turn), origin & ~by_flush), true});
        }
    }

    const SteadyView<W> &view_;
    const SteadyQuestion &question_;
    const Limits &limits_;
    Round<W> round_;
    SteadyAnswer answer_;
    std::vector<Set> sets_;                                    // the states before each turn, where a run is told
    std::optional<std::pair<std::size_t, std::size_t>> best_;  // what leaves most: before which turn, its number
    std::size_t steps_ = 0;
};

}  // namespace l1dflush
