// SPDX-License-Identifier: GPL-2.0-or-later
// Values of the abstract machine: bit-vectors of up to 64 bits of which some bits, or a part as a sum, are known.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace l1dflush::machine {

using Word = std::uint64_t;
using TermId = std::uint32_t;  // a term in its store; 0 is not a term

// GCC and clang have it, and no standard has.
__extension__ typedef unsigned __int128 Wide;
__extension__ typedef __int128 WideSigned;

constexpr unsigned most_bits = 64;

constexpr Word mask_of(unsigned bits) { return bits >= most_bits ? ~Word{0} : (Word{1} << bits) - 1; }
constexpr Word sign_of(unsigned bits) { return Word{1} << (bits - 1); }
constexpr Word negated(Word number) { return Word{0} - number; }

// What a register, a piece of memory or an operand holds: a term without a constant part, plus a constant, modulo
// 2^bits. So the address that a loop moves on needs no new term in any iteration.
struct Value {
    TermId term = 0;
    std::uint8_t bits = 0;
    Word constant = 0;

    bool known() const { return term == 0; }
    bool operator==(const Value &) const = default;
};

constexpr Value number(unsigned bits, Word constant) {
    return Value{0, static_cast<std::uint8_t>(bits), constant & mask_of(bits)};
}

// Which bits are surely 0 and which surely 1, and the smallest and largest number that it can be.
struct Known {
    Word zeros = 0;
    Word ones = 0;
    Word least = 0;
    Word most = 0;

    static Known nothing(unsigned bits) { return {0, 0, 0, mask_of(bits)}; }
    static Known all(unsigned bits, Word constant) {
        return {~constant & mask_of(bits), constant, constant, constant};
    }

    unsigned trailing_zeros() const { return static_cast<unsigned>(std::countr_one(zeros)); }
    Word possible(unsigned bits) const { return ~zeros & mask_of(bits); }

    // What the bits say about the numbers, and the other way round.
    Known sharpened(unsigned bits) const {
        Known k = *this;
        if (k.least < k.ones) k.least = k.ones;
        if (k.most > possible(bits)) k.most = possible(bits);
        const Word mask = mask_of(bits);
        if (k.most < mask) k.zeros |= mask & ~mask_of(static_cast<unsigned>(std::bit_width(k.most)));
        return k;
    }
};

// Known bits of a sum: where both numbers and the carry into the place are known (as in a ripple-carry adder).
inline Known added(const Known &x, const Known &y, unsigned bits) {
    const Word largest = ~x.zeros + ~y.zeros;
    const Word smallest = x.ones + y.ones;
    const Word no_carry = ~(largest ^ x.zeros ^ y.zeros);
    const Word carry = smallest ^ x.ones ^ y.ones;
    const Word settled = (x.zeros | x.ones) & (y.zeros | y.ones) & (no_carry | carry);
    const Word mask = mask_of(bits);
    Known k{~largest & settled & mask, smallest & settled & mask, 0, mask};
    if (const unsigned both = std::min(x.trailing_zeros(), y.trailing_zeros()); both != 0) k.zeros |= mask_of(both) & mask;
    Word most = 0;
    if (!__builtin_add_overflow(x.most, y.most, &most) && most <= mask) {
        k.least = x.least + y.least;
        k.most = most;
    }
    return k.sharpened(bits);
}

inline Known complemented(const Known &x, unsigned bits) {
    const Word mask = mask_of(bits);
    return {x.ones, x.zeros, mask - x.most, mask - x.least};
}

// Known bits of a multiple.
inline Known times(const Known &x, Word factor, unsigned bits) {
    const Word mask = mask_of(bits);
    factor &= mask;
    if (factor == 1) return x;
    if (factor > mask / 2 && factor != sign_of(bits)) {
        // -(f·x) = ~(f·x) + 1
        return added(complemented(times(x, negated(factor), bits), bits), Known::all(bits, 1 & mask), bits);
    }
    Known k = Known::nothing(bits);
    if (std::has_single_bit(factor)) {
        const auto shift = static_cast<unsigned>(std::countr_zero(factor));
        k.zeros = ((x.zeros << shift) | mask_of(shift)) & mask;
        k.ones = (x.ones << shift) & mask;
    } else {
        const unsigned low = x.trailing_zeros() + static_cast<unsigned>(std::countr_zero(factor));
        k.zeros = mask_of(low) & mask;
    }
    Word most = 0;
    if (!__builtin_mul_overflow(x.most, factor, &most) && most <= mask) {
        k.least = x.least * factor;
        k.most = most;
    }
    return k.sharpened(bits);
}

}  // namespace l1dflush::machine
