# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of whole routines: calls of what is not here, values that are given, alignments, linked files."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from l1dflush.errors import InputError, UndecidedError
from l1dflush.routine.load import load
from l1dflush.routine.model import Routine
from l1dflush.routine.options import LoadOptions
from l1dflush.tracing import abstract
from l1dflush.tracing.model import ArenaKind, Kind
from l1dflush.tracing.options import TraceOptions

DATA = Path(__file__).parents[1] / "data" / "trials"
INPUTS = Path(__file__).parents[1] / "golden" / "inputs"
LIMITS = TraceOptions(max_seconds=30)
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="needs GNU as")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def routines(path: Path | str, options: LoadOptions | None = None) -> list[Routine]:
    try:
        return load(str(path), options or LoadOptions())
    except (InputError, UndecidedError) as error:
        pytest.skip(f"there is no routine in it: {error}")


ALL_LINES = list(range(0, 65536, 64))
# What is called on each path, and what is read behind the argument or what a call left in its place.
CALLS = {
    "around the walk": (
        "before(); for (int i = 0; i < 65536; i += 64) *(volatile char *)(p + i); after(p);",
        [(["before", "after"], ALL_LINES)],
    ),
    "in the walk": (
        "for (int i = 0; i < 65536; i += 64) { *(volatile char *)(p + i); each(); }",
        [(["each"] * 1024, ALL_LINES)],
    ),
    "with a variable": (
        "int n = 65536; tell(&m); for (int i = 0; i < n; i += 64) *(volatile char *)(p + i);",
        [(["tell"], ALL_LINES)],
    ),
    "whose answer decides": (
        "if (wanted()) for (int i = 0; i < 65536; i += 64) *(volatile char *)(p + i);",
        [(["wanted"], []), (["wanted"], ALL_LINES)],
    ),
    "that changes a pointer": (
        "area = p; change(); for (int i = 0; i < 65536; i += 64) *(volatile char *)(area + i);",
        [(["change"], ALL_LINES)],
    ),
}


@needs_gcc
@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("mode", ["-m64", "-m32"])
@pytest.mark.parametrize("name", CALLS)
def test_calls_of_what_is_not_here(name: str, mode: str, level: str, tmp_path: Path) -> None:
    body, expected = CALLS[name]
    source, target = tmp_path / "f.c", tmp_path / "f.o"
    names = "void before(void), after(char *), each(void), change(void), tell(int *); int wanted(void); char *area;\n"
    source.write_text(f"{names}void l1d_flush(char *p, int m)\n{{\n\t{body}\n}}\n")
    options = [mode, level, "-c", "-mno-red-zone", "-ffreestanding", "-fno-pic", "-fcf-protection=none"]
    subprocess.run(["gcc", *options, "-o", target, source], check=True)
    (routine,) = routines(target)
    if (name, level) == ("with a variable", "-O0"):
        # The length lies beside the variable that is given away.
        with pytest.raises(UndecidedError, match="more than 64 paths"):
            abstract.trace(routine, LIMITS)
        return
    found = []
    for path in abstract.trace(routine, LIMITS).paths:
        calls = [e.detail for e in path.events if e.kind is Kind.CALL]
        read = [
            e for e in path.events if e.kind is Kind.LOAD and e.arena is not None and e.arena.kind is ArenaKind.INPUT
        ]
        found.append((calls, [e.offset for e in read]))
    assert sorted(found) == expected


BOUND = """
	.globl l1d_flush
	.type l1d_flush, @function
l1d_flush:
	push %rbx
	mov %esi, %ebx
	call elsewhere
	xor %eax, %eax
1:	movzbl (%rdi,%rax), %ecx
	add $64, %eax
	cmp %ebx, %eax
	jb 1b
	cmpl $3, mode(%rip)
	jne 2f
	wbinvd
2:	pop %rbx
	ret
	.size l1d_flush, . - l1d_flush
	.data
mode:	.long 1
	.size mode, 4
"""


@needs_as
@pytest.mark.parametrize("bind", [{"rsi": "4096", "mode": "3"}, {"rsi": "0x2000", "mode": "2"}], ids=str)
def test_values_that_the_user_gives(bind: dict[str, str], tmp_path: Path) -> None:
    """No outside function changes them."""
    (tmp_path / "f.s").write_text(BOUND)
    (routine,) = routines(tmp_path / "f.s")
    (path,) = abstract.trace(routine, replace(LIMITS, bind=bind)).paths
    read = [e for e in path.events if e.arena is not None and e.arena.kind is ArenaKind.INPUT]
    assert [e.offset for e in read] == list(range(0, int(bind["rsi"], 0), 64))
    assert any(e.kind is Kind.FLUSH_ALL for e in path.events) == (bind["mode"] == "3")


@needs_as
@pytest.mark.parametrize(
    ("bind", "kind", "says"),
    [
        ({"nothing": "1"}, InputError, "nothing"),
        ({"rsi": "many"}, InputError, "many"),
        ({}, UndecidedError, "--bind rsi="),
    ],
)
def test_what_is_said_of_bad_and_missing_values(
    bind: dict[str, str], kind: type[InputError] | type[UndecidedError], says: str, tmp_path: Path
) -> None:
    (tmp_path / "f.s").write_text(BOUND)
    (routine,) = routines(tmp_path / "f.s")
    with pytest.raises(kind, match=says):
        abstract.trace(routine, replace(LIMITS, bind=bind))


def lengths(name: str) -> list[int]:
    """How many loads each path of a trial makes, but for the one that fetches the return address."""
    (routine,) = routines(DATA / "soundness" / name)
    found = abstract.trace(routine, LIMITS)
    return sorted(sum(e.kind is Kind.LOAD for e in path.events) - 1 for path in found.paths)


@needs_as
@pytest.mark.parametrize(
    ("name", "loads"),
    [
        ("address_bits.s", [512, 1024]),  # a bit of a section's address decides
        ("code_address_bits.s", [513, 1025]),  # and one of the code's own, which it pops
        ("mul_flags.s", [0, 1024]),  # flags that `mul` leaves undefined
        ("flag_twice.s", [2, 1026]),  # a flag that is read twice, and that nobody changes
        ("ranges.s", [1024, 1024]),  # two comparisons that exclude each other
        ("high-address.s", [1024]),  # an address near the end of the address space
        ("two-unknowns.s", [1026]),  # an address that is computed from two inputs
    ],
)
def test_what_follows_from_nothing_that_we_chose(name: str, loads: list[int]) -> None:
    assert lengths(name) == loads


@needs_as
@pytest.mark.parametrize("name", ["between_sections.s", "linker_symbols.s"])
def test_the_distance_of_two_sections_is_not_known(name: str) -> None:
    (routine,) = routines(DATA / "soundness" / name)
    with pytest.raises(UndecidedError) as undecided:
        abstract.trace(routine, LIMITS)
    assert undecided.value.cause == "too-many-paths"


@needs_as
@pytest.mark.parametrize(("name", "loads"), [("push16.s", 1024), ("pop-memory.s", 1024)])
def test_what_the_emulator_refuses(name: str, loads: int) -> None:
    """16 bits on the stack, and `pop` to memory."""
    (routine,) = routines(DATA / "soundness" / name)
    (path,) = abstract.trace(routine, LIMITS).paths
    assert (
        sum(e.kind is Kind.LOAD and e.arena is not None and e.arena.kind is ArenaKind.INPUT for e in path.events)
        == loads
    )


@needs_as
@pytest.mark.parametrize(
    ("name", "cause", "says"),
    [
        ("movaps_misaligned.s", "faults", "movaps"),
    ],
)
def test_what_cannot_be_followed(name: str, cause: str, says: str) -> None:
    (routine,) = routines(DATA / "soundness" / name)
    with pytest.raises(UndecidedError, match=says) as undecided:
        abstract.trace(routine, LIMITS)
    assert undecided.value.cause == cause


@needs_as
def test_which_way_strings_go_is_not_known_inside_a_function() -> None:
    """Behind `--from` nobody has cleared the direction flag."""
    (routine,) = routines(DATA / "soundness" / "direction_from.s", LoadOptions(start="middle"))
    ways = set()
    for path in abstract.trace(routine, LIMITS).paths:
        read = [e.offset for e in path.events if e.arena is not None and e.arena.kind is ArenaKind.INPUT]
        ways.add(read[-1] > read[-2])
    assert ways == {True, False}


@needs_as
def test_a_loop_whose_counters_lie_beside_each_other_in_the_stack() -> None:
    (routine,) = routines(DATA / "soundness" / "adjacent-slots.s")
    assert len(abstract.trace(routine, LIMITS).paths) == 1


@needs_gcc
def test_a_condition_that_is_kept_is_asked_once() -> None:
    found = {len(abstract.trace(r, LIMITS).paths) for r in routines(DATA / "soundness" / "keepbool.c")}
    assert found == {2}


@needs_as
@pytest.mark.parametrize("shift", [0, 0x40, 0x1000, 0x7000_0000])
def test_numbers_of_a_linked_file_are_its_own(shift: int, tmp_path: Path) -> None:
    """Wherever it was linked the trace is the same, moved with it."""
    source, target = tmp_path / "f.s", tmp_path / "f.o"
    source.write_text(
        "\t.globl l1d_flush\n\t.text\nl1d_flush:\n\tmov $area, %rsi\n\txor %eax, %eax\n"
        "1:\tmovzbl (%rsi,%rax), %ecx\n\tadd $64, %eax\n\tcmp $65536, %eax\n\tjb 1b\n\tret\n"
        "\t.bss\n\t.balign 4096\narea:\t.skip 65536\n"
    )
    subprocess.run(["as", "-o", target, source], check=True)
    linked = tmp_path / "f"
    places = [f"-Ttext={0x401000 + shift:#x}", f"-Tbss={0x500000 + shift:#x}"]
    done = subprocess.run(["ld", "-e", "l1d_flush", *places, "-o", linked, target], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"ld: {done.stderr.decode()}")
    (routine,) = load(str(linked), LoadOptions(function="l1d_flush"))
    (path,) = abstract.trace(routine, LIMITS).paths
    loads = [e for e in path.events if e.kind is Kind.LOAD][:-1]
    area = routine.image.symbols["area"].address
    assert area >= 0x500000 + shift
    found = [int(e.arena.key.removeprefix("section:"), 16) + e.offset for e in loads if e.arena is not None]
    assert found == [area + 64 * n for n in range(1024)]


@needs_as
@pytest.mark.parametrize(
    ("code", "alignment"),
    [
        ("and $-4096, %rdi", 4096),  # rounded down
        ("add $4095, %rdi; and $-4096, %rdi", 4096),  # and up
        ("and $-64, %rdi", 64),
        ("shl $7, %rdi", 128),
        ("lea (%rdi,%rdi), %rdi", 2),
        ("nop", 8),  # what was handed in is taken to be aligned as pointers are
    ],
)
def test_an_address_has_the_alignment_that_follows(code: str, alignment: int, tmp_path: Path) -> None:
    source = tmp_path / "f.s"
    source.write_text(f"\t.globl l1d_flush\nl1d_flush:\n\t{code}\n\tmovb (%rdi), %al\n\tret\n")
    (routine,) = routines(source)
    (path,) = abstract.trace(routine, LIMITS).paths
    arena = path.events[0].arena
    assert arena is not None and arena.alignment == alignment
