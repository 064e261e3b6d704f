// SPDX-License-Identifier: GPL-2.0-or-later
// Where both ways of a branch meet again, and what holds there.
//
// A loop that asks for something about what it loads would have a path for each turn and each answer, though both ways
// often do the same and differ in a sum. So where the paths become too many the branches that a path has come by again
// and again are looked at: if both ways do the same to the cache up to where they meet, one state goes on from there, in
// which what they differ in depends on the condition. Nothing is lost by that: who needs to know asks for it then.
#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "machine/machine.hpp"

namespace l1dflush::machine {

namespace {

// So often a path decides at a branch before it is looked at.
constexpr unsigned often = 3;
// Instructions up to where the ways meet; and branches in branches.
constexpr unsigned most_apart = 256;
constexpr std::size_t deepest = 6;

// Whether the same was done to the cache, by whichever instructions.
bool are_alike(const Events &x, const Events &y) {
    const auto same_run = [](const Events::Run &p, const Events::Run &q) {
        return p.count == q.count && p.period == q.period;
    };
    const auto same_event = [](const Event &p, const Event &q) {
        return p.kind == q.kind && p.bytes == q.bytes && p.region == q.region && p.offset == q.offset && p.step == q.step;
    };
    return std::ranges::equal(x.runs(), y.runs(), same_run) && std::ranges::equal(x.events(), y.events(), same_event);
}

void append(Events &to, const Events &more) {
    auto first = more.events().begin();
    for (const Events::Run &run : more.runs()) {
        const auto end = first + static_cast<std::ptrdiff_t>(run.period);
        for (std::uint64_t turn = 0; turn < run.count; ++turn)
            for (auto at = first; at != end; ++at) {
                Event e = *at;
                e.offset += static_cast<std::int64_t>(turn) * e.step;
                e.step = 0;
                to.push(e);
            }
        first = end;
    }
}

}  // namespace

// Looks for branches that one of too many paths has come by again and again; false if there are no new ones.
bool Machine::learn_joins(const std::vector<State> &all) {
    bool is_new = false;
    for (const State &s : all) {
        std::map<Place, unsigned> times;
        for (const Decided &d : s.decisions) ++times[d.at];
        for (const auto &[at, count] : times)
            if (count >= often && !never_joins_.contains(at)) is_new |= joins_.insert(at).second;
    }
    return is_new;
}

// Runs an instruction; false if that is the end, or if it goes several ways.
bool Machine::go_on(State &s, const Bounds &bounds) {
    if (std::chrono::steady_clock::now() > bounds.deadline) throw OutOfTime(s.at->at);
    std::vector<State> forks;
    Path path;
    try {
        return run_instruction(s, forks, bounds, path);
    } catch (const OutOfTime &) {
        throw;
    } catch (const Stopped &) {
        return false;
    } catch (const Unlifted &) {
        return false;
    }
}

// Goes both ways to where they meet, where the state is what both come to; false if there is no such place.
bool Machine::join(State &s, Value question, const Bounds &bounds) {
    const Place here = s.at->at;
    if (joining_.contains(here) || joining_.size() >= deepest) throw Stopped("ways-part", here, question);
    if (bounds.poll) bounds.poll();
    joining_.insert(here);
    // What has happened up to here is not copied.
    Events events = std::exchange(s.events, {});
    auto earlier = std::exchange(s.before, {});
    auto decisions = std::exchange(s.decisions, {});
    const auto begin = [&](bool holds) {
        State way = s;
        if (way.operation == 0) --way.instructions;
        way.facts.decide(world_.terms, question, holds);
        return way;
    };
    struct Way {
        State state;
        bool goes = true;
        unsigned steps = 0;
        std::map<const Instruction *, unsigned> seen{};  // after how many steps
    };
    std::array<Way, 2> ways{Way{begin(false)}, Way{begin(true)}};
    const Instruction *place = nullptr;
    while (place == nullptr && (ways[0].goes || ways[1].goes))
        for (const bool which : {false, true}) {
            Way &way = ways[which];
            if (!way.goes || place != nullptr) continue;
            way.goes = ++way.steps < most_apart && go_on(way.state, bounds);
            if (!way.goes) continue;
            way.seen.try_emplace(way.state.at, way.steps);
            if (ways[!which].seen.contains(way.state.at)) place = way.state.at;
        }
    bool met = place != nullptr;
    for (const bool which : {false, true}) {
        Way &way = ways[which];
        // It was there before, and has gone on.
        if (!met || (way.goes && way.steps == way.seen[place])) continue;
        way.state = begin(which);
        for (unsigned n = 0; met && n < way.seen[place]; ++n) met = go_on(way.state, bounds);
        met = met && way.state.at == place;
    }
    State &one = ways[true].state;
    met = met && put_together(s, one, ways[false].state, question);
    joining_.erase(here);
    if (met) {
        append(events, one.events);
        one.facts = std::move(s.facts);
        s = std::move(one);
    } else {
        joins_.erase(here);
        never_joins_.insert(here);
    }
    s.events = std::move(events);
    s.before = std::move(earlier);
    s.decisions = std::move(decisions);
    return met;
}

// Makes `a` what both come to: `a` if the question is answered by yes, else `b`; false if they did not do the same.
bool Machine::put_together(const State &before, State &a, State &b, Value question) {
    for (State *way : {&a, &b}) {
        way->events.finish();
        way->slots.insert(way->slots.end(), entry_.begin() + static_cast<std::ptrdiff_t>(way->slots.size()), entry_.end());
        way->deferred.resize(entry_.size());
    }
    if (!are_alike(a.events, b.events) || settled(a, stack_slot) != settled(b, stack_slot)) return false;
    if (a.functions != b.functions) return false;
    for (std::uint32_t slot = 0; slot < a.slots.size(); ++slot) {
        if (temporary_[slot]) {
            a.deferred[slot].what = Do::copy;
            continue;
        }
        const Deferred &p = a.deferred[slot];
        const Deferred &q = b.deferred[slot];
        const bool same = p.what == q.what && (p.what == Do::copy ? a.slots[slot] == b.slots[slot]
                                                                  : p.a == q.a && p.b == q.b && p.bytes == q.bytes);
        if (same) continue;
        a.slots[slot] = world_.terms.choose(question, settled(a, slot), settled(b, slot));
    }
    a.instructions = std::max(a.instructions, b.instructions);
    a.changes = std::max(a.changes, b.changes) + 1;
    return a.memory.join(world_, before.memory, b.memory, question);
}

// Whether something is known of one of these bytes.
bool Memory::has(TermId region, std::int64_t offset, unsigned bytes) const {
    const auto held = regions_.find(region);
    if (held == regions_.end()) return false;
    const auto &pieces = held->second->pieces;
    const auto behind = pieces.lower_bound(offset + bytes);
    return behind != pieces.begin() && std::prev(behind)->first + std::prev(behind)->second.bytes() > offset;
}

bool Memory::join(World &world, const Memory &before, Memory &other, Value condition) {
    if (all_forgotten_ != other.all_forgotten_ || bound_ != other.bound_ || kept_ != other.kept_) return false;
    stack_escaped_ |= other.stack_escaped_;
    std::erase_if(saved_, [&](const auto &place) { return !other.saved_.contains(place.first); });
    saves_ = std::max(saves_, other.saves_);
    std::set<TermId> all;
    for (const Memory *one : {this, &other})
        for (const auto &[region, held] : one->regions_) all.insert(region);
    // What one way alone has come to know may be called the same on the other: a name for what was there all along.
    const auto is_name = [&](const Memory &on_other, TermId region, std::int64_t offset, const Piece &piece) {
        const Value v = piece.value;
        if (v.term == 0 || v.constant != 0 || world.terms.node(v.term).op != Op::symbol) return false;
        const Origin &o = world.origins[world.terms.node(v.term).number];
        if (o.kind != Origin::Kind::memory || o.base != region || o.offset != offset) return false;
        return !before.has(region, offset, piece.bytes()) && !on_other.has(region, offset, piece.bytes());
    };
    for (const TermId region : all) {
        if (const auto mine = regions_.find(region), theirs = other.regions_.find(region);
            mine != regions_.end() && theirs != other.regions_.end() && mine->second == theirs->second)
            continue;
        const Region theirs = other.changed(world, region);
        const Region mine = changed(world, region);
        if (mine.forgotten != theirs.forgotten || mine.lost != theirs.lost || mine.in_file != theirs.in_file) return false;
        Region joined = mine;
        joined.low = std::min(mine.low, theirs.low);
        joined.high = std::max(mine.high, theirs.high);
        const auto same = [](const Region &in, std::int64_t offset, const Piece &piece) {
            const auto found = in.pieces.find(offset);
            return found != in.pieces.end() && found->second.bytes() == piece.bytes() ? &found->second : nullptr;
        };
        for (const auto &[offset, piece] : mine.pieces)
            if (same(theirs, offset, piece) == nullptr && !is_name(other, region, offset, piece)) return false;
        for (const auto &[offset, piece] : theirs.pieces) {
            const Piece *const here = same(mine, offset, piece);
            if (here != nullptr)
                joined.pieces[offset] = {world.terms.choose(condition, here->value, piece.value)};
            else if (is_name(*this, region, offset, piece))
                joined.pieces[offset] = piece;
            else
                return false;
        }
        changed(world, region) = std::move(joined);
    }
    return true;
}

}  // namespace l1dflush::machine
