// SPDX-License-Identifier: GPL-2.0-or-later
// What memory holds, byte for byte, as far as anybody knows.
//
// Memory is in regions: all addresses with the same unknown part, which is their base. Offsets in a region are numbers.
// Different inputs point to different memory (granted, and said so in every report); regions whose bases have a symbol
// in common may overlap, and what is stored in one is forgotten in the other, as far as the distance of the bases is
// not known. What is loaded where something was forgotten may be anything that was ever stored or loaded, so what it
// points to may be any memory: but the stack only if the routine has put a pointer into it anywhere else.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "machine/world.hpp"

namespace l1dflush::machine {

class Memory {
public:
    Value load(World &world, Value address, unsigned bytes);
    // The number that is there, if it is one and was put there.
    std::optional<Value> number_at(World &world, Value address, unsigned bytes) const;
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
