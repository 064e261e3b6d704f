# SPDX-License-Identifier: GPL-2.0-or-later
"""Loops as compilers make them, at every level: the lines that are read are those that the C says, on each path."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from thorough import THOROUGH

from l1dflush.errors import UndecidedError
from l1dflush.routine.load import load_bytes
from l1dflush.routine.options import LoadOptions
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.model import ArenaKind, Kind
from l1dflush.tracing.options import TraceOptions

SIZE, LINE, PAGE = 65536, 64, 4096
LEVELS = ("-O0", "-O1", "-O2", "-O3", "-Os")
ALL_LINES = tuple(range(0, SIZE, LINE))


@dataclass(frozen=True)
class Loop:
    """``reads``: the offsets that are read on each path, in order. ``asks``: it asks for something about what it reads,
    and what it keeps on the stack without optimisation depends on the answer."""

    body: str
    reads: tuple[tuple[int, ...], ...]
    asks: bool = False


def lfsr() -> Iterable[int]:
    x = 1
    for _ in range(1023):
        x = (x >> 1) ^ (-(x & 1) & 0x240)
        yield x * LINE


READ = "*(volatile char *)"
EACH = "for (int i = 0; i < 65536; i += 64)"
LOOPS = {
    "int": Loop(f"for (int i = 0; i < 65536; i += 64) {READ}(p + i);", (ALL_LINES,)),
    "unsigned": Loop(f"for (unsigned i = 0; i < 65536u; i += 64) {READ}(p + i);", (ALL_LINES,)),
    "long": Loop(f"for (long i = 0; i != 65536; i += 64) {READ}(p + i);", (ALL_LINES,)),
    "short": Loop(f"for (short i = 0; i < 1024; i++) {READ}(p + i * 64);", (ALL_LINES,)),
    "pointer": Loop(f"for (char *q = p; q < p + 65536; q += 64) {READ}q;", (ALL_LINES,)),
    "pointer unlike": Loop(f"char *e = p + 65536; do {READ}p; while ((p += 64) != e);", (ALL_LINES,)),
    "down": Loop(f"for (int i = 65536 - 64; i >= 0; i -= 64) {READ}(p + i);", (ALL_LINES[::-1],)),
    "nested": Loop(
        f"for (int i = 0; i < 16; i++) for (int j = 0; j < 4096; j += 64) {READ}(p + i * 4096 + j);", (ALL_LINES,)
    ),
    "by pages": Loop(
        f"for (int j = 0; j < 4096; j += 64) for (int i = 0; i < 16; i++) {READ}(p + i * 4096 + j);",
        (tuple(i * PAGE + j for j in range(0, PAGE, LINE) for i in range(16)),),
    ),
    "sum": Loop(f"long s = 0; for (int i = 0; i < 65536; i += 64) s += {READ}(p + i); kept = s;", (ALL_LINES,)),
    "xor": Loop(f"int s = 0; for (int i = 0; i < 65536; i += 64) s ^= {READ}(p + i) * 3; kept = s;", (ALL_LINES,)),
    "lfsr": Loop(
        "unsigned x = 1; for (int i = 0; i < 1023; i++) { x = (x >> 1) ^ (-(x & 1u) & 0x240u); "
        f"{READ}(p + x * 64); }}",
        (tuple(lfsr()),),
    ),
    "two lengths": Loop(
        f"int n = m < 6 ? 32768 : 65536; for (int i = 0; i < n; i += 64) {READ}(p + i);", (ALL_LINES[:512], ALL_LINES)
    ),
    "double": Loop(
        f"double d = 0; for (int i = 0; i < 65536; i += 64) d += {READ}(p + i) * 0.5; kept = d > 1;", (ALL_LINES,)
    ),
    "warm": Loop(
        f"for (int i = 0; i < 65536; i += 4096) {READ}(p + i); for (int i = 0; i < 65536; i += 64) {READ}(p + i);",
        ((*range(0, SIZE, PAGE), *ALL_LINES),),
    ),
    "largest": Loop(f"int s = 0; {EACH} {{ int v = {READ}(p + i); if (v > s) s = v; }} kept = s;", (ALL_LINES,), True),
    "smallest": Loop(
        f"int s = 99; {EACH} {{ int v = {READ}(p + i); if (v < s) s = v; }} kept = s;", (ALL_LINES,), True
    ),
    "between": Loop(
        f"int s = 0; {EACH} {{ int v = {READ}(p + i); s += v < 10 ? 10 : v > 100 ? 100 : v; }} kept = s;",
        (ALL_LINES,),
        True,
    ),
    "one of two": Loop(f"int s = 0; {EACH} s += {READ}(p + i) & 1 ? 3 : 5; kept = s;", (ALL_LINES,)),
    "without sign": Loop(
        f"int s = 0; {EACH} {{ int v = {READ}(p + i); s += v < 0 ? -v : v; }} kept = s;", (ALL_LINES,)
    ),
    "selected by masks": Loop(
        f"int s = 0; {EACH} {{ int v = {READ}(p + i); s ^= (v & -(v > 3)) | (s & -(v <= 3)); }} kept = s;", (ALL_LINES,)
    ),
    "counted": Loop(f"int s = 0; {EACH} if ({READ}(p + i)) s++; kept = s;", (ALL_LINES,), True),
    "counted down": Loop(f"int n = 1024; while (n--) {{ {READ}p; p += 64; }}", (ALL_LINES,)),
    "down to 0": Loop(f"for (long n = 65536; n > 0; n -= 64) {READ}(p + n - 64);", (ALL_LINES[::-1],)),
    "8 bits": Loop(f"unsigned char i = 200; do {READ}(p + i * 64); while (--i);", (tuple(range(12800, 0, -64)),)),
    "16 bits": Loop(f"unsigned short i = 0; do {{ {READ}(p + i); i += 64; }} while (i);", (ALL_LINES,)),
    "unrolled": Loop(
        f"for (int i = 0; i < 65536; i += 256) {{ {READ}(p + i); {READ}(p + i + 64); {READ}(p + i + 128); "
        f"{READ}(p + i + 192); }}",
        (ALL_LINES,),
    ),
    "back, at or above": Loop(
        f"char *e = p + 65536; for (char *q = e - 64; q >= p; q -= 64) {READ}q;", (ALL_LINES[::-1],)
    ),
    "back, above": Loop(f"for (char *q = p + 65536; q > p; ) {{ q -= 64; {READ}q; }}", (ALL_LINES[::-1],)),
    "back, tested last": Loop(f"char *q = p + 65472; do {READ}q; while ((q -= 64) >= p);", (ALL_LINES[::-1],)),
    "back, one line too short": Loop(f"for (char *q = p + 65408; q >= p; q -= 64) {READ}q;", (ALL_LINES[-2::-1],)),
    "back, one page too short": Loop(
        f"char *e = p + 65536; for (char *q = e - 64; q >= p + 4096; q -= 64) {READ}q;", (ALL_LINES[:63:-1],)
    ),
    "up to the last": Loop(f"char *e = p + 65472; for (char *q = p; q <= e; q += 64) {READ}q;", (ALL_LINES,)),
    "long down": Loop(f"for (long i = 1023; i >= 0; i--) {READ}(p + i * 64);", (ALL_LINES[::-1],)),
    "short down": Loop(f"for (short i = 1023; i >= 0; i--) {READ}(p + i * 64);", (ALL_LINES[::-1],)),
    "one of five": Loop(
        f"switch (m) {{ case 0: for (int i = 0; i < 65536; i += 64) {READ}(p + i); break; "
        f"case 1: {READ}(p + 1); break; "
        f"case 2: {READ}(p + 2); {READ}(p + 3); break; case 3: {READ}(p + 3); {READ}(p + 4); {READ}(p + 5); break; "
        f"case 4: for (int i = 0; i < 32768; i += 64) {READ}(p + i); break; case 5: for (int i = 0; i < 4; i++) "
        f"{READ}(p + 9); break; }}",
        ((), (1,), (2, 3), (3, 4, 5), (9,) * 4, ALL_LINES[:512], ALL_LINES),
    ),
    "one of eight": Loop(
        "switch (m & 7) { "
        + " ".join(f"case {k}: " + f"{READ}(p + {k}); " * (k + 1) + "break;" for k in range(8))
        + f" }} {EACH} {READ}(p + i);",
        tuple((k,) * (k + 1) + ALL_LINES for k in range(8)),
    ),
    "triangle": Loop(
        f"for (int i = 0; i < 16; i++) for (int j = 0; j <= i; j++) {READ}(p + i * 4096 + j * 64);",
        (tuple(i * PAGE + j * LINE for i in range(16) for j in range(i + 1)),),
    ),
    "goto": Loop(f"int i = 0; again: if (i >= 65536) return; {READ}(p + i); i += 64; goto again;", (ALL_LINES,)),
    "a step that is checked": Loop(
        f"if (m != 64) return; for (int i = 0; i < 65536; i += m) {READ}(p + i);", ((), ALL_LINES)
    ),
    "volatile counter": Loop(f"for (volatile int i = 0; i < 65536; i += 64) {READ}(p + i);", (ALL_LINES,)),
    "rounded up to a page": Loop(
        f"char *q = (char *)(((unsigned long)p + 4095) & -4096L); char *e = q + 65536; for (; q < e; q += 64) {READ}q;",
        (tuple(at + PAGE for at in ALL_LINES),),
    ),
    # As many lines as begin before the end: one more where the pointer was not the beginning of one.
    "rounded down to a line": Loop(
        f"char *e = p + 65536; for (char *q = (char *)((unsigned long)p & -64L); q < e; q += 64) {READ}q;",
        (ALL_LINES, (*ALL_LINES, SIZE)),
    ),
    "rounded down to a page, end as well": Loop(
        f"p = (char *)((unsigned long)p & -4096L); char *e = p + 65536; while (p < e) {{ {READ}p; p += 64; }}",
        (ALL_LINES,),
    ),
    "down to a rounded beginning": Loop(
        f"for (char *q = p + 65472; q >= (char *)((unsigned long)p & -64L); q -= 64) {READ}q;", (ALL_LINES[::-1],)
    ),
    "down as far as above a rounded beginning": Loop(
        f"char *b = (char *)((unsigned long)p & -64L), *q = p + 65536; do {{ q -= 64; {READ}q; }} while (q > b);",
        (ALL_LINES[::-1], (*ALL_LINES[::-1], -LINE)),
    ),
    "down to what was rounded as well": Loop(
        f"char *b = (char *)((unsigned long)p & -4096L), *q = b + 65536; do {{ q -= 64; {READ}q; }} while (q > b);",
        (ALL_LINES[::-1],),
    ),
    "down from a rounded end": Loop(
        f"char *e = (char *)(((unsigned long)p + 65536) & -64L); for (char *q = e - 64; q >= p; q -= 64) {READ}q;",
        (ALL_LINES[:0:-1], ALL_LINES[::-1]),
    ),
    "down to a beginning that was rounded up": Loop(
        f"char *b = (char *)(((unsigned long)p + 63) & -64L); for (char *q = b + 65472; q >= b; q -= 64) {READ}q;",
        (tuple(at + LINE for at in reversed(ALL_LINES)),),
    ),
    "up from a beginning that was rounded up": Loop(
        f"for (char *q = (char *)(((unsigned long)p + 63) & -64L); q < p + 65536; q += 64) {READ}q;",
        (tuple(at + LINE for at in ALL_LINES),),
    ),
    "three deep": Loop(
        f"for (int k = 0; k < 4; k++) for (int i = 0; i < 4; i++) for (int j = 63; j >= 0; j--) "
        f"{READ}(p + k * 16384 + i * 4096 + j * 64);",
        (tuple(i * PAGE + j for i in range(16) for j in range(PAGE - LINE, -1, -LINE)),),
    ),
}


NAME = "l1d_flush"


def compiled(compiler: str, mode: str, level: str, body: str, folder: Path, more: Sequence[str] = ()) -> bytes:
    return _compiled(compiler, mode, level, {NAME: body}, folder, more)


def _compiled(
    compiler: str, mode: str, level: str, bodies: Mapping[str, str], folder: Path, more: Sequence[str] = ()
) -> bytes:
    """One function of each body, by its name."""
    source, target = folder / "f.c", folder / "f.o"
    functions = [f"void {name}(char *p, int m)\n{{\n\t{body}\n}}\n" for name, body in bodies.items()]
    source.write_text("long kept;\n" + "".join(functions))
    options = [mode, level, "-c", "-mno-red-zone", "-ffreestanding", "-fcf-protection=none", *more]
    subprocess.run([compiler, *options, "-o", target, source], check=True)
    return target.read_bytes()


@pytest.fixture(scope="module")
def compiled_together(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], bytes]:
    """All loops and sizes in one object, so that the compiler is started once for all of them."""
    folder = tmp_path_factory.mktemp("compiled")

    @cache
    def compiled(compiler: str, mode: str, level: str) -> bytes:
        bodies = {name_of(name): one.body for name, one in (LOOPS | SIZED).items()}
        # Some are the same in the end, and would become a jump to the other one.
        return _compiled(compiler, mode, level, bodies, folder, ["-fno-ipa-icf"] if compiler == "gcc" else [])

    return compiled


def name_of(loop: str) -> str:
    """As a name in C."""
    return re.sub(r"\W", "_", f"loop {loop}")


def reads(data: bytes, function: str = NAME) -> list[tuple[int, ...]]:
    """The offsets behind the argument that each path reads, the shortest path first."""
    (routine,) = load_bytes(data, "f.o", LoadOptions(function=function))
    found = []
    for path in trace(routine, TraceOptions(max_seconds=60)).paths:
        events = [e for e in path.events if e.kind is Kind.LOAD and e.arena is not None]
        found.append(
            tuple(
                e.offset
                for e in events
                # What is behind an index in a table is called after the table, or after the stack.
                if e.arena is not None
                and e.arena.kind is ArenaKind.INPUT
                and not any(table in str(e.arena.region) for table in ("rodata", "sizes", "stack pointer"))
            )
        )
    return sorted(found, key=len)


@pytest.mark.parametrize("mode", ["-m64", "-m32"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", LOOPS)
def test_what_is_read(name: str, compiler: str, mode: str, compiled_together: Callable[[str, str, str], bytes]) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    loop = LOOPS[name]
    for level in LEVELS if THOROUGH else LEVELS[::2]:
        if loop.asks and level == "-O0":
            continue
        data = compiled_together(compiler, mode, level)
        assert reads(data, name_of(name)) == sorted(loop.reads, key=len), level


@pytest.mark.parametrize("mode", ["-m64", "-m32"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_as_many_as_lie_between_rounded_ends(compiler: str, mode: str, tmp_path: Path) -> None:
    """One more where the pointer was not the beginning of a line; compilers count from either end."""
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    body = "unsigned long a = (unsigned long)p & -64L, b = ((unsigned long)p + 65536 + 63) & -64L; "
    body += f"for (unsigned long n = (b - a) / 64; n--; ) {READ}(a + n * 64);"
    for level in LEVELS:
        less, more = reads(compiled(compiler, mode, level, body, tmp_path))
        assert (len(less), len(more)) == (1024, 1025), level
        assert all(one == list(range(one[0], one[-1] - 1, -LINE)) for one in map(list, (less, more))), level


# Sizes and numbers of lines that are one of a few, by what ``m`` is: plain Python says which, for many numbers.
ARGUMENTS = (*range(-300, 300), *(sign * (1 << bit) - less for sign in (1, -1) for bit in range(31) for less in (0, 1)))
TABLE = (8192, 65536, 16384, 128, 32768, 64, 192, 49152)
ENTRIES = f"static const int sizes[8] = {{{', '.join(map(str, TABLE))}}};"


@dataclass(frozen=True)
class Sized:
    """``lines``: how many lines are read, or which, if ``m`` is so much. ``undecided``: where that is not found out."""

    body: str
    lines: Callable[[int], int | tuple[int, ...]]
    undecided: tuple[str, ...] = ()

    def wanted(self) -> set[tuple[int, ...]]:
        found = (self.lines(m) for m in ARGUMENTS)
        return {tuple(range(0, one * LINE, LINE)) if isinstance(one, int) else one for one in found}


UP_TO_N = f"for (int i = 0; i < n; i += 64) {READ}(p + i);"
SIZED = {
    "a checked index": Sized(
        f"{ENTRIES} int n; if (m < 0 || m > 7) n = 256; else n = sizes[m]; {UP_TO_N}",
        lambda m: (TABLE[m] if 0 <= m <= 7 else 256) // LINE,
    ),
    "a checked index of 16 bits": Sized(
        f"{ENTRIES} short k = m; if (k < 0 || k >= 8) return; int n = sizes[k]; {UP_TO_N}",
        lambda m: TABLE[m & 0xFFFF] // LINE if m & 0xFFFF < 8 else 0,
    ),
    "an index of 8 bits, or the first": Sized(
        f"{ENTRIES} signed char k = m; if (k < 2 || k >= 6) k = 0; long n = sizes[k]; {UP_TO_N}",
        lambda m: TABLE[m & 255 if 2 <= m & 255 < 6 else 0] // LINE,
    ),
    "an index without its sign": Sized(
        f"{ENTRIES} unsigned char k = m; if (k > 3) k = 7; int n = sizes[k]; {UP_TO_N}",
        lambda m: TABLE[m & 255 if m & 255 <= 3 else 7] // LINE,
    ),
    "a checked case": Sized(
        "if (m < 0 || m > 7) m = 3; switch (m) { "
        + " ".join(f"case {k}: " + f"{READ}(p + {k}); " * (k + 1) + "break;" for k in range(8))
        + " }",
        lambda m: ((m,) * (m + 1)) if 0 <= m <= 7 else (3,) * 4,
    ),
    "at most, at least": Sized(
        f"if (m > 4) m = 4; if (m < 0) m = 0; for (int i = 0; i < m; i++) {READ}(p + i * 64);",
        lambda m: max(min(m, 4), 0),
    ),
    "steps above": Sized(f"int n = 1024 + (m & 7) * 4096; {UP_TO_N}", lambda m: 16 + (m & 7) * 64),
    "steps below": Sized(f"int n = 65536 - ((m >> 3) & 3) * 4096; {UP_TO_N}", lambda m: 1024 - (m >> 3 & 3) * 64),
    "bits": Sized(f"int n = 65536 ^ ((m & 5) << 12); {UP_TO_N}", lambda m: 1024 ^ (m & 5) << 6),
    "doubled": Sized(f"int n = 4096 << (m & 3); {UP_TO_N}", lambda m: 64 << (m & 3)),
    "halved": Sized(f"unsigned n = 65536u >> (m >> 1 & 3); {UP_TO_N}", lambda m: 1024 >> (m >> 1 & 3)),
    "what is left of a division": Sized(
        f"unsigned n = 512 + (unsigned)m % 5 * 128; {UP_TO_N}", lambda m: 8 + (m & 0xFFFFFFFF) % 5 * 2
    ),
    "what is left of 16 bits": Sized(
        f"unsigned short k = m; int n = 64 + k % 3 * 64; {UP_TO_N}", lambda m: 1 + (m & 0xFFFF) % 3
    ),
    "what is left of a byte by 7": Sized(
        f"unsigned char k = m; int n = 512 + k % 7 * 128; {UP_TO_N}", lambda m: 8 + (m & 255) % 7 * 2
    ),
    "a byte with its sign, by 11 and by 3": Sized(
        f"signed char k = m; int n = 1024 + k % 11 / 3 * 64; {UP_TO_N}",
        lambda m: 16 + int(math.fmod((m & 127) - (m & 128), 11) / 3),
    ),
    "an entry at what is left of a byte": Sized(
        f"{ENTRIES} unsigned char k = m; int n = sizes[k % 7]; {UP_TO_N}", lambda m: TABLE[(m & 255) % 7] // LINE
    ),
    "an array on the stack": Sized(
        f"int sizes[4] = {{512, 64, 4096, 128}}; int n = sizes[m & 3]; {UP_TO_N}",
        lambda m: (512, 64, 4096, 128)[m & 3] // LINE,
    ),
    "an array on the stack, one of it changed": Sized(
        f"volatile short sizes[3]; sizes[0] = 640; sizes[1] = 64; sizes[2] = 256; if (m & 2) sizes[1] = 1280; "
        f"int n = sizes[m & 1]; {UP_TO_N}",
        lambda m: (640, 1280 if m & 2 else 64)[m & 1] // LINE,
    ),
    "a step of which entries are left that are the same": Sized(
        f"static const int sizes[4] = {{128, 64, 64, 4096}}; for (int i = 0; i < 4096; i += sizes[(m & 1) + 1]) "
        f"{READ}(p + i);",
        lambda _: 64,
    ),
    "a flag for each": Sized(
        f"int n = 64; for (int k = 0; k < 4; k++) if (m & (1 << k)) n += 64; {UP_TO_N}",
        lambda m: 1 + (m & 15).bit_count(),
    ),
}


@pytest.mark.parametrize("mode", ["-m64", "-m32"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", SIZED)
def test_a_size_that_is_one_of_a_few(
    name: str, compiler: str, mode: str, compiled_together: Callable[[str, str, str], bytes]
) -> None:
    """Each that some number gives is on a path, and no other one."""
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    sized = SIZED[name]
    for level in LEVELS if THOROUGH else LEVELS[::2]:
        data = compiled_together(compiler, mode, level)
        if f"{compiler} {mode} {level}" in sized.undecided:
            with pytest.raises(UndecidedError, match="more than 64 paths"):
                reads(data, name_of(name))
        else:
            assert set(reads(data, name_of(name))) == sized.wanted(), level


@pytest.mark.parametrize("mode", ["-m64", "-m32"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("more", [[], ["-fPIC"], ["-fno-pie"]], ids=" ".join)
def test_tables_that_nobody_writes(more: list[str], compiler: str, mode: str, tmp_path: Path) -> None:
    """An entry that is one of a few is known on each path; one of a table that may be written is not."""
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    sizes = "unsigned sizes[4] = {65536, 16384, 32768, 49152};"
    walk = f"for (unsigned i = 0; i < n; i += 64) {READ}(p + i);"
    masked = f"static const {sizes} unsigned n = sizes[m & 3]; {walk}"
    checked = f"static const {sizes} if ((unsigned)m > 3) return; unsigned n = sizes[m]; {walk}"
    each = (ALL_LINES[:256], ALL_LINES[:512], ALL_LINES[:768], ALL_LINES)
    for body, wanted in ((masked, each), (checked, ((), *each))):
        for level in ("-O0", "-O2"):
            data = compiled(compiler, mode, level, body, tmp_path, more)
            assert sorted(set(reads(data)), key=len) == list(wanted), level
    written = compiled(compiler, mode, "-O2", f"extern {sizes[:17]}; unsigned n = sizes[m & 3]; {walk}", tmp_path, more)
    with pytest.raises(UndecidedError, match="more than 64 paths"):
        reads(written)


@pytest.mark.parametrize("mode", ["-m64", "-m32"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_bytes_that_are_added_up_in_vectors(compiler: str, mode: str, tmp_path: Path) -> None:
    """Compilers read them 16 at a time or more, and take them apart."""
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    body = "unsigned s = 0; for (int i = 0; i < 65536; i++) s += ((unsigned char *)p)[i]; kept = s;"
    for flags in (["-O2"], ["-O3"], ["-O3", "-mavx2"]):
        data = compiled(compiler, mode, flags[0], body, tmp_path, flags[1:])
        (routine,) = load_bytes(data, "f.o", LoadOptions(function="l1d_flush"))
        (path,) = trace(routine, TraceOptions(max_seconds=60)).paths
        read = [e for e in path.events if e.kind is Kind.LOAD and e.arena is not None]
        found = {(e.offset, e.size) for e in read if e.arena is not None and e.arena.kind is ArenaKind.INPUT}
        assert {at for offset, size in found for at in range(offset, offset + size)} == set(range(SIZE))
