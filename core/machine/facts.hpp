// What the decisions of a path say: a condition that was decided, or that follows from those that were, is not asked
// again.
//
// A comparison with a constant says in which interval (modulo 2^n) a term lies. Of each term one interval is kept, which
// holds all that is possible; what cannot be said by one is remembered as a decided condition alone.
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
    // The condition holds, or does not.
    void decide(Terms &terms, Value condition, bool holds);
    // A condition that is in another place of the condition: it has to be decided first.
    static std::optional<Value> inner(const Terms &terms, Value condition);

private:
    std::optional<Interval> limits(const Terms &terms, Value x) const;
    std::optional<bool> by_limits(const Terms &terms, const Node &node) const;
    void narrow(const Terms &terms, Value x, Interval to);

    std::unordered_map<TermId, bool> conditions_;
    std::unordered_map<TermId, Interval> intervals_;  // of terms without a constant
    std::unordered_map<TermId, Value> put_in_;        // and what it came to before
};

}  // namespace l1dflush::machine
