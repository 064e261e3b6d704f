// SPDX-License-Identifier: GPL-2.0-or-later
// Pairwise different accesses: how many old lines can be left after 0, 1, 2, ... of them?
//
// No line comes back, so nothing needs a label. There are three searches: antichains (search.hpp), for policies that
// keep little or no state when seen from their own pointers; whole bitmaps of settled ways (mask_sets.hpp), for policies
// with many states; and counts of ages (age_counts.hpp), which need not be exact.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "policy/any.hpp"
#include "prover/decide.hpp"
#include "prover/limits.hpp"
#include "prover/setting.hpp"

namespace l1dflush {

struct Distinct : Decision {
    std::vector<int> surely;  // of the curve's leftovers so many are certain; empty: all, the curve is exact
    bool repeats = false;     // it will never be 0
    bool stopped = false;     // in more time more might have become certain
};

// Until nothing can be left, `limit` accesses are made, or the layers go round in a circle. `cold`: none of the lines
// is cached at the start.
Distinct distinct(const AnyPolicy &policy, std::optional<std::uint64_t> limit, bool cold, const Setting &setting,
                  const Limits &limits);

// An upper bound of that, found by counting ages: quick where the exact answer is not. Nothing for policies without
// ages.
std::optional<Distinct> distinct_at_most(const AnyPolicy &policy, bool cold, Start start, const Limits &limits);

}  // namespace l1dflush
