// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/witness.hpp"

#include <tuple>
#include <utility>

#include "prover/concrete.hpp"
#include "prover/nameless.hpp"
#include "prover/search.hpp"

namespace l1dflush {

namespace {

// How each state kept came about; 16 bytes each, all layers.
struct Trace {
    std::uint32_t parent;
    Move move;
};

// The best path that caches at most `cached_limit` word lines at the start and leaves something, if there is one.
std::optional<Path> find_path(const Machine &machine, const Word &word, std::uint32_t cached_limit, bool costs,
                              std::uint32_t touches, const Limits &limits) {
    std::vector<Trace> traces;
    std::vector<State> roots;
    Frontier layer;
    Frontier next;
    machine.starts([&](const State &state) {
        if (machine.unknown(state) == 0) return;
        layer.insert(state, Cost{}, static_cast<std::uint32_t>(roots.size()), 0);
        roots.push_back(state);
        limits.check(layer.size());
    });
    const auto first_trace = static_cast<std::uint32_t>(roots.size());  // smaller numbers are roots
    LiveLines live(word);
    GoneSets gone;
    Stepper<Machine> stepper(machine, live, gone);
    std::size_t steps = 0;
    auto keep = [&](Frontier &into, const Frontier::Node &node, const State &to, const Move &move,
                    std::uint32_t used) {
        limits.poll_now_and_then(steps++);
        const bool cached = move.source == Move::Source::start && move.outcome != Outcome::miss;
        const Cost cost = costs ? Cost{node.cost.cached + (cached ? 1U : 0U),
                                       node.cost.hits + (move.outcome == Outcome::hit ? 1U : 0U)}
                                : Cost{};
        if (cost.cached > cached_limit || machine.unknown(to) == 0) return;
        const auto trace = static_cast<std::uint32_t>(first_trace + traces.size());
        if (!into.insert(to, cost, trace, used)) return;
        traces.push_back({node.trace, move});
        // A trace is a sixth of a state, or less.
        limits.check(layer.size() + next.size() + gone.size() + traces.size() / 6);
    };
    for (const Item &item : word.items) {
        live.before(item);
        next.clear();
        add_touched(layer, touches, [&](const State &from, const Frontier::Node &node) {
            stepper.touch(from, [&](const State &to, const Move &move, Weight) {
                keep(layer, node, to, move, node.touches + 1);
            });
        });
        layer.for_each([&](const State &from, const Frontier::Node &node) {
            stepper.step(item, from,
                         [&](const State &to, const Move &move, Weight) { keep(next, node, to, move, node.touches); });
        });
        live.after(item);
        std::swap(layer, next);
        if (layer.size() == 0) return std::nullopt;
    }

    std::optional<std::uint32_t> best;
    Cost best_cost;
    int best_left = 0;
    std::uint32_t best_touches = 0;
    layer.for_each([&](const State &state, const Frontier::Node &node) {
        const int left = machine.unknown(state);
        const auto rank = std::tuple(node.cost, -left, node.touches);
        if (best && std::tuple(best_cost, -best_left, best_touches) <= rank) return;
        best = node.trace;
        best_cost = node.cost;
        best_left = left;
        best_touches = node.touches;
    });
    if (!best) return std::nullopt;
    Path path;
    std::uint32_t trace = *best;
    for (; trace >= first_trace; trace = traces[trace - first_trace].parent)
        path.moves.push_back(traces[trace - first_trace].move);
    std::reverse(path.moves.begin(), path.moves.end());
    path.root = roots[trace];
    return path;
}

// Whether the items from `first` on can leave an old line, starting in `state`. The lines and sets are those of a run
// that has come to `first`; they are copied, because what is tried here did not happen.
bool leaves_something(const Machine &machine, const State &state, const Word &word, std::size_t first, LiveLines live,
                      GoneSets gone, const Limits &limits) {
    Frontier layer;
    Frontier next;
    if (machine.unknown(state) > 0) layer.insert(state, Cost{}, 0, 0);
    for (std::size_t i = first; i < word.items.size() && layer.size() > 0; ++i) {
        live.before(word.items[i]);
        advance(machine, word.items[i], live, gone, 0, layer, next, limits);
        live.after(word.items[i]);
        std::swap(layer, next);
    }
    return layer.size() > 0;
}

// bit-PLRU with many ways: too many states to keep, but few for deciding (nameless.hpp). So the path is walked without
// looking back: of what may happen at an item, the first after which something can still be left is taken. Misses
// come last among a state's successors and are tried first, because they leave fewer word lines cached at the start.
std::optional<Path> walk_path(const LazyBitMachine &machine, const Word &word, const Limits &limits) {
    const NamelessMachine judge(machine.ways());
    LiveLines live(word);
    GoneSets gone;
    Stepper<LazyBitMachine> stepper(machine, live, gone);
    State state;
    machine.starts([&](const State &start) { state = start; });
    Path path;
    path.root = state;
    for (std::size_t i = 0; i < word.items.size(); ++i) {
        live.before(word.items[i]);
        std::vector<std::pair<State, Move>> successors;
        stepper.step(word.items[i], state,
                     [&](const State &to, const Move &move, Weight) { successors.emplace_back(to, move); });
        live.after(word.items[i]);
        const auto chosen = std::find_if(successors.rbegin(), successors.rend(), [&](const auto &successor) {
            const State &to = successor.first;
            const State from = judge.from_lazy(to, LazyBitMachine::zeros(to), LazyBitMachine::ones(to));
            return leaves_something(judge, from, word, i + 1, live, gone, limits);
        });
        if (chosen == successors.rend()) return std::nullopt;
        state = chosen->first;
        path.moves.push_back(chosen->second);
    }
    return path;
}

// The path in terms of the word as it was given.
Witness told(const AnyPolicy &policy, const Word &word, const Path &path, const Concrete &run) {
    Witness result;
    result.start = policy.numbers(run.start);
    result.content.assign(static_cast<std::size_t>(policy.ways()), Witness::old_line);
    for (std::size_t way = 0; way < result.content.size(); ++way)
        if (path.root.key.label[way] == invalid) result.content[way] = Witness::not_valid;
    std::vector<std::int64_t> first_item(word.lines, -1);
    for (std::size_t i = 0; i < word.kept.size(); ++i)
        if (word.kept[i] != 0 && first_item[word.items[word.kept[i] - 1].line] < 0)
            first_item[word.items[word.kept[i] - 1].line] = static_cast<std::int64_t>(i);

    std::vector<std::size_t> brought_by(result.content.size(), 0);  // step of the touch that filled the way
    PolicyState state = run.start;
    std::size_t at = 0;  // in path.moves
    for (std::size_t i = 0; i < word.kept.size(); ++i) {
        if (word.kept[i] == 0) {
            // A repeat hits what the item before it touched; one that need not happen does not (fewest hits).
            const int way = result.steps.back().way;
            const bool dropped = word.kinds[i] == ItemKind::optional;
            if (!dropped) state = next_state(policy, state, Move{Outcome::hit}, way, 0);
            result.steps.push_back({dropped ? Outcome::dropped : Outcome::hit, way, i, -1, policy.numbers(state)});
            continue;
        }
        for (bool item_done = false; !item_done; ++at) {
            const Move &move = path.moves[at];
            const int way = run.ways[at];
            const auto place = static_cast<std::size_t>(way);
            state = run.states[at];
            std::int64_t line = -1;
            if (move.outcome == Outcome::touch_miss) {
                if (move.line != Move::nobody) line = first_item[move.line];
                brought_by[place] = result.steps.size();
            }
            item_done = move.outcome != Outcome::touch_hit && move.outcome != Outcome::touch_miss;
            const auto number = static_cast<std::int64_t>(i);
            if (move.source == Move::Source::start)
                result.content[place] = move.was_invalid ? Witness::not_valid : number;
            if (move.source == Move::Source::brought) result.steps[brought_by[place]].line = number;
            result.steps.push_back({move.outcome, way, i, line, policy.numbers(state)});
        }
    }
    return result;
}

// A search for a path, with the machine that suits it.
std::optional<Path> any_path(const Machine &machine, const Word &word, std::uint32_t touches, bool smallest,
                             const Limits &limits) {
    const auto all = static_cast<std::uint32_t>(machine.ways());
    if (!smallest) {
        const auto *lazy = dynamic_cast<const LazyBitMachine *>(&machine);
        if (lazy != nullptr && touches == 0) return walk_path(*lazy, word, limits);
        return find_path(machine, word, all, false, touches, limits);
    }
    std::optional<Path> path;
    for (std::uint32_t cached = 0; cached <= all && !path; ++cached)
        path = find_path(machine, word, cached, true, touches, limits);
    return path;
}

}  // namespace

std::optional<Witness> witness(const AnyPolicy &policy, const RawWord &raw, const Setting &setting, bool smallest,
                               const Limits &limits) {
    using Found = std::optional<Witness>;
    const Word word = prepare(raw, useful_run(policy.facts.repeat_hits, setting.touches));
    auto search = [&](const Machine &machine) -> Found {
        const auto path = any_path(machine, word, setting.touches, smallest, limits);
        if (!path) return std::nullopt;
        const auto run = concrete(machine, policy, *path, limits);
        if (!run) throw NeedsAbsoluteWays();
        return told(policy, word, *path, *run);
    };
    if (smallest && setting.start != Start::any && setting.view == View::fastest) {
        if (policy.facts.symmetric && (setting.start == Start::invalid || !policy.facts.has_residue)) {
            try {
                return search(RelativeMachine(policy, Start::invalid, limits));
            } catch (const NeedsAbsoluteWays &) {
            } catch (const StateSpaceTooLarge &) {
            }
        }
        try {
            constexpr std::size_t affordable = 500'000;
            Limits less = limits;
            less.max_states = std::min(limits.max_states, affordable);
            const AbsoluteMachine machine(policy, setting.start, less);
            const auto path = any_path(machine, word, setting.touches, smallest, less);
            if (!path) return std::nullopt;
            return told(policy, word, *path, *concrete(machine, policy, *path, limits));
        } catch (const StateSpaceTooLarge &) {
        }
        Found found = with_machine<LazyBitMachine>(policy, setting, raw.facts(), limits, search);
        // Nothing is smaller than no cached line and no hit.
        if (found) found->smallest = found->effortless();
        return found;
    }
    Found found = with_machine<LazyBitMachine>(policy, setting, raw.facts(), limits, search);
    if (found) found->smallest = smallest;
    return found;
}

}  // namespace l1dflush
