// SPDX-License-Identifier: GPL-2.0-or-later
// How a search is called from Python.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <optional>

#include "prover/limits.hpp"

namespace l1dflush {

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
        nanobind::gil_scoped_acquire gil;
        return PyErr_CheckSignals() != 0;
    };
    try {
        nanobind::gil_scoped_release release;
        return search(limits);
    } catch (const Interrupted &) {
        throw nanobind::python_error();  // what the signal handler raised
    }
}

}  // namespace l1dflush
