// SPDX-License-Identifier: GPL-2.0-or-later
// Which words of a given length empty a set, whatever the adversary does?
//
// THE QUESTION. A word here is any sequence of certain accesses, repeats included. Lines differ by name only, so words
// are told apart up to renaming: the next item is one of the lines used so far or the next new one (restricted growth
// strings). All of them are looked at, depth first, with all the states that a beginning can lead to carried along.
//
// SAME STEPS. States and steps are those of a word's proof (state.hpp, step.hpp), taken by the same Stepper. There each
// item knows whether its line comes back; here nobody knows yet how the word goes on. So every line is said to come
// back, and keeps its label while it is cached. A label where `settled` would do keeps states apart that might be
// compared; it does not change what can happen. All accesses are certain, so of every line used it is known where it
// is, or that it is not cached: `gone` is never needed.
//
// PRUNING never skips a word that works. A beginning is given up when from one of its states even a flusher who sees
// everything could not finish in the accesses left (adaptive.hpp); most are given up for a state found early, so states
// are looked at in the order of how many accesses that flusher needs. From there on only the `kept` hardest are
// carried along: they are real, so what they refute is refuted. Where nothing is left of those, and some were not
// carried along, all that the beginning can lead to is computed anew, and the search goes on from that. So a word that
// is found was found with every state.
//
// REPEATS. A hit in the way touched last changes nothing under most policies (repeat_hits): such an access is a lost
// one, and if nothing was found without it, nothing will be found with it.
//
// WHAT IS EMPTY STAYS EMPTY: every continuation of a beginning that works is a word that works.
//
// EXAMPLE. tree-PLRU, 8 ways, length 12: the flusher who sees everything needs 11 from the start, so at most one access
// may go wrong; 43 beginnings survive, none longer than 9.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "policy/any.hpp"
#include "prover/limits.hpp"
#include "prover/setting.hpp"

namespace l1dflush {

struct CompleteWords {
    std::vector<std::vector<std::uint32_t>> words;  // sorted
    std::uint64_t searched = 0;                     // beginnings looked at
};

// What is searched for.
struct WordSearch {
    std::uint32_t length;
    std::optional<std::size_t> most;  // words to find; more are not looked for
    bool cold = false;                // none of the lines is cached at the start
    std::size_t kept = 2000;          // enough to tell hopeless beginnings from good ones, and few enough to be quick
};

// Longer words would need too deep a recursion, and far too long.
constexpr std::uint32_t longest_word = 255;

CompleteWords complete_words(const AnyPolicy &policy, const WordSearch &wanted, const Setting &setting,
                             const Limits &limits);

}  // namespace l1dflush
