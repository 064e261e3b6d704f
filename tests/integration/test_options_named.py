# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors name the option that was given, and what is said while a verb works is as plain as asked for."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import l1dflush as l1d
from l1dflush.cli.app import load
from l1dflush.cli.main import answer, main
from l1dflush.cli.verbs import VERBS
from l1dflush.tracing.options import TraceOptions
from l1dflush.tracing.stops import Stop, undecided

TEXT = """        .globl flush_it
        .type flush_it,@function
flush_it:
        xor %eax,%eax
1:      movzbl (%rdi,%rax),%ecx
        add $64,%eax
        cmp $65536,%eax
        jne 1b
        ret
        .size flush_it,.-flush_it
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "flush.s").write_text(TEXT)
    return str(tmp_path / "flush.s")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--range", "flush_it:nothing"), "--range"), (("--range", "nothing:flush_it"), "--range"),
        (("--range", "flush_it:flush_it+0x1000"), "--range"),
        (("--from", "flush_it", "--until", "nothing"), "--until"), (("--from", "nothing"), "--from"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["verify", "trace"])
def test_an_error_names_the_option_that_was_given(
    verb: str, options: tuple[str, ...], named: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, source, *options]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"l1dflush: {named}: ") and said.count("\n") == 1


def on_a_terminal(*command: str, environment: dict[str, str]) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=os.environ | environment)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # nobody has the other end any more
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    assert run.wait(timeout=60) == 0
    return said.decode()


# As the command line does it, with a verb that takes longer than a moment.
SLOW = """
import sys, time
from l1dflush.cli import main, progress
from l1dflush.cli.output import Outcome
progress.DELAY_SECONDS = 0.05
def slow(_):
    with progress.progress("working ..."):
        time.sleep(1.0)
    with progress.bar("counting", 3) as done:
        done(3)
    return Outcome(0, "done\\n")
main._outcome = slow
sys.exit(main.run())
"""


@pytest.mark.parametrize(
    ("options", "environment"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})]
)
def test_without_colour_a_terminal_gets_nothing_but_text(options: list[str], environment: dict[str, str]) -> None:
    terminal = {"TERM": "xterm", "NO_COLOR": ""} | environment
    said = on_a_terminal(sys.executable, "-c", SLOW, *options, environment=terminal)
    assert said.splitlines() == ["working ...", "counting ...", "done"]


@pytest.mark.parametrize("options", [[], ["--", "--no-color"]])
def test_else_there_is_a_sign_of_life_that_moves(options: list[str]) -> None:
    said = on_a_terminal(sys.executable, "-c", SLOW, *options, environment={"TERM": "xterm", "NO_COLOR": ""})
    assert "\x1b[" in said and said.splitlines()[-1].endswith("done")


def test_too_many_paths_always_has_a_hint() -> None:
    def hint(*sources: str) -> str | None:
        stop = Stop("too-many-paths", None, sources, unknown=True)
        return undecided(stop, TraceOptions(), "0x0", (), lambda _: False).hint

    assert hint("rsi") == "--bind rsi=VALUE"
    for source in ("[rdi+0x8]", "rdtsc result", "what f returned", "gs:0x28"):
        assert hint(source) == "--max-paths N, if there are not many more"


def _all_options() -> Iterator[tuple[str, click.Option]]:
    for name in VERBS:
        yield from ((name, one) for one in load(name).params if isinstance(one, click.Option))


def test_an_option_with_one_value_is_given_once() -> None:
    """Those of every verb: of two values the last one would count, and nobody be told."""
    asked = 0
    for verb, option in _all_options():
        if option.is_flag or option.multiple:
            continue
        asked += 1
        name = max(option.opts, key=len)
        outcome = answer([verb, name, "1", name, "2"])
        assert (outcome.status, outcome.message) == (1, f"{name}: it is given twice, and has one value")
    assert asked > 50


def test_it_may_be_written_in_two_ways_and_must_not(source: str) -> None:
    outcome = answer(["verify", source, "--start=any", "--start", "cold"])
    assert outcome.status == 1 and "--start: it is given twice" in outcome.message


@pytest.mark.parametrize("options", [("--cpu", "skylake", "--cpu", "haswell"), ("--json", "--json"), ("-q", "--quiet")])
def test_what_may_be_repeated_is(options: tuple[str, ...], source: str) -> None:
    assert answer(["verify", source, *options, "--buffer-size", "64K"]).status == 0


@pytest.mark.parametrize(
    "arguments",
    [("cpus", "Sky\nlake"), ("explain", "no\x1bfence"), ("help", "a\nb"), ("schema", "a\tb"), ("ver\nify",)],
)
def test_a_name_is_shown_as_it_was_written(arguments: tuple[str, ...]) -> None:
    message = answer(list(arguments)).message
    assert repr(arguments[-1]) in message and message.isprintable()


def test_hints_of_a_result_are_those_of_who_asks(tmp_path: Path) -> None:
    (tmp_path / "flush.s").write_text(TEXT.replace("add $64,%eax", "add %esi,%eax"))
    for limits, option, argument in (({"max_paths": 1}, "--max-paths N", "max_paths=N"),):
        found = l1d.verify(tmp_path / "flush.s", cpu="skylake", **limits)
        assert found.reason is not None and argument in found.reason and "--" not in found.reason
        given = [f"--{name.replace('_', '-')}={value}" for name, value in limits.items()]
        told = json.loads(str(answer(["verify", str(tmp_path / "flush.s"), "--cpu", "skylake", "--json", *given]).text))
        assert option in told["reason"]
