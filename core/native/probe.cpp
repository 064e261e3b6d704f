// SPDX-License-Identifier: GPL-2.0-or-later
#include "native/probe.hpp"

#include <alloca.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "native/flush.hpp"

namespace l1dflush::native {

namespace {

constexpr std::size_t last_word = line - sizeof(std::uint64_t);
constexpr std::size_t huge_page = std::size_t{2} << 20;

void require(bool holds, const char *otherwise) {
    if (!holds) throw std::invalid_argument(otherwise);
}

// Nothing before it is still going on, and nothing behind it has begun.
inline std::uint64_t now() {
    _mm_lfence();
    const std::uint64_t ticks = __rdtsc();
    _mm_lfence();
    return ticks;
}

inline unsigned cpu() {
    unsigned aux = 0;
    __rdtscp(&aux);
    return aux;
}

// Follows the chains of `count` steps, one after the other; nothing is touched but their nodes and the steps.
inline void visit(const unsigned char *region, const std::uint32_t *steps, std::size_t count) {
    if (count == 0) return;
    std::uint64_t node, lines;
    asm volatile(
        "xorl %%eax, %%eax\n"
        "1: movl (%[steps]), %k[node]\n"
        "testl %k[node], %k[node]\n"
        "js 3f\n"
        "addq %[region], %[node]\n"
        "addq %[node], %%rax\n"  // rax is null here: the load before this one has to be done first
        "2: movq (%%rax), %%rax\n"
        "testq %%rax, %%rax\n"
        "jne 2b\n"
        "jmp 5f\n"
        "3: andl $0x7fffffff, %k[node]\n"
        "addq %[region], %[node]\n"
        "movl $64, %k[lines]\n"
        "4: clflush (%[node])\n"
        "addq $64, %[node]\n"
        "decl %k[lines]\n"
        "jne 4b\n"
        "mfence\n"
        "5: addq $4, %[steps]\n"
        "decq %[count]\n"
        "jne 1b\n"
        : [steps] "+r"(steps), [count] "+r"(count), [node] "=&r"(node), [lines] "=&r"(lines)
        : [region] "r"(region)
        : "rax", "cc", "memory");
}

// One trial, whose program lies in the control area.
struct Program {
    unsigned char *region;
    unsigned char *area;  // the control sets of the first control page
    std::size_t prepare, timed, flush, flush_from;
};

inline std::uint32_t *steps_at(unsigned char *area, std::size_t index) {
    return reinterpret_cast<std::uint32_t *>(area + (1 + index / steps_per_page) * page) + index % steps_per_page;
}

// Not inlined: its frame, with a copy of the program, has to lie where the stack was moved to.
[[gnu::noinline]] bool play(const Program &given) {
    const Program program = given;
    unsigned char *const region = program.region, *const area = program.area;
    auto *const ticks = reinterpret_cast<std::uint32_t *>(area);
    const unsigned before = cpu();
    std::size_t done = 0;
    while (done < program.prepare) {
        const std::size_t count = std::min(program.prepare - done, steps_per_page - done % steps_per_page);
        visit(region, steps_at(area, done), count);
        done += count;
    }
    if (program.flush != 0) l1dflush_fill(region + program.flush_from, program.flush);
    for (std::size_t index = 0; index < program.timed; ++index) {
        const std::uint32_t *const step = steps_at(area, done + index);
        // The page's translation, by way of a line that is not measured.
        const std::size_t offset = (*step & ~static_cast<std::uint32_t>(page - 1)) +
                                   (reinterpret_cast<std::uintptr_t>(area) & (page - 1));
        static_cast<void>(*reinterpret_cast<volatile unsigned char *>(region + offset));
        const std::uint64_t begin = now();
        visit(region, step, 1);
        ticks[index] = static_cast<std::uint32_t>(now() - begin);
    }
    return cpu() != before;
}

// Plays it with the stack in the control sets as well.
[[gnu::noinline]] bool play_in(const Program &program, std::size_t control_set) {
    const auto top = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    const std::size_t wanted = (control_set + control_sets) * line;
    // Enough that the frame of this function, which is above, is out of the way.
    const std::size_t down = 512 + ((top - 512 - wanted) & (page - 1));
    auto *const room = static_cast<volatile unsigned char *>(alloca(down));
    room[0] = 0;
    const bool moved = play(program);
    // After the call, so that it is not a jump that gives the room back before.
    room[0] = 1;
    return moved;
}

void additions() {
    std::uint64_t sum = 0;
    std::uint32_t rounds = chain_cycles / 64;
    asm volatile(
        "1:\n.rept 64\naddq $1, %[sum]\n.endr\n"
        "decl %[rounds]\n"
        "jne 1b\n"
        : [sum] "+r"(sum), [rounds] "+r"(rounds)
        :
        : "cc");
}

// The most that loads from every line get: eight to a turn, so that nothing but they counts.
void stream(const unsigned char *from, std::size_t bytes) {
    const unsigned char *const end = from + bytes;
    asm volatile(
        "1:\n"
        "movl 0(%[at]), %%eax\n movl 64(%[at]), %%eax\n movl 128(%[at]), %%eax\n movl 192(%[at]), %%eax\n"
        "movl 256(%[at]), %%eax\n movl 320(%[at]), %%eax\n movl 384(%[at]), %%eax\n movl 448(%[at]), %%eax\n"
        "addq $512, %[at]\n"
        "cmpq %[end], %[at]\n"
        "jne 1b\n"
        "lfence\n"
        : [at] "+r"(from)
        : [end] "r"(end)
        : "rax", "cc", "memory");
}

void go(Loop loop, const unsigned char *from, std::size_t bytes) {
    switch (loop) {
        case Loop::none: break;
        case Loop::fill: l1dflush_fill(from, bytes); break;
        case Loop::planned: l1dflush_planned(from, bytes); break;
        case Loop::linux_2018: l1dflush_linux_2018(from, bytes); break;
        case Loop::stream: stream(from, bytes); break;
    }
}

void use(Before before, unsigned char *victims, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += line) {
        if (before == Before::dirty)
            *reinterpret_cast<volatile std::uint64_t *>(victims + at + last_word) = at;
        else
            static_cast<void>(*reinterpret_cast<volatile std::uint64_t *>(victims + at));
    }
    _mm_mfence();
}

}  // namespace

std::uint64_t time_stamp() { return now(); }

Region::Region(std::size_t pages) {
    require(pages > control_pages && pages <= 1U << 18, "so many pages make no region");
    bytes_ = pages * page;
    mapped_ = (bytes_ + huge_page - 1) / huge_page * huge_page + huge_page;
    void *const mapped = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    mapping_ = static_cast<unsigned char *>(mapped);
    const auto address = reinterpret_cast<std::uintptr_t>(mapping_);
    start_ = mapping_ + ((address + huge_page - 1) / huge_page * huge_page - address);
    // Without a huge page it works as well, with more misses of the first-level TLB, which every visit warms.
    static_cast<void>(madvise(start_, bytes_, MADV_HUGEPAGE));
    static_cast<void>(madvise(start_, bytes_, MADV_UNMERGEABLE));
    std::memset(start_, 0, bytes_);
}

Region::~Region() { munmap(mapping_, mapped_); }

void Region::check_node(std::uint32_t offset) const {
    require(offset % sizeof(void *) == 0 && offset % line != last_word && offset < bytes_ - control_pages * page, "a node is not in the region");
}

void Region::chain(const std::vector<std::uint32_t> &nodes) {
    for (const std::uint32_t node : nodes) check_node(node);
    for (std::size_t index = 0; index < nodes.size(); ++index) {
        unsigned char *const next = index + 1 < nodes.size() ? start_ + nodes[index + 1] : nullptr;
        std::memcpy(start_ + nodes[index], &next, sizeof next);
    }
}

void Region::check(const Trials &trials) const {
    const std::size_t count = trials.prepare.size();
    require(trials.timed.size() == count && trials.flush.size() == count, "a trial has one entry in each list");
    std::size_t steps = 0;
    for (std::size_t index = 0; index < count; ++index) {
        const std::size_t mine = std::size_t{trials.prepare[index]} + trials.timed[index];
        require(mine <= most_steps && trials.timed[index] <= most_timed, "a trial has too many steps");
        require(trials.flush[index] % page == 0 && trials.flush[index] <= bytes_, "a flush reads whole pages");
        require(trials.flush_from % page == 0 && trials.flush_from <= bytes_ - trials.flush[index],
                "the buffer is not in the region");
        steps += mine;
    }
    require(steps == trials.steps.size(), "the trials have other steps in all");
    require(trials.control_set <= page / line - control_sets, "there are no such control sets");
    const std::uint32_t *step = trials.steps.data();
    for (std::size_t index = 0; index < count; ++index) {
        for (std::uint32_t left = trials.prepare[index]; left; --left) check_node(*step++ & ~flush_page);
        // A flush is not a visit: there is nothing to time.
        for (std::uint32_t left = trials.timed[index]; left; --left) check_node(*step++);
    }
}

Timings Region::run(const Trials &trials) {
    check(trials);
    Timings timings;
    timings.moved.reserve(trials.prepare.size());
    unsigned char *const area = start_ + bytes_ - control_pages * page + trials.control_set * line;
    const std::uint32_t *next = trials.steps.data();
    for (std::size_t index = 0; index < trials.prepare.size(); ++index) {
        const Program program{start_,
                              area,
                              trials.prepare[index],
                              trials.timed[index],
                              trials.flush[index],
                              trials.flush_from};
        const std::size_t steps = program.prepare + program.timed;
        for (std::size_t step = 0; step < steps; ++step) *steps_at(area, step) = *next++;
        const bool moved = play_in(program, trials.control_set);
        const auto *const ticks = reinterpret_cast<const std::uint32_t *>(area);
        timings.ticks.insert(timings.ticks.end(), ticks, ticks + program.timed);
        timings.moved.push_back(moved);
    }
    return timings;
}

Costs Region::costs(Loop loop, std::size_t from, std::size_t bytes, Before before, std::size_t victims_from,
                    std::size_t victims, std::size_t trials) {
    const std::size_t most = bytes_ - control_pages * page;
    require(from % page == 0 && bytes % page == 0 && bytes > 0 && bytes <= most && from <= most - bytes,
            "the buffer is not in the region");
    require(victims % line == 0 && victims <= most && victims_from % line == 0 && victims_from <= most - victims,
            "the victims are not in the region");
    require(before == Before::flushed || victims_from + victims <= from || victims_from >= from + bytes,
            "the victims are in the buffer");
    Costs costs;
    for (std::size_t trial = 0; trial < trials; ++trial) {
        if (before == Before::flushed)
            go(loop, start_ + from, bytes);
        else
            use(before, start_ + victims_from, victims);
        const unsigned first = cpu();
        const std::uint64_t begin = now();
        go(loop, start_ + from, bytes);
        const std::uint64_t end = now();
        additions();
        const std::uint64_t behind = now();
        costs.moved.push_back(cpu() != first);
        costs.ticks.push_back(static_cast<std::uint32_t>(end - begin));
        costs.chain.push_back(static_cast<std::uint32_t>(behind - end));
    }
    return costs;
}

}  // namespace l1dflush::native
