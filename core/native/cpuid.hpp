// SPDX-License-Identifier: GPL-2.0-or-later
// The cpuid instruction, on the CPU that the calling thread runs on.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace l1dflush::native {

// eax, ebx, ecx, edx; nothing where the instruction does not exist. A leaf beyond the last one is not looked for:
// Intel's CPUs answer it with what the last one says.
inline std::optional<std::array<std::uint32_t, 4>> cpuid([[maybe_unused]] std::uint32_t leaf,
                                                         [[maybe_unused]] std::uint32_t subleaf) {
#if defined(__x86_64__) || defined(__i386__)
    std::array<std::uint32_t, 4> said{};
    __cpuid_count(leaf, subleaf, said[0], said[1], said[2], said[3]);
    return said;
#else
    return std::nullopt;
#endif
}

}  // namespace l1dflush::native
