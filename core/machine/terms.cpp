// SPDX-License-Identifier: GPL-2.0-or-later
// The store itself: each term once; sums.
#include "machine/terms.hpp"

#include <algorithm>

namespace l1dflush::machine {

namespace {

std::uint64_t mixed(std::uint64_t h, std::uint64_t x) {
    h ^= x + 0x9E3779B97F4A7C15U + (h << 6) + (h >> 2);
    h *= 0xBF58476D1CE4E5B9U;
    return h ^ (h >> 29);
}

std::uint64_t hash_of(const Value &v, std::uint64_t h) {
    return mixed(mixed(h, (std::uint64_t{v.term} << 8) | v.bits), v.constant);
}

std::uint64_t hash_of(const Node &n, std::span<const Addend> addends) {
    std::uint64_t h = (std::uint64_t{static_cast<std::uint8_t>(n.op)} << 16) | (std::uint64_t{n.bits} << 8) | n.from;
    h = hash_of(n.c, hash_of(n.b, hash_of(n.a, mixed(h, n.number))));
    for (const Addend &a : addends) h = mixed(h, (std::uint64_t{a.atom} << 32) + a.factor * 0x9E3779B97F4A7C15U);
    return h;
}

}  // namespace

Terms::Terms() : table_(1024) { nodes_.push_back({}); }

Value Terms::symbol(unsigned bits, Word alignment, Word least, Word most) {
    Node node;
    node.op = Op::symbol;
    node.bits = static_cast<std::uint8_t>(bits);
    node.number = terms_of_symbols_.size() + 1;
    node.known = Known::nothing(bits);
    node.known.zeros = (alignment - 1) & mask_of(bits);
    node.known.least = least;
    node.known.most = std::min(most, mask_of(bits));
    node.known = node.known.sharpened(bits);
    terms_of_symbols_.push_back(kept(node, {}));
    return Value{terms_of_symbols_.back(), node.bits, 0};
}

Known Terms::known(Value v) const {
    if (v.known()) return Known::all(v.bits, v.constant);
    const Known &k = nodes_[v.term].known;
    return v.constant == 0 ? k : added(k, Known::all(v.bits, v.constant), v.bits);
}

bool Terms::same(const Node &x, const Node &y, std::span<const Addend> addends) const {
    return x.op == y.op && x.bits == y.bits && x.from == y.from && x.number == y.number && x.a == y.a && x.b == y.b &&
           x.c == y.c && x.count == addends.size() &&
           std::equal(addends.begin(), addends.end(), addends_.begin() + x.first);
}

TermId Terms::kept(Node node, std::span<const Addend> addends) {
    const auto hash = static_cast<std::uint32_t>(hash_of(node, addends));
    std::size_t place = hash & (table_.size() - 1);
    while (table_[place].id != 0) {
        const Entry &one = table_[place];
        if (one.hash == hash && same(nodes_[one.id], node, addends)) return one.id;
        place = (place + 1) & (table_.size() - 1);
    }
    if (nodes_.size() > most_terms) throw TooManyTerms();
    const auto id = static_cast<TermId>(nodes_.size());
    if (node.op != Op::symbol) node.known = known_of(node, addends);
    node.conditional = node.op == Op::equal_zero || node.op == Op::below || (node.op == Op::slice && node.bits == 1);
    unsigned depth = 0;
    const auto has = [&](TermId operand) {
        if (operand == 0) return;
        node.conditional |= nodes_[operand].conditional;
        depth = std::max(depth, nodes_[operand].depth + 1U);
    };
    for (const Value &v : {node.a, node.b, node.c}) has(v.term);
    for (const Addend &a : addends) has(a.atom);
    node.depth = static_cast<std::uint8_t>(std::min(depth, 255U));
    node.first = static_cast<std::uint32_t>(addends_.size());
    node.count = static_cast<std::uint32_t>(addends.size());
    addends_.insert(addends_.end(), addends.begin(), addends.end());
    nodes_.push_back(node);
    table_[place] = {id, hash};
    if (nodes_.size() * 2 > table_.size()) grow();
    return id;
}

void Terms::grow() {
    std::vector<Entry> larger(table_.size() * 4);
    for (const Entry &one : table_) {
        if (one.id == 0) continue;
        std::size_t place = one.hash & (larger.size() - 1);
        while (larger[place].id != 0) place = (place + 1) & (larger.size() - 1);
        larger[place] = one;
    }
    table_ = std::move(larger);
}

Value Terms::atom(Op op, unsigned bits, Value a, Value b, Value c, unsigned from) {
    Node node;
    node.op = op;
    node.bits = static_cast<std::uint8_t>(bits);
    node.from = static_cast<std::uint8_t>(from);
    node.a = a;
    node.b = b;
    node.c = c;
    const TermId id = kept(node, {});
    const Known k = nodes_[id].known;
    // All its bits may be known for all that.
    if ((k.zeros | k.ones) == mask_of(bits)) return number(bits, k.ones);
    return Value{id, node.bits, 0};
}

// --- sums ------------------------------------------------------------------------------------------------------------

void Terms::append(std::vector<Addend> &to, Value v, Word factor) const {
    if (v.term == 0) return;
    const Node &n = nodes_[v.term];
    if (n.op != Op::sum) {
        to.push_back({v.term, factor});
        return;
    }
    for (const Addend &a : addends(n)) to.push_back({a.atom, a.factor * factor});
}

// `addends` in any order, with repeats: the value of the normal form.
Value Terms::of_addends(std::vector<Addend> &addends, unsigned bits, Word constant) {
    const Word mask = mask_of(bits);
    for (bool again = true; again;) {
        std::sort(addends.begin(), addends.end(), [](const Addend &x, const Addend &y) { return x.atom < y.atom; });
        std::size_t out = 0;
        for (std::size_t i = 0; i < addends.size();) {
            Addend total{addends[i].atom, 0};
            for (; i < addends.size() && addends[i].atom == total.atom; ++i) total.factor += addends[i].factor;
            total.factor &= mask;
            // What is shifted out at the top is nothing.
            if (total.factor != 0 && nodes_[total.atom].known.trailing_zeros() +
                                             static_cast<unsigned>(std::countr_zero(total.factor)) < bits)
                addends[out++] = total;
        }
        addends.resize(out);
        again = join_slices(addends, bits, constant) || join_quotients(addends, bits);
    }
    constant &= mask;
    if (addends.empty()) return number(bits, constant);
    if (addends.size() == 1 && addends[0].factor == 1)
        return Value{addends[0].atom, static_cast<std::uint8_t>(bits), constant};
    if (addends.size() > most_addends) {
        std::vector<Addend> rest(addends.begin() + most_addends / 2, addends.end());
        addends.resize(most_addends / 2);
        const Value part = of_addends(addends, bits, 0);
        rest.push_back({atom(Op::group, bits, part).term, 1});
        return of_addends(rest, bits, constant);
    }
    Node node;
    node.op = Op::sum;
    node.bits = static_cast<std::uint8_t>(bits);
    const std::size_t before = nodes_.size();
    const TermId id = kept(node, addends);
    if (nodes_.size() > before) {
        if (const auto r = rounded(Value{id, node.bits, 0})) {
            const Word low = mask_of(r->low);
            Known &k = nodes_[id].known;
            k.zeros |= ~r->rest & low;
            k.ones |= r->rest & low;
            k = k.sharpened(bits);
        }
    }
    return Value{id, node.bits, constant};
}

Value Terms::add(Value x, Value y) {
    const Word constant = (x.constant + y.constant) & mask_of(x.bits);
    if (y.term == 0) return Value{x.term, x.bits, constant};
    if (x.term == 0) return Value{y.term, x.bits, constant};
    std::vector<Addend> all;
    append(all, x, 1);
    append(all, y, 1);
    return of_addends(all, x.bits, constant);
}

Value Terms::scale(Value x, Word factor) {
    const Word constant = (x.constant * factor) & mask_of(x.bits);
    if (x.term == 0 || (factor & mask_of(x.bits)) == 0) return number(x.bits, constant);
    if ((factor & mask_of(x.bits)) == 1) return x;
    std::vector<Addend> all;
    append(all, x, factor);
    return of_addends(all, x.bits, constant);
}

Value Terms::complement(Value x) { return add(negate(x), number(x.bits, ~Word{0})); }

// The slice that an atom is, zero-extended or as it is; or none.
TermId Terms::slice_in(TermId atom) const {
    const Node &n = nodes_[atom];
    if (n.op == Op::slice) return atom;
    return n.op == Op::widen && n.a.constant == 0 && nodes_[n.a.term].op == Op::slice ? n.a.term : 0;
}

// Slices of the same that lie side by side become one, and the top of a value shifted to where it was becomes the
// value without its lower bits. Tells whether there was something to do.
bool Terms::join_slices(std::vector<Addend> &addends, unsigned bits, Word &constant) {
    const auto take = [&](Value v, Word factor) {
        append(addends, v, factor);
        constant += v.constant * factor;
    };
    for (std::size_t i = 0; i < addends.size(); ++i) {
        const TermId one = slice_in(addends[i].atom);
        if (one == 0) continue;
        const Node low = nodes_[one];
        const Word factor = addends[i].factor;
        if (low.a.bits == bits && low.from + low.bits == bits && low.from != 0 && (factor & mask_of(low.from)) == 0) {
            // 2^from * top = x - rest
            addends.erase(addends.begin() + static_cast<std::ptrdiff_t>(i));
            take(low.a, factor >> low.from);
            take(widen(slice(low.a, 0, low.from), bits), negated(factor >> low.from));
            return true;
        }
        const Word next = (factor << low.bits) & mask_of(bits);
        for (std::size_t j = 0; j < addends.size(); ++j) {
            if (addends[j].factor != next || i == j) continue;
            const TermId other = slice_in(addends[j].atom);
            if (other == 0) continue;
            const Node high = nodes_[other];
            const unsigned both = low.bits + high.bits;
            if (high.from != low.from + low.bits || both > bits) continue;
            if (slice(high.a, low.from, low.bits) != Value{one, low.bits, 0}) continue;
            addends.erase(addends.begin() + static_cast<std::ptrdiff_t>(std::max(i, j)));
            addends.erase(addends.begin() + static_cast<std::ptrdiff_t>(std::min(i, j)));
            take(widen(slice(high.a, low.from, both), bits), factor);
            return true;
        }
    }
    return false;
}

// x - d * (x / d) becomes the remainder.
bool Terms::join_quotients(std::vector<Addend> &addends, unsigned bits) {
    for (std::size_t i = 0; i < addends.size(); ++i) {
        const Node part = nodes_[addends[i].atom];
        const bool wide = part.op == Op::widen && part.a.constant == 0;
        const Node n = wide ? nodes_[part.a.term] : part;
        if (n.op != Op::divide || !n.b.known() || n.a.constant != 0 || n.a.term == 0) continue;
        const Value whole = wide ? widen(n.a, bits) : n.a;
        if (whole.constant != 0 || nodes_[whole.term].op == Op::sum) continue;
        for (std::size_t j = 0; j < addends.size(); ++j) {
            if (addends[j].atom != whole.term) continue;
            const Word factor = addends[j].factor;
            if (addends[i].factor != (negated(factor * n.b.constant) & mask_of(bits))) continue;
            const Value rest = divide(Op::remainder, n.a, n.b);
            addends.erase(addends.begin() + static_cast<std::ptrdiff_t>(std::max(i, j)));
            addends.erase(addends.begin() + static_cast<std::ptrdiff_t>(std::min(i, j)));
            append(addends, wide ? widen(rest, bits) : rest, factor);
            return true;
        }
    }
    return false;
}

// Whether `v` is something without its lower bits, plus a constant: v = x - x mod 2^low + rest. That is what
// rounding down and up come to.
std::optional<Terms::Rounded> Terms::rounded(Value v) {
    if (v.term == 0 || nodes_[v.term].op != Op::sum) return std::nullopt;
    const Node n = nodes_[v.term];
    Value bottom;
    for (std::uint32_t i = 0; i < n.count; ++i) {
        const Addend a = addends_[n.first + i];
        const Node part = nodes_[a.atom];
        if (part.op != Op::widen || a.factor != mask_of(n.bits)) continue;
        // Then the lower bits of v are known. Only then x is made: each sum that is made is looked at like this.
        if (bottom.bits != part.a.bits) bottom = slice_low(Value{v.term, v.bits, 0}, part.a.bits);
        if (!bottom.known()) continue;
        const Value x = add(Value{v.term, v.bits, 0}, Value{a.atom, n.bits, 0});
        const Value more = negate(bottom);
        return Rounded{part.a.bits, add(x, number(n.bits, more.constant)), (v.constant - more.constant) & mask_of(n.bits)};
    }
    return std::nullopt;
}

}  // namespace l1dflush::machine
