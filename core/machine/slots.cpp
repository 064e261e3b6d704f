// SPDX-License-Identifier: GPL-2.0-or-later
// Slots: reading and writing parts of registers, and what is put off until somebody asks for it.
#include <algorithm>

#include "machine/machine.hpp"

namespace l1dflush::machine {

// Does what was put off.
Value Machine::settled(State &s, std::uint32_t slot) {
    const Deferred d = s.deferred[slot];
    if (d.what == Do::copy) return s.slots[slot];
    s.deferred[slot].what = Do::copy;
    const unsigned bits = slot_bits_[slot];
    const Value v = d.what == Do::load ? loaded(s, d.a, d.bytes) : flag(d.what, d.a, d.b);
    return s.slots[slot] = world_.terms.widen(v, bits);
}

// Before memory changes.
void Machine::settle_loads(State &s) {
    for (const std::uint32_t slot : s.loads) {
        const Deferred &d = s.deferred[slot];
        if (d.what == Do::load && (!temporary_[slot] || d.when == s.instructions)) settled(s, slot);
    }
    s.loads.clear();
}

// Puts an operation off if it can be: a flag, or a load into a whole register; or a copy of such a load.
bool Machine::defer(State &s, const Operation &o) {
    const std::uint32_t slot = o.out.index;
    const unsigned bits = slot_bits_[slot];
    if (o.out.bytes * 8U != bits) return false;
    Deferred d;
    if (makes_flag(o.what)) {
        d.what = o.what;
        d.a = read(s, o.a);
        if (o.b.kind != Kind::none) d.b = read(s, o.b);
        s.deferred[slot] = d;
        return true;
    }
    switch (o.what) {
    case Do::load:
        d.a = address(s, o.a);
        d.bytes = o.out.bytes;
        break;
    case Do::copy:
    case Do::widen: {
        if (o.a.kind != Kind::slot || o.a.start != 0) return false;
        const Deferred &from = s.deferred[o.a.index];
        if (from.what != Do::load || from.bytes > o.a.bytes) return false;
        d = from;
        break;
    }
    default:
        return false;
    }
    d.what = Do::load;
    d.when = s.instructions;
    s.deferred[slot] = d;
    // Each slot once, or nearly: a loop writes the same ones again and again.
    if (std::ranges::find(s.loads, slot) == s.loads.end()) s.loads.push_back(slot);
    return true;
}

Value Machine::flag(Do what, Value a, Value b) {
    Terms &t = world_.terms;
    switch (what) {
    case Do::equal:
        return t.equal(a, b);
    case Do::below:
        return t.below(a, b);
    case Do::below_signed:
        return t.below_signed(a, b);
    case Do::carries:
        return t.carries(a, b);
    case Do::carries_signed:
        return t.carries_signed(a, b);
    case Do::borrows_signed:
        return t.borrows_signed(a, b);
    default: {
        const Value ones = t.count_ones(t.slice(a, 0, 8), 8);
        return t.complement(t.slice(ones, 0, 1));
    }
    }
}

Value Machine::read(State &s, const Operand &o) {
    Terms &t = world_.terms;
    if (o.kind == Kind::number) return number(o.bytes * 8U, o.number);
    if (o.kind == Kind::place) {
        const Value base = world_.bases[o.index].symbol;
        const Value v{base.term, base.bits, (base.constant + o.number) & mask_of(base.bits)};
        return o.bytes * 8U == v.bits ? v : t.slice(v, 0, o.bytes * 8U);
    }
    const Value v = settled(s, o.index);
    if (o.start == 0 && o.bytes * 8U == v.bits) return v;
    return t.slice(v, o.start * 8U, o.bytes * 8U);
}

void Machine::write(State &s, const Operand &o, Value v) {
    const unsigned bits = slot_bits_[o.index];
    if (bits == v.bits) {
        s.slots[o.index] = v;
        s.deferred[o.index].what = Do::copy;
        return;
    }
    Terms &t = world_.terms;
    const Value old = settled(s, o.index);
    const unsigned from = o.start * 8U;
    const unsigned end = from + v.bits;
    if (from != 0) v = t.join(v, t.slice(old, 0, from));
    if (end != bits) v = t.join(t.slice(old, end, bits - end), v);
    s.slots[o.index] = v;
}

}  // namespace l1dflush::machine
