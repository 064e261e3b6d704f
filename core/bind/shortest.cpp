// SPDX-License-Identifier: GPL-2.0-or-later
// The search for short words, for Python. The API is described in src/l1dflush/_core.pyi.
#include "bind/shortest.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "bind/question.hpp"
#include "bind/run.hpp"
#include "policy/registry.hpp"
#include "prover/shortest.hpp"

namespace nb = nanobind;
using namespace l1dflush;

namespace {

auto core_complete_words(const PolicyChoice &policy, int ways, std::uint32_t length, std::optional<std::size_t> limit,
                         const std::string &start, bool cold, std::optional<std::size_t> max_states,
                         std::optional<double> max_seconds, bool absolute, std::size_t kept) {
    const CompleteWords found = run(max_states, max_seconds, [&](const Limits &limits) {
        return complete_words(*make_policy(policy, ways), WordSearch{length, limit, cold, kept},
                              setting(start, 0, absolute), limits);
    });
    return std::make_tuple(found.words, found.searched);
}

}  // namespace

void l1dflush::bind_shortest(nb::module_ &m) {
    m.attr("LONGEST_WORD") = longest_word;
    m.def("complete_words", &core_complete_words, nb::arg("policy"), nb::arg("ways"), nb::arg("length"), nb::kw_only(),
          nb::arg("limit").none() = nb::none(), nb::arg("start") = "any", nb::arg("cold") = false,
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(),
          nb::arg("absolute") = false, nb::arg("kept") = WordSearch{}.kept);
}
