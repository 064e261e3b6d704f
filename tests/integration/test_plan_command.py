# SPDX-License-Identifier: GPL-2.0-or-later
"""``plan`` as a command: what is written is proved again, as whoever gets it would."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from l1dflush.cli.main import main
from l1dflush.ending import Verdict
from l1dflush.errors import UndecidedError
from l1dflush.planning.walk import walk_of
from l1dflush.report.schemas import schema

Capture = pytest.CaptureFixture[str]
KERNEL = Path(__file__).parent / "kernel_stand_in"
CACHE = ["--policy", "tree-PLRU", "--geometry", "32K,8,64"]
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@needs_cc
@pytest.mark.parametrize(("form", "suffix"), [("c", ".c"), ("asm", ".s")])
@pytest.mark.parametrize("more", [[], ["--start", "steady"], ["--touches", "1", "--start", "any"]], ids=str)
def test_what_is_written_is_proved(form: str, suffix: str, more: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["plan", *CACHE, *more, "--emit", form]) == 0
    (tmp_path / f"plan{suffix}").write_text(capsys.readouterr().out)
    assert main(["verify", str(tmp_path / f"plan{suffix}"), *CACHE, *more, "-q"]) == 0
    assert main(["verify", str(tmp_path / f"plan{suffix}"), "--cpu", "ice-lake", *more, "-q"]) == 2


@needs_as
def test_the_json_is_as_published_and_its_code_is_the_text(capsys: Capture) -> None:
    assert main(["plan", *CACHE, "--emit", "bytes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema("plan"))
    assert (document["loads"], document["buffer_bytes"], document["proved"]) == (832, 53248, ["bytes"])
    assert main(["plan", *CACHE, "--emit", "bytes"]) == 0
    assert capsys.readouterr().out == document["code"]


@needs_cc
@pytest.mark.parametrize("form", ["c", "asm", "kernel", "bytes"])
def test_a_cache_that_is_smaller_than_a_page(form: str, capsys: Capture) -> None:
    small = ["--policy", "tree-PLRU", "--geometry", "512,8,64"]
    assert main(["plan", *small, "--emit", form]) == 0
    assert "13 loads from 832 bytes empty the L1D (512B 8x64" in capsys.readouterr().out
    assert main(["plan", *small, "--start", "steady", "--emit", form]) == 0
    assert "8 loads from 512 bytes" in capsys.readouterr().out


@needs_as
def test_what_cannot_be_decided_is_no_defect(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def undecided(*_: object) -> object:
        return SimpleNamespace(verdict=Verdict.UNDECIDED, cause="out-of-time", reason="too slow", rows=())

    monkeypatch.setattr("l1dflush.sandbox.proved_plan.verify", undecided)
    assert main(["plan", *CACHE, "--emit", "asm"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and "could not be proved as assembly: too slow" in err


@needs_cc
@pytest.mark.parametrize("more", [[], ["--start", "any", "--goal", "word"], ["--start", "steady"]], ids=str)
def test_kernel_code_works_as_it_says(more: list[str], tmp_path: Path, capsys: Capture) -> None:
    """Compiled as it is behind stand-ins for the kernel's headers, and run: allocation, content, failure, teardown."""
    assert main(["plan", *CACHE, *more, "--emit", "kernel"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "plan.c").write_text(text)
    program = tmp_path / "program"
    flags = [
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        "-Werror",
        "-O2",
        f"-I{KERNEL}",
        f"-I{tmp_path}",
    ]
    first = ["-DHAS_FIRST"] if "l1d_flush_first" in text else []
    subprocess.run(["cc", *flags, *first, KERNEL / "run.c", "-o", program], check=True)
    told = subprocess.run([program], check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    steady = "steady" in more
    assert bool(first) == steady
    order, pages = (5, 21) if steady else (4, 10 if "word" in more else 13)
    assert told == [
        "failed: -12, nothing changed",
        f"setup: 0, order {order}, {pages} pages differ, first flush on {2 if steady else 0} CPUs",
        "again: 0, nothing allocated",
        "teardown: freed, nothing left",
        "again: nothing freed",
    ]


@needs_cc
def test_kernel_code_names_what_was_proved(capsys: Capture) -> None:
    assert main(["plan", *CACHE, "--start", "steady", "--touches", "1", "--emit", "kernel", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema("plan"))
    names = [f"{which}kernel C at -O{level}" for level in (0, 2) for which in ("", "the first flush of ")]
    assert (document["form"], document["proved"], document["first_needs"]) == ("kernel", names, 20)
    # 1280 loads: 20 of each of the 64 sets.
    assert len(document["notes"]) == 1 and "1280 loads from 81920 bytes" in document["notes"][0]


@needs_cc
def test_both_flushes_of_kernel_code_are_proved(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    # One line less than is needed, in the first flush only.
    monkeypatch.setattr("l1dflush.planning.first.walk_of", lambda word, shape: walk_of(word[:-1], shape))
    assert main(["plan", *CACHE, "--start", "steady", "--emit", "kernel"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "the plan is REFUTED as the first flush of kernel C at -O0" in err


def test_kernel_code_needs_a_first_flush_that_is_known(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def too_large(*_: object, **__: object) -> int:
        raise UndecidedError("state-space-too-large", "too large")

    monkeypatch.setattr("l1dflush.planning.first.needs", too_large)
    assert main(["plan", *CACHE, "--start", "steady", "--emit", "kernel"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and "how many loads a full flush takes was not found out (too large)" in err
    monkeypatch.setattr("l1dflush.planning.first.needs", lambda *_, **__: None)
    assert main(["plan", *CACHE, "--start", "steady", "--emit", "kernel"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "no number of loads is certain to be a full flush" in err


@needs_cc
@pytest.mark.parametrize("form", ["c", "asm", "bytes"])
def test_every_form_says_what_has_to_come_first(form: str, capsys: Capture) -> None:
    assert main(["plan", *CACHE, "--start", "steady", "--emit", form]) == 0
    told = " ".join(capsys.readouterr().out.replace("#", " ").replace("*", " ").split())
    assert "a full flush from another buffer has to come first; 832 loads from 53248 bytes are enough" in told
    assert main(["plan", *CACHE, "--start", "any", "--emit", form]) == 0
    assert "has to come first" not in capsys.readouterr().out


@needs_cc
@pytest.mark.parametrize("form", ["c", "asm", "kernel", "bytes"])
def test_a_policy_may_come_from_a_file_of_any_name(form: str, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "zwei\nWege *\\ ü.txt"
    rows = [f"new{now} {what} {way} -> new{way}" for now in (0, 1) for what in ("hit", "fill") for way in (0, 1)]
    rows += ["new0 miss -> 1 new1", "new1 miss -> 0 new0"]
    file.write_text("\n".join(["ways 2", "start new0", *rows, ""]))
    assert main(["plan", "--policy", str(file), "--geometry", "8K,2,64", "--emit", form]) == 0
    out = capsys.readouterr().out
    assert out.isascii() and "zwei Wege" in out.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--policy", "LRU", "--geometry", "33K,8,64"], "--geometry: 66 sets"),
        (["--policy", "LRU", "--geometry", "32K,17,64"], "--geometry: a cache of 17 ways"),
        (["--policy", "LRU", "--geometry", "32K,8"], "--geometry: '32K,8' is not a geometry"),
        (["--cpu", "skylake", "--geometry", "33K,8,64"], "--cpu and --geometry exclude each other"),
        (["--cpu", "skylake", "--host"], "--cpu and --host exclude each other"),
        (["--policy", "LRU", "--host", "--geometry", "32K,8,64"], "--geometry and --host exclude each other"),
        ([*CACHE, "--touches", "-1"], "'--touches': -1 is out of range (0 to 8)"),
        ([*CACHE, "--start", "hot"], "--start: unknown start 'hot'"),
        ([*CACHE, "--emit", "rust"], "'--emit'"),
        (["--policy", "tree-PLRU", "--geometry", "4M,8,64", "--emit", "kernel"], "--emit kernel: a kernel allocates"),
    ],
    ids=str,
)
def test_bad_input_is_one_line(arguments: list[str], told: str, capsys: Capture) -> None:
    assert main(["plan", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and told in err and err.count("\n") == 1


@pytest.mark.parametrize("more", [[], ["--emit", "kernel"], ["--emit", "c"], ["--start", "steady"]], ids=str)
def test_never_is_said_and_no_code_is_written(more: list[str], capsys: Capture) -> None:
    assert main(["plan", "--policy", "LIP", "--geometry", "32K,8,64", *more]) == 2
    out, err = capsys.readouterr()
    assert "LIP, 32K 8x64: never" in out and "asm" not in out and err == ""


def test_never(capsys: Capture) -> None:
    assert main(["plan", "--policy", "LIP", "--geometry", "32K,8,64", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema("plan"))
    assert (document["verdict"], document["word"], document["code"]) == ("REFUTED", [], None)


@needs_as
def test_a_plan_that_does_not_prove_is_never_written(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("l1dflush.planning.planned.walk_of", lambda word, shape: walk_of(word[:-1], shape))
    assert main(["plan", *CACHE, "--emit", "asm"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "the plan is REFUTED as assembly" in err


FENCE = 'L1D_FLUSH_BARRIER=__asm__ __volatile__("lfence" ::: "memory")'
X86_ONLY = re.compile(r"%|\brax\b|lfence|mov")
OTHERS = {
    "power9": (["--policy", "tree-PLRU"], "32K,8,128", "sync"),
    "cortex-a76": (["--policy", "tree-PLRU"], "64K,4,64", "dsb sy"),
    "rocket": (["--policy", "FIFO", "--goal", "word"], "16K,4,64", "fence iorw, iorw"),
}


@needs_cc
@pytest.mark.parametrize("cpu", OTHERS)
def test_another_processor_gets_portable_c(cpu: str, tmp_path: Path, capsys: Capture) -> None:
    more, geometry, barrier = OTHERS[cpu]
    assert main(["plan", "--cpu", cpu, *more, "--emit", "c", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema("plan"))
    assert document["proved"] == ["portable C at -O0", "portable C at -O2"]
    code = document["code"]
    assert barrier in code
    # The one statement of assembly is an example in a comment.
    (example,) = (line for line in code.splitlines() if "asm" in line)
    assert example.startswith("/* #define L1D_FLUSH_BARRIER")
    assert X86_ONLY.search(code) is None
    (tmp_path / "plan.c").write_text(code)
    cache = ["--geometry", geometry, *more[:2]]
    assert main(["verify", str(tmp_path / "plan.c"), *cache, "-D", FENCE, "--every-path", "-q"]) == 0
    # As many ways more are not emptied by it.
    size, ways, line = geometry.split(",")
    larger = f"{2 * int(size[:-1])}K,{2 * int(ways)},{line}"
    assert main(["verify", str(tmp_path / "plan.c"), "--geometry", larger, *more[:2], "-D", FENCE, "-q"]) == 2


@needs_cc
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-Os"])
def test_portable_c_needs_its_barrier_and_loads_the_lines_only(level: str, tmp_path: Path, capsys: Capture) -> None:
    """Run as it is: the barrier counts, and behind the buffer is a page that may not be read."""
    assert main(["plan", "--cpu", "power8", "--policy", "LRU", "--emit", "c"]) == 0
    (tmp_path / "plan.c").write_text(capsys.readouterr().out)
    compile_it = [
        "cc",
        level,
        "-Wall",
        "-Wextra",
        "-Werror",
        "-c",
        str(tmp_path / "plan.c"),
        "-o",
        str(tmp_path / "plan.o"),
    ]
    without = subprocess.run(compile_it, capture_output=True, text=True, check=False)
    assert without.returncode != 0 and "L1D_FLUSH_BARRIER is not defined" in without.stderr
    (tmp_path / "user.c").write_text(
        "#include <sys/mman.h>\nstatic int barriers;\n#define L1D_FLUSH_BARRIER (void)barriers++\n"
        '#include "plan.c"\n'
        "int main(void)\n{\n"
        "\tchar *p = mmap(0, 65536 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n"
        "\tif (p == MAP_FAILED || mprotect(p + 65536, 4096, PROT_NONE))\n\t\treturn 9;\n"
        "\tl1d_flush(p);\n\treturn barriers;\n}\n"
    )
    program = tmp_path / "program"
    subprocess.run(["cc", level, str(tmp_path / "user.c"), "-o", str(program)], check=True)
    assert subprocess.run([str(program)], check=False).returncode == 2


@pytest.mark.parametrize("form", ["asm", "bytes", "kernel"])
@pytest.mark.parametrize("cpu", ["power9", "cortex-a53", "neoverse-v2", "cva6"])
def test_x86_code_is_refused_for_another_processor(form: str, cpu: str, capsys: Capture) -> None:
    assert main(["plan", "--cpu", cpu, "--policy", "LRU", "--emit", form]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"--emit: {form} is x86 code" in err and "--emit c writes portable C" in err


@pytest.mark.parametrize("form", ["asm", "bytes", "kernel"])
def test_no_form_is_named_for_what_is_never_empty(form: str, capsys: Capture) -> None:
    assert main(["plan", "--cpu", "rocket", "--emit", form]) == 2
    out, err = capsys.readouterr()
    assert err == "" and ": never" in out and "--emit" not in out


@needs_cc
@pytest.mark.parametrize(
    ("cache", "way"),
    [
        (["--cpu", "power8", "--policy", "LRU"], "8 KiB"),
        (["--cpu", "neoverse-n1", "--policy", "LRU"], "16 KiB"),
        (["--policy", "FIFO", "--geometry", "64K,8,64"], "8 KiB"),
        (["--cpu", "cortex-a53", "--policy", "LRU"], "8 KiB"),
        (["--policy", "LRU", "--geometry", "32K,8,64"], ""),
        (["--cpu", "skylake"], ""),
    ],
)
def test_a_way_larger_than_a_page_needs_a_contiguous_buffer(cache: list[str], way: str, capsys: Capture) -> None:
    needs = f"the buffer has to be page-aligned and physically contiguous: a way is {way}"
    for more in ([], ["--emit", "c"]):
        assert main(["plan", *cache, *more]) == 0
        told = " ".join(capsys.readouterr().out.replace("\n * ", " ").split())
        assert (needs.lower() in told.lower()) == bool(way)
        assert ("contiguous" in told) == bool(way)


@needs_cc
def test_a_compiler_that_counts_in_memory_is_no_defect(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def refuted(*_: object) -> object:
        return SimpleNamespace(verdict=Verdict.REFUTED, cause=None, reason="3 are left", rows=())

    monkeypatch.setattr("l1dflush.sandbox.proved_plan.verify", refuted)
    assert main(["plan", "--cpu", "power9", "--policy", "LRU", "--emit", "c"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and "touch more than the lines: 3 are left" in err


@pytest.mark.parametrize(
    ("cpu", "instruction"),
    [("cortex-a53", "DC CISW"), ("cva6", "cbo.flush"), ("rocket", "cbo.flush"), ("power9 --policy random", "dcbf"),
     ("skylake --policy random", "WBINVD")],
)  # fmt: skip
def test_never_says_what_else_there_is(cpu: str, instruction: str, capsys: Capture) -> None:
    assert main(["plan", "--cpu", *cpu.split(), "--emit", "c"]) == 2
    text = " ".join(capsys.readouterr().out.split())
    name = cpu.split(maxsplit=1)[0]
    assert instruction in text
    command = f"l1dflush size --cpu {name} --policy random --chance 2^-20"
    assert command in text
    # What is named can be asked.
    assert main(command.split()[1:]) == 0


def test_never_without_chance_names_no_chance(capsys: Capture) -> None:
    assert main(["plan", "--cpu", "power9", "--policy", "LIP", "--json"]) == 2
    (one,) = json.loads(capsys.readouterr().out)["instead"]
    assert "dcbf" in one


UNKNOWN = {
    "zen4": "the replacement policy of Zen 4 is not known",
    "power10": "the replacement policy of POWER10 is not known",
    "cortex-a76": "the replacement policy of Cortex-A76 is not known: its source only says pseudo-LRU",
    "cortex-x4": "the replacement policy of Cortex-X4 is not known: its source only says RRIP",
}


@pytest.mark.parametrize("cpu", UNKNOWN)
def test_an_unknown_policy_is_said_in_the_same_words(cpu: str, capsys: Capture) -> None:
    for command in (["plan"], ["plan", "--emit", "c"], ["lab", "linux-2018"]):
        assert main([*command, "--cpu", cpu]) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"l1dflush: {UNKNOWN[cpu]}")
    assert main(["size", "--cpu", cpu]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "unknown, if LRU" in text and "the replacement policy of this cache is not known" in text
    assert main(["verify", "52k", "--cpu", cpu]) == 3
    assert "the replacement policy of this cache is not known" in " ".join(capsys.readouterr().out.split())


def test_a_policy_that_was_given_for_a_known_cpu_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--cpu", "skylake", "--policy", "FIFO"]) == 0
    assert capsys.readouterr().out.startswith("Skylake, FIFO (given), ")
    assert main(["plan", "--cpu", "skylake"]) == 0
    assert "(given)" not in capsys.readouterr().out
