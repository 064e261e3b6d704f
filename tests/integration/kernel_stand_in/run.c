/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a kernel has, as far as a plan's code needs it, and a run through that code that tells what it sees. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan.c"

static int fail, allocations, frees, cpus;
static unsigned int flags_seen, order_seen;
static void *memory;

struct page *alloc_pages(unsigned int flags, unsigned int order)
{
	if (fail)
		return NULL;
	allocations++;
	flags_seen = flags;
	order_seen = order;
	memory = aligned_alloc(PAGE_SIZE, PAGE_SIZE << order);
	/* What is not asked to be zero holds anything. */
	memset(memory, flags & __GFP_ZERO ? 0 : 0xa5, PAGE_SIZE << order);
	return memory;
}

void *page_address(const struct page *page)
{
	return (void *)page;
}

void free_pages(unsigned long address, unsigned int order)
{
	if ((void *)address != memory || order != order_seen)
		exit(2);
	frees++;
	free(memory);
}

#ifdef HAS_FIRST
void on_each_cpu(void (*function)(void *), void *info, int wait)
{
	if (function != l1d_flush_first || !wait || !l1d_flush_buffer)
		exit(3);
	for (int cpu = 0; cpu < 2; cpu++, cpus++)
		function(info);
}
#endif

static int different_pages(void)
{
	const char *pages = l1d_flush_buffer;

	for (int i = 0; i < L1D_FLUSH_PAGES; i++)
		for (int j = 0; j < i; j++)
			if (!memcmp(pages + i * PAGE_SIZE, pages + j * PAGE_SIZE, PAGE_SIZE))
				return 0;
	return L1D_FLUSH_PAGES;
}

int main(void)
{
	int result;

	fail = 1;
	result = l1d_flush_setup();
	printf("failed: %d, %s changed\n", result, l1d_flush_buffer || frees || cpus ? "something" : "nothing");

	fail = 0;
	result = l1d_flush_setup();
	if (!(flags_seen & GFP_KERNEL))
		return 4;
	printf("setup: %d, order %u, %d pages differ, first flush on %d CPUs\n", result, order_seen, different_pages(), cpus);
	l1d_flush();
	l1d_flush();

	result = l1d_flush_setup();
	printf("again: %d, %s allocated\n", result, allocations == 1 ? "nothing" : "something");

	l1d_flush_teardown();
	printf("teardown: %s, %s left\n", frees == 1 ? "freed" : "not freed", l1d_flush_buffer ? "something" : "nothing");
	l1d_flush_teardown();
	printf("again: %s freed\n", frees == 1 ? "nothing" : "something");
	return 0;
}
