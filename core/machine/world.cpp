// SPDX-License-Identifier: GPL-2.0-or-later
#include "machine/world.hpp"

#include <algorithm>
#include <utility>

namespace l1dflush::machine {

namespace {

void collect(const Terms &terms, TermId term, std::vector<bool> &seen, std::vector<Word> &found) {
    std::vector<TermId> todo{term};
    while (!todo.empty()) {
        const TermId next = todo.back();
        todo.pop_back();
        if (next == 0 || seen[next]) continue;
        seen[next] = true;
        const Node &n = terms.node(next);
        if (n.op == Op::symbol) found.push_back(n.number);
        for (const Value &v : {n.a, n.b, n.c}) todo.push_back(v.term);
        for (const Addend &a : terms.addends(n)) todo.push_back(a.atom);
    }
}

}  // namespace

Value World::fresh(unsigned bits, const Origin &origin) {
    const Value v = terms.symbol(bits);
    origins.push_back(origin);
    return v;
}

std::optional<Base::Pointer> World::content_at(std::uint32_t which, std::int64_t start, unsigned bytes) {
    const std::int64_t end = start + bytes;
    {
        Base &asked = bases[which];
        if (!asked.known || start < 0 || static_cast<std::uint64_t>(end) > asked.size) return std::nullopt;
        // Further bases come to lie where this one is.
        if (std::exchange(asked.unread, false)) read_pointers(which);
    }
    const Base &base = bases[which];
    for (auto near = base.pointers.lower_bound(start - 7); near != base.pointers.end() && near->first < end; ++near) {
        const std::int64_t behind = near->first + near->second.bytes;
        if (near->first == start && near->second.bytes == bytes) return near->second;
        if (near->first <= start && end <= behind) {
            const auto skipped = static_cast<unsigned>(start - near->first) * 8;
            return Base::Pointer{static_cast<std::uint8_t>(bytes), terms.slice(near->second.value, skipped, bytes * 8)};
        }
        if (behind > start) return std::nullopt;  // a part of a pointer, and more
    }
    if (bytes > 8) return std::nullopt;
    Word content = 0;
    for (unsigned i = 0; i < bytes; ++i)
        if (const auto place = static_cast<std::uint64_t>(start) + i; place < base.content.size())
            content |= Word{base.content[place]} << (8 * i);
    return Base::Pointer{static_cast<std::uint8_t>(bytes), number(bytes * 8, content)};
}

std::int64_t World::border(TermId region, std::int64_t offset, std::int64_t end) {
    const auto found = base_at(region, offset);
    if (!found || !bases[found->first].known || !bases[found->first].writable) return end;
    if (std::exchange(bases[found->first].unread, false)) read_pointers(found->first);
    const std::vector<std::int64_t> &borders = bases[found->first].borders;
    const auto next = std::ranges::upper_bound(borders, found->second);
    return next == borders.end() ? end : std::min(end, offset + (*next - found->second));
}

std::uint32_t World::add(Base base) {
    const auto number = static_cast<std::uint32_t>(bases.size());
    bases_of[base.symbol.term].push_back(number);
    bases.push_back(std::move(base));
    return number;
}

std::optional<std::pair<std::uint32_t, std::int64_t>> World::base_at(TermId region, std::int64_t offset) const {
    const auto found = bases_of.find(region);
    if (found == bases_of.end()) return std::nullopt;
    const std::vector<std::uint32_t> &candidates = found->second;
    // One alone begins where its region does, and what lies outside of it is counted from there.
    const bool alone = region != 0 && candidates.size() == 1;
    for (const std::uint32_t number : candidates) {
        const Base &b = bases[number];
        const Word distance = (static_cast<Word>(offset) - b.symbol.constant) & mask_of(b.symbol.bits);
        if (alone || distance < b.size) return std::pair(number, offset_of({region, b.symbol.bits, distance}));
    }
    return std::nullopt;
}

const std::vector<Word> &World::symbols_in(TermId term) {
    const auto [place, is_new] = symbols_.try_emplace(term);
    if (is_new) {
        std::vector<bool> seen(terms.size() + 1);
        collect(terms, term, seen, place->second);
        std::sort(place->second.begin(), place->second.end());
    }
    return place->second;
}

bool World::is_wild(TermId term) {
    return std::ranges::any_of(symbols_in(term), [&](Word symbol) { return origins[symbol].wild; });
}

World::Pair &World::pair(TermId one, TermId other) {
    Pair &both = pairs_[(one * 31U + other) % pairs_.size()];
    if (both.looked_at && both.one == one && both.other == other) return both;
    both = {};
    both.one = one;
    both.other = other;
    both.looked_at = true;
    static const std::vector<Word> none;
    const std::vector<Word> &mine = one == 0 ? none : symbols_in(one);
    const std::vector<Word> &theirs = other == 0 ? none : symbols_in(other);
    const auto has = [](const std::vector<Word> &symbols, Word s) { return std::ranges::binary_search(symbols, s); };
    both.share = std::ranges::any_of(mine, [&](Word s) { return has(theirs, s); });
    const auto is_apart = [&](Word s) { return origins[s].apart; };
    both.wild = ((one != 0 && is_wild(one)) || (other != 0 && is_wild(other))) &&
                std::ranges::none_of(mine, is_apart) && std::ranges::none_of(theirs, is_apart);
    both.on_stack = has(mine, stack_symbol) || has(theirs, stack_symbol);
    return both;
}

const World::Pair::Apart &World::apart(TermId one, TermId other) {
    std::optional<Pair::Apart> &distance = pair(one, other).apart;
    if (!distance) {
        const std::uint8_t bits = bases.front().symbol.bits;
        const Known above = terms.known(terms.subtract(Value{one, bits, 0}, Value{other, bits, 0}));
        const Known below = terms.known(terms.subtract(Value{other, bits, 0}, Value{one, bits, 0}));
        if (above.most - above.least <= below.most - below.least)
            distance = Pair::Apart{WideSigned{above.least}, WideSigned{above.most - above.least}};
        else
            distance = Pair::Apart{-WideSigned{below.most}, WideSigned{below.most - below.least}};
    }
    return *distance;
}

std::optional<Base::Pointer> World::constant_at(Value at, unsigned bytes) {
    const auto found = base_at(at.term, offset_of(at));
    if (!found) return std::nullopt;
    return bases[found->first].writable ? std::nullopt : content_at(found->first, found->second, bytes);
}

}  // namespace l1dflush::machine
