// What every replacement policy of the compiled side looks like.
//
// A policy is a deterministic automaton over the ways of ONE set. Its state is packed into 64 bits, which is what
// makes a state cheap to hash and to copy. It never sees lines, only ways:
//
//   int ways() const                   how many ways the set has
//   State empty() const                the state of a set in which nothing was ever cached
//   State hit(State, way) const        after an access that found its line in `way`
//   int victim(State) const            the way that the next miss of a FULL set replaces
//   State fill(State, way) const       after a miss put its line into `way` (the victim, or an invalid way)
//   std::vector<int> numbers(State)    the state as the plain Python twin writes it
//   State pack(numbers)                and back
//
// A policy that only permutes (all but bit-PLRU here) also has
//
//   State base() const                 a state in which position(base, way) == way
//   int position(State, way) const     where `way` stands as seen from the state's own pointers
//
// such that what the policy does depends on positions alone: see relative.hpp.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

namespace l1dflush {

constexpr int max_ways = 16;

using PolicyState = std::uint64_t;

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

// Moves the entry `value` of an order (newest first, in nibbles) to the front.
inline std::uint64_t moved_to_front(std::uint64_t order, int length, int value) {
    int index = 0;
    while (index < length - 1 && nibble(order, index) != value) ++index;
    for (; index > 0; --index) order = with_nibble(order, index, nibble(order, index - 1));
    return with_nibble(order, 0, value);
}

inline int index_in_order(std::uint64_t order, int value) {
    int index = 0;
    while (nibble(order, index) != value) ++index;
    return index;
}

}  // namespace l1dflush
