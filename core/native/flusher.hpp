// SPDX-License-Identifier: GPL-2.0-or-later
// A buffer, and the routine that reads it.
#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "native/buffer.hpp"
#include "native/routine.hpp"

#if L1DFLUSH_NATIVE
#include <sched.h>
#endif

namespace l1dflush::native {

// Called after it was closed.
class Closed : public std::runtime_error {
public:
    Closed() : std::runtime_error("the flusher is closed") {}
};

class Forked : public std::runtime_error {
public:
    Forked() : std::runtime_error("a flusher is not inherited by fork: its buffer is the parent's") {}
};

// The CPU that the calling thread runs on; -1 where the system does not say.
inline int current_cpu() {
#if L1DFLUSH_NATIVE
    return sched_getcpu();
#else
    return -1;
#endif
}

// `first_bytes` (0: none) is the size of a second buffer, which the same routine reads before the flush, the first time
// on every CPU. Not safe to be used by two threads at once; its caller sees to that.
class Flusher {
public:
    Flusher(const std::string &name, std::size_t bytes, std::size_t first_bytes)
        : routine_(routine(name)), buffer_(bytes) {
        if (first_bytes) first_.emplace(first_bytes);
    }

    // Again if the thread was moved to another CPU in between, where half a flush would be none. A move away and back
    // is not noticed.
    void operator()() {
        check();
        int cpu = current_cpu();
        for (;;) {
            const bool is_first = first_ && !seen(cpu);
            if (is_first) routine_.run(first_->data(), first_->bytes());
            routine_.run(buffer_.data(), buffer_.bytes());
            const int now = current_cpu();
            if (now == cpu) {
                if (is_first) see(cpu, true);
                return;
            }
            // Part of a flush was made here and part there, and what comes next builds on whole ones.
            see(cpu, false);
            see(now, false);
            cpu = now;
        }
    }

    // The bare routine over the buffer, for measurements.
    void repeat(std::size_t times) {
        check();
        for (; times; --times) routine_.run(buffer_.data(), buffer_.bytes());
    }

    const Buffer &buffer() const { return buffer_; }

    // The CPUs on which the second buffer was read.
    std::vector<int> started_on() const {
        std::vector<int> found;
        for (std::size_t cpu = 0; cpu < seen_.size(); ++cpu)
            if (seen_[cpu]) found.push_back(static_cast<int>(cpu));
        return found;
    }

private:
    void check() const {
        if (!buffer_.here()) throw Forked();
    }

    bool seen(int cpu) const { return cpu >= 0 && static_cast<std::size_t>(cpu) < seen_.size() && seen_[cpu]; }

    void see(int cpu, bool seen) {
        if (cpu < 0 || !first_) return;
        if (static_cast<std::size_t>(cpu) >= seen_.size()) seen_.resize(static_cast<std::size_t>(cpu) + 1);
        seen_[static_cast<std::size_t>(cpu)] = seen;
    }

    Routine routine_;
    Buffer buffer_;
    std::optional<Buffer> first_;
    std::vector<bool> seen_;
};

}  // namespace l1dflush::native
