// SPDX-License-Identifier: GPL-2.0-or-later
#include "machine/facts.hpp"

#include <algorithm>

namespace l1dflush::machine {

namespace {

// Whether all of `inside` lies in `outside`, or none of it.
std::optional<bool> compared(Interval inside, Interval outside, Word mask) {
    // Seen from the beginning of `outside`.
    const Word start = (inside.from - outside.from) & mask;
    const Word last = start + (inside.size - 1);
    const bool wraps = last < start || last > mask;
    if (!wraps && last < outside.size) return true;
    if (!wraps && start >= outside.size) return false;
    return std::nullopt;
}

}  // namespace

Value Facts::simplified(Terms &terms, Value v) {
    if (put_in_.empty() || v.term == 0) return v;
    return terms.replaced(v, put_in_);
}

// What is decided of an operand says something of the whole.
std::optional<Interval> Facts::limits_of_operand(const Terms &terms, TermId term) const {
    const Node &n = terms.node(term);
    const bool widens = n.op == Op::widen || n.op == Op::widen_signed;
    if (intervals_.empty() || (!widens && n.op != Op::slice)) return std::nullopt;
    if (n.a.term == 0 || !intervals_.contains(n.a.term)) return std::nullopt;
    const auto of = limits(terms, n.a);
    if (!of || of->size == 0) return std::nullopt;
    const Word last = (of->from + (of->size - 1)) & mask_of(n.a.bits);
    if (n.op == Op::widen_signed) {
        // Without the border between the largest and the smallest number in it.
        const Word sign = sign_of(n.a.bits);
        if ((of->from ^ sign) > (last ^ sign)) return std::nullopt;
        return Interval{((of->from ^ sign) - sign) & mask_of(n.bits), of->size};
    }
    if (of->from > last) return std::nullopt;
    if (n.op == Op::widen) return of;
    const Word first = of->from >> n.from;
    const Word size = (last >> n.from) - first + 1;
    if ((first & ~mask_of(n.bits)) != ((last >> n.from) & ~mask_of(n.bits))) return std::nullopt;
    return Interval{first & mask_of(n.bits), size};
}

std::optional<Interval> Facts::limits(const Terms &terms, Value x) const {
    const Word mask = mask_of(x.bits);
    if (x.known()) return Interval{x.constant, 1};
    const auto found = intervals_.find(x.term);
    if (found != intervals_.end()) return Interval{(found->second.from + x.constant) & mask, found->second.size};
    if (const auto of_operand = limits_of_operand(terms, x.term); of_operand)
        return Interval{(of_operand->from + x.constant) & mask, of_operand->size};
    const Known k = terms.known(x);
    if (k.least == 0 && k.most == mask) return std::nullopt;
    return Interval{k.least, k.most - k.least + 1};
}

std::optional<bool> Facts::by_limits(const Terms &terms, const Node &n) const {
    const Word mask = mask_of(n.a.bits);
    const auto left = limits(terms, n.a);
    if (!left) return std::nullopt;
    if (n.op == Op::equal_zero) return compared(*left, {0, 1}, mask);
    const auto right = limits(terms, n.b);
    if (!right) return std::nullopt;
    if (n.b.known()) return n.b.constant == 0 ? std::optional(false) : compared(*left, {0, n.b.constant}, mask);
    const Word left_last = left->from + (left->size - 1);
    const Word right_last = right->from + (right->size - 1);
    if (left_last < left->from || left_last > mask || right_last < right->from || right_last > mask) return std::nullopt;
    if (left_last < right->from) return true;
    if (left->from >= right_last) return false;
    return std::nullopt;
}

std::optional<bool> Facts::decided(Terms &terms, Value condition) {
    if (condition.known()) return condition.constant != 0;
    const Node &n = terms.node(condition.term);
    std::optional<bool> holds;
    if (const auto found = conditions_.find(condition.term); found != conditions_.end()) {
        holds = found->second;
    } else if (n.op == Op::equal_zero || n.op == Op::below) {
        holds = by_limits(terms, n);
    }
    if (!holds) return std::nullopt;
    return *holds != (condition.constant != 0);
}

// Tells how many numbers of what is kept are excluded all the same.
Word Facts::narrow(const Terms &terms, Value x, Interval to) {
    if (x.term == 0) return 0;
    const Word mask = mask_of(x.bits);
    to.from = (to.from - x.constant) & mask;
    // Of multiples of some number only these.
    if (const Word low = mask_of(terms.node(x.term).known.trailing_zeros()); low != 0 && to.size != 0) {
        const Word skipped = negated(to.from) & low;
        if (skipped < to.size) to = {(to.from + skipped) & mask, ((to.size - skipped - 1) & ~low) + 1};
    }
    const auto held = limits(terms, Value{x.term, x.bits, 0});
    Interval &kept = intervals_[x.term];
    if (!held) {
        kept = to;
        return 0;
    }
    // Both as they are seen from the beginning of the one that was there.
    const Word start = (to.from - held->from) & mask;
    const Word last = start + (to.size - 1);
    const bool wraps = last < start || last > mask;
    kept = *held;
    if (!wraps) {
        if (start >= held->size) return held->size;
        kept = {to.from, std::min(to.size, held->size - start)};
        return 0;
    }
    if (start >= held->size) {
        // Its end goes on at the beginning.
        kept = {held->from, std::min(held->size, (last & mask) + 1)};
        return 0;
    }
    // It lies at both ends: what was there holds all of it, and so does what is new. The smaller one is kept.
    if (to.size >= held->size) return mask - to.size + 1;
    kept = to;
    return mask - held->size + 1;
}

// What is known of a term says in which numbers that is which it is a part of, as that its sign is 0; and what was widened.
void Facts::narrow_operand(Terms &terms, TermId term) {
    if (term == 0) return;
    const Node n = terms.node(term);
    const auto of = limits(terms, Value{term, n.bits, 0});
    if (!of || of->size == 0) return;
    if (n.op == Op::slice && n.from != 0) {
        const Value whole = terms.slice(n.a, 0, n.from + n.bits);
        if (whole.term == 0) return;
        narrow(terms, whole, {(of->from << n.from) & mask_of(whole.bits), of->size << n.from});
        narrow_operand(terms, whole.term);
    }
    if (n.op == Op::sum && n.count == 1) {
        const Addend only = terms.addends(n).front();
        const auto moved = static_cast<unsigned>(std::countr_zero(only.factor));
        if (!std::has_single_bit(only.factor) || moved == 0 || (of->from & mask_of(moved)) != 0) return;
        const Value left = terms.slice(Value{only.atom, n.bits, 0}, 0, n.bits - moved);
        narrow(terms, left, {of->from >> moved, ((of->size - 1) >> moved) + 1});
        narrow_operand(terms, left.term);
        return;
    }
    if ((n.op == Op::widen || n.op == Op::widen_signed) && n.a.bits < n.bits) {
        // Seen from the smallest number that it can be.
        const Word least = n.op == Op::widen ? 0 : sign_of(n.a.bits);
        const Word numbers = mask_of(n.a.bits) + 1;
        Word start = (of->from + least) & mask_of(n.bits);
        Word last = (start + (of->size - 1)) & mask_of(n.bits);
        if (start > last) {
            if (start < numbers) return;
            start = 0;
        }
        if (start >= numbers) return;
        last = std::min(last, numbers - 1);
        if (last - start == numbers - 1) return;
        narrow(terms, n.a, {(start - least) & mask_of(n.a.bits), last - start + 1});
        narrow_operand(terms, n.a.term);
    }
}

// The part of a symbol that a term is; none if it is no such part, or something is said of bits of it in another way.
Facts::Part *Facts::part_of(const Terms &terms, TermId term) {
    if (term == 0) return nullptr;
    const Node &n = terms.node(term);
    const bool slice = n.op == Op::slice && n.a.constant == 0;
    const Node &whole = slice ? terms.node(n.a.term) : n;
    const Known &k = whole.known;
    if (whole.op != Op::symbol || (k.zeros | k.ones | k.least) != 0 || k.most != mask_of(whole.bits)) return nullptr;
    const Part made{whole.number, slice ? n.from : 0U, n.bits, term, 0};
    for (Part &p : parts_) {
        if (p.term == term) return &p;
        if (p.symbol == made.symbol && p.from < made.from + made.bits && made.from < p.from + p.bits) return nullptr;
    }
    return &parts_.emplace_back(made);
}

bool Facts::surely_possible(const Terms &terms) const {
    if (!by_parts_) return false;
    return std::ranges::all_of(parts_, [&](const Part &p) {
        if (p.excluded == 0) return true;
        const auto found = intervals_.find(p.term);
        const Word size = found != intervals_.end() ? found->second.size : 0;
        return (size != 0 ? size - 1 : mask_of(terms.node(p.term).bits)) >= p.excluded;
    });
}

void Facts::decide(Terms &terms, Value condition, bool holds) {
    if (condition.term == 0) return;
    const bool value = holds != (condition.constant != 0);
    const bool follows = decided(terms, condition).has_value();
    conditions_[condition.term] = value;
    const Node n = terms.node(condition.term);
    const Word mask = mask_of(n.a.bits);
    std::optional<std::pair<TermId, Value>> same;
    std::optional<Interval> to;
    bool parts = false;
    if (n.op == Op::equal_zero) {
        if (value) same = {n.a.term, number(n.a.bits, negated(n.a.constant))};
        to = value ? Interval{0, 1} : Interval{1, mask};
    } else if (n.op == Op::below && n.b.known()) {
        to = value ? Interval{0, n.b.constant} : Interval{n.b.constant, (mask - n.b.constant) + 1};
    } else if (n.op == Op::bit_and && n.bits == 1 && value) {
        decide(terms, n.a, true);
        decide(terms, n.b, true);
        parts = true;
    } else {
        parts = n.bits == 1 && part_of(terms, condition.term) != nullptr;
    }
    if (n.bits == 1 && n.op == Op::slice) {
        narrow(terms, Value{condition.term, 1, 0}, {value ? 1U : 0U, 1});
        narrow_operand(terms, condition.term);
    }
    if (to) {
        const Word excluded = narrow(terms, n.a, *to);
        narrow_operand(terms, n.a.term);
        Part *const part = follows ? nullptr : part_of(terms, n.a.term);
        if (part != nullptr && !__builtin_add_overflow(part->excluded, excluded, &part->excluded)) parts = true;
    }
    by_parts_ = by_parts_ && (parts || follows);
    decide_few(terms, condition.term, value);
    // What was put in before may come to more now.
    std::unordered_map<TermId, Value> fresh;
    for (const auto &[term, decision] : conditions_) fresh[term] = number(1, decision);
    for (const auto &[term, limits] : intervals_)
        if (limits.size == 1) fresh[term] = number(terms.node(term).bits, limits.from);
    if (same && terms.node(same->first).op != Op::sum) fresh[same->first] = same->second;
    put_in_ = std::move(fresh);
}

std::optional<Value> Facts::inner(const Terms &terms, Value condition) {
    if (condition.term == 0) return std::nullopt;
    std::vector<TermId> todo;
    const auto look_into = [&](TermId term) {
        const Node &n = terms.node(term);
        for (const Value &v : {n.a, n.b, n.c})
            if (v.term != 0 && terms.node(v.term).conditional) todo.push_back(v.term);
        for (const Addend &a : terms.addends(n))
            if (terms.node(a.atom).conditional) todo.push_back(a.atom);
    };
    look_into(condition.term);
    while (!todo.empty()) {
        const TermId next = todo.back();
        todo.pop_back();
        const Node &n = terms.node(next);
        if (n.bits == 1 && n.op != Op::sum && n.op != Op::bit_and) return Value{next, 1, 0};
        look_into(next);
    }
    return std::nullopt;
}

}  // namespace l1dflush::machine
