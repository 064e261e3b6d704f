// SPDX-License-Identifier: GPL-2.0-or-later
// A protocol that is played again and again: the question and the answer. The essay is in steady.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "prover/word.hpp"

namespace l1dflush {

// What a way holds.
constexpr std::uint8_t old_line = 0;
constexpr std::uint8_t no_line = 1;       // the way is invalid
constexpr std::uint8_t foreign_line = 2;  // brought in by somebody else during this flush; at the next one it is old
constexpr std::uint8_t open_line = 3;     // an old line, or one of the protocol not named yet (steady_round.hpp)
constexpr std::uint8_t first_line = 4;    // and above: line number label - first_line of the protocol
constexpr std::size_t most_lines = 256 - first_line;

struct SteadyItem {
    std::uint8_t label;
    ItemKind kind;
};

// Words that are played in turn, again and again. `turns`: of each turn the numbers of the words that it may be, each
// time another one. `own`: the labels of lines that are not the buffer's: between the flushes others may access them.
struct Protocol {
    std::vector<std::vector<SteadyItem>> words;
    std::vector<std::vector<std::size_t>> turns;
    std::vector<std::uint8_t> own;
    int lines = 0;
    bool invalidations = false;
    std::uint32_t touches = 0;

    bool flushes() const {
        for (const auto &word : words)
            for (const SteadyItem &item : word)
                if (item.kind == ItemKind::flush) return true;
        return false;
    }
};

struct SteadyStep {
    int outcome;             // of step.hpp, or SteadyOutcome
    int way;
    int item;                // of the word; of a touch the item that it comes before
    int line;                // that others brought in, or -1
    std::vector<int> state;  // the policy state afterwards, as numbers()
};

struct SteadyRun {
    // One flush, or one thing that others did between two.
    struct Leg {
        static constexpr int between = -1;
        int word;  // its number, or `between`
        std::vector<SteadyStep> steps;
    };

    std::vector<int> start;    // the policy state as numbers()
    std::vector<int> content;  // per way: the line, -1 for an old line, -2 where invalid
    std::vector<Leg> legs;     // the first flush is of the first word
    std::size_t again;         // so many lead back to the start, up to names; 0: the start is a cold one
};

struct SteadyQuestion {
    Protocol protocol;
    bool from_any = false;         // `greatest`
    bool verdict = false;          // whether something is left is all that is asked
    std::vector<int> enough;       // per word: it cannot leave more than that
};

struct SteadyAnswer {
    std::vector<int> per_word;     // most old lines left at its end
    bool exact = true;             // no: memory was not enough, and there may be more than that
    std::uint64_t rounds = 0;
    std::uint64_t states = 0;      // held at the end
    std::optional<SteadyRun> run;  // to the most that is left, if anything is

    int most() const { return *std::max_element(per_word.begin(), per_word.end()); }
};

}  // namespace l1dflush
