// SPDX-License-Identifier: GPL-2.0-or-later
#include "machine/memory.hpp"

#include <algorithm>
#include <utility>

namespace l1dflush::machine {

namespace {

// A store that may reach fewer bytes of another region than this forgets only those.
constexpr Word most_reach = Word{1} << 32;
// Before all offsets that there are.
constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();

}  // namespace

Memory::Region &Memory::changed(World &world, TermId region, bool in_file) {
    std::shared_ptr<Region> &place = regions_[region];
    if (place && place.use_count() > 1) place = std::make_shared<Region>(*place);
    if (place) {
        place->in_file |= in_file;
        return *place;
    }
    const auto made = std::make_shared<Region>();
    made->forgotten = all_forgotten_;
    made->in_file = in_file || region == 0;
    place = made;
    // What was stored before anybody looked here may have come to be here.
    for (const auto &[other, held] : regions_)
        if (other != region && held->low < held->high && may_overlap(world, other, region))
            lose(world, *made, region, other, held->low, held->high);
    return *made;
}

// Takes out what lies from `from` to `to`; what sticks out of it stays.
void Memory::cut(World &world, Region &region, std::int64_t from, std::int64_t to) {
    auto at = region.pieces.lower_bound(from);
    if (at != region.pieces.begin()) {
        const auto before = std::prev(at);
        if (before->first + before->second.bytes() > from) at = before;
    }
    while (at != region.pieces.end() && at->first < to) {
        const std::int64_t start = at->first;
        const std::int64_t end = start + at->second.bytes();
        const Value value = at->second.value;
        at = region.pieces.erase(at);
        if (start < from)
            region.pieces[start] = {world.terms.slice(value, 0, static_cast<unsigned>(from - start) * 8)};
        if (end > to)
            region.pieces[to] = {world.terms.slice(value, static_cast<unsigned>(to - start) * 8,
                                                   static_cast<unsigned>(end - to) * 8)};
    }
}

bool Memory::is_forgotten(const Region &held, std::int64_t offset, unsigned bytes) {
    if (held.forgotten) return true;
    const auto behind = held.lost.lower_bound(offset + static_cast<std::int64_t>(bytes));
    return behind != held.lost.begin() && std::prev(behind)->second > offset;
}

// What the file has there: read-only memory, or writable memory that was given something else than zeros.
std::optional<Value> Memory::initial(World &world, const Region &held, TermId region, std::int64_t offset,
                                     unsigned bytes) {
    const auto found = world.base_at(region, offset);
    if (!found) return std::nullopt;
    const auto [which, start] = *found;
    const bool writable = world.bases[which].writable;
    // A store to what is read-only would fault.
    if (writable && is_forgotten(held, offset, bytes)) return std::nullopt;
    const auto content = world.content_at(which, start, bytes);
    if (content && content->whole.bits != 0) {
        const Value wide = world.terms.widen_signed(content->value, content->whole.bits);
        if (wide.constant == 0) world.distances.emplace(wide.term, content->whole);
    }
    if (!content || !writable) return content ? std::optional(content->value) : std::nullopt;
    const bool is_pointer = content->value.term != 0 || world.bases[which].pointers.contains(start);
    if (!is_pointer && content->value == number(bytes * 8, 0)) return std::nullopt;
    world.held[{which, start}] = true;
    return content->value;
}

Value Memory::load(World &world, Value address, unsigned bytes) {
    const TermId region = address.term;
    const std::int64_t offset = offset_of(address);
    {
        const auto found = regions_.find(region);
        if (found != regions_.end()) {
            const auto piece = found->second->pieces.find(offset);
            if (piece != found->second->pieces.end() && piece->second.bytes() == bytes) return piece->second.value;
        }
    }
    Region &held = changed(world, region, is_in_file(world, region, offset));
    Value total = number(bytes * 8, 0);
    const std::int64_t end = offset + bytes;
    for (std::int64_t at = offset; at < end;) {
        auto next = held.pieces.upper_bound(at);
        std::int64_t until = next == held.pieces.end() ? end : std::min(end, next->first);
        Value part;
        if (next != held.pieces.begin() && std::prev(next)->first + std::prev(next)->second.bytes() > at) {
            const auto &[start, piece] = *std::prev(next);
            until = std::min(end, start + static_cast<std::int64_t>(piece.bytes()));
            part = world.terms.slice(piece.value, static_cast<unsigned>(at - start) * 8,
                                     static_cast<unsigned>(until - at) * 8);
        } else {
            // Whether a variable still holds what it held at first is asked for each of them.
            until = world.border(region, at, until);
            const auto size = static_cast<unsigned>(until - at);
            if (const auto content = initial(world, held, region, at, size)) {
                part = *content;
            } else {
                Origin origin;
                origin.kind = Origin::Kind::memory;
                origin.base = region;
                origin.offset = at;
                origin.bytes = size;
                origin.wild = is_forgotten(held, at, size) || (region != 0 && world.is_wild(region));
                part = world.fresh(size * 8, origin);
                held.pieces[at] = {part};
            }
        }
        const auto shift = static_cast<unsigned>(at - offset) * 8;
        total = world.terms.add(total, world.terms.scale(world.terms.widen(part, bytes * 8), Word{1} << shift));
        at = until;
    }
    return total;
}

std::optional<Value> Memory::number_at(World &world, Value address, unsigned bytes) const {
    const auto region = regions_.find(address.term);
    if (region == regions_.end()) return std::nullopt;
    const std::int64_t offset = offset_of(address);
    const auto behind = region->second->pieces.upper_bound(offset);
    if (behind == region->second->pieces.begin()) return std::nullopt;
    const auto &[start, piece] = *std::prev(behind);
    if (start + static_cast<std::int64_t>(piece.bytes()) < offset + static_cast<std::int64_t>(bytes)) return std::nullopt;
    const Value v = world.terms.slice(piece.value, static_cast<unsigned>(offset - start) * 8, bytes * 8);
    return v.known() ? std::optional(v) : std::nullopt;
}

void Memory::store(World &world, Value address, Value value) {
    const std::int64_t offset = offset_of(address);
    if (is_on_stack(world, value.term) && !is_on_stack(world, address.term)) escape(world, value);
    const unsigned bytes = value.bits / 8U;
    // What was saved there is no longer.
    unsave(world, address.term, offset, offset + bytes);
    // An index is added to where something is saved.
    if (!saved_.empty() && (saved_.begin()->first.first != address.term || saved_.rbegin()->first.first != address.term))
        unsave_run(world, address);
    Region &held = changed(world, address.term, is_in_file(world, address.term, offset));
    forget_overlapping(world, address.term, offset, bytes);
    held.low = std::min(held.low, offset);
    held.high = std::max(held.high, offset + static_cast<std::int64_t>(bytes));
    const auto same = held.pieces.find(offset);
    if (same != held.pieces.end() && same->second.bytes() == bytes) {
        same->second.value = value;
        return;
    }
    cut(world, held, offset, offset + bytes);
    held.pieces[offset] = {value};
}

void Memory::forget(World &world, TermId region, std::int64_t offset, std::uint64_t bytes) {
    lose(world, changed(world, region), region, region, offset, offset + static_cast<std::int64_t>(bytes));
}

bool Memory::is_on_stack(World &world, TermId term) {
    return term != 0 && std::ranges::binary_search(world.symbols_in(term), stack_symbol);
}

void Memory::escape(World &world, Value pointer) {
    if (!is_on_stack(world, pointer.term)) return;
    stack_escaped_ = true;
    unsave_run(world, pointer);
}

void Memory::unwind(Value top) {
    saved_.erase(saved_.lower_bound({top.term, lowest}), saved_.lower_bound({top.term, offset_of(top)}));
    if (saved_.empty() || saved_.begin()->first.first == saved_.rbegin()->first.first) return;
    // The stack pointer is back from where it had been aligned or moved by what nobody knows.
    std::uint64_t last = 0;
    for (const auto &[place, saved] : saved_)
        if (place.first == top.term) last = std::max(last, saved.number);
    if (last == 0) return;
    std::erase_if(saved_, [&](const auto &one) { return one.first.first != top.term && one.second.number > last; });
}

void Memory::leave_stack(World &world, Value top) {
    unwind(top);
    for (auto &[region, held] : regions_) {
        const bool on_stack = is_on_stack(world, region);
        held = std::make_shared<Region>(*held);
        if (on_stack && region != top.term) forget_all(world, *held, region, {});
        std::vector<std::pair<std::int64_t, std::int64_t>> pointers;
        for (const auto &[offset, piece] : held->pieces)
            if (is_on_stack(world, piece.value.term)) pointers.emplace_back(offset, offset + piece.bytes());
        stack_escaped_ |= !pointers.empty();
        for (const auto &[from, to] : pointers) cut_and_lose(world, *held, region, from, to);
        if (region == top.term) cut_and_lose(world, *held, region, lowest, offset_of(top));
    }
}

// What was saved in these bytes is no longer.
void Memory::unsave(const World &world, TermId region, std::int64_t from, std::int64_t to) {
    const std::int64_t word = world.bases.front().symbol.bits / 8;
    const std::int64_t first = from < lowest + word ? lowest : from - word + 1;
    saved_.erase(saved_.lower_bound({region, first}), saved_.lower_bound({region, to}));
}

// An address that is, but for an index, that of something saved is one of a structure: so all that was saved next to it
// may be changed by who has it, as a kernel's registers at entry are. A return address is none of the structure.
void Memory::unsave_run(World &world, Value address) {
    const unsigned bits = world.bases.front().symbol.bits;
    if (saved_.empty() || address.bits != bits || !is_on_stack(world, address.term)) return;
    const std::int64_t word = bits / 8;
    std::vector<std::pair<TermId, std::int64_t>> gone;
    for (const auto &[place, saved] : saved_) {
        const Word offset = static_cast<Word>(place.second) & mask_of(address.bits);
        const Value behind = world.terms.subtract(address, {place.first, address.bits, offset});
        if (is_on_stack(world, behind.term) || behind.constant >= static_cast<Word>(word)) continue;
        gone.push_back(place);
        if (saved.returns) continue;
        for (const std::int64_t step : {-word, word})
            for (auto next = std::pair(place.first, place.second + step);; next.second += step) {
                const auto found = saved_.find(next);
                if (found == saved_.end() || found->second.returns) break;
                gone.push_back(next);
            }
    }
    for (const auto &place : gone) saved_.erase(place);
}

// Nobody knows what is in the region any more. But return addresses and what is saved for the caller stay, which is
// granted: who overwrites those does not come back.
void Memory::forget_all(World &world, Region &held, TermId region, const std::vector<Value> &but) {
    std::erase_if(held.pieces, [&](const auto &piece) {
        const bool is_saved = saved_.contains({region, piece.first});
        world.kept_saved |= is_saved;
        return !is_saved && std::ranges::find(but, piece.second.value) == but.end();
    });
    held.forgotten = true;
}

void Memory::bind(World &world, Value address, Value value) {
    store(world, address, value);
    bound_.emplace_back(address, value);
}

// What was in an address's worth of bytes there at first, if it was loaded as a whole and nothing was stored to it.
std::optional<Value> Memory::whole(const World &world, Value address) const {
    const auto region = regions_.find(address.term);
    if (region == regions_.end()) return std::nullopt;
    const auto piece = region->second->pieces.find(offset_of(address));
    if (piece == region->second->pieces.end() || piece->second.value.bits != address.bits) return std::nullopt;
    const Value v = piece->second.value;
    if (v.term == 0 || v.constant != 0 || world.terms.node(v.term).op != Op::symbol) return std::nullopt;
    const Origin &o = world.origins[world.terms.node(v.term).number];
    const bool first = o.kind == Origin::Kind::memory && o.base == address.term && o.offset == offset_of(address);
    return first ? std::optional(v) : std::nullopt;
}

void Memory::outside_call(World &world, const std::vector<Value> &arguments, Value top) {
    // What the routine itself has overwritten is no longer what the user said.
    std::erase_if(bound_, [&](const auto &one) { return load(world, one.first, one.second.bits / 8U) != one.second; });
    // Who has one pointer into the stack can come to all of it: where a variable begins and ends is not known.
    for (const Value &argument : arguments) escape(world, argument);
    // More is handed over in the stack.
    for (const auto &[region, held] : regions_) {
        if (!is_on_stack(world, region)) continue;
        for (const auto &[offset, piece] : held->pieces)
            if ((region != top.term || offset >= offset_of(top)) && !saved_.contains({region, offset}))
                escape(world, piece.value);
    }
    std::vector<std::pair<Value, Value>> stays = bound_;
    std::vector<Value> guards;
    for (const Value &address : kept_)
        if (const auto value = whole(world, address)) {
            stays.emplace_back(address, *value);
            guards.push_back(*value);
        }
    // Below the stack pointer everything is the callee's.
    const std::int64_t below = offset_of(top);
    saved_.erase(saved_.lower_bound({top.term, lowest}), saved_.lower_bound({top.term, below}));
    for (auto &[region, held] : regions_) {
        if (is_on_stack(world, region)) {
            held = std::make_shared<Region>(*held);
            if (stack_escaped_) forget_all(world, *held, region, guards);
            if (region == top.term) {
                cut(world, *held, lowest, below);
                add_lost(*held, lowest, below);
            }
            continue;
        }
        const bool in_file = held->in_file;
        held = std::make_shared<Region>();
        held->forgotten = true;
        held->in_file = in_file;
    }
    all_forgotten_ = true;
    for (const auto &[address, value] : stays) store(world, address, value);
}

// Something is stored to `by`, anywhere from `from` to `to`: forgets what that may have hit in `region`.
void Memory::lose(World &world, Region &held, TermId region, TermId by, std::int64_t from, std::int64_t to) {
    const std::uint8_t bits = world.bases.front().symbol.bits;
    const World::Pair::Apart &apart = world.apart(by, region);
    const WideSigned first = WideSigned{from} + apart.least;
    const WideSigned size = WideSigned{to} - from + apart.more;
    if (size >= WideSigned{most_reach}) {
        forget_all(world, held, region, {});
        return;
    }
    // Offsets are numbers modulo 2^bits: behind the last one comes the first.
    const WideSigned around = WideSigned{1} << bits;
    const WideSigned least = region == 0 && bits < most_bits ? WideSigned{0} : -(around / 2);
    const WideSigned start = least + ((first - least) % around + around) % around;
    const WideSigned end = start + size;
    const WideSigned last = std::min<WideSigned>(least + around, std::numeric_limits<std::int64_t>::max());
    cut_and_lose(world, held, region, static_cast<std::int64_t>(start), static_cast<std::int64_t>(std::min(end, last)));
    if (end > last)
        cut_and_lose(world, held, region, static_cast<std::int64_t>(least), static_cast<std::int64_t>(end - around));
}

void Memory::add_lost(Region &held, std::int64_t from, std::int64_t to) {
    auto at = held.lost.upper_bound(from);
    if (at != held.lost.begin() && std::prev(at)->second >= from) --at;
    // Those that it meets become one with it: a run of stores forgets byte after byte.
    while (at != held.lost.end() && at->first <= to) {
        from = std::min(from, at->first);
        to = std::max(to, at->second);
        at = held.lost.erase(at);
    }
    held.lost.emplace_hint(at, from, to);
}

void Memory::cut_and_lose(World &world, Region &held, TermId region, std::int64_t from, std::int64_t to) {
    unsave(world, region, from, to);
    cut(world, held, from, to);
    add_lost(held, from, to);
}

bool Memory::may_overlap(World &world, TermId region, TermId other) const {
    const World::Pair &both = world.pair(region, other);
    if (both.share) return true;
    if (both.wild && (stack_escaped_ || !both.on_stack)) return true;
    return regions_.at(region)->in_file && regions_.at(other)->in_file;
}

// A store to `region` may hit other regions.
void Memory::forget_overlapping(World &world, TermId region, std::int64_t offset, unsigned bytes) {
    for (const auto &[other, held] : regions_) {
        // There is nothing to forget where another store of the run has been.
        if (other == region || (held->forgotten && held->pieces.empty())) continue;
        if (may_overlap(world, region, other))
            lose(world, changed(world, other), other, region, offset, offset + static_cast<std::int64_t>(bytes));
    }
}

}  // namespace l1dflush::machine
