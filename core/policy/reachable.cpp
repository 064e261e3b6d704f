// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/reachable.hpp"

#include <algorithm>
#include <cstddef>
#include <unordered_set>
#include <utility>

#include "policy/state_numbers.hpp"

namespace l1dflush {

std::vector<PolicyState> full_set_states(const AnyPolicy &policy, const Limits &limits) {
    const unsigned all = (1U << policy.ways()) - 1U;
    StateNumbers layer;
    layer.add(policy.empty());
    for (unsigned valid = policy.facts.has_fills ? 0U : all;;) {
        // Close under hits on the valid ways (and misses, once full) ...
        for (std::size_t i = 0; i < layer.size(); ++i) {
            limits.poll_now_and_then(i);
            const PolicyState state = layer[i];
            auto reach = [&](PolicyState next) {
                if (layer.add(next).fresh) limits.check(layer.size());
            };
            for (int way = 0; way < policy.ways(); ++way)
                if ((valid >> way) & 1U) policy.each_hit(state, way, reach);
            if (valid == all) policy.each_miss(state, [&](int, PolicyState next, Weight) { reach(next); });
        }
        if (valid == all) break;
        // ... then fill the next way.
        const int next_way = policy.invalid_way(all & ~valid);
        StateNumbers filled;
        for (const PolicyState state : layer.states())
            policy.each_fill(state, next_way, [&](PolicyState next, Weight) { filled.add(next); });
        layer = std::move(filled);
        valid |= 1U << next_way;
    }
    std::vector<PolicyState> states = layer.states();
    std::sort(states.begin(), states.end());
    return states;
}

std::vector<SetState> all_set_states(const AnyPolicy &policy, const Limits &limits) {
    const unsigned all = (1U << policy.ways()) - 1U;
    struct Hash {
        std::size_t operator()(const SetState &s) const {
            const std::uint64_t h = (s.first * 0x9E3779B97F4A7C15U + s.second) * 0xD6E8FEB86659FD93U;
            return static_cast<std::size_t>(h ^ (h >> 32));
        }
    };
    std::vector<SetState> found{{policy.empty(), 0U}};
    std::unordered_set<SetState, Hash> seen(found.begin(), found.end());
    for (std::size_t i = 0; i < found.size(); ++i) {
        limits.poll_now_and_then(i);
        const auto [state, valid] = found[i];
        auto reach = [&](PolicyState next, unsigned next_valid) {
            if (!seen.insert({next, next_valid}).second) return;
            found.emplace_back(next, next_valid);
            limits.check(found.size());
        };
        for (int way = 0; way < policy.ways(); ++way) {
            if (!((valid >> way) & 1U)) continue;
            policy.each_hit(state, way, [&](PolicyState next) { reach(next, valid); });
            reach(state, valid & ~(1U << way));
        }
        if (valid == all) {
            policy.each_miss(state, [&](int, PolicyState next, Weight) { reach(next, all); });
        } else {
            const int way = policy.invalid_way(all & ~valid);
            policy.each_fill(state, way, [&](PolicyState next, Weight) { reach(next, valid | (1U << way)); });
        }
    }
    std::sort(found.begin(), found.end());
    return found;
}

}  // namespace l1dflush
