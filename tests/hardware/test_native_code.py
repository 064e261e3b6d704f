# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine code that runs here is the machine code that was proved."""

from __future__ import annotations

import ctypes
import platform
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import capstone
import pytest

from l1dflush import Flusher, _core
from l1dflush.ending import Verdict
from l1dflush.errors import NoNativeCodeError

native = pytest.mark.skipif(not _core.NATIVE, reason=f"no native flush for {platform.system()} {platform.machine()}")
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

TREE = {"policy": "tree-PLRU", "geometry": "32K,8,64"}
ICE_LAKE = {"policy": "LRU3PLRU4", "geometry": "48K,12,64"}


def test_native_code_is_where_it_should_be() -> None:
    assert (sys.platform == "linux" and platform.machine() == "x86_64") is _core.NATIVE


@pytest.mark.skipif(_core.NATIVE, reason="this machine has a native flush")
def test_without_native_code_there_is_one_error() -> None:
    with pytest.raises(NoNativeCodeError, match="x86-64"):
        Flusher()


@native
def test_no_other_routine() -> None:
    with pytest.raises(ValueError, match="no native routine nope"):
        _core.native_code("nope")


@native
@needs_as
@pytest.mark.parametrize(
    ("cache", "variant", "start", "enough"),
    [
        (TREE, "planned", None, 52 << 10),
        (TREE, "planned", "any", 52 << 10),
        (TREE, "steady", None, 32 << 10),
        (TREE, "steady", "steady-from-any", 36 << 10),
        (TREE, "steady", "steady+invalidations", 52 << 10),
        (ICE_LAKE, "planned", None, 84 << 10),
    ],
)
def test_what_runs_is_proved_and_with_one_page_less_it_is_not(
    cache: dict[str, str], variant: str, start: str | None, enough: int
) -> None:
    with Flusher(variant, start=start, **cache) as flusher:  # type: ignore[arg-type]
        assert flusher.size == enough
        proved = flusher.prove()
    assert proved.verdict is Verdict.PROVED, proved.reason
    with Flusher(variant, start=start, buffer_size=enough - 4096, **cache) as flusher:  # type: ignore[arg-type]
        assert "NOT enough" in flusher.scope
        assert flusher.prove().verdict is Verdict.REFUTED


@native
@needs_as
def test_the_seed_is_enough_for_one_cache_and_not_for_the_other() -> None:
    with Flusher("linux-2018", **TREE) as flusher:  # type: ignore[arg-type]
        result = flusher.prove()
        assert (flusher.size, result.verdict) == (64 << 10, Verdict.PROVED)
        assert "52 KiB would do" in flusher.scope
    with Flusher("linux-2018", **ICE_LAKE) as flusher:  # type: ignore[arg-type]
        assert flusher.prove().verdict is Verdict.REFUTED
        assert "NOT enough: it takes 84 KiB" in flusher.scope


@native
@needs_as
def test_the_proof_is_of_the_bytes_that_run() -> None:
    """The hash in the result is that of the machine code as it stands in memory, fetched in another way."""
    code = _core.native_code("planned")
    # Somewhere in an executable mapping of the core, once.
    found = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "_core" in line and " r-xp " in line:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            found += ctypes.string_at(begin, end - begin).count(code)
    assert found == 1
    with Flusher("planned", **TREE) as flusher:  # type: ignore[arg-type]
        result = flusher.prove()
    # It has no relocations and refers to nothing, so that the hash is over its width and its bytes (docs/verify.md).
    records = f'["routine",1,64]\n["code",0,"{code.hex()}"]\n'
    assert result.routine.sha256 == sha256(records.encode()).hexdigest()


@native
def test_no_loop_touches_the_stack() -> None:
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    for name in ("linux-2018", "planned", "fill"):
        code = _core.native_code(name)
        listed = [(i.mnemonic, i.op_str) for i in machine.disasm(code, 0)]
        assert listed[-1] == ("ret", "")
        known = {"xor", "movzx", "add", "cmp", "jne", "mov", "cpuid", "lfence", "ret"}
        assert {mnemonic for mnemonic, _ in listed} <= known
        reads = [text for _, text in listed if "[" in text]
        assert set(reads) == {"ecx, byte ptr [rdi + rax]"}
        # The same loop in all of them.
        assert code[-17:] == b"\x0f\xb6\x0c\x07\x48\x83\xc0\x40\x48\x39\xf0\x75\xf3\x0f\xae\xe8\xc3"
