// SPDX-License-Identifier: GPL-2.0-or-later
// Whole numbers of any size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace l1dflush {

// A number that is never negative, lowest 32 bits first.
using Limbs = std::vector<std::uint32_t>;

// -1, 0, 1 as numbers of `width` limbs compare.
inline int compare(const std::uint32_t *a, const std::uint32_t *b, std::size_t width) {
    for (std::size_t i = width; i-- > 0;)
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    return 0;
}

// sum += factor * number, where `sum` has room for it.
inline void add_product(Limbs &sum, std::uint32_t factor, const std::uint32_t *number, std::size_t width) {
    std::uint64_t carry = 0;
    for (std::size_t i = 0; i < width && i < sum.size(); ++i) {
        carry += sum[i] + static_cast<std::uint64_t>(factor) * number[i];
        sum[i] = static_cast<std::uint32_t>(carry);
        carry >>= 32;
    }
    for (std::size_t i = width; carry != 0 && i < sum.size(); ++i) {
        carry += sum[i];
        sum[i] = static_cast<std::uint32_t>(carry);
        carry >>= 32;
    }
}

}  // namespace l1dflush
