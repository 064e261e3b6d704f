# SPDX-License-Identifier: GPL-2.0-or-later
"""The public functions: what the manual says of them, that they answer as the command line does, and their errors."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import l1dflush as l1d
from l1dflush.api import caches, hosts, routines
from l1dflush.cache import simulate

DOCS = Path(__file__).parents[2] / "docs"
MACHINES = Path(__file__).parents[1] / "data/learned-policies/simul"


def test_the_page_of_the_manual() -> None:
    # What fences a block is not an output.
    text = re.sub(r"^```.*$", "", (DOCS / "python.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    page = doctest.DocTestParser().get_doctest(text, {}, "python.md", None, 0)
    runner = doctest.DocTestRunner()
    failed, tried = runner.run(page)
    assert tried > 15 and not failed


@pytest.mark.parametrize("module", [caches, hosts, routines, simulate], ids=lambda module: module.__name__)
def test_the_examples_of_the_docstrings(module: Any) -> None:
    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner()
    for test in finder.find(module, globs=vars(l1d) | {name: getattr(l1d, name) for name in l1d.__all__}):
        runner.run(test)
    assert not runner.failures


def test_what_is_public_is_there_and_has_a_docstring() -> None:
    assert dir(l1d) == sorted(l1d.__all__)
    for name in l1d.__all__:
        found = getattr(l1d, name)
        assert name == "__version__" or len(found.__doc__ or "") > 30, name
    with pytest.raises(AttributeError, match="no attribute 'judge'"):
        _ = l1d.judge  # type: ignore[attr-defined]


def test_importing_it_imports_little() -> None:
    code = "import sys, l1dflush; print([m for m in sys.modules if m.startswith(('l1dflush.', 'pydantic', 'numpy'))])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def command(*arguments: str) -> Any:
    ended = subprocess.run(
        [sys.executable, "-m", "l1dflush", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    return json.loads(ended.stdout)


PATCH = """\
static void flush(char *buffer)
{
    for (int at = 0; at < SIZE; at += 64)
        *(volatile char *)(buffer + at);
}
"""


def test_answers_are_those_of_the_command_line(tmp_path: Path) -> None:
    source = tmp_path / "flush.c"
    source.write_text(PATCH)
    found = l1d.verify(source, cpu="skylake", define={"SIZE": 65536}, start="cold", buffer_size="64K")
    line = ("--cpu", "skylake", "--define", "SIZE=65536", "--start", "cold", "--buffer-size", "64K")
    assert found.proved and found.to_dict() == command("verify", str(source), *line)
    assert json.loads(found.to_json()) == found.to_dict()
    assert l1d.trace("openbsd").to_dict() == command("trace", "openbsd")
    change = l1d.compare("openbsd", "linux-4.9.120", cpu="haswell")
    assert change.to_dict() == command("verify", "openbsd", "--against", "linux-4.9.120", "--cpu", "haswell")
    plan = l1d.plan(policy="FIFO", geometry="32K,8,64")
    assert plan.to_dict() == command("plan", "--policy", "FIFO", "--geometry", "32K,8,64")
    code = command("plan", "--policy", "FIFO", "--geometry", "32K,8,64", "--emit", "asm")
    assert plan.code("asm") == code["code"]


CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 94
model name\t: Intel(R) Core(TM) i7-6700 CPU @ 3.40GHz
stepping\t: 3
flags\t\t: fpu vmx flush_l1d
bugs\t\t: l1tf

"""


def test_hosts_are_asked_about_as_on_the_command_line(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "proc").mkdir(parents=True)
    (root / "proc/cmdline").write_text("quiet l1tf=full\n")
    (root / "proc/cpuinfo").write_text(CPUINFO)
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/osrelease").write_text("5.10.0\n")
    assert l1d.status(sysroot=root).to_dict() == command("status", "--sysroot", str(root))
    found = l1d.what_if(sysroot=root, cmdline="l1tf=off", smt="off", write=["vmentry_l1d_flush=always"], ept=True)
    options = ("--cmdline", "l1tf=off", "--smt", "off", "--write", "vmentry_l1d_flush=always", "--ept", "on")
    assert found.to_dict() == command("what-if", "--sysroot", str(root), *options)


def test_several_inputs_and_values_of_every_kind(tmp_path: Path) -> None:
    (tmp_path / "walk.s").write_text(
        "walk: xor %eax, %eax\n1: mov (%rdi,%rax), %cl; add $64, %eax; cmp $SIZE, %eax; jb 1b; ret\n"
    )
    (tmp_path / "other.c").write_text("int unused;\n")
    geometry = l1d.cpus()["ice-lake"].geometry
    both = [str(tmp_path / "walk.s"), tmp_path / "other.c"]
    found = l1d.verify(
        both, function="walk", define={"SIZE": 64 * 64 * 12}, policy=l1d.policy("LRU", ways=12), geometry=geometry
    )
    assert found.proved and found.rows[0].has == 12
    assert l1d.verify("openbsd", cpu=("skylake", "haswell"), fail_on="error", max_seconds=20).proved


def test_a_learned_machine_can_be_given_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "fifo.dot"
    path.write_text('digraph { start -> a; a -> a [label="h(0)/h(0)"]; }')
    with pytest.raises(l1d.InputError, match=r"fifo\.dot"):
        l1d.policy(path)


@pytest.mark.parametrize(
    "addresses",
    [
        range(0, 1 << 16, 64),
        list(range(0, 1 << 16, 64)),
        np.arange(0, 1 << 16, 64),
        np.arange(0, 1 << 16, 64, dtype=np.uint8 if False else np.int32),
    ],
    ids=["range", "list", "int64", "int32"],
)
def test_any_whole_numbers_are_addresses(addresses: Any) -> None:
    plain = l1d.Simulator("LRU", "32K,8,64")
    wanted = plain.access(np.arange(0, 1 << 16, 64, dtype=np.uint64))
    cache = l1d.Simulator(l1d.policy("LRU", ways=8), "32K,8,64")
    found = cache.access(addresses)
    assert (found.accesses, found.hits) == (wanted.accesses, wanted.hits)
    assert (cache.contents == plain.contents).all()


def test_addresses_may_be_as_large_as_they_get() -> None:
    cache = l1d.Simulator("LRU", "32K,8,64")
    assert cache.access([(1 << 64) - 1, (1 << 64) - 64, 0]).hits == 1 and cache.access([]).accesses == 0
    assert cache.access(np.arange(0, 1 << 16, 64)[::2]).accesses == 512


WRONG: dict[str, tuple[str, Callable[[], object]]] = {
    "a number for a CPU": ("cpu: 7", lambda: l1d.verify("one-pass", cpu=7)),  # type: ignore[arg-type]
    "no such CPU": ("cpu: no CPU is called 'skylark'", lambda: l1d.verify("one-pass", cpu="skylark")),
    "no such start": ("start: unknown start", lambda: l1d.verify("one-pass", start="colder")),
    "no ways": ("ways: 0", lambda: l1d.needs("LRU", ways=0)),
    "a word for a truth value": ("every_cpu: 'no' is neither True", lambda: l1d.verify("one-pass", every_cpu="no")),  # type: ignore[arg-type]
    "and another one": ("every_path: 1 is neither", lambda: l1d.verify("one-pass", every_path=1)),  # type: ignore[arg-type]
    "a word for this host": ("host: 'no' is neither", lambda: l1d.plan(host="no")),  # type: ignore[arg-type]
    "a word for microcode": ("microcode: 'no' is neither", lambda: l1d.what_if(microcode="no")),  # type: ignore[arg-type]
    "a word for EPT": ("ept: 'off' is neither", lambda: l1d.what_if(ept="off")),  # type: ignore[arg-type]
    "ways not said": ("ways: missing: of how many", lambda: l1d.survivors("LRU")),
    "other ways than it has": ("ways: LRU has 4", lambda: l1d.needs(l1d.policy("LRU", ways=4), ways=8)),
    "a fruit": ("geometry: 'banana'", lambda: l1d.verify("one-pass", policy="LRU", geometry="banana")),
    "another fruit": ("policy: unknown", lambda: l1d.verify("one-pass", policy="banana", geometry="32K,8,64")),
    "half a cache": ("geometry is missing", lambda: l1d.verify("one-pass", policy="LRU")),
    "two caches": ("cpu and policy", lambda: l1d.verify("openbsd", cpu="skylake", policy="LRU", geometry="32K,8,64")),
    "no file": ("no-such.c: there is no such file", lambda: l1d.verify("no-such.c")),
    "no routine": ("routine: which", lambda: l1d.verify([])),
    "an empty name": ("routine: an empty", lambda: l1d.verify("")),
    "no text": ("routine: 7", lambda: l1d.verify(7)),  # type: ignore[arg-type]
    "too many touches": ("touches: 9", lambda: l1d.verify("one-pass", touches=9)),
    "touches in words": ("touches: 'one'", lambda: l1d.needs("LRU", ways=4, touches="one")),  # type: ignore[arg-type]
    "definitions as a text": ("define: 'A=1'", lambda: l1d.verify("one-pass", define="A=1")),  # type: ignore[arg-type]
    "a value that is none": (r"define\['A'\]: \[\]", lambda: l1d.verify("x.c", define={"A": []})),  # type: ignore[dict-item]
    "a name that is none": ("undefine: '1a'", lambda: l1d.verify("x.c", undefine="1a")),
    "no time": ("max_seconds: '0'", lambda: l1d.verify("one-pass", max_seconds=0)),
    "no size": ("memory: '1T'", lambda: l1d.verify("one-pass", memory="1T")),
    "no level": ("optimize: 5", lambda: l1d.verify("x.c", optimize=5)),  # type: ignore[arg-type]
    "a key that is neither": (r"static_key\['k'\]", lambda: l1d.verify("x.o", static_key={"k": "maybe"})),
    "no path": ("max_paths: 0", lambda: l1d.verify("x.o", max_paths=0)),
    "no such input": (r"bind: 'zzz' is neither", lambda: l1d.verify("one-pass", bind={"zzz": 1})),
    "no such input to begin at": ("begin: ", lambda: l1d.verify("one-pass", begin="nowhere")),
    "no function of a built-in routine": ("function: ", lambda: l1d.verify("one-pass", function="f")),
    "in turn without turns": ("start='steady'", lambda: l1d.verify("one-pass", then="openbsd")),
    "no such routine in turn": (r"then\['nowhere'\]", lambda: l1d.verify("one-pass", start="steady", then="nowhere")),
    "no cache": ("which cache", l1d.plan),
    "no form": ("form: 'd'", lambda: l1d.plan(policy="LRU", geometry="32K,8,64").code("d")),
    "a plan that is none": ("form: no number", lambda: l1d.plan(policy="random", geometry="32K,8,64").code()),
    "no goal": ("goal: 'none'", lambda: l1d.plan(cpu="skylake", goal="none")),
    "a steady start has no curve": ("start: a steady", lambda: l1d.survivors("LRU", ways=4, start="steady")),
    "no certificate": ("certificate: this is not a certificate", lambda: l1d.check("{}")),
    "no certificate of a lie": ("the verdict is REFUTED", lambda: l1d.certificate("one-pass", cpu="skylake")),
    "nothing is different": ("what should be different", l1d.what_if),
    "two hosts": ("archive and sysroot", lambda: l1d.status(archive="a", sysroot="b")),
    "floats": ("addresses: 0.5 is not", lambda: l1d.Simulator("LRU", "32K,8,64").access([0.5])),  # type: ignore[list-item]
    "an array of floats": ("addresses: these are float", lambda: l1d.Simulator("LRU", "32K,8,64").access(np.ones(3))),
    "an array below zero": ("addresses: -1 is", lambda: l1d.Simulator("LRU", "32K,8,64").access(np.array([1, -1]))),
    "below zero": ("addresses: -64 is negative", lambda: l1d.Simulator("LRU", "32K,8,64").access([0, -64])),
    "too large": ("addresses: ", lambda: l1d.Simulator("LRU", "32K,8,64").access([1 << 64])),
    "tables": ("addresses: they have 2", lambda: l1d.Simulator("LRU", "32K,8,64").access(np.array([[1, 2]]))),  # type: ignore[list-item]
    "truth": ("addresses: True is not", lambda: l1d.Simulator("LRU", "32K,8,64").access([True])),
    "ways that do not fit": ("policy: LRU has 4", lambda: l1d.Simulator(l1d.policy("LRU", ways=4), "32K,8,64")),
    "a seed below zero": ("seed: -1", lambda: l1d.Simulator("BIP", "32K,8,64", seed=-1)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_of_the_argument(name: str) -> None:
    message, call = WRONG[name]
    with pytest.raises(l1d.InputError, match=message) as caught:
        call()
    # What another command writes is called as that command.
    assert "--" not in str(caught.value).replace("verify --certificate", "") and "\n" not in str(caught.value)


def test_results_show_themselves_in_notebooks() -> None:
    shown = l1d.verify("one-pass", cpu="skylake")._repr_html_()
    assert shown is not None and shown.startswith("<pre") and "REFUTED on Skylake" in re.sub("<[^>]*>", "", shown)
    assert "<span" in (l1d.plan(cpu="skylake")._repr_html_() or "")
