// The start states of `--start any`: every policy state of a full set that was filled from empty.
#pragma once

#include <algorithm>
#include <cstddef>
#include <unordered_set>
#include <vector>

#include "policy/policy.hpp"
#include "prover/limits.hpp"

namespace l1dflush {

// Enumerated, never taken from a formula: from the empty set, misses fill the invalid ways in the policy's order with
// any hits on valid ways in between; in the full set any hit and any miss. A machine that does not say what a fill
// does starts in a full set.
template <class P>
std::vector<PolicyState> full_set_states(const P &policy, const Limits &limits) {
    const unsigned all = (1U << policy.ways()) - 1;
    unsigned invalid = has_fills(policy) ? all : 0;
    std::vector<PolicyState> layer{policy.empty()};
    for (;;) {
        // Close under hits on the valid ways (and misses, once full) ...
        std::unordered_set<PolicyState> seen(layer.begin(), layer.end());
        for (std::size_t i = 0; i < layer.size(); ++i) {
            limits.poll_now_and_then(i);
            const PolicyState state = layer[i];
            auto reach = [&](PolicyState next) {
                if (!seen.insert(next).second) return;
                layer.push_back(next);
                limits.check(layer.size());
            };
            for (int way = 0; way < policy.ways(); ++way)
                if (!((invalid >> way) & 1U)) each_hit(policy, state, way, reach);
            if (invalid == 0) each_miss(policy, state, [&](int, PolicyState next, Weight) { reach(next); });
        }
        if (invalid == 0) return layer;
        // ... then fill the next way.
        const int way = invalid_way<P>(invalid);
        invalid &= ~(1U << way);
        std::unordered_set<PolicyState> filled;
        for (const PolicyState state : layer)
            each_fill(policy, state, way, [&](PolicyState next, Weight) { filled.insert(next); });
        layer.assign(filled.begin(), filled.end());
        std::sort(layer.begin(), layer.end());  // the order must not depend on the hash
    }
}

}  // namespace l1dflush
