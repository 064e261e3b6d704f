// SPDX-License-Identifier: GPL-2.0-or-later
// What happens on a path, folded as it comes: a loop's events are one turn of them, what each moves on by, and a count.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "machine/value.hpp"

namespace l1dflush::machine {

// Something happened to the cache, or beside it. `kind` is the table's; `instruction` counts as in Machine::places().
// Of an access `offset` counts in its region; else `region` is the number of what the event is about, as in
// Machine::notes(), and it has no bytes.
struct Event {
    std::uint16_t kind = 0;
    std::uint16_t bytes = 0;
    std::uint32_t instruction = 0;
    TermId region = 0;
    std::uint32_t unused = 0;
    std::int64_t offset = 0;
    std::int64_t step = 0;  // what `offset` moves on by with each turn

    bool is_like(const Event &o) const {
        return kind == o.kind && bytes == o.bytes && instruction == o.instruction && region == o.region;
    }
};

class Events {
public:
    // `period` events, `count` times.
    struct Run {
        std::uint64_t count = 1;
        std::uint64_t period = 0;
    };
    // A longer turn is not recognised; a loop of an unoptimised routine has six or so.
    static constexpr unsigned longest = 16;

    void push(const Event &e);
    std::uint64_t size() const { return size_; }
    // How many are kept.
    std::uint64_t kept() const { return events_.size(); }
    bool empty() const { return size_ == 0; }
    // No more events come: the runs, of which each has its events behind those of the run before.
    void finish();
    const std::vector<Event> &events() const { return events_; }
    const std::vector<Run> &runs() const { return runs_; }

private:
    void keep(const Event &e);
    void repeat(unsigned period);
    void close();

    std::vector<Event> events_;
    std::vector<Run> runs_;
    std::uint64_t size_ = 0;
    std::size_t open_ = 0;      // where the events begin that are in no run yet
    unsigned period_ = 0;       // of the run that goes on, whose events are the last ones; 0: there is none
    unsigned turn_ = 0;         // which of them comes next
    std::uint64_t count_ = 0;   // whole turns
    // For each period: how many of the last events came as far behind the one a period before as that behind its own.
    std::array<std::uint32_t, longest + 1> steady_{};
};

}  // namespace l1dflush::machine
