// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/make.hpp"

#include <type_traits>

#include "policy/list.hpp"
#include "simulate/policy_simulator.hpp"

namespace l1dflush {

std::unique_ptr<Simulator> make_simulator(const PolicyChoice &choice, const Shape &shape, std::uint64_t seed,
                                          bool plain) {
    return with_policy(choice, shape.ways, [&](const auto &policy) -> std::unique_ptr<Simulator> {
        return std::make_unique<PolicySimulator<std::decay_t<decltype(policy)>>>(policy, shape, seed, plain);
    });
}

}  // namespace l1dflush
