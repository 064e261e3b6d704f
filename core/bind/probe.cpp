// SPDX-License-Identifier: GPL-2.0-or-later
// Timed loads for Python. The API is described in src/l1dflush/_core.pyi.
#include "bind/probe.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <stdexcept>
#include <utility>

#include "bind/claim.hpp"
#include "native/probe.hpp"

namespace nb = nanobind;

namespace l1dflush {

namespace {

#if L1DFLUSH_NATIVE
using Numbers = nb::ndarray<const std::uint32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class Number>
using Answer = nb::ndarray<nb::numpy, Number, nb::ndim<1>>;

std::vector<std::uint32_t> numbers(const Numbers &given) { return {given.data(), given.data() + given.size()}; }

template <class To, class From>
Answer<To> answer(std::vector<From> &&found) {
    auto *const kept = new std::vector<From>(std::move(found));
    const nb::capsule owner(kept, [](void *data) noexcept { delete static_cast<std::vector<From> *>(data); });
    return Answer<To>(kept->data(), {kept->size()}, owner);
}

template <class Choice>
Choice choice(const std::map<std::string, Choice> &known, const std::string &name) {
    const auto found = known.find(name);
    if (found == known.end()) throw std::invalid_argument("unknown name: " + name);
    return found->second;
}

constexpr auto busy = "the region is in use by another thread";

class BoundRegion {
public:
    explicit BoundRegion(std::size_t pages) : region_(pages) {}

    std::size_t pages() const { return region_.pages(); }
    std::uintptr_t address() const { return region_.address(); }

    void chain(const Numbers &nodes) {
        const Claim claim(taken_, busy);
        region_.chain(numbers(nodes));
    }

    auto run(const Numbers &steps, const Numbers &prepare, const Numbers &timed, const Numbers &flush,
             std::size_t flush_from, std::size_t control_set) {
        const Claim claim(taken_, busy);
        const native::Trials trials{numbers(steps), numbers(prepare), numbers(timed),
                                    numbers(flush), flush_from,       control_set};
        native::Timings found = [&] {
            const nb::gil_scoped_release release;
            return region_.run(trials);
        }();
        return std::make_tuple(answer<std::uint32_t>(std::move(found.ticks)), answer<bool>(std::move(found.moved)));
    }

    auto costs(const std::string &loop, std::size_t from, std::size_t bytes, const std::string &before,
               std::size_t victims_from, std::size_t victims, std::size_t trials) {
        const Claim claim(taken_, busy);
        static const std::map<std::string, native::Loop> loops{{"none", native::Loop::none},
                                                               {"fill", native::Loop::fill},
                                                               {"planned", native::Loop::planned},
                                                               {"linux-2018", native::Loop::linux_2018},
                                                               {"stream", native::Loop::stream}};
        static const std::map<std::string, native::Before> befores{{"flushed", native::Before::flushed},
                                                                   {"clean", native::Before::clean},
                                                                   {"dirty", native::Before::dirty}};
        const native::Loop what = choice(loops, loop);
        const native::Before when = choice(befores, before);
        native::Costs found = [&] {
            const nb::gil_scoped_release release;
            return region_.costs(what, from, bytes, when, victims_from, victims, trials);
        }();
        return std::make_tuple(answer<std::uint32_t>(std::move(found.ticks)),
                               answer<std::uint32_t>(std::move(found.chain)), answer<bool>(std::move(found.moved)));
    }

private:
    native::Region region_;
    std::atomic_flag taken_;
};
#endif

}  // namespace

void bind_probe(nb::module_ &m) {
    m.attr("CHAIN_CYCLES") = native::chain_cycles;
    m.attr("FLUSH_PAGE") = native::flush_page;
    m.attr("CONTROL_SETS") = native::control_sets;
    m.attr("CONTROL_PAGES") = native::control_pages;
    m.attr("MOST_STEPS") = native::most_steps;
    m.attr("MOST_TIMED") = native::most_timed;
#if L1DFLUSH_NATIVE
    m.def("time_stamp", &native::time_stamp);
    nb::class_<BoundRegion>(m, "Region")
        .def(nb::init<std::size_t>(), nb::arg("pages"))
        .def_prop_ro("pages", &BoundRegion::pages)
        .def_prop_ro("address", &BoundRegion::address)
        .def("chain", &BoundRegion::chain, nb::arg("nodes"))
        .def("run", &BoundRegion::run, nb::arg("steps"), nb::arg("prepare"), nb::arg("timed"), nb::arg("flush"),
             nb::kw_only(), nb::arg("flush_from") = 0, nb::arg("control_set"))
        .def("costs", &BoundRegion::costs, nb::arg("loop"), nb::arg("start"), nb::arg("size"), nb::kw_only(),
             nb::arg("before"), nb::arg("victims_from"), nb::arg("victims"), nb::arg("trials"));
#endif
}

}  // namespace l1dflush
