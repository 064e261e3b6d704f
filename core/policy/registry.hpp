// Policies by canonical name. Names are parsed once, here; everything else is a template over the policy.
#pragma once

#include <string>

#include "policy/bit_plru.hpp"
#include "policy/fifo.hpp"
#include "policy/lru.hpp"
#include "policy/lru_plru4.hpp"
#include "policy/tree_plru.hpp"

namespace l1dflush {

// Calls `use` with the policy object. Throws std::invalid_argument for an unknown name or a wrong number of ways.
template <class Use>
auto with_policy(const std::string &name, int ways, Use use) {
    if (name == "LRU") return use(Lru(ways));
    if (name == "FIFO") return use(Fifo(ways));
    if (name == "tree-PLRU") return use(TreePlru(ways));
    if (name == "bit-PLRU") return use(BitPlru(ways));
    if (name.size() == 9 && name.starts_with("LRU") && name.ends_with("PLRU4"))
        return use(LruPlru4(name[3] - '0', ways));
    throw std::invalid_argument("unknown policy " + name);
}

}  // namespace l1dflush
