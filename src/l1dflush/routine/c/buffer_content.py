# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the source shows what the pages of the walked buffer hold.

A hypervisor below may merge pages of equal content (KSM); a walk over them then reads one page's lines again
and again, and flushes a sixteenth of what it seems to. Linux learned that after the flush had been merged
("x86/KVM/VMX: Initialize the vmx_l1d_flush_pages' content"). So pages need contents that differ, and zeroes
are as bad as nothing.

A text search with a cautious answer: whatever it does not understand (the buffer is handed to an unknown
function, a store it cannot judge) makes it say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from l1dflush.place import Place
from l1dflush.routine.c.text import word_set
from l1dflush.routine.model import NoteKind, SourceNote

_ZEROING = word_set(
    """
    kzalloc kcalloc vzalloc kvzalloc kvcalloc get_zeroed_page calloc alloc_xenheap_page_zeroed mmap
    """
)
_ALLOCATORS = (
    word_set(
        """
    alloc_pages alloc_page alloc_pages_node __alloc_pages alloc_pages_exact __get_free_pages __get_free_page
    kmalloc kmalloc_node kvmalloc vmalloc vmalloc_user malloc aligned_alloc memalign valloc pvalloc realloc
    alloc_xenheap_pages alloc_domheap_pages dma_alloc_coherent
    """
    )
    | _ZEROING
)
_BY_REFERENCE = frozenset({"posix_memalign"})
# These take the buffer and leave its content as it is.
_HARMLESS = word_set(
    """ free kfree vfree kvfree free_pages free_page __free_pages __free_page free_pages_exact munmap
    page_address page_to_virt page_to_phys page_to_pfn virt_to_page virt_to_phys __pa phys_to_virt __va IS_ERR
    IS_ERR_OR_NULL PTR_ERR ERR_PTR printk pr_info pr_err pr_warn pr_debug printf fprintf perror WARN_ON
    WARN_ON_ONCE BUG_ON ASSERT assert likely unlikely if while for switch return sizeof asm __asm__ __asm
    volatile __volatile__ __volatile goto READ_ONCE set_memory_ro mlock EXPORT_SYMBOL EXPORT_SYMBOL_GPL
    kmemleak_not_leak
    """
)
_REACH = 400
_MOST_PLACES = 2000

_CAST = r"(?:\([^()=;{}]{0,60}\)[ \t\n]*){0,4}"
_ALLOCATION = re.compile(rf"\b({'|'.join(sorted(_ALLOCATORS | _BY_REFERENCE))})[ \t]*\(")
_TARGET = re.compile(rf"(?<![\w.>\]])([A-Za-z_]\w*)\s*=\s*{_CAST}(?:page_address\s*\(\s*)?{_CAST}\Z")
_REFERENCE = re.compile(rf"\s*{_CAST}&\s*([A-Za-z_]\w*)\s*,")
_COPY = re.compile(
    rf"(?<![\w.>\]])([A-Za-z_]\w*)\s*=\s*{_CAST}(?:(?:page_address|page_to_virt)\s*\(\s*)?{_CAST}"
    r"([A-Za-z_]\w*)\s*\)?\s*;"
)
_FILL = re.compile(r"\b(?:memset|__builtin_memset|memset64|memset32|memset_explicit)[ \t]*\(")
_RANDOM = re.compile(r"\b(?:get_random_bytes|getrandom|arc4random_buf|prandom_bytes|getentropy)[ \t]*\(")
_ELEMENT = re.compile(r"\s*\)*\s*\[([^\]\[;]{0,200})\]\s*(=(?!=)|[-+|&^*/]=|\+\+|--)\s*([^;]{0,200});")
_ASSIGNED = re.compile(r"[^;=(){}]{0,80}\)*\s*=(?!=)")
_VARIABLE = re.compile(r"\b[a-z_]\w*\b")
_PER_PAGE = re.compile(r"PAGE_SIZE|PAGE_SHIFT|\b4096\b|0x1000\b|(?:<<|>>)\s*12\b")
_WORD_BEFORE = re.compile(r"([A-Za-z_]\w*)\s*\Z")


@dataclass(frozen=True, slots=True)
class _Allocation:
    name: str
    allocator: str
    position: int
    zeroed: bool


def buffer_notes(
    code: str, walked: frozenset[str], functions: frozenset[str], where: Callable[[int], Place]
) -> Iterator[SourceNote]:
    """The notes about every buffer that ``code`` allocates and the routine walks.

    ``code`` has comments and strings blanked; ``walked`` are the words of the routine, ``functions`` the
    names of the functions in it; ``where`` gives file:line for an offset.
    """
    copies: dict[str, set[str]] = {}
    for match in _COPY.finditer(code):
        copies.setdefault(match.group(2), set()).add(match.group(1))
    told: set[str] = set()
    for allocation in _allocations(code):
        names = _aliases(allocation.name, copies)
        reached = names & walked
        if not reached or told & reached:
            continue
        told |= reached
        note = _judge(code, allocation, names, functions, where)
        if note is not None:
            yield note


def _allocations(code: str) -> Iterator[_Allocation]:
    for match in _ALLOCATION.finditer(code):
        allocator = match.group(1)
        arguments = _arguments(code, match.end())
        if allocator in _BY_REFERENCE:
            target = _REFERENCE.match(code, match.end())
        else:
            target = _TARGET.search(code[max(0, match.start() - _REACH // 2) : match.start()])
        if target is not None:
            zeroed = allocator in _ZEROING or any("GFP_ZERO" in argument for argument in arguments)
            yield _Allocation(target.group(1), allocator, match.start(), zeroed)


def _aliases(name: str, copies: dict[str, set[str]]) -> frozenset[str]:
    names: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        if current not in names:
            names.add(current)
            todo += copies.get(current, ())
    return frozenset(names)


def _judge(
    code: str,
    allocation: _Allocation,
    names: frozenset[str],
    functions: frozenset[str],
    where: Callable[[int], Place],
) -> SourceNote | None:
    shown = sorted(names - {allocation.name})
    name = shown[0] if len(shown) == 1 else allocation.name
    same: int | None = None
    filled: set[int] = set()
    for match in _FILL.finditer(code):
        arguments = _arguments(code, match.end())
        if len(arguments) < 2 or not names & set(re.findall(r"\w+", arguments[0])):
            continue
        filled.add(match.start())
        steps = "+" in arguments[0] or "[" in arguments[0]
        if steps and _VARIABLE.search(arguments[1]):
            return _initialised(name, where(match.start()))
        same = match.start() if same is None else same
    for match in _RANDOM.finditer(code):
        arguments = _arguments(code, match.end())
        if arguments and names & set(re.findall(r"\w+", arguments[0])):
            return _initialised(name, where(match.start()))
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b")
    for count, match in enumerate(pattern.finditer(code)):
        if count > _MOST_PLACES:
            return None
        element = _ELEMENT.match(code, match.end())
        if element is not None:
            index, operator, value = element.groups()
            varies = operator != "=" or _VARIABLE.search(value) is not None
            if varies and operator == "=" and (_PER_PAGE.search(index) or _PER_PAGE.search(value)):
                return _initialised(name, where(match.start()))
            if varies:
                # p[i] = i repeats every 256 bytes, so it makes equal pages; p[i] = i / 4096 does not.
                return None
            same = match.start() if same is None else same
            continue
        if not _leaves_content(code, match, functions, filled):
            return None
    return _not_initialised(name, allocation, same, where)


def _leaves_content(code: str, match: re.Match[str], functions: frozenset[str], filled: set[int]) -> bool:
    """Whether this mention of the buffer certainly stores nothing into it."""
    begin = max(0, match.start() - _REACH)
    before = code[begin : match.start()]
    depth = 0
    place = len(before) - 1
    while place >= 0 and (depth > 0 or before[place] not in ";{}"):
        if before[place] == ")":
            depth += 1
        elif before[place] == "(":
            if depth:
                depth -= 1
            else:
                word = _WORD_BEFORE.search(before, max(0, place - 80), place)
                if word is not None:
                    known = word.group(1)
                    starts_fill = any(start == begin + word.start(1) for start in filled)
                    allowed = known in _HARMLESS or known in _ALLOCATORS or known in _BY_REFERENCE
                    if not (allowed or known in functions or starts_fill):
                        return False
        place -= 1
    statement = before[place + 1 :]
    # "*(p + i) = x": a store through an expression. "p = x" and "q = p" are none.
    if "=" not in statement and "*" in statement and statement.lstrip().startswith(("*", "(*", "((")):
        return _ASSIGNED.match(code, match.end()) is None
    return True


def _initialised(name: str, where: Place) -> SourceNote:
    text = f"the pages of '{name}' are given contents that differ"
    return SourceNote(NoteKind.BUFFER_INITIALISED, text, where)


def _not_initialised(name: str, allocation: _Allocation, same: int | None, where: Callable[[int], Place]) -> SourceNote:
    if same is not None:
        why = "every page of it is filled with the same content, and equal pages can be merged"
        place = where(same)
    elif allocation.zeroed:
        why = f"{allocation.allocator} gives zeroed pages, nothing is stored into them, and equal pages can be merged"
        place = where(allocation.position)
    else:
        why = (
            f"it comes from {allocation.allocator} and nothing is stored into it, so its pages may be equal "
            "(zeroes, as a rule) and can be merged"
        )
        place = where(allocation.position)
    return SourceNote(NoteKind.BUFFER_NOT_INITIALISED, f"buffer '{name}': {why}", place)


def _arguments(code: str, start: int) -> list[str]:
    """The arguments of the call whose ``(`` ends at ``start``; an overlong one is cut off."""
    depth = 1
    arguments: list[str] = []
    last = start
    for place in range(start, min(len(code), start + _REACH)):
        character = code[place]
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth == 0:
                arguments.append(code[last:place])
                return arguments
        elif character == "," and depth == 1:
            arguments.append(code[last:place])
            last = place + 1
    arguments.append(code[last : start + _REACH])
    return arguments
