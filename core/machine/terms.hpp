// SPDX-License-Identifier: GPL-2.0-or-later
// The store of terms: bit-vector expressions over symbols, each kept once, in a normal form.
//
// Everything the machine computes goes through the functions of this class, which bring it into the normal form at
// once. The form is what makes two ways of computing the same thing the same term, so that nobody has to prove it:
//
//   * A value is a term without a constant part, plus a constant. A term is a sum (factor * atom, atoms in order, no
//     factor 0) or an atom: a symbol, or an operation that no rule here takes apart.
//   * Shifts by constants, masks and parts of registers are slices: `x >> 3`, `x & 0xff0` and `(uint8_t)x` are the zero-
//     extended bits [from, from + n) of x, times a power of two. `x & -16` is x - (x & 15). Slices that lie side by side
//     join again, so what was stored in pieces and loaded whole is what it was.
//   * Conditions are values of one bit. There a sum is an exclusive or, and `not` is `+ 1`. So `SF != OF` of a
//     subtraction is a signed comparison by itself: both flags have the sign of the difference, and that cancels.
//   * There is one comparison, "less than, unsigned" (a signed one adds the sign bit on both sides), with a constant on
//     the right where there is one; `t + a < t + b` says that t does not wrap between them, which is one, too.
//
// What no rule covers becomes an atom of its own: the same for the same operands, and nothing is known of it. That is
// always right, if weaker. Sources of the rules: they are identities of arithmetic modulo 2^n; tests hold each
// against plain numbers.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "machine/value.hpp"

namespace l1dflush::machine {

// More terms than allowed: the question stays open.
class TooManyTerms : public std::runtime_error {
public:
    TooManyTerms() : std::runtime_error("more terms than allowed") {}
};

enum class Op : std::uint8_t {
    symbol,    // number: which one
    sum,       // addends
    group,     // a sum that is too long to be added to: stands for `a`
    slice,     // bits [from, from + bits) of a
    widen,     // a, zero-extended
    widen_signed,
    multiply,  // a * b
    divide,    // a / b, unsigned; of 0 it is unknown, so the machine asks before
    divide_signed,
    remainder,
    remainder_signed,
    multiply_high,  // the upper half of the product
    multiply_high_signed,
    bit_and,
    bit_or,
    bit_xor,
    shift_left,
    shift_right,
    shift_right_signed,
    equal_zero,  // one bit: a == 0
    below,       // one bit: a < b
    count_ones,
    count_leading_zeros,
    choose,  // a (one bit) ? b : c
};

struct Addend {
    TermId atom;
    Word factor;
    bool operator==(const Addend &) const = default;
};

struct Node {
    Op op = Op::symbol;
    std::uint8_t bits = 0;
    std::uint8_t from = 0;     // slice: its lowest bit
    std::uint8_t depth = 0;    // of operations in operations, up to 255
    bool conditional = false;  // a condition is in it: deciding that one may say more about it
    std::uint32_t first = 0;   // sum: where its addends are
    std::uint32_t count = 0;
    Value a, b, c;
    Word number = 0;  // symbol: which one
    Known known;
};

// Nodes by their numbers. A node stays where it is, and more of them are made without moving those that there are.
class Nodes {
public:
    Nodes() = default;
    Nodes(const Nodes &) = delete;
    Nodes &operator=(const Nodes &) = delete;
    Node &operator[](TermId id) { return pieces_[id / each][id % each]; }
    const Node &operator[](TermId id) const { return pieces_[id / each][id % each]; }
    std::size_t size() const { return size_; }
    void push_back(const Node &node) {
        if (size_ % each == 0) pieces_.push_back(std::make_unique_for_overwrite<Node[]>(each));
        pieces_[size_ / each][size_ % each] = node;
        ++size_;
    }

private:
    static constexpr std::size_t each = 256;
    std::vector<std::unique_ptr<Node[]>> pieces_;
    std::size_t size_ = 0;
};

// The result of one of the operations `divide` ... `multiply_high_signed`; none where a processor would fault.
std::optional<Word> divided(Op op, unsigned bits, Word x, Word y);

class Terms {
public:
    static constexpr std::size_t most_addends = 64;
    static constexpr std::size_t most_terms = 4'000'000;  // 140 bytes each

    Terms();

    // A new symbol. Its lowest bits are 0 up to `alignment` (a power of two), and it is from `least` to `most`.
    Value symbol(unsigned bits, Word alignment = 1, Word least = 0, Word most = ~Word{0});

    TermId term_of(Word symbol) const { return terms_of_symbols_[symbol - 1]; }
    const Node &node(TermId term) const { return nodes_[term]; }
    std::span<const Addend> addends(const Node &node) const { return {addends_.data() + node.first, node.count}; }
    std::size_t size() const { return nodes_.size() - 1; }
    Known known(Value v) const;

    Value add(Value x, Value y);
    Value subtract(Value x, Value y) { return add(x, scale(y, ~Word{0})); }
    Value negate(Value x) { return scale(x, ~Word{0}); }
    Value complement(Value x);
    Value scale(Value x, Word factor);
    Value multiply(Value x, Value y);
    // One of the operations that have no rules but for constants: divide ... multiply_high_signed.
    Value divide(Op op, Value x, Value y);

    // Bits [from, from + bits) of x; x, zero- or sign-extended; the upper part, then the lower one.
    Value slice(Value x, unsigned from, unsigned bits);
    Value widen(Value x, unsigned bits);
    Value widen_signed(Value x, unsigned bits);
    Value join(Value high, Value low);

    Value bit_and(Value x, Value y);
    Value bit_or(Value x, Value y);
    Value bit_xor(Value x, Value y);
    // By `count` of any width, as P-code has it: by the width and more it is 0, or all the sign.
    Value shift_left(Value x, Value count);
    Value shift_right(Value x, Value count);
    Value shift_right_signed(Value x, Value count);
    Value count_ones(Value x, unsigned bits);
    Value count_leading_zeros(Value x, unsigned bits);

    // Conditions: one bit.
    Value equal(Value x, Value y);
    Value below(Value x, Value y);
    Value below_signed(Value x, Value y);
    Value carries(Value x, Value y);          // x + y does not fit, unsigned
    Value carries_signed(Value x, Value y);   // x + y does not fit, signed
    Value borrows_signed(Value x, Value y);   // x - y does not fit, signed
    Value choose(Value condition, Value x, Value y);

    // The value made anew with what `known_terms` has in place of these terms; it remembers what it came by.
    Value replaced(Value v, std::unordered_map<TermId, Value> &known_terms);
    // What the value is if the symbols are these numbers; `numbers` has one for each symbol in it, by `Node::number`.
    Word evaluated(Value v, const std::unordered_map<Word, Word> &numbers) const;

private:
    Value atom(Op op, unsigned bits, Value a, Value b = {}, Value c = {}, unsigned from = 0);
    Value of_addends(std::vector<Addend> &addends, unsigned bits, Word constant);
    TermId kept(Node node, std::span<const Addend> addends);
    void append(std::vector<Addend> &to, Value v, Word factor) const;
    bool join_slices(std::vector<Addend> &addends, unsigned bits, Word &constant);
    Known known_of(const Node &node, std::span<const Addend> addends) const;
    Known known_of_sum(std::span<const Addend> addends, unsigned bits) const;
    struct Rounded {
        unsigned low;  // so many lower bits
        Value x;
        Word rest;
    };
    std::optional<Rounded> rounded(Value v);
    TermId slice_in(TermId atom) const;
    bool is_in(TermId part, TermId whole) const;
    bool same(const Node &x, const Node &y, std::span<const Addend> addends) const;
    void grow();

    std::optional<Value> quotient(Value a, Word k, unsigned s);
    bool join_quotients(std::vector<Addend> &addends, unsigned bits);
    Value slice_low(Value x, unsigned bits);
    Value slice_atom(TermId atom, unsigned from, unsigned bits);
    bool are_apart(const std::vector<Addend> &addends, Value x) const;
    std::optional<Value> widened_sum(Value x, unsigned bits);
    Value masked(Value x, Word mask);
    Value rebuilt(const Node &node, Value a, Value b, Value c);
    std::optional<Value> at_most(Value less, Value same);

    // A term with the lower half of its hash, which tells most others from it.
    struct Entry {
        TermId id = 0;
        std::uint32_t hash = 0;
    };

    Nodes nodes_;
    std::vector<Addend> addends_;
    std::vector<Entry> table_;  // open addressing; a power of two
    std::vector<TermId> terms_of_symbols_;
};

}  // namespace l1dflush::machine
