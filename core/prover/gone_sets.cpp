// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <utility>

#include "prover/state.hpp"

namespace l1dflush {

GoneSets::GoneSets() : sets_{{}}, numbers_{{{}, 0}} {}

bool GoneSets::has(std::uint64_t id, std::uint32_t line) const {
    const auto &set = sets_[id];
    return std::binary_search(set.begin(), set.end(), line);
}

std::uint64_t GoneSets::with(std::uint64_t id, std::uint32_t line) {
    if (contains(id, line)) return id;
    std::vector<std::uint32_t> set = sets_[id];
    set.insert(std::lower_bound(set.begin(), set.end(), line), line);
    return number(std::move(set));
}

std::uint64_t GoneSets::taken(std::uint64_t id, std::uint32_t line) {
    std::vector<std::uint32_t> set = sets_[id];
    set.erase(std::lower_bound(set.begin(), set.end(), line));
    return number(std::move(set));
}

std::uint64_t GoneSets::number(std::vector<std::uint32_t> set) {
    const auto [entry, fresh] = numbers_.try_emplace(set, sets_.size());
    if (fresh) sets_.push_back(std::move(set));
    return entry->second;
}

}  // namespace l1dflush
