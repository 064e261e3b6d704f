# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read of the mitigation: the kernel's own answers, kvm_intel, and what else runs guests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeVar

from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.files import EMPTY, NO_FILE, HostFiles, UnreadableError
from l1dflush.host.reading.host_facts import MitigationSays, PowerSays
from l1dflush.host.reading.kernel import SMT_CONTROL, Config, usable_release
from l1dflush.host.reading.text import first_known, read_fact, text, text_fact, understood

T = TypeVar("T")

KVM_INTEL = "kvm_intel"
VULNERABILITIES = "/sys/devices/system/cpu/vulnerabilities"
L1TF = f"{VULNERABILITIES}/l1tf"

_MODULES = "/sys/module"
_DEVICES = "/sys/class/misc"
_RFI_FLUSH = "/sys/kernel/debug/powerpc/rfi_flush"
_OLDER = ("meltdown", "spectre_v1", "spectre_v2", "spec_store_bypass")
"""What was in the folder before l1tf: of January and May 2018 (Documentation/ABI/testing/sysfs-devices-system-cpu)."""
_NEWER = ("mds", "tsx_async_abort", "itlb_multihit", "srbds", "mmio_stale_data", "retbleed", "gather_data_sampling")
"""What came after it, so that a kernel with one of these has l1tf too: the same page."""
_COUNTER = "/sys/kernel/debug/kvm/l1d_flush"
_OTHERS = ("vboxdrv", "vmmon", "kvm_pvm", "mshv_root")
"""Modules that run guests on Intel CPUs: VirtualBox, VMware, PVM, the root partition of Hyper-V."""
_TREES = ("/lib/modules", "/usr/lib/modules")
_MOST_FILES = 1000
_FILE = re.compile(r"kvm-intel\.ko(?:\.(?:gz|xz|zst))?")
_PLACES = ("updates", "updates/dkms", "extra", "kernel/arch/x86/kvm")
"""Below the folder of a release, those first that depmod prefers."""

JUNK = b"\0"
"""What no configuration of modprobe has; other than that, its encoding is nobody's concern."""
CONFIGURATIONS = (
    "/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d",
)  # fmt: skip
"""Where modprobe looks (modprobe.d(5)): a file hides those of its name in later folders."""


def mitigation_says(files: HostFiles, config: Fact[Config], release: Fact[str]) -> MitigationSays:
    """All of it. ``config`` and ``release`` are the running kernel's."""
    loaded = _module(files, KVM_INTEL)
    parameters = f"{_MODULES}/{KVM_INTEL}/parameters"
    text, parameter = _not_empty(text_fact(files, L1TF)), text_fact(files, f"{parameters}/vmentry_l1d_flush")
    return MitigationSays(
        text=text,
        has_text=_has_text(files, text),
        smt_control=text_fact(files, SMT_CONTROL),
        smt_active=_switch(files, "/sys/devices/system/cpu/smt/active"),
        loaded=loaded,
        built_in=_built_in(files, config, usable_release(release)),
        device=_entry(files, _DEVICES, "kvm"),
        parameter=_of_module(parameter, loaded),
        has_parameter=_of_module(_has_parameter(files, parameters, parameter), loaded),
        ept=_of_module(_switch(files, f"{parameters}/ept"), loaded),
        options=_options(files),
        flushes=understood(text_fact(files, _COUNTER), _first_number, "number"),
        others=_others(files),
    )


def power_says(files: HostFiles, machine: Fact[str]) -> PowerSays | None:
    """What is read beside that on POWER."""
    if not (machine.value or "").startswith("ppc"):
        return None
    return PowerSays(text_fact(files, f"{VULNERABILITIES}/meltdown"), _switch(files, _RFI_FLUSH))


def module_file(files: HostFiles, release: Fact[str]) -> Fact[str]:
    """The path of the file with kvm_intel for that kernel."""
    named = usable_release(release)
    if named.value is None:
        return Fact.unknown(_TREES[0], named.why)
    reasons = {}
    for tree in _TREES:
        for place in _PLACES:
            folder = f"{tree}/{named.value}/{place}"
            try:
                found = [name for name in files.names(folder) if _FILE.fullmatch(name)]
            except UnreadableError as error:
                reasons[error.why] = folder
                continue
            if found:
                return Fact(f"{folder}/{found[0]}", folder)
    # That a folder is missing is worth less than any other reason.
    other = next(((why, folder) for why, folder in reasons.items() if why != NO_FILE), None)
    if other is not None:
        return Fact.unknown(other[1], other[0])
    return Fact.unknown(f"{_TREES[0]}/{named.value}", "no kvm-intel.ko is there")


def _switch(files: HostFiles, path: str) -> Fact[bool]:
    return understood(text_fact(files, path), {"1": True, "Y": True, "0": False, "N": False}.get, "switch")


def _module(files: HostFiles, name: str) -> Fact[bool]:
    return _entry(files, _MODULES, name)


def _entry(files: HostFiles, folder: str, name: str) -> Fact[bool]:
    """Whether it is in a folder, where there is that folder."""

    def there() -> bool:
        if files.exists(f"{folder}/{name}"):
            return True
        if not files.exists(folder):
            raise UnreadableError(f"there is no {folder}")
        return False

    return read_fact(f"{folder}/{name}", there)


def _not_empty(said: Fact[str]) -> Fact[str]:
    """No kernel writes nothing but a line break there."""
    return Fact.unknown(said.origin, EMPTY) if said.value == "" else said


def _has_text(files: HostFiles, text: Fact[str]) -> Fact[bool]:
    """That it is missing is a fact about the kernel where older files of the same folder are there, and about the copy
    where newer ones are."""
    if text.known or text.why != NO_FILE:
        return Fact(True, L1TF) if text.known else Fact.unknown(L1TF, text.why)

    def beside(names: Sequence[str]) -> list[str]:
        return [name for name in names if text_fact(files, f"{VULNERABILITIES}/{name}").why != NO_FILE]

    if newer := beside(_NEWER):
        why = f"it is missing beside {', '.join(newer)}, which no kernel has without it: this is not all of the folder"
        return Fact.unknown(L1TF, why)
    if older := beside(_OLDER):
        return Fact(False, f"{VULNERABILITIES}: {', '.join(older)}")
    return Fact.unknown(L1TF, NO_FILE)


def _has_parameter(files: HostFiles, folder: str, parameter: Fact[str]) -> Fact[bool]:
    if parameter.known or parameter.why != NO_FILE:
        return Fact(True, parameter.origin) if parameter.known else Fact.unknown(parameter.origin, parameter.why)

    def others() -> bool:
        if not {*files.names(folder)} - {parameter.origin.rpartition("/")[2]}:
            raise UnreadableError(f"nothing is in {folder}")
        return False

    return read_fact(folder, others)


def _of_module(parameter: Fact[T], loaded: Fact[bool]) -> Fact[T]:
    """The parameter, with a better reason why there is none."""
    if parameter.value is None and loaded.value is False:
        return Fact.unknown(parameter.origin, f"{KVM_INTEL} is not loaded")
    return parameter


def _built_in(files: HostFiles, config: Fact[Config], release: Fact[str]) -> Fact[bool]:
    folder = f"{_MODULES}/{KVM_INTEL}"
    # Only what was loaded has it.
    state = read_fact(f"{folder}/initstate", lambda: text(files, f"{folder}/initstate"))
    if state.known:
        return Fact(False, state.origin)
    if config.value is not None:
        built_in = config.value.symbols.get("CONFIG_KVM_INTEL") == "y"
        return Fact(built_in, f"CONFIG_KVM_INTEL in {config.origin}")
    if release.value is None:
        return Fact.unknown(config.origin, config.why)

    def listed(path: str) -> bool:
        return any(line.rpartition("/")[2].strip() == "kvm-intel.ko" for line in text(files, path).split("\n"))

    def said(path: str) -> Fact[bool]:
        return read_fact(path, lambda: listed(path))

    return first_known(*(partial(said, f"{tree}/{release.value}/modules.builtin") for tree in _TREES))


def _options(files: HostFiles) -> Fact[tuple[str, ...]]:
    """Unknown as soon as one file is: it may have said anything."""
    origin = "modprobe.d"
    paths: dict[str, str] = {}
    folders = 0
    for folder in CONFIGURATIONS:
        try:
            names = files.names(folder)
        except UnreadableError as error:
            if error.why == NO_FILE:
                continue
            return Fact.unknown(folder, error.why)
        folders += 1
        for name in names:
            if name.endswith(".conf"):
                paths.setdefault(name, f"{folder}/{name}")
    if not folders:
        return Fact.unknown(origin, f"none of {', '.join(CONFIGURATIONS)} is there")
    if len(paths) > _MOST_FILES:
        return Fact.unknown(origin, f"more than {_MOST_FILES} files")
    options: list[str] = []
    origins = []
    for _, path in sorted(paths.items()):
        try:
            content = files.read(path)
            if JUNK in content:
                raise UnreadableError("it is not text")
            found = list(module_options(content, KVM_INTEL))
        except UnreadableError as error:
            if error.why == NO_FILE:
                continue  # a link to nowhere, which modprobe passes over too
            return Fact.unknown(path, error.why)
        if found:
            origins.append(path)
            options += found
    return Fact(tuple(options), ", ".join(origins) or origin)


def module_options(content: bytes, module: str) -> Iterator[str]:
    """What a file of modprobe's configuration says for a module, in order. In names ``-`` is ``_``."""
    said = content.decode(errors="replace")
    for line in re.sub(r"\\\r?\n", "", said).split("\n"):
        words = line.split()
        if len(words) > 2 and words[0] == "options" and words[1].replace("-", "_") == module:
            yield from words[2:]


def _first_number(said: str) -> int | None:
    words = said.split()
    return int(words[0]) if words and re.fullmatch("[0-9]{1,20}", words[0]) else None


def _others(files: HostFiles) -> Fact[tuple[str, ...]]:
    found = []
    for name in _OTHERS:
        module = _module(files, name)
        if module.value is None:
            return Fact.unknown(_MODULES, module.why)
        if module.value:
            found.append(name)
    return Fact(tuple(found), _MODULES)
