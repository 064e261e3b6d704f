# SPDX-License-Identifier: GPL-2.0-or-later
"""The cost of flushes: the rules of cond, the interval, times and shares, and where the flush costs come from."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from l1dflush.cache.cpus import Certainty
from l1dflush.errors import InputError
from l1dflush.report.layout import plain
from l1dflush.report.picture.cost import cost_picture
from l1dflush.report.terminal.cost import cost_lines
from l1dflush.vmentry.cost.answer import costed
from l1dflush.vmentry.cost.count import counted
from l1dflush.vmentry.cost.flushes import costs_from_file, given_costs
from l1dflush.vmentry.cost.model import CostResult
from l1dflush.vmentry.cost.reasons import Flag, bundled_rules, chosen_rules, parse_rules, reason_key
from l1dflush.vmentry.cost.stream import TraceBytes


def answer(text: str, costs: str = "linux-2018=4us,planned=500", sensitive: str = "", harmless: str = "") -> CostResult:
    data = text.encode()
    found = counted(TraceBytes("t", len(data), io.BytesIO(data)))
    rules = chosen_rules(sensitive.split(), harmless.split())
    given = [*sensitive.split(), *harmless.split()]
    return costed("t", found, list(given_costs([costs]).values()), rules, given)


def event(time: float, what: str, cpu: int = 0) -> str:
    name, _, reason = what.partition(" ")
    args = f"reason {reason} rip 0x1" if reason else "vcpu 0"
    return f"vm 1 [{cpu:03d}] {time:.6f}: kvm:{name}: {args}\n"


# --- the rules


@pytest.mark.parametrize(
    ("reason", "flag"),
    [
        ("EXTERNAL_INTERRUPT", Flag.SET),
        ("interrupt", Flag.SET),
        ("EPT_VIOLATION", Flag.MAYBE),
        ("EXIT_REASON_HLT", Flag.MAYBE),
        ("SVM_EXIT_NPF", Flag.MAYBE),
        ("exit_npf", Flag.MAYBE),
        ("VMCALL", Flag.NONE),
        ("msr", Flag.NONE),
    ],
)
def test_the_bundled_table(reason: str, flag: Flag) -> None:
    assert bundled_rules()[reason_key(reason)].flag is flag


def test_every_rule_has_a_source_and_none_is_a_guess() -> None:
    for rule in bundled_rules().values():
        assert rule.source.startswith("Linux ")
        assert rule.certainty is not Certainty.UNKNOWN


def test_what_the_user_says_wins() -> None:
    rules = chosen_rules(["EXIT_REASON_VMCALL"], ["ept_violation"])
    assert rules["vmcall"].flag is Flag.SET
    assert rules["ept_violation"].flag is Flag.NONE
    assert bundled_rules()["vmcall"].flag is Flag.NONE
    with pytest.raises(InputError, match="--harmless: 'hlt' is also --sensitive"):
        chosen_rules(["HLT"], ["hlt"])
    with pytest.raises(InputError, match="without a name"):
        chosen_rules([" "], [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("= 1", "is not TOML"),
        ("[[group]]\nreasons = []\n", "group"),
        ('[[group]]\nreasons = ["A"]\nflag = "often"\nsource = "x"\ncertainty = "measured"\n', "flag"),
        (
            '[[group]]\nreasons = ["A"]\nflag = "set"\nsource = "x"\ncertainty = "measured"\n'
            '[[group]]\nreasons = ["a"]\nflag = "none"\nsource = "x"\ncertainty = "measured"\n',
            "'a' is both",
        ),
    ],
)
def test_a_table_that_is_wrong(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_rules("mine.toml", text)


# --- the answer


def test_cond_is_an_interval() -> None:
    result = answer("1,EXTERNAL_INTERRUPT\n1.5,VMCALL\n2,EPT_VIOLATION\n2.5,NEW_ONE\n3,VMCALL\n")
    by = {one.reason: (one.cond_at_least, one.cond_at_most, one.always) for one in result.reasons}
    assert by == {
        "EXTERNAL_INTERRUPT": (1, 1, 1),
        "VMCALL": (0, 0, 2),
        "EPT_VIOLATION": (0, 1, 1),
        "NEW_ONE": (0, 1, 1),
    }
    assert (result.total.cond_at_least, result.total.cond_at_most, result.total.always) == (1, 3, 5)
    assert any("NEW_ONE" in doubt for doubt in result.doubts)
    assert result.reasons[0].reason == "VMCALL"


def test_overrides_move_the_interval() -> None:
    text = "1,VMCALL\n2,HLT\n3,ODD\n"
    result = answer(text, sensitive="VMCALL ODD", harmless="HLT NOWHERE")
    assert (result.total.cond_at_least, result.total.cond_at_most) == (2, 2)
    assert "no exit has the reason NOWHERE" in result.doubts


def test_what_the_trace_shows_counts_in_both_figures() -> None:
    text = (
        event(1, "kvm_entry")
        + event(2, "kvm_exit IO_INSTRUCTION")
        + event(2.1, "kvm_userspace_exit KVM_EXIT_IO")
        + event(2.2, "kvm_emulate_insn")
        + event(2.3, "kvm_exit HLT", 1)
        + event(2.5, "kvm_entry")
        + event(2.6, "irq_handler_entry")
        + event(3, "kvm_exit CPUID")
        + event(3.1, "local_timer_entry")
        + event(3.5, "kvm_entry")
    )
    result = answer(text)
    by = {one.reason: (one.requested, one.cond_at_least, one.cond_at_most) for one in result.reasons}
    assert by == {"IO_INSTRUCTION": (1, 1, 1), "CPUID": (1, 1, 1), "HLT": (0, 0, 1)}
    assert result.trace.interrupts_traced
    assert result.trace.guest_seconds == pytest.approx(1.5)
    assert result.trace.guest_share == pytest.approx(1.5 / (2 * 2.5))


def test_times_and_shares() -> None:
    result = answer("0,EXTERNAL_INTERRUPT,0,0\n1,VMCALL,0,1\n2,HLT,0,1\n", "linux-2018=4us,msr=0.5ms")
    assert (result.trace.seconds, result.trace.cpus, result.trace.cpu_seconds) == (2, 2, 4)
    seed, msr = result.total.losses
    assert (seed.cond_at_least_seconds, seed.cond_at_most_seconds, seed.always_seconds) == pytest.approx(
        (4e-6, 8e-6, 12e-6)
    )
    assert (msr.cond_at_least_share, msr.always_share) == pytest.approx((0.5e-3 / 4, 1.5e-3 / 4))
    for number, loss in enumerate(result.total.losses):
        assert sum(one.losses[number].always_seconds for one in result.reasons) == pytest.approx(loss.always_seconds)


def test_one_moment_has_no_shares() -> None:
    result = answer("5,HLT\n5,HLT\n")
    assert result.total.losses[0].always_share is None
    assert any("same time" in doubt for doubt in result.doubts)
    assert "milliseconds lost," in plain(cost_lines(result, 80))


def test_doubts() -> None:
    text = "".join(event(i, "kvm_exit hlt") for i in range(100))
    doubts = answer(text + "CPU:0 [LOST 4 EVENTS]\n" + event(99, "kvm_exit hlt")[:-10]).doubts
    for told in ("lost 4 events", "breaks off", "AMD"):
        assert any(told in doubt for doubt in doubts), told
    doubts = answer(text + "".join(event(100, "kvm_entry") for _ in range(10)), "linux-2018=1us").doubts
    for told in ("100 exits do not go with 10 entries", "no planned flush"):
        assert any(told in doubt for doubt in doubts), told
    doubts = answer("".join(event(i, "kvm_exit HLT").replace("[000] ", "") for i in range(3))).doubts
    assert any("does not say on which CPU" in doubt for doubt in doubts)


# --- what flushes cost


def test_given_costs() -> None:
    found = given_costs(["linux-2018=4200ns, planned=0.49us", "msr=1ms,own-2=7"])
    assert {name: one.nanoseconds for name, one in found.items()} == pytest.approx(
        {"linux-2018": 4200, "planned": 490, "msr": 1e6, "own-2": 7}
    )


@pytest.mark.parametrize(
    "text",
    ["", "own", "own=", "own=-1", "own=0ns", "own=1e3", "own=1h", "=1", "Own=1", "own=1,own=2", "seed=1"],
)
def test_costs_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--flush-cost"):
        given_costs([text])


def test_too_many_flushes() -> None:
    with pytest.raises(InputError, match="7 flushes are too many"):
        given_costs([f"f{number}=1" for number in range(7)])


def measured(**changes: object) -> str:
    environment = {
        "cpu": "", "microcode": "", "kernel": "", "hypervisor": True, "smt": "", "governor": "", "load": 0.0,
        "on_cpu": 0, "huge_page": True, "counter_step": 1, "counter_empty": 1.0, "ticks_per_cycle": 1.0,
        "ticks_per_ns": 1.0, "trials": 1, "dropped": 0, "seconds": 1.0, "doubts": [],
    }  # fmt: skip

    def cost(loop: str, size: int, before: str, nanoseconds: float) -> dict[str, object]:
        return {
            "variant": loop, "loop": loop, "size": size, "before": before, "cycles": 1.0, "cycles_low": 1.0,
            "cycles_high": 1.0, "nanoseconds": nanoseconds, "bytes_per_cycle": 1.0, "trials": 1,
        }  # fmt: skip

    costs = [
        cost("linux-2018", 65536, "flushed", 1), cost("linux-2018", 65536, "clean", 2),
        cost("planned", 65536, "clean", 3), cost("planned", 53248, "clean", 4), cost("planned", 53248, "dirty", 5),
    ]  # fmt: skip
    result: dict[str, object] = {
        "tool_version": "0", "environment": environment, "geometry": {"size": 32768, "ways": 8, "line": 64, "sets": 64},
        "title": "", "policy": None, "planned": 53248, "seed": 1, "levels": None, "survivors": [], "costs": costs,
        "ratios": [], "interrupted": False, "exit_status": 0,
    }  # fmt: skip
    return json.dumps(result | changes)


def test_costs_from_a_measurement(tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text(measured())
    found = costs_from_file(file)
    assert {name: one.nanoseconds for name, one in found.items()} == {"linux-2018": 2, "planned": 4}
    assert all(one.in_guest and "m.json" in one.source for one in found.values())
    file.write_text(measured(planned=None))
    assert set(costs_from_file(file)) == {"linux-2018"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "not a result of 'l1dflush measure --json'"),
        ("hello", "not a result of"),
        (measured(costs=[]), "no costs were measured"),
        (measured().replace('"linux-2018"', '"seed"'), "earlier version wrote it: 'seed' is called 'linux-2018' now"),
        (measured(costs=[json.loads(measured())["costs"][0]]), "neither Linux's 2018 flush nor a planned one"),
    ],
)
def test_files_without_costs(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(InputError, match=told):
        costs_from_file(tmp_path / "m.json")
    with pytest.raises(InputError, match="No such file"):
        costs_from_file(tmp_path / "none")


# --- for a person


def test_the_report_fits_and_leaves_nothing_out() -> None:
    rows = "".join(f"{i},REASON_NUMBER_{i % 40:02d}_\x1b[31m_LONG\n" for i in range(400))
    result = answer(rows + "500,HLT\n", "linux-2018=4us,planned=490,msr=1,own-name-12=2,e=3,f=4")
    text = plain(cost_lines(result, 80))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "25 others" in text
    assert all(flush.name in text.replace("\n", "") or flush.name[:9] in text for flush in result.flushes)


@pytest.mark.parametrize("form", ["svg", "png"])
def test_the_picture_is_the_same_each_time(form: str) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib")
    result = answer("1,HLT\n2,CPUID\n3,$x^{\n3,EXTERNAL_INTERRUPT\n")
    picture = cost_picture(result, form)
    assert picture == cost_picture(result, form)
    assert picture.startswith(b"<?xml" if form == "svg" else b"\x89PNG")
