// SPDX-License-Identifier: GPL-2.0-or-later
// The question about protocols that are played again and again.
#include "bind/steady.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "bind/run.hpp"
#include "policy/registry.hpp"
#include "prover/steady.hpp"

namespace nb = nanobind;

namespace l1dflush {

namespace {

using Items = std::vector<std::tuple<std::uint32_t, std::uint8_t>>;

using Turns = std::vector<std::vector<std::size_t>>;

Protocol protocol(const std::vector<Items> &words, const Turns &turns, const std::vector<std::uint32_t> &own, int lines, bool invalidations,
                  std::uint32_t touches) {
    auto label = [&](std::uint32_t line) {
        require(line < static_cast<std::uint32_t>(lines), "lines are numbered from 0");
        return static_cast<std::uint8_t>(first_line + line);
    };
    Protocol result;
    result.turns = turns;
    result.lines = lines;
    result.invalidations = invalidations;
    result.touches = touches;
    for (const Items &items : words) {
        result.words.emplace_back();
        for (const auto &[line, kind] : items) {
            require(kind <= 2, "unknown item kind");
            result.words.back().push_back({label(line), static_cast<ItemKind>(kind)});
        }
    }
    for (const std::uint32_t line : own) result.own.push_back(label(line));
    return result;
}

auto core_steady(const PolicyChoice &policy, int ways, const std::vector<Items> &words, const Turns &turns,
                 int lines, const std::vector<std::uint32_t> &own, bool from_any, bool invalidations, std::uint32_t touches,
                 const std::vector<int> &enough, bool verdict, std::optional<std::size_t> max_states,
                 std::optional<double> max_seconds, bool absolute) {
    require(enough.size() == words.size(), "as many bounds as words are needed");
    const SteadyQuestion question{protocol(words, turns, own, lines, invalidations, touches), from_any, verdict, enough};
    const SteadyAnswer answer = run(max_states, max_seconds, [&](const Limits &limits) {
        return steady(*make_policy(policy, ways), question, absolute, limits);
    });
    using Step = std::tuple<int, int, int, int, std::vector<int>>;
    using Leg = std::tuple<int, std::vector<Step>>;
    std::optional<std::tuple<std::vector<int>, std::vector<int>, std::vector<Leg>, std::size_t>> told;
    if (answer.run) {
        std::vector<Leg> legs;
        for (const auto &leg : answer.run->legs) {
            std::vector<Step> steps;
            for (const SteadyStep &s : leg.steps) steps.emplace_back(s.outcome, s.way, s.item, s.line, s.state);
            legs.emplace_back(leg.word, std::move(steps));
        }
        told.emplace(answer.run->start, answer.run->content, std::move(legs), answer.run->again);
    }
    return std::make_tuple(answer.per_word, answer.exact, answer.rounds, answer.states, told);
}

}  // namespace

void bind_steady(nb::module_ &m) {
    m.def("steady", &core_steady, nb::arg("policy"), nb::arg("ways"), nb::arg("words"), nb::kw_only(), nb::arg("turns"), nb::arg("lines"),
          nb::arg("own"), nb::arg("from_any"), nb::arg("invalidations"), nb::arg("touches"), nb::arg("enough"),
          nb::arg("verdict"), nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(),
          nb::arg("absolute") = false);
}

}  // namespace l1dflush
