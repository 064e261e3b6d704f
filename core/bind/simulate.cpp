// SPDX-License-Identifier: GPL-2.0-or-later
// The cache simulator for Python. The API is described in src/l1dflush/_core.pyi.
#include "bind/simulate.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bind/claim.hpp"
#include "simulate/make.hpp"

namespace nb = nanobind;
using namespace l1dflush;

namespace {

using Addresses = nb::ndarray<const std::uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Hit = nb::ndarray<bool, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Contents = nb::ndarray<std::int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void require_aligned(const void *data) {
    require(reinterpret_cast<std::uintptr_t>(data) % alignof(std::uint64_t) == 0, "the array is not aligned");
}

constexpr auto busy = "the simulator is in use by another thread";

class BoundSimulator {
public:
    BoundSimulator(const PolicyChoice &policy, int ways, std::uint64_t sets, std::uint64_t line_size, std::uint64_t seed,
                   bool plain)
        : simulator_(make_simulator(policy, {ways, sets, line_size}, seed, plain)) {}

    std::uint64_t access(const Addresses &addresses, const std::optional<Hit> &hit) {
        const Claim claim(taken_, busy);
        const std::size_t count = addresses.size();
        require_aligned(addresses.data());
        require(!hit || hit->size() == count, "one entry of `hit` per address");
        // Often enough for Ctrl-C, seldom enough not to be noticed.
        constexpr std::size_t at_once = std::size_t{1} << 22;
        std::uint64_t hits = 0;
        for (std::size_t done = 0; done < count;) {
            const std::size_t now = std::min(at_once, count - done);
            {
                nb::gil_scoped_release release;
                hits += simulator_->access(addresses.data() + done, now, hit ? hit->data() + done : nullptr);
            }
            done += now;
            if (done < count && PyErr_CheckSignals() != 0) throw nb::python_error();
        }
        return hits;
    }
    void contents(const Contents &out) {
        const Claim claim(taken_, busy);
        const auto ways = static_cast<std::size_t>(simulator_->ways());
        require_aligned(out.data());
        require(out.shape(0) == simulator_->sets() && out.shape(1) == ways, "one row per set, one column per way");
        std::int64_t *next = out.data();
        for (std::size_t set = 0; set < simulator_->sets(); ++set)
            for (int way = 0; way < simulator_->ways(); ++way)
                // No line number has its highest bit set, so only no_line becomes negative: -1.
                *next++ = static_cast<std::int64_t>(simulator_->line(set, way));
    }
    std::vector<int> state(std::size_t set) {
        const Claim claim(taken_, busy);
        require(set < simulator_->sets(), "no such set");
        return simulator_->numbers(set);
    }
    bool holds(std::uint64_t address) {
        const Claim claim(taken_, busy);
        return simulator_->holds(address);
    }
    bool flush_line(std::uint64_t address) {
        const Claim claim(taken_, busy);
        return simulator_->flush_line(address);
    }
    void flush_all() {
        const Claim claim(taken_, busy);
        simulator_->flush_all();
    }
    void reset() {
        const Claim claim(taken_, busy);
        simulator_->reset();
    }

private:
    std::unique_ptr<Simulator> simulator_;
    std::atomic_flag taken_;
};

}  // namespace

void l1dflush::bind_simulate(nb::module_ &m) {
    nb::class_<BoundSimulator>(m, "Simulator")
        .def(nb::init<const PolicyChoice &, int, std::uint64_t, std::uint64_t, std::uint64_t, bool>(),
             nb::arg("policy"), nb::arg("ways"), nb::arg("sets"), nb::arg("line_size"), nb::kw_only(),
             nb::arg("seed") = 0, nb::arg("plain") = false)
        .def("access", &BoundSimulator::access, nb::arg("addresses").noconvert(),
             nb::arg("hit").noconvert().none() = nb::none())
        .def("contents", &BoundSimulator::contents, nb::arg("out").noconvert())
        .def("state", &BoundSimulator::state, nb::arg("set_index"))
        .def("holds", &BoundSimulator::holds, nb::arg("address"))
        .def("flush_line", &BoundSimulator::flush_line, nb::arg("address"))
        .def("flush_all", &BoundSimulator::flush_all)
        .def("reset", &BoundSimulator::reset);
}
