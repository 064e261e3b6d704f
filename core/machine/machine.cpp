// SPDX-License-Identifier: GPL-2.0-or-later
#include "machine/machine.hpp"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>
#include <iterator>

namespace l1dflush::machine {

namespace {

constexpr std::uint64_t look_back_every = 1 << 12;
constexpr std::uint64_t poll_every = 1 << 8;  // instructions; one of them may take as long as there is memory

}  // namespace

Machine::Machine(unsigned bits) : bits_(bits) {
    // As far from both ends of the address space as it may move. The psABI aligns it to 16 bytes before the return
    // address is pushed; kernels are built with less.
    constexpr Word room = Word{1} << 24;
    Base stack;
    stack.symbol = world_.terms.symbol(bits, bits / 8, room, mask_of(bits) - room);
    world_.origins.emplace_back();
    Base come_back;
    come_back.symbol = world_.fresh(bits, {});
    world_.add(std::move(stack));
    world_.add(std::move(come_back));
    slot_bits_.push_back(static_cast<std::uint8_t>(bits));
    entry_.push_back(world_.bases[stack_base].symbol);
    temporary_.push_back(false);
}

std::uint32_t Machine::add_slot(unsigned bits, bool temporary, bool wild, bool apart) {
    Origin origin;
    origin.wild = wild;
    origin.apart = apart;
    origin.slot = static_cast<std::uint32_t>(entry_.size());
    slot_bits_.push_back(static_cast<std::uint8_t>(bits));
    entry_.push_back(temporary ? number(bits, 0) : world_.fresh(bits, origin));
    temporary_.push_back(temporary);
    return origin.slot;
}

const Instruction &Machine::instruction(Place place) {
    std::unique_ptr<Instruction> &kept = program_[place];
    if (!kept) {
        try {
            kept = std::make_unique<Instruction>(lift_(place));
        } catch (...) {
            program_.erase(place);
            throw;
        }
        kept->at = place;
        kept->number = static_cast<std::uint32_t>(places_.size());
        for (const Operation &o : kept->operations) {
            if (o.out.kind != Kind::slot) continue;
            kept->makes_carry |= o.out.index == carry_slot_;
            kept->makes_rest |= o.out.index == zero_slot_;
            kept->moves_stack |= o.out.index == stack_slot;
        }
        places_.push_back(place);
    }
    return *kept;
}

const Instruction &Machine::gone_to(const Instruction *&kept, Place place) {
    if (kept != nullptr && kept->at == place) return *kept;
    if (until_.contains(place)) {
        Instruction &stop = stops_[place];
        stop.at = place;
        stop.stops = true;
        kept = &stop;
    } else {
        kept = &instruction(place);
    }
    return *kept;
}

// What has happened up to here belongs to all paths that go on from here.
void Machine::put_behind(State &s) {
    if (s.events.empty()) return;
    s.events.finish();
    s.earlier += s.events.kept();
    s.before.push_back(std::make_shared<Events>(std::move(s.events)));
    s.events = {};
}

// Whether the condition holds on this path; where both can be, the other goes to `forks`, from where the decision is
// made anew.
std::optional<bool> Machine::decide(State &s, Value condition, std::vector<State> &forks, const Bounds &bounds) {
    Terms &t = world_.terms;
    Value of_tables;
    const auto answer = [&](bool holds) {
        if (of_tables.term != 0) settle_tables(s, of_tables);
        return holds;
    };
    for (;;) {
        if (condition.known()) return answer(condition.constant != 0);
        // Often it is the very one that was decided last.
        if (const auto known = s.facts.decided(t, condition)) return answer(*known);
        condition = s.facts.simplified(t, condition);
        if (const auto known = s.facts.decided(t, condition)) return answer(*known);
        if (const auto table = spelled_out(s, condition)) {
            of_tables = condition;
            condition = *table;
            continue;
        }
        Value question{condition.term, 1, 0};
        if (const auto index = asked_of_index(s, condition)) {
            if (const auto known = s.facts.decided(t, *index)) {
                s.facts.decide(t, *index, *known);
                continue;
            }
            if (!joins(s.at->at)) question = Value{index->term, 1, 0};
        }
        // A sum of conditions, or one in the other: the parts first.
        if (const auto inner = Facts::inner(t, question)) {
            if (const auto known = s.facts.decided(t, *inner)) {
                s.facts.decide(t, *inner, *known);
                continue;
            }
            // Where both ways meet again it does not matter what a condition is made of.
            if (!joins(s.at->at)) question = *inner;
        }
        if (const auto known = s.facts.by_few(t, question)) {
            if (question.term == condition.term) return answer(*known != (condition.constant != 0));
            s.facts.decide(t, question, *known);
            continue;
        }
        if (const auto instead = by_distance(s, question)) {
            if (const auto known = s.facts.decided(t, *instead)) {
                s.facts.decide(t, question, *known);
                continue;
            }
            if (!joins(s.at->at)) question = Value{instead->term, 1, 0};
        }
        if (const auto known = at_an_end(s, question)) {
            kept_off_ends_ = true;
            s.facts.decide(t, question, *known);
            continue;
        }
        if (joins(s.at->at)) {
            if (join(s, question, bounds)) return std::nullopt;
            continue;
        }
        // On the way to where they meet no others part.
        if (!joining_.empty()) throw Stopped("ways-part", s.at->at, question);
        if (bounds.poll) bounds.poll();
        if (std::chrono::steady_clock::now() > bounds.deadline) throw OutOfTime(s.at->at);
        if (forks.size() + waiting_ + finished_ >= bounds.paths) {
            Stopped stopped("too-many-paths", s.at->at, question);
            stopped.regions = regions(s);
            for (const Decided &d : s.decisions) stopped.decided.push_back(d.condition);
            throw stopped;
        }
        put_behind(s);
        // First the way on which the branch is not taken, if it is this question that decides it.
        const bool inner = question.term != condition.term;
        s.has_numbers |= t.node(question.term).op == Op::equal_zero;
        const bool holds = !inner && condition.constant != 0;
        State other = s;
        // It begins with this operation again, and so perhaps with the instruction.
        if (s.operation == 0) --other.instructions;
        other.facts.decide(t, question, !holds);
        other.decisions.push_back({s.at->at, question, !holds, true, inner, s.carry_by, s.rest_by});
        forks.push_back(std::move(other));
        s.facts.decide(t, question, holds);
        s.decisions.push_back({s.at->at, question, holds, false, inner, s.carry_by, s.rest_by});
    }
}

std::vector<TermId> Machine::regions(const State &s) {
    std::set<TermId> found;
    const auto look = [&](const Events &events) {
        for (const Event &e : events.events())
            if (e.bytes != 0) found.insert(e.region);
    };
    look(s.events);
    for (const auto &earlier : s.before) look(*earlier);
    return {found.begin(), found.end()};
}

// What would happen if this state went on at `place`, where it does not: a few instructions, and nothing of it stays.
void Machine::run_aside(const State &s, Place place, const Bounds &bounds) {
    const std::uint64_t most = std::exchange(aside_, 0);
    const auto held = world_.held;
    const bool kept_saved = world_.kept_saved;
    State wrong = s;
    wrong.events = {};
    wrong.before.clear();
    Bounds wide = bounds;
    wide.paths = std::numeric_limits<std::uint64_t>::max();
    std::vector<State> forks;
    Path path;
    try {
        wrong.at = &instruction(place);
        wrong.operation = 0;
        for (std::uint64_t n = 0; n < most && run_instruction(wrong, forks, wide, path); ++n) continue;
    } catch (const OutOfTime &) {
        throw;
    } catch (const Stopped &) {
        // It ends there.
    } catch (const Unlifted &) {
    }
    put_behind(wrong);
    world_.held = held;
    world_.kept_saved = kept_saved;
    aside_ = most;
    asides_.push_back({s.at->at, place, std::move(wrong.before)});
}

// Takes out what makes flags that the instruction behind makes anew before anybody asks for them.
void Machine::prune(Instruction &i, const Instruction &behind) const {
    const auto goes_elsewhere = [](const Operation &o) {
        return o.what == Do::skip || o.what == Do::skip_if || o.what >= Do::jump;
    };
    if (std::ranges::any_of(i.operations, goes_elsewhere)) return;
    // Whether it is written by `all` from `first` on before it is read; none if neither.
    const auto is_dead = [&](const Operand &flag, std::span<const Operation> all) -> std::optional<bool> {
        for (const Operation &o : all) {
            for (const Operand &used : {o.a, o.b, o.c})
                if (used.kind == Kind::slot && used.index == flag.index) return false;
            if (goes_elsewhere(o)) return false;
            if (o.out.kind == Kind::slot && o.out.index == flag.index) return o.out.bytes * 8U == slot_bits_[flag.index];
        }
        return std::nullopt;
    };
    std::vector<Operation> kept;
    for (std::size_t n = 0; n < i.operations.size(); ++n) {
        const Operation &o = i.operations[n];
        if (makes_flag(o.what) && o.out.bytes * 8U == slot_bits_[o.out.index]) {
            auto dead = is_dead(o.out, std::span(i.operations).subspan(n + 1));
            if (!dead && !temporary_[o.out.index]) dead = is_dead(o.out, behind.operations);
            if (dead.value_or(temporary_[o.out.index])) continue;
        }
        kept.push_back(o);
    }
    i.operations = std::move(kept);
}

// Whether everything is as it was before: then it will be so again, for ever.
bool Machine::comes_again(const State &s, const Before &before) const {
    if (s.changes != before.changes || s.deferred.size() != before.deferred.size()) return false;
    for (std::size_t i = 0; i < s.slots.size(); ++i) {
        if (temporary_[i]) continue;
        const Deferred &now = s.deferred[i];
        const Deferred &then = before.deferred[i];
        if (now.what != then.what) return false;
        if (now.what == Do::copy ? s.slots[i] != before.slots[i]
                                 : now.a != then.a || now.b != then.b || now.bytes != then.bytes)
            return false;
    }
    return true;
}

void Machine::run_path(State &s, std::vector<State> &forks, const Bounds &bounds, Path &path) {
    Before before;
    do {
        if (s.at == before.at && s.operation == 0) {
            if (comes_again(s, before)) throw Stopped("endless-loop", s.at->at);
            before.at = nullptr;
        }
        if (s.instructions > bounds.instructions) throw Stopped("too-many-instructions", s.at->at);
        if (s.earlier + s.events.kept() > bounds.events) throw Stopped("too-many-accesses", s.at->at);
        if (s.instructions % poll_every == 0) {
            if (bounds.poll) bounds.poll();
            if (std::chrono::steady_clock::now() > bounds.deadline) throw OutOfTime(s.at->at);
        }
        if (s.instructions % look_back_every == 0 && s.operation == 0 && !s.deferred.empty())
            before = {s.at, s.changes, s.slots, s.deferred};
    } while (run_instruction(s, forks, bounds, path));
}

std::vector<Path> Machine::run(Place entry, const Bounds &bounds, Lift lift, const Possible &possible) {
    lift_ = std::move(lift);
    std::vector<Path> paths;
    const auto begin = [&] {
        std::vector<State> first(1);
        first.back().slots = entry_;
        first.back().memory = memory_;
        first.back().at = &instruction(entry);
        return first;
    };
    std::vector<State> todo = begin();
    while (!todo.empty()) {
        State s = std::move(todo.back());
        todo.pop_back();
        waiting_ = todo.size();
        finished_ = paths.size();
        std::vector<State> forks;
        Path path;
        const auto answer = [&]() -> std::optional<bool> {
            if (!possible || s.facts.surely_possible(world_.terms)) return true;
            return possible(s.decisions);
        };
        std::optional<bool> taken;
        try {
            run_path(s, forks, bounds, path);
            taken = answer();
        } catch (const OutOfTime &) {
            throw;
        } catch (const Stopped &stopped) {
            // Whatever it came to, if nothing goes that way.
            if ((taken = answer()).value_or(true)) {
                if (stopped.cause != "too-many-paths") throw;
                todo.insert(todo.end(), std::make_move_iterator(forks.begin()), std::make_move_iterator(forks.end()));
                todo.push_back(std::move(s));
                if (!learn_joins(todo)) throw;
                paths.clear();
                asides_.clear();
                todo = begin();
                continue;
            }
        } catch (const Unlifted &) {
            if ((taken = answer()).value_or(true)) throw;
        }
        // The earliest fork comes first.
        todo.insert(todo.end(), std::make_move_iterator(forks.rbegin()), std::make_move_iterator(forks.rend()));
        if (!taken.value_or(true)) continue;
        path.settled = taken.has_value();
        path.decisions = std::move(s.decisions);
        path.instructions = s.instructions;
        put_behind(s);
        path.events = std::move(s.before);
        paths.push_back(std::move(path));
    }
    return paths;
}

}  // namespace l1dflush::machine
