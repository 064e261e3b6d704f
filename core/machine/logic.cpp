// SPDX-License-Identifier: GPL-2.0-or-later
// Bitwise operations, shifts, products and quotients.
#include "machine/terms.hpp"

#include <unordered_set>
#include <utility>

namespace l1dflush::machine {

namespace {

constexpr int most_runs = 4;
// Deeper terms are not looked through.
constexpr unsigned most_depth = 12;

bool in_order(const Value &x, const Value &y) {
    return std::pair(x.term, x.constant) <= std::pair(y.term, y.constant);
}

}  // namespace

// x & mask: slices, if they are few.
Value Terms::masked(Value x, Word mask) {
    const Word possible = known(x).possible(x.bits);
    mask &= possible;
    if (mask == possible) return x;
    if (mask == 0) return number(x.bits, 0);
    const auto low = static_cast<unsigned>(std::countr_zero(mask));
    // An address that is rounded; of what is no sum its bits say more.
    const Op op = nodes_[x.term].op;
    if (x.constant == 0 && low != 0 && (op == Op::slice || op == Op::multiply_high)) {
        // Of what is multiplied by the inverse of a number the upper part may be a quotient.
        const Value top = widen(slice(x, low, x.bits - low), x.bits);
        if (top.term != 0 && nodes_[top.term].op == Op::divide && (possible & ~mask & ~mask_of(low)) == 0)
            return scale(top, Word{1} << low);
    }
    const bool bitwise = x.constant == 0 && (op == Op::bit_and || op == Op::bit_or || op == Op::bit_xor);
    if (!bitwise && (possible & ~mask & ~mask_of(low)) == 0)
        return subtract(x, widen(slice(x, 0, low), x.bits));
    // Where x is 0 anyway a run may go on.
    const Word wide = mask | ~possible;
    Value total = number(x.bits, 0);
    int runs = 0;
    for (unsigned at = low; at < x.bits && (mask >> at) != 0;) {
        if (((mask >> at) & 1) == 0) {
            ++at;
            continue;
        }
        unsigned end = at;
        while (end < x.bits && ((wide >> end) & 1) != 0) ++end;
        if (++runs > most_runs) return atom(Op::bit_and, x.bits, x, number(x.bits, mask));
        total = add(total, scale(widen(slice(x, at, end - at), x.bits), Word{1} << at));
        at = end;
    }
    return total;
}

Value Terms::bit_and(Value x, Value y) {
    if (x.known()) std::swap(x, y);
    if (y.known()) return x.known() ? number(x.bits, x.constant & y.constant) : masked(x, y.constant);
    if (x == y) return x;
    if ((known(x).possible(x.bits) & known(y).possible(x.bits)) == 0) return number(x.bits, 0);
    if (x.bits == 1) {
        if (x.term == y.term) return number(1, 0);
        if (x.constant != 0 && y.constant != 0)
            if (const auto either = at_most(complement(x), complement(y))) return complement(*either);
    }
    if (!in_order(x, y)) std::swap(x, y);
    return atom(Op::bit_and, x.bits, x, y);
}

Value Terms::bit_or(Value x, Value y) {
    if (x.known()) std::swap(x, y);
    if (x.known()) return number(x.bits, x.constant | y.constant);
    if (x == y) return x;
    if ((known(x).possible(x.bits) & known(y).possible(x.bits)) == 0) return add(x, y);
    if (y.known()) return add(masked(x, ~y.constant), y);
    if (x.bits == 1) {
        if (const auto either = at_most(x, y)) return *either;
        return complement(bit_and(complement(x), complement(y)));
    }
    if (!in_order(x, y)) std::swap(x, y);
    return atom(Op::bit_or, x.bits, x, y);
}

Value Terms::bit_xor(Value x, Value y) {
    if (x.bits == 1) return add(x, y);
    if (x == y) return number(x.bits, 0);
    if (x.known()) std::swap(x, y);
    if (x.known()) return number(x.bits, x.constant ^ y.constant);
    if ((known(x).possible(x.bits) & known(y).possible(x.bits)) == 0) return add(x, y);
    if (y.known() && y.constant == mask_of(x.bits)) return complement(x);
    if (y.known() && y.constant == sign_of(x.bits)) return add(x, y);
    if (y.known() && x.constant == 0 && nodes_[x.term].op == Op::bit_xor && nodes_[x.term].b.known()) {
        const Node n = nodes_[x.term];
        return bit_xor(n.a, number(x.bits, n.b.constant ^ y.constant));
    }
    if (!y.known() && !in_order(x, y)) std::swap(x, y);
    return atom(Op::bit_xor, x.bits, x, y);
}

Value Terms::shift_left(Value x, Value count) {
    if (count.known()) return count.constant >= x.bits ? number(x.bits, 0) : scale(x, Word{1} << count.constant);
    if (x == number(x.bits, 0)) return x;
    return atom(Op::shift_left, x.bits, x, count);
}

Value Terms::shift_right(Value x, Value count) {
    if (count.known()) {
        if (count.constant >= x.bits) return number(x.bits, 0);
        const auto by = static_cast<unsigned>(count.constant);
        return widen(slice(x, by, x.bits - by), x.bits);
    }
    if (x == number(x.bits, 0)) return x;
    return atom(Op::shift_right, x.bits, x, count);
}

Value Terms::shift_right_signed(Value x, Value count) {
    if (count.known()) {
        const auto by = static_cast<unsigned>(count.constant >= x.bits ? x.bits - 1U : count.constant);
        return widen_signed(slice(x, by, x.bits - by), x.bits);
    }
    if (x == number(x.bits, 0)) return x;
    return atom(Op::shift_right_signed, x.bits, x, count);
}

Value Terms::multiply(Value x, Value y) {
    if (x.known()) std::swap(x, y);
    if (y.known()) return scale(x, y.constant);
    if (x.bits == 1) return bit_and(x, y);
    if (!in_order(x, y)) std::swap(x, y);
    return atom(Op::multiply, x.bits, x, y);
}

Value Terms::divide(Op op, Value x, Value y) {
    const unsigned bits = x.bits;
    if (op == Op::multiply_high || op == Op::multiply_high_signed) {
        if (!x.known() || !y.known()) {
            if (!in_order(x, y)) std::swap(x, y);
            return atom(op, bits, x, y);
        }
    } else if (y.known() && y.constant != 0) {
        const bool power = std::has_single_bit(y.constant);
        if (power && op == Op::divide)
            return shift_right(x, number(bits, static_cast<Word>(std::countr_zero(y.constant))));
        if (power && op == Op::remainder) return masked(x, y.constant - 1);
    }
    if (x.known() && y.known()) {
        if (const auto result = divided(op, bits, x.constant, y.constant)) return number(bits, *result);
    }
    return atom(op, bits, x, y);
}

Value Terms::count_ones(Value x, unsigned bits) {
    if (x.known()) return number(bits, static_cast<Word>(std::popcount(x.constant)));
    return atom(Op::count_ones, bits, x);
}

Value Terms::count_leading_zeros(Value x, unsigned bits) {
    if (x.known()) return number(bits, static_cast<Word>(x.bits - std::bit_width(x.constant)));
    return atom(Op::count_leading_zeros, bits, x);
}

// Whether a term is the other one, or in it.
bool Terms::is_in(TermId part, TermId whole) const {
    std::vector<TermId> todo{whole};
    std::unordered_set<TermId> seen;
    while (!todo.empty()) {
        const TermId next = todo.back();
        todo.pop_back();
        if (next == part) return true;
        // What a term is made of was made before it.
        if (next < part || !seen.insert(next).second) continue;
        const Node &n = nodes_[next];
        for (const Value &v : {n.a, n.b, n.c}) todo.push_back(v.term);
        for (const Addend &a : addends(n)) todo.push_back(a.atom);
    }
    return false;
}

Value Terms::choose(Value condition, Value x, Value y) {
    if (condition.known()) return condition.constant != 0 ? x : y;
    if (x == y) return x;
    if (condition.constant != 0) return choose(complement(condition), y, x);
    // What is chosen may depend on the same.
    const auto where = [&](Value v, bool holds) {
        if (nodes_[v.term].depth > most_depth || !is_in(condition.term, v.term)) return v;
        std::unordered_map<TermId, Value> known{{condition.term, number(1, holds)}};
        return replaced(v, known);
    };
    x = where(x, true);
    y = where(y, false);
    if (x == y) return x;
    if (x.bits == 1) return add(y, bit_and(condition, add(x, y)));
    if (const Value d = subtract(x, y); d.known())
        return add(y, scale(widen(condition, x.bits), d.constant));
    return atom(Op::choose, x.bits, condition, x, y);
}

}  // namespace l1dflush::machine
