// SPDX-License-Identifier: GPL-2.0-or-later
// The layers of a proof, for certificates.
#include "bind/layers.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "bind/question.hpp"
#include "bind/run.hpp"
#include "policy/registry.hpp"
#include "prover/layers.hpp"

namespace nb = nanobind;

namespace l1dflush {

namespace {

auto core_layers(const PolicyChoice &policy, int ways, const Lines &lines, const Kinds &kinds, const std::string &start,
                 std::uint32_t touches, const Lines &cold, std::optional<std::size_t> max_states,
                 std::optional<double> max_seconds, bool absolute) {
    const Layers found = run(max_states, max_seconds, [&](const Limits &limits) {
        return layers(*make_policy(policy, ways), raw_word(lines, kinds, cold), setting(start, touches, absolute),
                      limits);
    });
    using State = std::tuple<std::vector<int>, std::vector<std::int64_t>, std::uint32_t, std::vector<std::uint32_t>>;
    std::vector<std::optional<std::vector<State>>> out;
    for (const auto &layer : found.layers) {
        auto &to = out.emplace_back();
        if (!layer) continue;
        to.emplace();
        for (const PlainState &s : *layer) to->emplace_back(s.policy, s.holds, s.touches, s.gone);
    }
    return std::make_tuple(found.positions, std::move(out));
}

}  // namespace

void bind_layers(nb::module_ &m) {
    m.def("layers", &core_layers, nb::arg("policy"), nb::arg("ways"), nb::arg("lines"), nb::arg("kinds"), nb::kw_only(),
          nb::arg("start") = "any", nb::arg("touches") = 0, nb::arg("cold") = Lines(),
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(),
          nb::arg("absolute") = false);
}

}  // namespace l1dflush
