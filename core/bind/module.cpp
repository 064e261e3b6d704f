// The module and its questions to the prover. Only this folder knows Python; the API is described in
// src/l1dflush/_core.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "bind/policies.hpp"
#include "bind/run.hpp"
#include "prover/search.hpp"
#include "prover/witness.hpp"

namespace nb = nanobind;
using namespace l1dflush;

namespace {

View view(bool absolute) { return absolute ? View::absolute : View::fastest; }

using Lines = std::vector<std::uint32_t>;
using Kinds = std::vector<std::uint8_t>;
using Numbers = std::vector<int>;

auto core_decide(const PolicyChoice &policy, int ways, const Lines &lines, const Kinds &kinds,
                 std::optional<std::size_t> max_states, std::optional<double> max_seconds, bool absolute,
                 bool merge_repeats) {
    const Decision d = run(max_states, max_seconds, [&](const Limits &limits) {
        return decide(policy, ways, lines, kinds, view(absolute), merge_repeats, limits);
    });
    return std::make_tuple(d.curve, d.states);
}

auto core_distinct(const PolicyChoice &policy, int ways, std::optional<std::uint64_t> limit,
                   std::optional<std::size_t> max_states, bool absolute) {
    const Decision d =
        run(max_states, std::nullopt, [&](const Limits &limits) { return distinct(policy, ways, limit, view(absolute), limits); });
    return std::make_tuple(d.curve, d.ended, d.repeats, d.states);
}

auto core_witness(const PolicyChoice &policy, int ways, const Lines &lines, const Kinds &kinds,
                  std::optional<std::size_t> max_states, std::optional<double> max_seconds, bool absolute,
                  bool smallest) {
    const std::optional<Witness> w = run(max_states, max_seconds, [&](const Limits &limits) {
        return witness(policy, ways, prepare(lines, kinds, true), view(absolute), smallest, limits);
    });
    using Steps = std::vector<std::tuple<int, int>>;
    std::optional<std::tuple<Numbers, std::vector<std::int64_t>, Steps>> out;
    if (w) {
        Steps steps;
        for (const auto &[outcome, way] : w->steps) steps.emplace_back(static_cast<int>(outcome), way);
        out.emplace(w->start, w->content, std::move(steps));
    }
    return out;
}

}  // namespace

NB_MODULE(_core, m) {
    nb::set_leak_warnings(false);
    m.attr("MAX_WAYS") = max_ways;
    m.attr("DEFAULT_MAX_STATES") = Limits::default_max_states;
    nb::exception<StateSpaceTooLarge>(m, "StateSpaceTooLargeError", PyExc_RuntimeError);
    nb::exception<OutOfTime>(m, "OutOfTimeError", PyExc_RuntimeError);

    bind_policies(m);

    m.def("decide", &core_decide, nb::arg("policy"), nb::arg("ways"), nb::arg("lines"), nb::arg("kinds"),
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(), nb::kw_only(),
          nb::arg("absolute") = false, nb::arg("merge_repeats") = true);
    m.def("distinct", &core_distinct, nb::arg("policy"), nb::arg("ways"), nb::arg("limit").none() = nb::none(),
          nb::arg("max_states").none() = nb::none(), nb::kw_only(), nb::arg("absolute") = false);
    m.def("witness", &core_witness, nb::arg("policy"), nb::arg("ways"), nb::arg("lines"), nb::arg("kinds"),
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(), nb::kw_only(),
          nb::arg("absolute") = false, nb::arg("smallest") = true);
}
