// The start states of `--start any`: every policy state of a full set that was filled from empty.
#pragma once

#include <algorithm>
#include <cstddef>
#include <unordered_set>
#include <vector>

#include "policy/policy.hpp"
#include "prover/limits.hpp"

namespace l1dflush {

// Enumerated, never taken from a formula: from the empty set, misses fill way 0, 1, 2, ... (the lowest invalid way
// first) with any hits on valid ways in between; in the full set any hit and any miss.
template <class P>
std::vector<PolicyState> full_set_states(const P &policy, const Limits &limits) {
    std::vector<PolicyState> layer{policy.empty()};
    for (int valid = 0;; ++valid) {
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
            for (int way = 0; way < valid; ++way) reach(policy.hit(state, way));
            if (valid == policy.ways()) reach(policy.fill(state, policy.victim(state)));
        }
        if (valid == policy.ways()) return layer;
        // ... then fill the next way.
        std::unordered_set<PolicyState> filled;
        for (const PolicyState state : layer) filled.insert(policy.fill(state, valid));
        layer.assign(filled.begin(), filled.end());
        std::sort(layer.begin(), layer.end());  // the order must not depend on the hash
    }
}

}  // namespace l1dflush
