// SPDX-License-Identifier: GPL-2.0-or-later
// bit-PLRU for deciding: ways that nobody has to tell apart have no names.
//
// bit-PLRU has no symmetry that would remove its bits, and a hit may be in any unknown way, so keeping every way's
// content and bit (lazy_bits.hpp) makes more than 3^ways states. But where a hit was matters only when a miss looks
// for its victim, from way 0 up. So it is left open until then.
//
// STATE. Some ways are named: content and bit (0 or 1) are known. The others, the set G, are nameless: known is only
// how many of them are in each condition,
//
//   open            unknown content, bit not settled
//   zero_unknown    unknown content, bit 0
//   zero_settled    settled content, bit 0
//   one_settled     settled content, bit 1
//
// and the state stands for every way to hand these conditions out to the ways of G (and every way to settle the open
// bits, not all bits being 1). At the start all ways are nameless and open. A nameless way is never labelled or
// invalid: what makes it so names it. An unknown way with bit 1 in G could only come from settling an open bit to 1;
// that happens only by naming the way, or for all at once just before a reset, which makes them 0.
//
// STEPS. Each is exact, because it treats all ways in one condition alike, and they are: a state holds every way to
// hand the conditions out, before and after.
//   - A hit in a nameless way takes one way out of its condition and puts it into one_settled; if the line will be
//     touched again, each way of G in turn is named as the one.
//   - A miss goes up from way 0. A named way is passed (1) or taken (0). A nameless way is first named, once as each
//     condition that there is: settled with bit 1, or open and now known to be 1: passed; bit 0, or open and now known
//     to be 0: taken.
//   - The reset: as in lazy_bits.hpp, counted.
//
// DOMINANCE. `mask` has the settled named ways and, in unary, how many of the nameless ways with bit 0 are settled.
// Fewer settled leaves more: hand the conditions out in the same way, with some of B's settled ways unknown in A.
//
// LEFT OUT. A miss of a line that might as well have been cached from the start, with an unknown way v as its victim,
// is the same as a hit of it in v, except that the miss also tells something about other ways: what comes out of the
// hit includes what comes out of the miss. So such misses are not followed. (Not so for a counterexample that is to
// be smallest, where the miss is cheaper: those are looked for with lazy_bits.hpp.)
//
// Touches by others may hit unknown ways, which would need one more condition: with touches lazy_bits.hpp decides too.
#pragma once

#include "prover/machine.hpp"

namespace l1dflush {

class NamelessMachine final : public Machine {
public:
    // The policy's part of a state, unpacked. Key.policy: bits 0-15 the nameless ways, 16-31 the named ways with bit 1,
    // 32-36 open, 37-41 zero_unknown + zero_settled. State.mask: bits 16-31 zero_settled in unary.
    struct Bits {
        unsigned nameless;
        unsigned ones;
        unsigned open;
        unsigned zero_unknown;
        unsigned zero_settled;
        unsigned one_settled;
    };

    explicit NamelessMachine(int ways) : Machine(true), ways_(ways), all_((1U << ways) - 1U) {
        require(ways >= 2 && ways <= max_ways, "nameless ways need 2 to 16 ways");
    }

    int ways() const override { return ways_; }

    void starts(ToState out) const override {
        State state;
        pack(state, Bits{all_, 0, static_cast<unsigned>(ways_), 0, 0, 0});
        out(state);
    }

    void hit(const State &state, int way, ToState out) const override {
        touch_named(state, unpack(state), way, out);
    }
    void fill(const State &state, int way, ToBranch out) const override {
        hit(state, way, [&](const State &next) { out(next, Weight{}); });
    }

    void hit_unknown(const State &state, bool more, Settle settle, ToPlace out) const override {
        const Bits bits = unpack(state);
        for (int way = 0; way < ways_; ++way) {
            if (!is_named(bits, way) || !is_unknown(state, way)) continue;
            State found = state;
            settle(found, way);
            touch_named(found, bits, way, [&](const State &next) { out(way, next); });
        }
        hit_nameless(state, bits, &Bits::open, more, settle, out);
        hit_nameless(state, bits, &Bits::zero_unknown, more, settle, out);
    }

    void evict(const State &state, bool open_line, Settle settle, ToVictim out) const override {
        scan(state, unpack(state), 0, open_line, settle, out);
    }

    void flush_unknown(const State &state, ToPlace out) const override {
        const Bits bits = unpack(state);
        for (int way = 0; way < ways_; ++way) {
            if (is_named(bits, way)) {
                if (is_unknown(state, way)) out(way, flushed(state, way));
                continue;
            }
            auto flush_as = [&](unsigned Bits::*condition, bool one) {
                if (bits.*condition == 0) return;
                Bits next = named(bits, condition, way, one);
                if (!has_zero(next) && next.open == 0) return;  // all would be 1
                settle_last_open(next);
                State to = flushed(state, way);
                pack(to, next);
                out(way, to);
            };
            flush_as(&Bits::open, false);
            flush_as(&Bits::open, true);
            flush_as(&Bits::zero_unknown, false);
        }
    }

    int unknown(const State &state) const override {
        const Bits bits = unpack(state);
        const unsigned named_unknown = unknown_ways(state, ways_) & ~bits.nameless;
        return std::popcount(named_unknown) + static_cast<int>(bits.open + bits.zero_unknown);
    }

    // The same state as the machine of lazy_bits.hpp has it.
    State from_lazy(const State &lazy, unsigned zeros, unsigned ones) const {
        State state = lazy;
        state.mask &= 0xFFFFU;
        const unsigned open = all_ & ~zeros & ~ones;
        pack(state, Bits{open, ones, static_cast<unsigned>(std::popcount(open)), 0, 0, 0});
        return state;
    }

private:
    static Bits unpack(const State &state) {
        Bits bits{};
        bits.nameless = state.key.policy & 0xFFFFU;
        bits.ones = (state.key.policy >> 16) & 0xFFFFU;
        bits.open = (state.key.policy >> 32) & 31U;
        const unsigned zero = (state.key.policy >> 37) & 31U;
        bits.zero_settled = static_cast<unsigned>(std::popcount((state.mask >> 16) & 0xFFFFU));
        bits.zero_unknown = zero - bits.zero_settled;
        bits.one_settled = static_cast<unsigned>(std::popcount(bits.nameless)) - bits.open - zero;
        return bits;
    }
    static void pack(State &state, const Bits &bits) {
        state.key.policy = bits.nameless | (static_cast<PolicyState>(bits.ones) << 16) |
                           (static_cast<PolicyState>(bits.open) << 32) |
                           (static_cast<PolicyState>(bits.zero_unknown + bits.zero_settled) << 37);
        state.mask = (state.mask & 0xFFFFU) | (((std::uint64_t{1} << bits.zero_settled) - 1) << 16);
        mark_all_valid(state);
    }

    static bool is_named(const Bits &bits, int way) { return !((bits.nameless >> way) & 1U); }
    bool has_zero(const Bits &bits) const {
        return (all_ & ~bits.nameless & ~bits.ones) != 0 || bits.zero_unknown + bits.zero_settled > 0;
    }
    // Not all bits are 1: if only one can be 0, it is. Written down so that equal states look equal.
    void settle_last_open(Bits &bits) const {
        if (has_zero(bits) || bits.open != 1) return;
        bits.open = 0;
        bits.zero_unknown = 1;
    }
    static Bits named(Bits bits, unsigned Bits::*condition, int way, bool one) {
        bits.*condition -= 1;
        bits.nameless &= ~(1U << way);
        if (one) bits.ones |= 1U << way;
        return bits;
    }

    // A touch. `bits` without the touched way: it is in no condition, and as a named way it is counted as 1 so that
    // it is not taken for a zero. `could_be_0`: its bit is 0 or open.
    template <class Done>
    void touch(const Bits &bits, bool could_be_0, Done done) const {
        const bool other_zero = has_zero(bits);
        if (!other_zero && could_be_0) {
            Bits reset = bits;
            reset.ones = 0;
            reset.zero_unknown = bits.open;
            reset.zero_settled = bits.one_settled;
            reset.open = 0;
            reset.one_settled = 0;
            done(reset);
        }
        if (other_zero || bits.open > 0) {
            Bits same = bits;
            settle_last_open(same);
            done(same);
        }
    }

    void touch_named(const State &state, const Bits &bits, int way, ToState out) const {
        const unsigned self = 1U << way;
        Bits others = bits;
        others.ones |= self;
        touch(others, !(bits.ones & self), [&](Bits next) {
            next.ones |= self;
            State to = state;
            pack(to, next);
            out(to);
        });
    }

    void hit_nameless(const State &state, const Bits &bits, unsigned Bits::*condition, bool more, Settle settle,
                      ToPlace out) const {
        if (bits.*condition == 0) return;
        if (!more) {
            Bits others = bits;
            others.*condition -= 1;
            touch(others, true, [&](Bits next) {
                next.one_settled += 1;
                State to = state;
                pack(to, next);
                out(0, to);  // no place: nobody asks this machine for a counterexample
            });
            return;
        }
        for (int way = 0; way < ways_; ++way) {
            if (is_named(bits, way)) continue;
            State found = state;
            settle(found, way);
            touch_named(found, named(bits, condition, way, false), way, [&](const State &next) { out(way, next); });
        }
    }

    // Looks for the victim from `way` up; everything below is named and 1.
    void scan(const State &state, const Bits &bits, int way, bool open_line, Settle settle, ToVictim out) const {
        for (; way < ways_ && is_named(bits, way); ++way) {
            if ((bits.ones >> way) & 1U) continue;
            if (!(open_line && is_unknown(state, way))) take(state, bits, way, settle, out);
            return;
        }
        if (way == ways_) return;  // no bit was 0: not a state at all
        auto take_as = [&](unsigned Bits::*condition, bool settled) {
            if (bits.*condition > 0)
                take(with_content(state, way, settled), named(bits, condition, way, false), way, settle, out);
        };
        auto pass_as = [&](unsigned Bits::*condition, bool settled) {
            if (bits.*condition > 0)
                scan(with_content(state, way, settled), named(bits, condition, way, true), way + 1, open_line, settle,
                     out);
        };
        take_as(&Bits::zero_settled, true);
        if (!open_line) {
            take_as(&Bits::zero_unknown, false);
            take_as(&Bits::open, false);
        }
        pass_as(&Bits::one_settled, true);
        pass_as(&Bits::open, false);
    }

    static State with_content(State state, int way, bool settled) {
        if (settled) state.mask |= bit(way);
        return state;
    }

    void take(State state, const Bits &bits, int way, Settle settle, ToVictim out) const {
        settle(state, way);
        touch_named(state, bits, way, [&](const State &next) { out(way, next, Weight{}); });
    }

    int ways_;
    unsigned all_;
};

}  // namespace l1dflush
