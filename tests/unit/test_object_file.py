# SPDX-License-Identifier: GPL-2.0-or-later
"""Object files, judged by the system's linker: at the same addresses it must produce the same bytes."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from l1dflush.errors import InputError
from l1dflush.routine.combine import load_together
from l1dflush.routine.elf import layout, object_file
from l1dflush.routine.elf import reader as elf_reader
from l1dflush.routine.elf.object_file import ObjectImage, load_image, routines_from_image
from l1dflush.routine.elf.reader import read_elf
from l1dflush.routine.given import given
from l1dflush.routine.load import LoadOptions, load_bytes
from l1dflush.routine.model import EXTERNAL_BASE, EXTERNAL_LIMIT, EXTERNAL_STRIDES, Origin, OriginKind, Routine, Section
from l1dflush.routine.toolchain import assemble, compile_c

ORIGIN = Origin(OriginKind.OBJECT, "x.o")
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
needs_ld = pytest.mark.skipif(shutil.which("ld") is None, reason="there is no linker")

C = b"""
extern int outside[100], other_function(int);
static int counter = 3, never_set[64];
static const char text[] = "four";
const void *table[] = {&counter, text, outside, &never_set[3]};
int shared;
int helper(int x) { return counter += x + never_set[5] + outside[7]; }
int l1d_flush(volatile char *p)
{
    for (int i = 0; i < 65536; i += 64)
        p[i + helper(i)];
    return other_function(shared++) + *(int *)table[helper(1)];
}
"""


def image_of(text: str, bits: int = 64) -> ObjectImage:
    return load_image(assemble(text.encode(), where="x.s", bits=32 if bits == 32 else 64), where="x.o")


def routines(text: str, function: str | None = None) -> list[Routine]:
    return routines_from_image(image_of(text), origin=ORIGIN, function=function)


def section(image: ObjectImage, name: str) -> Section:
    return next(s for s in image.sections if s.name == name)


def link_like(image: ObjectImage, data: bytes, folder: Path) -> bytes:
    """What ld makes of the object ``data`` when everything is placed where ``image`` has it."""
    (folder / "x.o").write_bytes(data)
    placed = [s for s in image.sections if not s.name.startswith("COMMON")]
    script = "".join(f"{s.name} {s.address:#x} : {{ *({s.name}) }}\n" for s in placed)
    (folder / "script").write_text(f"SECTIONS {{\n{script}}}\n")
    emulation = "elf_x86_64" if image.bits == 64 else "elf_i386"
    command = ["ld", "-o", "x", "-e", "0", "--no-relax", "-m", emulation, "-T", "script"]
    command += [f"--defsym={s.name}={s.address:#x}" for s in image.symbols.values() if not s.defined]
    subprocess.run([*command, "x.o"], cwd=folder, check=True, capture_output=True)
    return (folder / "x").read_bytes()


@needs_cc
@needs_ld
@pytest.mark.parametrize(
    "flags",
    [
        ["-O2", "-fno-pie"],
        ["-O0", "-fno-pie"],
        ["-O2", "-mcmodel=kernel", "-fno-pie"],
        ["-O2", "-mcmodel=large", "-fno-pie"],
        ["-O2", "-fno-pie", "-ffunction-sections", "-fdata-sections"],
        ["-O2", "-fPIC"],
        ["-O2", "-m32", "-fno-pie"],
        ["-O0", "-m32", "-fno-pie"],
        ["-O1", "-m32", "-fPIC"],
    ],
    ids=" ".join,
)
def test_same_bytes_and_lines_as_the_linker(flags: list[str], tmp_path: Path) -> None:
    data = compile_c(C, where="x.c", extra_flags=[*flags, "-fno-asynchronous-unwind-tables"])
    image = load_image(data, where="x.o")
    assert image.bad_relocations == ()
    linked = ELFFile(io.BytesIO(link_like(image, data, tmp_path)))
    compared = 0
    for ours in image.sections:
        theirs = linked.get_section_by_name(ours.name)
        if theirs is None or not ours.data or ours.name == ".got":
            continue  # ld merged it, and its table of offsets has entries of its own
        assert theirs["sh_addr"] == ours.address
        if "-fPIC" not in flags:
            assert theirs.data()[: ours.size] == ours.data, ours.name
        compared += 1
    assert compared >= 2
    rows: dict[int, int] = {}
    for unit in linked.get_dwarf_info().iter_CUs():
        for entry in linked.get_dwarf_info().line_program_for_CU(unit).get_entries():
            if entry.state is not None and not entry.state.end_sequence:
                rows[entry.state.address] = entry.state.line
    assert rows
    # A line of 0 means "no line"; there we have no entry.
    assert {a: image.lines[a].line for a in image.lines} == {a: n for a, n in rows.items() if n}
    assert {image.lines[a].file for a in image.lines} == {"input.c"}


@needs_cc
@pytest.mark.parametrize("bits", [64, 32])
def test_position_independent_code_finds_its_data_through_the_table(bits: int) -> None:
    # 64: mov outside@GOTPCREL(%rip), %rax. 32: slots are relative to the table, whose address comes first.
    flags = [f"-m{bits}", "-O1", "-fPIC"]
    data = compile_c(b"extern int outside; int f(void) { return outside; }", where="x.c", extra_flags=flags)
    image = load_image(data, where="x.o")
    table = section(image, ".got")
    assert not table.writable
    assert image.bad_relocations == ()
    assert int.from_bytes(table.data[-bits // 8 :], "little") == image.symbols["outside"].address
    (routine,) = routines_from_image(image, origin=ORIGIN, function="f")
    distance = table.address + len(table.data) - bits // 8
    if bits == 64:
        at = routine.code.index(b"\x48\x8b\x05") + 3
        assert routine.entry + at + 4 + struct.unpack_from("<i", routine.code, at)[0] == distance


@needs_as
def test_layout_of_a_relocatable_file() -> None:
    image = image_of(
        """
        .text
        .globl l1d_flush
        .type l1d_flush, @function
        l1d_flush: mov flush_pages(%rip), %rax
                   mov other, %ecx
                   ret
        .size l1d_flush, . - l1d_flush
        .bss
        flush_pages: .skip 8
        table: .skip 100
        .balign 64
        .data
        .balign 128
        start: .quad flush_pages + 16
        end:
        .comm shared, 300, 64
        """
    )
    pages: set[int] = set()
    for part in image.sections:
        own = set(range(part.address // 4096, (part.address + part.size + 4095) // 4096))
        assert not own & pages
        assert part.address // 4096 - 1 not in pages  # an unmapped page lies between
        pages |= own
        assert part.address % part.alignment == 0
    text, bss, data = (section(image, n) for n in (".text", ".bss", ".data"))
    assert text.executable and not text.writable
    assert bss.writable and not bss.executable and bss.data == b"" and bss.size == 128
    assert data.alignment == 128 and data.data == struct.pack("<Q", image.symbols["flush_pages"].address + 16)
    assert section(image, "COMMON shared").size == 300
    symbols = image.symbols
    assert (symbols["flush_pages"].size, symbols["table"].size) == (8, 120)
    assert symbols["shared"].size == 300 and symbols["shared"].defined
    assert symbols["other"].address == EXTERNAL_BASE and not symbols["other"].defined
    assert symbols["l1d_flush"].function and symbols["l1d_flush"].size == text.size


@needs_as
def test_only_referenced_externals_get_a_place_and_code_comes_first() -> None:
    image = image_of(".data\n.quad zeta\n.text\nf: call alpha\ncall zeta\n.globl never_used\n")
    found = {s.name: s.address for s in image.symbols.values() if not s.defined}
    assert found == {"alpha": EXTERNAL_BASE, "zeta": EXTERNAL_BASE + image.external_stride}
    assert image.external_stride == EXTERNAL_STRIDES[1]


@needs_as
@pytest.mark.parametrize("count", [24, 25, 700, layout.MAX_EXTERNALS])
def test_many_externals_get_smaller_regions_each(count: int) -> None:
    image = image_of(".text\nf: ret\n" + "".join(f".long outside{i}\n" for i in range(count)))
    externals = [s.address for s in image.symbols.values() if not s.defined]
    stride = image.external_stride
    assert not image.bad_relocations and EXTERNAL_STRIDES[0] <= stride <= EXTERNAL_STRIDES[1]
    assert stride & (stride - 1) == 0 and externals == [EXTERNAL_BASE + i * stride for i in range(count)]
    assert externals[-1] + stride <= EXTERNAL_LIMIT
    assert stride == EXTERNAL_STRIDES[1] or count * stride * 2 > EXTERNAL_LIMIT - EXTERNAL_BASE


@needs_as
def test_too_many_externals_matter_only_where_they_are_used() -> None:
    most = layout.MAX_EXTERNALS
    image = image_of(".text\nf: ret\n" + "".join(f".long outside{i}\n" for i in range(most + 4)))
    assert len([s for s in image.symbols.values() if not s.defined]) == most
    assert len(image.bad_relocations) == 4
    assert f"no room for 'outside{most}'" in image.bad_relocations[0].reason


@needs_as
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'lea x@tlsgd(%rip), %rdi\n.section .tdata,"awT"\nx: .long 1',
            "R_X86_64_TLSGD: this type is not supported",
        ),
        (".byte outside", "R_X86_64_8: this type is not supported"),
        (".long outside + 0xfffffff0", "R_X86_64_32: the value"),
        ("mov outside - 0x70000000 - 0x70000000, %eax", "R_X86_64_32S: the value"),
    ],
)
def test_what_cannot_be_relocated_is_recorded_where_it_is(text: str, reason: str) -> None:
    image = image_of(f".text\nf: ret\n{text}")
    (bad,) = image.bad_relocations
    assert bad.reason.startswith(reason)
    assert section(image, ".text").address < bad.address


@needs_as
def test_functions_come_before_labels() -> None:
    text = ".type real, @function\nfirst: nop\n.globl second\nsecond: nop\nreal: nop\n.Lhidden: ret\n"
    assert [r.name for r in routines(text)] == ["real"]
    # Neither a size in the file nor a known end: it ends where it returns.
    assert routines(text)[0].end is None
    assert routines(text, "first")[0].entry == layout.IMAGE_BASE
    without = text.replace(".type real, @function\n", "")
    assert [r.name for r in routines(without)] == ["second"]


@needs_as
def test_local_labels_in_a_loop_are_no_functions() -> None:
    assert [r.name for r in routines("flush: xor %eax, %eax\nfill: dec %eax\njne fill\nret\n")] == ["flush"]
    # The first label is not where the code begins.
    (routine,) = routines("xor %eax, %eax\nfill: dec %eax\njne fill\nret\n")
    assert (routine.name, routine.entry) == (".text", layout.IMAGE_BASE)


@needs_as
def test_code_without_any_symbol_is_named_after_its_section() -> None:
    (routine,) = routines("xor %eax, %eax\nret\n")
    assert (routine.name, routine.code) == (".text", b"\x31\xc0\xc3")


@needs_as
def test_every_function_is_a_candidate() -> None:
    text = "".join(f".globl {n}\n.type {n},@function\n{n}: ret\n.size {n},1\n" for n in ("a", "L1D_x", "b"))
    assert [r.name for r in routines(text)] == ["a", "L1D_x", "b"]
    assert routines(text)[0].parameters == ()  # an object says nothing about them


@needs_as
def test_too_many_candidates_are_not_listed() -> None:
    text = "".join(f".type f{i},@function\nf{i}: ret\n" for i in range(object_file.MAX_CANDIDATES + 1))
    with pytest.raises(InputError, match=r"it has 20001 functions .name one with --function"):
        routines(text)
    assert routines(text, "f7")[0].name == "f7"


@needs_as
def test_code_for_32_bit() -> None:
    (routine,) = routines_from_image(image_of("f: ret", 32), origin=ORIGIN, function=None)
    assert (routine.image.bits, routine.code) == (32, b"\xc3")


@needs_as
def test_names_used_twice_stay_reachable() -> None:
    one = ".text\n.type f, @function\nf: nop\nret\n.size f, 2\n"
    # Two local symbols of one name, as "ld -r" leaves them: rename the second in the table of names.
    both = (one + one.replace("f:", "g:").replace(" f,", " g,")).encode()
    data = assemble(both, where="x.s").replace(b"\0g\0", b"\0f\0")
    image = load_image(data, where="x.o")
    assert sorted(image.entry_points) == ["f", "f#2"]
    assert [r.entry for r in routines_from_image(image, origin=ORIGIN, function="f#2")] == [0x400002]


@needs_as
@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ("vmx_l1d_flus", "x.o: no function 'vmx_l1d_flus' (nearest of 2: vmx_l1d_flush)"),
        ("zzz", "x.o: no function 'zzz' (it has 2 functions, none of a similar name)"),
        ("value", "x.o: 'value' is data, not code"),
        ("outside", "x.o: 'outside' is only referenced there, not defined"),
    ],
)
def test_a_function_that_is_not_there(wanted: str, what: str) -> None:
    text = ".globl vmx_l1d_flush, helper\nvmx_l1d_flush: call outside\nhelper: ret\n.data\nvalue: .long 1\n"
    with pytest.raises(InputError) as error:
        routines(text, wanted)
    assert str(error.value) == what


@needs_as
def test_lines_answer_for_every_byte_of_an_instruction_range() -> None:
    image = image_of("f: nop\n\nxor %eax, %eax\nret\n")
    start = layout.IMAGE_BASE
    assert [image.lines[a].line for a in range(start, start + 4)] == [1, 3, 3, 4]
    assert start + 4 not in image.lines and start - 1 not in image.lines
    assert len(image.lines) == len(list(image.lines)) == 3


@needs_cc
@pytest.mark.parametrize(
    "flags",
    [["-gdwarf-2", "-gstrict-dwarf"], ["-gdwarf-3"], ["-gdwarf-4"], ["-gdwarf-5"], ["-gz"]],
    ids=" ".join,
)
def test_every_version_of_the_line_table(flags: list[str]) -> None:
    data = compile_c(b"int f(int x)\n{\n\treturn x + 1;\n}\n", where="x.c", extra_flags=flags)
    image = load_image(data, where="x.o")
    assert {str(image.lines[a]) for a in image.lines} == {"input.c:3", "input.c:4"}


@needs_cc
@needs_ld
@pytest.mark.parametrize("flags", [["-static"], ["-pie", "--no-dynamic-linker"], ["-shared"]], ids=" ".join)
def test_linked_files(flags: list[str], tmp_path: Path) -> None:
    text = b"""static int n = 5; int *p = &n;
        int l1d_flush(void) { return *p; }
        void _start(void) { l1d_flush(); }"""
    (tmp_path / "x.o").write_bytes(compile_c(text, where="x.c", extra_flags=["-fPIC"]))
    subprocess.run(["ld", *flags, "-o", "x", "x.o"], cwd=tmp_path, check=True, capture_output=True)
    image = load_image((tmp_path / "x").read_bytes(), where="x")
    found = {routine.name: routine for routine in routines_from_image(image, origin=ORIGIN, function=None)}
    assert {"l1d_flush", "_start"} <= set(found)
    routine = found["l1d_flush"]
    assert routine.code.endswith(b"\xc3")
    pointer, number = image.symbols["p"], image.symbols["n"]
    holder = next(s for s in image.sections if s.address <= pointer.address < s.address + s.size)
    at = pointer.address - holder.address
    if "-shared" not in flags:
        assert int.from_bytes(holder.data[at : at + 8], "little") == number.address
    subprocess.run(["strip", "x"], cwd=tmp_path, check=True)
    stripped = load_image((tmp_path / "x").read_bytes(), where="x")
    assert [s.data for s in stripped.sections if s.executable] == [s.data for s in image.sections if s.executable]


@pytest.mark.parametrize(
    ("machine", "order", "name"),
    [
        (40, 1, "ARM"),
        (183, 1, "AArch64"),
        (21, 2, "64-bit PowerPC"),
        (21, 1, "64-bit PowerPC"),
        (243, 1, "RISC-V"),
        (94, 1, "Tensilica Xtensa"),
    ],
)
def test_other_architectures_are_named(machine: int, order: int, name: str) -> None:
    header = b"\x7fELF\2" + bytes((order, 1)) + bytes(9) + struct.pack("<HH" if order == 1 else ">HH", 1, machine)
    with pytest.raises(InputError, match=f"x.o: this is code for {name}.*x86-64 and 32-bit x86"):
        load_image(header + bytes(44), where="x.o")


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


@pytest.fixture(scope="module")
def plain() -> bytes:
    if shutil.which("as") is None:
        pytest.skip("there is no assembler")
    return assemble(b".globl f\nf: call g\nret\n.bss\n.skip 100\n", where="x.s")


def section_row(data: bytes, number: int) -> int:
    return struct.unpack_from("<Q", data, 40)[0] + 64 * number


def test_a_cut_off_file_is_refused(plain: bytes) -> None:
    for size in range(0, len(plain), 7):
        with pytest.raises(InputError):
            load_image(plain[:size], where="x.o")


@pytest.mark.parametrize(
    ("at", "form", "value", "what"),
    [
        (60, "<H", 0xFFFF, "lies partly outside the file"),
        (40, "<Q", 1 << 63, "lies outside the file"),
        (58, "<H", 63, "rows of 63 bytes"),
        (16, "<H", 4, "a core dump"),
        (4, "<B", 1, "x32 code"),
        (4, "<B", 7, "neither 32 nor 64 bit"),
    ],
)
def test_headers_that_lie(plain: bytes, at: int, form: str, value: int, what: str) -> None:
    with pytest.raises(InputError, match=what):
        load_image(patched(plain, at, form, value), where="x.o")


def test_sizes_that_lie(plain: bytes) -> None:
    sections = ELFFile(io.BytesIO(plain))
    bss = next(i for i, s in enumerate(sections.iter_sections()) if s.name == ".bss")
    table = next(i for i, s in enumerate(sections.iter_sections()) if s.name == ".symtab")
    for number, field, value, what in (
        (bss, 32, 1 << 40, "more than 64 MiB of code and data .'.bss' takes"),
        (bss, 48, 3, "alignment of 3 bytes"),
        (bss, 48, 1 << 40, "alignment of"),
        (1, 32, 1 << 62, "lies outside the file"),
        (table, 40, 1 << 31, "the symbol table has no table of names"),
        (table, 56, 1, "rows of 1 bytes"),
    ):
        form = "<I" if field == 40 else "<Q"
        with pytest.raises(InputError, match=what):
            load_image(patched(plain, section_row(plain, number) + field, form, value), where="x.o")


def test_a_file_of_very_many_sections_is_refused_quickly(plain: bytes) -> None:
    # The real count is in row 0 when it does not fit into the header.
    count = elf_reader.MAX_SECTIONS + 1
    huge = patched(patched(plain, 60, "<H", 0), section_row(plain, 0) + 32, "<Q", count)
    with pytest.raises(InputError, match=f"{count} sections; at most"):
        load_image(huge + bytes(64 * count), where="x.o")
    fewer = patched(huge, section_row(plain, 0) + 32, "<Q", count - 2)
    assert load_image(fewer + bytes(64 * count), where="x.o").entry_points == {"f": layout.IMAGE_BASE}


def test_names_that_are_no_text(plain: bytes) -> None:
    image = load_image(plain.replace(b"\0f\0", b"\0\xff\0"), where="x.o")
    assert list(image.entry_points) == ["\\xff"]


def test_nothing_but_a_header() -> None:
    header = struct.pack("<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 1, 62, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    image = load_image(header, where="x.o")
    with pytest.raises(InputError, match=r"x\.o: there is no machine code in it"):
        routines_from_image(image, origin=ORIGIN, function=None)


def test_an_object_without_symbols_that_was_found_may_have_been_stripped(tmp_path: Path) -> None:
    """One that was just made has none because it needs none."""

    def assembled(text: str) -> bytes:
        subprocess.run(["as", "-o", "x.o", "-"], input=text.encode(), cwd=tmp_path, check=True)
        return (tmp_path / "x.o").read_bytes()

    code, data = assembled("1: jmp 1b"), assembled(".data; .long 1")
    assert read_elf(code, where="x.o").symbol_table is None
    assert load_image(code, where="x.s").sections
    with pytest.raises(InputError, match="no symbol table, and what removes that"):
        load_bytes(code, "x.o", LoadOptions())
    with pytest.raises(InputError, match="no symbol table, and what removes that"):
        load_together([given(code, "x.o"), given(data, "y.o")], LoadOptions())
    # Nothing is lost of what has no code.
    assert load_image(data, where="y.o", found=True).sections
