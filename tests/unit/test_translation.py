# SPDX-License-Identifier: GPL-2.0-or-later
"""P-code as earlier runs kept it: the same as pypcode's, and whatever else is in the file is ignored."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pypcode
import pytest

from l1dflush.cache_files import OFF_VARIABLE, keep, read_kept
from l1dflush.tracing import translation
from l1dflush.tracing.lower import UnliftedError
from l1dflush.tracing.pcode import PcodeOp, Varnode, shortened
from l1dflush.tracing.translation import MOST_KEPT, Translator

LANGUAGES: dict[Literal[32, 64], str] = {64: "x86:LE:64:default", 32: "x86:LE:32:default"}
FILES: dict[Literal[32, 64], str] = {64: "pcode-64", 32: "pcode-32"}
BITS = pytest.mark.parametrize("bits", LANGUAGES)
# xor, load, add with an immediate value, jump back, call, move of an address behind the code, string, compare.
CODE = ["31c0", "0fb60c07", "0540000000", "72f6", "e800000000", "8b0500000001", "f3a4", "3d00000100"]
AT = 0x400000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(OFF_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "l1dflush"


def plain(context: pypcode.Context, code: bytes, at: int) -> list[PcodeOp]:
    """What pypcode says by itself."""
    ops = []
    for op in context.translate(code, at, max_instructions=1).ops:
        name = str(op.opcode).rpartition(".")[2]
        nodes = [Varnode(v.space.name, v.offset, v.size) for v in op.inputs]
        if name != "IMARK":
            out = Varnode(op.output.space.name, op.output.offset, op.output.size) if op.output is not None else None
            ops.append(PcodeOp(name, out, tuple(nodes[name in ("LOAD", "STORE", "CALLOTHER") :])))
    return shortened(ops)


def without_context(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> Translator:
    def made() -> Any:
        raise AssertionError("pypcode was asked")

    monkeypatch.setattr(translator, "_made", made)
    return translator


@BITS
def test_the_same_as_pypcode(cache: Path, bits: Literal[32, 64], monkeypatch: pytest.MonkeyPatch) -> None:
    context = pypcode.Context(LANGUAGES[bits])
    expected = [plain(context, bytes.fromhex(code), AT) for code in CODE]
    first = Translator(bits)
    assert first.registers == {name: (node.offset, node.size) for name, node in context.registers.items()}
    assert [list(first.translate(((bytes.fromhex(code), AT),))) for code in CODE] == expected
    first.save()
    again = without_context(Translator(bits), monkeypatch)
    assert [list(again.translate(((bytes.fromhex(code), AT),))) for code in CODE] == expected
    assert again.registers == first.registers


@BITS
def test_random_instructions(cache: Path, bits: Literal[32, 64], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every instruction the file has what was put there, in two places at once."""
    random_bytes, first = random.Random(bits), Translator(bits)
    said: dict[bytes, tuple[PcodeOp, ...]] = {}
    while len(said) < 150:
        code = random_bytes.randbytes(12)
        try:
            length = pypcode_length(bits, code)
            said[code[:length]] = first.translate(((code[:length], AT), (code[:length], AT + 0x100000)))
        except (UnliftedError, pypcode.BadDataError, pypcode.UnimplError):
            continue
    first.save()
    again = without_context(Translator(bits), monkeypatch)
    assert {code: again.translate(((code, AT), (code, AT + 0x100000))) for code in said} == said


def pypcode_length(bits: Literal[32, 64], code: bytes) -> int:
    context = translation.translator(bits)._made()
    return int(context.translate(code, AT, max_instructions=1).ops[0].inputs[0].size)


def test_what_moves_has_all_numbers(cache: Path) -> None:
    """A jump back, at two places."""
    (*_, jump) = Translator(64).translate(((b"\xeb\xf0", AT), (b"\xeb\xf0", AT + 0x100000)))
    assert jump.inputs[0].offset == AT - 14 and jump.inputs[0].others == (AT + 0x100000 - 14,)


def test_what_differs_otherwise_is_refused(cache: Path) -> None:
    with pytest.raises(UnliftedError, match="depends on"):
        Translator(64).translate(((b"\x31\xc0", AT), (b"\x31\xc1", AT)))


def test_a_wrong_length_is_refused(cache: Path) -> None:
    with pytest.raises(UnliftedError, match="length"):
        Translator(64).translate(((b"\x31\xc0\x90", AT),))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "7",
        "[" * 100_000,
        '[["COPY",null]]',
        '[["COPY",null,[["nowhere",0,8]]]]',
        '[["COPY",null,[["register",-1,8]]]]',
        '[["COPY",null,[["register",0,0]]]]',
        '[["COPY",null,[["register",0,true]]]]',
        '[["COPY",null,[["const",0.5,8]]]]',
        '[["COPY",null,[["const",1,8,2,3,4]]]]',
        '[["COPY",null,[["const",18446744073709551616,8]]]]',
        '[[["COPY"],null,[]]]',
        '[["COPY",[],[]]]',
    ],
)
def test_odd_lines_are_ignored(cache: Path, line: str) -> None:
    first = Translator(64)
    expected = first.translate(((b"\x31\xc0", AT),))
    first.save()
    head, *lines = read_kept(FILES[64]).decode().split("\n")
    changed = [f"{one.partition(chr(9))[0]}\t{line}" for one in lines]
    assert keep(FILES[64], "\n".join([head, *changed]).encode())
    again = Translator(64)
    assert again.translate(((b"\x31\xc0", AT),)) == expected and again.registers == first.registers


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[1]\nx", bytes(range(256)), b"\xff" * 1000])
def test_other_files_are_ignored(cache: Path, content: bytes) -> None:
    keep(FILES[64], content)
    assert Translator(64).translate(((b"\x90", AT),)) == ()


def test_another_version_is_ignored(cache: Path) -> None:
    first = Translator(64)
    first.translate(((b"\x31\xc0", AT),))
    first.save()
    head, *lines = read_kept(FILES[64]).decode().split("\n")
    said = json.loads(head)
    keep(FILES[64], "\n".join([json.dumps([said[0], "another", *said[2:]]), *lines]).encode())
    assert Translator(64)._kept == {}


def test_what_is_kept_is_bounded(cache: Path) -> None:
    first = Translator(64)
    needed = first.translate(((b"\x31\xc0", AT),))
    first._kept = {f"{number:x}@0": "x" * 1000 for number in range(4000)}
    first.save()
    assert MOST_KEPT // 2 < len(read_kept(FILES[64])) <= MOST_KEPT + 200
    again = Translator(64)
    assert "31c0@400000" in again._kept and again.translate(((b"\x31\xc0", AT),)) == needed


def test_what_is_at_hand_is_bounded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "MOST_KNOWN", 10)
    monkeypatch.setattr(translation, "MOST_KEPT", 5000)
    one = Translator(64)
    # add eax, number
    many = [((b"\x05" + number.to_bytes(4, "little"), AT),) for number in range(100)]
    found = [one.translate(variants) for variants in many]
    assert len(one._known) <= 10 and sum(map(len, one._used.values())) < 10_000 + len(one._used["registers"])
    assert [one.translate(variants) for variants in many] == found == [Translator(64).translate(it) for it in many]
    one.save()
    assert len(read_kept(FILES[64])) < 6000


def test_a_command_uses_it(cache: Path) -> None:
    """The process that runs the routine is limited, and has no way to clean up behind itself."""
    outcomes = [
        subprocess.run([sys.executable, "-m", "l1dflush", "verify", "one-pass"], capture_output=True, check=False)
        for _ in range(2)
    ]
    assert outcomes[0].stdout == outcomes[1].stdout and outcomes[0].returncode == outcomes[1].returncode == 2
    assert [path.name for path in cache.iterdir()] == [FILES[64]] and len(read_kept(FILES[64])) > 20_000
