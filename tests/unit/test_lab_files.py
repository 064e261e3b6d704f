# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios as text: what is read, and what is refused, with the line that is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1dflush.errors import InputError
from l1dflush.vmentry.lab.scenario import read_scenario, shipped
from l1dflush.vmentry.lab.script import Accesses, Step, memories, parsed
from l1dflush.vmentry.subsystem import WRITABLE, Event

# --- scripts


def test_every_step() -> None:
    steps = parsed(
        """
        touch a            # all of it
        touch a 7 random
        invalidate a 2-5
        nmi b
        sibling b 0-0

        replay a
        worst
        write cond
        repeat 3
          repeat 2
            enter
          end
        end
        """
    )
    whole, some, span, late, beside, replayed, worst, write, outer = steps
    assert whole == Step("touch", 2, Accesses("a"))
    assert some.accesses == Accesses("a", count=7)
    assert (span.verb, span.accesses) == ("invalidate", Accesses("a", first=2, last=5))
    assert (late.verb, beside.verb, beside.accesses) == ("nmi", "sibling", Accesses("b", first=0, last=0))
    assert (replayed.verb, replayed.accesses, worst.verb, write.word) == ("replay", Accesses("a"), "worst", "cond")
    assert (outer.times, outer.line) == (3, 11)
    assert outer.steps == (Step("repeat", 12, times=2, steps=(Step("enter", 13),)),)
    assert [(step.line, of.memory) for step, of in memories(steps)] == [
        (2, "a"), (3, "a"), (4, "a"), (5, "b"), (6, "b"), (8, "a"),
    ]  # fmt: skip
    assert parsed("") == parsed("# nothing\n\r\n") == ()


def test_every_event_and_mode_is_a_word_of_the_language() -> None:
    for event in Event:
        assert parsed(f"event {event}")[0].word == event
    for mode in WRITABLE:
        assert parsed(f"write {mode}")[0].word == mode


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("enter\nleave", "script:2: 'leave' is not a step (there are touch, replay,"),
        ("enter now", "script:1: 'enter now' is not a step"),
        ("touch", "script:1: 'touch' is not a step"),
        ("event", "script:1: which event? (run, scheduled-in,"),
        ("event run away", "script:1: which event?"),
        ("event RUN", "script:1: which event?"),
        ("write", "script:1: which mode? (auto, never, cond, always)"),
        ("write EPT disabled", "script:1: which mode?"),
        ("write off", "script:1: which mode?"),
        ("\n\ntouch a 5", "script:3: '5' are not lines (like 300 random"),
        ("touch a 5-4", "script:1: '5-4' are not lines"),
        ("touch a -1-4", "script:1: '-1-4' are not lines"),
        ("touch a 1-2 random", "script:1: '1-2 random' are not lines"),
        ("touch a 1000001 random", "script:1: '1000001 random' are not lines (like 300 random (at most 1000000)"),
        ("replay a 0-3", "script:1: 'replay a 0-3' is not a step"),
        ("repeat 3\nenter", "script:1: a repeat without its end"),
        ("repeat 3\nrepeat 2\nenter\nend", "script:1: a repeat without its end"),
        ("enter\nend\nenter", "script:2: end of what? (every end belongs to a repeat)"),
        ("end now", "script:1: 'end now' is not a step"),
        ("repeat\nenter\nend", "script:1: how many times? (repeat N, up to 1000000)"),
        ("repeat 0\nenter\nend", "script:1: how many times?"),
        ("repeat -1\nenter\nend", "script:1: how many times?"),
        ("repeat 1000001\nend", "script:1: how many times?"),
        ("repeat 99999999999999999999\nend", "script:1: how many times?"),
        ("repeat 1000\nrepeat 1001\nenter\nend\nend", "script: 1001000 steps with all repeats (at most 1000000)"),
        ("repeat 1000\nrepeat 1001\nend\nend", "script: 1001000 steps with all repeats"),
        ("repeat 2\n" * 9 + "end\n" * 9, "script:9: too many repeats within each other (at most 8)"),
        ("repeat 2\n" * 50_000, "script:9: too many repeats"),
        ("enter\n" * 100_001, "script: a script of 100001 lines (at most 100000)"),
        ("a" * 1000, "script:1: '" + "a" * 60 + "' is not a step"),
        ("touch a \x1b[31m", "script:1: ' [31m' are not lines"),
        # To an editor this is one line.
        ("# one\u2028leave\x0b\x85leave\nleave", "script:2: 'leave' is not a step"),
    ],
)
def test_scripts_that_are_refused(text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        parsed(text)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)


def test_the_deepest_and_the_longest() -> None:
    assert len(parsed("enter\n" * 100_000)) == 100_000
    (step,) = parsed("repeat 2\n" * 8 + "enter\n" + "end\n" * 8)
    for _ in range(7):
        (step,) = step.steps
    assert step.steps == (Step("enter", 9),)
    assert parsed("repeat 1000000\nenter\nend")[0].times == 1_000_000


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                ["repeat", "end", "touch", "nmi", "event", "run", "enter", "a", "2", "1-3", "random", "#", "٣"]
            )
            | st.text(max_size=3),
            max_size=4,
        ).map(" ".join),
        max_size=12,
    ).map("\n".join)
)
def test_any_text_is_a_script_or_one_line(text: str) -> None:
    try:
        parsed(text)
    except InputError as error:
        assert str(error).isprintable()


# --- files

GOOD = """
title = "made"
script = "enter"
[memory]
vault = { size = "4K", secret = true }
"""


def written(folder: Path, text: str | bytes) -> str:
    file = folder / "made.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(InputError) as error:
        read_scenario(written(folder, text))
    said = str(error.value)
    assert said.isprintable() and said.startswith(f"{folder}/made.toml: ")
    return said.removeprefix(f"{folder}/made.toml: ")


def test_a_file_with_little_in_it(tmp_path: Path) -> None:
    scenario = read_scenario(written(tmp_path, GOOD))
    assert (scenario.name, scenario.sizes, scenario.traces) == ("made", {"vault": 4096}, {})
    assert scenario.file.flush.mode == "always" and scenario.file.machine.cpu == "skylake"


def test_every_shipped_one_can_be_read() -> None:
    assert "linux-2018" in shipped()
    with pytest.raises(InputError, match="'seed-story' is called 'linux-2018' now"):
        read_scenario("seed-story")
    for name in shipped():
        scenario = read_scenario(name)
        assert scenario.name == name and scenario.steps and scenario.file.text.strip()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "title: Field required ('l1dflush help lab' describes the file)"),
        (b"\xff\xfe", "this is not TOML: 'utf-8' codec can't decode"),
        (b"\x00", "this is not TOML: Invalid statement"),
        ("a = " + "[" * 100_000, "this is not TOML: "),
        (b"a" * (4 << 20) + b"a", "more than 4 MiB"),
        (GOOD + GOOD, "this is not TOML: Cannot declare ('memory',) twice"),
        (GOOD.replace("script", "scripts"), "script: Field required"),
        (GOOD + "[machine]\nspeed = 3\n", "machine.speed: Extra inputs are not permitted"),
        (GOOD + '[machine]\nsmt = "perhaps"\n', "machine.smt: Input should be a valid boolean"),
        (GOOD + '[flush]\nmode = "sometimes"\n', "flush.mode: Input should be 'auto', 'never',"),
        (GOOD + '[flush]\nmode = "EPT disabled"\n', "flush.mode: 'EPT disabled' can only be read"),
        (GOOD + '[flush]\nboot = "fast"\n', "flush.boot: Input should be 'off',"),
        (GOOD + "[machine]\nload_list = true\n", "machine.load_list: only the command can be in the entry's load list"),
        (GOOD.replace('"4K"', '"4Q"'), "memory.vault: '4Q' is not a size"),
        (GOOD.replace('"4K"', '"0"'), "memory.vault: '0' of memory (up to 16 MiB)"),
        (GOOD.replace('"4K"', '"17M"'), "memory.vault: '17M' of memory"),
        (GOOD.replace("vault", "buffer"), "memory: no memory is called buffer: that is the flush's"),
        (GOOD.replace('"enter"', '"touch heap"'), "script:1: no memory is called 'heap' (there are vault, buffer)"),
        (GOOD.replace('"enter"', '"enter\\nleave"'), "script:2: 'leave' is not a step"),
        (GOOD.replace('"enter"', '"\\ntouch vault 0-64"'), "script:2: vault has 64 lines (they are numbered from 0)"),
        (GOOD.replace('"enter"', '"replay vault"'), "script:1: vault has no trace"),
        (GOOD.replace('"enter"', '"replay buffer"'), "script:1: buffer has no trace"),
        ("seed = -1" + GOOD, "seed: Input should be greater than or equal to 0"),
        ("seed = 4294967296" + GOOD, "seed: Input should be less than 4294967296"),
        (GOOD.replace("vault", '"\\u001b[31m"').replace("4K", "no"), "memory. [31m: 'no' is not a size"),
        (GOOD + '"\\n" = 3', "memory. : Input should be a valid dictionary"),
    ],
)
def test_files_that_are_refused(text: str | bytes, told: str, tmp_path: Path) -> None:
    assert refused(tmp_path, text).startswith(told)


@pytest.mark.parametrize("name", ["", ".", "nowhere.toml", "a\x00b", "/", "../linux-2018", "x" * 5000])
def test_what_is_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = r"(cannot be read: .*|this is a directory) \(a file, or one of cond-no-flag, "
    with pytest.raises(InputError, match=told) as error:
        read_scenario(name)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "its trace has 0 accesses (1 to 1000000 can be replayed)"),
        (b"# nothing\n\n", "its trace has 0 accesses"),
        (
            b"0\n64\n4096\n",
            "its trace, line 3: '4096' is not an offset in it (from 0 to 4095, decimal",
        ),
        (b"0\n-1\n", "its trace, line 2: '-1' is not an offset in it"),
        (b"0x1000\n", "its trace, line 1: '0x1000' is not an offset in it"),
        (b"1 2\n", "its trace, line 1: '1 2' is not an offset in it"),
        (b"\x7fELF\x02\x01\x01\x00\x1b[31m", "its trace, line 1: '"),
        (b"9" * 5000, "its trace, line 1: '" + "9" * 20 + "' is not an offset in it"),
        (b"1\n" * 1_000_001, "its trace has 1000001 accesses"),
        (b"#" * (32 << 20) + b"#", "its trace: more than 32 MiB"),
        (None, "its trace: cannot be read: No such file or directory"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_traces_that_are_refused(content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "trace.txt").write_bytes(content)
    said = refused(tmp_path, GOOD.replace("secret = true", 'trace = "trace.txt"'))
    assert said.removeprefix("memory.vault: ").startswith(told)


def test_more_traces_that_are_none(tmp_path: Path) -> None:
    for name, told in (
        (".", "this is a directory (give a regular file)"),
        ("a\\u0000", "cannot be read: embedded null byte"),
        ("t" * 5000, "cannot be read: File name too long"),
    ):
        said = refused(tmp_path, GOOD.replace("secret = true", f'trace = "{name}"'))
        assert said == f"memory.vault: its trace: {told}"
    if Path("/dev/zero").exists() and os.name == "posix":
        said = refused(tmp_path, GOOD.replace("secret = true", 'trace = "/dev/zero"'))
        assert said == "memory.vault: its trace: this is a device (give a regular file)"


def test_a_trace_lies_beside_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trace.txt").write_text("0\n0x40 # a comment\n\n  100\r\n4095")
    scenario = read_scenario(written(tmp_path, GOOD.replace("secret = true", 'trace = "trace.txt"')))
    assert scenario.traces["vault"].tolist() == [0, 64, 100, 4095]
    monkeypatch.chdir("/")
    assert read_scenario(str(tmp_path / "made.toml")).traces["vault"].tolist() == [0, 64, 100, 4095]


def test_a_shipped_name_comes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nested").write_text(GOOD)
    assert read_scenario("nested").file.title != "made"
    assert read_scenario("./nested").file.title == "made"
