// SPDX-License-Identifier: GPL-2.0-or-later
#include "bind/chance.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "bind/run.hpp"
#include "bind/question.hpp"
#include "policy/registry.hpp"
#include "prover/chance.hpp"

namespace nb = nanobind;
using namespace l1dflush;

namespace {

// Lowest byte first.
nb::bytes bytes(const Limbs &number) {
    std::string result;
    for (const std::uint32_t limb : number)
        for (int shift = 0; shift < 32; shift += 8) result.push_back(static_cast<char>((limb >> shift) & 0xFFU));
    return nb::bytes(result.data(), result.size());
}

auto core_chance(const PolicyChoice &policy, int ways, const Lines &lines, const Kinds &kinds, const std::string &start,
                 std::uint32_t touches, const Lines &cold, std::optional<std::size_t> max_states,
                 std::optional<double> max_seconds, bool absolute) {
    const Chance c = run(max_states, max_seconds, [&](const Limits &limits) {
        return chance(*make_policy(policy, ways), raw_word(lines, kinds, cold), setting(start, touches, absolute),
                      limits);
    });
    return std::make_tuple(bytes(c.bounds.lower), bytes(c.bounds.upper), c.base, c.exponent, c.states);
}

auto core_chance_curve(const PolicyChoice &policy, int ways, std::size_t most, const std::string &start,
                       std::uint32_t touches, bool cold, std::optional<std::size_t> max_states,
                       std::optional<double> max_seconds, bool absolute) {
    const ChanceCurve c = run(max_states, max_seconds, [&](const Limits &limits) {
        return chance_curve(*make_policy(policy, ways), most, cold, setting(start, touches, absolute), limits);
    });
    std::vector<std::tuple<nb::bytes, nb::bytes>> bounds;
    for (const ChanceBounds &b : c.bounds) bounds.emplace_back(bytes(b.lower), bytes(b.upper));
    return std::make_tuple(std::move(bounds), c.base, c.endless, c.states);
}

}  // namespace

void l1dflush::bind_chance(nb::module_ &m) {
    m.def("chance", &core_chance, nb::arg("policy"), nb::arg("ways"), nb::arg("lines"), nb::arg("kinds"), nb::kw_only(),
          nb::arg("start") = "any", nb::arg("touches") = 0, nb::arg("cold") = Lines(),
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(),
          nb::arg("absolute") = false);
    m.def("chance_curve", &core_chance_curve, nb::arg("policy"), nb::arg("ways"), nb::arg("most"), nb::kw_only(),
          nb::arg("start") = "any", nb::arg("touches") = 0, nb::arg("cold") = false,
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(),
          nb::arg("absolute") = false);
}
