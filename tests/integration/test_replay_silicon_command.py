# SPDX-License-Identifier: GPL-2.0-or-later
"""``replay --silicon`` as a command, on a region that answers like silicon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from simulated_region import SimulatedRegion

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import get_policy
from l1dflush.cli.main import main
from l1dflush.errors import UndecidedError
from l1dflush.host import l1d, this_cpu
from l1dflush.report.schemas import schema
from l1dflush.silicon.measure import clock, driven, quiet, session
from l1dflush.silicon.measure.clock import Clock
from l1dflush.silicon.measure.environment import Environment

Capture = pytest.CaptureFixture[str]
SURVIVOR = Path(__file__).parents[1] / "golden" / "inputs" / "survivor.json"
EIGHT, TWELVE = Geometry(32768, 8, 64), Geometry(49152, 12, 64)
Machine = Callable[[Geometry, SimulatedRegion], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes this machine one with another L1D."""

    def make(shape: Geometry, region: SimulatedRegion) -> None:
        there = Environment(
            cpu_name="a simulated CPU", microcode="", kernel="0", hypervisor=False, smt="", governor="", load=0.0,
            on_cpu=0, huge_page=True, clock=Clock(20.0, 1, 1.0, 1.0),
        )  # fmt: skip

        @contextmanager
        def silicon(on_cpu: int | None = None) -> Iterator[Any]:
            yield SimpleNamespace(region=region, geometry=shape, environment=there, started=0.0, doubts=lambda *_: [])

        monkeypatch.setattr(session, "silicon", silicon)
        monkeypatch.setattr(clock, "require_clock", lambda: None)
        for module in (l1d, this_cpu):
            monkeypatch.setattr(module, "l1d_geometry", lambda *_: shape)
        monkeypatch.setattr(driven, "ROUNDS", 20)
        monkeypatch.setattr(quiet, "_MOST_LOUD", 3)
        monkeypatch.setattr(quiet, "_PAUSE_SECONDS", 0.0)

    return make


def region(policy: str, ways: int, **how: float) -> SimulatedRegion:
    return SimulatedRegion(get_policy(policy, ways), **how)  # type: ignore[arg-type]


def test_one_fewer_and_exactly_as_many_on_twelve_ways(machine: Machine, capsys: Capture) -> None:
    machine(TWELVE, region("LRU3PLRU4", 12))
    assert main(["replay", "--silicon", "--policy", "LRU3PLRU4", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema("silicon")).validate(result)
    jsonschema.Draft202012Validator(schema()).validate(result)
    assert (result["needs"], result["start"], result["ways"], len(result["content"])) == (21, "any", 12, 12)
    looks = [one["seen"] for one in result["survivors"] if one["line"] == result["survivors"][0]["line"]]
    assert [look["hits"] for look in looks] == [20] * 21 + [0]
    assert (result["agreement"], result["exit_status"]) == ("as-the-model-says", 0)


def test_the_policy_of_a_cpu_in_the_catalogue(machine: Machine, capsys: Capture) -> None:
    machine(EIGHT, region("tree-PLRU", 8))
    assert main(["replay", "--silicon", "--cpu", "skylake"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("tree-PLRU (learned from silicon), 8 ways, on silicon")
    assert "13 accesses are enough from any" in out and "is seen after 13 accesses in none of 20 trials" in out


def test_a_file(machine: Machine, capsys: Capture, tmp_path: Path) -> None:
    machine(EIGHT, region("tree-PLRU", 8))
    assert main(["replay", "--silicon", str(SURVIVOR)]) == 0
    assert "silicon does as the model says" in capsys.readouterr().out
    document = json.loads(SURVIVOR.read_text())
    document["rows"][0]["counterexample"]["steps"][1]["way"] = 7
    (tmp_path / "lie.json").write_text(json.dumps(document))
    assert main(["replay", "--silicon", str(tmp_path / "lie.json")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "step 2 is not what tree-PLRU does" in err


def test_silicon_that_does_otherwise(machine: Machine, capsys: Capture) -> None:
    machine(EIGHT, region("LRU", 8))
    assert main(["replay", "--silicon", "--policy", "tree-PLRU"]) == 2
    out = " ".join(capsys.readouterr().out.split())
    assert "silicon does otherwise than the model says: old line d should still be there, and is seen after 8" in out


@pytest.mark.parametrize(("how", "cause"), [({"miss_ticks": 230.0}, "hits-like-misses"), ({"busy": 1.0}, "disturbed")])
def test_what_cannot_be_measured(how: dict[str, float], cause: str, machine: Machine, capsys: Capture) -> None:
    machine(EIGHT, region("tree-PLRU", 8, **how))
    assert main(["replay", "--silicon", "--policy", "tree-PLRU"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"l1dflush: undecided ({cause}): ") and err.count("\n") == 1


def test_where_loads_cannot_be_timed(machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    machine(EIGHT, region("tree-PLRU", 8))

    def refuse() -> None:
        raise UndecidedError("no-stable-counter", "this CPU has no stable counter")

    monkeypatch.setattr(clock, "require_clock", refuse)
    assert main(["replay", "--silicon", "--policy", "tree-PLRU"]) == 3
    assert capsys.readouterr().err == "l1dflush: undecided (no-stable-counter): this CPU has no stable counter\n"


@pytest.mark.parametrize(("policy", "cause"), [("random", "never-enough"), ("LIP", "never-enough")])
def test_what_cannot_be_driven(policy: str, cause: str, machine: Machine, capsys: Capture) -> None:
    machine(EIGHT, region("tree-PLRU", 8))
    assert main(["replay", "--silicon", "--policy", policy]) == 3
    assert f"undecided ({cause})" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--silicon", "--cpu", "ice-lake"], "Ice Lake: sets of 12 ways, and this machine's L1D has 8"),
        (["--silicon", "--policy", "nope"], "unknown replacement policy 'nope'"),
        (["--silicon", "--policy", "LRU3PLRU4"], "LRU3PLRU4 needs 12 ways, not 8"),
        (["--silicon", "--policy", "LRU", "--start", "steady"], "--start: a steady start is about flushes again"),
        (["--silicon", "--policy", "LRU", "--start", "warm"], "--start: unknown start 'warm'"),
        (["--silicon", "--policy", "LRU", str(SURVIVOR)], "--policy and a file exclude each other"),
        (["--silicon", "--row", "1"], "--row alone means nothing here: there is no FILE"),
        (["--silicon", "no-such-file"], "no-such-file: cannot be read"),
        (["--json", str(SURVIVOR)], "--json alone means nothing here: --silicon is missing"),
        (["--policy", "LRU", str(SURVIVOR)], "--policy alone means nothing here: --silicon is missing"),
        (["--on-cpu", "0", str(SURVIVOR)], "--on-cpu alone means nothing here: --silicon is missing"),
        ([], "missing argument 'FILE' (see 'l1dflush replay --help')"),
    ],
)
def test_what_is_asked_wrongly(arguments: list[str], told: str, machine: Machine, capsys: Capture) -> None:
    machine(EIGHT, region("tree-PLRU", 8))
    assert main(["replay", *arguments]) == 1
    out, err = capsys.readouterr()
    assert told in err and err.count("\n") == 1
    assert (out == "") == ("--json" not in arguments)


def test_another_number_of_ways(machine: Machine, capsys: Capture) -> None:
    machine(TWELVE, region("LRU3PLRU4", 12))
    assert main(["replay", "--silicon", str(SURVIVOR)]) == 1
    assert "the counterexample is of a set of 8 ways, and this machine's L1D has 12" in capsys.readouterr().err


def test_a_cpu_that_the_catalogue_does_not_know(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    machine(EIGHT, region("tree-PLRU", 8))
    monkeypatch.setattr(this_cpu, "signature", lambda *_: l1d.Signature("AuthenticAMD", 25, 17, 1, "AMD EPYC"))
    assert main(["replay", "--silicon"]) == 1
    err = capsys.readouterr().err
    assert "the replacement policy of this machine (Zen 4) is not known" in err and "l1dflush identify" in err


def test_ctrl_c(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(EIGHT, region("tree-PLRU", 8))

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SimulatedRegion, "run", stopped)
    assert main(["replay", "--silicon", "--policy", "tree-PLRU"]) == 130
