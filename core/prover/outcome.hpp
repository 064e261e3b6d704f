// SPDX-License-Identifier: GPL-2.0-or-later
// What can happen at one item of a word, or at one touch by somebody else.
#pragma once

#include <cstdint>

namespace l1dflush {

enum class Outcome : std::uint8_t {
    miss = 0,
    hit = 1,
    dropped = 2,      // the prefetch did not happen
    flushed = 3,      // the flushed line was cached
    not_cached = 4,   // the flushed line was not
    touch_hit = 5,    // somebody else's access hit
    touch_miss = 6    // somebody else's access missed and filled a way
};

}  // namespace l1dflush
