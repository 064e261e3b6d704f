// SPDX-License-Identifier: GPL-2.0-or-later
// The flush loops of flush.S. Where there are none (L1DFLUSH_NATIVE is 0), nothing here is defined.
#pragma once

#include <cstddef>

// Each reads `buffer` (page-aligned) up to `bytes` (a multiple of the page, not 0) and returns when all loads are done.
extern "C" {
void l1dflush_linux_2018(const void *buffer, std::size_t bytes);     // warm-up, cpuid, fill, lfence
void l1dflush_planned(const void *buffer, std::size_t bytes);  // warm-up, lfence, fill, lfence
void l1dflush_fill(const void *buffer, std::size_t bytes);     // fill, lfence

// The first byte behind each.
extern const unsigned char l1dflush_linux_2018_end[];
extern const unsigned char l1dflush_planned_end[];
extern const unsigned char l1dflush_fill_end[];
}
