"""The kernel's command line, read as the kernel reads it: from left to right, each option as it comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from l1dflush.mitigation.facts import Kernel
from l1dflush.vmentry.subsystem import Boot

VECTORS = ("user_kernel", "user_user", "guest_host", "guest_guest")
"""What may attack what. ``no_cross_thread`` is not one of them: it is about SMT."""


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

    ``l1tf`` is None if no known word was given. ``nosmt``: "", "off" or "forceoff". ``others``: the last
    ``mds``, ``tsx_async_abort`` and ``mmio_stale_data`` by name; ``others_nosmt``: those that ever had ``,nosmt``.
    ``unsupported``: texts of ``mitigations=`` that the kernel complains about. ``kvm_intel``: options that modprobe
    would hand to the module. ``memory``: ``mem=`` and ``memmap=`` in their order. ``one_cpu``: ``maxcpus=`` leaves one
    CPU at boot; others may be brought up later.
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


def options(line: str) -> list[tuple[str, str | None]]:
    """The options before ``--``, in order, each with its value or None.

    A quotation mark protects blanks. Marks around a whole option or a whole value are taken off, others stay.
    """
    found: list[tuple[str, str | None]] = []
    for text in _words(line):
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
    one_cpu = False
    for name, value in options(line):
        match name.replace("-", "_"):
            case "l1tf" if value in tuple(Boot):
                l1tf = Boot(value)
            case "mitigations" if value is not None:
                mitigations.take(value)
            case "nosmt":
                # Once off for good, it stays so.
                nosmt = "forceoff" if value == "force" or nosmt == "forceoff" else "off"
            case "mds" | "tsx_async_abort" | "mmio_stale_data" as other if value in ("off", "full", "full,nosmt"):
                others[other] = value
                if value.endswith(",nosmt"):
                    others_nosmt.add(other)
            case "mem" | "memmap" as limit if value is not None:
                memory.append((limit, value))
            case "maxcpus" if value is not None and value.isdecimal() and value.isascii():
                one_cpu = int(value[:9]) < 2
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
        one_cpu=one_cpu,
    )


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


def _words(line: str) -> list[str]:
    """Split at blanks that are not between quotation marks."""
    words: list[str] = []
    word, inside = "", False
    for letter in line.split("\0", 1)[0]:
        if letter == '"':
            inside = not inside
        if letter.isspace() and not inside:
            if word:
                words.append(word)
            word = ""
        else:
            word += letter
    return [*words, word] if word else words
