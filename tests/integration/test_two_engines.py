"""The abstract machine beside the emulator that it is to replace: the same routine has the same trace.

The two have nothing in common but the table of what instructions do to the cache. Where they differ the reason is
known, and each such case is a test of its own below.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import kernel_modules
import pytest

from l1dflush.errors import InputError, UndecidedError
from l1dflush.routine import built_in
from l1dflush.routine.load import load, load_bytes
from l1dflush.routine.model import Routine
from l1dflush.routine.options import LoadOptions
from l1dflush.trace import abstract, explore
from l1dflush.trace.model import ArenaKind, Kind, Trace
from l1dflush.trace.options import TraceOptions

DATA = Path(__file__).parents[1] / "data" / "trials"
INPUTS = Path(__file__).parents[1] / "golden" / "inputs"
LIMITS = TraceOptions(max_seconds=30)
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="needs GNU as")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

LOOPS = {
    "int": "for (int i = 0; i < 65536; i += 64) *(volatile char *)(p + i);",
    "unsigned": "for (unsigned i = 0; i < 65536u; i += 64) *(volatile char *)(p + i);",
    "short": "for (short i = 0; i < 1024; i++) *(volatile char *)(p + i * 64);",
    "down": "for (int i = 65536 - 64; i >= 0; i -= 64) *(volatile char *)(p + i);",
    "nested": "for (int i = 0; i < 16; i++) for (int j = 0; j < 4096; j += 64) *(volatile char *)(p + i * 4096 + j);",
    "sum": "long s = 0; for (int i = 0; i < 65536; i += 64) s += p[i]; *(volatile long *)p = s;",
    "lfsr": "unsigned x = 1; for (int i = 0; i < 1023; i++) "
    "{ x = (x >> 1) ^ (-(x & 1u) & 0x240u); *(volatile char *)(p + x * 64); }",
    "two lengths": "int n = m < 6 ? 32768 : 65536; for (int i = 0; i < n; i += 64) *(volatile char *)(p + i);",
    "rounded": "char *q = (char *)((unsigned long)p & ~4095ul); for (int i = 0; i < 65536; i += 64) "
    "*(volatile char *)(q + i);",
    "store": "for (int i = 0; i < 65536; i += 64) *(volatile char *)(p + i) = 0;",
}


def events(trace: Trace) -> list[list[tuple[object, ...]]]:
    """The events of each path, in an order that does not depend on which branch is gone first."""
    paths = [
        [(e.kind, e.pc, e.detail, e.offset, e.size, e.arena and e.arena.kind) for e in path.events]
        for path in trace.paths
    ]
    return sorted(paths, key=str)


def decisions(trace: Trace) -> list[tuple[object, ...]]:
    """What decides each path, in words, and how it ends."""
    return sorted(
        (path.end, *((d.pc, d.mnemonic, d.sources, d.taken, d.meaning) for d in path.decisions)) for path in trace.paths
    )


def routines(path: Path | str, options: LoadOptions | None = None) -> list[Routine]:
    try:
        return load(str(path), options or LoadOptions())
    except (InputError, UndecidedError) as error:
        pytest.skip(f"there is no routine in it: {error}")


def compare(routine: Routine) -> None:
    try:
        old = explore.trace(routine, LIMITS)
    except UndecidedError as error:
        pytest.skip(f"the emulator does not follow it: {error}")
    new = abstract.trace(routine, LIMITS)
    assert events(new) == events(old)
    assert decisions(new) == decisions(old)
    assert new.reads_before_written == old.reads_before_written
    assert (new.routine.used, new.routine.end) == (old.routine.used, old.routine.end)
    assert set(new.assumptions) == set(old.assumptions) and dict(new.stubs) == dict(old.stubs)


@pytest.mark.parametrize("name", built_in.names())
def test_built_in_routines(name: str) -> None:
    for routine in routines(name):
        compare(routine)


@needs_as
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("changes", [{}, {"site": None}, {"flags": False, "record": None, "site": None}], ids=str)
def test_kernel_modules(changes: dict[str, Any], bits: Literal[64, 32]) -> None:
    """Jump labels, tests of CPU features, calls of the tracer, per-CPU memory."""
    data = kernel_modules.build(kernel_modules.Module(bits=bits, **changes))
    for routine in load_bytes(data, "m.ko", LoadOptions()):
        compare(routine)


CALLS = {
    "around the walk": "before(); for (int i = 0; i < 65536; i += 64) *(volatile char *)(p + i); after(p);",
    "in the walk": "for (int i = 0; i < 65536; i += 64) { *(volatile char *)(p + i); each(); }",
    "with a variable": "int n = 65536; tell(&m); for (int i = 0; i < n; i += 64) *(volatile char *)(p + i);",
    "whose answer decides": "if (wanted()) for (int i = 0; i < 65536; i += 64) *(volatile char *)(p + i);",
    "that changes a pointer": "area = p; change(); for (int i = 0; i < 65536; i += 64) *(volatile char *)(area + i);",
}


@needs_gcc
@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("mode", ["-m64", "-m32"])
@pytest.mark.parametrize("body", CALLS.values(), ids=CALLS)
def test_calls_of_what_is_not_here(body: str, mode: str, level: str, tmp_path: Path) -> None:
    source, target = tmp_path / "f.c", tmp_path / "f.o"
    names = "void before(void), after(char *), each(void), change(void), tell(int *); int wanted(void); char *area;\n"
    source.write_text(f"{names}void l1d_flush(char *p, int m)\n{{\n\t{body}\n}}\n")
    options = [mode, level, "-c", "-mno-red-zone", "-ffreestanding", "-fno-pic", "-fcf-protection=none"]
    subprocess.run(["gcc", *options, "-o", target, source], check=True)
    for routine in routines(target):
        compare(routine)


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
@pytest.mark.parametrize("bind", [{"rsi": "4096", "mode": "3"}, {"rsi": "0x1000", "mode": "2"}], ids=str)
def test_values_that_the_user_gives(bind: dict[str, str], tmp_path: Path) -> None:
    """No outside function changes them."""
    (tmp_path / "f.s").write_text(BOUND)
    (routine,) = routines(tmp_path / "f.s")
    options = replace(LIMITS, bind=bind)
    assert events(abstract.trace(routine, options)) == events(explore.trace(routine, options))


@needs_as
@pytest.mark.parametrize("bind", [{"nothing": "1"}, {"rsi": "many"}, {}], ids=str)
def test_what_is_said_of_bad_and_missing_values(bind: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "f.s").write_text(BOUND)
    (routine,) = routines(tmp_path / "f.s")
    said = []
    for trace in (abstract.trace, explore.trace):
        with pytest.raises((InputError, UndecidedError)) as error:
            trace(routine, replace(LIMITS, bind=bind))
        said.append((type(error.value), str(error.value)))
    assert said[0] == said[1]


@needs_as
@needs_gcc
@pytest.mark.parametrize("path", sorted(INPUTS.glob("*.[cSs]")), ids=lambda path: path.name)
def test_inputs_of_the_golden_texts(path: Path) -> None:
    for routine in routines(path):
        compare(routine)


@needs_gcc
@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("mode", ["-m64", "-m32"])
@pytest.mark.parametrize("body", LOOPS.values(), ids=LOOPS)
def test_loops_in_c(body: str, mode: str, level: str, tmp_path: Path) -> None:
    source, target = tmp_path / "f.c", tmp_path / "f.o"
    source.write_text(f"void l1d_flush(char *p, int m)\n{{\n\t{body}\n}}\n")
    options = [mode, level, "-c", "-mno-red-zone", "-ffreestanding", "-fno-pic", "-fcf-protection=none"]
    subprocess.run(["gcc", *options, "-o", target, source], check=True)
    for routine in routines(target):
        compare(routine)


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
        ("shld16_half.s", "unclassified-instruction", "undefined"),
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
    (path,) = abstract.trace(routine, LIMITS).paths
    names = {e.arena.name for e in path.events if e.arena is not None and e.kind in (Kind.LOAD, Kind.STORE)}
    assert any("flags" in name for name in names)


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
