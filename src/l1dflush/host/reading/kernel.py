# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read of the kernel: its name, how it was built and started, and where RAM ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from l1dflush.errors import InputError
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.files import MOST_BYTES, NO_FILE, HostFiles, UnreadableError
from l1dflush.host.reading.host_facts import KernelSays
from l1dflush.host.reading.registers import LOCKDOWN, chosen
from l1dflush.host.reading.text import first_known, read_fact, text, text_fact, understood
from l1dflush.routine.compressed import unpack
from l1dflush.routine.detect import compression

SMT_CONTROL = "/sys/devices/system/cpu/smt/control"
SYMBOLS = (
    "CONFIG_CPU_MITIGATIONS", "CONFIG_SPECULATION_MITIGATIONS", "CONFIG_MITIGATION_L1TF", "CONFIG_KVM_INTEL",
    "CONFIG_HOTPLUG_SMT", "CONFIG_PGTABLE_LEVELS", "CONFIG_X86_64", "CONFIG_X86_32", "CONFIG_X86_PAE",
)  # fmt: skip
"""All that is looked at in a configuration."""
CONFIG_HERE = "/proc/config.gz"
CONFIG_FILES = (("/boot/config-", ""), ("/lib/modules/", "/config"), ("/usr/lib/modules/", "/config"))
"""Where a kernel's configuration is, with its release in between."""
IOMEM = "/proc/iomem"
RAM = " : System RAM"

_VERSION = "/proc/version"
_UNAME = "uname"
_PAGE = 4096
# It becomes a part of a path.
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")
_SETTING = re.compile(r"(?m)^(?:(CONFIG_\w{1,100})=([^\r\n]{0,200})|# (CONFIG_\w{1,100}) is not set)\r?$")
_LOCKED = ("none", "integrity", "confidentiality")


@dataclass(frozen=True, slots=True)
class Config:
    """How a kernel was built: its symbols that are set, and what they are set to. ``origin``: the file."""

    symbols: dict[str, str]
    origin: str

    def is_on(self, symbol: str) -> bool:
        """Whether it is built in or a module."""
        return self.symbols.get(symbol) in ("y", "m")


def kernel_says(files: HostFiles, config: Fact[Config], release: Fact[str]) -> KernelSays:
    """All of it. ``config`` and ``release``: see :func:`kernel_config` and :func:`kernel_release`."""
    machine = kernel_machine(files)
    return KernelSays(
        release=release,
        version=_version(files),
        machine=machine,
        command_line=text_fact(files, "/proc/cmdline"),
        levels=_levels(config, machine, release),
        config_mitigations=_asked(config, _mitigations),
        config_l1tf=_asked(config, _l1tf),
        config_kvm_intel=_asked(config, _kvm_intel),
        config_hotplug_smt=_hotplug_smt(files, config),
        memory_end=_memory_end(files, machine),
        lockdown=understood(text_fact(files, LOCKDOWN), _lockdown, "state of the lockdown"),
    )


def kernel_release(files: HostFiles) -> Fact[str]:
    """As ``uname -r``."""
    return first_known(
        lambda: text_fact(files, "/proc/sys/kernel/osrelease"),
        lambda: read_fact(_UNAME, lambda: files.uname().release),
        lambda: understood(text_fact(files, _VERSION), _release_in, "version of Linux"),
    )


def usable_release(release: Fact[str]) -> Fact[str]:
    """The same if it can be a part of a path."""
    return understood(release, lambda said: said if _RELEASE.fullmatch(said) else None, "usual name of a kernel")


def kernel_machine(files: HostFiles) -> Fact[str]:
    """As ``uname -m``; a 32-bit x86 kernel may call itself i386 in the first of the two places."""
    return first_known(
        lambda: text_fact(files, "/proc/sys/kernel/arch"),
        lambda: read_fact(_UNAME, lambda: files.uname().machine),
    )


def kernel_config(files: HostFiles, release: Fact[str]) -> Fact[Config]:
    """How the running kernel was built, from the first place that has it."""
    named = usable_release(release)
    paths = [CONFIG_HERE]
    if named.value is not None:
        paths += [f"{start}{named.value}{end}" for start, end in CONFIG_FILES]

    def built(path: str) -> Fact[Config]:
        return read_fact(path, lambda: Config(config_symbols(files.read(path)), path))

    return first_known(*(partial(built, path) for path in paths))


def settings(said: str) -> dict[str, str]:
    """A configuration's symbols and what they are set to; ``n`` where it says that they are not."""
    return {found[1] or found[3]: found[2] or "n" for found in _SETTING.finditer(said)}


def config_symbols(content: bytes) -> dict[str, str]:
    """The symbols in a configuration as a file has it, compressed or not. Raises UnreadableError."""
    if not content:
        raise UnreadableError("it is empty")
    if compression(content):
        try:
            content = unpack(content, where="", most=MOST_BYTES)
        except InputError as error:
            raise UnreadableError(error.what) from None
    symbols = settings(content.decode("ascii", errors="replace"))
    if not symbols:
        raise UnreadableError("it is not a configuration of a kernel")
    return symbols


def _asked(config: Fact[Config], answer: Callable[[Config], Fact[bool]]) -> Fact[bool]:
    return Fact.unknown(config.origin, config.why) if config.value is None else answer(config.value)


def _mitigations(config: Config) -> Fact[bool]:
    """The symbol was called otherwise before; still older kernels have none, and no way to be built without."""
    for symbol in ("CONFIG_CPU_MITIGATIONS", "CONFIG_SPECULATION_MITIGATIONS"):
        if symbol in config.symbols:
            return Fact(config.is_on(symbol), f"{symbol} in {config.origin}")
    return Fact(True, f"CONFIG_CPU_MITIGATIONS, which {config.origin} does not know")


def _l1tf(config: Config) -> Fact[bool]:
    symbol = "CONFIG_MITIGATION_L1TF"
    if symbol in config.symbols:
        return Fact(config.is_on(symbol), f"{symbol} in {config.origin}")
    return Fact(True, f"{symbol}, which {config.origin} does not know")


def _kvm_intel(config: Config) -> Fact[bool]:
    return Fact(config.is_on("CONFIG_KVM_INTEL"), f"CONFIG_KVM_INTEL in {config.origin}")


def _hotplug_smt(files: HostFiles, config: Fact[Config]) -> Fact[bool]:
    """The configuration; where it is silent, whether the kernel has the control (some had it before the symbol)."""
    if config.value is not None and config.value.is_on("CONFIG_HOTPLUG_SMT"):
        return Fact(True, f"CONFIG_HOTPLUG_SMT in {config.origin}")
    control = text_fact(files, SMT_CONTROL)
    if control.value is not None:
        return Fact(control.value != "notimplemented", control.origin)
    if config.value is None:
        return Fact.unknown(config.origin, config.why)
    if control.why != NO_FILE:
        return Fact.unknown(control.origin, control.why)
    return Fact(False, f"CONFIG_HOTPLUG_SMT in {config.origin}")


def _levels(config: Fact[Config], machine: Fact[str], release: Fact[str]) -> Fact[int]:
    """A kernel that was built for five uses four on a CPU that has no more, as all with L1TF."""
    if config.value is not None:
        symbols = config.value.symbols
        said = symbols.get("CONFIG_PGTABLE_LEVELS", "")
        if re.fullmatch("[2-5]", said):
            return Fact(min(int(said), 4), f"CONFIG_PGTABLE_LEVELS in {config.origin}")
        for symbol, levels in (("CONFIG_X86_64", 4), ("CONFIG_X86_PAE", 3), ("CONFIG_X86_32", 2)):
            if symbols.get(symbol) == "y":
                return Fact(levels, f"{symbol} in {config.origin}")
    if machine.value in ("x86_64", "amd64"):
        return Fact(4, f"{machine.origin}: {machine.value}")
    if machine.value is not None and re.fullmatch("i[3-6]86", machine.value) and release.value is not None:
        # Debian's flavours, as mitigation.facts.Kernel.parse knows them.
        for flavour, levels in (("-686-pae", 3), ("-686", 2)):
            if release.value.endswith(flavour):
                return Fact(levels, f"{release.origin}: Debian's {flavour}")
    machine_says = f"{machine.value} has several" if machine.value is not None else "the machine is not known either"
    return Fact.unknown(config.origin, f"{config.why}; {machine_says}")


def _version(files: HostFiles) -> Fact[str]:
    return first_known(
        lambda: text_fact(files, "/proc/sys/kernel/version"),
        lambda: read_fact(_UNAME, lambda: files.uname().version),
        lambda: understood(text_fact(files, _VERSION), _version_in, "version of Linux"),
    )


def _release_in(said: str) -> str | None:
    words = said.split(maxsplit=3)
    return words[2] if words[:2] == ["Linux", "version"] and len(words) > 2 else None


def _version_in(said: str) -> str | None:
    """It begins with the number of the build, behind what the compiler calls itself in parentheses."""
    found = said.rfind(") #")
    return said[found + 2 :] if found >= 0 else None


def _lockdown(said: str) -> str | None:
    return chosen(said) if chosen(said) in _LOCKED else None


def _memory_end(files: HostFiles, machine: Fact[str]) -> Fact[int]:
    places = [lambda: read_fact(IOMEM, lambda: _end_in_iomem(text(files, IOMEM)))]
    if machine.value is not None and re.fullmatch("x86_64|i[3-6]86", machine.value):
        places.append(lambda: read_fact("/proc/zoneinfo", lambda: _end_in_zones(text(files, "/proc/zoneinfo"))))
    return first_known(*places)


def _end_in_iomem(said: str) -> int:
    """Addresses are zeros for who is not root (proc(5))."""
    ranges = re.findall(rf"(?m)^([0-9a-f]{{1,16}})-([0-9a-f]{{1,16}}){RAM}$", said)
    if not ranges:
        raise UnreadableError("no System RAM is in it")
    end = max(int(last, 16) for _, last in ranges)
    if not end:
        raise UnreadableError("it shows addresses to root only")
    return end + 1


def _end_in_zones(said: str) -> int:
    """Where the last zone with pages ends; the one of devices is not RAM. Pages are 4 KiB on x86."""
    end = 0
    for zone in re.split(r"(?m)^Node +[0-9]+, +zone +", said)[1:]:
        name = zone.split(maxsplit=1)[0]
        spanned, start = (re.search(rf"(?m)^ +{field}:? +([0-9]{{1,16}})$", zone) for field in ("spanned", "start_pfn"))
        if name != "Device" and spanned and start and int(spanned[1]):
            end = max(end, (int(start[1]) + int(spanned[1])) * _PAGE)
    if not end:
        raise UnreadableError("no zone with pages is in it")
    return end
