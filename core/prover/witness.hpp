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
#include <tuple>
#include <utility>

#include "prover/lazy_bits.hpp"
#include "prover/search.hpp"

namespace l1dflush {

struct WitnessStep {
    Outcome outcome;
    int way;
    std::size_t item;       // of a touch: the item that it comes before
    std::int64_t line;      // of a touch that missed: number of the first item of the line that it brought in, or -1
    std::vector<int> state; // the policy state afterwards, as numbers()
};

struct Witness {
    static constexpr std::int64_t old_line = -1;
    static constexpr std::int64_t not_valid = -2;

    std::vector<int> start;             // the policy state as numbers()
    std::vector<std::int64_t> content;  // per way: number of the first item of the line in it, or one of the above
    std::vector<WitnessStep> steps;     // the items of the word as given, and the touches between them
    bool smallest = true;

    bool effortless() const {
        return std::all_of(content.begin(), content.end(), [](std::int64_t line) { return line < 0; }) &&
               std::none_of(steps.begin(), steps.end(),
                            [](const WitnessStep &step) { return step.outcome == Outcome::hit; });
    }
};

// How each state kept came about; 16 bytes each, all layers.
struct Trace {
    std::uint32_t parent;
    Move move;
};

struct Path {
    State root;
    std::vector<Move> moves;
};

// The best path that caches at most `cached_limit` word lines at the start and leaves something, if there is one.
template <class Machine>
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
template <class Machine>
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
inline std::optional<Path> walk_path(const LazyBitMachine &machine, const Word &word, const Limits &limits) {
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

// A path in ways: the start state of the policy, the way of every move and the policy state after it.
struct Concrete {
    PolicyState start = 0;
    std::vector<int> ways;
    std::vector<PolicyState> states;
};

inline bool missed(const Move &move) { return move.outcome == Outcome::miss || move.outcome == Outcome::touch_miss; }

// The outcome with that number, of those that the policy has here.
template <class P>
PolicyState next_state(const P &policy, PolicyState state, const Move &move, int way, int branch) {
    PolicyState result = state;
    int number = 0;
    auto take = [&](PolicyState next) {
        if (number++ == branch) result = next;
    };
    if (move.outcome == Outcome::hit || move.outcome == Outcome::touch_hit)
        each_hit(policy, state, way, take);
    else if (missed(move) && move.was_invalid)
        each_fill(policy, state, way, [&](PolicyState next, Weight) { take(next); });
    else if (missed(move))
        each_miss(policy, state, [&](int, PolicyState next, Weight) { take(next); });
    return result;
}

// Plays the moves from `start`, finding the way of each by way_of(state, move).
template <class P, class WayOf, class BranchOf>
Concrete play(const P &policy, PolicyState start, const Path &path, WayOf way_of, BranchOf branch_of) {
    Concrete result{start, {}, {}};
    PolicyState state = start;
    for (const Move &move : path.moves) {
        const int way = way_of(state, move);
        state = next_state(policy, state, move, way, branch_of(move));
        result.ways.push_back(way);
        result.states.push_back(state);
    }
    return result;
}

// Whether of several invalid ways the first is filled, and nothing is evicted while there is one.
template <class P>
bool fills_in_order(const Path &path, const Concrete &run) {
    unsigned invalid_ways = 0;
    for (int way = 0; way < max_ways; ++way)
        if (path.root.key.label[static_cast<std::size_t>(way)] == invalid) invalid_ways |= 1U << way;
    for (std::size_t i = 0; i < path.moves.size(); ++i)
        if (path.moves[i].was_invalid && path.moves[i].source == Move::Source::start) invalid_ways |= 1U << run.ways[i];
    for (std::size_t i = 0; i < path.moves.size(); ++i) {
        const Move &move = path.moves[i];
        if (move.outcome == Outcome::flushed) invalid_ways |= 1U << run.ways[i];
        if (!missed(move)) continue;
        if (move.was_invalid != (invalid_ways != 0)) return false;
        if (move.was_invalid && invalid_way<P>(invalid_ways) != run.ways[i]) return false;
        invalid_ways &= ~(1U << run.ways[i]);
    }
    return true;
}

// Of all states that look the same from their pointers the first one whose invalid ways are filled in order. Nothing
// if there is none: the machine let any of them be filled first.
template <class P>
std::optional<Concrete> concrete(const RelativeMachine<P> &, const P &policy, const Path &path, const Limits &limits) {
    auto from = [&](PolicyState start) {
        return play(
            policy, start, path,
            [&](PolicyState state, const Move &move) { return way_at(policy, state, move.place); },
            [](const Move &move) { return int{move.branch}; });
    };
    Concrete run = from(representative(policy, path.root.key.policy));
    if (fills_in_order<P>(path, run)) return run;
    if constexpr (requires(const std::array<int, max_ways> &names) { policy.renamed(run.start, names); }) {
        // Number the ways in the order in which they are filled.
        std::array<int, max_ways> names{};
        names.fill(-1);
        int next = 0;
        auto name = [&](int way) {
            if (names[static_cast<std::size_t>(way)] < 0) names[static_cast<std::size_t>(way)] = next++;
        };
        for (std::size_t i = 0; i < path.moves.size(); ++i)
            if (path.moves[i].was_invalid) name(run.ways[i]);
        for (int way = 0; way < policy.ways(); ++way) name(way);
        run.start = policy.renamed(run.start, names);
        for (int &way : run.ways) way = names[static_cast<std::size_t>(way)];
        for (PolicyState &state : run.states) state = policy.renamed(state, names);
        if (fills_in_order<P>(path, run)) return run;
    } else {
        for (const PolicyState start : full_set_states(policy, limits)) {
            if (residue(policy, start) != path.root.key.policy) continue;
            run = from(start);
            if (fills_in_order<P>(path, run)) return run;
        }
    }
    return std::nullopt;
}

template <class P>
std::optional<Concrete> concrete(const AbsoluteMachine<P> &, const P &policy, const Path &path, const Limits &) {
    return play(
        policy, path.root.key.policy, path, [](PolicyState, const Move &move) { return int{move.place}; },
        [](const Move &move) { return int{move.branch}; });
}

// The bits that the run left open: the first start state whose victims are the path's. The essay of LazyBitMachine
// promises that there is one. Its branches settle bits; the policy itself has one outcome.
inline std::optional<Concrete> concrete(const LazyBitMachine &machine, const BitPlru &policy, const Path &path,
                                        const Limits &limits) {
    const unsigned all = (1U << machine.ways()) - 1U;
    for (unsigned start = 1; start < all; ++start) {
        limits.poll_now_and_then(start);
        bool fits = true;
        Concrete result = play(
            policy, start, path,
            [&](PolicyState state, const Move &move) {
                fits = fits && (!missed(move) || move.was_invalid || policy.victim(state) == move.place);
                return int{move.place};
            },
            [](const Move &) { return 0; });
        if (fits) return result;
    }
    throw std::logic_error("no start state fits the counterexample");
}

// The path in terms of the word as it was given.
template <class P>
Witness told(const P &policy, const Word &word, const Path &path, const Concrete &run, int ways) {
    Witness result;
    result.start = policy.numbers(run.start);
    result.content.assign(static_cast<std::size_t>(ways), Witness::old_line);
    for (std::size_t way = 0; way < result.content.size(); ++way)
        if (path.root.key.label[way] == invalid) result.content[way] = Witness::not_valid;
    std::vector<std::int64_t> first_item(word.lines, -1);
    for (std::size_t i = 0; i < word.kept.size(); ++i)
        if (word.kept[i] != 0 && first_item[word.items[word.kept[i] - 1].line] < 0)
            first_item[word.items[word.kept[i] - 1].line] = static_cast<std::int64_t>(i);

    std::vector<std::size_t> brought_by(static_cast<std::size_t>(ways), 0);  // step of the touch that filled the way
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
template <class Machine>
std::optional<Path> any_path(const Machine &machine, const Word &word, std::uint32_t touches, bool smallest,
                             const Limits &limits) {
    const auto all = static_cast<std::uint32_t>(machine.ways());
    if (!smallest) {
        if constexpr (std::is_same_v<Machine, LazyBitMachine>)
            if (touches == 0) return walk_path(machine, word, limits);
        return find_path(machine, word, all, false, touches, limits);
    }
    std::optional<Path> path;
    for (std::uint32_t cached = 0; cached <= all && !path; ++cached)
        path = find_path(machine, word, cached, true, touches, limits);
    return path;
}

// Nothing if no old line can be left. With `smallest` off: any counterexample, found without keeping costs.
//
// An invalid way costs less than a cached line, so where ways may be invalid the smallest counterexample has some,
// even where the start `any` would do for a verdict. For policies with symmetries they are filled in any order at
// first; if that is no run of the real policy, way numbers must be kept; and if that takes too much, the smallest that
// has no invalid way is given and is said to be perhaps not the smallest.
inline std::optional<Witness> witness(const PolicyChoice &choice, int ways, const RawWord &raw, const Setting &setting,
                                      bool smallest, const Limits &limits) {
    using Found = std::optional<Witness>;
    return with_policy(choice, ways, [&](const auto &policy) -> Found {
        using P = std::decay_t<decltype(policy)>;
        const Word word = prepare(raw, useful_run(policy, setting.touches));
        auto search = [&](const auto &machine, const P &) -> Found {
            const auto path = any_path(machine, word, setting.touches, smallest, limits);
            if (!path) return std::nullopt;
            const auto run = concrete(machine, policy, *path, limits);
            if (!run) throw NeedsAbsoluteWays();
            return told(policy, word, *path, *run, ways);
        };
        if (smallest && setting.start != Start::any && setting.view == View::fastest) {
            if constexpr (SymmetricPolicy<P>) {
                if (setting.start == Start::invalid || requires { policy.base(); }) {
                    try {
                        return search(RelativeMachine<P>(policy, Start::invalid, limits), policy);
                    } catch (const NeedsAbsoluteWays &) {
                    } catch (const StateSpaceTooLarge &) {
                    }
                }
            }
            try {
                constexpr std::size_t affordable = 500'000;
                Limits less = limits;
                less.max_states = std::min(limits.max_states, affordable);
                const AbsoluteMachine<P> machine(policy, setting.start, less);
                const auto path = any_path(machine, word, setting.touches, smallest, less);
                if (!path) return std::nullopt;
                return told(policy, word, *path, *concrete(machine, policy, *path, limits), ways);
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
    });
}

}  // namespace l1dflush
