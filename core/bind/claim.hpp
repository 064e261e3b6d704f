// SPDX-License-Identifier: GPL-2.0-or-later
// One user at a time.
#pragma once

#include <atomic>
#include <stdexcept>

namespace l1dflush {

// A run gives the GIL away, and handles signals in between: both let other Python code in, which must not get at what is
// in the middle of it. Throws std::runtime_error if it is taken.
class Claim {
public:
    Claim(std::atomic_flag &taken, const char *otherwise) : taken_(taken) {
        if (taken_.test_and_set()) throw std::runtime_error(otherwise);
    }
    ~Claim() { taken_.clear(); }
    Claim(const Claim &) = delete;
    Claim &operator=(const Claim &) = delete;

private:
    std::atomic_flag &taken_;
};

}  // namespace l1dflush
