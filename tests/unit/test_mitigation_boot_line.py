# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel makes of its command line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mitigation_facts import SMT2, VERSIONS, loaded, on, write

from l1dflush.mitigation import rules
from l1dflush.mitigation.boot_line import VECTORS, CrossThread, Global, options, parse
from l1dflush.mitigation.decision import decide
from l1dflush.mitigation.facts import Control, Facts, Kernel
from l1dflush.vmentry.subsystem import Boot, Mode


@pytest.mark.parametrize(
    ("line", "l1tf", "smt"),
    [
        ("", Boot.FLUSH, Control.ON),
        ("l1tf=off", Boot.OFF, Control.ON),
        ("l1tf=flush,nowarn", Boot.FLUSH_NOWARN, Control.ON),
        ("l1tf=flush,nosmt", Boot.FLUSH_NOSMT, Control.OFF),
        ("l1tf=full", Boot.FULL, Control.OFF),
        ("l1tf=full,force", Boot.FULL_FORCE, Control.FORCE_OFF),
        ("l1tf=FULL l1tf l1tf=", Boot.FLUSH, Control.ON),
        ("l1tf=full l1tf=nonsense", Boot.FULL, Control.OFF),
        ("l1tf=full,force l1tf=off", Boot.OFF, Control.ON),
        ('"l1tf=full" quiet', Boot.FULL, Control.OFF),
        ('l1tf="full,force"', Boot.FULL_FORCE, Control.FORCE_OFF),
        ("quiet -- l1tf=off", Boot.FLUSH, Control.ON),
        ('dyndbg="file l1tf=off +p"', Boot.FLUSH, Control.ON),
        ("nosmt", Boot.FLUSH, Control.OFF),
        ("nosmt=force nosmt", Boot.FLUSH, Control.FORCE_OFF),
        ("nosmt nosmt=force", Boot.FLUSH, Control.FORCE_OFF),
        ("nosmt l1tf=full,force", Boot.FULL_FORCE, Control.FORCE_OFF),
        ("nosmt=force l1tf=full", Boot.FULL, Control.FORCE_OFF),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_boot_line(version: str, line: str, l1tf: Boot, smt: Control) -> None:
    decision = decide(on(version, line))
    assert (decision.l1tf, decision.smt) == (l1tf, smt)


@pytest.mark.parametrize(
    ("line", "up_to_6_15", "in_6_16", "since_6_17"),
    [
        ("mitigations=off", Boot.OFF, Boot.OFF, Boot.OFF),
        ("mitigations=off l1tf=full", Boot.OFF, Boot.OFF, Boot.FULL),
        ("l1tf=full,force mitigations=off", Boot.OFF, Boot.OFF, Boot.FULL_FORCE),
        ("mitigations=auto,nosmt", Boot.FLUSH_NOSMT, Boot.FLUSH_NOSMT, Boot.FLUSH_NOSMT),
        ("mitigations=auto,nosmt l1tf=off", Boot.FLUSH_NOSMT, Boot.OFF, Boot.OFF),
        ("mitigations=auto,nosmt l1tf=full,force", Boot.FLUSH_NOSMT, Boot.FULL_FORCE, Boot.FULL_FORCE),
        # The last word counts, but since 6.17 nothing gives back the attack vectors that off took away.
        ("mitigations=off mitigations=auto", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
        ("mitigations=auto,nosmt mitigations=auto", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH_NOSMT),
        ("mitigations=off mitigations=auto,nosmt", Boot.FLUSH_NOSMT, Boot.FLUSH_NOSMT, Boot.OFF),
        ("mitigations=none", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        # Since 6.17 the first word is taken by its beginning.
        ("mitigations=offside", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
        ("mitigations=auto,no_user_kernel", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=auto,no_user_kernel,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
        ("mitigations=auto;no_user_kernel,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=auto,no_user_kernel mitigations=auto,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
        ("mitigations=auto,no_user_kernel,no_guest_host l1tf=flush", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=auto,no_user_kernel,typo,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=auto,nosmt,no_cross_thread", Boot.FLUSH, Boot.FLUSH, Boot.FLUSH),
        ("mitigations=,no_user_kernel,no_guest_host", Boot.FLUSH, Boot.FLUSH, Boot.OFF),
    ],
)
def test_contradictory_options_are_settled_as_by_the_kernel(
    line: str, up_to_6_15: Boot, in_6_16: Boot, since_6_17: Boot
) -> None:
    for version in VERSIONS[2:]:
        kernel = Kernel.parse(version)
        expected = since_6_17 if kernel.since(6, 17) else in_6_16 if kernel.since(6, 16) else up_to_6_15
        assert decide(on(version, line)).l1tf is expected, version


def test_the_vectors() -> None:
    kernel = Kernel.parse("7.2.13")
    assert parse("", kernel).vectors == frozenset(VECTORS)
    line = parse("mitigations=auto,nosmt,no_user_user,no_guest_guest", kernel)
    assert line.vectors == {"user_kernel", "guest_host"}
    assert (line.mitigations, line.cross_thread) == (Global.AUTO_NOSMT, CrossThread.ON)
    assert parse("mitigations=auto;x mitigations=auto,x", kernel).unsupported == ("auto;x", "x")


def test_configuration() -> None:
    without = Kernel((6, 16, 0), l1tf=False)
    assert decide(Facts(without, SMT2)).l1tf is Boot.OFF
    assert decide(Facts(without, SMT2, "l1tf=flush")).l1tf is Boot.FLUSH
    assert decide(Facts(replace(without, version=(6, 12, 0)), SMT2)).l1tf is Boot.FLUSH
    none = Facts(Kernel((7, 2, 13), mitigations=False), SMT2, "mitigations=auto l1tf=full")
    decision = loaded(none, "", write("always"), write("anything"))
    assert (decision.mode, decision.flushes, decision.rule) == (Mode.NEVER, Mode.NEVER, rules.COMPILED_OUT)
    assert [one.result for one in decision.results] == ["ok"] * 3
    assert decision.log == ("kvm_intel: Kernel compiled without mitigations, ignoring vmentry_l1d_flush",)


def test_options() -> None:
    assert options('a b= "c=d e" f="g h" =x -- z') == [("a", None), ("b", ""), ("c", "d e"), ("f", "g h")]
    assert parse("kvm-intel.ept=0 kvm_intel.vmentry-l1d-flush=cond", Kernel.parse("6.1")).kvm_intel == (
        "ept=0",
        "vmentry_l1d_flush=cond",
    )


@pytest.mark.parametrize("version", ["4.9.120", "4.19.42", "5.1.1", "5.0.15"])
def test_mitigations_before_it_was_known(version: str) -> None:
    """It came with the patches for MDS; an unknown option is not even complained about."""
    for line in ("mitigations=off", "mitigations=auto,nosmt"):
        assert decide(on(version, line)).l1tf is Boot.FLUSH
        assert not parse(line, Kernel.parse(version)).unsupported
    assert decide(on("4.19.0-27-amd64", "mitigations=off")).l1tf is Boot.OFF, "a distribution that hides its version"


@pytest.mark.parametrize(
    ("line", "l1tf", "smt"),
    [
        ("l1tf=full,force,", Boot.FLUSH, Control.ON),
        ("l1tf=flush,nosmt,foo", Boot.FLUSH, Control.ON),
        ("l1tf= l1tf", Boot.FLUSH, Control.ON),
        ("L1TF=full L1tf=off", Boot.FLUSH, Control.ON),
        ("nosmt=FORCE", Boot.FLUSH, Control.OFF),
        ("nosmt=forceful", Boot.FLUSH, Control.OFF),
        ("nosmt=", Boot.FLUSH, Control.OFF),
        ("NOSMT no-smt no_smt", Boot.FLUSH, Control.ON),
        ("mitigations=OFF Mitigations=off mitigations", Boot.FLUSH, Control.ON),
        ('mitigations="auto,nosmt"', Boot.FLUSH_NOSMT, Control.OFF),
        ("l1tf='full'", Boot.FLUSH, Control.ON),
        ("a\tl1tf=full\nb", Boot.FULL, Control.OFF),
        ("l1tf=full\u2003", Boot.FLUSH, Control.ON),
        ("-- l1tf=full", Boot.FLUSH, Control.ON),
        ("--=x l1tf=full", Boot.FULL, Control.OFF),
        ('"l1tf=full quiet', Boot.FLUSH, Control.ON),
    ],
)
@pytest.mark.parametrize("version", VERSIONS[2:])
def test_words_are_taken_exactly(version: str, line: str, l1tf: Boot, smt: Control) -> None:
    decision = decide(on(version, line))
    assert (decision.l1tf, decision.smt) == (l1tf, smt)


@pytest.mark.parametrize(
    ("line", "one", "only"),
    [
        ("", False, False),
        ("maxcpus=1", True, False),
        ("maxcpus=1 maxcpus=2", False, False),
        ("maxcpus=0", True, True),
        ("maxcpus=0 maxcpus=2", True, True),
        ("maxcpus=many", True, True),
        ("maxcpus= maxcpus", False, False),
        ("maxcpus=-1", False, False),
        ("maxcpus=0x1", True, False),
        ("maxcpus=02", False, False),
        ("maxcpus=08", True, True),
        ("maxcpus=1,5", True, False),
        ("maxcpus=4294967296", True, True),
        ("nosmp", True, True),
        ("nr-cpus=1", True, True),
        ("nr_cpus=1 nr_cpus=8", True, True),
        ("nr_cpus=0 nr_cpus=-1 nr_cpus=x nr_cpus", False, False),
        ("possible_cpus=1", True, True),
    ],
)
def test_how_many_cpus(line: str, one: bool, only: bool) -> None:
    read = parse(line, Kernel.parse("6.1"))
    assert (read.one_cpu, read.only_cpu) == (one, only)


def test_options_for_other_bugs() -> None:
    read = parse("mds=full,nosmt mds=off mds=on retbleed=unret,nosmt,x retbleed=auto", Kernel.parse("6.1"))
    assert read.others == {"mds": "off", "retbleed": "auto"}
    assert read.others_nosmt == {"mds", "retbleed"}
