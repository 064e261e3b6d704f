// SPDX-License-Identifier: GPL-2.0-or-later
// The abstract machine: runs a routine along every path that its decisions can take.
//
// A path has a state: slots, memory, what was decided, what happened. Where a branch depends on what nobody knows, the
// state is copied and both ways are gone; nothing is run twice. What the machine cannot do soundly ends in Stopped, and
// then nothing may be concluded.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "machine/events.hpp"
#include "machine/facts.hpp"
#include "machine/memory.hpp"
#include "machine/program.hpp"

namespace l1dflush::machine {

struct Decided {
    Place at;
    Value condition;
    bool holds = false;  // the condition
    bool taken = false;  // the branch
    bool inner = false;  // the condition is but a part of what the branch asks for
    // The instructions that made the carry and the other flags, from 1; 0 for none.
    std::uint32_t carry_by = 0;
    std::uint32_t rest_by = 0;
};

// The question stays open: `cause` is a stable name, `at` where it came up, `value` what is not known.
class Stopped : public std::runtime_error {
public:
    Stopped(const std::string &why, Place where, Value what = {})
        : std::runtime_error(why), cause(why), at(where), value(what) {}
    std::string cause;
    Place at;
    Value value;
    // Too many paths: where the path has accessed memory, and what it has decided.
    std::vector<TermId> regions;
    std::vector<Value> decided;
};

// The time is up, whatever the path.
class OutOfTime : public Stopped {
public:
    explicit OutOfTime(Place where) : Stopped("out-of-time", where) {}
};

// An instruction could not be lifted: so does the question, if anything comes there.
struct Unlifted {
    std::exception_ptr why;
};

struct Bounds {
    std::uint64_t paths = 64;         // finished and waiting ones
    std::uint64_t instructions = 10'000'000;  // of one path
    std::uint64_t events = 10'000'000;        // of one path, as they are kept
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
    std::function<void()> poll;  // asked now and then; throws to interrupt
};

struct Path {
    std::vector<Decided> decisions;
    // Folded, in several pieces: those before a fork belong to other paths, too.
    std::vector<std::shared_ptr<const Events>> events;
    std::uint64_t instructions = 0;
    std::uint32_t end = 0;  // 0: it came back; else the number of the instruction that left, from 1, or one of these
    static constexpr std::uint32_t until = ~std::uint32_t{0};          // where it was to end
    static constexpr std::uint32_t no_return = ~std::uint32_t{0} - 1;  // behind a call that does not come back
    bool settled = true;    // some input takes it; else nobody knows
};

class Machine {
public:
    // Lifts the instruction at a place; throws if there is none.
    using Lift = std::function<Instruction(Place)>;
    // Whether anything decides like this, if that can be told. Asked where intervals do not settle it.
    using Possible = std::function<std::optional<bool>(const std::vector<Decided> &)>;

    explicit Machine(unsigned bits);

    Machine(const Machine &) = delete;
    Machine &operator=(const Machine &) = delete;

    World &world() { return world_; }
    // The machine's own bases: the stack, whose symbol is the stack pointer at entry, and where the routine returns to.
    static constexpr std::uint32_t stack_base = 0;
    static constexpr std::uint32_t return_base = 1;
    static constexpr std::uint32_t stack_slot = 0;

    // A further register or temporary: at entry it holds something that nobody knows. The first one is the stack pointer.
    // A temporary holds nothing from one instruction to the next; what a wild one holds may point to anything, and what
    // one apart holds points to where no other pointer leads.
    std::uint32_t add_slot(unsigned bits, bool temporary = false, bool wild = false, bool apart = false);
    // The slots that code which is not here may change, those that hold what it is given, those that a function has to
    // give back as they were, and the kinds of the events that it runs and that a return address is loaded.
    void set_convention(std::vector<std::uint32_t> changed, std::vector<std::uint32_t> arguments,
                        std::vector<std::uint32_t> preserved, std::uint16_t call, std::uint16_t load) {
        changed_ = std::move(changed);
        arguments_ = std::move(arguments);
        preserved_ = std::move(preserved);
        call_event_ = call;
        load_event_ = load;
    }

    // Slots of the carry flag and of one that is made with the others.
    void set_flags(std::uint32_t carry, std::uint32_t zero) {
        carry_slot_ = carry;
        zero_slot_ = zero;
    }
    // The kinds of events that show that memory is there.
    void set_accesses(std::set<std::uint16_t> kinds) { accesses_ = std::move(kinds); }
    // Whether something was decided because no memory lies in the first or last page of the address space.
    bool kept_off_ends() const { return kept_off_ends_; }
    // Where a path ends once something has been run; and whether it begins inside a function, whose caller's return
    // address is somewhere above the stack pointer.
    void set_ends(std::set<Place> until, bool inside) {
        until_ = std::move(until);
        inside_ = inside;
    }

    // What holds at entry.
    Value &slot(std::uint32_t number) { return entry_[number]; }
    Memory &memory() { return memory_; }

    // All paths that something takes, as far as `possible` says.
    // From now on, at each conditional branch of a path, the way that is not gone is run as well, for up to so many
    // instructions. Nothing of it stays but the events; a decision in it is one that the branch is not taken.
    void set_aside(std::uint64_t instructions) { aside_ = instructions; }
    struct Aside {
        Place at, to;  // the branch, and where it did not go
        std::vector<std::shared_ptr<const Events>> events;
    };
    const std::vector<Aside> &asides() const { return asides_; }

    std::vector<Path> run(Place entry, const Bounds &bounds, Lift lift, const Possible &possible = {});
    const std::vector<Place> &places() const { return places_; }
    const std::vector<std::pair<Value, Value>> &notes() const { return notes_; }

private:
    // What a slot would hold, if somebody asked: most flags are never read, and most of what a flush loads is not.
    struct Deferred {
        Do what = Do::copy;  // copy: nothing; load: from a, `bytes` of them
        std::uint8_t bytes = 0;
        std::uint64_t when = 0;  // the path's instruction
        Value a, b;
    };
    // A function that was called: where its return address is, and what the preserved slots held.
    struct Called {
        Value at;
        std::vector<Value> given;
        bool operator==(const Called &) const = default;
    };
    struct State {
        std::vector<Value> slots;
        std::vector<Called> functions;  // those that have not come back
        std::vector<Deferred> deferred;
        std::vector<std::uint32_t> loads;  // slots with a deferred load, some of them no longer
        Memory memory;
        Facts facts;
        std::vector<Decided> decisions;
        std::vector<std::shared_ptr<const Events>> before;
        Events events;
        std::uint64_t earlier = 0;  // events that are kept in `before`
        std::uint64_t instructions = 0;
        std::uint64_t changes = 0;  // of memory
        bool has_numbers = false;   // facts say what something in an address is
        const Instruction *at = nullptr;
        std::uint32_t operation = 0;
        std::uint32_t carry_by = 0;
        std::uint32_t rest_by = 0;
    };
    // A state as it was, to see whether it comes again.
    struct Before {
        const Instruction *at = nullptr;
        std::uint64_t changes = 0;
        std::vector<Value> slots;
        std::vector<Deferred> deferred;
    };

    const Instruction &instruction(Place place);
    const Instruction &gone_to(const Instruction *&kept, Place place);
    Value read(State &s, const Operand &o);
    Value settled(State &s, std::uint32_t slot);
    bool defer(State &s, const Operation &o);
    void settle_loads(State &s);
    void write(State &s, const Operand &o, Value v);
    Value computed(State &s, const Operation &o);
    Value flag(Do what, Value a, Value b);
    void emit(State &s, const Operation &o);
    void check_reach(const State &s, Value at, unsigned bytes) const;
    bool is_misaligned(Value at, unsigned alignment) const;
    // None: the state has gone on, behind where both ways meet again.
    std::optional<bool> decide(State &s, Value condition, std::vector<State> &forks, const Bounds &bounds);
    Place target(State &s, Value value) const;
    bool run_instruction(State &s, std::vector<State> &forks, const Bounds &bounds, Path &path);
    static void put_behind(State &s);
    bool comes_again(const State &s, const Before &before) const;
    void run_aside(const State &s, Place place, const Bounds &bounds);
    void prune(Instruction &i, const Instruction &behind) const;
    // --- where both ways of a branch meet (join.cpp)
    bool joins(Place at) const {
        return joins_.contains(at) || (!joining_.empty() && !never_joins_.contains(at));
    }
    bool learn_joins(const std::vector<State> &all);
    bool join(State &s, Value question, const Bounds &bounds);
    bool go_on(State &s, const Bounds &bounds);
    bool put_together(const State &before, State &a, State &b, Value question);
    // --- which question a branch comes to (questions.cpp)
    static constexpr std::size_t most_entries = 64;
    std::optional<bool> at_an_end(State &s, Value question);
    std::optional<Value> by_distance(State &s, Value question);
    bool lies_at_an_end(const Events &events, Value base, Interval where) const;
    std::optional<Value> spelled_out(State &s, Value v);
    void settle_tables(State &s, Value v);
    std::optional<Value> asked_of_index(State &s, Value v);
    bool may_be_table(const State &s, Value place, bool now);
    std::vector<std::pair<Value, Base::Pointer>> entries_at(State &s, Value begin, unsigned bytes, bool now);
    Value chosen(const std::vector<std::pair<Value, Base::Pointer>> &entries, Value (*of)(const Base::Pointer &));
    Value loaded(State &s, Value at, unsigned bytes);
    std::vector<std::pair<Value, Base::Pointer>> entries_of(State &s, const Origin &origin);
    std::optional<Value> by_table(State &s, Value to, std::vector<State> &forks, const Bounds &bounds);
    void run_path(State &s, std::vector<State> &forks, const Bounds &bounds, Path &path);
    Value truth(Value v) { return world_.terms.complement(world_.terms.equal(v, number(v.bits, 0))); }
    Value address(State &s, const Operand &o);
    bool is_outside(const Value &to) const;
    void outside_call(State &s, Value to);
    Value popped(State &s);
    void unwind(State &s);
    void enter_function(State &s);
    bool is_save(State &s, const Operand &pushed, Value value) const;
    std::uint32_t noted(const State &s, Value a, Value b);
    bool is_callers(const Value &to);
    bool is_from_table(const Value &to);
    static std::vector<TermId> regions(const State &s);

    unsigned bits_;
    std::vector<std::uint8_t> slot_bits_;
    Lift lift_;
    World world_;
    std::vector<Value> entry_;
    Memory memory_;
    std::map<Place, std::unique_ptr<Instruction>> program_;
    std::map<Place, Instruction> stops_;  // at the places of until_
    std::set<Place> until_;
    bool inside_ = false;
    std::uint32_t carry_slot_ = 0;
    std::uint32_t zero_slot_ = 0;
    std::vector<bool> temporary_;
    std::vector<std::uint32_t> changed_;
    std::vector<std::uint32_t> arguments_;
    std::vector<std::uint32_t> preserved_;
    std::uint16_t call_event_ = 0;
    std::uint16_t load_event_ = 0;
    std::vector<Place> places_;
    std::vector<std::pair<Value, Value>> notes_;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> noted_;  // the last one, by operation
    std::uint64_t aside_ = 0;
    // Branches whose ways are run up to where they meet; those at which that is going on, where all others are; and those
    // whose ways do not meet.
    std::set<Place> joins_;
    std::set<Place> joining_;
    std::set<Place> never_joins_;
    std::set<std::uint16_t> accesses_;
    bool kept_off_ends_ = false;
    std::vector<Aside> asides_;
    std::size_t waiting_ = 0;
    std::size_t finished_ = 0;
};

}  // namespace l1dflush::machine
