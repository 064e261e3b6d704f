// SPDX-License-Identifier: GPL-2.0-or-later
// How a word and what is taken for granted come from Python.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "prover/setting.hpp"
#include "prover/word.hpp"

namespace l1dflush {

using Lines = std::vector<std::uint32_t>;
using Kinds = std::vector<std::uint8_t>;

inline RawWord raw_word(const Lines &lines, const Kinds &kinds, const Lines &cold) {
    if (lines.size() != kinds.size()) throw std::invalid_argument("as many kinds as lines are needed");
    RawWord raw{lines, {}, {cold.begin(), cold.end()}};
    for (const std::uint8_t kind : kinds) {
        if (kind > 2) throw std::invalid_argument("unknown item kind");
        raw.kinds.push_back(static_cast<ItemKind>(kind));
    }
    return raw;
}

inline Setting setting(const std::string &start, std::uint32_t touches, bool absolute) {
    Setting result;
    if (start == "any")
        result.start = Start::any;
    else if (start == "any+invalid")
        result.start = Start::invalid;
    else if (start == "any+invalidations")
        result.start = Start::invalidations;
    else
        throw std::invalid_argument("unknown start " + start);
    result.touches = touches;
    result.view = absolute ? View::absolute : View::fastest;
    return result;
}

}  // namespace l1dflush
