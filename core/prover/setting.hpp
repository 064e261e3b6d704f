// SPDX-License-Identifier: GPL-2.0-or-later
// What is asked about a word, beside the word itself.
#pragma once

#include <cstdint>

#include "prover/start.hpp"

namespace l1dflush {

// Which machine the search uses. `fastest` is for use; `absolute` exists so that tests can compare.
enum class View { fastest, absolute };

// What is asked about a word: how the set may be at its start, and how often others may touch it meanwhile.
struct Setting {
    Start start = Start::any;
    std::uint32_t touches = 0;
    View view = View::fastest;
};

}  // namespace l1dflush
