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

Numbers empty(const PolicyChoice &policy, int ways) {
    return with_policy(policy, ways, [](const auto &p) { return p.numbers(p.empty()); });
}

std::vector<Numbers> hits(const PolicyChoice &policy, int ways, const Numbers &state, int way) {
    check_way(way, ways);
    return with_policy(policy, ways, [&](const auto &p) {
        std::vector<Numbers> out;
        each_hit(p, p.pack(state), way, [&](PolicyState next) { out.push_back(p.numbers(next)); });
        return out;
    });
}

auto misses(const PolicyChoice &policy, int ways, const Numbers &state) {
    return with_policy(policy, ways, [&](const auto &p) {
        std::vector<std::tuple<int, Numbers, Chance>> out;
        each_miss(p, p.pack(state), [&](int victim, PolicyState next, const Weight &weight) {
            out.emplace_back(victim, p.numbers(next), chance(weight));
        });
        return out;
    });
}

auto fills(const PolicyChoice &policy, int ways, const Numbers &state, int way) {
    check_way(way, ways);
    return with_policy(policy, ways, [&](const auto &p) {
        std::vector<std::tuple<Numbers, Chance>> out;
        each_fill(p, p.pack(state), way, [&](PolicyState next, const Weight &weight) {
            out.emplace_back(p.numbers(next), chance(weight));
        });
        return out;
    });
}

int chosen_invalid_way(const PolicyChoice &policy, int ways, const std::vector<int> &invalid) {
    unsigned set = 0;
    for (const int way : invalid) {
        check_way(way, ways);
        set |= 1U << way;
    }
    if (set == 0) throw std::invalid_argument("no way is invalid");
    return with_policy(policy, ways, [&](const auto &p) { return invalid_way<std::decay_t<decltype(p)>>(set); });
}

int position(const PolicyChoice &policy, int ways, const Numbers &state, int way) {
    check_way(way, ways);
    return with_policy(policy, ways, [&](const auto &p) -> int {
        if constexpr (requires { p.position(p.pack(state), way); })
            return p.position(p.pack(state), way);
        else
            throw std::invalid_argument("this policy has no symmetries");
    });
}

Numbers residue(const PolicyChoice &policy, int ways, const Numbers &state) {
    return with_policy(policy, ways, [&](const auto &p) -> Numbers {
        if constexpr (requires { p.residue(p.pack(state)); })
            return p.numbers(p.representative(p.residue(p.pack(state))));
        else if constexpr (requires { p.position(p.pack(state), 0); })
            return {};
        else
            throw std::invalid_argument("this policy has no symmetries");
    });
}

std::vector<Numbers> start_states(const PolicyChoice &policy, int ways, std::optional<std::size_t> max_states) {
    return run(max_states, std::nullopt, [&](const Limits &limits) {
        return with_policy(policy, ways, [&](const auto &p) {
            std::vector<Numbers> out;
            for (const PolicyState state : full_set_states(p, limits)) out.push_back(p.numbers(state));
            return out;
        });
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
    m.def("policy_repeat_hits", [](const PolicyChoice &choice, int k) {
        return with_policy(choice, k, [](const auto &p) { return repeat_hits(p); });
    }, policy, ways);
    m.def("policy_start_states", &start_states, policy, ways, nb::arg("max_states").none() = nb::none());
}

}  // namespace l1dflush
