// Seeing a set from its policy's own pointers, so that the policy state disappears.
//
// LRU, FIFO, tree-PLRU and LRUgPLRU4 "only permute": renaming the ways by a symmetry of the policy turns any state
// into any other, and the renaming that turns state s into base() sends way w to position(s, w). So instead of
// (state, content per way) one can keep (content per position): what a hit at position p does is to move the content
// of every position j to perm[j], and the victim always stands at the same position.
//
// Nobody trusts a hand-written permutation: the tables are derived from the policy itself, by asking in base()
// (where position == way) what each operation does to the positions. That the answer is the same from every other
// state is what `position` promises:
//
//     position(hit(s, w), j) == hit_to[position(s, w)][position(s, j)], and the same for fill;
//     position(s, victim(s)) == victim
//
// The unit tests check that equation on every state of every such policy up to 8 ways, and on LRU3PLRU4's 3072.
//
// The one thing that is not symmetric is "the LOWEST-NUMBERED invalid way is filled first". With at most one invalid
// way the lowest is the only one and positions suffice; the prover leaves this view when a miss finds two.
#pragma once

#include <array>
#include <concepts>

#include "policy/policy.hpp"

namespace l1dflush {

template <class P>
concept PermutingPolicy = requires(const P &policy, PolicyState state, int way) {
    { policy.base() } -> std::same_as<PolicyState>;
    { policy.position(state, way) } -> std::same_as<int>;
};

struct RelativeTables {
    using Permutation = std::array<std::uint8_t, max_ways>;

    int ways = 0;
    int victim = 0;  // position of the victim
    // hit_from[p][i]: the old position of what stands at i after a hit at p; fill_from: after a fill at p.
    std::array<Permutation, max_ways> hit_from{};
    std::array<Permutation, max_ways> fill_from{};
};

template <PermutingPolicy P>
RelativeTables relative_tables(const P &policy) {
    RelativeTables tables;
    tables.ways = policy.ways();
    const PolicyState base = policy.base();
    for (int way = 0; way < policy.ways(); ++way)
        if (policy.position(base, way) != way) throw std::logic_error("base() does not have position == way");
    tables.victim = policy.victim(base);
    for (int p = 0; p < policy.ways(); ++p) {
        const PolicyState hit = policy.hit(base, p);
        const PolicyState fill = policy.fill(base, p);
        for (int way = 0; way < policy.ways(); ++way) {
            tables.hit_from[p][policy.position(hit, way)] = static_cast<std::uint8_t>(way);
            tables.fill_from[p][policy.position(fill, way)] = static_cast<std::uint8_t>(way);
        }
    }
    return tables;
}

}  // namespace l1dflush
