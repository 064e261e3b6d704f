// SPDX-License-Identifier: GPL-2.0-or-later
// What terms come to: for numbers in place of symbols, for other terms in place of terms, and bit by bit.
#include "machine/terms.hpp"

#include <vector>

namespace l1dflush::machine {

namespace {

std::int64_t as_signed(Word x, unsigned bits) {
    return static_cast<std::int64_t>((x ^ sign_of(bits)) - sign_of(bits));
}

}  // namespace

std::optional<Word> divided(Op op, unsigned bits, Word x, Word y) {
    const Word mask = mask_of(bits);
    const auto sx = static_cast<WideSigned>(as_signed(x, bits));
    const auto sy = static_cast<WideSigned>(as_signed(y, bits));
    if (op == Op::multiply_high) return static_cast<Word>((static_cast<Wide>(x) * y) >> bits) & mask;
    if (op == Op::multiply_high_signed) return static_cast<Word>((sx * sy) >> bits) & mask;
    if (y == 0) return std::nullopt;
    switch (op) {
    case Op::divide:
        return x / y;
    case Op::remainder:
        return x % y;
    case Op::divide_signed:
        return static_cast<Word>(sx / sy) & mask;
    default:
        return static_cast<Word>(sx % sy) & mask;
    }
}

Known Terms::known_of_sum(std::span<const Addend> addends, unsigned bits) const {
    Known total = Known::all(bits, 0);
    for (const Addend &a : addends) total = added(total, times(nodes_[a.atom].known, a.factor, bits), bits);
    return total;
}

// What is known of a node's bits from those of its operands.
Known Terms::known_of(const Node &n, std::span<const Addend> addends) const {
    if (n.op == Op::sum) return known_of_sum(addends, n.bits);
    const Known a = n.a.bits != 0 ? known(n.a) : Known{};
    const Known b = n.b.bits != 0 ? known(n.b) : Known{};
    const Word mask = mask_of(n.bits);
    Known k = Known::nothing(n.bits);
    switch (n.op) {
    case Op::group:
        return a;
    case Op::slice:
        k.zeros = (a.zeros >> n.from) & mask;
        k.ones = (a.ones >> n.from) & mask;
        if ((a.most >> n.from) <= mask) {
            k.least = a.least >> n.from;
            k.most = a.most >> n.from;
        }
        break;
    case Op::widen:
        k = a;
        k.zeros |= mask & ~mask_of(n.a.bits);
        break;
    case Op::widen_signed:
        // The sign is not known, or it would not be this.
        k.zeros = a.zeros & mask_of(n.a.bits - 1U);
        k.ones = a.ones & mask_of(n.a.bits - 1U);
        break;
    case Op::multiply:
        k.zeros = mask_of(a.trailing_zeros() + b.trailing_zeros()) & mask;
        break;
    case Op::bit_and:
        k.zeros = a.zeros | b.zeros;
        k.ones = a.ones & b.ones;
        break;
    case Op::bit_or:
        k.zeros = a.zeros & b.zeros;
        k.ones = a.ones | b.ones;
        break;
    case Op::bit_xor:
        k.zeros = (a.zeros & b.zeros) | (a.ones & b.ones);
        k.ones = (a.zeros & b.ones) | (a.ones & b.zeros);
        break;
    case Op::shift_left:
        k.zeros = mask_of(a.trailing_zeros()) & mask;
        break;
    case Op::shift_right:
        k.most = a.most;
        break;
    case Op::divide:
        if (b.least > 0) k.most = a.most / b.least;
        break;
    case Op::remainder:
        if (b.least > 0) k.most = std::min(a.most, b.most - 1);
        break;
    case Op::count_ones:
    case Op::count_leading_zeros:
        k.most = n.a.bits;
        break;
    case Op::choose: {
        const Known c = known(n.c);
        k.zeros = b.zeros & c.zeros;
        k.ones = b.ones & c.ones;
        k.least = std::min(b.least, c.least);
        k.most = std::max(b.most, c.most);
        break;
    }
    default:
        break;
    }
    return k.sharpened(n.bits);
}

Word Terms::evaluated(Value v, const std::unordered_map<Word, Word> &numbers) const {
    if (v.term == 0) return v.constant;
    const Node &n = nodes_[v.term];
    const Word mask = mask_of(n.bits);
    const auto of = [&](const Value &operand) { return evaluated(operand, numbers); };
    Word result = 0;
    switch (n.op) {
    case Op::symbol:
        result = numbers.at(n.number);
        break;
    case Op::sum:
        for (const Addend &a : addends(n)) result += a.factor * of(Value{a.atom, n.bits, 0});
        break;
    case Op::group:
    case Op::widen:
        result = of(n.a);
        break;
    case Op::slice:
        result = of(n.a) >> n.from;
        break;
    case Op::widen_signed:
        result = static_cast<Word>(as_signed(of(n.a), n.a.bits));
        break;
    case Op::multiply:
        result = of(n.a) * of(n.b);
        break;
    case Op::divide:
    case Op::divide_signed:
    case Op::remainder:
    case Op::remainder_signed:
    case Op::multiply_high:
    case Op::multiply_high_signed:
        result = divided(n.op, n.bits, of(n.a), of(n.b)).value_or(0);
        break;
    case Op::bit_and:
        result = of(n.a) & of(n.b);
        break;
    case Op::bit_or:
        result = of(n.a) | of(n.b);
        break;
    case Op::bit_xor:
        result = of(n.a) ^ of(n.b);
        break;
    case Op::shift_left:
        result = of(n.b) >= n.bits ? 0 : of(n.a) << of(n.b);
        break;
    case Op::shift_right:
        result = of(n.b) >= n.bits ? 0 : of(n.a) >> of(n.b);
        break;
    case Op::shift_right_signed:
        result = static_cast<Word>(as_signed(of(n.a), n.bits) >> std::min<Word>(of(n.b), n.bits - 1U));
        break;
    case Op::equal_zero:
        result = of(n.a) == 0;
        break;
    case Op::below:
        result = of(n.a) < of(n.b);
        break;
    case Op::count_ones:
        result = static_cast<Word>(std::popcount(of(n.a)));
        break;
    case Op::count_leading_zeros:
        result = static_cast<Word>(n.a.bits - std::bit_width(of(n.a)));
        break;
    case Op::choose:
        result = of(n.a) != 0 ? of(n.b) : of(n.c);
        break;
    }
    return (result + v.constant) & mask;
}

// A node with other operands.
Value Terms::rebuilt(const Node &n, Value a, Value b, Value c) {
    switch (n.op) {
    case Op::group:
        return a;
    case Op::slice:
        return slice(a, n.from, n.bits);
    case Op::widen:
        return widen(a, n.bits);
    case Op::widen_signed:
        return widen_signed(a, n.bits);
    case Op::multiply:
        return multiply(a, b);
    case Op::bit_and:
        return bit_and(a, b);
    case Op::bit_or:
        return bit_or(a, b);
    case Op::bit_xor:
        return bit_xor(a, b);
    case Op::shift_left:
        return shift_left(a, b);
    case Op::shift_right:
        return shift_right(a, b);
    case Op::shift_right_signed:
        return shift_right_signed(a, b);
    case Op::equal_zero:
        return equal(a, number(a.bits, 0));
    case Op::below:
        return below(a, b);
    case Op::count_ones:
        return count_ones(a, n.bits);
    case Op::count_leading_zeros:
        return count_leading_zeros(a, n.bits);
    case Op::choose:
        return choose(a, b, c);
    default:
        return divide(n.op, a, b);
    }
}

Value Terms::replaced(Value v, std::unordered_map<TermId, Value> &known_terms) {
    if (v.term == 0) return v;
    const Value rest = number(v.bits, v.constant);
    if (const auto found = known_terms.find(v.term); found != known_terms.end()) return add(found->second, rest);
    const Node n = nodes_[v.term];
    Value made{v.term, v.bits, 0};
    if (n.op == Op::sum) {
        std::vector<Addend> all;
        Word constant = 0;
        for (std::uint32_t i = 0; i < n.count; ++i) {
            const Addend a = addends_[n.first + i];
            const Value part = replaced(Value{a.atom, n.bits, 0}, known_terms);
            append(all, part, a.factor);
            constant += part.constant * a.factor;
        }
        made = of_addends(all, n.bits, constant);
    } else if (n.op != Op::symbol) {
        const auto of = [&](const Value &operand) { return operand.bits != 0 ? replaced(operand, known_terms) : operand; };
        const Value a = of(n.a);
        const Value b = of(n.b);
        const Value c = of(n.c);
        if (a != n.a || b != n.b || c != n.c) made = rebuilt(n, a, b, c);
    }
    known_terms.emplace(v.term, made);
    return add(made, rest);
}

}  // namespace l1dflush::machine
