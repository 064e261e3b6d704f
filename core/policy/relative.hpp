// SPDX-License-Identifier: GPL-2.0-or-later
// Seeing a set from its policy's own pointers, so that most or all of the policy state disappears.
//
// Many policies are symmetric: renaming the ways turns one state into another, and what happens from the second is
// what happens from the first with the ways renamed. So a state can be seen from its own pointers: `position(s, w)` is
// where way w stands as seen from there, and `residue(s)` is what is left of the state then. For policies that only
// permute (LRU, FIFO, tree-PLRU, LRUgPLRU4, ...) nothing is left, and instead of (state, content per way) one can keep
// (content per position): a hit at position p moves the content of every position, and the victim always stands at the
// same one. Where some symmetry is missing (CLOCK's bits, the root of a tree whose children differ) the residue has
// what remains.
//
// Nobody trusts a hand-written permutation: the tables are derived from the policy itself, by asking in
// representative(residue), where position == way, what each operation does. That the answer is the same from every
// other state is what `position` and `residue` promise:
//
//     let r = representative(residue(s)), p = position(s, w): then
//     residue(hit(s, w)) == residue(hit(r, p)), and for all j
//     position(hit(s, w), j) == position(hit(r, p), position(s, j)); the same for fill and miss; and
//     position(s, victim(s)) == victim(r)
//
// The unit tests check that on every state of every such policy up to 8 ways, and on LRU3PLRU4's 3072.
//
// The one thing that is not symmetric is "the LOWEST-NUMBERED invalid way is filled first": see RelativeMachine.
#pragma once

#include <array>
#include <unordered_map>
#include <vector>

#include "policy/any.hpp"

namespace l1dflush {

// The way that stands at this position.
inline int way_at(const AnyPolicy &policy, PolicyState state, int position) {
    int way = 0;
    while (policy.position(state, way) != position) ++way;
    return way;
}

// What the operations do to a set with one residue.
struct RelativeTable {
    using Permutation = std::array<std::uint8_t, max_ways>;
    struct Change {
        Permutation from;  // from[i]: the old position of what stands at i afterwards
        PolicyState residue;
        Weight weight;
        bool operator==(const Change &) const = default;
    };
    struct Miss {
        int victim;  // position
        Change change;
    };

    std::array<std::vector<Change>, max_ways> hit;   // per position
    std::array<std::vector<Change>, max_ways> fill;  // of an invalid way, per position
    std::vector<Miss> miss;
};

// The tables of one policy, each made when it is first asked for.
class RelativeTables {
public:
    explicit RelativeTables(const AnyPolicy &policy) : policy_(policy) {}

    const RelativeTable &at(PolicyState residue) const {
        if (last_ != nullptr && last_residue_ == residue) return *last_;
        return made(residue);
    }

private:
    const RelativeTable &made(PolicyState residue) const;

    const AnyPolicy &policy_;
    mutable std::unordered_map<PolicyState, RelativeTable> tables_;
    mutable const RelativeTable *last_ = nullptr;
    mutable PolicyState last_residue_ = 0;
};

}  // namespace l1dflush
