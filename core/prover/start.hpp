// SPDX-License-Identifier: GPL-2.0-or-later
// What is taken for granted about a set when the word begins.
#pragma once

#include <stdexcept>

namespace l1dflush {

enum class Start {
    any,           // all ways valid; every policy state of a full set that was filled from empty; any content
    invalid,       // the same, and any way may be invalid
    invalidations  // every state that hits, misses and invalidations lead to from the empty set; any content
};

// The policy comes from a file that does not say what filling an invalid way does.
class UnknownFill : public std::runtime_error {
public:
    UnknownFill() : std::runtime_error("what filling an invalid way does is not known") {}
};

}  // namespace l1dflush
