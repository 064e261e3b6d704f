// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/registry.hpp"

#include "policy/list.hpp"

namespace l1dflush {

std::unique_ptr<const AnyPolicy> make_policy(const PolicyChoice &choice, int ways) {
    return with_policy(choice, ways, [](const auto &policy) -> std::unique_ptr<const AnyPolicy> {
        return std::make_unique<PolicyOf<std::decay_t<decltype(policy)>>>(policy);
    });
}

}  // namespace l1dflush
