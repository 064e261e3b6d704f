# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths that no input takes decide nothing; with conditions that can hold together they refute the same routine."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path

import pytest

from l1dflush.cli.main import main
from l1dflush.tracing import possible

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")

# What comes to 3 reads half of the buffer, in eax or above; the buffer is in rcx.
ROUTINE = """
	.globl	flush
	.type	flush, @function
flush:
{decide}
1:	xorl	%eax, %eax
	movl	$65536, %ebx
	jmp	2f
3:	xorl	%eax, %eax
	movl	$4096, %ebx
2:	movzbl	(%rcx,%rax), %r8d
	addq	$64, %rax
	cmpq	%rbx, %rax
	jb	2b
	lfence
	ret
	.size	flush, . - flush
"""

# Comes to 3 if all conditions hold: no input does that with the first ones, some do with the others.
DECIDE = {
    "three comparisons of three unknown values": (
        "cmp %esi,%edi; jae 1f; cmp %edx,%esi; jae 1f; cmp %edx,%edi; jb 1f; jmp 3f",
        "cmp %esi,%edi; jae 1f; cmp %edx,%esi; jae 1f; cmp %edx,%edi; jae 1f; jmp 3f",
    ),
    "three conditions on two unknown values": (
        "lea (%rdi,%rsi),%eax; cmp $10,%eax; jne 1f; cmp $3,%edi; jne 1f; cmp $8,%esi; jne 1f; jmp 3f",
        "lea (%rdi,%rsi),%eax; cmp $11,%eax; jne 1f; cmp $3,%edi; jne 1f; cmp $8,%esi; jne 1f; jmp 3f",
    ),
    "masks that overlap": (
        "mov %edi,%eax; and $0xf0,%eax; cmp $0x50,%eax; jne 1f; and $0x30,%edi; cmp $0x20,%edi; jne 1f; jmp 3f",
        "mov %edi,%eax; and $0xf0,%eax; cmp $0x60,%eax; jne 1f; and $0x30,%edi; cmp $0x20,%edi; jne 1f; jmp 3f",
    ),
    "a flag that was kept over two tests": (
        "cmp %esi,%edi; sete %al; test $1,%dl; je 1f; cmp %esi,%edi; jae 1f; test %al,%al; je 1f; jmp 3f",
        "cmp %esi,%edi; setne %al; test $1,%dl; je 1f; cmp %esi,%edi; jae 1f; test %al,%al; je 1f; jmp 3f",
    ),
    "a flag that was kept in memory": (
        "cmp $7,%edi; seta -1(%rsp); lea 1(%rdi),%eax; cmp $6,%eax; ja 1f; cmpl $-1,%edi; je 1f; "
        "cmpb $0,-1(%rsp); je 1f; jmp 3f",
        "cmp $7,%edi; seta -1(%rsp); lea 1(%rdi),%eax; cmp $9,%eax; ja 1f; cmpl $-1,%edi; je 1f; "
        "cmpb $0,-1(%rsp); je 1f; jmp 3f",
    ),
    "signed and unsigned": (
        "test %edi,%edi; js 1f; test %esi,%esi; js 1f; cmp %esi,%edi; jge 1f; cmp %esi,%edi; jb 1f; jmp 3f",
        "cmp %esi,%edi; jge 1f; cmp %esi,%edi; jb 1f; jmp 3f",
    ),
    "a value that is too many others": (
        "cmp $3,%edi; ja 1f; test %edi,%edi; je 1f; cmp $1,%edi; je 1f; cmp $3,%edi; je 1f; cmp $2,%edi; je 1f; jmp 3f",
        "cmp $4,%edi; ja 1f; test %edi,%edi; je 1f; cmp $1,%edi; je 1f; cmp $3,%edi; je 1f; cmp $2,%edi; je 1f; jmp 3f",
    ),
    "a square": (
        "imul %edi,%edi; test $2,%dil; je 1f; jmp 3f",
        "imul %edi,%edi; test $4,%dil; je 1f; jmp 3f",
    ),
}  # fmt: skip


def judged(decide: str, folder: Path, capsys: Capture) -> tuple[int, dict[str, object]]:
    body = "\n".join(f"\t{line.strip()}" for line in decide.split(";"))
    (folder / "flush.s").write_text(textwrap.dedent(ROUTINE.format(decide=body)))
    status = main(["verify", str(folder / "flush.s"), "--cpu", "skylake", "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("which", DECIDE)
def test_only_paths_that_inputs_take_refute(which: str, tmp_path: Path, capsys: Capture) -> None:
    never, sometimes = DECIDE[which]
    status, result = judged(never, tmp_path, capsys)
    assert (status, result["verdict"]) == (0, "PROVED")
    status, result = judged(sometimes, tmp_path, capsys)
    assert (status, result["verdict"]) == (2, "REFUTED")


def test_what_no_input_comes_to_need_not_be_understood(tmp_path: Path, capsys: Capture) -> None:
    never, sometimes = DECIDE["masks that overlap"]
    assert judged(never.replace("jmp 3f", "hlt"), tmp_path, capsys)[0] == 0
    assert judged(sometimes.replace("jmp 3f", "hlt"), tmp_path, capsys)[0] == 3


# Whether rdi <= rsi are the factors of a product of 128 bits of two primes of 64: no solver finds them in time.
PRODUCT = 0xB7E151628AED2A6B * 0x9E3779B97F4A7C55
FACTORS = (
    f"mov %rdi,%rax; mul %rsi; movabs ${PRODUCT & (1 << 64) - 1},%r8; cmp %r8,%rax; jne 1f; "
    f"movabs ${PRODUCT >> 64},%r8; cmp %r8,%rdx; jne 1f; cmp %rsi,%rdi; ja 1f"
)


def test_a_path_that_nobody_knows_to_be_taken_does_not_refute(tmp_path: Path, capsys: Capture) -> None:
    status, result = judged(f"{FACTORS}; jmp 3f", tmp_path, capsys)
    assert (status, result["verdict"]) == (3, "UNDECIDED")
    (row,) = result["rows"]  # type: ignore[misc]
    assert row["cause"] == "path-not-settled" and "any input takes that path" in row["reason"]


def test_what_is_proved_on_such_a_path_too_is_proved(tmp_path: Path, capsys: Capture) -> None:
    status, _ = judged(FACTORS, tmp_path, capsys)
    assert status == 0


def test_what_another_path_refutes_is_refuted(tmp_path: Path, capsys: Capture) -> None:
    status, result = judged(f"cmp $1,%r9d; je 3f; {FACTORS}; jmp 3f", tmp_path, capsys)
    assert (status, result["verdict"]) == (2, "REFUTED")


# What each comes to is not followed; the first condition of each pair never holds, the second does for some input.
NOT_FOLLOWED = {
    "bits that are picked": (
        "mov $0x0101010101010101,%rax; pext %rax,%rdi,%rax; cmp $255,%rax; jbe 1f",
        "mov $0x0101010101010101,%rax; pext %rax,%rdi,%rax; cmp $254,%rax; jbe 1f",
    ),
    "a product that fits": ("mov %edi,%edi; imul $2,%rdi,%rax; jnc 1f", "mov %edi,%edi; imul %rdi,%rdi; jnc 1f"),
    "bytes in another order": (
        "pxor %xmm1,%xmm1; pshufb %xmm1,%xmm0; movd %xmm0,%eax; cmp %al,%ah; je 1f",
        "pshufb %xmm1,%xmm0; movd %xmm0,%eax; cmp %al,%ah; je 1f",
    ),
    "a number and itself": (
        "cvtsi2sd %edi,%xmm0; ucomisd %xmm0,%xmm0; jnp 1f",
        "movq %rdi,%xmm0; ucomisd %xmm0,%xmm0; jnp 1f",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", NOT_FOLLOWED)
def test_what_nobody_follows_refutes_nothing(which: str, tmp_path: Path, capsys: Capture) -> None:
    """Whatever it comes to, a path is taken: where all that go on from there leave something, that is known."""
    for decide in NOT_FOLLOWED[which]:
        status, result = judged(f"{decide}; jmp 3f", tmp_path, capsys)
        assert (status, [row["cause"] for row in result["rows"]]) == (3, ["path-not-settled"])  # type: ignore[attr-defined]
        assert "in time" not in result["rows"][0]["reason"]  # type: ignore[index]
        assert judged(f"{decide}; jmp 1f", tmp_path, capsys)[0] == 0
        assert judged(f"{decide.replace('1f', '3f')}; jmp 3f", tmp_path, capsys)[0] == 2


def test_what_others_decide_before_refutes(tmp_path: Path, capsys: Capture) -> None:
    decide = NOT_FOLLOWED["a product that fits"][0]
    # Short whatever it comes to, and only for some input is that asked at all.
    status, _ = judged(f"cmp $7,%esi; jne 1f; {decide.replace('1f', '3f')}; jmp 3f", tmp_path, capsys)
    assert status == 2
    # No input comes there.
    never = "test %esi,%esi; je 1f; cmp $1,%esi; jb 4f; jmp 1f; 4:"
    assert judged(f"{never} {decide.replace('1f', '3f')}; jmp 3f", tmp_path, capsys)[0] == 0


def test_the_solver_is_not_loaded_where_intervals_settle_it(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the solver was asked")

    monkeypatch.setattr(possible._Solver, "__init__", refuse)
    decide = "cmp $3,%edi; ja 1f; test $1,%sil; je 1f; cmp $2,%edi; je 1f; test $2,%sil; jne 1f; cmp $5,%edi; ja 3f"
    assert judged(decide, tmp_path, capsys)[0] == 0


# A buffer at rdi, up to rdx.
POINTERS = """
	.globl	flush
	.type	flush, @function
flush:
{decide}
1:	movzbl	(%rdi), %r8d
	addq	$64, %rdi
	cmpq	%rdx, %rdi
	jb	1b
2:	lfence
	ret
3:	movzbl	(%rcx), %r8d
	ret
	.size	flush, . - flush
"""
WRAPPED = "goes on at the other end of the address space"


def walked(decide: str, folder: Path, capsys: Capture) -> tuple[int, dict[str, object], list[str]]:
    body = "\n".join(f"\t{line.strip()}" for line in decide.split(";"))
    (folder / "flush.s").write_text(textwrap.dedent(POINTERS.format(decide=body)))
    status = main(["verify", str(folder / "flush.s"), "--cpu", "skylake", "--every-path", "--json"])
    result = json.loads(capsys.readouterr().out)
    return status, result, [one["text"] for one in result["scope"]["taken_for_granted"] if WRAPPED in one["text"]]


@pytest.mark.parametrize(
    "decide",
    [
        "lea 65536(%rdi),%rdx; cmp %rdx,%rdi; jae 2f",
        "lea 65536(%rdi),%rdx; mov %rdi,%rax; add $65536,%rax; jc 2f",
        "mov (%rdi),%rdi; lea 65536(%rdi),%rdx; cmp %rdi,%rdx; jbe 2f",
    ],
)
def test_an_object_does_not_wrap(decide: str, tmp_path: Path, capsys: Capture) -> None:
    status, result, granted = walked(decide, tmp_path, capsys)
    assert (status, len(result["paths"]), len(granted)) == (0, 1, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "decide",
    [
        # An integer, of which no memory is accessed.
        "lea 65536(%rdi),%rdx; lea 65536(%rsi),%rax; cmp %rax,%rsi; jae 2f",
        # More than what is accessed.
        "lea 65536(%rdi),%rdx; lea 131072(%rdi),%rax; cmp %rax,%rdi; jae 2f",
        # Not on every path on the other side.
        "lea 65536(%rdi),%rdx; cmp %rdx,%rdi; jae 2f; test %esi,%esi; je 3f",
    ],
)
def test_what_is_no_object_may_wrap(decide: str, tmp_path: Path, capsys: Capture) -> None:
    status, result, _ = walked(decide, tmp_path, capsys)
    assert status == 2
    assert len(result["paths"]) > 1  # type: ignore[arg-type]
