// SPDX-License-Identifier: GPL-2.0-or-later
// The flush loops by name, with the bytes they are made of.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

#include "native/flush.hpp"

namespace l1dflush::native {

#if L1DFLUSH_NATIVE
inline constexpr bool available = true;
#else
inline constexpr bool available = false;
#endif

class NoNativeCode : public std::runtime_error {
public:
    explicit NoNativeCode(const char *what = "there is native code for Linux on x86-64 only")
        : std::runtime_error(what) {}
};

struct Routine {
    void (*run)(const void *, std::size_t);
    std::string_view code;  // the very bytes that run
};

// Throws std::invalid_argument for a name that is none, and NoNativeCode.
inline Routine routine(const std::string &name) {
#if L1DFLUSH_NATIVE
    const auto made = [](void (*run)(const void *, std::size_t), const unsigned char *end) {
        const auto *begin = reinterpret_cast<const char *>(run);
        return Routine{run, {begin, static_cast<std::size_t>(reinterpret_cast<const char *>(end) - begin)}};
    };
    if (name == "linux-2018") return made(&l1dflush_linux_2018, l1dflush_linux_2018_end);
    if (name == "planned") return made(&l1dflush_planned, l1dflush_planned_end);
    if (name == "fill") return made(&l1dflush_fill, l1dflush_fill_end);
    throw std::invalid_argument("there is no native routine " + name);
#else
    (void)name;
    throw NoNativeCode();
#endif
}

}  // namespace l1dflush::native
