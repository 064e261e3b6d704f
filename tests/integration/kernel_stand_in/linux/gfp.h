// SPDX-License-Identifier: GPL-2.0-or-later
#include <stddef.h>

#define GFP_KERNEL 1u
#define __GFP_ZERO 2u
#define PAGE_SIZE 4096ul

struct page;
struct page *alloc_pages(unsigned int flags, unsigned int order);
void free_pages(unsigned long address, unsigned int order);
