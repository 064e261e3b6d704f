// SPDX-License-Identifier: GPL-2.0-or-later
// A simulator for a policy's name.
#pragma once

#include <cstdint>
#include <memory>

#include "policy/registry.hpp"
#include "simulate/simulator.hpp"

namespace l1dflush {

// `plain`: the plain way of running it only, for comparison (policy_simulator.hpp). Throws std::invalid_argument for an
// unknown policy, a shape that is none, and a policy that is not deterministic.
std::unique_ptr<Simulator> make_simulator(const PolicyChoice &policy, const Shape &shape, std::uint64_t seed,
                                          bool plain);

}  // namespace l1dflush
