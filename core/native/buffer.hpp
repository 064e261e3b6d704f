// SPDX-License-Identifier: GPL-2.0-or-later
// The memory that a flush reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace l1dflush::native {

inline constexpr std::size_t page = 4096;
// Far beyond any first-level cache; larger ones are mistakes.
inline constexpr std::size_t largest_buffer = std::size_t{64} << 20;

// The kernel refused a step.
class AllocationFailed : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// RLIMIT_MEMLOCK.
class LockedMemoryLimit : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Pages that differ from each other, locked, read-only, not merged, not inherited by fork. In a huge page if the kernel
// gives one (and lets it be locked), otherwise in as many small pages as it takes.
class Buffer {
public:
    // `bytes` is a multiple of the page. Throws std::invalid_argument, AllocationFailed or LockedMemoryLimit, and
    // leaves nothing behind then.
    explicit Buffer(std::size_t bytes);
    ~Buffer();
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;

    const void *data() const { return data_; }
    std::size_t bytes() const { return bytes_; }
    bool huge() const { return huge_; }

    // Whether this process is the one that made it: a child after fork does not have the memory.
    bool here() const { return generation_ == forks; }

private:
    bool try_huge();
    void map_small();
    void settle();
    void give_back();

    void *data_ = nullptr;
    std::size_t bytes_;
    std::size_t mapped_ = 0;
    bool huge_ = false;
    unsigned generation_;

    // How many forks led to this process, since the first buffer. A handler of fork counts; a plain read is enough,
    // because a fork leaves one thread.
    static unsigned forks;
    static void count_fork();
    static void watch_forks();
};

}  // namespace l1dflush::native
