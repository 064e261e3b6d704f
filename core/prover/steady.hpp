// SPDX-License-Identifier: GPL-2.0-or-later
// The same protocol again and again: how many old lines can be left at the end of any of its flushes?
//
// THE QUESTION. A protocol is a list of words W1, ..., Wm, one per flush, played in turn for ever. Where a flush may
// take several paths, a turn has several words, and it is one of them, each time another: all that follows is about
// every choice, and what a turn makes of a set of states is what all its words make of it. Before each flush
// others access the set as often as they like: they hit old lines, they bring old lines in, and where the protocol has
// own lines (its stack, say) those are accessed at any time as well. Nobody else touches a buffer line. With
// `invalidations` others may make any way invalid too, at any time before a flush, but not during one.
//
//   least     the states before W1, W2, ... are all that this leads to when no buffer line is cached at first: the
//             least fixpoint from the full sets with old (and own) lines only. Others act before the first flush,
//             too;
//   greatest  the first state is any full set with any content (with `invalidations` any set that hits, misses and
//             invalidations lead to), and only what may still be found after any number of rounds counts:
//             S(n+1) is what one round makes of S(n), until nothing changes any more.
//
// For `greatest`, S(0) is closed (no round leads out of it), so S(1) lies in S(0), and because a round makes more of
// more states S(n+1) lies in S(n): the sequence ends, and two of the same size are equal. Only where words FLUSH lines
// and no way is invalid at first does a round lead out of S(0). Then the sequence begins with all that S(1) leads to,
// which is closed again. It ends with the states that have others before them without end; there are finitely many, so
// one of these returns, and what it leads to occurs after any number of rounds.
//
// STATE. What search.hpp forgets of a set comes back here: a line that is pushed out in this round is accessed in the
// next, so every way has its explicit content (steady_state.hpp). Exact and still cheap are
//   - old lines without names: they differ in nothing that a policy or an adversary sees;
//   - own lines that no word touches are old lines: an old line in their place goes through the same and may be left;
//   - positions instead of policy states for policies with symmetries (relative.hpp, steady_view.hpp);
//   - S(1) straight from open ways: in S(0) every content is possible, so each line is placed when a word names it for
//     the first time: in one of the ways still open, or in none. Contents that differ only in lines not named yet stay
//     one state until then. At the end of the first flush all lines are named, those of the other words too, and the
//     open ways hold old lines;
//   - of a flush only its end is kept. Within it, states that have become equal are merged.
// Nothing like dominance is used: a state with more old lines is not worse in all its rounds to come, because where the
// buffer's lines stand decides what hits next time.
//
// INVALID WAYS AND POSITIONS. "The lowest invalid way is filled first" is the one thing that positions do not tell. So
// the search is made with less than is real (Order::one) and with more (Order::every). A fixpoint of either kind grows
// with what may happen, so that the true answer lies between the two; where they differ absolute ways decide. That
// the order does not matter is not argued for any policy here: it is found out each time. (Even for tree-PLRU, where
// filling does what hitting does, the argument of machine.hpp does not carry over: it puts into the invalid way, at the
// start, the line that will fill it, and that need not be a state that the protocol leads to.)
//
// ENOUGH. From its start `any` (with `any+invalidations`, if ways are ever invalid) a word leaves at least what it
// leaves here, because all states here are states there. The caller knows those numbers by a far cheaper search and
// hands them in as `enough`: `least` ends as soon as a run reaches them, for its answer cannot grow any more. For
// `greatest` that would be wrong: a state that is reached must also be one that comes again. With invalidations a set
// full of old lines nearly always is one: others make every other way invalid and bring old lines in, one by one, and
// then hit and miss until the policy is where it was. Where a search finds such a round, what `least` reaches from that
// set counts for `greatest` as well.
//
// EXAMPLE. FIFO, 2 ways, one word A B. From the full set of old lines: A and B come in, and nothing is left. Before the
// next flush others bring in one old line: it takes A's way. Now A misses and takes B's, B misses and takes the old
// one's: nothing is left. From `any` however: A in the way that is next, an old line in the other: A hits, B takes A's
// way and the old line stays. `greatest` asks whether this comes again.
//
// WHAT A RESULT DOES NOT MEAN. Nothing is said about a buffer whose lines others access between the flushes, nor about
// flushes that end early.
#pragma once

#include "policy/any.hpp"
#include "prover/limits.hpp"
#include "prover/steady_question.hpp"

namespace l1dflush {

// `absolute`: not even where positions would do; for comparison.
SteadyAnswer steady(const AnyPolicy &policy, const SteadyQuestion &question, bool absolute, const Limits &limits);

}  // namespace l1dflush
