// What memory holds, byte for byte, as far as anybody knows.
//
// Memory is in regions: all addresses with the same unknown part, which is their base. Offsets in a region are numbers.
// Different inputs point to different memory (granted, and said so in every report); regions whose bases have a symbol
// in common may overlap, and what is stored in one is forgotten in the other, as far as the distance of the bases is
// not known. What is loaded where something was forgotten may be anything that was ever stored or loaded, so what it
// points to may be any memory: but the stack only if the routine has put a pointer into it anywhere else.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "machine/program.hpp"
#include "machine/terms.hpp"

namespace l1dflush::machine {

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

class Memory {
public:
    Value load(World &world, Value address, unsigned bytes);
    void store(World &world, Value address, Value value);
    // Nobody knows what is in these bytes from now on.
    void forget(World &world, TermId region, std::int64_t offset, std::uint64_t bytes);
    // What lies at this offset of the stack is the caller's, or a return address: only who has its very address, or that
    // of what was saved next to it, is taken to write it; that nobody else does is granted.
    void save(TermId region, std::int64_t offset, bool returns) {
        saved_.insert_or_assign({region, offset}, Saved{++saves_, returns});
    }
    static bool is_on_stack(World &world, TermId term);
    // The stack pointer is now this: what was saved below is no longer.
    void unwind(Value top);
    // Another one than until now runs on the stack, from `top` down: nobody knows what lies there, and what was a pointer
    // into the stack may be one to any place in it.
    void leave_stack(World &world, Value top);
    // A pointer that may be anywhere from now on.
    void escape(World &world, Value pointer);
    // The same, but nobody knows which one into the stack.
    void escape() { stack_escaped_ = true; }
    // The user says what is there: no code that is not here changes it.
    void bind(World &world, Value address, Value value);
    // What is loaded from there as a whole no code that is not here changes.
    void keep(Value address) { kept_.push_back(address); }
    // Code that is not here ran, and was given `arguments` and the stack from `top` on: it may have written everything but
    // the stack, and of that what is below; all but what is saved if it has a pointer into it.
    void outside_call(World &world, const std::vector<Value> &arguments, Value top);
    // This and the other one were `before` once. If `condition` it is this one from now on, else the other; false if
    // that cannot be said.
    bool join(World &world, const Memory &before, Memory &other, Value condition);

private:
    struct Piece {
        Value value;
        unsigned bytes() const { return value.bits / 8U; }
    };
    struct Region {
        std::map<std::int64_t, Piece> pieces;
        bool forgotten = false;  // as a whole: its initial content is no longer there
        std::map<std::int64_t, std::int64_t> lost;  // forgotten pieces of it, from and to; there is something between two
        // Something was accessed in it that lies so far behind a number of a linked file's memory as nobody knows.
        bool in_file = false;
        // Where something was stored to it, from and to.
        std::int64_t low = std::numeric_limits<std::int64_t>::max();
        std::int64_t high = std::numeric_limits<std::int64_t>::min();
    };

    Region &changed(World &world, TermId region, bool in_file = false);
    static void cut(World &world, Region &region, std::int64_t from, std::int64_t to);
    static void add_lost(Region &held, std::int64_t from, std::int64_t to);
    std::optional<Value> initial(World &world, const Region &held, TermId region, std::int64_t offset, unsigned bytes);
    bool has(TermId region, std::int64_t offset, unsigned bytes) const;
    static bool is_forgotten(const Region &held, std::int64_t offset, unsigned bytes);
    bool may_overlap(World &world, TermId region, TermId other) const;
    // Whether an access at the offset of the region is one of the memory of a file that was linked to numbers: an index
    // that nobody knows is added to one. Inputs point elsewhere.
    static bool is_in_file(const World &world, TermId region, std::int64_t offset) {
        return region != 0 && world.base_at(0, offset).has_value();
    }
    void forget_overlapping(World &world, TermId region, std::int64_t offset, unsigned bytes);
    void lose(World &world, Region &held, TermId region, TermId by, std::int64_t from, std::int64_t to);
    void forget_all(World &world, Region &held, TermId region, const std::vector<Value> &but);
    void cut_and_lose(World &world, Region &held, TermId region, std::int64_t from, std::int64_t to);
    void unsave(const World &world, TermId region, std::int64_t from, std::int64_t to);
    void unsave_run(World &world, Value address);

    std::map<TermId, std::shared_ptr<Region>> regions_;
    std::optional<Value> whole(const World &world, Value address) const;

    bool all_forgotten_ = false;
    std::vector<std::pair<Value, Value>> bound_;  // address and value
    std::vector<Value> kept_;                     // addresses
    // What is saved on the stack: which save of all, and whether it is a return address.
    struct Saved {
        std::uint64_t number = 0;
        bool returns = false;
    };
    std::map<std::pair<TermId, std::int64_t>, Saved> saved_;
    std::uint64_t saves_ = 0;
    bool stack_escaped_ = false;  // a pointer into it was stored somewhere else
};

}  // namespace l1dflush::machine
