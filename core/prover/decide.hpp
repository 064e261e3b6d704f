// SPDX-License-Identifier: GPL-2.0-or-later
// A word, item by item: how many old lines can be left?
#pragma once

#include <cstdint>
#include <vector>

#include "policy/any.hpp"
#include "prover/limits.hpp"
#include "prover/setting.hpp"
#include "prover/word.hpp"

namespace l1dflush {

struct Decision {
    std::vector<int> curve;    // most leftovers after 0, 1, 2, ... items, up to and with the first 0
    std::uint64_t states = 0;  // states kept, over all layers
    bool ended = false;        // the last entry is 0
};

// A line needs a label only while the word goes on to touch it again, and most complete words have done their work
// long before their end. So beginnings of the word are tried first, as words of their own: up to the first repeated
// line, then a quarter more, and again. What they leave is exactly what the word leaves up to there (the curve says
// nothing about later items), and when it is nothing, it stays nothing.
Decision decide(const AnyPolicy &policy, const RawWord &raw, const Setting &setting, bool merge_repeats,
                const Limits &limits);

}  // namespace l1dflush
