// SPDX-License-Identifier: GPL-2.0-or-later
// The list of all policies, by canonical name. Names are parsed here and nowhere else.
//
// It includes every policy, so only those include it who need their own types: registry.cpp, and the simulator.
#pragma once

#include <string>
#include <string_view>

#include "policy/bit_plru.hpp"
#include "policy/clock.hpp"
#include "policy/fifo.hpp"
#include "policy/grouped_plru4.hpp"
#include "policy/lru.hpp"
#include "policy/mealy.hpp"
#include "policy/nru.hpp"
#include "policy/qlru.hpp"
#include "policy/random_way.hpp"
#include "policy/registry.hpp"
#include "policy/shaped_tree.hpp"
#include "policy/tree_plru.hpp"

namespace l1dflush {

// Calls `use` with the policy object. Throws std::invalid_argument for an unknown name or a wrong number of ways.
template <class Use>
auto with_policy(const PolicyChoice &choice, int ways, Use use) {
    if (const Mealy *machine = std::get_if<Mealy>(&choice)) {
        require(machine->ways() == ways, "the machine has another number of ways");
        return use(*machine);
    }
    const std::string_view name = std::get<std::string>(choice);
    if (name == "LRU") return use(Lru(ways));
    if (name == "FIFO") return use(Fifo(ways));
    if (name == "LIP") return use(Lip(ways));
    if (name == "BIP") return use(Bip(ways));
    if (name == "random") return use(RandomWay(ways));
    if (name == "tree-PLRU") return use(TreePlru(ways));
    constexpr std::string_view shaped = "tree-PLRU:";
    if (name.starts_with(shaped)) return use(ShapedTree(name.substr(shaped.size()), ways));
    if (name.size() == 9 && name.ends_with("PLRU4")) {
        if (name.starts_with("LRU")) return use(LruPlru4(name[3] - '0', ways));
        if (name.starts_with("MRU")) return use(MruPlru4(name[3] - '0', ways));
    }
    if (name == "bit-PLRU") return use(BitPlru(ways));
    if (name == "NRU") return use(Nru(ways));
    if (name == "CLOCK") return use(Clock(ways));
    if (name == "BRRIP") return use(Brrip(ways));
    if (name == "SRRIP-HP") return use(Qlru<false>(parse_qlru("QLRU_H00_M2_R0_U0_UMO"), ways));
    if (name == "SRRIP-FP") return use(Qlru<false>(parse_qlru("QLRU_H21_M2_R0_U0_UMO"), ways));
    if (name.starts_with("QLRU_")) {
        const QlruRules rules = parse_qlru(name);
        if (rules.replace == 2) return use(Qlru<true>(rules, ways));
        return use(Qlru<false>(rules, ways));
    }
    throw std::invalid_argument("unknown policy " + std::string(name));
}

}  // namespace l1dflush
