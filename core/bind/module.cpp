// SPDX-License-Identifier: GPL-2.0-or-later
// The module and its questions to the prover. Only this folder knows Python; the API is described in
// src/l1dflush/_core.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "bind/chance.hpp"
#include "bind/layers.hpp"
#include "bind/machine.hpp"
#include "bind/native.hpp"
#include "bind/policies.hpp"
#include "bind/probe.hpp"
#include "bind/question.hpp"
#include "bind/run.hpp"
#include "bind/shortest.hpp"
#include "bind/simulate.hpp"
#include "bind/steady.hpp"
#include "bind/terms.hpp"
#include "policy/registry.hpp"
#include "prover/decide.hpp"
#include "prover/distinct.hpp"
#include "prover/witness.hpp"

namespace nb = nanobind;
using namespace l1dflush;

namespace {

using Numbers = std::vector<int>;

auto core_decide(const PolicyChoice &policy, int ways, const Lines &lines, const Kinds &kinds, const std::string &start,
                 std::uint32_t touches, const Lines &cold, std::optional<std::size_t> max_states,
                 std::optional<double> max_seconds, bool absolute, bool merge_repeats) {
    const Decision d = run(max_states, max_seconds, [&](const Limits &limits) {
        return decide(*make_policy(policy, ways), raw_word(lines, kinds, cold), setting(start, touches, absolute),
                      merge_repeats, limits);
    });
    return std::make_tuple(d.curve, d.states);
}

auto core_distinct(const PolicyChoice &policy, int ways, std::optional<std::uint64_t> limit, const std::string &start,
                   std::uint32_t touches, bool cold, std::optional<std::size_t> max_states,
                   std::optional<double> max_seconds, bool absolute) {
    const Distinct d = run(max_states, max_seconds, [&](const Limits &limits) {
        return distinct(*make_policy(policy, ways), limit, cold, setting(start, touches, absolute), limits);
    });
    return std::make_tuple(d.curve, d.ended, d.repeats, d.states, d.surely, d.stopped);
}

auto core_distinct_at_most(const PolicyChoice &policy, int ways, const std::string &start, bool cold,
                           std::optional<std::size_t> max_states, std::optional<double> max_seconds) {
    const auto d = run(max_states, max_seconds, [&](const Limits &limits) {
        return distinct_at_most(*make_policy(policy, ways), cold, setting(start, 0, false).start, limits);
    });
    return d ? std::optional(d->curve) : std::nullopt;
}

auto core_witness(const PolicyChoice &policy, int ways, const Lines &lines, const Kinds &kinds, const std::string &start,
                  std::uint32_t touches, const Lines &cold, std::optional<std::size_t> max_states,
                  std::optional<double> max_seconds, bool absolute, bool smallest) {
    const std::optional<Witness> w = run(max_states, max_seconds, [&](const Limits &limits) {
        return witness(*make_policy(policy, ways), raw_word(lines, kinds, cold), setting(start, touches, absolute),
                       smallest, limits);
    });
    using Step = std::tuple<int, int, std::size_t, std::int64_t, Numbers>;
    std::optional<std::tuple<Numbers, std::vector<std::int64_t>, std::vector<Step>, bool>> out;
    if (w) {
        std::vector<Step> steps;
        for (const WitnessStep &s : w->steps)
            steps.emplace_back(static_cast<int>(s.outcome), s.way, s.item, s.line, s.state);
        out.emplace(w->start, w->content, std::move(steps), w->smallest);
    }
    return out;
}

}  // namespace

NB_MODULE(_core, m) {
    nb::set_leak_warnings(false);
    m.attr("MAX_WAYS") = max_ways;
    m.attr("BYTES_PER_STATE") = bytes_per_state;
    nb::exception<StateSpaceTooLarge>(m, "StateSpaceTooLargeError", PyExc_RuntimeError);
    nb::exception<OutOfTime>(m, "OutOfTimeError", PyExc_RuntimeError);
    nb::exception<UnknownFill>(m, "UnknownFillError", PyExc_RuntimeError);
    bind_chance(m);
    bind_layers(m);
    bind_native(m);
    bind_policies(m);
    bind_probe(m);
    bind_simulate(m);
    bind_shortest(m);
    bind_steady(m);
    bind_terms(m);
    bind_machine(m);

    m.def("decide", &core_decide, nb::arg("policy"), nb::arg("ways"), nb::arg("lines"), nb::arg("kinds"), nb::kw_only(),
          nb::arg("start") = "any", nb::arg("touches") = 0, nb::arg("cold") = Lines(),
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(),
          nb::arg("absolute") = false, nb::arg("merge_repeats") = true);
    m.def("distinct", &core_distinct, nb::arg("policy"), nb::arg("ways"), nb::arg("limit").none() = nb::none(),
          nb::kw_only(), nb::arg("start") = "any", nb::arg("touches") = 0, nb::arg("cold") = false,
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(),
          nb::arg("absolute") = false);
    m.def("distinct_at_most", &core_distinct_at_most, nb::arg("policy"), nb::arg("ways"), nb::kw_only(),
          nb::arg("start") = "any", nb::arg("cold") = false, nb::arg("max_states").none() = nb::none(),
          nb::arg("max_seconds").none() = nb::none());
    m.def("witness", &core_witness, nb::arg("policy"), nb::arg("ways"), nb::arg("lines"), nb::arg("kinds"),
          nb::kw_only(), nb::arg("start") = "any", nb::arg("touches") = 0, nb::arg("cold") = Lines(),
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(),
          nb::arg("absolute") = false, nb::arg("smallest") = true);
}
