// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/relative.hpp"

#include <cstdint>
#include <stdexcept>

namespace l1dflush {

namespace {

RelativeTable relative_table(const AnyPolicy &policy, PolicyState from_residue) {
    const PolicyState from = policy.representative(from_residue);
    for (int way = 0; way < policy.ways(); ++way)
        if (policy.position(from, way) != way) throw std::logic_error("a representative must have position == way");
    auto change = [&](PolicyState to, Weight weight) {
        RelativeTable::Change result{{}, policy.residue(to), weight};
        for (int way = 0; way < policy.ways(); ++way)
            result.from[static_cast<std::size_t>(policy.position(to, way))] = static_cast<std::uint8_t>(way);
        return result;
    };
    RelativeTable table;
    for (int p = 0; p < policy.ways(); ++p) {
        const auto place = static_cast<std::size_t>(p);
        policy.each_hit(from, p, [&](PolicyState to) { table.hit[place].push_back(change(to, Weight{})); });
        policy.each_fill(from, p,
                  [&](PolicyState to, Weight weight) { table.fill[place].push_back(change(to, weight)); });
    }
    policy.each_miss(from, [&](int victim, PolicyState to, Weight weight) {
        table.miss.push_back({victim, change(to, weight)});
    });
    return table;
}

}  // namespace

const RelativeTable &RelativeTables::made(PolicyState residue) const {
    auto known = tables_.find(residue);
    if (known == tables_.end()) known = tables_.emplace(residue, relative_table(policy_, residue)).first;
    last_residue_ = residue;
    last_ = &known->second;
    return *last_;
}

}  // namespace l1dflush
