// The only file that knows Python. The API is described in src/l1dflush/_core.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "prover/search.hpp"
#include "prover/witness.hpp"

namespace nb = nanobind;
using namespace l1dflush;

namespace {

// Runs a search without the GIL; now and then asks Python whether a signal (Ctrl-C) wants to be handled.
template <class Search>
auto run(std::optional<std::size_t> max_states, std::optional<double> max_seconds, Search search) {
    Limits limits;
    if (max_states) limits.max_states = *max_states;
    if (max_seconds) {
        const std::chrono::duration<double> allowed(*max_seconds);
        limits.deadline = std::chrono::steady_clock::now() +
                          std::chrono::duration_cast<std::chrono::steady_clock::duration>(allowed);
    }
    limits.interrupted = [] {
        nb::gil_scoped_acquire gil;
        return PyErr_CheckSignals() != 0;
    };
    try {
        nb::gil_scoped_release release;
        return search(limits);
    } catch (const Interrupted &) {
        throw nb::python_error();  // what the signal handler raised
    }
}

View view(bool absolute) { return absolute ? View::absolute : View::fastest; }

using Lines = std::vector<std::uint32_t>;
using Kinds = std::vector<std::uint8_t>;
using Numbers = std::vector<int>;

auto core_decide(const std::string &policy, int ways, const Lines &lines, const Kinds &kinds,
                 std::optional<std::size_t> max_states, std::optional<double> max_seconds, bool absolute,
                 bool merge_repeats) {
    const Decision d = run(max_states, max_seconds, [&](const Limits &limits) {
        return decide(policy, ways, lines, kinds, view(absolute), merge_repeats, limits);
    });
    return std::make_tuple(d.curve, d.states);
}

auto core_distinct(const std::string &policy, int ways, std::optional<std::uint64_t> limit,
                   std::optional<std::size_t> max_states, bool absolute) {
    const Decision d =
        run(max_states, std::nullopt, [&](const Limits &limits) { return distinct(policy, ways, limit, view(absolute), limits); });
    return std::make_tuple(d.curve, d.ended, d.repeats, d.states);
}

auto core_witness(const std::string &policy, int ways, const Lines &lines, const Kinds &kinds,
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

void check_way(int way, int ways) {
    if (way < 0 || way >= ways) throw std::invalid_argument("no such way");
}

}  // namespace

NB_MODULE(_core, m) {
    nb::set_leak_warnings(false);
    m.attr("MAX_WAYS") = max_ways;
    m.attr("DEFAULT_MAX_STATES") = Limits::default_max_states;
    nb::exception<StateSpaceTooLarge>(m, "StateSpaceTooLargeError", PyExc_RuntimeError);
    nb::exception<OutOfTime>(m, "OutOfTimeError", PyExc_RuntimeError);

    m.def("decide", &core_decide, nb::arg("policy"), nb::arg("ways"), nb::arg("lines"), nb::arg("kinds"),
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(), nb::kw_only(),
          nb::arg("absolute") = false, nb::arg("merge_repeats") = true);
    m.def("distinct", &core_distinct, nb::arg("policy"), nb::arg("ways"), nb::arg("limit").none() = nb::none(),
          nb::arg("max_states").none() = nb::none(), nb::kw_only(), nb::arg("absolute") = false);
    m.def("witness", &core_witness, nb::arg("policy"), nb::arg("ways"), nb::arg("lines"), nb::arg("kinds"),
          nb::arg("max_states").none() = nb::none(), nb::arg("max_seconds").none() = nb::none(), nb::kw_only(),
          nb::arg("absolute") = false, nb::arg("smallest") = true);

    m.def("policy_empty", [](const std::string &name, int ways) {
        return with_policy(name, ways, [](const auto &p) { return p.numbers(p.empty()); });
    }, nb::arg("policy"), nb::arg("ways"));
    m.def("policy_hit", [](const std::string &name, int ways, const Numbers &state, int way) {
        return with_policy(name, ways, [&](const auto &p) {
            check_way(way, ways);
            return p.numbers(p.hit(p.pack(state), way));
        });
    }, nb::arg("policy"), nb::arg("ways"), nb::arg("state"), nb::arg("way"));
    m.def("policy_fill", [](const std::string &name, int ways, const Numbers &state, int way) {
        return with_policy(name, ways, [&](const auto &p) {
            check_way(way, ways);
            return p.numbers(p.fill(p.pack(state), way));
        });
    }, nb::arg("policy"), nb::arg("ways"), nb::arg("state"), nb::arg("way"));
    m.def("policy_victim", [](const std::string &name, int ways, const Numbers &state) {
        return with_policy(name, ways, [&](const auto &p) { return p.victim(p.pack(state)); });
    }, nb::arg("policy"), nb::arg("ways"), nb::arg("state"));
    m.def("policy_position", [](const std::string &name, int ways, const Numbers &state, int way) {
        return with_policy(name, ways, [&](const auto &p) -> int {
            check_way(way, ways);
            if constexpr (PermutingPolicy<std::decay_t<decltype(p)>>) return p.position(p.pack(state), way);
            throw std::invalid_argument("this policy does more than permute");
        });
    }, nb::arg("policy"), nb::arg("ways"), nb::arg("state"), nb::arg("way"));
    m.def("policy_start_states", [](const std::string &name, int ways, std::optional<std::size_t> max_states) {
        return run(max_states, std::nullopt, [&](const Limits &limits) {
            return with_policy(name, ways, [&](const auto &p) {
                std::vector<Numbers> out;
                for (const PolicyState state : full_set_states(p, limits)) out.push_back(p.numbers(state));
                return out;
            });
        });
    }, nb::arg("policy"), nb::arg("ways"), nb::arg("max_states").none() = nb::none());
}
