// SPDX-License-Identifier: GPL-2.0-or-later
// CLOCK: a bit per way and a pointer. A hit sets the way's bit. On a miss the pointer passes the ways whose bit is
// set and clears it; the first way without is replaced, gets its bit set, and the pointer stops behind it. Filling an
// invalid way sets its bit and leaves the pointer.
#pragma once

#include "policy/numbers.hpp"
#include "policy/policy.hpp"

namespace l1dflush {

class Clock {
public:
    explicit Clock(int ways) : ways_(ways), all_((PolicyState{1} << ways) - 1) {
        require(ways >= 1 && ways <= max_ways, "CLOCK has 1 to 16 ways");
    }

    int ways() const { return ways_; }
    PolicyState empty() const { return 0; }
    PolicyState hit(PolicyState state, int way) const { return state | (PolicyState{1} << way); }
    PolicyState fill_invalid(PolicyState state, int way) const { return hit(state, way); }

    int victim(PolicyState state) const {
        // Where all bits are set a whole round clears them, and the pointer is back where it was.
        int way = pointer(state);
        for (int passed = 0; passed < ways_ && is_set(state, way); ++passed) way = next(way);
        return way;
    }
    PolicyState fill(PolicyState state, int way) const {
        PolicyState bits = state & all_;
        // With all bits set the victim is the pointer's own way: a whole round, not none.
        if (bits == all_) bits = 0;
        for (int passed = pointer(state); passed != way; passed = next(passed)) bits &= ~(PolicyState{1} << passed);
        return packed(next(way), bits | (PolicyState{1} << way));
    }

    // Turned so that the pointer is at way 0; what is left is the bits as seen from there.
    int position(PolicyState state, int way) const { return (way - pointer(state) + ways_) % ways_; }
    PolicyState residue(PolicyState state) const {
        const PolicyState bits = state & all_;
        const int turn = pointer(state);
        return ((bits >> turn) | (bits << (ways_ - turn))) & all_;
    }
    PolicyState representative(PolicyState residue) const { return residue; }

    // The pointer, then the bits.
    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> out{pointer(state)};
        append_bits(out, state, 0, ways_);
        return out;
    }
    PolicyState pack(const std::vector<int> &in) const {
        require(static_cast<int>(in.size()) == ways_ + 1, "a CLOCK state is a pointer and one bit per way");
        require(in[0] >= 0 && in[0] < ways_, "the pointer is a way");
        return packed(in[0], read_bits(in, 1, ways_));
    }

private:
    // Bits 0..15: the ways' bits. From bit 16: the pointer.
    static PolicyState packed(int pointer, PolicyState bits) { return bits | (static_cast<PolicyState>(pointer) << 16); }
    static int pointer(PolicyState state) { return static_cast<int>(state >> 16); }
    static bool is_set(PolicyState state, int way) { return (state >> way) & 1U; }
    int next(int way) const { return way + 1 == ways_ ? 0 : way + 1; }

    int ways_;
    PolicyState all_;
};

}  // namespace l1dflush
