// SPDX-License-Identifier: GPL-2.0-or-later
// Where in a set a line is. The whole set is compared at once and without an early exit: which way hits is as good as
// random to the branch predictor, so leaving early costs more than comparing the rest.
//
// Line numbers are compared in full, 64 bits each; nothing is hashed or cut off, so an answer is exact for every
// address. SSE2 is part of x86-64, so there is nothing to find out about the CPU at run time.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace l1dflush {

using Line = std::uint64_t;

// In a way that holds nothing. No address has this line number, because a line is at least 2 bytes.
constexpr Line no_line = ~Line{0};

// A set's ways are padded with no_line to `width`, a multiple of 4. Bit i of the result: way i holds `line`.
inline unsigned ways_with(const Line *ways, int width, Line line) {
    unsigned found = 0;
#if defined(__SSE2__)
    const __m128i wanted = _mm_set1_epi64x(static_cast<long long>(line));
    for (int first = 0; first < width; first += 4) {
        // SSE2 compares 32 bits at a time: gather the low halves of four ways, and the high ones; both must be equal.
        const auto *two = reinterpret_cast<const __m128i *>(ways + first);
        const __m128 a = _mm_castsi128_ps(_mm_cmpeq_epi32(_mm_loadu_si128(two), wanted));
        const __m128 b = _mm_castsi128_ps(_mm_cmpeq_epi32(_mm_loadu_si128(two + 1), wanted));
        const __m128 low = _mm_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0));
        const __m128 high = _mm_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1));
        found |= static_cast<unsigned>(_mm_movemask_ps(_mm_and_ps(low, high))) << first;
    }
#else
    for (int way = 0; way < width; ++way) found |= static_cast<unsigned>(ways[way] == line) << way;
#endif
    return found;
}

}  // namespace l1dflush
