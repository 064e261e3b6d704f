// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/fast_simulator.hpp"

namespace l1dflush {

namespace {

template <unsigned width>
struct TableBrain {
    const std::uint16_t *rows;

    unsigned victim(std::uint64_t word) const { return word & 15U; }
    std::uint64_t after(std::uint64_t word, unsigned where) const { return rows[(word / 16) * (2 * width) + where]; }
};

}  // namespace

std::uint64_t FastSimulator::run_table(const std::uint64_t *addresses, std::size_t count, bool *hit) {
    return in_width([&]<unsigned width>() {
        return run<width>(TableBrain<width>{table_.rows()}, addresses, count, hit);
    });
}

}  // namespace l1dflush
