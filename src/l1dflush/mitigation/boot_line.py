# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's command line, read as the kernel reads it: from left to right, each option as it comes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from l1dflush.mitigation.facts import Kernel
from l1dflush.vmentry.subsystem import Boot

VECTORS = ("user_kernel", "user_user", "guest_host", "guest_guest")
"""What may attack what. ``no_cross_thread`` is not one of them: it is about SMT."""

_MITIGATIONS = {(4, 4): 180, (4, 9): 176, (4, 14): 119, (4, 19): 43, (5, 0): 16, (5, 1): 2}
"""Stable versions that know ``mitigations=`` (5.2): 'x86/speculation: Support 'mitigations=' cmdline option' came with
the patches for MDS of May 2019, read in the announcement of each of these."""
_SPACES = " \t\n\v\f\r\xa0"
"""What is a blank to the kernel, whose characters are those of Latin 1."""
_NUMBER = re.compile(r"(-?)(?:0[xX]([0-9a-fA-F]+)|([0-9]+))")

_OFF_OR_FULL = frozenset({"off", "full", "full,nosmt"})
_OTHERS = {
    "mds": _OFF_OR_FULL,
    "tsx_async_abort": _OFF_OR_FULL,
    "mmio_stale_data": _OFF_OR_FULL,
    "reg_file_data_sampling": frozenset({"off", "on"}),
}
_RETBLEED = frozenset({"off", "auto", "unret", "ibpb", "stuff"})


class Global(StrEnum):
    """The first word of ``mitigations=``."""

    AUTO = "auto"
    AUTO_NOSMT = "auto,nosmt"
    OFF = "off"


class CrossThread(StrEnum):
    """What may be done about attacks from thread to thread (6.17): ``on`` may turn SMT off."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class BootLine:
    """What of a command line matters here.

    ``l1tf`` is None if no known word was given. ``nosmt``: "", "off" or "forceoff". ``others``: the last known word of
    options for other bugs, by name; ``others_nosmt``: those that ever had ``nosmt``.
    ``unsupported``: texts of ``mitigations=`` that the kernel complains about. ``kvm_intel``: options that modprobe
    would hand to the module. ``memory``: ``mem=`` and ``memmap=`` in their order. ``one_cpu``: boot starts one CPU only
    (``maxcpus=1``); ``only_cpu``: and no other can follow (``nosmp``, ``maxcpus=0``, ``nr_cpus=1``).
    """

    l1tf: Boot | None = None
    mitigations: Global = Global.AUTO
    vectors: frozenset[str] = frozenset(VECTORS)
    cross_thread: CrossThread = CrossThread.AUTO
    nosmt: str = ""
    others: dict[str, str] = field(default_factory=dict)
    others_nosmt: frozenset[str] = frozenset()
    unsupported: tuple[str, ...] = ()
    kvm_intel: tuple[str, ...] = ()
    memory: tuple[tuple[str, str], ...] = ()
    switches: frozenset[str] = frozenset()
    one_cpu: bool = False
    only_cpu: bool = False


def options(line: str) -> list[tuple[str, str | None]]:
    """The options before ``--``, in order, each with its value or None.

    A quotation mark protects blanks. Marks around a whole option or a whole value are taken off, others stay.
    """
    found: list[tuple[str, str | None]] = []
    for text in words(line):
        word = text
        if word == "--":
            break
        quoted = word.startswith('"')
        if quoted:
            word = word[1:]
        name, equals, value = word.partition("=")
        if equals and value.startswith('"'):
            value, quoted = value[1:], True
        if quoted and (value or name).endswith('"'):
            if equals:
                value = value[:-1]
            else:
                name = name[:-1]
        if name:
            found.append((name, value if equals else None))
    return found


def parse(line: str, kernel: Kernel) -> BootLine:
    """What ``kernel`` makes of ``line``."""
    l1tf: Boot | None = None
    mitigations = _Mitigations(kernel)
    nosmt = ""
    others: dict[str, str] = {}
    others_nosmt: set[str] = set()
    module: list[str] = []
    memory: list[tuple[str, str]] = []
    switches: set[str] = set()
    cpus = _Cpus()
    for name, value in options(line):
        match name.replace("-", "_"):
            case "l1tf" if value in tuple(Boot):
                l1tf = Boot(value)
            case "mitigations" if value is not None:
                mitigations.take(value)
            case "nosmt":
                # Once off for good, it stays so.
                nosmt = "forceoff" if value == "force" or nosmt == "forceoff" else "off"
            case other if other in _OTHERS and value in _OTHERS[other]:
                others[other] = value
                if value.endswith(",nosmt"):
                    others_nosmt.add(other)
            case "retbleed" if value is not None:
                for word in value.split(","):
                    if word in _RETBLEED:
                        others["retbleed"] = word
                    elif word == "nosmt":
                        others_nosmt.add("retbleed")
            case "mem" | "memmap" as limit if value is not None:
                memory.append((limit, value))
            case "nosmp" | "maxcpus" | "nr_cpus" | "possible_cpus" as limit:
                cpus.take(limit, value)
            case "no_rfi_flush" | "nopti" | "no_entry_flush" | "no_uaccess_flush" as switch:
                switches.add(switch)
            case underscored if underscored.startswith("kvm_intel."):
                option = underscored.removeprefix("kvm_intel.")
                module.append(option if value is None else f"{option}={value}")
            case _:
                pass
    return BootLine(
        l1tf=l1tf,
        mitigations=mitigations.word,
        vectors=frozenset(mitigations.vectors),
        cross_thread=mitigations.cross_thread,
        nosmt=nosmt,
        others=others,
        others_nosmt=frozenset(others_nosmt),
        unsupported=tuple(mitigations.unsupported),
        kvm_intel=tuple(module),
        memory=tuple(memory),
        switches=frozenset(switches),
        one_cpu=cpus.started < 2 or cpus.possible < 2,
        only_cpu=cpus.possible < 2,
    )


class _Cpus:
    """How many CPUs there may be and how many of them boot starts."""

    def __init__(self) -> None:
        self.started = self.possible = 1 << 32

    def take(self, name: str, value: str | None) -> None:
        number = 0 if name == "nosmp" else _number(value)
        if number is None:
            return
        if name in ("nosmp", "maxcpus"):
            # It is unsigned, so that less than none is a great many.
            self.started = number % (1 << 32)
            if self.started == 0:
                self.possible = 1
        elif number > 0:
            self.possible = min(self.possible, number)


def _number(value: str | None) -> int | None:
    """As get_option of ``lib/cmdline.c`` reads it: None is no text at all, and a text that is not a number is 0."""
    if not value:
        return None
    found = _NUMBER.match(value)
    if found is None:
        return 0
    if found[2] is not None:
        number = int(found[2], 16)
    elif found[3].startswith("0"):
        digits = re.match("[0-7]*", found[3])
        number = int(digits[0] or "0", 8) if digits else 0
    else:
        number = int(found[3][:18])
    return -number if found[1] else number


class _Mitigations:
    """``mitigations=``, one after the other. Nothing puts back what an earlier one took away."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.word = Global.AUTO
        self.vectors = set(VECTORS)
        self.cross_thread = CrossThread.AUTO
        self.unsupported: list[str] = []
        if not kernel.mitigations:
            self._off()

    def take(self, value: str) -> None:
        if not self.kernel.carries((5, 2), _MITIGATIONS):
            return
        if not self.kernel.mitigations:
            self.unsupported.append(value)
        elif self.kernel.since(6, 17):
            self._with_vectors(value)
        elif value in tuple(Global):
            self.word = Global(value)
        else:
            self.unsupported.append(value)

    def _with_vectors(self, value: str) -> None:
        rest = value
        for word in (Global.AUTO_NOSMT, Global.AUTO, Global.OFF):
            if value.startswith(word):
                self.word, rest = word, value[len(word) :]
                break
        if self.word is Global.OFF:
            self._off()
        elif self.word is Global.AUTO_NOSMT:
            self.cross_thread = CrossThread.ON
        if not rest:
            return
        if not rest.startswith(","):
            self.unsupported.append(value)
            return
        for switch in rest[1:].split(","):
            if switch == "no_cross_thread":
                self.cross_thread = CrossThread.OFF
            elif switch.startswith("no_") and switch[3:] in VECTORS:
                self.vectors.discard(switch[3:])
            else:
                self.unsupported.append(switch)
                return

    def _off(self) -> None:
        self.word = Global.OFF
        self.vectors.clear()
        self.cross_thread = CrossThread.OFF


def words(line: str) -> list[str]:
    """The line split at blanks that are not between quotation marks; all of it, with the marks."""
    found: list[str] = []
    word, inside = "", False
    for letter in line.split("\0", 1)[0]:
        if letter == '"':
            inside = not inside
        if letter in _SPACES and not inside:
            if word:
                found.append(word)
            word = ""
        else:
            word += letter
    return [*found, word] if word else found
