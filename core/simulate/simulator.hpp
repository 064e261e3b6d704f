// SPDX-License-Identifier: GPL-2.0-or-later
// A cache that is run: addresses in, hits out. This part knows lines and sets; policy_simulator.hpp knows what
// replaces what.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "policy/policy.hpp"
#include "simulate/search.hpp"

namespace l1dflush {

struct Shape {
    int ways;
    std::uint64_t sets;
    std::uint64_t line_size;  // bytes
};

class Simulator {
public:
    virtual ~Simulator() = default;
    Simulator(const Simulator &) = delete;
    Simulator &operator=(const Simulator &) = delete;

    // One load of each address, in order. Returns the hits; `hit`, if not null, gets one entry per address.
    virtual std::uint64_t access(const std::uint64_t *addresses, std::size_t count, bool *hit) = 0;
    // The policy state of a set, as the plain Python twin writes it.
    virtual std::vector<int> numbers(std::size_t set) const = 0;
    virtual void reset() = 0;

    int ways() const { return ways_; }
    std::size_t sets() const { return set_mask_ + 1; }

    // The line number (address / line size) that a way holds, or no_line.
    Line line(std::size_t set, int way) const { return tags_[set * width_ + static_cast<std::size_t>(way)]; }

    bool holds(std::uint64_t address) const {
        const Line line = line_of(address);
        return found(set_of(line), line) != 0;
    }
    // Both leave the policy state alone: the way is invalid and that is all. True if the line was there.
    bool flush_line(std::uint64_t address) {
        const Line line = line_of(address);
        const std::size_t set = set_of(line);
        const unsigned ways = found(set, line);
        if (ways == 0) return false;
        leave_fast_form(set);
        tags(set)[std::countr_zero(ways)] = no_line;
        invalid_[set] = static_cast<std::uint16_t>(invalid_[set] | ways);
        return true;
    }
    void flush_all() {
        for (std::size_t set = 0; set < sets(); ++set) leave_fast_form(set);
        tags_.assign(tags_.size(), no_line);
        invalid_.assign(sets(), all_ways());
    }

protected:
    explicit Simulator(const Shape &shape)
        : ways_(shape.ways),
          width_(shape.ways <= 4 ? 4 : shape.ways <= 8 ? 8 : 16),
          line_shift_(checked_line_shift(shape)),
          set_mask_(shape.sets - 1),
          tags_(shape.sets * width_, no_line),
          invalid_(shape.sets, all_ways()),
          words_(shape.sets, 0),
          fast_(shape.sets, 0) {}

    // A set in fast form is full, and its word is in the form of the fast loop; else the word is the policy state.
    virtual void leave_fast_form(std::size_t set) = 0;

    Line line_of(std::uint64_t address) const { return address >> line_shift_; }
    std::size_t set_of(Line line) const { return line & set_mask_; }
    Line *tags(std::size_t set) { return tags_.data() + set * width_; }
    unsigned found(std::size_t set, Line line) const {
        return ways_with(tags_.data() + set * width_, static_cast<int>(width_), line);
    }
    std::uint16_t all_ways() const { return static_cast<std::uint16_t>((1U << ways_) - 1); }

    int ways_;
    std::size_t width_;  // ways, padded to 4, 8 or 16
    int line_shift_;
    std::size_t set_mask_;
    std::vector<Line> tags_;
    std::vector<std::uint16_t> invalid_;  // per set, bit i: way i is invalid
    std::vector<std::uint64_t> words_;
    std::vector<std::uint8_t> fast_;  // per set: in fast form

private:
    static int checked_line_shift(const Shape &shape) {
        require(shape.ways >= 1 && shape.ways <= max_ways, "there are 1 to 16 ways");
        require(std::has_single_bit(shape.sets) && shape.sets <= (std::uint64_t{1} << 20),
                "the number of sets is a power of two up to 2^20");
        require(std::has_single_bit(shape.line_size) && shape.line_size >= 4,
                "the line size is a power of two from 4 bytes on");
        return std::countr_zero(shape.line_size);
    }
};

}  // namespace l1dflush
