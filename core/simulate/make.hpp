// A simulator for a policy's name.
#pragma once

#include <memory>
#include <string>

#include "simulate/policy_simulator.hpp"

namespace l1dflush {

// Throws std::invalid_argument for an unknown policy, a shape that is none, and a policy that is not deterministic.
inline std::unique_ptr<Simulator> make_simulator(const PolicyChoice &policy, const Shape &shape, std::uint64_t seed,
                                                 bool plain) {
    return with_policy(policy, shape.ways, [&](const auto &p) -> std::unique_ptr<Simulator> {
        return std::make_unique<PolicySimulator<std::decay_t<decltype(p)>>>(p, shape, seed, plain);
    });
}

}  // namespace l1dflush
