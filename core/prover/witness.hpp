// SPDX-License-Identifier: GPL-2.0-or-later
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

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "policy/any.hpp"
#include "prover/limits.hpp"
#include "prover/outcome.hpp"
#include "prover/setting.hpp"
#include "prover/word.hpp"

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

// Nothing if no old line can be left. With `smallest` off: any counterexample, found without keeping costs.
//
// An invalid way costs less than a cached line, so where ways may be invalid the smallest counterexample has some,
// even where the start `any` would do for a verdict. For policies with symmetries they are filled in any order at
// first; if that is not a run of the real policy, way numbers must be kept; and if that takes too much, the smallest that
// has no invalid way is given and is said to be perhaps not the smallest.
std::optional<Witness> witness(const AnyPolicy &policy, const RawWord &raw, const Setting &setting, bool smallest,
                               const Limits &limits);

}  // namespace l1dflush
