// SPDX-License-Identifier: GPL-2.0-or-later
// What the prover keeps of a set, and why deciding with it is exact.
//
// THE QUESTION. A set of k ways, all valid. Its policy is in any state that a full set can be in. Each way holds an
// old line or a line of the word, each line in at most one way. The word is then played. How many old lines can be
// left at the end (`leftovers`)? A routine is complete for this set when the answer is 0.
//
// STATE. Asking for every content is hopeless, so a content is settled lazily. A way is
//
//   unknown (U)   nobody touched it since the start. It holds an old line, or a line of the word that the word has
//                 not touched yet: which of the two is decided only when it makes a difference;
//   labelled      it holds a certain line of the word, one that the word touches again;
//   settled (D)   it holds a line of the word that the word does not touch again: it never matters which;
//   invalid (I)   flushed, not filled again;
//   brought (N)   filled by somebody else during the flush, with a line that is not an old line (see TOUCHES).
//
// STEP. An item that touches line i:
//   - i is in a labelled way: a hit there.
//   - nothing was certain about i so far: the adversary says that i was cached from the start, in any one of the
//     U ways (a hit there, the way is now labelled or settled), or that it was not cached (a miss).
//   - otherwise i was pushed out or flushed: a miss.
// A miss fills the first invalid way, else the policy's victim, and that way is labelled or settled. A prefetch
// (OPTIONAL) may also be dropped, which leaves everything open, i included. `gone` remembers the lines that only
// OPTIONAL items touched so far, that did come in, and that were pushed out again: they must miss next time. A FLUSH
// of a line that is (or is said to have been) cached turns its way invalid and leaves the policy alone.
//
// WHY LAZY IS EXACT. Every lazy run is a real run: put into each way the line that the run said it found there when
// the way was still U, and an old line into every other way. Lines are said to be found at most once each and ways
// stop being U when something is found there, so this is a legal start; the real run from it makes the same hits and
// misses (a line found in w was in w, untouched, all along; a line that missed was nowhere), and the U ways of the
// end hold old lines. Conversely a real run is a lazy run: whenever it first touches a line that is still cached from
// the start, nothing has touched that way, so the way is U. The number of distinct lines not touched yet never limits
// anything, because each hit names a line of its own. So the largest number of U ways at the end is the answer.
//
// INVALID WAYS. In the start `invalid` a way that nobody touched may also have been invalid all along, and that too is
// settled when it matters: at a miss. The adversary says which unknown way is the first invalid one (the lowest, for
// most policies), which says of all unknown ways before it that they are valid; or that there is none, which says it of
// all. `mask` remembers of which unknown ways it was said. A way that was hit or touched was valid. At the end a U way
// is taken to hold an old line, which is always possible.
//
// TOUCHES. Somebody else may touch the set up to e times, before any item. A touch that hits may be of any valid way
// and changes nothing but the policy's state: a U way stays U. One that misses fills a way as every miss does, with
// anything but an old line. If that is a line of the word (the prefetcher was ahead of the routine), the next access
// of it will hit there. For lines that the word touched already and that are not cached the adversary says at once
// which one it is (the way is labelled with it); for all others the way is N, and the first access of a line may be
// said to hit it: nothing else was known about that line. Lines that were said to be cached from the start, and lines
// known to be gone, cannot be the ones that an N way holds, and the essay's argument goes through as for U.
//
// WHY DOMINANCE IS EXACT. Let A and B have the same labels, invalid ways, policy state and `gone`, and let every way
// settled in A be settled in B (A has at least B's unknown ways), every way that A knows to be valid be known to be
// valid in B, and A have had at most B's touches. Whatever B can do, A can do with the same hits, ways and misses,
// because every U way of B is one of A and what a policy does depends on hit, way and validity alone. Afterwards A is
// again ahead in the same sense, so A ends with at least as many U ways: B can be forgotten. In every bucket of states
// that agree on the rest (Key) only those that no other dominates are kept: an antichain. A state without U ways is
// forgotten too: a way never becomes unknown again.
//
// POLICY STATE is seen in one of several ways: absolute (part of Key) or relative to the policy's own pointers (no
// state at all), both in machine.hpp; bit-PLRU's bits are themselves settled lazily (lazy_bits.hpp), and so is even
// the place of a hit (nameless.hpp).
//
// EXAMPLE. tree-PLRU, 2 ways, relative: position 0 is the victim, a touch moves the touched line to position 1.
// Start: U U. One access x: it hits at 0 (U D: the other way is now the victim), or at 1 (U D again), or misses
// (victim 0 filled, then moved: U D). The second access y: it may hit the U way (-> D D, no leftover), or miss: the
// victim is position 0, the U way (-> D D). No U is left: two accesses always suffice for 2 ways.
// At 4 ways the same search needs five accesses, although there are only 4 ways: a hit may turn the tree away from
// the way that has to go.
//
// WHAT A RESULT DOES NOT MEAN. It speaks about one set, its policy as given and the word as given: it does not say
// that the CPU has this policy, that the routine makes this word, or that nobody else touches the set more often than
// was allowed for.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <vector>

#include "policy/policy.hpp"
#include "prover/word.hpp"

namespace l1dflush {

// All that must agree before two states can be compared. Ways (or positions) beyond the set's are 0.
struct Key {
    std::array<Label, max_ways> label{};
    PolicyState policy = 0;
    std::uint64_t gone = 0;  // see GoneSets

    bool operator==(const Key &) const = default;

    std::uint64_t hash() const {
        std::uint64_t h = policy * 0x9E3779B97F4A7C15U + gone;
        for (const std::uint64_t word : std::bit_cast<std::array<std::uint64_t, max_ways / 4>>(label))
            h = (std::rotl(h, 29) ^ word) * 0xD6E8FEB86659FD93U;
        return h ^ (h >> 32);
    }
};

// A state. `mask`: bits 0-15 the settled ways; for lazily settled policy bits 16-31 the ways whose bit is known to be
// 0 and 32-47 known to be 1; bits 48-63 the ways known to be valid, where every way that is not U counts as one. In
// every part fewer bits leave more open, so `subset` means `dominates`.
struct State {
    Key key;
    std::uint64_t mask = 0;
};

constexpr int zeros_shift = 16;
constexpr int ones_shift = 32;
constexpr int valid_shift = 48;

inline std::uint64_t bit(int index) { return std::uint64_t{1} << index; }

inline bool subset(std::uint64_t small, std::uint64_t large) { return (small & ~large) == 0; }

// The unknown ways as a bit set.
inline unsigned unknown_ways(const State &state, int ways) {
    unsigned unlabelled = 0;
    for (int i = 0; i < ways; ++i) unlabelled |= static_cast<unsigned>(state.key.label[i] == other) << i;
    return unlabelled & ~static_cast<unsigned>(state.mask & 0xFFFFU);
}

inline int count_unknown(const State &state, int ways) { return std::popcount(unknown_ways(state, ways)); }

inline bool is_unknown(const State &state, int p) { return state.key.label[p] == other && !((state.mask >> p) & 1U); }

// The unknown ways that may be invalid as a bit set.
inline unsigned maybe_invalid(const State &state, int ways) {
    return unknown_ways(state, ways) & ~static_cast<unsigned>(state.mask >> valid_shift);
}

inline void mark_valid(State &state, unsigned ways) { state.mask |= static_cast<std::uint64_t>(ways & 0xFFFFU) << valid_shift; }

inline void mark_all_valid(State &state) { mark_valid(state, 0xFFFFU); }

inline State flushed(State state, int p) {
    state.key.label[p] = invalid;
    state.mask &= ~bit(p);
    mark_valid(state, 1U << p);
    return state;
}

// Numbers for the sets of lines that a prefetch brought in and that were pushed out before any certain access.
// Number 0 is the empty set. Kept small by forgetting a line as soon as it no longer matters.
class GoneSets {
public:
    GoneSets();
    bool contains(std::uint64_t id, std::uint32_t line) const { return id != 0 && has(id, line); }
    std::uint64_t with(std::uint64_t id, std::uint32_t line);
    std::uint64_t without(std::uint64_t id, std::uint32_t line) { return contains(id, line) ? taken(id, line) : id; }
    const std::vector<std::uint32_t> &lines(std::uint64_t id) const { return sets_[id]; }
    std::size_t size() const { return sets_.size(); }

private:
    bool has(std::uint64_t id, std::uint32_t line) const;
    std::uint64_t taken(std::uint64_t id, std::uint32_t line);
    std::uint64_t number(std::vector<std::uint32_t> set);

    std::vector<std::vector<std::uint32_t>> sets_;
    std::map<std::vector<std::uint32_t>, std::uint64_t> numbers_;
};

}  // namespace l1dflush
