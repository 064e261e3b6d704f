// SPDX-License-Identifier: GPL-2.0-or-later
// The layers of a search in plain form: what a certificate is made of.
//
// Before each item the states that are kept of all that may be (state.hpp), as an independent checker writes them:
// numbers, and a symbol per way. The search is the one of search.hpp, by the two machines that know of every way what
// is in it (machine.hpp), and nothing is left out that only makes it faster: no repeat is merged, and ways that are
// invalid at the start stay what they are.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "policy/any.hpp"
#include "prover/limits.hpp"
#include "prover/setting.hpp"
#include "prover/word.hpp"

namespace l1dflush {

// What stands for a way in a plain state; a line of the word is its number there, in the order of first occurrence.
enum PlainSymbol : std::int64_t {
    plain_maybe = -1,     // unknown, may be invalid
    plain_valid = -2,     // unknown, valid
    plain_settled = -3,
    plain_invalid = -4,
    plain_brought = -5
};

struct PlainState {
    std::vector<int> policy;             // the policy's numbers, or those of the residue; empty: there is no residue
    std::vector<std::int64_t> holds;     // per way, or per position
    std::uint32_t touches = 0;           // used up
    std::vector<std::uint32_t> gone;     // lines that only prefetches touched, and that were pushed out since
};

struct Layers {
    bool positions = false;                       // seen from the policy's pointers, not by way number
    // Before each item, and behind the last; empty: nothing can be left. Nothing: the same as the one before.
    std::vector<std::optional<std::vector<PlainState>>> layers;
};

// The layers of `raw`, down to the first that is empty. `limits` also holds for all layers together. Layers that are the
// same as the one before are told by that (a line that is accessed again and again), though not all of them.
Layers layers(const AnyPolicy &policy, const RawWord &raw, const Setting &setting, const Limits &limits);

}  // namespace l1dflush
