# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes as they come in backports: each has to be seen, and called what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.verdict.compare.comparing import compare
from l1dflush.verdict.compare.result import Change, ComparisonResult, Effect
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

MAILS = Path(__file__).parents[1] / "data" / "mails"
L1D = VerifyOptions(policy="tree-PLRU", geometry=Geometry(32768, 8, 64))
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler or assembler is installed")

FLUSH = """
        .globl  l1d_flush
        .type   l1d_flush, @function
l1d_flush:
        test    %esi, %esi
        jz      9f
        xor     %eax, %eax
1:      movzbl  (%rdi,%rax), %ecx
        add     $4096, %eax
        cmp     $65536, %eax
        jne     1b
        xor     %eax, %eax
        push    %rbx
        cpuid
        pop     %rbx
        xor     %eax, %eax
2:      movzbl  (%rdi,%rax), %ecx
        add     $64, %eax
        cmp     $65536, %eax
        jne     2b
        lfence
9:      ret
        .size   l1d_flush, . - l1d_flush
"""


def compared(old: str, new: str, options: VerifyOptions = L1D) -> ComparisonResult:
    return compare(verify(old, options), verify(new, options))


def path_changes(result: ComparisonResult) -> dict[str, Change]:
    return {change.what: change for path in result.differences.paths for change in path.changes}


def rules(result: ComparisonResult) -> tuple[set[str], set[str]]:
    """Rules of the findings that are gone, and of those that are new."""
    changes = result.differences.findings
    gone = {change.old.id for change in changes if change.old is not None and change.new is None}
    return gone, {change.new.id for change in changes if change.new is not None and change.old is None}


# --- built-in routines


def test_the_same_code_with_another_set_up() -> None:
    result = compared("linux-4.9.120", "linux-4.18")
    assert result.same_code
    assert "buffer-not-initialised" in rules(result)[0]
    assert result.effect is Effect.BETTER
    assert not result.differences.paths and not result.differences.rows


def test_another_system_with_the_same_loop() -> None:
    result = compared("linux-4.18", "openbsd")
    assert result.same_code
    assert not result.differences.paths and not result.differences.rows
    assert [change.what for change in result.differences.buffer] == ["name"]


def test_other_instructions_that_do_the_same() -> None:
    result = compared("openbsd", "freebsd")
    assert not result.same_code
    assert result.effect is Effect.NONE
    assert result.summary == "no change that matters: nothing differs but names"


def test_one_pass_instead_of_two_buffers_full() -> None:
    result = compared("linux-4.9.120", "one-pass")
    assert result.effect is Effect.WORSE
    assert result.summary.startswith("worse: PROVED -> REFUTED; margin +3 -> -5")
    changes = path_changes(result)
    assert (changes["loads from the buffer"].old, changes["loads from the buffer"].new) == (1040, 512)
    assert (changes["fences"].old, changes["fences"].new) == ("cpuid, lfence", "lfence")


def test_a_second_pass_leaves_less() -> None:
    result = compared("one-pass", "two-passes")
    assert result.effect is Effect.BETTER
    assert result.summary == "better: old lines left 2 -> 1"
    (path,) = result.differences.paths
    assert [(line.old, line.new) for line in path.diff if line.old is None] == [(None, 0)]


def test_a_smaller_margin_is_worse_though_still_proved() -> None:
    result = compared("openbsd", "52k")
    assert (result.effect, result.exit_status) == (Effect.WORSE, 0)
    assert result.summary.startswith("worse: margin +3 -> 0")


# --- edits of one routine


@pytest.mark.parametrize(
    ("edit", "effect", "changes", "new_rules"),
    [
        (("lfence", "nop"), Effect.WORSE, {"fences"}, {"no-fence"}),
        (("$65536", "$32768"), Effect.WORSE, {"loads from the buffer", "offsets"}, set()),
        (("$64,", "$128,"), Effect.WORSE, {"loads from the buffer", "offsets", "step"}, {"skipped-line"}),
        (("cpuid", "nop"), Effect.WORSE, {"fences"}, {"no-serialisation"}),
        (("jz      9f", "nop"), Effect.BETTER, {"taken if"}, set()),
        (("jz      9f", "jnz     9f"), Effect.WORSE, {"outcome"}, set()),
        (("movzbl  (%rdi,%rax), %ecx", "movzbl  (%rax,%rdi), %edx"), Effect.NONE, set(), set()),
        (("push    %rbx", "push %rbx; push %rbx; pop %rbx"), Effect.NONE, {"own accesses"}, set()),
        (("        xor     %eax, %eax\n1:", "        sub     %eax, %eax\n        nop\n1:"), Effect.NONE, set(), set()),
    ],
)
@needs_cc
def test_an_edit(edit: tuple[str, str], effect: Effect, changes: set[str], new_rules: set[str], tmp_path: Path) -> None:
    assert edit[0] in FLUSH
    old, new = tmp_path / "old.S", tmp_path / "new.S"
    old.write_text(FLUSH)
    new.write_text(FLUSH.replace(*edit))
    result = compared(str(old), str(new))
    assert not result.same_code
    assert result.effect is effect, result.summary
    told = set(path_changes(result))
    assert changes <= told
    assert told or effect is not Effect.DIFFERENT
    assert new_rules <= rules(result)[1]
    if not changes:
        assert not result.differences.paths


@needs_cc
def test_a_page_that_is_left_out(tmp_path: Path) -> None:
    old, new = tmp_path / "old.S", tmp_path / "new.S"
    old.write_text(FLUSH)
    skip = "        add     $64, %eax\n        cmp     $8192, %eax\n        jne     3f\n        add     $4096, %eax\n3:"
    new.write_text(FLUSH.replace("        add     $64, %eax\n", skip))
    result = compared(str(old), str(new))
    assert result.effect is Effect.WORSE
    # The warm-up reads the first line of every page: only these have one line more.
    assert result.summary == "worse: margin +3 -> +2; new warning skipped-line"
    diff = [path.diff for path in result.differences.paths]
    assert [sum(line.new is None for line in one) for one in diff] == [1]
    assert [sum(line.old is None for line in one) for one in diff] == [2]


# --- mails


@pytest.mark.parametrize(
    ("edit", "effect", "said"),
    [
        (("mfence", "nop"), Effect.WORSE, "new warning no-fence"),
        (("SCRUB_PAGES 16", "SCRUB_PAGES 8"), Effect.WORSE, "PROVED -> REFUTED"),
        (("tsr_scrub_l1d", "tsr_wipe_l1d"), Effect.NONE, "nothing differs but names"),
        (("scrub_area", "wipe_area"), Effect.NONE, "nothing differs but names"),
    ],
)
@needs_cc
def test_an_edited_mail(edit: tuple[str, str], effect: Effect, said: str, tmp_path: Path) -> None:
    mail = (MAILS / "archive-page.txt").read_text(encoding="utf-8")
    assert edit[0] in mail
    new = tmp_path / "edited.txt"
    new.write_text(mail.replace(*edit), encoding="utf-8")
    result = compared(str(MAILS / "archive-page.txt"), str(new))
    assert result.effect is effect, result.summary
    assert said in result.summary


@needs_cc
def test_the_object_file_of_the_same_source(tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415

    source, built = tmp_path / "flush.S", tmp_path / "flush.o"
    source.write_text(FLUSH)
    subprocess.run(["cc", "-c", "-o", built, source], check=True)
    result = compared(str(source), str(built))
    assert result.same_code
    assert result.effect is Effect.NONE
    assert {change.what for change in result.differences.names} >= {"input", "kind of input"}
