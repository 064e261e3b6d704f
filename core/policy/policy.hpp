// SPDX-License-Identifier: GPL-2.0-or-later
// What every replacement policy of the compiled side looks like.
//
// A policy is an automaton over the ways of ONE set. Its state is packed into 64 bits, which is what makes a state
// cheap to hash and to copy. It never sees lines, only ways. Most policies are deterministic and have
//
//   int ways() const                   how many ways the set has
//   State empty() const                the state of a set in which nothing was ever cached
//   State hit(State, way) const        after an access that found its line in `way`
//   int victim(State) const            the way that the next miss of a FULL set replaces
//   State fill(State, way) const       after a miss put its line into `way`, the victim of a full set
//   std::vector<int> numbers(State)    the state as the plain Python twin writes it
//   State pack(numbers)                and back
//
// and, where it differs from what is said here,
//
//   State fill_invalid(State, way)     after a miss put its line into an invalid way (default: as fill)
//   static constexpr bool fills_highest = true      the highest invalid way is filled first (default: the lowest)
//   static constexpr int repeat_hits                how many hits in a row, in the way touched last, may still change
//                                                   something (default: 0; -1: any number)
//   static constexpr bool fill_order_is_free = true it makes no difference which of several invalid ways is filled
//   static constexpr bool interchangeable = true    any renaming of the ways is a symmetry; then also
//   State renamed(State, names) const               the state with way w called names[w]
//   static constexpr bool stateless = true          there is one state only; then ways differ by what they hold
//   static constexpr bool ignores_hits = true       hits change nothing (not said where there is one state only)
//   static constexpr bool lazy_bits = true          it is bit-PLRU, whose bits need not be known (prover/lazy_bits.hpp)
//
// A policy of one small number (age) per way, which treats all ways alike except that the lowest of those that may be
// replaced is, has `static constexpr int age_bits`, 1 or 2: its state is the ages, so many bits each, way 0 in the
// lowest.
//
// A policy whose misses are random has `int branches() const`, `Weight weight(branch) const`, and a last parameter
// `branch` of victim, fill and fill_invalid; a fill_invalid without it says that no chance is involved there. One that
// is not deterministic in other ways (a machine from a file) says what may happen by itself: each_hit, each_miss,
// each_fill and has_fills, see below. Everybody else asks through the functions below and never needs to know. (The
// searches ask through AnyPolicy, see any.hpp.)
//
// A policy with symmetries also has
//
//   int position(State, way) const          where `way` stands as seen from the state's own pointers
//   State residue(State) const              what is left of the state when seen from there (default: nothing)
//   State representative(residue) const     a state with that residue in which position(way) == way (if there is no
//                                           residue: State base() const)
//
// such that what the policy does depends on residue and positions alone: see relative.hpp.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace l1dflush {

constexpr int max_ways = 16;

using PolicyState = std::uint64_t;

// The chance of one branch. A denominator of 0: nobody knows the chance, the adversary chooses.
struct Weight {
    std::uint32_t numerator = 1;
    std::uint32_t denominator = 1;
    bool operator==(const Weight &) const = default;
};

template <class P>
concept RandomPolicy = requires(const P &policy, PolicyState state, int branch) {
    { policy.branches() } -> std::same_as<int>;
    { policy.weight(branch) } -> std::same_as<Weight>;
    { policy.victim(state, branch) } -> std::same_as<int>;
};

template <class P>
concept RelationalPolicy = requires(const P &policy) {
    { policy.has_fills() } -> std::same_as<bool>;
};

// out(State): everything that a hit in `way` may lead to.
template <class P, class Out>
void each_hit(const P &policy, PolicyState state, int way, Out out) {
    if constexpr (RelationalPolicy<P>)
        policy.each_hit(state, way, out);
    else
        out(policy.hit(state, way));
}

// out(victim, State, Weight): everything that a miss in a full set may do.
template <class P, class Out>
void each_miss(const P &policy, PolicyState state, Out out) {
    if constexpr (RelationalPolicy<P>) {
        policy.each_miss(state, out);
    } else if constexpr (RandomPolicy<P>) {
        for (int branch = 0; branch < policy.branches(); ++branch) {
            const int victim = policy.victim(state, branch);
            out(victim, policy.fill(state, victim, branch), policy.weight(branch));
        }
    } else {
        const int victim = policy.victim(state);
        out(victim, policy.fill(state, victim), Weight{});
    }
}

// out(State, Weight): everything that filling the invalid `way` may lead to.
template <class P, class Out>
void each_fill(const P &policy, PolicyState state, int way, Out out) {
    if constexpr (RelationalPolicy<P>) {
        policy.each_fill(state, way, out);
    } else if constexpr (requires { policy.fill_invalid(state, way); }) {
        out(policy.fill_invalid(state, way), Weight{});
    } else if constexpr (RandomPolicy<P>) {
        for (int branch = 0; branch < policy.branches(); ++branch) {
            if constexpr (requires { policy.fill_invalid(state, way, branch); })
                out(policy.fill_invalid(state, way, branch), policy.weight(branch));
            else
                out(policy.fill(state, way, branch), policy.weight(branch));
        }
    } else {
        out(policy.fill(state, way), Weight{});
    }
}

// Whether the policy says what filling an invalid way does. A machine from a file need not.
template <class P>
bool has_fills(const P &policy) {
    if constexpr (RelationalPolicy<P>)
        return policy.has_fills();
    else
        return true;
}

template <class P>
concept SymmetricPolicy = requires(const P &policy, PolicyState state, int way) {
    { policy.position(state, way) } -> std::same_as<int>;
};

template <class P>
constexpr bool fills_highest() {
    if constexpr (requires { P::fills_highest; })
        return P::fills_highest;
    else
        return false;
}

// Which of the invalid ways (a bit set, not empty) a miss fills.
inline int first_filled(unsigned invalid, bool highest) {
    return highest ? 31 - std::countl_zero(invalid) : std::countr_zero(invalid);
}

inline void require(bool condition, const char *what) {
    if (!condition) throw std::invalid_argument(what);
}

inline bool is_power_of_two(int n) { return n > 0 && (n & (n - 1)) == 0; }

// Small arrays of 4-bit numbers inside a 64-bit word: way numbers never exceed 15.
inline int nibble(std::uint64_t word, int index) { return static_cast<int>((word >> (4 * index)) & 15U); }

inline std::uint64_t with_nibble(std::uint64_t word, int index, int value) {
    const int shift = 4 * index;
    return (word & ~(std::uint64_t{15} << shift)) | (static_cast<std::uint64_t>(value) << shift);
}

// Moves the entry `value` of an order (newest first, in nibbles) to the front. Without a loop or a branch, because
// where the entry stands is as good as random: subtracting 1 from every nibble of the difference sets the highest bit
// of the nibbles that were 0; a borrow may set others above the first, so only the first counts. It is at `length - 1`
// at most.
inline std::uint64_t moved_to_front(std::uint64_t order, int length, int value) {
    constexpr std::uint64_t ones = 0x1111'1111'1111'1111;
    const auto entry = static_cast<std::uint64_t>(value);
    const std::uint64_t difference = order ^ (entry * ones);
    const std::uint64_t last = std::uint64_t{8} << (4 * (length - 1));
    const std::uint64_t equal = ((difference - ones) & ~difference & (8 * ones)) | last;
    const std::uint64_t first = equal & (0 - equal);
    const std::uint64_t moved = (first << 1) - 1;  // the entries up to and with that one; all 16: the shift leaves 0
    return (order & ~moved) | (((order << 4) | entry) & moved);
}

inline int index_in_order(std::uint64_t order, int value) {
    int index = 0;
    while (nibble(order, index) != value) ++index;
    return index;
}

}  // namespace l1dflush
