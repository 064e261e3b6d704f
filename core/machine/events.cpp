// SPDX-License-Identifier: GPL-2.0-or-later
#include "machine/events.hpp"

namespace l1dflush::machine {

void Events::push(const Event &e) {
    ++size_;
    if (period_ != 0) {
        const Event &expected = events_[open_ + turn_];
        if (expected.is_like(e) && e.offset == expected.offset + static_cast<std::int64_t>(count_) * expected.step) {
            if (++turn_ == period_) {
                turn_ = 0;
                ++count_;
            }
            return;
        }
        close();
    }
    keep(e);
}

// Ends the run; what there is of a further turn comes behind it.
void Events::close() {
    runs_.push_back({count_, period_});
    const std::size_t first = open_;
    open_ = events_.size();
    period_ = 0;
    steady_ = {};
    for (unsigned i = 0; i < turn_; ++i) {
        Event e = events_[first + i];
        e.offset += static_cast<std::int64_t>(count_) * e.step;
        e.step = 0;
        keep(e);
    }
}

void Events::keep(const Event &e) {
    events_.push_back(e);
    const std::size_t last = events_.size() - 1;
    const std::size_t behind = last - open_;
    for (unsigned p = 1; p <= longest && 2 * p <= behind; ++p) {
        const Event &one = events_[last - p];
        const Event &two = events_[last - 2 * p];
        const bool goes_on = e.is_like(one) && e.is_like(two) && e.offset - one.offset == one.offset - two.offset;
        steady_[p] = goes_on ? steady_[p] + 1 : 0;
        if (steady_[p] == p) {
            repeat(p);
            return;
        }
    }
}

// The last three times so many events are turns of a run.
void Events::repeat(unsigned period) {
    const std::size_t first = events_.size() - 3 * period;
    if (first > open_) runs_.push_back({1, first - open_});
    for (std::size_t i = first; i < first + period; ++i) events_[i].step = events_[i + period].offset - events_[i].offset;
    events_.resize(first + period);
    open_ = first;
    period_ = period;
    turn_ = 0;
    count_ = 3;
}

void Events::finish() {
    if (period_ != 0) close();
    if (open_ < events_.size()) runs_.push_back({1, events_.size() - open_});
    open_ = events_.size();
    steady_ = {};
}

}  // namespace l1dflush::machine
