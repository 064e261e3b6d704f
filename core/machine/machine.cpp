#include "machine/machine.hpp"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>
#include <iterator>

namespace l1dflush::machine {

namespace {

constexpr std::uint64_t poll_every = 1 << 12;  // instructions

// Whether the 17 highest bits of an address are the same: else it faults (SDM volume 1, section 3.3.7.1), where paging
// has four levels.
bool is_canonical(Word address) {
    const Word high = address >> 47;
    return high == 0 || high == ~Word{0} >> 47;
}

Op division(Do what) {
    switch (what) {
    case Do::divide:
        return Op::divide;
    case Do::divide_signed:
        return Op::divide_signed;
    case Do::remainder:
        return Op::remainder;
    case Do::remainder_signed:
        return Op::remainder_signed;
    case Do::multiply_high:
        return Op::multiply_high;
    default:
        return Op::multiply_high_signed;
    }
}

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

std::uint32_t Machine::add_slot(unsigned bits, bool temporary) {
    Origin origin;
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

Value Machine::address(State &s, const Operand &o) {
    Value v = read(s, o);
    if (v.term != 0 && world_.terms.node(v.term).conditional) v = s.facts.simplified(world_.terms, v);
    return v;
}

Value Machine::computed(State &s, const Operation &o) {
    Terms &t = world_.terms;
    const Value a = read(s, o.a);
    const unsigned bits = o.out.bytes * 8U;
    const auto widened = [&](Value condition) { return t.widen(condition, bits); };
    const auto b = [&] { return read(s, o.b); };
    if (makes_flag(o.what)) return widened(flag(o.what, a, o.b.kind == Kind::none ? Value{} : b()));
    switch (o.what) {
    case Do::copy:
        return a;
    case Do::add:
        return t.add(a, b());
    case Do::subtract:
        return t.subtract(a, b());
    case Do::multiply:
        return t.multiply(a, b());
    case Do::divide:
    case Do::divide_signed:
    case Do::remainder:
    case Do::remainder_signed:
    case Do::multiply_high:
    case Do::multiply_high_signed: {
        const Value by = b();
        const bool divides = o.what != Do::multiply_high && o.what != Do::multiply_high_signed;
        if (divides && by.known() && by.constant == 0) throw Stopped("divides-by-zero", s.at->at, by);
        return t.divide(division(o.what), a, by);
    }
    case Do::bit_and:
        return t.bit_and(a, b());
    case Do::bit_or:
        return t.bit_or(a, b());
    case Do::bit_xor:
        return t.bit_xor(a, b());
    case Do::complement:
        return t.complement(a);
    case Do::negate:
        return t.negate(a);
    case Do::shift_left:
        return t.shift_left(a, b());
    case Do::shift_right:
        return t.shift_right(a, b());
    case Do::shift_right_signed:
        return t.shift_right_signed(a, b());
    case Do::widen:
        return t.widen(a, bits);
    case Do::widen_signed:
        return t.widen_signed(a, bits);
    case Do::slice: {
        const auto from = static_cast<unsigned>(o.b.number) * 8U;
        const unsigned left = std::min(bits, a.bits - from);
        return t.widen(t.slice(a, from, left), bits);
    }
    case Do::join:
        return t.join(a, b());
    case Do::not_equal:
        return widened(t.complement(t.equal(a, b())));
    case Do::below_or_equal:
        return widened(t.complement(t.below(b(), a)));
    case Do::below_or_equal_signed:
        return widened(t.complement(t.below_signed(b(), a)));
    case Do::truth_and:
        return widened(t.bit_and(truth(a), truth(b())));
    case Do::truth_or:
        return widened(t.bit_or(truth(a), truth(b())));
    case Do::truth_xor:
        return widened(t.bit_xor(truth(a), truth(b())));
    case Do::truth_not:
        return widened(t.complement(truth(a)));
    case Do::count_ones:
        return t.count_ones(a, bits);
    case Do::count_leading_zeros:
        return t.count_leading_zeros(a, bits);
    case Do::choose:
        return t.choose(truth(a), b(), read(s, o.c));
    default:
        throw Stopped("no-such-operation", s.at->at);
    }
}

// Whether an address is known not to be aligned: so is what lies at an odd distance from what a pointer points to,
// which is taken to be aligned itself. The stack pointer is a multiple of a word at entry, and of 16 with a word more.
bool Machine::is_misaligned(Value at, unsigned alignment) const {
    const Word low = alignment - 1U;
    if ((world_.terms.known(at).ones & low) != 0) return true;
    const bool pointer = at.term != 0 && world_.terms.node(at.term).op == Op::symbol &&
                         at.term != world_.bases[stack_base].symbol.term;
    return pointer && (at.constant & low) != 0;
}

void Machine::emit(State &s, const Operation &o) {
    Event e;
    e.kind = static_cast<std::uint16_t>(o.detail);
    e.instruction = s.at->number;
    e.bytes = o.size;
    if (o.what == Do::access) {
        const Value at = address(s, o.a);
        if (o.alignment != 0 && is_misaligned(at, o.alignment)) throw Stopped("faults", s.at->at, at);
        if (bits_ == 64 && at.known() && !is_canonical(at.constant)) throw Stopped("not-canonical", s.at->at, at);
        e.region = at.term;
        e.offset = offset_of(at);
    } else {
        const auto about = [&](const Operand &what) { return what.kind == Kind::none ? Value{} : read(s, what); };
        const Value first = about(o.a);
        e.region = noted(s, first, about(o.b));
    }
    s.events.push(e);
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
bool Machine::decide(State &s, Value condition, std::vector<State> &forks, const Bounds &bounds) {
    Terms &t = world_.terms;
    for (;;) {
        if (condition.known()) return condition.constant != 0;
        condition = s.facts.simplified(t, condition);
        if (const auto known = s.facts.decided(t, condition)) return *known;
        Value question{condition.term, 1, 0};
        // A sum of conditions, or one in the other: the parts first.
        if (const auto inner = Facts::inner(t, question)) {
            if (const auto known = s.facts.decided(t, *inner)) {
                s.facts.decide(t, *inner, *known);
                continue;
            }
            question = *inner;
        }
        if (bounds.poll) bounds.poll();
        if (std::chrono::steady_clock::now() > bounds.deadline) throw OutOfTime(s.at->at);
        if (forks.size() + waiting_ + finished_ >= bounds.paths) {
            Stopped stopped("too-many-paths", s.at->at, question);
            stopped.regions = regions(s);
            throw stopped;
        }
        put_behind(s);
        // First the way on which the branch is not taken, if it is this question that decides it.
        const bool inner = question.term != condition.term;
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

bool Machine::is_outside(const Value &to) const {
    const auto found = world_.base_at(to.term, static_cast<std::int64_t>(to.constant));
    return found && world_.bases[found->first].outside;
}

// The number of what an event is about: the same one again while the operation says the same, so that a loop's events are
// alike if they are the same and not if they are not.
std::uint32_t Machine::noted(const State &s, Value a, Value b) {
    const auto [place, is_new] = noted_.try_emplace({s.at->number, s.operation});
    if (is_new || notes_[place->second] != std::pair(a, b)) {
        place->second = static_cast<std::uint32_t>(notes_.size());
        notes_.emplace_back(a, b);
    }
    return place->second;
}

// Code that is not here runs and comes back.
void Machine::outside_call(State &s, Value to) {
    Event e;
    e.kind = call_event_;
    e.instruction = s.at->number;
    e.region = noted(s, to, Value{});
    s.events.push(e);
    settle_loads(s);
    std::vector<Value> arguments;
    for (const std::uint32_t slot : arguments_) arguments.push_back(settled(s, slot));
    s.memory.outside_call(world_, arguments);
    ++s.changes;
    s.carry_by = s.rest_by = 0;
    for (const std::uint32_t slot : changed_) {
        Origin origin;
        origin.kind = Origin::Kind::result;
        origin.at = s.at->at;
        origin.slot = slot;
        origin.wild = true;
        Value v = world_.fresh(slot_bits_[slot], origin);
        // A flag.
        if (v.bits == 8) v = world_.terms.widen(world_.terms.slice(v, 0, 1), 8);
        s.slots[slot] = v;
        s.deferred[slot].what = Do::copy;
    }
}

// Whether an address may be from a table of places in the code itself: so is what was loaded by an index.
bool Machine::is_from_table(const Value &to) {
    const auto indexed = [&](TermId region, std::int64_t offset) {
        if (region == 0) return false;
        // In a linked file the table's address may be the number.
        if (world_.base_at(0, offset)) return true;
        const Node &n = world_.terms.node(region);
        if (n.op == Op::symbol) return false;
        if (n.op != Op::sum) return true;
        for (const Addend &a : world_.terms.addends(n)) {
            const Op atom = world_.terms.node(a.atom).op;
            if (a.factor != 1 || atom != Op::symbol) return true;
            // A section and something else.
            const auto bases = world_.bases_of.find(a.atom);
            if (bases == world_.bases_of.end()) continue;
            if (std::ranges::any_of(bases->second, [&](std::uint32_t b) { return world_.bases[b].known; })) return true;
        }
        return false;
    };
    if (to.known()) return false;
    for (const Word symbol : world_.symbols_in(to.term)) {
        const Origin &o = world_.origins[symbol];
        if (o.kind == Origin::Kind::memory && indexed(o.base, o.offset)) return true;
    }
    // A relative one is added to where it is.
    return world_.terms.node(to.term).op != Op::symbol;
}

// Takes the return address off the stack.
Value Machine::popped(State &s) {
    const Value top = settled(s, stack_slot);
    const Value to = s.memory.load(world_, top, bits_ / 8);
    s.slots[stack_slot] = world_.terms.add(top, number(bits_, bits_ / 8));
    return to;
}

// Whether inside a function the return address is what was above the stack pointer at the beginning.
bool Machine::is_callers(const Value &to) {
    if (!inside_ || to.term == 0 || to.constant != 0) return false;
    const Node &n = world_.terms.node(to.term);
    if (n.op != Op::symbol) return false;
    const Origin &o = world_.origins[n.number];
    return o.kind == Origin::Kind::memory && !o.wild && o.base == world_.bases[stack_base].symbol.term &&
           o.bytes == bits_ / 8 && o.offset >= -static_cast<std::int64_t>(bits_ / 8);
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

// Where a jump to what was computed goes.
Place Machine::target(State &s, Value value) const {
    const auto found = world_.base_at(value.term, static_cast<std::int64_t>(value.constant));
    if (!found) throw Stopped("indirect-jump", s.at->at, value);
    return {found->first, found->second};
}

// Runs the instruction at which the state is, from its operation on; tells whether the path goes on.
bool Machine::run_instruction(State &s, std::vector<State> &forks, const Bounds &bounds, Path &path) {
    const Instruction &i = *s.at;
    auto &links = const_cast<Instruction &>(i);
    if (i.stops) {
        path.end = Path::until;
        return false;
    }
    if (s.operation == 0) ++s.instructions;
    // Lifting it may have brought in registers that no instruction before had.
    if (s.deferred.size() < entry_.size()) {
        s.slots.insert(s.slots.end(), entry_.begin() + static_cast<std::ptrdiff_t>(s.slots.size()), entry_.end());
        s.deferred.resize(entry_.size());
    }
    while (s.operation < i.operations.size()) {
        const Operation &o = i.operations[s.operation];
        switch (o.what) {
        case Do::load:
            if (!defer(s, o)) write(s, o.out, s.memory.load(world_, address(s, o.a), o.out.bytes));
            break;
        case Do::store: {
            const Value at = address(s, o.a);
            const Value stored = read(s, o.b);
            settle_loads(s);
            s.memory.store(world_, at, stored);
            ++s.changes;
            // A push, or the return address of a call.
            if (o.detail != 0 && at.term == world_.bases[stack_base].symbol.term) s.memory.save(offset_of(at));
            break;
        }
        case Do::unknown: {
            Origin origin;
            origin.kind = Origin::Kind::result;
            origin.at = i.at;
            origin.slot = o.out.index;
            origin.wild = o.detail != 0;
            if (o.detail > 1) s.memory.escape();
            write(s, o.out, world_.fresh(o.out.bytes * 8U, origin));
            break;
        }
        case Do::access:
        case Do::note:
            emit(s, o);
            break;
        case Do::skip:
            s.operation = o.detail;
            continue;
        case Do::skip_if:
            s.operation = decide(s, truth(read(s, o.a)), forks, bounds) ? o.detail : s.operation + 1;
            continue;
        case Do::jump_if:
            if (!decide(s, truth(read(s, o.a)), forks, bounds)) {
                if (aside_ != 0) run_aside(s, {o.b.index, static_cast<std::int64_t>(o.b.number)}, bounds);
                break;
            }
            if (aside_ != 0) run_aside(s, {i.at.base, i.at.offset + static_cast<std::int64_t>(i.length)}, bounds);
            s.at = &gone_to(links.other, {o.b.index, static_cast<std::int64_t>(o.b.number)});
            s.operation = 0;
            return true;
        case Do::jump:
        case Do::call:
        case Do::jump_to:
        case Do::call_to:
        case Do::come_back: {
            Value to = address(s, o.a);
            const bool calls = o.what == Do::call || o.what == Do::call_to;
            // What is called by an address that nobody knows is outside, too.
            const bool may_leave = o.what == Do::call_to || (o.what == Do::jump_to && o.detail != 0 && !is_from_table(to));
            const bool unknown = may_leave && !world_.base_at(to.term, static_cast<std::int64_t>(to.constant));
            if (o.what != Do::come_back && (unknown || is_outside(to))) {
                outside_call(s, to);
                if (calls && o.detail != 0) {
                    path.end = Path::no_return;
                    return false;
                }
                // One that is jumped to comes back to whoever called this.
                if (!calls) {
                    const Value top = settled(s, stack_slot);
                    s.events.push({load_event_, static_cast<std::uint16_t>(bits_ / 8), i.number, top.term, 0,
                                   offset_of(top), 0});
                }
                to = popped(s);
            }
            if (!calls && is_callers(to)) return false;
            if (!calls && to == world_.bases[return_base].symbol) {
                const Value top = settled(s, stack_slot);
                if (top.term != world_.bases[stack_base].symbol.term) throw Stopped("stack-moved", i.at, top);
                return false;
            }
            s.at = &gone_to(links.other, target(s, to));
            s.operation = 0;
            return true;
        }
        case Do::leave:
            if (o.a.kind != Kind::none) {
                const Value to = read(s, o.a);
                const auto found = world_.base_at(to.term, static_cast<std::int64_t>(to.constant));
                if (found && found->first != return_base) throw Stopped("returns-to-itself", i.at, to);
            }
            path.end = i.number + 1;
            return false;
        default:
            if (!defer(s, o)) write(s, o.out, computed(s, o));
            break;
        }
        ++s.operation;
    }
    if (i.makes_carry) s.carry_by = i.number + 1;
    if (i.makes_rest) s.rest_by = i.number + 1;
    const bool first = links.next == nullptr;
    s.at = &gone_to(links.next, {i.at.base, i.at.offset + static_cast<std::int64_t>(i.length)});
    if (first) prune(links, *s.at);
    s.operation = 0;
    return true;
}

// What would happen if this state went on at `place`, where it does not: a few instructions, and nothing of it stays.
void Machine::run_aside(const State &s, Place place, const Bounds &bounds) {
    const std::uint64_t most = std::exchange(aside_, 0);
    const auto held = world_.held;
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
            if (s.operation == 0 && !s.deferred.empty()) before = {s.at, s.changes, s.slots, s.deferred};
        }
    } while (run_instruction(s, forks, bounds, path));
}

std::vector<Path> Machine::run(Place entry, const Bounds &bounds, Lift lift, const Possible &possible) {
    lift_ = std::move(lift);
    std::vector<Path> paths;
    std::vector<State> todo(1);
    todo.back().slots = entry_;
    todo.back().memory = memory_;
    todo.back().at = &instruction(entry);
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
        } catch (const Stopped &) {
            // Whatever it came to, if nothing goes that way.
            if ((taken = answer()).value_or(true)) throw;
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
