// SPDX-License-Identifier: GPL-2.0-or-later
// Slices and extensions: parts of registers, masks, shifts by constants.
#include "machine/terms.hpp"

#include <algorithm>
#include <optional>

namespace l1dflush::machine {

namespace {

// A slice goes into operations that are not deeper: below it the same operands would be come by very often.
constexpr unsigned most_depth = 12;

}  // namespace

// The lowest bits distribute over sums, products and bitwise operations.
Value Terms::slice_low(Value x, unsigned bits) {
    if (bits == x.bits) return x;
    if (x.known()) return number(bits, x.constant);
    const Value constant = number(bits, x.constant);
    const Node n = nodes_[x.term];
    if (n.op != Op::sum) return add(slice_atom(x.term, 0, bits), constant);
    Value total = constant;
    for (std::uint32_t i = 0; i < n.count; ++i) {
        const Addend a = addends_[n.first + i];
        // What is shifted out of it need not be made.
        if ((a.factor & mask_of(bits)) == 0) continue;
        total = add(total, scale(slice_atom(a.atom, 0, bits), a.factor));
    }
    return total;
}

// A slice of an atom.
Value Terms::slice_atom(TermId term, unsigned from, unsigned bits) {
    const Node n = nodes_[term];
    const Known k = n.known;
    const Word window = mask_of(bits) << from;
    if (((k.zeros | k.ones) & window) == window) return number(bits, k.ones >> from);
    if (from == 0 && bits == n.bits) return Value{term, n.bits, 0};
    const unsigned end = from + bits;
    const bool deep = n.depth > most_depth;
    switch (n.op) {
    case Op::slice:
        return slice(n.a, n.from + from, bits);
    case Op::widen:
        if (end <= n.a.bits) return slice(n.a, from, bits);
        return widen(slice(n.a, from, n.a.bits - from), bits);  // beyond it is known
    case Op::widen_signed:
        if (end <= n.a.bits) return slice(n.a, from, bits);
        if (from < n.a.bits) return widen_signed(slice(n.a, from, n.a.bits - from), bits);
        return widen_signed(slice(n.a, n.a.bits - 1U, 1), bits);
    case Op::bit_and:
        if (!deep) return bit_and(slice(n.a, from, bits), slice(n.b, from, bits));
        break;
    case Op::bit_or:
        if (!deep) return bit_or(slice(n.a, from, bits), slice(n.b, from, bits));
        break;
    case Op::bit_xor:
        if (!deep) return bit_xor(slice(n.a, from, bits), slice(n.b, from, bits));
        break;
    case Op::choose:
        if (!deep) return choose(n.a, slice(n.b, from, bits), slice(n.c, from, bits));
        break;
    case Op::multiply_high:
        if (n.a.known() && end == n.bits)
            if (const auto result = quotient(n.b, n.a.constant, n.bits + from)) return slice(*result, 0, bits);
        break;
    case Op::multiply:
        if (from == 0 && !deep) return multiply(slice(n.a, 0, bits), slice(n.b, 0, bits));
        break;
    default:
        break;
    }
    return atom(Op::slice, bits, Value{term, n.bits, 0}, {}, {}, from);
}

// Whether no two addends of x, nor one and its constant, may have the same bit, and each is moved by its factor only.
bool Terms::are_apart(const std::vector<Addend> &addends, Value x) const {
    Word taken = x.constant;
    for (const Addend &a : addends) {
        if (!std::has_single_bit(a.factor)) return false;
        const Word possible = nodes_[a.atom].known.possible(nodes_[a.atom].bits) * a.factor & mask_of(x.bits);
        if ((taken & possible) != 0) return false;
        taken |= possible;
    }
    return true;
}

// Compilers divide by a number as they multiply by its inverse: floor(a * k / 2^s) is a / d for all a < 2^n if k is
// 2^s / d rounded up, and k * d - 2^s is at most 2^(s-n) (Granlund and Montgomery, "Division by invariant integers using
// multiplication", 1994, theorem 4.2).
std::optional<Value> Terms::quotient(Value a, Word k, unsigned s) {
    if (k < 3 || s < a.bits || s > 126) return std::nullopt;
    const Wide power = Wide{1} << s;
    const Wide by = (power + k - 1) / k;
    if (by < 3 || by > mask_of(a.bits)) return std::nullopt;
    const Wide more = by * k - power;
    if (more == 0 || more > Wide{1} << (s - a.bits)) return std::nullopt;
    return divide(Op::divide, a, number(a.bits, static_cast<Word>(by)));
}

Value Terms::slice(Value x, unsigned from, unsigned bits) {
    if (from == 0) return slice_low(x, bits);
    if (x.known()) return number(bits, x.constant >> from);
    const Node n = nodes_[x.term];
    if (n.op == Op::sum && n.count == 1 && x.constant == 0 && from + bits == x.bits) {
        const Addend only = addends_[n.first];
        const Node wide = nodes_[only.atom];
        if (wide.op == Op::widen && 2U * wide.a.bits <= x.bits && only.factor <= mask_of(x.bits - wide.a.bits))
            if (const auto result = quotient(wide.a, only.factor, from))
                return result->bits >= bits ? slice(*result, 0, bits) : widen(*result, bits);
    }
    if (n.op != Op::sum && x.constant == 0) return slice_atom(x.term, from, bits);
    // What is above it does not matter, so from here on it is the top of x.
    if (from + bits < x.bits) return slice(slice_low(x, from + bits), from, bits);
    // The part of the sum whose lowest bits are 0, and the rest; if the rest does not carry into the slice, it is gone.
    const auto is_aligned = [&](TermId atom, Word factor) {
        return nodes_[atom].known.trailing_zeros() + static_cast<unsigned>(std::countr_zero(factor)) >= from;
    };
    std::vector<Addend> all;
    append(all, x, 1);
    Value rest = number(x.bits, x.constant & mask_of(from));
    for (const Addend &a : all)
        if (!is_aligned(a.atom, a.factor)) rest = add(rest, scale(Value{a.atom, x.bits, 0}, a.factor));
    const Known k = known(rest);
    if (k.most <= mask_of(from)) {
        Value total = number(bits, x.constant >> from);
        for (const Addend &a : all) {
            if (!is_aligned(a.atom, a.factor)) continue;
            const unsigned of_factor = std::min(from, static_cast<unsigned>(std::countr_zero(a.factor)));
            const unsigned of_atom = from - of_factor;
            const unsigned moved = static_cast<unsigned>(std::countr_zero(a.factor)) - of_factor;
            if (moved >= bits) continue;
            // 2^of_factor of it comes out of the factor, the rest out of the atom, of which fewer bits are left then; and
            // what is left of the factor moves some out at the top.
            const unsigned left = std::min(bits - moved, nodes_[a.atom].bits - of_atom);
            const Value part = widen(slice_atom(a.atom, of_atom, left), bits);
            total = add(total, scale(part, a.factor >> of_factor));
        }
        return total;
    }
    if (are_apart(all, x)) {
        // Nothing carries anywhere: a slice of each.
        Value total = number(bits, x.constant >> from);
        for (const Addend &a : all) {
            const auto of_factor = static_cast<unsigned>(std::countr_zero(a.factor));
            const unsigned of_atom = from > of_factor ? from - of_factor : 0;
            const unsigned moved = from > of_factor ? 0 : of_factor - from;
            if (of_atom >= nodes_[a.atom].bits || moved >= bits) continue;
            const unsigned left = std::min(bits - moved, nodes_[a.atom].bits - of_atom);
            total = add(total, scale(widen(slice_atom(a.atom, of_atom, left), bits), Word{1} << moved));
        }
        return total;
    }
    if (const auto r = rounded(x); r && r->low <= from) {
        const Value above = slice(r->x, r->low, x.bits - r->low);
        return slice(add(above, number(above.bits, r->rest >> r->low)), from - r->low, bits);
    }
    return atom(Op::slice, bits, x, {}, {}, from);
}

// Distributes over a sum that surely does not wrap, and over something without its lower bits.
std::optional<Value> Terms::widened_sum(Value x, unsigned bits) {
    const Node n = nodes_[x.term];
    if (n.op != Op::sum && x.constant == 0) return std::nullopt;
    if (const auto r = rounded(x)) {
        if (r->rest > mask_of(r->low)) return std::nullopt;
        const Value cleared = subtract(widen(r->x, bits), widen(slice(r->x, 0, r->low), bits));
        return add(cleared, number(bits, r->rest));
    }
    std::vector<Addend> all;
    append(all, x, 1);
    Wide most = x.constant;
    for (const Addend &a : all) most += static_cast<Wide>(nodes_[a.atom].known.most) * a.factor;
    if (most > mask_of(x.bits)) return std::nullopt;
    Value total = number(bits, x.constant);
    for (const Addend &a : all) total = add(total, scale(widen(Value{a.atom, x.bits, 0}, bits), a.factor));
    return total;
}

Value Terms::widen(Value x, unsigned bits) {
    if (bits == x.bits) return x;
    if (x.known()) return number(bits, x.constant);
    if (const auto wide = widened_sum(x, bits)) return *wide;
    const Node n = nodes_[x.term];
    if (x.constant == 0 && n.op == Op::widen) return widen(n.a, bits);
    // The lower part of something whose upper part is 0 anyway.
    if (x.constant == 0 && n.op == Op::slice && n.from == 0 && (known(n.a).most <= mask_of(n.bits))) {
        if (n.a.bits == bits) return n.a;
        return n.a.bits < bits ? widen(n.a, bits) : slice(n.a, 0, bits);
    }
    return atom(Op::widen, bits, x);
}

Value Terms::widen_signed(Value x, unsigned bits) {
    if (bits == x.bits) return x;
    if (x.known()) {
        const Word sign = sign_of(x.bits);
        return number(bits, (x.constant ^ sign) - sign);
    }
    const Known k = known(x);
    if ((k.zeros & sign_of(x.bits)) != 0) return widen(x, bits);
    if ((k.ones & sign_of(x.bits)) != 0)
        return add(widen(x, bits), number(bits, ~mask_of(x.bits)));
    if (x.constant == 0 && nodes_[x.term].op == Op::widen_signed) return widen_signed(nodes_[x.term].a, bits);
    // One bit: 0 or -1.
    if (x.bits == 1) return negate(widen(x, bits));
    return atom(Op::widen_signed, bits, x);
}

Value Terms::join(Value high, Value low) {
    const unsigned bits = high.bits + low.bits;
    return add(scale(widen(high, bits), Word{1} << low.bits), widen(low, bits));
}

}  // namespace l1dflush::machine
