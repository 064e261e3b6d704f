// SPDX-License-Identifier: GPL-2.0-or-later
// What the decisions of a path say: a condition that was decided, or that follows from those that were, is not asked
// again.
//
// A comparison with a constant says in which interval (modulo 2^n) a term lies. Of each term one interval is kept, which
// holds all that is possible; of terms that may be few numbers these are kept one by one (few.cpp). What cannot be said
// like that is remembered as a decided condition alone. So what is decided here surely follows, but not all that follows
// is decided: a path may be one that no input takes.
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "machine/terms.hpp"

namespace l1dflush::machine {

// The numbers from `from` on, `size` of them, modulo 2^bits; all of them if `size` is 0.
struct Interval {
    Word from = 0;
    Word size = 0;
};

class Facts {
public:
    // `v` with what was decided put in.
    Value simplified(Terms &terms, Value v);
    // Whether the condition holds, if that is known.
    std::optional<bool> decided(Terms &terms, Value condition);
    // The same, if it depends on nothing but what may be few numbers: for all of them that are left.
    std::optional<bool> by_few(Terms &terms, Value condition) const;
    // The numbers that a term may be, if they are at most so many.
    std::vector<Word> numbers(const Terms &terms, TermId term, std::size_t most) const;
    // The condition holds, or does not.
    void decide(Terms &terms, Value condition, bool holds);
    // The numbers that a value may be, if they are not all.
    std::optional<Interval> limits(const Terms &terms, Value x) const;
    // A condition that is in another place of the condition: it has to be decided first.
    static std::optional<Value> inner(const Terms &terms, Value condition);
    // Whether something surely decides like this: each condition is about a symbol, or a part of one, that nothing else
    // is said of, and leaves a number for it.
    bool surely_possible(const Terms &terms) const;

private:
    // Bits of a symbol that conditions are about, and how many numbers in its interval they exclude.
    struct Part {
        Word symbol;
        unsigned from;
        unsigned bits;
        TermId term;
        Word excluded;
    };
    // Terms that may be few numbers, and which of them together.
    struct Few {
        std::vector<TermId> terms;
        std::vector<std::vector<Word>> left;
    };
    std::optional<Few> few_in(const Terms &terms, TermId term) const;
    void decide_few(Terms &terms, TermId condition, bool value);
    // A few bits of a symbol, and which numbers of them are left.
    struct Bits {
        Word symbol;
        unsigned from;
        unsigned end;
        std::vector<TermId> parts;  // what a term has of them
        std::vector<Word> left;
        std::vector<Word> tried(const Terms &terms, TermId term) const;
    };
    std::optional<Bits> bits_in(const Terms &terms, TermId term) const;
    std::optional<bool> by_bits(const Terms &terms, TermId condition) const;
    void decide_bits(const Terms &terms, TermId condition, bool value);
    Part *part_of(const Terms &terms, TermId term);
    std::optional<bool> by_limits(const Terms &terms, const Node &node) const;
    std::optional<Interval> limits_of_operand(const Terms &terms, TermId term) const;
    Word narrow(const Terms &terms, Value x, Interval to);
    void narrow_operand(Terms &terms, TermId term);

    std::unordered_map<TermId, bool> conditions_;
    std::unordered_map<TermId, Interval> intervals_;  // of terms without a constant
    std::unordered_map<TermId, Value> put_in_;        // and what it came to before
    std::vector<Few> few_;
    std::vector<Bits> bits_;
    std::vector<Part> parts_;
    bool by_parts_ = true;  // all that was decided is about them
};

}  // namespace l1dflush::machine
