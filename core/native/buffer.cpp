// SPDX-License-Identifier: GPL-2.0-or-later
#include "native/buffer.hpp"

#if L1DFLUSH_NATIVE

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>

namespace l1dflush::native {

namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

[[noreturn]] void fail(const char *step, int error) {
    throw AllocationFailed(std::string(step) + ": " + std::strerror(error));
}

void *map(std::size_t bytes) {
    void *got = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) fail("mmap", errno);
    return got;
}

// A figure in kB from a text under /proc/self; `from` is the beginning of a line to look behind, "" the whole text.
std::size_t said_kib(const char *file, const std::string &from, const char *what) {
    std::size_t found = 0;
    if (std::FILE *text = std::fopen(file, "re")) {
        char line[512];
        bool behind = from.empty();
        while (std::fgets(line, sizeof line, text)) {
            if (!behind)
                behind = std::strncmp(line, from.c_str(), from.size()) == 0;
            else if (std::strncmp(line, what, std::strlen(what)) == 0) {
                std::sscanf(line + std::strlen(what), "%zu", &found);
                break;
            }
        }
        std::fclose(text);
    }
    return found;
}

// Bijective, so different numbers stay different.
std::uint64_t mixed(std::uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

[[noreturn]] void fail_to_lock(std::size_t bytes, int error) {
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    const std::size_t locked = said_kib("/proc/self/status", "", "VmLck:") * 1024;
    if (limit.rlim_cur == RLIM_INFINITY || (error == ENOMEM && locked + bytes <= limit.rlim_cur) ||
        (error != ENOMEM && error != EPERM))
        fail("mlock", error);
    throw LockedMemoryLimit(std::to_string(bytes) + " bytes were to be locked in memory, " + std::to_string(locked) +
                            " are, and the limit (RLIMIT_MEMLOCK, ulimit -l) is " + std::to_string(limit.rlim_cur));
}

}  // namespace

unsigned Buffer::forks = 0;

void Buffer::count_fork() { ++forks; }

void Buffer::watch_forks() {
    static const int error = pthread_atfork(nullptr, nullptr, &count_fork);
    if (error) fail("pthread_atfork", error);
}

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
    if (bytes == 0 || bytes % page || bytes > largest_buffer)
        throw std::invalid_argument("a buffer is 1 to " + std::to_string(largest_buffer / page) + " whole pages");
    watch_forks();
    generation_ = forks;
    try {
        if (!try_huge()) map_small();
        settle();
    } catch (...) {
        give_back();
        throw;
    }
}

Buffer::~Buffer() {
    // In a child, something else may be at this address by now.
    if (here()) give_back();
}

void Buffer::give_back() {
    if (data_) munmap(data_, mapped_);  // also unlocks
    data_ = nullptr;
}

// Transparent huge pages only: a page of the administrator's pool is reserved for somebody, and touching one that a
// control group refuses is a SIGBUS.
bool Buffer::try_huge() {
    const std::size_t wanted = (bytes_ + huge_page - 1) / huge_page * huge_page;
    char *got = nullptr;
    try {
        got = static_cast<char *>(map(wanted + huge_page));
    } catch (const AllocationFailed &) {
        return false;
    }
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(got) % huge_page;
    if (before) munmap(got, before);
    munmap(got + before + wanted, huge_page - before);
    data_ = got + before;
    mapped_ = wanted;
    if (madvise(data_, mapped_, MADV_HUGEPAGE) == 0 && madvise(data_, mapped_, MADV_DONTFORK) == 0 &&
        mlock(data_, mapped_) == 0) {
        // Locking has brought the memory in; whether as huge pages, only the kernel knows.
        char begin[32];
        std::snprintf(begin, sizeof begin, "%" PRIxPTR "-", reinterpret_cast<std::uintptr_t>(data_));
        huge_ = said_kib("/proc/self/smaps", begin, "AnonHugePages:") * 1024 == mapped_;
    }
    if (!huge_) give_back();
    return huge_;
}

void Buffer::map_small() {
    data_ = map(bytes_);
    mapped_ = bytes_;
    // Before anything else: what is locked and read must not become copy-on-write by somebody's fork.
    if (madvise(data_, mapped_, MADV_DONTFORK)) fail("madvise(MADV_DONTFORK)", errno);
    if (mlock(data_, mapped_)) fail_to_lock(mapped_, errno);
}

void Buffer::settle() {
    // EINVAL: a kernel without page merging.
    if (madvise(data_, mapped_, MADV_UNMERGEABLE) && errno != EINVAL) fail("madvise(MADV_UNMERGEABLE)", errno);
    // A hypervisor may merge pages all the same, if they are alike; so no two of this buffer are, nor of two buffers.
    static std::atomic<std::uint64_t> buffers{0};
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    const std::uint64_t first = mixed(static_cast<std::uint64_t>(now) ^ mixed(static_cast<std::uint64_t>(getpid()))) +
                                (buffers++ << 32);
    auto *words = static_cast<std::uint64_t *>(data_);
    for (std::size_t at = 0; at < mapped_ / sizeof *words; ++at)
        words[at] = mixed(first + at * sizeof *words / page);
    if (mprotect(data_, mapped_, PROT_READ)) fail("mprotect", errno);
}

}  // namespace l1dflush::native

#else

#include "native/routine.hpp"

namespace l1dflush::native {

unsigned Buffer::forks = 0;

Buffer::Buffer(std::size_t bytes) : bytes_(bytes), generation_(forks) { throw NoNativeCode(); }

Buffer::~Buffer() = default;

}  // namespace l1dflush::native

#endif
