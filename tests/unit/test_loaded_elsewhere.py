# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared objects: what they export may be another file's once they are loaded, and their relocations are where a loader
finds them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from flush_programs import WALK, function

from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.routine.load import LoadOptions, load_bytes
from l1dflush.routine.model import Routine
from l1dflush.tracing.abstract import trace
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")

C = """
#define HIDE(v) ({ char *t = (v); __asm__("" : "+r"(t)); t; })
char x[4096] __attribute__((aligned(4096))), y[4096] __attribute__((aligned(4096)));
extern char x_here[4096] __attribute__((alias("x"), visibility("hidden")));
__attribute__((visibility("protected"))) char p[64];
extern char p_here[64] __attribute__((alias("p"), visibility("hidden")));
extern int absent __attribute__((weak));
int one(char *q) { return HIDE(x) == HIDE(x_here) ? q[1] : q[3]; }
int order(char *q) { return HIDE(x) < HIDE(y) ? q[1] : q[3]; }
int written(char *q) { x[5] = 0; HIDE(x_here)[5] = 1; return *(volatile char *)(x + 5) ? q[1] : q[3]; }
int kept(char *q) { return HIDE(p) == HIDE(p_here) ? q[1] : q[3]; }
int missing(char *q) { return &absent ? q[1] : q[3]; }
__attribute__((noinline)) int called(char *q) { __asm__(""); return q[1]; }
int calls(char *q) { int n = called(q); __asm__(""); return n; }
"""
SHARED, OWN, PROGRAM = ["-shared"], ["-shared", "-Wl,-Bsymbolic"], ["-pie", "-rdynamic", "-Wl,-e,0"]


def linked(folder: Path, *options: str, text: str = C, name: str = "x.so") -> bytes:
    """The linked file of C."""
    (folder / "x.c").write_text(text)
    command = ["gcc", "-O1", "-fPIC", "-fno-stack-protector", "-nostdlib", *options, "-o", name, "x.c"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / name).read_bytes()


def without_sections(data: bytes) -> bytes:
    """The file with no table of sections in it."""
    made = bytearray(data)
    places = ((0x28, 8), (0x3C, 4)) if data[4] == 2 else ((0x20, 4), (0x30, 4))
    for at, size in places:
        made[at : at + size] = bytes(size)
    return bytes(made)


def routine(data: bytes, name: str) -> Routine:
    (found,) = load_bytes(data, "x", LoadOptions(function=name))
    return found


def judged(folder: Path, data: bytes, name: str) -> VerifyResult:
    (folder / "judged.so").write_bytes(data)
    return verify(str(folder / "judged.so"), VerifyOptions(cpus=("skylake",), function=name))


def paths(data: bytes, name: str) -> int:
    """How many ways there are through a function."""
    return len(trace(routine(data, name)).paths)


@pytest.mark.parametrize("name", ["one", "order", "written"])
def test_a_program_may_have_a_copy_of_an_exported_variable(name: str, tmp_path: Path) -> None:
    assert paths(linked(tmp_path, *SHARED), name) == 2
    assert paths(linked(tmp_path, "-c", name="x.o"), name) == 2
    # There is a definition of its own, whoever else has one.
    assert paths(linked(tmp_path, *PROGRAM), name) == 1
    assert paths(linked(tmp_path, *OWN), name) == 1
    assert paths(without_sections(linked(tmp_path, *SHARED)), name) == 2


def test_what_is_protected_is_the_files_own(tmp_path: Path) -> None:
    for options in (SHARED, OWN, PROGRAM):
        assert paths(linked(tmp_path, *options), "kept") == 1


def test_a_weak_symbol_that_no_file_has_may_be_absent(tmp_path: Path) -> None:
    for options in (SHARED, OWN):
        assert paths(linked(tmp_path, *options), "missing") == 2
    defined = C.replace("extern int absent", "int absent")
    assert paths(linked(tmp_path, *OWN, text=defined), "missing") == 1


def test_in_a_program_the_variable_is_there_or_elsewhere(tmp_path: Path) -> None:
    """The same shared object, used by a program that has a copy and by one that has none: both ways are gone."""
    linked(tmp_path, *SHARED, text=C, name="libx.so")
    seen = {}
    for how, flags in (("copy", ["-fno-pic", "-no-pie"]), ("none", ["-fPIC", "-pie"])):
        use = "extern char x[]; char *volatile use; int one(char *);"
        main = f'{use} int main(void) {{ {"use = x;" if how == "copy" else ""} return one("0123") - 48; }}'
        (tmp_path / "main.c").write_text(main)
        command = ["gcc", *flags, "-o", how, "main.c", "libx.so", "-Wl,-rpath,$ORIGIN", "-Wl,-z,lazy"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        seen[how] = subprocess.run([tmp_path / how], check=False).returncode
    assert seen == {"copy": 3, "none": 1}


def test_an_absolute_symbol_of_a_shared_object_is_a_number_that_loaders_choose(tmp_path: Path) -> None:
    ask = "int asked(char *q) { extern char five[]; return HIDE(five) == (char *)5 ? q[1] : q[3]; }"
    (tmp_path / "five.s").write_text(".globl five\n.set five, 5\n")
    assert paths(linked(tmp_path, *SHARED, "five.s", text=C + ask), "asked") == 2
    (tmp_path / "five.s").write_text(".globl five\n.data\n.zero 5\nfive: .zero 5\n")
    assert paths(linked(tmp_path, *OWN, "five.s", text=C + ask), "asked") == 1


WALKS = """
char buffer[65536] __attribute__((aligned(4096)));
__attribute__((noinline)) void fill(volatile char *q) { for (int i = 0; i < 65536; i += 64) (void)q[i]; }
void handed(char *q) { fill(q); __asm__("lfence"); }
void own(void) { for (int i = 0; i < 65536; i += 64) (void)((volatile char *)buffer)[i]; __asm__("lfence"); }
"""


HALVES = """
#define HIDE(v) ({ char *t = (v); __asm__("" : "+r"(t)); t; })
char x[65536] __attribute__((aligned(4096))), y[65536] __attribute__((aligned(4096)));
extern char x_here[65536] __attribute__((alias("x"), visibility("hidden")));
static volatile char other[65536] __attribute__((aligned(4096)));
static void half(volatile char *q) { for (int i = 0; i < 32768; i += 64) (void)q[i]; }
void same(void) { half(x); half(HIDE(x_here)); __asm__("lfence"); }
void two(void) { half(x); half(y); __asm__("lfence"); }
void beside(void) { for (int i = 0; i < 65536; i += 64) { (void)((volatile char *)x)[i]; (void)other[0]; } }
"""


@pytest.mark.parametrize("made", [SHARED, ["-c"]])
def test_two_names_of_one_variable_may_be_the_same_memory(made: list[str], tmp_path: Path) -> None:
    data = linked(tmp_path, "-O2", *made, text=HALVES)
    same = judged(tmp_path, data, "same")
    assert same.verdict is Verdict.UNDECIDED and "may be the same memory" in str(same.rows)
    assert judged(tmp_path, data, "two").verdict is Verdict.PROVED
    assert judged(tmp_path, data, "beside").verdict is not Verdict.UNDECIDED


@pytest.mark.parametrize("bits", ["-m64", "-m32"])
@pytest.mark.parametrize(("name", "exported"), [("handed", "fill"), ("own", "buffer")])
def test_what_may_be_another_files_is_told(name: str, exported: str, bits: str, tmp_path: Path) -> None:
    told = []
    for options in (SHARED, OWN, [*SHARED, "-fvisibility=hidden", "-Wl,--export-dynamic"]):
        if "-fvisibility=hidden" in options:
            text = WALKS.replace(f"void {name}", f'__attribute__((visibility("default"))) void {name}')
        else:
            text = WALKS
        result = judged(tmp_path, linked(tmp_path, bits, *options, text=text), name)
        assert result.verdict is Verdict.PROVED, result.reason
        told.append([one.name for one in result.left_out if "exported" in one.reason])
        assert not any("_DYNAMIC" in one.text or "_GLOBAL_OFFSET" in one.text for one in result.scope.taken_for_granted)
    assert told == [[exported], [], []]


@pytest.mark.parametrize("bits", ["-m64", "-m32"])
@pytest.mark.parametrize("packed", ["nopack-relative-relocs", "pack-relative-relocs"])
@pytest.mark.parametrize("hashed", ["gnu", "sysv"])
def test_without_sections_a_file_is_what_it_was(bits: str, packed: str, hashed: str, tmp_path: Path) -> None:
    text = (
        WALKS
        + "char *const table[] = {0, buffer, buffer + 4096};\n"
        + ("int pointed(char *q) { return table[1] == buffer ? q[1] : q[3]; }")
    )
    data = linked(tmp_path, bits, *SHARED, f"-Wl,-z,{packed},--hash-style={hashed}", text=text)
    bare = without_sections(data)
    for name in ("handed", "own", "pointed"):
        whole, cut = routine(data, name), routine(bare, name)
        at = [
            [
                (r.address, r.addend, r.of._replace(exported=0))
                for r in one.image.relocations.within(s.address, s.address + s.size)
            ]
            for one in (whole, cut)
            for s in one.image.sections
        ]
        assert at[: len(at) // 2] == at[len(at) // 2 :] and any(at)
        assert paths(data, name) == paths(bare, name)
    assert judged(tmp_path, bare, "own").verdict is Verdict.PROVED


@pytest.mark.parametrize(("at", "what"), [("symbols", "not loaded"), ("end", "does not end")])
def test_a_dynamic_segment_that_does_not_hold_together(at: str, what: str, tmp_path: Path) -> None:
    data = bytearray(linked(tmp_path, *SHARED))
    count, start = struct.unpack_from("<H", data, 0x38)[0], struct.unpack_from("<Q", data, 0x20)[0]
    rows = [struct.unpack_from("<IIQQQQQQ", data, start + 56 * n) for n in range(count)]
    dynamic = next(row for row in rows if row[0] == 2)
    for place in range(dynamic[2], dynamic[2] + dynamic[5], 16):
        tag = struct.unpack_from("<Q", data, place)[0]
        if at == "symbols" and tag == 6:
            struct.pack_into("<Q", data, place + 8, 0x7FFF_0000)
        if at == "end" and tag == 0:
            struct.pack_into("<Q", data, place, 0x1234)
    with pytest.raises(InputError, match=what):
        routine(bytes(data), "one")


def test_a_stripped_program_has_no_functions(tmp_path: Path) -> None:
    text = function(WALK).replace(".globl", ".hidden flush_it\n.globl")
    (tmp_path / "x.s").write_text(text)
    for options in (["-nostdlib", "-static"], ["-shared", "-nostdlib"]):
        command = ["gcc", *options, "-Wl,-e,flush_it", "-o", "whole", "x.s"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        data = (tmp_path / "whole").read_bytes()
        at = routine(data, "flush_it").entry
        subprocess.run(["strip", "-o", "bare", "whole"], cwd=tmp_path, check=True)
        for bare in ((tmp_path / "bare").read_bytes(), without_sections((tmp_path / "bare").read_bytes())):
            with pytest.raises(InputError, match="it is stripped"):
                load_bytes(bare, "bare", LoadOptions())
            (tmp_path / "cut").write_bytes(bare)
            found = verify(str(tmp_path / "cut"), VerifyOptions(cpus=("skylake",), start=f"{at:#x}"))
            assert found.verdict is Verdict.PROVED, found.reason
