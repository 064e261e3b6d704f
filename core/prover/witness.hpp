// A concrete start from which old lines are left: the smallest one, or any.
//
// The search of search.hpp, except that every state remembers how it came about, and that a state may push out
// another only if it is also no more expensive (Cost: word lines cached at the start, then hits). Dominance stays
// exact: a state that leaves more open can do all that the other can, item by item at the same cost. The number of
// cached lines is raised from 0 until something is left, so the search never looks at starts that are more
// complicated than needed. Of the cheapest ends the one with the most leftovers is taken, and of those the one found
// first: the order of the search is fixed, so the same question always has the same answer.
//
// What comes out is a path of hits and misses. It is made concrete (a policy state, a line for every way) and handed
// to the caller, who replays it on another implementation of the policy before believing it.
#pragma once

#include <optional>
#include <utility>

#include "prover/lazy_bits.hpp"
#include "prover/search.hpp"

namespace l1dflush {

struct Witness {
    std::vector<int> start;                        // the policy state as numbers()
    std::vector<std::int64_t> content;             // per way: number of the first item of the line in it, or -1: old
    std::vector<std::pair<Outcome, int>> steps;    // per item of the word as given: what happens in which way
};

// How each state kept came about; 8 bytes each, all layers.
struct Trace {
    std::uint32_t parent;
    Move move;
};

struct Path {
    PolicyState root = 0;
    std::vector<Move> moves;
};

// The best path that caches at most `cached_limit` word lines at the start and leaves something, if there is one.
template <class Machine>
std::optional<Path> find_path(const Machine &machine, const Word &word, std::uint32_t cached_limit, bool costs,
                              const Limits &limits) {
    std::vector<Trace> traces;
    std::vector<PolicyState> roots;
    Frontier layer;
    Frontier next;
    machine.starts([&](const State &state) {
        layer.insert(state, Cost{}, static_cast<std::uint32_t>(roots.size()));
        roots.push_back(state.key.policy);
        limits.check(layer.size());
    });
    const auto first_trace = static_cast<std::uint32_t>(roots.size());  // smaller numbers are roots
    LiveLines live(word);
    GoneSets gone;
    Stepper<Machine> stepper(machine, live, gone);
    std::size_t steps = 0;
    for (const Item &item : word.items) {
        live.before(item);
        next.clear();
        layer.for_each([&](const State &from, const Frontier::Node &node) {
            stepper.step(item, from, [&](const State &to, const Move &move) {
                limits.poll_now_and_then(steps++);
                const Cost cost = costs ? Cost{node.cost.cached + (move.from_start ? 1U : 0U),
                                               node.cost.hits + (move.outcome == Outcome::hit ? 1U : 0U)}
                                        : Cost{};
                if (cost.cached > cached_limit || machine.unknown(to) == 0) return;
                const auto trace = static_cast<std::uint32_t>(first_trace + traces.size());
                if (!next.insert(to, cost, trace)) return;
                traces.push_back({node.trace, move});
                // A trace is an eighth of a state, or less.
                limits.check(layer.size() + next.size() + gone.size() + traces.size() / 8);
            });
        });
        live.after(item);
        std::swap(layer, next);
        if (layer.size() == 0) return std::nullopt;
    }

    std::optional<std::uint32_t> best;
    Cost best_cost;
    int best_left = 0;
    layer.for_each([&](const State &state, const Frontier::Node &node) {
        const int left = machine.unknown(state);
        if (best && (best_cost < node.cost || (best_cost == node.cost && best_left >= left))) return;
        best = node.trace;
        best_cost = node.cost;
        best_left = left;
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
template <class Machine>
bool leaves_something(const Machine &machine, const State &state, const Word &word, std::size_t first, LiveLines live,
                      GoneSets gone, const Limits &limits) {
    Frontier layer;
    Frontier next;
    if (machine.unknown(state) > 0) layer.insert(state, Cost{}, 0);
    for (std::size_t i = first; i < word.items.size() && layer.size() > 0; ++i) {
        live.before(word.items[i]);
        advance(machine, word.items[i], live, gone, layer, next, limits);
        live.after(word.items[i]);
        std::swap(layer, next);
    }
    return layer.size() > 0;
}

// bit-PLRU with many ways: too many states to keep, but few for deciding (nameless.hpp). So the path is walked without
// looking back: of what may happen at an item, the first after which something can still be left is taken. Misses
// come last among a state's successors and are tried first, because they leave fewer word lines cached at the start.
inline std::optional<Path> walk_path(const LazyBitMachine &machine, const Word &word, const Limits &limits) {
    const NamelessMachine judge(machine.ways());
    LiveLines live(word);
    GoneSets gone;
    Stepper<LazyBitMachine> stepper(machine, live, gone);
    State state;
    machine.starts([&](const State &start) { state = start; });
    Path path;
    for (std::size_t i = 0; i < word.items.size(); ++i) {
        live.before(word.items[i]);
        std::vector<std::pair<State, Move>> successors;
        stepper.step(word.items[i], state,
                     [&](const State &to, const Move &move) { successors.emplace_back(to, move); });
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

// The start state and the way of every move.
struct Concrete {
    PolicyState start;
    std::vector<int> ways;
};

template <class P>
PolicyState next_state(const P &policy, PolicyState state, const Move &move, int way) {
    if (move.outcome == Outcome::hit) return policy.hit(state, way);
    if (move.outcome == Outcome::miss) return policy.fill(state, way);
    return state;
}

template <class P>
Concrete concrete(const RelativeMachine &, const P &policy, const Path &path, const Limits &) {
    Concrete result{policy.base(), {}};
    PolicyState state = result.start;
    for (const Move &move : path.moves) {
        int way = 0;
        while (policy.position(state, way) != move.place) ++way;
        result.ways.push_back(way);
        state = next_state(policy, state, move, way);
    }
    return result;
}

template <class P>
Concrete concrete(const AbsoluteMachine<P> &, const P &, const Path &path, const Limits &) {
    Concrete result{path.root, {}};
    for (const Move &move : path.moves) result.ways.push_back(move.place);
    return result;
}

// The bits that the run left open: the first start state whose victims are the path's. The essay of LazyBitMachine
// promises that there is one; invalid ways are filled without asking the policy, so the content is followed too.
inline Concrete concrete(const LazyBitMachine &machine, const BitPlru &policy, const Path &path, const Limits &limits) {
    Concrete result{0, {}};
    for (const Move &move : path.moves) result.ways.push_back(move.place);
    const unsigned all = (1U << machine.ways()) - 1U;
    for (unsigned start = 1; start < all; ++start) {
        limits.poll_now_and_then(start);
        PolicyState state = start;
        unsigned invalid_ways = 0;
        bool fits = true;
        for (const Move &move : path.moves) {
            if (move.outcome == Outcome::miss && invalid_ways == 0 && policy.victim(state) != move.place) {
                fits = false;
                break;
            }
            if (move.outcome == Outcome::miss) invalid_ways &= ~(1U << move.place);
            if (move.outcome == Outcome::flushed) invalid_ways |= 1U << move.place;
            state = next_state(policy, state, move, move.place);
        }
        if (!fits) continue;
        result.start = start;
        return result;
    }
    throw std::logic_error("no start state fits the counterexample");
}

// Nothing if no old line can be left. With `smallest` off: any counterexample, found without keeping costs.
inline std::optional<Witness> witness(const PolicyChoice &choice, int ways, const Word &word, View view, bool smallest,
                                      const Limits &limits) {
    return with_machine<LazyBitMachine>(choice, ways, view, limits, [&](const auto &machine, const auto &policy) {
        require_words(policy);
        using Machine = std::decay_t<decltype(machine)>;
        std::optional<Path> path;
        if (smallest) {
            for (int cached = 0; cached < ways && !path; ++cached)
                path = find_path(machine, word, static_cast<std::uint32_t>(cached), true, limits);
        } else if constexpr (std::is_same_v<Machine, LazyBitMachine>) {
            path = walk_path(machine, word, limits);
        } else {
            path = find_path(machine, word, static_cast<std::uint32_t>(ways), false, limits);
        }
        std::optional<Witness> result;
        if (!path) return result;
        const Concrete run = concrete(machine, policy, *path, limits);
        result.emplace();
        result->start = policy.numbers(run.start);
        result->content.assign(static_cast<std::size_t>(ways), -1);
        for (std::size_t i = 0; i < word.kept.size(); ++i) {
            if (word.kept[i] == 0) {
                // A repeat hits what the item before it touched; one that need not happen does not (fewest hits).
                const bool dropped = word.kinds[i] == ItemKind::optional;
                result->steps.emplace_back(dropped ? Outcome::dropped : Outcome::hit, result->steps.back().second);
                continue;
            }
            const std::size_t item = word.kept[i] - 1;
            const Move &move = path->moves[item];
            result->steps.emplace_back(move.outcome, run.ways[item]);
            if (move.from_start)
                result->content[static_cast<std::size_t>(run.ways[item])] = static_cast<std::int64_t>(i);
        }
        return result;
    });
}

}  // namespace l1dflush
