// SPDX-License-Identifier: GPL-2.0-or-later
// Code that is not here, and where returns and jumps by an address go.
#include "machine/machine.hpp"

#include <algorithm>
#include <utility>

namespace l1dflush::machine {

bool Machine::is_outside(const Value &to) const {
    const auto found = world_.base_at(to.term, static_cast<std::int64_t>(to.constant));
    return found && world_.bases[found->first].outside;
}

// The number of what an event is about: the same one again while the operation says the same, so that a loop's events are
// alike if they are the same and not if they are not.
std::uint32_t Machine::noted(const State &s, Value a, Value b) {
    const auto [place, is_new] = noted_.try_emplace({s.at->number, s.operation});
    if (is_new || notes_[place->second] != std::pair(a, b)) {
        place->second = static_cast<std::uint32_t>(notes_.size());
        notes_.emplace_back(a, b);
    }
    return place->second;
}

// Code that is not here runs and comes back.
void Machine::outside_call(State &s, Value to) {
    Event e;
    e.kind = call_event_;
    e.instruction = s.at->number;
    e.region = noted(s, to, Value{});
    s.events.push(e);
    settle_loads(s);
    std::vector<Value> arguments;
    for (const std::uint32_t slot : arguments_) arguments.push_back(settled(s, slot));
    s.memory.outside_call(world_, arguments, settled(s, stack_slot));
    ++s.changes;
    s.carry_by = s.rest_by = 0;
    for (const std::uint32_t slot : changed_) {
        Origin origin;
        origin.kind = Origin::Kind::result;
        origin.at = s.at->at;
        origin.slot = slot;
        origin.wild = true;
        Value v = world_.fresh(slot_bits_[slot], origin);
        // A flag.
        if (v.bits == 8) v = world_.terms.widen(world_.terms.slice(v, 0, 1), 8);
        s.slots[slot] = v;
        s.deferred[slot].what = Do::copy;
    }
}

// Whether an address may be from a table of places in the code itself: so is what was loaded by an index.
bool Machine::is_from_table(const Value &to) {
    const auto indexed = [&](TermId region, std::int64_t offset) {
        if (region == 0) return false;
        // In a linked file the table's address may be the number.
        if (world_.base_at(0, offset)) return true;
        const Node &n = world_.terms.node(region);
        if (n.op == Op::symbol) return false;
        if (n.op != Op::sum) return true;
        for (const Addend &a : world_.terms.addends(n)) {
            const Op atom = world_.terms.node(a.atom).op;
            if (a.factor != 1 || atom != Op::symbol) return true;
            // A section and something else.
            const auto bases = world_.bases_of.find(a.atom);
            if (bases == world_.bases_of.end()) continue;
            if (std::ranges::any_of(bases->second, [&](std::uint32_t b) { return world_.bases[b].known; })) return true;
        }
        return false;
    };
    if (to.known()) return false;
    for (const Word symbol : world_.symbols_in(to.term)) {
        const Origin &o = world_.origins[symbol];
        if (o.kind == Origin::Kind::memory && indexed(o.base, o.offset)) return true;
    }
    // A relative one is added to where it is.
    return world_.terms.node(to.term).op != Op::symbol;
}

// Takes the return address off the stack.
Value Machine::popped(State &s) {
    const Value top = settled(s, stack_slot);
    const Value to = s.memory.load(world_, top, bits_ / 8);
    s.slots[stack_slot] = world_.terms.add(top, number(bits_, bits_ / 8));
    unwind(s);
    return to;
}

// The stack pointer has been moved: what was saved below is no longer, and functions whose return address was there have
// come back.
void Machine::unwind(State &s) {
    const Value top = settled(s, stack_slot);
    s.memory.unwind(top);
    const auto is_back = [&] {
        const Value at = s.functions.back().at;
        if (at.term == top.term) return offset_of(at) < offset_of(top);
        // It was called where the stack pointer had been aligned, or moved by what nobody knows.
        return top.term == world_.bases[stack_base].symbol.term ||
               std::ranges::any_of(s.functions, [&](const Called &one) { return one.at.term == top.term; });
    };
    while (!s.functions.empty() && is_back()) s.functions.pop_back();
}

// A function that is here was called: its return address is on the stack.
void Machine::enter_function(State &s) {
    Called called{settled(s, stack_slot), {}};
    for (const std::uint32_t slot : preserved_) called.given.push_back(settled(s, slot));
    s.functions.push_back(std::move(called));
}

// Whether what is pushed is what the function was given in that register, and not a value of its own.
bool Machine::is_save(State &s, const Operand &pushed, Value value) const {
    if (pushed.kind != Kind::slot) return true;  // a return address
    if (pushed.start != 0) return false;
    if (s.functions.empty()) return value == entry_[pushed.index];
    const auto found = std::ranges::find(preserved_, pushed.index);
    if (found == preserved_.end()) return false;
    return value == s.functions.back().given.at(static_cast<std::size_t>(found - preserved_.begin()));
}

// Whether inside a function the return address is what was above the stack pointer at the beginning.
bool Machine::is_callers(const Value &to) {
    if (!inside_ || to.term == 0 || to.constant != 0) return false;
    const Node &n = world_.terms.node(to.term);
    if (n.op != Op::symbol) return false;
    const Origin &o = world_.origins[n.number];
    return o.kind == Origin::Kind::memory && !o.wild && o.base == world_.bases[stack_base].symbol.term &&
           o.bytes == bits_ / 8 && o.offset >= -static_cast<std::int64_t>(bits_ / 8);
}

// Where a jump to what was computed goes.
Place Machine::target(State &s, Value value) const {
    const auto found = world_.base_at(value.term, static_cast<std::int64_t>(value.constant));
    if (!found) throw Stopped("indirect-jump", s.at->at, value);
    return {found->first, found->second};
}

}  // namespace l1dflush::machine
