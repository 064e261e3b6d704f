// SPDX-License-Identifier: GPL-2.0-or-later
// Comparisons, and the flags that come to comparisons.
#include "machine/terms.hpp"

#include <utility>

namespace l1dflush::machine {

namespace {

// The inverse of an odd number modulo 2^64 (Newton: each step doubles the number of right bits).
Word inverse(Word odd) {
    Word x = odd;
    for (int i = 0; i < 5; ++i) x *= 2 - odd * x;
    return x;
}

}  // namespace

Value Terms::equal(Value x, Value y) {
    Value d = subtract(x, y);
    if (d.known()) return number(1, d.constant == 0);
    const Known k = known(d);
    if (k.ones != 0 || k.least > 0) return number(1, 0);
    if (d.bits == 1) return complement(d);
    const Node n = nodes_[d.term];
    const auto first = n.op == Op::sum ? addends_[n.first] : Addend{d.term, 1};
    const auto even = static_cast<unsigned>(std::countr_zero(first.factor));
    if (n.op != Op::sum || n.count == 1) {
        const Word wanted = negated(d.constant) & mask_of(d.bits);
        const Value a{first.atom, d.bits, 0};
        if (even != 0) {
            if ((wanted & mask_of(even)) != 0) return number(1, 0);
            const unsigned left = d.bits - even;
            return equal(scale(slice(a, 0, left), first.factor >> even), number(left, wanted >> even));
        }
        if (first.factor != 1) return equal(a, number(d.bits, wanted * inverse(first.factor)));
        if (n.op == Op::widen) return wanted > mask_of(n.a.bits) ? number(1, 0) : equal(n.a, number(n.a.bits, wanted));
        if (n.op == Op::widen_signed) {
            const Value narrow = number(n.a.bits, wanted);
            if (widen_signed(narrow, d.bits).constant != wanted) return number(1, 0);
            return equal(n.a, narrow);
        }
        return atom(Op::equal_zero, 1, d);
    }
    // Whether the upper bits of something are 0.
    if (n.count == 2 && d.constant == 0) {
        const bool first_way = nodes_[addends_[n.first].atom].op == Op::widen && first.factor == 1;
        const bool second_way = nodes_[addends_[n.first + 1].atom].op == Op::widen && addends_[n.first + 1].factor == 1;
        const auto r = rounded(first_way || second_way ? negate(d) : d);
        if (r && r->rest == 0) return equal(slice(r->x, r->low, d.bits - r->low), number(d.bits - r->low, 0));
    }
    // Two forms of it, as x == y and y == x: that whose first factor is the smaller.
    if (first.factor > sign_of(d.bits)) return equal(negate(d), number(d.bits, 0));
    if (n.count == 2 && d.constant == 0) {
        const Addend second = addends_[n.first + 1];
        const Node p = nodes_[first.atom];
        const Node q = nodes_[second.atom];
        if (first.factor == 1 && second.factor == mask_of(d.bits) && p.op == Op::widen && q.op == Op::widen &&
            p.a.bits == q.a.bits)
            return equal(p.a, q.a);
    }
    return atom(Op::equal_zero, 1, d);
}

Value Terms::below(Value x, Value y) {
    const Word mask = mask_of(x.bits);
    if (x.known() && y.known()) return number(1, x.constant < y.constant);
    if (x == y) return number(1, 0);
    const Known kx = known(x);
    const Known ky = known(y);
    if (kx.most < ky.least) return number(1, 1);
    if (kx.least >= ky.most) return number(1, 0);
    if (x.bits == 1) return bit_and(complement(x), y);
    // t + a < t + b: t + a is not so large that b - a more would wrap.
    if (x.term == y.term) return below(x, number(x.bits, x.constant - y.constant));
    if (x.known()) {
        if (x.constant == mask) return number(1, 0);
        return complement(below(y, number(x.bits, x.constant + 1)));
    }
    if (y.known()) {
        if (y.constant == 1) return equal(x, number(x.bits, 0));
        if (y.constant == mask) return complement(equal(x, y));
        if (y.constant == sign_of(x.bits)) return complement(slice(x, x.bits - 1U, 1));
        const Node n = nodes_[x.term];
        if (x.constant == 0 && n.op == Op::widen) return below(n.a, number(n.a.bits, y.constant));
        return atom(Op::below, 1, x, y);
    }
    const Node p = nodes_[x.term];
    const Node q = nodes_[y.term];
    if (x.constant == 0 && y.constant == 0 && p.op == Op::widen && q.op == Op::widen && p.a.bits == q.a.bits)
        return below(p.a, q.a);
    return atom(Op::below, 1, x, y);
}

Value Terms::below_signed(Value x, Value y) {
    if (y == number(x.bits, 0)) return slice(x, x.bits - 1U, 1);
    const Value sign = number(x.bits, sign_of(x.bits));
    const Known kx = known(x);
    const Known ky = known(y);
    const Word settled = (kx.zeros | kx.ones) & (ky.zeros | ky.ones) & sign.constant;
    if (settled != 0) {
        const bool negative_x = (kx.ones & settled) != 0;
        const bool negative_y = (ky.ones & settled) != 0;
        if (negative_x != negative_y) return number(1, negative_x);
        return below(x, y);
    }
    return below(add(x, sign), add(y, sign));
}

Value Terms::carries(Value x, Value y) {
    if (x.known()) std::swap(x, y);
    if (y.known()) {
        if (y.constant == 0) return number(1, 0);
        return complement(below(x, number(x.bits, negated(y.constant))));
    }
    if (x.term > y.term) std::swap(x, y);
    return below(add(x, y), x);
}

Value Terms::carries_signed(Value x, Value y) {
    // x + y is less than x if and only if y is negative, unless it does not fit.
    return add(below_signed(add(x, y), x), below_signed(y, number(y.bits, 0)));
}

Value Terms::borrows_signed(Value x, Value y) {
    return add(below_signed(x, y), slice(subtract(x, y), x.bits - 1U, 1));
}

// `less` or `same`, if they compare the same two in that way: then it is "at most".
std::optional<Value> Terms::at_most(Value less, Value same) {
    if (less.constant != 0 || same.constant != 0) return std::nullopt;
    if (nodes_[less.term].op == Op::equal_zero && nodes_[same.term].op == Op::below) std::swap(less, same);
    const Node p = nodes_[less.term];
    const Node q = nodes_[same.term];
    if (q.op != Op::equal_zero) return std::nullopt;
    if (p.op == Op::below && equal(p.a, p.b) == same) return complement(below(p.b, p.a));
    if (p.op == Op::equal_zero) {
        // x == 0 or x == 1, of which the first was x < 1.
        for (const auto &[zero, one] : {std::pair(p.a, q.a), std::pair(q.a, p.a)})
            if (zero.bits == one.bits && zero.bits > 1 && subtract(zero, one) == number(zero.bits, 1))
                return below(zero, number(zero.bits, 2));
    }
    return std::nullopt;
}

}  // namespace l1dflush::machine
