// SPDX-License-Identifier: GPL-2.0-or-later
// What all paths have in common: terms, what is at first in a file's memory, and where unknown values come from.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "machine/program.hpp"
#include "machine/terms.hpp"

namespace l1dflush::machine {

// The first symbol that the machine makes is the stack pointer at entry.
constexpr Word stack_symbol = 1;

// A piece of a file's memory, or another thing with an address of its own: `symbol` is where it begins.
struct Base {
    Value symbol;
    std::uint64_t size = 0;
    std::vector<std::uint8_t> content;  // its initialised beginning
    bool known = false;                 // there is content; behind its end it is 0 up to `size`
    bool writable = true;
    bool outside = false;  // code that is not here: who goes there comes back, having changed what it may
    // Pointers in its content.
    struct Pointer {
        std::uint8_t bytes;
        Value value;
        Value whole{};  // a distance that fits into the bytes as a signed number: as wide as an address
    };
    std::map<std::int64_t, Pointer> pointers;
    std::vector<std::int64_t> borders;  // where a variable begins, sorted
    bool unread = false;  // World::read_pointers says which pointers and borders, if anybody asks
};

// Where a symbol comes from.
struct Origin {
    enum class Kind : std::uint8_t { given, memory, result };
    Kind kind = Kind::given;
    TermId base = 0;           // memory: of the region
    std::int64_t offset = 0;   // memory: in the region
    std::uint32_t bytes = 0;
    bool wild = false;         // memory: something that was stored may have come to be there
    bool apart = false;        // given: what it points to no other pointer leads to
    Place at;                  // result: of which instruction
    std::uint32_t slot = 0;    // result: in which slot
};

// What all paths have in common.
struct World {
    Terms terms;
    std::vector<Base> bases;
    // By the term of their symbols, 0 for absolute ones. Those that share one are parts of something that is moved as a
    // whole, each so far behind its beginning as its symbol's constant says.
    std::map<TermId, std::vector<std::uint32_t>> bases_of;
    std::vector<Origin> origins{1};           // by the symbol's number
    // Distances that fit into fewer bytes, as they were loaded and widened again, and what they are.
    std::unordered_map<TermId, Value> distances;
    std::map<std::array<Word, 8>, Value> results;  // what instructions made of what, if of nothing else
    std::map<std::pair<std::uint32_t, std::int64_t>, bool> held;  // initial content of writable memory that was read
    // Something that is saved on the stack was taken to be there still, though something may have reached it.
    bool kept_saved = false;
    // Adds the pointers of a base, by its number, and with them further bases.
    std::function<void(std::uint32_t)> read_pointers;

    Value fresh(unsigned bits, const Origin &origin);
    std::uint32_t add(Base base);
    // The base that the absolute address lies in, or that of the region, with the offset in it.
    std::optional<std::pair<std::uint32_t, std::int64_t>> base_at(TermId region, std::int64_t offset) const;
    // What is at first in a base, `start` behind its beginning, where that is known.
    std::optional<Base::Pointer> content_at(std::uint32_t which, std::int64_t start, unsigned bytes);
    // Where the next variable begins, from this offset in a region on, if what it holds at first is known; else `end`.
    std::int64_t border(TermId region, std::int64_t offset, std::int64_t end);
    // What is in memory that nobody writes, where that is known.
    std::optional<Base::Pointer> constant_at(Value at, unsigned bytes);
    // Numbers of the symbols in a term, sorted.
    const std::vector<Word> &symbols_in(TermId term);
    // Whether one of them may point to anything.
    bool is_wild(TermId term);

    // Two regions, whatever is in them.
    struct Pair {
        bool share = false;     // a symbol
        bool wild = false;      // one of them may be anywhere
        bool on_stack = false;  // one of them is
        // An offset in the first one is so far from the same byte's in the second: from `least` on, so many distances.
        struct Apart {
            WideSigned least;
            WideSigned more;
        };
        std::optional<Apart> apart;  // if anybody asked
        TermId one = 0;
        TermId other = 0;
        bool looked_at = false;
    };
    // Until the next one is asked for.
    Pair &pair(TermId one, TermId other);
    const Pair::Apart &apart(TermId one, TermId other);

private:
    std::unordered_map<TermId, std::vector<Word>> symbols_;
    // The last ones, by their terms' numbers: of all pairs that a long list has there are too many.
    std::vector<Pair> pairs_ = std::vector<Pair>(1 << 10);
};

// The offset that an address has in its region: behind a base it is signed, so that each byte has one offset only.
inline std::int64_t offset_of(Value address) {
    if (address.term == 0 || address.bits == 64) return static_cast<std::int64_t>(address.constant);
    const Word sign = sign_of(address.bits);
    return static_cast<std::int64_t>((address.constant ^ sign) - sign);
}

}  // namespace l1dflush::machine
