# SPDX-License-Identifier: GPL-2.0-or-later
"""Several objects as one image, compared with what the system's linker makes of the same objects."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from l1dflush.errors import InputError
from l1dflush.routine.elf.object_file import ObjectData, ObjectImage, link_images
from l1dflush.routine.toolchain import assemble
from l1dflush.tracing.region import BUFFER
from l1dflush.verdict.judge import trace_of, verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import TraceResult

pytestmark = pytest.mark.skipif(
    not (shutil.which("as") and shutil.which("ld")), reason="compares with the system's assembler and linker"
)

NAMES = ("x", "y")
# What a file does with a name, and for a common symbol how large and how aligned it is.
USES = st.one_of(
    st.sampled_from([("nothing", 0, 0), ("mention", 0, 0), ("global", 0, 0), ("weak", 0, 0), ("local", 0, 0)]),
    st.tuples(st.just("common"), st.sampled_from([8, 64, 4000]), st.sampled_from([1, 32, 512])),
)
FILES = st.lists(st.tuples(*(USES for _ in NAMES)), min_size=2, max_size=4)


@cache
def assembled(text: str) -> bytes:
    return assemble(text.encode(), where="x.s")


def text_of(number: int, uses: tuple[tuple[str, int, int], ...]) -> str:
    """A file that does that, and holds the address of every name under a name of its own."""
    lines = [".data"]
    for name, (use, size, alignment) in zip(NAMES, uses, strict=True):
        if use == "common":
            lines.append(f".comm {name}, {size}, {alignment}")
        elif use not in {"mention", "nothing"}:
            lines += [f".{use if use != 'global' else 'globl'} {name}"] if use != "local" else []
            # Its content says whose it is.
            lines += [f".type {name}, @object", f".size {name}, 8", f"{name}: .quad {1000 + number}"]
        if use != "nothing":
            lines += [f".globl at_{number}_{name}", f"at_{number}_{name}: .quad {name}"]
    return "\n".join(lines) + "\n"


def by_linker(objects: list[bytes]) -> bytes | None:
    """What ld makes of it, None if it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for number, data in enumerate(objects):
            Path(folder, f"{number}.o").write_bytes(data)
            names.append(f"{number}.o")
        command = ["ld", "-e", "0", "--unresolved-symbols=ignore-all", "-o", "out", *names]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == ("multiple definition" in done.stderr), done.stderr
        return Path(folder, "out").read_bytes() if done.returncode == 0 else None


def meaning_in_linked(data: bytes, holder: str) -> object:
    """Whose definition the address under ``holder`` leads to."""
    elf = ELFFile(io.BytesIO(data))
    symbols = list(elf.get_section_by_name(".symtab").iter_symbols())

    def content(address: int) -> int | None:
        for section in elf.iter_sections():
            if section["sh_flags"] & 2 and section["sh_addr"] <= address < section["sh_addr"] + section["sh_size"]:
                if section["sh_type"] == "SHT_NOBITS":
                    return 0
                at = address - section["sh_addr"]
                return int.from_bytes(section.data()[at : at + 8], "little")
        return None

    (place,) = (s["st_value"] for s in symbols if s.name == holder)
    address = content(place)
    assert address is not None
    if address == 0:
        return "outside"
    found = content(address)
    if found:
        return found
    return "common", max(s["st_size"] for s in symbols if s["st_value"] == address and s.name in NAMES)


def meaning_in_image(image: ObjectImage, holder: str) -> object:
    def content(address: int) -> int | None:
        for section in image.sections:
            if section.address <= address < section.address + section.size:
                at = address - section.address
                return int.from_bytes(section.data[at : at + 8], "little")
        return None

    address = content(image.symbols[holder].address)
    assert address is not None
    found = content(address)
    symbol = next(s for s in image.symbols.values() if s.address == address)
    if found is None:
        assert not symbol.defined
        return "outside"
    return found or ("common", symbol.size)


@settings(max_examples=50, deadline=None)
@given(FILES)
def test_names_mean_what_they_mean_to_the_linker(files: list[tuple[tuple[str, int, int], ...]]) -> None:
    objects = [assembled(text_of(number, uses)) for number, uses in enumerate(files)]
    linked = by_linker(objects)
    inputs = [ObjectData(data, f"{number}.o") for number, data in enumerate(objects)]
    if linked is None:
        with pytest.raises(InputError, match=r"multiple definition of `[xy]`: in [0-3]\.o and in [0-3]\.o"):
            link_images(inputs)
        return
    image = link_images(inputs)
    assert not image.bad_relocations
    for number, uses in enumerate(files):
        for name, (use, _, _) in zip(NAMES, uses, strict=True):
            if use != "nothing":
                holder = f"at_{number}_{name}"
                assert meaning_in_image(image, holder) == meaning_in_linked(linked, holder)
    for section in image.sections:
        if section.name.startswith("COMMON"):
            wanted = [u for uses in files for n, u in zip(NAMES, uses, strict=True) if section.name == f"COMMON {n}"]
            commons = [u for u in wanted if u[0] == "common"]
            assert section.alignment == max(u[2] for u in commons)
            assert section.size == max(u[1] for u in commons)


WALK = """
    .text
    .globl l1d_flush
    .type l1d_flush, @function
l1d_flush:
    {load}
    xorl %eax, %eax
1:  {body}
    addl $64, %eax
    cmpl $65536, %eax
    jne 1b
    lfence
    ret
    .size l1d_flush, .-l1d_flush
"""
READ = "movzbl (%rdi,%rax), %ecx"
# A bit of everything a file may say to another: each is a set of files.
PROGRAMS = {
    "array": [WALK.format(load="lea pages(%rip), %rdi", body=READ), ".bss\n.globl pages\n.balign 4096\n"
              ".type pages,@object\n.size pages,65536\npages: .zero 65536\n"],
    "unaligned array": [WALK.format(load="lea pages(%rip), %rdi", body=READ), ".bss\nother: .zero 40\n.globl pages\n"
                        ".type pages,@object\n.size pages,65536\npages: .zero 65536\n"],
    "pointer": [WALK.format(load="mov pages(%rip), %rdi", body=READ), ".bss\n.globl pages\n.balign 8\n"
                ".type pages,@object\n.size pages,8\npages: .zero 8\n"],
    "address of a pointer": [WALK.format(load="mov $pages, %edi", body=READ), ".comm pages,8,8\n"],
    "common and larger common": [".comm pages,8,8\n" + WALK.format(load="mov $pages, %edi", body=READ),
                                 ".comm pages,65536,4096\n"],
    "call": [WALK.format(load="mov pages(%rip), %rdi", body="call touch"),
             ".globl touch\n.type touch,@function\ntouch: movzbl (%rdi,%rax), %ecx\nret\n.size touch,.-touch\n"
             ".data\n.comm pages,8,8\n"],
    "weak function": [WALK.format(load="mov pages(%rip), %rdi", body="call touch")
                      + ".weak touch\n.type touch,@function\ntouch: ret\n.size touch,.-touch\n",
                      ".globl touch\n.type touch,@function\ntouch: movzbl (%rdi,%rax), %ecx\nret\n.size touch,.-touch\n"
                      ".data\n.comm pages,8,8\n"],
    "locals of one name": [WALK.format(load="mov pages(%rip), %rdi", body="call touch")
                           + ".type inner,@function\ninner: ret\n.size inner,.-inner\n",
                           ".globl touch\n.type touch,@function\ntouch: call inner\nret\n.size touch,.-touch\n"
                           ".type inner,@function\ninner: movzbl (%rdi,%rax), %ecx\nret\n.size inner,.-inner\n"
                           ".data\n.comm pages,8,8\n"],
    "outside function": [WALK.format(load="call setup\nmov pages(%rip), %rdi", body=READ), ".comm pages,8,8\n"],
    "slot": [WALK.format(load="mov pages@GOTPCREL(%rip), %rdi", body=READ), ".comm pages,65536,4096\n"],
}  # fmt: skip


def told(result: TraceResult) -> list[object]:
    """The events, but for the own lines' places: a linker puts sections of one name side by side."""
    assert result.buffer is not None
    first = result.buffer.first
    return [
        [(e.kind, e.instruction, e.size, e.region == BUFFER, (e.offset or 0) - first if e.region == BUFFER else 0)
         for e in path.events]
        for path in result.paths
    ]  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_as_of_one_object_that_the_linker_makes(name: str, tmp_path: Path) -> None:
    files = []
    for number, text in enumerate(PROGRAMS[name]):
        files.append(tmp_path / f"{number}.o")
        files[-1].write_bytes(assembled(text))
    whole = tmp_path / "whole.o"
    subprocess.run(["ld", "-r", "-o", whole, *files], check=True)
    # As a program has it, so that a slot of the global offset table may be one here and an address there.
    options = VerifyOptions(function="l1d_flush", cpus=("skylake", "ice-lake"))
    several, one = (trace_of(source, options) for source in ([str(f) for f in files], str(whole)))
    assert told(several) == told(one)
    assert several.buffer is not None and one.buffer is not None
    assert (several.buffer.region, several.buffer.size) == (one.buffer.region, one.buffer.size)
    ours, theirs = (verify(source, options) for source in ([str(f) for f in files], str(whole)))
    assert ours.verdict is theirs.verdict
    assert [(r.verdict, r.needs, r.has, r.leftovers) for r in ours.rows] == [
        (r.verdict, r.needs, r.has, r.leftovers) for r in theirs.rows
    ]
    assert [(f.id, f.message) for f in ours.findings] == [(f.id, f.message) for f in theirs.findings]


def test_a_group_that_is_in_both_files_is_there_once() -> None:
    group = (
        '.section .text.shared,"axG",@progbits,shared,comdat\n.weak shared\n.type shared,@function\n'
        "shared: mov $%d, %%eax\nret\n.size shared,.-shared\n.data\n.globl at_%d\nat_%d: .quad shared\n"
    )
    objects = [assembled(group % (n, n, n)) for n in (1, 2)]
    image = link_images([ObjectData(data, f"{n}.o") for n, data in enumerate(objects)])
    assert [s.name for s in image.sections].count(".text.shared") == 1
    assert {meaning(image, "at_1"), meaning(image, "at_2")} == {image.symbols["shared"].address}


def meaning(image: ObjectImage, holder: str) -> int:
    place = image.symbols[holder].address
    section = next(s for s in image.sections if s.address <= place < s.address + s.size)
    return int.from_bytes(section.data[place - section.address :][:8], "little")


def test_thread_local_here_and_not_there() -> None:
    one = '.section .tbss,"awT",@nobits\n.globl x\n.type x,@tls_object\n.size x,8\nx: .zero 8\n'
    two = ".data\n.globl at\n.type x,@object\nat: .quad x\n"
    with pytest.raises(InputError, match=r"`x` is thread-local in 0\.o, but not in 1\.o"):
        link_images([ObjectData(assembled(text), f"{n}.o") for n, text in enumerate((one, two))])


def test_both_widths() -> None:
    inputs = [ObjectData(assembled("f: ret\n"), "a.o"), ObjectData(assemble(b"g: ret\n", where="", bits=32), "b.o")]
    with pytest.raises(InputError, match=r"a\.o is 64-bit code and b\.o is 32-bit code"):
        link_images(inputs)


def test_the_limits_are_for_all_together() -> None:
    inputs = [ObjectData(assembled(f".bss\nx{n}: .zero {40 << 20}\n"), f"{n}.o") for n in range(2)]
    with pytest.raises(InputError, match=r"1\.o: more than 64 MiB of code and data"):
        link_images(inputs)


def test_equal_absolute_values_are_no_clash() -> None:
    texts = [".globl size\n.set size, 65536\n", ".globl size\n.set size, 65536\n"]
    link_images([ObjectData(assembled(text), f"{n}.o") for n, text in enumerate(texts)])
    texts[1] = ".globl size\n.set size, 4096\n"
    with pytest.raises(InputError, match="multiple definition of `size`"):
        link_images([ObjectData(assembled(text), f"{n}.o") for n, text in enumerate(texts)])
