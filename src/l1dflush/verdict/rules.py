# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules: what experience says goes wrong besides an incomplete walk. Ids are stable."""

from __future__ import annotations

from dataclasses import dataclass

from l1dflush.severity import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: ``title`` says in one line what it means, ``advice`` in one line what to do; ``explanation``
    is for ``l1dflush explain``: why it matters, how it is found, what the tool does not know."""

    id: str
    severity: Severity
    title: str
    advice: str
    explanation: str


# This one is the cause of an UNDECIDED as well.
ANOTHER_WALK_UNDECIDED = "another-walk-undecided"

RULES: tuple[Rule, ...] = (
    Rule(
        "own-line-in-walk",
        Severity.WARNING,
        "a line of the routine's own is touched inside the walk",
        "keep counters and pointers in registers while the buffer is read",
        """An access to the stack or to a variable between two buffer accesses is one more access in whatever set
that line lies in. It mostly hits, then displaces nothing, and steers a pseudo-LRU policy away from the line that has
to go: with a loop counter in memory, tree-PLRU with 8 ways keeps 3 old lines however large the buffer is. The proof
takes it into account, in every set that the line may lie in; the finding says that it is there.

Found from the trace: events on memory other than the buffer between the first and the last access of the fill.""",
    ),
    Rule(
        "outside-buffer",
        Severity.ERROR,
        "the routine reads outside the buffer",
        "end the walk at the end of the buffer, or allocate what is read",
        """Reads beyond the buffer's end bring in lines that belong to somebody else: just what the flush is to get
rid of. The proof does not count them as buffer lines.

Found only where the size is known: from --buffer-size, from the built-in description, or from the size of the
symbol whose storage is read.""",
    ),
    Rule(
        "null-buffer",
        Severity.ERROR,
        "the buffer's address is 0",
        "allocate the buffer, and see that its address is set before the flush runs",
        """The walk begins in the first page of the address space: a pointer that is NULL, or a base of 0. Kernels and
systems leave that page unmapped, so that the first access faults. The verdict takes for granted that accesses do not
fault, and says what the walk does where something is mapped there.

Found from the trace: the walk's addresses are numbers, and the first is below 4096.""",
    ),
    Rule(
        "own-storage",
        Severity.ERROR,
        "the symbol's own storage is walked instead of the memory it points to",
        "load the pointer first (mov, not lea; no & in C), or say --bind SYMBOL=buffer if the symbol is the buffer",
        """The walk starts at the address of a symbol that is too small to be the buffer, or whose size is not known
here: most likely the variable that holds the buffer's address. It reads tens of kilobytes of whatever lies behind
that variable. As far as replacement goes this may well empty the cache, so it changes no verdict; but what is read
is not the buffer: it may be unmapped, shared, secret, or device memory.

Found from the trace: the walk's addresses come from the symbol and not from what is loaded from it. A symbol whose
size covers the walk is the buffer itself and is not a finding.""",
    ),
    Rule(
        "skipped-line",
        Severity.WARNING,
        "a line or a page of the buffer is not read",
        "read every line from the first page to the last, in steps of one line",
        """The walk leaves out lines inside the pages that it reads: a page skipped, a loop that ends one line early,
or a step of more than one cache line. The sets these lines belong to get fewer accesses than the others. Whether
what remains is enough is the proof's business; here it is said that the routine does not do what it seems to mean.""",
    ),
    Rule(
        "no-fence",
        Severity.WARNING,
        "loads may still be in flight when the routine ends",
        "end with lfence, or rely on a serialising instruction that surely follows",
        """Loads complete out of order. Without a fence (or a serialising instruction) behind the last one, the last
lines may come in after the guest has been entered, and the lines that they should displace are still there.
Linux ends its loop with lfence.""",
    ),
    Rule(
        "no-warm-up",
        Severity.WARNING,
        "the TLB is not warmed before the fill",
        "touch every page of the buffer once before the first line is read",
        """The first access to each page makes the CPU walk the page tables, and page-table entries come through the
L1D too: they are lines nobody counted, they come in during the fill, and they hold physical addresses. Linux
reads one byte per page first.

Found from the trace: a page of the fill that no earlier load has touched. Large pages need less; the tool does
not know how the buffer is mapped.""",
    ),
    Rule(
        "no-serialisation",
        Severity.WARNING,
        "nothing separates warming the TLB from the fill",
        "put a serialising instruction (cpuid) or a fence between the two",
        """Without it, loads of the fill may run before the page walks of the warm-up have finished, and page-table
lines come in during the fill after all. Linux uses cpuid.""",
    ),
    Rule(
        "undeclared-register",
        Severity.ERROR,
        "the inline assembly changes a register that it does not declare",
        'add the register to the clobber list, or make the operand an output ("+r")',
        """The compiler believes that a register keeps its value unless the statement names it as an output or a
clobber. cpuid alone changes eax, ebx, ecx and edx. What then goes wrong depends on the code around, on the compiler
and on its options.

Found by comparing what the machine code of the statement writes with what the statement declares.""",
    ),
    Rule(
        "no-memory-clobber",
        Severity.WARNING,
        "the inline assembly lacks a memory clobber",
        'add "memory" to the clobber list',
        """Without it the compiler may move other loads and stores across the statement: a load of something secret
that belongs before the flush may then run after it.""",
    ),
    Rule(
        "named-label",
        Severity.NOTE,
        "the inline assembly defines a named label",
        "use numeric local labels (1:, jne 1b) or %=",
        """If the compiler duplicates the statement (inlining, unrolling, cloning) the label is defined twice and the
assembler stops. Harmless until then.""",
    ),
    Rule(
        "own-lines-left",
        Severity.NOTE,
        "lines of the routine's own are in the cache when it returns",
        "see that nothing in them is worth reading, or flush them with clflush",
        """After the last buffer access the routine touches memory of its own (it pops registers, returns, reads a
variable). These lines are in the L1D at the end. They are not old lines, so completeness does not suffer, but what
they hold can be read.""",
    ),
    Rule(
        "buffer-written",
        Severity.WARNING,
        "the routine stores into the buffer",
        "only read the buffer while flushing",
        """A line that is written has to be written back when it is displaced, and other CPUs that use the same
buffer then lose their copy at an arbitrary moment.""",
    ),
    Rule(
        "buffer-not-initialised",
        Severity.WARNING,
        "the buffer is never given content, so its pages may be one page",
        "write something different into every page once after the allocation",
        """A hypervisor below that merges equal pages (KSM) may back all pages of a buffer that nobody wrote to, or
that is all zero, with one page: then the walk reads the same 64 lines again and again, whatever the size. Linux
fills page i with the byte i+1 since August 2018 (Nicolai Stange, "Initialize the vmx_l1d_flush_pages' content").

Found only where the source shows the allocation and no store; elsewhere it is not checked.""",
    ),
    Rule(
        "zero-buffer",
        Severity.NOTE,
        "the buffer is a variable of zeros that nothing here stores into",
        "write something different into every page once, or give the code that does as well",
        """As with buffer-not-initialised its pages may be one page: those that a process has never written are the
same page of zeros, and a hypervisor below may merge equal ones. Then the walk reads the same 64 lines again and again.

Found where the buffer is a variable that is larger than a page, is zero at first, and is not named by any other code
of the input than the routine, which does not store into it. It is a note, because what initialises the variable may
stand in a file that was not given. Not looked for in linked files and patches, and where an outside function is
called.""",
    ),
    Rule(
        "flush-skipped",
        Severity.NOTE,
        "the flush is skipped on a path",
        "check that the condition is only true when nothing sensitive ran",
        """A branch on a value that the routine does not define leads past the walk. That is what a conditional
flush does; whether the condition is right cannot be seen here. --every-path makes such a path count.""",
    ),
    Rule(
        "undefined-register",
        Severity.ERROR,
        "an address or a branch depends on a register that nobody has written",
        "check the operand: the register is not an argument of the function",
        """The calling convention does not say what the register holds. Most often it is a typing error in the base
register of the walk, which then reads some other memory.""",
    ),
    Rule(
        "msr-path",
        Severity.NOTE,
        "on a path the flush is one MSR write",
        "nothing to do; what microcode does is taken on trust",
        """Writing bit 0 of IA32_FLUSH_CMD (MSR 0x10b) makes the CPU flush its L1D. There is nothing in it that could
be proved from outside.""",
    ),
    Rule(
        "msr-value-unknown",
        Severity.WARNING,
        "on a path an MSR write may be the flush, or not",
        "say what the value comes from with --bind NAME=VALUE, and see that bit 0 is set",
        """An MSR is written, and its number or its value comes from somewhere else: a variable, or an argument.
With bit 0 set it is the flush command, without it is none. --bind settles it; with --every-path what would be PROVED is
UNDECIDED until then, with this as its cause.""",
    ),
    Rule(
        "outside-call",
        Severity.WARNING,
        "the routine calls a function that is not here, between two buffer accesses",
        "do not call anything during the walk, or give the called function's code as well",
        """What the function does to the cache is unknown. The proof starts anew behind the call, from any state: if
the accesses that follow are enough by themselves the verdict is PROVED; otherwise it is UNDECIDED.""",
    ),
    Rule(
        ANOTHER_WALK_UNDECIDED,
        Severity.WARNING,
        "another function may be the flush, and could not be looked at",
        "say which one is meant with --function NAME, or give what the other one lacks",
        """Of several functions, or several files, one walks a buffer and was judged. Another one looks as if it did too
(it reads in a loop, and steps by lines or has a name that speaks of a flush), but it could not be followed or does
not compile: perhaps that one is the flush. So PROVED becomes UNDECIDED, with this as its cause; --function settles it.

Whether a function that was not followed looks like a walk is a guess from its code. What is in a file of many functions
and has neither such a name nor such a loop is not looked at.""",
    ),
    Rule(
        "undefined-decides",
        Severity.WARNING,
        "an undefined name decides what is compiled",
        "say what it is: --define NAME, --define NAME=VALUE, or --undefine NAME",
        """The source asks for a name (#ifdef, #if, IS_ENABLED) that neither it nor --define defines. A compiler takes
it for undefined without a word, and whatever stands in the other branch is not in the code that was judged. A kernel's
build would give such names by its configuration.

The other branch is compiled and judged as well, with the name defined, and for comparisons with values on either side.
Where that has another verdict, the verdict is UNDECIDED, and the reason has the option. Where it does not compile, or
several names depend on each other, not everything can be tried: then the finding is all there is.""",
    ),
    Rule(
        "optimisation-dependent",
        Severity.WARNING,
        "compiled without optimisation the verdict is another",
        "make the loop independent of the compiler: inline assembly, or a register variable",
        """The C code was compiled at -O0 as well. There, local variables live in memory, and a loop counter in memory
is an own line inside the walk. A flush whose completeness depends on compiler options is fragile.""",
    ),
)

BY_ID = {rule.id: rule for rule in RULES}
