// Terms that may be few numbers: what depends on nothing else is tried for each of them.
//
// A size that is 64 KiB and 16 KiB more for each of two bits is in an interval of which nearly no number is possible; one
// that is shifted by two bits, or is less the more another thing is, is in none. A condition about such a size is decided
// if all numbers that are left say the same; where it is not, it is asked, and what it excludes is gone from then on.
// The terms are taken for independent of each other but for what was decided, so none that is possible is missing.
#include <algorithm>

#include "machine/facts.hpp"

namespace l1dflush::machine {

namespace {

constexpr Word most_numbers = 8;         // of a term
constexpr std::size_t most_together = 64;  // of all in a condition
constexpr std::size_t most_nodes = 64;

// What the condition comes to; none if it depends on something else.
std::optional<bool> tried(Terms &terms, TermId condition, const std::vector<TermId> &of, const std::vector<Word> &numbers) {
    std::unordered_map<TermId, Value> known;
    for (std::size_t i = 0; i < of.size(); ++i) known[of[i]] = number(terms.node(of[i]).bits, numbers[i]);
    const Value v = terms.replaced(Value{condition, 1, 0}, known);
    return v.known() ? std::optional(v.constant != 0) : std::nullopt;
}

}  // namespace

// The terms that a term is made of, down to those that may be few numbers; none if there are others.
std::optional<Facts::Few> Facts::few_in(const Terms &terms, TermId term) const {
    Few found;
    found.left.emplace_back();
    std::vector<TermId> todo{term};
    std::vector<TermId> seen;
    while (!todo.empty()) {
        const TermId next = todo.back();
        todo.pop_back();
        if (next == 0 || std::ranges::find(seen, next) != seen.end()) continue;
        if (seen.size() == most_nodes) return std::nullopt;
        seen.push_back(next);
        const Node &n = terms.node(next);
        auto limits = this->limits(terms, Value{next, n.bits, 0});
        if (!limits && n.bits < most_bits) limits = Interval{0, mask_of(n.bits) + 1};
        const bool is_condition = n.bits == 1 && n.op != Op::slice && n.op != Op::symbol;
        if (!is_condition && limits && limits->size != 0 && limits->size <= most_numbers) {
            if (found.left.size() * limits->size > most_together) return std::nullopt;
            found.terms.push_back(next);
            std::vector<std::vector<Word>> more;
            for (const auto &one : found.left)
                for (Word i = 0; i < limits->size; ++i) {
                    more.push_back(one);
                    more.back().push_back((limits->from + i) & mask_of(n.bits));
                }
            found.left = std::move(more);
            continue;
        }
        if (n.op == Op::symbol) return std::nullopt;
        for (const Value &v : {n.a, n.b, n.c}) todo.push_back(v.term);
        for (const Addend &a : terms.addends(n)) todo.push_back(a.atom);
    }
    if (found.terms.empty()) return std::nullopt;
    // What was decided has left fewer.
    for (const Few &known : few_) {
        std::vector<std::pair<std::size_t, std::size_t>> both;
        for (std::size_t i = 0; i < found.terms.size(); ++i)
            for (std::size_t j = 0; j < known.terms.size(); ++j)
                if (found.terms[i] == known.terms[j]) both.emplace_back(i, j);
        if (both.empty()) continue;
        std::erase_if(found.left, [&](const std::vector<Word> &one) {
            return std::ranges::none_of(known.left, [&](const std::vector<Word> &other) {
                return std::ranges::all_of(both, [&](const auto &at) { return one[at.first] == other[at.second]; });
            });
        });
    }
    return found;
}

std::optional<bool> Facts::by_few(Terms &terms, Value condition) const {
    if (condition.term == 0) return condition.constant != 0;
    const auto few = few_in(terms, condition.term);
    if (!few) return std::nullopt;
    std::optional<bool> all;
    for (const auto &numbers : few->left) {
        const auto one = tried(terms, condition.term, few->terms, numbers);
        if (!one || (all && *all != *one)) return std::nullopt;
        all = one;
    }
    if (!all) return std::nullopt;
    return *all != (condition.constant != 0);
}

// What a decided condition leaves.
void Facts::decide_few(Terms &terms, TermId condition, bool value) {
    auto few = few_in(terms, condition);
    if (!few) return;
    std::erase_if(few->left, [&](const std::vector<Word> &numbers) {
        const auto one = tried(terms, condition, few->terms, numbers);
        return one && *one != value;
    });
    // Nothing decides like this.
    if (few->left.empty()) return;
    for (std::size_t i = 0; i < few->terms.size(); ++i) {
        const Word first = few->left.front()[i];
        const TermId term = few->terms[i];
        if (std::ranges::all_of(few->left, [&](const auto &numbers) { return numbers[i] == first; }))
            narrow(terms, Value{term, terms.node(term).bits, 0}, {first, 1});
    }
    std::erase_if(few_, [&](const Few &known) {
        return std::ranges::all_of(known.terms, [&](TermId t) { return std::ranges::find(few->terms, t) != few->terms.end(); });
    });
    // Of one combination the terms' own limits have all.
    if (few->left.size() > 1) few_.push_back(std::move(*few));
}

}  // namespace l1dflush::machine
