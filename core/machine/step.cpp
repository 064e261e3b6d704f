// SPDX-License-Identifier: GPL-2.0-or-later
// What one instruction does: its operations, one by one.
#include "machine/machine.hpp"

#include <algorithm>
#include <array>

namespace l1dflush::machine {

namespace {

// Whether the 17 highest bits of an address are the same: else it faults (SDM volume 1, section 3.3.7.1), where paging
// has four levels.
bool is_canonical(Word address) {
    const Word high = address >> 47;
    return high == 0 || high == ~Word{0} >> 47;
}

Op division(Do what) {
    switch (what) {
    case Do::divide:
        return Op::divide;
    case Do::divide_signed:
        return Op::divide_signed;
    case Do::remainder:
        return Op::remainder;
    case Do::remainder_signed:
        return Op::remainder_signed;
    case Do::multiply_high:
        return Op::multiply_high;
    default:
        return Op::multiply_high_signed;
    }
}

}  // namespace

Value Machine::address(State &s, const Operand &o) {
    Value v = read(s, o);
    if (v.term == 0) return v;
    const Node &n = world_.terms.node(v.term);
    if (n.conditional || (s.has_numbers && n.op == Op::sum)) v = s.facts.simplified(world_.terms, v);
    return v;
}

Value Machine::computed(State &s, const Operation &o) {
    Terms &t = world_.terms;
    const Value a = read(s, o.a);
    const unsigned bits = o.out.bytes * 8U;
    const auto widened = [&](Value condition) { return t.widen(condition, bits); };
    const auto b = [&] { return read(s, o.b); };
    if (makes_flag(o.what)) return widened(flag(o.what, a, o.b.kind == Kind::none ? Value{} : b()));
    switch (o.what) {
    case Do::copy:
        return a;
    case Do::add:
        return t.add(a, b());
    case Do::subtract:
        return t.subtract(a, b());
    case Do::multiply:
        return t.multiply(a, b());
    case Do::divide:
    case Do::divide_signed:
    case Do::remainder:
    case Do::remainder_signed:
    case Do::multiply_high:
    case Do::multiply_high_signed: {
        const Value by = b();
        const bool divides = o.what != Do::multiply_high && o.what != Do::multiply_high_signed;
        if (divides && by.known() && by.constant == 0) throw Stopped("divides-by-zero", s.at->at, by);
        return t.divide(division(o.what), a, by);
    }
    case Do::bit_and:
        return t.bit_and(a, b());
    case Do::bit_or:
        return t.bit_or(a, b());
    case Do::bit_xor:
        return t.bit_xor(a, b());
    case Do::complement:
        return t.complement(a);
    case Do::negate:
        return t.negate(a);
    case Do::shift_left:
        return t.shift_left(a, b());
    case Do::shift_right:
        return t.shift_right(a, b());
    case Do::shift_right_signed:
        return t.shift_right_signed(a, b());
    case Do::widen:
        return t.widen(a, bits);
    case Do::widen_signed:
        return t.widen_signed(a, bits);
    case Do::slice: {
        const auto from = static_cast<unsigned>(o.b.number) * 8U;
        const unsigned left = std::min(bits, a.bits - from);
        return t.widen(t.slice(a, from, left), bits);
    }
    case Do::join:
        return t.join(a, b());
    case Do::not_equal:
        return widened(t.complement(t.equal(a, b())));
    case Do::below_or_equal:
        return widened(t.complement(t.below(b(), a)));
    case Do::below_or_equal_signed:
        return widened(t.complement(t.below_signed(b(), a)));
    case Do::truth_and:
        return widened(t.bit_and(truth(a), truth(b())));
    case Do::truth_or:
        return widened(t.bit_or(truth(a), truth(b())));
    case Do::truth_xor:
        return widened(t.bit_xor(truth(a), truth(b())));
    case Do::truth_not:
        return widened(t.complement(truth(a)));
    case Do::count_ones:
        return t.count_ones(a, bits);
    case Do::count_leading_zeros:
        return t.count_leading_zeros(a, bits);
    case Do::choose:
        return t.choose(truth(a), b(), read(s, o.c));
    case Do::if_known: {
        const Value simple = s.facts.simplified(t, a);
        return simple.known() ? simple : b();
    }
    default:
        throw Stopped("no-such-operation", s.at->at);
    }
}

// Whether an address is known not to be aligned: so is what lies at an odd distance from what a pointer points to,
// which is taken to be aligned itself. The stack pointer is a multiple of a word at entry, and of 16 with a word more.
bool Machine::is_misaligned(Value at, unsigned alignment) const {
    const Word low = alignment - 1U;
    if ((world_.terms.known(at).ones & low) != 0) return true;
    const bool pointer = at.term != 0 && world_.terms.node(at.term).op == Op::symbol &&
                         at.term != world_.bases[stack_base].symbol.term;
    return pointer && (at.constant & low) != 0;
}

// An access has all its bytes on one side of where offsets begin anew. If the address is a number that is the end of the
// address space, and where addresses are canonical the end of these: whether such an access faults is left to the
// processor (SDM volume 3, section 6.3). Else it lies half of all memory away from its base.
void Machine::check_reach(const State &s, Value at, unsigned bytes) const {
    const Value behind{at.term, at.bits, (at.constant + bytes - (at.bits < most_bits ? 1 : 0)) & mask_of(at.bits)};
    if (at.known()) {
        const Word last = at.constant + (bytes - 1);
        const bool is_place = bits_ == 64 ? is_canonical(at.constant) && is_canonical(last) : last <= mask_of(bits_);
        if (!is_place || last < at.constant) throw Stopped("not-canonical", s.at->at, at);
    } else if (offset_of(behind) < offset_of(at)) {
        throw Stopped("half-around", s.at->at, at);
    }
}

void Machine::emit(State &s, const Operation &o) {
    Event e;
    e.kind = static_cast<std::uint16_t>(o.detail);
    e.instruction = s.at->number;
    e.bytes = o.size;
    if (o.what == Do::access) {
        const Value at = address(s, o.a);
        if (o.alignment != 0 && is_misaligned(at, o.alignment)) throw Stopped("faults", s.at->at, at);
        check_reach(s, at, o.size);
        e.region = at.term;
        e.offset = offset_of(at);
    } else {
        const auto about = [&](const Operand &what) { return what.kind == Kind::none ? Value{} : read(s, what); };
        const Value first = about(o.a);
        e.region = noted(s, first, about(o.b));
    }
    s.events.push(e);
}

// Runs the instruction at which the state is, from its operation on; tells whether the path goes on.
bool Machine::run_instruction(State &s, std::vector<State> &forks, const Bounds &bounds, Path &path) {
    const Instruction &i = *s.at;
    auto &links = const_cast<Instruction &>(i);
    if (i.stops) {
        path.end = Path::until;
        return false;
    }
    if (s.operation == 0) ++s.instructions;
    // Lifting it may have brought in registers that no instruction before had.
    if (s.deferred.size() < entry_.size()) {
        s.slots.insert(s.slots.end(), entry_.begin() + static_cast<std::ptrdiff_t>(s.slots.size()), entry_.end());
        s.deferred.resize(entry_.size());
    }
    while (s.operation < i.operations.size()) {
        const Operation &o = i.operations[s.operation];
        switch (o.what) {
        case Do::load:
            if (!defer(s, o)) write(s, o.out, loaded(s, address(s, o.a), o.out.bytes));
            break;
        case Do::store: {
            const Value at = address(s, o.a);
            const Value stored = read(s, o.b);
            settle_loads(s);
            s.memory.store(world_, at, stored);
            ++s.changes;
            // A push, or the return address of a call.
            if (o.detail != 0 && Memory::is_on_stack(world_, at.term) && is_save(s, o.b, stored))
                s.memory.save(at.term, offset_of(at), o.b.kind != Kind::slot);
            break;
        }
        case Do::unknown:
        case Do::result: {
            Origin origin;
            origin.kind = Origin::Kind::result;
            origin.at = i.at;
            origin.slot = o.out.index;
            origin.wild = o.detail != 0;
            if (o.detail > 1) s.memory.escape();
            const unsigned bits = o.out.bytes * 8U;
            if (o.what == Do::unknown) {
                write(s, o.out, world_.fresh(bits, origin));
                break;
            }
            std::array<Word, 8> made{o.size, bits};
            for (std::size_t n = 0; const Operand *from : {&o.a, &o.b, &o.c}) {
                const Value v = from->kind == Kind::none ? Value{} : read(s, *from);
                made[2 + n++] = v.term | Word{v.bits} << 32;
                made[2 + n++] = v.constant;
            }
            const auto [found, is_new] = world_.results.try_emplace(made);
            if (is_new) found->second = world_.fresh(bits, origin);
            write(s, o.out, found->second);
            break;
        }
        case Do::access:
        case Do::note:
            emit(s, o);
            break;
        case Do::reveal:
            s.memory.escape(world_, read(s, o.a));
            break;
        case Do::leave_stack:
            settle_loads(s);
            s.memory.leave_stack(world_, read(s, o.a));
            ++s.changes;
            for (std::uint32_t slot = 0; slot < s.slots.size(); ++slot) {
                if (temporary_[slot] || slot == stack_slot) continue;
                const Value held = settled(s, slot);
                if (held == entry_[slot] || !Memory::is_on_stack(world_, held.term)) continue;
                Origin origin;
                origin.kind = Origin::Kind::result;
                origin.at = i.at;
                origin.slot = slot;
                origin.wild = true;
                s.slots[slot] = world_.fresh(slot_bits_[slot], origin);
                s.memory.escape();
            }
            break;
        case Do::skip:
            s.operation = o.detail;
            continue;
        case Do::skip_if:
            if (const auto skips = decide(s, truth(read(s, o.a)), forks, bounds)) {
                s.operation = *skips ? o.detail : s.operation + 1;
                continue;
            }
            return true;
        case Do::jump_if: {
            const auto jumps = decide(s, truth(read(s, o.a)), forks, bounds);
            if (!jumps) return true;
            if (!*jumps) {
                if (aside_ != 0) run_aside(s, {o.b.index, static_cast<std::int64_t>(o.b.number)}, bounds);
                break;
            }
            if (aside_ != 0) run_aside(s, {i.at.base, i.at.offset + static_cast<std::int64_t>(i.length)}, bounds);
            s.at = &gone_to(links.other, {o.b.index, static_cast<std::int64_t>(o.b.number)});
            s.operation = 0;
            return true;
        }
        case Do::jump:
        case Do::call:
        case Do::jump_to:
        case Do::call_to:
        case Do::come_back: {
            Value to = address(s, o.a);
            if (o.what == Do::jump_to) {
                const auto where = by_table(s, to, forks, bounds);
                if (!where) return true;
                to = *where;
            }
            const bool calls = o.what == Do::call || o.what == Do::call_to;
            // What is called by an address that nobody knows is outside, too.
            const bool may_leave = o.what == Do::call_to || (o.what == Do::jump_to && o.detail != 0 && !is_from_table(to));
            const bool unknown = may_leave && !world_.base_at(to.term, static_cast<std::int64_t>(to.constant));
            if (o.what != Do::come_back && (unknown || is_outside(to))) {
                outside_call(s, to);
                if (calls && o.detail != 0) {
                    path.end = Path::no_return;
                    return false;
                }
                // One that is jumped to comes back to whoever called this.
                if (!calls) {
                    const Value top = settled(s, stack_slot);
                    s.events.push({load_event_, static_cast<std::uint16_t>(bits_ / 8), i.number, top.term, 0,
                                   offset_of(top), 0});
                }
                to = popped(s);
            }
            if (!calls && is_callers(to)) return false;
            if (!calls && to == world_.bases[return_base].symbol) {
                const Value top = settled(s, stack_slot);
                if (top.term != world_.bases[stack_base].symbol.term) throw Stopped("stack-moved", i.at, top);
                return false;
            }
            if (calls) {
                enter_function(s);
            } else if (i.moves_stack) {
                unwind(s);
            }
            s.at = &gone_to(links.other, target(s, to));
            s.operation = 0;
            return true;
        }
        case Do::leave:
            if (o.a.kind != Kind::none) {
                const Value to = read(s, o.a);
                const auto found = world_.base_at(to.term, static_cast<std::int64_t>(to.constant));
                if (found && found->first != return_base) throw Stopped("returns-to-itself", i.at, to);
            }
            path.end = i.number + 1;
            return false;
        default:
            if (!defer(s, o)) write(s, o.out, computed(s, o));
            break;
        }
        ++s.operation;
    }
    if (i.moves_stack) unwind(s);
    if (i.makes_carry) s.carry_by = i.number + 1;
    if (i.makes_rest) s.rest_by = i.number + 1;
    const bool first = links.next == nullptr;
    s.at = &gone_to(links.next, {i.at.base, i.at.offset + static_cast<std::int64_t>(i.length)});
    if (first) prune(links, *s.at);
    s.operation = 0;
    return true;
}

}  // namespace l1dflush::machine
