# SPDX-License-Identifier: GPL-2.0-or-later
"""A walk as C for a Linux kernel: the buffer, its set-up and teardown, and the flush as inline assembly.

Of the rest of the kernel it takes ``alloc_pages``, ``page_address``, ``free_pages``, ``mb`` and ``on_each_cpu``, which
are the same in all kernels that ever had an L1D flush.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from l1dflush.errors import InputError
from l1dflush.planning.emit import PAGE, c_comment, operands, parts, quoted
from l1dflush.planning.walk import Walk

POINTER = "l1d_flush_buffer"
FLUSH = "l1d_flush"
FIRST = "l1d_flush_first"
FIRST_POINTER = "l1d_flush_first_buffer"
MOST_ORDER = 10
"""The largest allocation of x86-64 Linux with its usual configuration: 2 to the power of so many pages."""

_USE = (
    "l1d_flush_setup() comes first, where it may sleep: it returns 0, or -ENOMEM and has changed nothing."
    " l1d_flush() is for the CPU that calls it, with interrupts off. When l1d_flush_teardown() is called nobody may"
    " flush any more. The buffer is for these functions only."
)
_USE_FIRST = (
    "That flush is l1d_flush_first(), and it has to run once on every CPU before the first l1d_flush() there."
    " l1d_flush_setup() has all CPUs that are online run it before it returns; a CPU that comes online later calls it"
    " itself."
)


def kernel_source(walk: Walk, head: Sequence[str], first: Walk | None = None) -> str:
    """The file. ``head`` are paragraphs for its comment; ``first`` is a walk through another part of the buffer that
    every CPU makes once, before its first flush.

    Raises InputError for a buffer that a kernel cannot allocate.
    """
    apart = _pages(walk.buffer_bytes)
    pages = apart + (0 if first is None else _pages(first.buffer_bytes))
    order = (pages - 1).bit_length()
    if order > MOST_ORDER:
        what = f"a kernel allocates at most {PAGE << MOST_ORDER >> 20} MiB at once, not {pages} pages"
        raise InputError(what, where="--emit kernel", hint="--emit c leaves the buffer to its caller")
    pointers = (POINTER,) if first is None else (POINTER, FIRST_POINTER)
    headers = ("linux/errno", "linux/gfp", "linux/mm", *(() if first is None else ("linux/smp", "asm/barrier")))
    defines = {"L1D_FLUSH_ORDER": f"{order}", "L1D_FLUSH_PAGES": f"{pages}"}
    if first is not None:
        defines["L1D_FLUSH_FIRST"] = f"{apart * PAGE:#x}"
    pieces = [
        c_comment((*head, *(() if first is None else (_USE_FIRST,)), _USE)),
        "".join(f"#include <{header}.h>\n" for header in headers) + "\n",
        "".join(f"#define {name}\t{value}\n" for name, value in defines.items()) + "\n",
        "".join(f"static void *{name};\n" for name in pointers) + "\n",
        _function(f"static void {FLUSH}(void)", _statement(walk, POINTER)),
    ]
    if first is not None:
        pieces.append(_function(f"static void {FIRST}(void *unused)", _statement(first, FIRST_POINTER)))
    pieces.append(_function("static int l1d_flush_setup(void)", _setup(first is not None)))
    pieces.append(_function("static void l1d_flush_teardown(void)", _teardown(pointers)))
    return "".join(pieces).removesuffix("\n")


def _pages(size: int) -> int:
    return -(-size // PAGE)


def _function(name: str, body: str) -> str:
    return f"{name}\n{{\n{body}}}\n\n"


def _statement(walk: Walk, pointer: str) -> str:
    return "\tasm volatile(\n" + "".join(_template(walk)) + f"\t\t{operands(pointer)});\n"


def _template(walk: Walk) -> Iterator[str]:
    for what, lines in parts(walk, "%0", "%%"):
        yield f"\t\t/* {what} */\n"
        yield from (f"\t\t{quoted(line)}\n" for line in lines)


def _setup(first: bool) -> str:
    """Every page of the buffer gets a number of its own, so that a hypervisor below cannot merge two of them."""
    run = f"""\
	{FIRST_POINTER} = {POINTER} + L1D_FLUSH_FIRST;

	/* No store to the buffer may bring a line of it in after the flush. */
	mb();
	on_each_cpu({FIRST}, NULL, 1);
"""
    return f"""\
	unsigned long *words;
	struct page *pages;
	unsigned int i;

	if ({POINTER})
		return 0;

	pages = alloc_pages(GFP_KERNEL | __GFP_ZERO, L1D_FLUSH_ORDER);
	if (!pages)
		return -ENOMEM;

	/* Pages that are equal could become one below a hypervisor. */
	words = page_address(pages);
	for (i = 0; i < L1D_FLUSH_PAGES; i++)
		words[i * PAGE_SIZE / sizeof(*words)] = i + 1;

	{POINTER} = words;
{run if first else ""}	return 0;
"""


def _teardown(pointers: Sequence[str]) -> str:
    cleared = "".join(f"\t{name} = NULL;\n" for name in pointers)
    return f"""\
	if (!{POINTER})
		return;

	free_pages((unsigned long){POINTER}, L1D_FLUSH_ORDER);
{cleared}"""
