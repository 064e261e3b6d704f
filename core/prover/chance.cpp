// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/chance.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <utility>

#include "prover/concrete.hpp"
#include "prover/game.hpp"
#include "prover/search.hpp"

namespace l1dflush {

namespace {

void require_chances(const AnyPolicy &policy) {
    require(policy.facts.has_chances, "this policy leaves nothing to chance");
}

// Of states that differ only by the order of the ways of a policy without a state, the first. (Which invalid way is
// filled first then makes no difference: what is in the set afterwards is the same. A lazily settled invalid way may
// be decided differently, but every set that the state stands for has its likeness behind the new one.)
State in_order(const PolicyFacts &policy, const State &state) {
    if (!policy.stateless) return state;
    std::array<std::uint32_t, max_ways> content{};
    const auto count = static_cast<std::size_t>(policy.ways);
    for (std::size_t p = 0; p < count; ++p)
        content[p] = (std::uint32_t{state.key.label[p]} << 2) |
                     static_cast<std::uint32_t>((state.mask >> p) & 1U) << 1 |
                     static_cast<std::uint32_t>((state.mask >> (valid_shift + static_cast<int>(p))) & 1U);
    std::sort(content.begin(), content.begin() + policy.ways);
    State sorted;
    sorted.key.policy = state.key.policy;
    sorted.key.gone = state.key.gone;
    mark_valid(sorted, 0xFFFFU << policy.ways);
    for (std::size_t p = 0; p < count; ++p) {
        sorted.key.label[p] = static_cast<Label>(content[p] >> 2);
        const int way = static_cast<int>(p);
        if (content[p] & 2U) sorted.mask |= bit(way);
        if (content[p] & 1U) mark_valid(sorted, 1U << way);
    }
    return sorted;
}

// The word with all lines labelled from the start: line i has the label i + 1.
Word committed(Word word) {
    if (word.lines >= brought) throw StateSpaceTooLarge("more than 65533 lines in use at the same time");
    for (Item &item : word.items) {
        item.slot = static_cast<Label>(item.line + 1);
        item.known = true;
    }
    word.slots = word.lines;
    return word;
}

class ChanceSearch {
public:
    ChanceSearch(const AnyPolicy &policy, const Machine &machine, const Word &word, std::uint32_t touches,
                 const Limits &limits)
        : policy_(policy), machine_(machine), word_(word), touches_(touches), limits_(limits) {}

    Chance solve() {
        Game game(touches_, limits_);
        GoneSets gone;
        machine_.starts([&](const State &state) { add_root(game, state); });
        Chance result;
        if (game.layers.front().positions.empty()) return result;
        const std::size_t roots = game.layers.front().positions.size();
        play(game, word_, false, gone);
        std::vector<std::vector<std::size_t>> best(word_.items.size());
        const auto [upper, root] = value(game, roots, Strategies::all, &best);
        result = {{value(game, roots, Strategies::committed).first, upper}, game.base(),
                  word_.items.size() + touches_, game.states()};
        ChanceBounds &bounds = result.bounds;
        if (game.base() == 1) bounds.lower = upper;  // nothing was left to chance: a lazy start is as good
        if (bounds.lower == upper) return result;

        // Where this ends in vain the bounds are what is known.
        try {
            const bool stateless = policy_.facts.stateless;
            const State likely = stateless ? all_old() : likely_start(game, root, best, gone);
            game.layers.clear();
            const Limbs reached = committed_value({likely}, limits_);
            if (larger(reached, bounds.lower)) bounds.lower = reached;
            if (stateless) bounds.upper = bounds.lower;
            if (bounds.lower == upper || stateless) return result;
            // A part of what is allowed only.
            Limits part = limits_;
            part.max_states = limits_.max_states / 4;
            bounds.lower = bounds.upper = committed_value(all_starts(part), part);
        } catch (const StateSpaceTooLarge &) {
        } catch (const OutOfTime &) {
        } catch (const NeedsAbsoluteWays &) {
            result.needs_absolute_ways = true;
        }
        return result;
    }

private:
    void add_root(Game &game, const State &state) const {
        if (machine_.unknown(state) == 0) return;
        game.layers.front().number({in_order(policy_.facts, state), 0});
        limits_.check(game.layers.front().positions.size());
    }

    void play(Game &game, const Word &word, bool commit, GoneSets &gone) const {
        LiveLines live(word);
        if (commit) live.commit();
        Stepper<Machine> stepper(machine_, live, gone);
        for (const Item &item : word.items) {
            live.before(item);
            game.expand(machine_, stepper, item, false, [&](State state) {
                // Once everything is committed it is certain that what somebody brought in is not a line of the word.
                for (int p = 0; commit && p < machine_.ways(); ++p) {
                    if (state.key.label[static_cast<std::size_t>(p)] != brought) continue;
                    state.key.label[static_cast<std::size_t>(p)] = other;
                    state.mask |= bit(p);
                }
                return in_order(policy_.facts, state);
            });
            live.after(item);
            limits_.check(game.states() + gone.size());
        }
        game.scale();
    }

    // The largest value of the first `roots` states, and whose it is.
    std::pair<Limbs, std::size_t> value(const Game &game, std::size_t roots, Strategies strategies,
                                        std::vector<std::vector<std::size_t>> *best = nullptr) const {
        const GameLayer &end = game.layers.back();
        Values values = game.last(end.positions.size(), end.positions);
        const std::size_t items = game.layers.size() - 1;
        for (std::size_t i = items; i-- > 0;)
            values = game.before(game.layers[i], items - i, values, strategies, best ? &(*best)[i] : nullptr);
        const std::size_t root = largest(values, roots);
        return {values.number(root), root};
    }

    static bool larger(const Limbs &a, const Limbs &b) {
        if (a.size() != b.size()) return a.size() > b.size();
        return compare(a.data(), b.data(), a.size()) > 0;
    }

    State all_old() const {
        State start;
        machine_.starts([&](const State &state) {
            if (machine_.unknown(state) == machine_.ways()) start = state;
        });
        mark_all_valid(start);
        return start;
    }

    // The start that the best choices settle on when the most likely branches are taken.
    State likely_start(const Game &game, std::size_t root, const std::vector<std::vector<std::size_t>> &best,
                       GoneSets &gone) const {
        LiveLines live(word_);
        Stepper<Machine> stepper(machine_, live, gone);
        Path path;
        path.root = game.layers.front().positions[root].state;
        std::vector<std::uint32_t> lines;
        std::size_t at = root;
        for (std::size_t i = 0; i < word_.items.size() && at != Branch::nothing_left; ++i) {
            const Item &item = word_.items[i];
            const GameLayer &layer = game.layers[i];
            live.before(item);
            for (bool touched = true; touched && at != Branch::nothing_left;) {
                std::size_t chosen = best[i][at];
                for (std::size_t b = chosen + 1; b < layer.first_branch[at + 1] && !layer.branches[b].first; ++b)
                    if (likelier(layer.branches[b], layer.branches[chosen])) chosen = b;
                std::size_t b = layer.first_branch[at];
                auto find = [&](const State &, const Move &move, Weight) {
                    if (b++ == chosen) path.moves.push_back(move);
                };
                const Position &from = layer.positions[at];
                if (from.touches < touches_) stepper.touch(from.state, find);
                stepper.step(item, from.state, find);
                lines.push_back(item.line);
                touched = layer.branches[chosen].touch;
                at = layer.branches[chosen].target;
            }
            live.after(item);
        }
        State start = path.root;
        mark_all_valid(start);
        const std::optional<Concrete> run = concrete(machine_, policy_, path, limits_);
        if (!run) throw NeedsAbsoluteWays();
        for (std::size_t m = 0; m < path.moves.size(); ++m) {
            if (path.moves[m].source != Move::Source::start) continue;
            int place = run->ways[m];
            if (!machine_.in_ways) place = policy_.position(run->start, place);
            start.key.label[static_cast<std::size_t>(place)] =
                path.moves[m].was_invalid ? invalid : static_cast<Label>(lines[m] + 1);
        }
        return start;
    }

    static bool likelier(const Branch &a, const Branch &b) {
        if ((a.target == Branch::nothing_left) != (b.target == Branch::nothing_left))
            return b.target == Branch::nothing_left;
        return a.weight.numerator > b.weight.numerator;
    }

    // Every content of every start.
    std::vector<State> all_starts(const Limits &limits) const {
        std::vector<bool> cold(word_.lines);
        for (const Item &item : word_.items) cold[item.line] = item.cold;
        std::vector<State> starts;
        std::vector<bool> used(cold);
        auto fill = [&](auto &self, State &state, int p, unsigned perhaps) -> void {
            if (p == machine_.ways()) {
                if (machine_.unknown(state) > 0) starts.push_back(state);
                limits.check(starts.size());
                limits.poll_now_and_then(starts.size());
                return;
            }
            self(self, state, p + 1, perhaps);
            Label &label = state.key.label[static_cast<std::size_t>(p)];
            if (label != other) return;
            for (std::uint32_t line = 0; line < word_.lines; ++line) {
                if (used[line]) continue;
                used[line] = true;
                label = static_cast<Label>(line + 1);
                self(self, state, p + 1, perhaps);
                used[line] = false;
            }
            if ((perhaps >> p) & 1U) {
                label = invalid;
                self(self, state, p + 1, perhaps);
            }
            label = other;
        };
        machine_.starts([&](State state) {
            const unsigned perhaps = maybe_invalid(state, machine_.ways());
            mark_all_valid(state);
            fill(fill, state, 0, perhaps);
        });
        return starts;
    }

    // The value of the best of `starts`, each chosen beforehand.
    Limbs committed_value(const std::vector<State> &starts, const Limits &limits) const {
        if (!machine_.in_ways) {
            // Which of several invalid ways is filled first is decided by the start as well.
            for (const State &state : starts)
                if (std::count(state.key.label.begin(), state.key.label.end(), invalid) > 1) throw NeedsAbsoluteWays();
        }
        Game game(touches_, limits);
        for (const State &state : starts) add_root(game, state);
        const std::size_t roots = game.layers.front().positions.size();
        if (roots == 0) return {};
        GoneSets gone;
        play(game, committed(word_), true, gone);
        return value(game, roots, Strategies::all).first;
    }

    const AnyPolicy &policy_;
    const Machine &machine_;
    const Word &word_;
    std::uint32_t touches_;
    const Limits &limits_;
};

// Whether there are positions in which the adversary can stay for ever: the largest set in which every position has a
// choice all of whose branches stay in the set.
bool endless(const GameLayer &layer) {
    std::vector<bool> stays(layer.positions.size(), true);
    for (bool changed = true; changed;) {
        changed = false;
        for (std::size_t i = 0; i < stays.size(); ++i) {
            if (!stays[i]) continue;
            bool can_stay = false;
            bool all = false;
            for (std::size_t b = layer.first_branch[i]; b < layer.first_branch[i + 1]; ++b) {
                const Branch &branch = layer.branches[b];
                if (branch.first) {
                    can_stay = can_stay || all;
                    all = true;
                }
                all = all && branch.target != Branch::nothing_left && stays[branch.target];
            }
            if (can_stay || all) continue;
            stays[i] = false;
            changed = true;
        }
    }
    return std::find(stays.begin(), stays.end(), true) != stays.end();
}

ChanceCurve chance_curve_with(const PolicyFacts &policy, const Machine &machine, std::size_t most, bool cold,
                              std::uint32_t touches, const Limits &limits) {
    // Each access is of a line that occurs once: the same layer comes again and again.
    const Item item{0, ItemKind::access, other, false, false, cold};
    const LiveLines live{Word{}};
    GoneSets gone;
    Stepper<Machine> stepper(machine, live, gone);
    Game game(touches, limits);
    GameLayer &first = game.layers.front();
    machine.starts([&](const State &state) {
        if (machine.unknown(state) > 0) first.number({in_order(policy, state), 0});
        limits.check(first.positions.size());
    });
    const std::size_t roots = first.positions.size();
    game.expand(machine, stepper, item, true, [&](const State &state) { return in_order(policy, state); });
    game.scale();
    const GameLayer &layer = game.layers.front();
    Values upper = game.last(layer.positions.size(), layer.positions);
    Values lower = upper;
    ChanceCurve curve{{}, game.base(), endless(layer), game.states()};
    for (std::size_t n = 0;; ++n) {
        curve.bounds.push_back({lower.number(largest(lower, roots)), upper.number(largest(upper, roots))});
        if (game.base() == 1) curve.bounds.back().lower = curve.bounds.back().upper;
        if (n == most) return curve;
        upper = game.before(layer, n + 1, upper, Strategies::all);
        lower = game.before(layer, n + 1, lower, Strategies::committed);
    }
}

}  // namespace

Chance chance(const AnyPolicy &policy, const RawWord &raw, const Setting &setting, const Limits &limits) {
    require_chances(policy);
    const Word word = prepare(raw, useful_run(policy.facts.repeat_hits, setting.touches));
    auto solve = [&](const Machine &machine) {
        return ChanceSearch(policy, machine, word, setting.touches, limits).solve();
    };
    const Chance result = with_machine<LazyBitMachine>(policy, setting, raw.facts(), limits, solve);
    if (!result.needs_absolute_ways) return result;
    Setting absolute = setting;
    absolute.view = View::absolute;
    try {
        return with_machine<LazyBitMachine>(policy, absolute, raw.facts(), limits, solve);
    } catch (const StateSpaceTooLarge &) {
    } catch (const OutOfTime &) {
    }
    return result;
}

ChanceCurve chance_curve(const AnyPolicy &policy, std::size_t most, bool cold, const Setting &setting,
                         const Limits &limits) {
    require_chances(policy);
    return with_machine<LazyBitMachine>(policy, setting, {Flushes::none, cold}, limits, [&](const Machine &machine) {
        return chance_curve_with(policy.facts, machine, most, cold, setting.touches, limits);
    });
}

}  // namespace l1dflush
