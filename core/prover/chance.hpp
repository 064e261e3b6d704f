// SPDX-License-Identifier: GPL-2.0-or-later
// The largest chance that an old line is left, for policies with an element of chance.
//
// WHAT IS ASKED. The adversary chooses the start before anything happens; then chance and the adversary take turns: the
// adversary, who has seen everything so far, chooses the touches, which prefetches are dropped, and outcomes whose
// chance nobody knows. How likely is it at most that an old line is left?
//
// UPPER BOUND. The searches of the prover settle the start lazily (state.hpp): the adversary says "this line was cached
// all along" at its first access. Without chance that is the same. With chance he has seen by then what chance did,
// and can choose the start that suits it. So the game's value is an upper bound: whoever has chosen the start
// beforehand can play the same game, telling what he has chosen.
//
// LOWER BOUNDS. (a) The value of the same game for an adversary who never claims anything about the start, nor about
// what a touch brought in: no line of the word is cached in it, all ways are valid. That start is chosen beforehand.
// (b) The start that the best strategy of the upper bound settles on along a likely path, as one that was chosen
// beforehand.
// If one of them is as large as the upper bound, that is the exact answer. Where not, the starts are tried, all in one
// game (they meet in the same states soon), if they are few enough for memory. Otherwise the upper bound is what is
// known.
//
// A START CHOSEN BEFOREHAND. Every line of the word has a label from the beginning, and it is known where it is or that
// it is nowhere: `commit`. The same stepper then leaves nothing open. Invalid ways are labelled at the start. A touch
// says which line it brings in.
//
// RANDOM REPLACEMENT. Here the best start is always the one that is all old lines, for any word. Claim: let B be a set,
// and A the same set but with an old line in some way w in which B has something else (a line, or nothing: an invalid
// way). Then A is worth at least as much as B. Let A's adversary play as B's does. What hits, misses or is flushed in
// both sets and leaves w alone leaves the claim as it is; if both evict w the sets are equal. Otherwise a line x comes
// into w in B only, by a hit of x in w or by a miss that fills the invalid w, while in A it misses and comes into some
// other way v, evicted or invalid. A now has x in v and an old line in w, B has x in w and in v what was there before.
// With v and w renamed in A that is the claim again, for v; or the sets are equal, if B has an old line there. A flush
// of B's line in w turns it invalid and does nothing in A: the claim again. So replacing all that is not old, one way
// after the other, makes no start worse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "policy/any.hpp"
#include "prover/limbs.hpp"
#include "prover/limits.hpp"
#include "prover/setting.hpp"
#include "prover/word.hpp"

namespace l1dflush {

// Numerators over base^exponent. They are equal if the chance is known exactly.
struct ChanceBounds {
    Limbs lower;
    Limbs upper;
};

struct Chance {
    ChanceBounds bounds;
    std::uint32_t base = 1;
    std::size_t exponent = 0;
    std::size_t states = 0;
    bool needs_absolute_ways = false;  // to come closer
};

// After n accesses: bounds[n] over base^(n + touches). `endless`: in some reachable state an old line can be kept for
// ever, whatever chance does.
struct ChanceCurve {
    std::vector<ChanceBounds> bounds;
    std::uint32_t base = 1;
    bool endless = false;
    std::size_t states = 0;
};

// After all items of the word. Throws std::invalid_argument for a policy that leaves nothing to chance.
Chance chance(const AnyPolicy &policy, const RawWord &raw, const Setting &setting, const Limits &limits);

// After 0, 1, ..., `most` pairwise different accesses. `cold`: none of these lines is cached at the start.
ChanceCurve chance_curve(const AnyPolicy &policy, std::size_t most, bool cold, const Setting &setting,
                         const Limits &limits);

}  // namespace l1dflush
