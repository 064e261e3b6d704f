// SPDX-License-Identifier: GPL-2.0-or-later
// Terms that may be few numbers: what depends on nothing else is tried for each of them.
//
// A size that is 64 KiB and 16 KiB more for each of two bits is in an interval of which nearly no number is possible; one
// that is shifted by two bits, or is less the more another thing is, is in none. A condition about such a size is decided
// if all numbers that are left say the same; where it is not, it is asked, and what it excludes is gone from then on.
// The terms are taken for independent of each other but for what was decided, so none that is possible is missing. What
// depends on nothing but a byte, however it was multiplied and divided, is tried for all that the byte may be.
#include <algorithm>

#include "machine/facts.hpp"

namespace l1dflush::machine {

namespace {

constexpr Word most_numbers = 8;         // of a term
constexpr std::size_t most_together = 64;  // of all in a condition
constexpr std::size_t most_nodes = 64;
constexpr unsigned most_bits_of_one = 8;

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
    std::optional<bool> all;
    if (const auto few = few_in(terms, condition.term)) {
        for (const auto &numbers : few->left) {
            const auto one = tried(terms, condition.term, few->terms, numbers);
            if (one && (!all || *all == *one)) {
                all = one;
                continue;
            }
            all.reset();
            break;
        }
    }
    // What the terms are made of may leave fewer.
    if (!all) all = by_bits(terms, condition.term);
    if (!all) return std::nullopt;
    return *all != (condition.constant != 0);
}

// What a decided condition leaves.
void Facts::decide_few(Terms &terms, TermId condition, bool value) {
    auto few = few_in(terms, condition);
    decide_bits(terms, condition, value);
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

// The bits of one symbol that a term is made of; none if it is made of others, or of more.
std::optional<Facts::Bits> Facts::bits_in(const Terms &terms, TermId term) const {
    Bits found{0, most_bits, 0, {}, {}};
    std::vector<TermId> todo{term};
    std::vector<TermId> seen;
    while (!todo.empty()) {
        const TermId next = todo.back();
        todo.pop_back();
        if (next == 0 || std::ranges::find(seen, next) != seen.end()) continue;
        if (seen.size() == most_nodes) return std::nullopt;
        seen.push_back(next);
        const Node &n = terms.node(next);
        const bool slice = n.op == Op::slice && n.a.constant == 0;
        const Node &whole = slice ? terms.node(n.a.term) : n;
        if (whole.op == Op::symbol) {
            if (found.symbol != 0 && found.symbol != whole.number) return std::nullopt;
            found.symbol = whole.number;
            const unsigned from = slice ? n.from : 0U;
            found.from = std::min(found.from, from);
            found.end = std::max(found.end, from + n.bits);
            if (found.end - found.from > most_bits_of_one) return std::nullopt;
            found.parts.push_back(next);
            continue;
        }
        for (const Value &v : {n.a, n.b, n.c}) todo.push_back(v.term);
        for (const Addend &a : terms.addends(n)) todo.push_back(a.atom);
    }
    if (found.symbol == 0) return std::nullopt;
    std::vector<const Bits *> before;
    for (const Bits &one : bits_)
        if (one.symbol == found.symbol && std::max(one.from, found.from) < std::min(one.end, found.end)) before.push_back(&one);
    const Known whole = terms.node(terms.term_of(found.symbol)).known;
    const Word mask = mask_of(found.end - found.from);
    for (Word v = 0; v <= mask; ++v) {
        const Word moved = v << found.from;
        const bool known = (moved & whole.zeros) == 0 && (~moved & whole.ones & (mask << found.from)) == 0;
        const auto within = [&](TermId part) {
            const Node &n = terms.node(part);
            const auto limits = this->limits(terms, Value{part, n.bits, 0});
            if (!limits || limits->size == 0) return true;
            const Word number = moved >> (n.op == Op::slice ? n.from : 0U) & mask_of(n.bits);
            return ((number - limits->from) & mask_of(n.bits)) < limits->size;
        };
        // Of what was left before, something has the same bits where both have any.
        const auto is_left = [&](const Bits *one) {
            const unsigned from = std::max(one->from, found.from);
            const Word both = mask_of(std::min(one->end, found.end) - from) << from;
            return std::ranges::any_of(one->left, [&](Word w) { return ((w << one->from) & both) == (moved & both); });
        };
        if (known && std::ranges::all_of(found.parts, within) && std::ranges::all_of(before, is_left)) found.left.push_back(v);
    }
    return found;
}

// What a term comes to for each of them.
std::vector<Word> Facts::Bits::tried(const Terms &terms, TermId term) const {
    std::vector<Word> found;
    std::unordered_map<Word, Word> numbers;
    for (const Word number : left) {
        numbers[symbol] = number << from;
        found.push_back(terms.evaluated(Value{term, terms.node(term).bits, 0}, numbers));
    }
    return found;
}

std::optional<bool> Facts::by_bits(const Terms &terms, TermId condition) const {
    const auto bits = bits_in(terms, condition);
    if (!bits || bits->left.empty()) return std::nullopt;
    const std::vector<Word> all = bits->tried(terms, condition);
    const bool same = std::ranges::all_of(all, [&](Word one) { return one == all.front(); });
    return same ? std::optional(all.front() != 0) : std::nullopt;
}

void Facts::decide_bits(const Terms &terms, TermId condition, bool value) {
    auto bits = bits_in(terms, condition);
    if (!bits) return;
    const std::vector<Word> all = bits->tried(terms, condition);
    std::vector<Word> left;
    for (std::size_t i = 0; i < all.size(); ++i)
        if ((all[i] != 0) == value) left.push_back(bits->left[i]);
    bits->left = std::move(left);
    // Nothing decides like this.
    if (bits->left.empty()) return;
    for (const TermId part : bits->parts) {
        const Node &n = terms.node(part);
        const unsigned moved = (n.op == Op::slice ? n.from : 0U) - bits->from;
        const auto of = [&](Word number) { return number >> moved & mask_of(n.bits); };
        Word least = of(bits->left.front());
        Word most = least;
        for (const Word number : bits->left) {
            least = std::min(least, of(number));
            most = std::max(most, of(number));
        }
        narrow(terms, Value{part, n.bits, 0}, {least, most - least + 1});
    }
    std::erase_if(bits_, [&](const Bits &known) {
        return known.symbol == bits->symbol && bits->from <= known.from && known.end <= bits->end;
    });
    // Of one part in one piece its own limits have all.
    const auto only = bits->parts.size() == 1 ? intervals_.find(bits->parts.front()) : intervals_.end();
    if (only == intervals_.end() || only->second.size != bits->left.size()) bits_.push_back(std::move(*bits));
}

std::vector<Word> Facts::numbers(const Terms &terms, TermId term, std::size_t most) const {
    std::vector<Word> found;
    const Value whole{term, terms.node(term).bits, 0};
    if (const auto of = limits(terms, whole); of && of->size != 0 && of->size <= most) {
        for (Word i = 0; i < of->size; ++i) found.push_back((of->from + i) & mask_of(whole.bits));
        return found;
    }
    // What it is made of says more, perhaps.
    const Node &n = terms.node(term);
    const bool widens = n.op == Op::widen || n.op == Op::widen_signed;
    if (widens || (n.op == Op::sum && n.count == 1)) {
        found = numbers(terms, widens ? n.a.term : terms.addends(n).front().atom, most);
        for (Word &one : found) {
            if (!widens) one *= terms.addends(n).front().factor;
            if (widens) one = (one + n.a.constant) & mask_of(n.a.bits);
            if (n.op == Op::widen_signed) one = (one ^ sign_of(n.a.bits)) - sign_of(n.a.bits);
            one &= mask_of(n.bits);
        }
    } else if (const auto bits = bits_in(terms, term)) {
        found = bits->tried(terms, term);
    }
    std::ranges::sort(found);
    found.erase(std::ranges::unique(found).begin(), found.end());
    if (found.size() > most) found.clear();
    return found;
}

}  // namespace l1dflush::machine
