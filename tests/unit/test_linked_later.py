"""What an object file leaves to the linker or the loader: places, alignments and functions that nobody here knows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.routine.load import LoadOptions, load_bytes
from l1dflush.routine.toolchain import assemble
from l1dflush.trace.abstract import trace
from l1dflush.verdict.judge import verify
from l1dflush.verdict.model import Verdict
from l1dflush.verdict.options import VerifyOptions

needs_ld = pytest.mark.skipif(shutil.which("ld") is None, reason="there is no linker")
SHORT = WALK.replace("65536", "8192").replace("9", "8")


def either(before: str, jump: str) -> str:
    """The whole walk, or a short one where ``jump`` jumps."""
    return function(before, f"{jump} 5f", WALK, "lfence; ret", "5:", SHORT)


PAIRS = "xor %eax,%eax; 9: {0}; add $128,%rax; cmp $65536,%rax; jne 9b"


@pytest.mark.parametrize(
    "reads",
    [
        "movzbl 48(%rdi,%rax),%ecx; movzbl 80(%rdi,%rax),%ecx",
        "movzbl 8(%rdi,%rax),%ecx; movzbl 120(%rdi,%rax),%ecx",
    ],
)
@pytest.mark.parametrize("get", ["lea foo(%rip),%rdi", "mov $foo,%rdi"])
def test_where_an_outside_variable_lies_in_a_line_is_not_known(reads: str, get: str, tmp_path: Path) -> None:
    result = judged(tmp_path, function(get, PAIRS.format(reads)))
    assert result.verdict is Verdict.REFUTED
    whole = judged(tmp_path, function(get, WALK))
    assert whole.verdict is Verdict.PROVED
    assert any("`foo` is 8-byte aligned" in text for text in whole.scope.taken_for_granted)
    # What is handed in is page-aligned, which is granted.
    assert judged(tmp_path, function(PAIRS.format(reads))).verdict is Verdict.PROVED


@pytest.mark.parametrize("far", [0x80000000, 0x7FFF0000, -0x40000000])
def test_what_fits_into_32_bits_far_from_a_symbol_says_nothing_of_it(far: int, tmp_path: Path) -> None:
    """The symbol itself may lie beyond 4 GiB, or not."""
    other = f"mov $foo{far:+#x},%eax; movabs $foo,%rcx; shr $32,%rcx; test %rcx,%rcx"
    assert judged(tmp_path, either(other, "jnz")).verdict is not Verdict.PROVED
    near = "mov $foo+0x40,%eax; movabs $foo,%rcx; shr $32,%rcx; test %rcx,%rcx"
    assert judged(tmp_path, either(near, "jnz")).verdict is Verdict.PROVED


@pytest.mark.parametrize("call", ["call chosen", "call chosen@PLT", "call *chosen@GOTPCREL(%rip)"])
@pytest.mark.parametrize("binding", [".globl chosen", ".weak chosen", ""])
def test_a_function_that_a_resolver_chooses_is_an_outside_one(call: str, binding: str, tmp_path: Path) -> None:
    """What the file has under its name is the resolver, which walks here and is not what is called."""
    chosen = f"{binding}\n.type chosen, @gnu_indirect_function\nchosen: {WALK}; ret\n"
    result = judged(tmp_path, function(call) + chosen, function="flush_it")
    assert result.verdict is not Verdict.PROVED
    plain = chosen.replace("gnu_indirect_function", "function")
    assert judged(tmp_path, function(call) + plain, function="flush_it").verdict is Verdict.PROVED


@pytest.mark.parametrize(
    "store",
    [
        "lea flush_it(%rip),%rcx; movb $0xc3,(%rcx,%rsi)",
        "lea 1f(%rip),%rcx; lea (%rcx,%rsi,8),%rcx; mov %eax,16(%rcx); 1:",
        "lea flush_it(%rip),%rcx; lea data(%rip),%rdx; test %esi,%esi; cmovz %rdx,%rcx; movb $0xc3,(%rcx,%rsi)",
    ],
)
def test_code_that_is_written_through_an_index(store: str, tmp_path: Path) -> None:
    result = judged(tmp_path, function(store, WALK) + ".data\ndata: .zero 64\n")
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "writes-code")
    data = store.replace("flush_it(", "data(").replace("1f(", "data(")
    assert judged(tmp_path, function(data, WALK) + ".data\ndata: .zero 64\n").verdict is Verdict.PROVED


@needs_ld
@pytest.mark.parametrize("kind", [["-pie", "--no-dynamic-linker"], ["-shared"], []])
def test_linked_code_that_is_written_through_an_index(kind: list[str], tmp_path: Path) -> None:
    for name, cause in (("flush_it", "writes-code"), ("data", None)):
        text = function(f"lea {name}(%rip),%rcx; movb $0xc3,(%rcx,%rsi)", WALK)
        text = text.replace(".globl flush_it", ".globl flush_it\n.hidden flush_it") + ".data\ndata: .zero 64\n"
        result = verify(str(linked(text, tmp_path, *kind)), VerifyOptions(cpus=("skylake",), function="flush_it"))
        assert result.cause == cause, result.reason


def linked(text: str, folder: Path, *options: str) -> Path:
    """The linked file of assembly."""
    (folder / "x.o").write_bytes(assemble(text.encode(), where="x.s"))
    command = ["ld", "-e", "0", *options, "-o", folder / "x", folder / "x.o"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "x"


@needs_ld
@pytest.mark.parametrize("words", [1, 3, 70, 200])
def test_packed_relocations_are_those_that_are_not_packed(words: int, tmp_path: Path) -> None:
    pointers = "".join(f".quad data+{64 * n}\n{'.quad 5' if n % 7 == 3 else ''}\n" for n in range(words))
    walk = WALK.replace("xor %eax", "mov last(%rip),%rdi; xor %eax")
    data = f".data\n.balign 4096\ndata: .zero 65536\n{pointers}last: .quad data\n"
    text = function(walk).replace(".globl flush_it", ".globl flush_it\n.hidden flush_it") + data
    seen = []
    for packed in ("nopack-relative-relocs", "pack-relative-relocs"):
        file = linked(text, tmp_path, "-shared", "-z", packed)
        (routine,) = load_bytes(file.read_bytes(), "x", LoadOptions(function="flush_it"))
        section = next(one for one in routine.image.sections if one.writable)
        there = routine.image.relocations.within(section.address, section.address + section.size)
        data_at = routine.image.symbols["data"].address
        pointed = [(one.address - data_at, one.of.type, one.of.target, one.addend) for one in there]
        bases = [(at, kind, target + addend - data_at) for at, kind, target, addend in pointed]  # type: ignore[operator]
        assert len(bases) == words + 1
        reads = [(e.arena and e.arena.kind, e.offset) for e in list(trace(routine).paths[0].events)[1:]]
        seen.append((bases, [(kind, at - reads[0][1]) for kind, at in reads]))
    assert seen[0] == seen[1]
