// SPDX-License-Identifier: GPL-2.0-or-later
// How long and how large a search may be, and how it is stopped.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>

namespace l1dflush {

// More states than allowed. The question stays open: nothing may be concluded from the part that was searched.
class StateSpaceTooLarge : public std::runtime_error {
public:
    explicit StateSpaceTooLarge(std::size_t limit);
    explicit StateSpaceTooLarge(const std::string &what) : std::runtime_error(what) {}
};

// More time than allowed; the question stays open in the same way.
class OutOfTime : public std::runtime_error {
public:
    OutOfTime() : std::runtime_error("more time than allowed") {}
};

// Somebody pressed Ctrl-C.
class Interrupted : public std::runtime_error {
public:
    Interrupted() : std::runtime_error("interrupted") {}
};

// One state of a search takes about 100 bytes, and twice that while a table grows.
constexpr std::size_t bytes_per_state = 200;

struct Limits {
    std::size_t max_states = 5'000'000;  // held in memory at the same time (two layers of a search): 1 GB
    std::function<bool()> interrupted;  // asked now and then; may be empty
    std::optional<std::chrono::steady_clock::time_point> deadline;

    void check(std::size_t states) const {
        if (states > max_states) throw StateSpaceTooLarge(max_states);
    }
    void poll() const {
        if (interrupted && interrupted()) throw Interrupted();
        if (deadline && std::chrono::steady_clock::now() > *deadline) throw OutOfTime();
    }
    void poll_now_and_then(std::size_t counter) const {
        if ((counter & 0xFFFU) == 0xFFFU) poll();
    }
};

}  // namespace l1dflush
