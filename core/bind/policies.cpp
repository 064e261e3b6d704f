// SPDX-License-Identifier: GPL-2.0-or-later
// Policies one step at a time, as the tests and the checks of a proof ask for them.
#include "bind/policies.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "bind/run.hpp"
#include "policy/reachable.hpp"
#include "policy/registry.hpp"

namespace nb = nanobind;

namespace l1dflush {

namespace {

using Numbers = std::vector<int>;
using Chance = std::tuple<std::uint32_t, std::uint32_t>;
using Edge = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;
using WeightedEdge = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>;

Chance chance(const Weight &weight) { return {weight.numerator, weight.denominator}; }

void check_way(int way, int ways) {
    if (way < 0 || way >= ways) throw std::invalid_argument("no such way");
}

Mealy machine(int ways, std::size_t states, std::size_t start, const std::vector<Edge> &hits,
              const std::vector<WeightedEdge> &misses, const std::vector<WeightedEdge> &fills) {
    std::vector<Mealy::Hit> h;
    std::vector<Mealy::Miss> m;
    std::vector<Mealy::Fill> f;
    for (const auto &[from, way, to] : hits) h.push_back({from, way, to});
    for (const auto &[from, way, to, n, d] : misses) m.push_back({from, way, to, Weight{n, d}});
    for (const auto &[from, way, to, n, d] : fills) f.push_back({from, way, to, Weight{n, d}});
    return {ways, states, start, h, m, f};
}

Numbers empty(const PolicyChoice &choice, int ways) {
    const auto policy = make_policy(choice, ways);
    return policy->numbers(policy->empty());
}

std::vector<Numbers> hits(const PolicyChoice &choice, int ways, const Numbers &state, int way) {
    check_way(way, ways);
    const auto policy = make_policy(choice, ways);
    std::vector<Numbers> out;
    policy->each_hit(policy->pack(state), way, [&](PolicyState next) { out.push_back(policy->numbers(next)); });
    return out;
}

auto misses(const PolicyChoice &choice, int ways, const Numbers &state) {
    const auto policy = make_policy(choice, ways);
    std::vector<std::tuple<int, Numbers, Chance>> out;
    policy->each_miss(policy->pack(state), [&](int victim, PolicyState next, Weight weight) {
        out.emplace_back(victim, policy->numbers(next), chance(weight));
    });
    return out;
}

auto fills(const PolicyChoice &choice, int ways, const Numbers &state, int way) {
    check_way(way, ways);
    const auto policy = make_policy(choice, ways);
    std::vector<std::tuple<Numbers, Chance>> out;
    policy->each_fill(policy->pack(state), way, [&](PolicyState next, Weight weight) {
        out.emplace_back(policy->numbers(next), chance(weight));
    });
    return out;
}

int chosen_invalid_way(const PolicyChoice &choice, int ways, const std::vector<int> &invalid) {
    unsigned set = 0;
    for (const int way : invalid) {
        check_way(way, ways);
        set |= 1U << way;
    }
    if (set == 0) throw std::invalid_argument("no way is invalid");
    return make_policy(choice, ways)->invalid_way(set);
}

int position(const PolicyChoice &choice, int ways, const Numbers &state, int way) {
    check_way(way, ways);
    const auto policy = make_policy(choice, ways);
    return policy->position(policy->pack(state), way);
}

Numbers residue(const PolicyChoice &choice, int ways, const Numbers &state) {
    const auto policy = make_policy(choice, ways);
    const PolicyState left = policy->residue(policy->pack(state));
    return policy->facts.has_residue ? policy->numbers(policy->representative(left)) : Numbers{};
}

int repeat_hits(const PolicyChoice &choice, int ways) { return make_policy(choice, ways)->facts.repeat_hits; }

std::vector<Numbers> start_states(const PolicyChoice &choice, int ways, std::optional<std::size_t> max_states) {
    return run(max_states, std::nullopt, [&](const Limits &limits) {
        const auto policy = make_policy(choice, ways);
        std::vector<Numbers> out;
        for (const PolicyState state : full_set_states(*policy, limits)) out.push_back(policy->numbers(state));
        return out;
    });
}

}  // namespace

void bind_policies(nb::module_ &m) {
    nb::class_<Mealy>(m, "Mealy")
        .def("__init__",
             [](Mealy *self, int ways, std::size_t states, std::size_t start, const std::vector<Edge> &hits,
                const std::vector<WeightedEdge> &misses, const std::vector<WeightedEdge> &fills) {
                 new (self) Mealy(machine(ways, states, start, hits, misses, fills));
             },
             nb::arg("ways"), nb::arg("states"), nb::arg("start"), nb::arg("hits"), nb::arg("misses"),
             nb::arg("fills") = std::vector<WeightedEdge>{})
        .def_prop_ro("ways", &Mealy::ways)
        .def_prop_ro("has_fills", &Mealy::has_fills);

    const auto policy = nb::arg("policy");
    const auto ways = nb::arg("ways");
    const auto state = nb::arg("state");
    const auto way = nb::arg("way");
    m.def("policy_empty", &empty, policy, ways);
    m.def("policy_hits", &hits, policy, ways, state, way);
    m.def("policy_misses", &misses, policy, ways, state);
    m.def("policy_fills", &fills, policy, ways, state, way);
    m.def("policy_invalid_way", &chosen_invalid_way, policy, ways, nb::arg("invalid"));
    m.def("policy_position", &position, policy, ways, state, way);
    m.def("policy_residue", &residue, policy, ways, state);
    m.def("policy_repeat_hits", &repeat_hits, policy, ways);
    m.def("policy_start_states", &start_states, policy, ways, nb::arg("max_states").none() = nb::none());
}

}  // namespace l1dflush
