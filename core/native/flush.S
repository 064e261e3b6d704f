/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flush loops: System V x86-64, rdi is a page-aligned buffer, rsi its size in bytes (a multiple of 4096, not 0).
 *
 * Nothing here touches the stack between the first load and the last, and counters stay in registers, so the only
 * memory that is read is the buffer. The fill loop is the same eight lines everywhere. Each function ends in a label, so
 * that its bytes can be read back and proved: see l1dflush/host/flusher.py.
 */
#if defined(__x86_64__)

	.text

/* A load from every page first, so that no page walk brings lines in during the fill. */
.macro warm_up
	xorl	%eax, %eax
1:	movzbl	(%rdi,%rax), %ecx
	addq	$4096, %rax
	cmpq	%rsi, %rax
	jne	1b
.endm

/* A load from every line, upwards, once. */
.macro fill
	xorl	%eax, %eax
2:	movzbl	(%rdi,%rax), %ecx
	addq	$64, %rax
	cmpq	%rsi, %rax
	jne	2b
.endm

.macro function name
	.balign	64
	.globl	\name
	.hidden	\name
	.type	\name, @function
\name:
.endm

.macro end_of name
	.globl	\name\()_end
	.hidden	\name\()_end
\name\()_end:
	.size	\name, . - \name
.endm

/* The order of Linux's patch of 2018: warm-up, cpuid to serialise, fill, lfence. */
function l1dflush_linux_2018
	warm_up
	xorl	%eax, %eax
	movq	%rbx, %r8	/* cpuid overwrites rbx, which is the caller's */
	cpuid
	movq	%r8, %rbx
	fill
	lfence
	ret
end_of l1dflush_linux_2018

/* The same with lfence for cpuid, which a hypervisor traps. The prover's number of lines, in rsi, makes it a plan. */
function l1dflush_planned
	warm_up
	lfence
	fill
	lfence
	ret
end_of l1dflush_planned

/* The fill alone, for measurements. */
function l1dflush_fill
	fill
	lfence
	ret
end_of l1dflush_fill

#endif

	.section	.note.GNU-stack, "", @progbits
