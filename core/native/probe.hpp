// SPDX-License-Identifier: GPL-2.0-or-later
// Loads whose time is taken: which lines of a region of memory are in this CPU's L1D after what was done before.
//
// A region is pages of 64 lines. A *node* is a pointer in the region, named by its byte offset: a *chain* leads from
// node to node up to a null pointer, so that one visit can access one line, or one line in each of many sets, in an
// order that no prefetcher knows, each load waiting for the one before it.
//
// What the probe itself touches while a trial runs would disturb the sets in which it lies. Therefore all of it (the
// program of the trial, the ticks that it writes, its stack) lies in `control_sets` consecutive sets from a given one
// on, and callers measure the other sets only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace l1dflush::native {

inline constexpr std::size_t page = 4096, line = 64;
inline constexpr std::size_t control_sets = 8;
inline constexpr std::size_t control_pages = 9;
// Per page of the control area: steps of four bytes in `control_sets` lines. The first page takes the ticks.
inline constexpr std::size_t steps_per_page = control_sets * line / sizeof(std::uint32_t);
inline constexpr std::size_t most_steps = (control_pages - 1) * steps_per_page;
inline constexpr std::size_t most_timed = steps_per_page;

// A step is the byte offset of a node, or of a page with this bit: then the lines of that page are flushed (clflush).
inline constexpr std::uint32_t flush_page = 0x80000000U;

struct Trials {
    std::vector<std::uint32_t> steps;      // of all trials, one after the other: those to prepare, then those to time
    std::vector<std::uint32_t> prepare;    // how many steps prepare, per trial
    std::vector<std::uint32_t> timed;      // how many are timed, per trial
    std::vector<std::uint32_t> flush;      // bytes that the fill loop reads in between, 0 for none; per trial
    std::size_t flush_from = 0;            // offset of the buffer it reads
    std::size_t control_set = 0;           // first of the control sets
};

struct Timings {
    std::vector<std::uint32_t> ticks;  // of each timed step, as the time-stamp counter counts
    std::vector<std::uint8_t> moved;   // per trial: whether the thread ended on another CPU than it began on
};

enum class Loop { none, fill, planned, linux_2018, stream };
enum class Before { flushed, clean, dirty };

struct Costs {
    std::vector<std::uint32_t> ticks;  // of the loop
    std::vector<std::uint32_t> chain;  // of `chain_cycles` additions that wait for each other, right after it
    std::vector<std::uint8_t> moved;
};

inline constexpr std::uint32_t chain_cycles = 4096;

// The time-stamp counter.
std::uint64_t time_stamp();

class Region {
public:
    // Throws std::bad_alloc if there is no memory. Every page is present, and a huge page behind them if there is one.
    explicit Region(std::size_t pages);
    ~Region();
    Region(const Region &) = delete;
    Region &operator=(const Region &) = delete;

    [[nodiscard]] std::size_t pages() const { return bytes_ / page; }
    [[nodiscard]] std::uintptr_t address() const { return reinterpret_cast<std::uintptr_t>(start_); }

    // The last word of a line is for what makes lines dirty, and is not a node.
    // Links the nodes at these offsets; the last one ends the chain. Throws std::invalid_argument.
    void chain(const std::vector<std::uint32_t> &nodes);
    // The last `control_pages` pages are the probe's own. Throws std::invalid_argument for what does not fit.
    Timings run(const Trials &trials);
    // Times a loop over `bytes` from `from` on, `trials` times, each after `before` was done with the `victims` bytes
    // behind `victims_from`.
    Costs costs(Loop loop, std::size_t from, std::size_t bytes, Before before, std::size_t victims_from,
                std::size_t victims, std::size_t trials);

private:
    void check_node(std::uint32_t offset) const;
    void check(const Trials &trials) const;

    unsigned char *mapping_ = nullptr;
    std::size_t mapped_ = 0;
    unsigned char *start_ = nullptr;
    std::size_t bytes_ = 0;
};

}  // namespace l1dflush::native
