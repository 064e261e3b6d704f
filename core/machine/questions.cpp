// SPDX-License-Identifier: GPL-2.0-or-later
// Which question a branch comes to, and what need not be asked.
#include <algorithm>
#include <utility>

#include "machine/machine.hpp"

namespace l1dflush::machine {

namespace {

constexpr std::int64_t page = 4096;
// Of two addresses that are compared by their distance.
constexpr std::int64_t most_distance = std::int64_t{1} << 30;

}  // namespace

// Loops that go down ask whether they are still above the beginning, those that go up to the last line whether they are
// below it: behind the last turn the pointer would have to go on at the other end of the address space. It does so only
// if memory that this path has accessed lies in the first page there is, or in the last one, and nobody's does.
std::optional<bool> Machine::at_an_end(State &s, Value question) {
    const Node n = world_.terms.node(question.term);
    if (n.op != Op::below || !n.b.known() || n.a.bits != bits_) return std::nullopt;
    std::optional<bool> answer;
    for (const bool holds : {false, true}) {
        Facts facts = s.facts;
        facts.decide(world_.terms, question, holds);
        const auto where = facts.limits(world_.terms, Value{n.a.term, n.a.bits, 0});
        if (!where || where->size == 0 || where->size > 2 * Word{page}) continue;
        put_behind(s);
        if (std::ranges::any_of(s.before, [&](const auto &events) { return lies_at_an_end(*events, n.a, *where); })) {
            if (answer) return std::nullopt;
            answer = !holds;
        }
    }
    return answer;
}

// Which of two addresses is the lower one, where the distance between them is within narrow limits, as from a pointer that
// was rounded to one that was not: that is whether the distance is above 0, if none of it lies around the end of the
// address space. Gives what has to be known before that, or the answer; none if it does lie there.
std::optional<Value> Machine::by_distance(State &s, Value question) {
    Terms &t = world_.terms;
    const Node n = t.node(question.term);
    if (n.op != Op::below || n.a.bits != bits_ || n.a.known() || n.b.known()) return std::nullopt;
    const Value distance = t.subtract(n.b, n.a);
    if (distance.known()) return std::nullopt;
    const auto within = [&](Value d) -> std::optional<std::pair<std::int64_t, std::int64_t>> {
        const auto limits = s.facts.limits(t, Value{d.term, d.bits, 0});
        if (!limits || limits->size == 0 || limits->size > most_distance) return std::nullopt;
        const std::int64_t from = offset_of({d.term, d.bits, (limits->from + d.constant) & mask_of(bits_)});
        return std::pair(from, from + static_cast<std::int64_t>(limits->size - 1));
    };
    // Of numbers around 0 it is the other way round that says it.
    auto limits = within(distance);
    if (!limits) {
        const auto back = within(t.negate(distance));
        if (!back) return std::nullopt;
        limits = {-back->second, -back->first};
    }
    const auto [least, most] = *limits;
    if (least < -most_distance || most > most_distance) return std::nullopt;
    // So many of the lowest bits are surely 0; more are not asked for.
    const auto even_bits = [&](Value address) {
        unsigned low = 0;
        while (low < 12 && t.slice(address, 0, low + 1) == number(low + 1, 0)) ++low;
        return low;
    };
    // That between the two the addresses do not begin anew is said of the lower one, or of the other.
    const auto is_apart = [&](Value lower, Value upper, std::int64_t near, std::int64_t far) -> std::optional<Value> {
        const Value reaches = t.complement(t.below(lower, number(bits_, negated(static_cast<Word>(far)) & mask_of(bits_))));
        const Value under = t.below(upper, number(bits_, static_cast<Word>(far)));
        for (const Value &wraps : {reaches, under}) {
            const auto known = s.facts.decided(t, wraps);
            if (known && !*known) return number(1, 1);
            if (known || wraps.term == 0) continue;
            if (const auto holds = at_an_end(s, Value{wraps.term, 1, 0}); holds && *holds == (wraps.constant != 0)) {
                kept_off_ends_ = true;
                return number(1, 1);
            }
        }
        if (!s.facts.decided(t, reaches)) return t.complement(reaches);
        // It reaches the end, and the other one lies behind it.
        if (s.facts.decided(t, under)) return number(1, 0);
        // It reaches that far at most; an address that is a multiple of some number may surely reach less far, too.
        const unsigned low = even_bits(lower);
        const Word from = (negated(static_cast<Word>(far)) + mask_of(low)) & ~mask_of(low) & mask_of(bits_);
        const Word surely = negated(static_cast<Word>(near)) & mask_of(bits_);
        if (near > 0 && from >= surely) return number(1, 0);
        // And one that would come so near to the end reaches it.
        if (near > 0 && far - near < std::int64_t{1} << even_bits(upper)) return number(1, 0);
        return t.complement(under);
    };
    if (most > 0) {
        const auto apart = is_apart(n.a, n.b, least, most);
        if (!apart) return std::nullopt;
        if (!apart->known()) return apart;
        if (apart->constant == 0) return number(1, 0);
    }
    if (least < 0) {
        const auto apart = is_apart(n.b, n.a, -most, -least);
        if (!apart) return std::nullopt;
        if (!apart->known()) return apart;
        if (apart->constant == 0) return number(1, 1);
    }
    if (least > 0 || most <= 0) return number(1, least > 0 ? 1 : 0);
    if (least == 0) return t.complement(t.equal(distance, number(bits_, 0)));
    return t.complement(t.below_signed(distance, number(bits_, 1)));
}

// Whether an access behind `base`, which is in the interval, is surely one in the first or last page.
bool Machine::lies_at_an_end(const Events &events, Value base, Interval where) const {
    // How far from the beginning of the last page; none may be further than this.
    const auto most = static_cast<WideSigned>(2 * Word{page} - where.size);
    const WideSigned around = WideSigned{1} << bits_;
    auto first = events.events().begin();
    for (const Events::Run &run : events.runs()) {
        const auto end = first + static_cast<std::ptrdiff_t>(run.period);
        for (; first != end; ++first) {
            if (first->bytes == 0 || first->region != base.term || !accesses_.contains(first->kind)) continue;
            const WideSigned from = static_cast<WideSigned>(where.from) + first->offset + page;
            const WideSigned last = static_cast<WideSigned>(run.count - 1) * first->step;
            const WideSigned lowest = from + std::min<WideSigned>(last, 0);
            // The first of its numbers that lies at or behind the beginning of a last page, for each that it reaches.
            const WideSigned step = first->step < 0 ? -WideSigned{first->step} : WideSigned{first->step};
            const WideSigned highest = from + std::max<WideSigned>(last, 0);
            WideSigned begin = (lowest / around) * around;
            while (begin > lowest - most) begin -= around;
            for (; begin <= highest; begin += around) {
                if (begin + most < lowest) continue;
                const WideSigned behind = std::max<WideSigned>(begin - lowest, 0);
                const WideSigned turns = step == 0 ? 0 : (behind + step - 1) / step;
                const WideSigned at = lowest + turns * step;
                if (at <= highest && at >= begin && at - begin <= most) return true;
            }
        }
    }
    return false;
}

// Whether memory there may be a table that nobody writes, at an index that may be few numbers: what a pointer leads to or
// what is written is none. A walk loads of that in each turn, so it is seen before anything is simplified. The stack may
// be one for as long as it is what it is now.
bool Machine::may_be_table(const State &s, Value place, bool now) {
    const Terms &t = world_.terms;
    const auto is_table = [&](std::uint32_t b) {
        return (world_.bases[b].known && !world_.bases[b].writable) || (now && b == stack_base);
    };
    // One of several tables, of which one may be it; in a linked file a table's place is a number.
    const auto chooses_a_table = [&](TermId atom) {
        const std::vector<Word> &symbols = world_.symbols_in(atom);
        for (std::uint32_t b = 0; b < world_.bases.size(); ++b) {
            const TermId begin = world_.bases[b].symbol.term;
            if (is_table(b) && (begin == 0 || std::ranges::binary_search(symbols, t.node(begin).number))) return true;
        }
        return false;
    };
    bool has_base = world_.base_at(0, offset_of({0, place.bits, place.constant})).has_value();
    const auto may_be_part = [&](TermId atom) {
        const Node &n = t.node(atom);
        if (const auto found = world_.bases_of.find(atom); found != world_.bases_of.end()) {
            has_base = true;
            return std::ranges::any_of(found->second, is_table);
        }
        if (const auto limits = s.facts.limits(t, Value{atom, n.bits, 0}); limits && limits->size != 0 && limits->size <= most_entries)
            return true;
        has_base = has_base || (n.conditional && chooses_a_table(atom));
        return n.op != Op::symbol;
    };
    if (place.term != 0) {
        const Node &n = t.node(place.term);
        const bool all = n.op == Op::sum ? std::ranges::all_of(t.addends(n), [&](const Addend &a) { return may_be_part(a.atom); })
                                         : may_be_part(place.term);
        if (!all) return false;
    }
    return has_base;
}

// One of several entries, by when it is that.
Value Machine::chosen(const std::vector<std::pair<Value, Base::Pointer>> &entries, Value (*of)(const Base::Pointer &)) {
    Value value = of(entries.front().second);
    for (auto entry = entries.rbegin(); entry + 1 != entries.rend(); ++entry)
        value = world_.terms.choose(entry->first, of(entry->second), value);
    return value;
}

// With what was loaded from tables that nobody writes, by an index of which few numbers are left, as a choice of their
// entries.
std::optional<Value> Machine::spelled_out(State &s, Value v) {
    if (v.term == 0) return std::nullopt;
    Terms &t = world_.terms;
    std::unordered_map<TermId, Value> known;
    for (const Word symbol : world_.symbols_in(v.term)) {
        const Origin origin = world_.origins[symbol];
        if (origin.kind != Origin::Kind::memory || origin.base == 0) continue;
        const auto entries = entries_of(s, origin);
        if (entries.empty()) continue;
        const TermId loaded = t.term_of(symbol);
        known[loaded] = chosen(entries, [](const Base::Pointer &p) { return p.value; });
        // A distance that a linker has put there fits, so it is the whole of it.
        if (std::ranges::any_of(entries, [](const auto &entry) { return entry.second.whole.bits == 0; })) continue;
        const Value narrow{loaded, static_cast<std::uint8_t>(origin.bytes * 8), 0};
        const Value wide = t.widen_signed(narrow, bits_);
        if (wide.constant == 0) known[wide.term] = chosen(entries, [](const Base::Pointer &p) { return p.whole; });
    }
    return known.empty() ? std::nullopt : std::optional(t.replaced(v, known));
}

// Where one entry of a table is left, that is what was loaded.
void Machine::settle_tables(State &s, Value v) {
    for (const Word symbol : world_.symbols_in(v.term)) {
        const Origin origin = world_.origins[symbol];
        if (origin.kind != Origin::Kind::memory || origin.base == 0) continue;
        const auto entries = entries_of(s, origin);
        if (entries.size() != 1 || !entries.front().second.value.known()) continue;
        const Value loaded{world_.terms.term_of(symbol), static_cast<std::uint8_t>(origin.bytes * 8), 0};
        s.facts.decide(world_.terms, world_.terms.equal(loaded, entries.front().second.value), true);
        s.has_numbers = true;
    }
}

// The entries of a table that may have been loaded, and when each was; none if that is not known.
std::vector<std::pair<Value, Base::Pointer>> Machine::entries_of(State &s, const Origin &origin) {
    const Value begin{origin.base, static_cast<std::uint8_t>(bits_), static_cast<Word>(origin.offset) & mask_of(bits_)};
    return entries_at(s, begin, origin.bytes, false);
}

// The entries that may be at `begin`; of what may be written (now) that is not known later.
std::vector<std::pair<Value, Base::Pointer>> Machine::entries_at(State &s, Value begin, unsigned bytes, bool now) {
    Terms &t = world_.terms;
    if (!may_be_table(s, begin, now)) return {};
    const Value place = begin.term != 0 && t.node(begin.term).conditional ? s.facts.simplified(t, begin) : begin;
    // What the place depends on: the narrowest that says it, with its numbers; or all of it, if its parts say less.
    struct Free {
        Value what;
        Word factor;
        std::vector<Word> numbers;
    };
    std::vector<Free> free;
    std::vector<Addend> atoms;
    if (place.term != 0) {
        const Node region = t.node(place.term);
        for (const Addend &a : t.addends(region)) atoms.push_back(a);
        if (region.op != Op::sum) atoms.push_back({place.term, 1});
    }
    Value index = number(bits_, 0);
    std::size_t count = 1;
    for (const Addend &a : atoms) {
        if (world_.bases_of.contains(a.atom) || (now && Memory::is_on_stack(world_, a.atom))) continue;
        index = t.add(index, t.scale(Value{a.atom, static_cast<std::uint8_t>(bits_), 0}, a.factor));
        auto numbers = s.facts.numbers(t, a.atom, most_entries);
        count = numbers.empty() ? 0 : std::min(count * numbers.size(), most_entries + 1);
        free.push_back({Value{a.atom, static_cast<std::uint8_t>(bits_), 0}, a.factor, std::move(numbers)});
    }
    if (count == 0 || count > most_entries) {
        index.constant = 0;
        free = {{index, 1, s.facts.numbers(t, index.term, most_entries)}};
        count = free.front().numbers.size();
    }
    if (free.empty() && place == begin) return {};
    const Value base = t.subtract(place, index);
    std::vector<std::pair<Value, Base::Pointer>> entries;
    for (std::size_t which = 0; which < count; ++which) {
        Value at = base;
        Value is_this = number(1, 1);
        std::size_t rest = which;
        for (const auto &[what, factor, all] : free) {
            const Value one = number(what.bits, all[rest % all.size()]);
            rest /= all.size();
            at = t.add(at, t.scale(one, factor));
            is_this = t.bit_and(is_this, t.equal(what, one));
        }
        auto entry = world_.constant_at(at, bytes);
        if (!entry && now)
            if (const auto held = s.memory.number_at(world_, at, bytes)) entry = {static_cast<std::uint8_t>(bytes), *held};
        if (!entry) return {};
        entries.emplace_back(is_this, *entry);
    }
    return entries;
}

// What is loaded: at an index of which few numbers are left what is there in the stack, and what all entries of a table
// have in common.
Value Machine::loaded(State &s, Value at, unsigned bytes) {
    if (at.term != 0 && world_.terms.node(at.term).op != Op::symbol) {
        const auto entries = entries_at(s, at, bytes, true);
        const auto is_number = [](const auto &entry) { return entry.second.value.known(); };
        const auto is_same = [&](const auto &entry) { return entry.second.value == entries.front().second.value; };
        if (!entries.empty() && std::ranges::all_of(entries, is_number)) {
            if (std::ranges::all_of(entries, is_same)) return entries.front().second.value;
            if (Memory::is_on_stack(world_, at.term)) return chosen(entries, [](const Base::Pointer &p) { return p.value; });
        }
    }
    return s.memory.load(world_, at, bytes);
}

// A condition that says which entry of a table that nobody writes was loaded, as a limited index does.
std::optional<Value> Machine::asked_of_index(State &s, Value v) {
    if (v.term == 0) return std::nullopt;
    for (const Word symbol : world_.symbols_in(v.term)) {
        const Origin &origin = world_.origins[symbol];
        if (origin.kind != Origin::Kind::memory || origin.base == 0) continue;
        if (!world_.terms.node(origin.base).conditional) continue;
        const Value begin{origin.base, static_cast<std::uint8_t>(bits_), static_cast<Word>(origin.offset) & mask_of(bits_)};
        if (!may_be_table(s, begin, false)) continue;
        const Value place = s.facts.simplified(world_.terms, begin);
        if (place.term == 0 || !world_.terms.node(place.term).conditional || !may_be_table(s, place, false)) continue;
        if (const auto inner = Facts::inner(world_.terms, place)) return inner;
    }
    return std::nullopt;
}

// Where a jump by a table goes: asks for the index, one number after the other. None if the state has gone on.
std::optional<Value> Machine::by_table(State &s, Value to, std::vector<State> &forks, const Bounds &bounds) {
    Terms &t = world_.terms;
    if (auto known = world_.distances; !known.empty()) to = t.replaced(to, known);
    if (to.term == 0 || world_.base_at(to.term, static_cast<std::int64_t>(to.constant))) return to;
    Value last;
    while (const auto inner = asked_of_index(s, to)) {
        if (*inner == last) break;
        last = *inner;
        const auto holds = decide(s, *inner, forks, bounds);
        if (!holds) return std::nullopt;
        s.facts.decide(t, *inner, *holds);
    }
    const auto table = spelled_out(s, to);
    if (!table) return to;
    Value where = *table;
    while (const auto inner = Facts::inner(t, where)) {
        const auto holds = decide(s, *inner, forks, bounds);
        if (!holds) return std::nullopt;
        s.facts.decide(t, *inner, *holds);
        const Value before = std::exchange(where, s.facts.simplified(t, where));
        if (where == before) return to;
    }
    return where;
}

}  // namespace l1dflush::machine
