// SPDX-License-Identifier: GPL-2.0-or-later
// bit-PLRU for counterexamples and with touches: every way has its place, its bit is settled lazily.
#pragma once

#include "prover/machine.hpp"

namespace l1dflush {

// bit-PLRU with bits that are settled lazily. A bit is 0, 1 or open; a state stands for every way to close the open
// bits that leaves NOT ALL bits 1 (a full set never has that), and, before the first touch, not all 0 either.
//
// Touching way w, seen over all those closings:
//   - some other bit is 0: bit w becomes 1, the rest stays. What comes out is exactly "w is 1, the others as before,
//     not all 1"; possible unless all others are known to be 1.
//   - all other bits are 1 (possible unless one is known to be 0), and then bit w must have been 0: the reset. All
//     bits are known after it.
// A miss in a full set takes the lowest way whose bit is 0: way v can be it if its bit is not 1 and no bit below is 0;
// it settles the bits below to 1 and its own to 0, and then v is touched.
//
// "Not all 0" matters before the first touch only, when all bits are open, and is lost without loss there. The start
// all 0 could only add: a hit (or the fill of an invalid way) at w giving "w is 1, the others 0", which the legal
// start with just that bit set gives as well; and a miss at way 0 giving "way 0 is 1, the others 0", which the legal
// start 0 1 1 ... 1 gives by a reset, with the same content. After a touch some bit is always 1.
//
// A flushed way keeps its bit, and if that was open it is settled there and then: both ways are followed.
//
// An open bit dominates a known one: it stands for more starts.
class LazyBitMachine final : public NamedWays<LazyBitMachine> {
public:
    explicit LazyBitMachine(int ways) : NamedWays(true), ways_(ways), all_((1U << ways) - 1U) {
        require(ways >= 2 && ways <= max_ways, "lazily settled bits need 2 to 16 ways");
    }

    int ways() const override { return ways_; }

    void starts(ToState out) const override {
        State state;
        mark_all_valid(state);
        out(state);
    }
    void hit(const State &state, int way, ToState out) const override {
        touch(state, way, out);
    }
    void fill(const State &state, int way, ToBranch out) const override {
        touch(state, way, [&](const State &next) { out(next, Weight{}); });
    }
    void evict(const State &full, bool /*open*/, Settle settle, ToVictim out) const override {
        State state = full;
        for (int way = 0; way < ways_; ++way) {
            if (ones(state) & (1U << way)) continue;
            const bool certain = (zeros(state) >> way) & 1U;
            State chosen = state;
            set_bits(chosen, zeros(state) | (1U << way), ones(state));
            settle(chosen, way);
            touch(chosen, way, [&](const State &next) { out(way, next, Weight{}); });
            if (certain) return;
            set_bits(state, zeros(state), ones(state) | (1U << way));  // it is 1: look further up
        }
    }
    void flush_unknown(const State &state, ToPlace out) const override {
        for (int way = 0; way < ways_; ++way) {
            if (!is_unknown(state, way)) continue;
            const State next = flushed(state, way);
            const unsigned self = 1U << way;
            if ((zeros(state) | ones(state)) & self) {
                out(way, next);
                continue;
            }
            State zero = next;
            set_bits(zero, zeros(state) | self, ones(state));
            out(way, zero);
            const unsigned open = all_ & ~zeros(state) & ~ones(state) & ~self;
            if (zeros(state) == 0 && open == 0) continue;  // all would be 1
            State one = next;
            set_bits(one, zeros(state) == 0 && std::has_single_bit(open) ? open : zeros(state), ones(state) | self);
            out(way, one);
        }
    }

    // What is known about the bits, for whoever continues with another machine.
    static unsigned zeros(const State &state) { return (state.mask >> zeros_shift) & 0xFFFFU; }
    static unsigned ones(const State &state) { return (state.mask >> ones_shift) & 0xFFFFU; }

private:
    static void set_bits(State &state, unsigned zeros, unsigned ones) {
        constexpr std::uint64_t bits = (std::uint64_t{0xFFFFFFFF} << zeros_shift);
        state.mask = (state.mask & ~bits) | (static_cast<std::uint64_t>(zeros) << zeros_shift) |
                     (static_cast<std::uint64_t>(ones) << ones_shift);
    }

    void touch(State state, int way, ToState out) const {
        const unsigned self = 1U << way;
        const unsigned other_ways = all_ & ~self;
        const bool could_be_0 = !(ones(state) & self);
        unsigned zero = zeros(state) & ~self;
        const unsigned one = ones(state) | self;
        if (zero == 0 && could_be_0) {
            State reset = state;
            set_bits(reset, other_ways, self);
            out(reset);
        }
        const unsigned open = all_ & ~zero & ~one;
        if (zero | open) {
            // Not all 1: the last open bit must be the 0. Written down so that equal states look equal.
            if (zero == 0 && std::has_single_bit(open)) zero = open;
            set_bits(state, zero, one);
            out(state);
        }
    }

    int ways_;
    unsigned all_;
};

}  // namespace l1dflush
