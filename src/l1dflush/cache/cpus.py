# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a CPU's first-level data cache, who says so, and the catalogue of all of it.

Nothing here reads a file: :mod:`l1dflush.cache.cpu_files` turns texts into a :class:`Catalogue`, and
:mod:`l1dflush.data.catalogue` finds the texts. No fact about a CPU is written in code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError

Isa = Literal["x86", "arm", "power", "riscv"]
CoreKind = Literal["P", "E"]

# The order of the report: the ISA that L1TF is about first, then the vendors that most readers look for.
_ISA_ORDER: tuple[Isa, ...] = ("x86", "arm", "power", "riscv")
_VENDOR_ORDER = ("Intel", "AMD")

# The vendor strings of CPUID leaf 0, so that what the hardware says can be looked up as it is.
_CPUID_VENDORS = {
    "genuineintel": "intel",
    "authenticamd": "amd",
    "hygongenuine": "hygon",
}


X86_FEATURES = frozenset({
    "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "avx512", "fma", "f16c", "bmi", "bmi2", "lzcnt",
    "movbe", "adx", "aes", "pclmul", "sha", "clflushopt", "clwb", "rdrnd", "rdseed", "rdpid", "fsgsbase", "xsave",
    "xsaveopt", "xsavec", "xsaves", "vaes", "vpclmulqdq", "pku", "serialize", "wbnoinvd", "smap", "invpcid",
    "vmx", "svm",
})  # fmt: skip
"""What a CPU file may say that an x86 CPU has: the features that not all of them have and that instructions need."""


class Certainty(StrEnum):
    """How a value came to be known, best first."""

    LEARNED = "learned-from-silicon"
    MEASURED = "measured"
    DOCUMENTED = "documented"
    INFERRED = "inferred"
    UNKNOWN = "unknown"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class CpuidRange(_Frozen):
    """The CPUID signatures of a core: a family, models and steppings from first to last.

    ``core`` is set where CPUID has to be asked on the core itself, because one signature belongs to two
    kinds of core.
    """

    family: int
    models: tuple[int, int]
    steppings: tuple[int, int] | None = None
    core: CoreKind | None = None

    def covers(self, family: int, model: int, stepping: int | None, core: CoreKind | None) -> bool:
        """Whether this signature is meant. ``None`` leaves a question open: every answer fits."""
        if family != self.family or not self.models[0] <= model <= self.models[1]:
            return False
        if stepping is not None and self.steppings and not self.steppings[0] <= stepping <= self.steppings[1]:
            return False
        return core is None or self.core is None or core == self.core


class Cpu(_Frozen):
    """One microarchitecture. Each group of values has a source in words and a :class:`Certainty`."""

    name: str
    title: str
    aliases: tuple[str, ...]
    vendor: str
    isa: Isa
    year: int
    l1tf_affected: bool
    l1tf_source: str
    l1tf_certainty: Certainty
    geometry: Geometry
    geometry_source: str
    geometry_certainty: Certainty
    policy: str | None
    """Name of the replacement policy, as the source has it; the prover may not know it. ``None``: unknown."""
    policy_source: str
    policy_certainty: Certainty
    features: tuple[str, ...] | None
    """Those of :data:`X86_FEATURES` that it has; ``None``: nobody said."""
    features_source: str | None
    features_certainty: Certainty | None
    models: tuple[CpuidRange, ...]
    models_source: str | None
    models_certainty: Certainty | None
    notes: tuple[str, ...]

    @property
    def core(self) -> CoreKind | None:
        """``P`` or ``E`` if it is only found as that kind of core, in hybrids or alone."""
        kinds = {entry.core for entry in self.models}
        return kinds.pop() if len(kinds) == 1 else None


def _sort_key(cpu: Cpu) -> tuple[int, int, str, int, str]:
    vendor = _VENDOR_ORDER.index(cpu.vendor) if cpu.vendor in _VENDOR_ORDER else len(_VENDOR_ORDER)
    return _ISA_ORDER.index(cpu.isa), vendor, cpu.vendor.casefold(), cpu.year, cpu.name


def lookup_key(name: str) -> str:
    """``Ice Lake``, ``ice_lake`` and ``ICE-LAKE`` are the same CPU; a line break is no blank."""
    return "-".join(filter(None, name.casefold().replace("_", " ").replace("-", " ").split(" ")))


class Catalogue:
    """All known CPUs in a stable order: by ISA, by vendor, and then by age.

    ``layers`` are what each folder brought, the strongest last: its names, titles and aliases win.
    """

    def __init__(self, *layers: Sequence[Cpu]) -> None:
        by_name: dict[str, Cpu] = {}
        for layer in layers:
            by_name |= {cpu.name: cpu for cpu in layer}
        self._cpus = tuple(sorted(by_name.values(), key=_sort_key))
        self._index: dict[str, Cpu] = {}
        for layer in layers:
            for cpu in layer:
                if by_name[cpu.name] is cpu:
                    self._index |= {lookup_key(other): cpu for other in (cpu.title, *cpu.aliases)}
        self._index |= {lookup_key(name): cpu for name, cpu in by_name.items()}

    def __iter__(self) -> Iterator[Cpu]:
        return iter(self._cpus)

    def __len__(self) -> int:
        return len(self._cpus)

    def all(self) -> tuple[Cpu, ...]:
        """Every CPU."""
        return self._cpus

    def x86(self) -> tuple[Cpu, ...]:
        """What a routine for x86 may run on."""
        return tuple(cpu for cpu in self._cpus if cpu.isa == "x86")

    def affected(self) -> tuple[Cpu, ...]:
        """The CPUs with the L1 Terminal Fault bug."""
        return tuple(cpu for cpu in self._cpus if cpu.l1tf_affected)

    def get(self, name: str) -> Cpu:
        """By name, title or alias, whatever the case. Raises InputError, with the names that come near."""
        cpu = self._index.get(lookup_key(name))
        if cpu is not None:
            return cpu
        near = [self._index[key].name for key in get_close_matches(lookup_key(name), self._index, n=3, cutoff=0.6)]
        meant = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
        raise InputError(f"no CPU is called {name[:80]!r}", hint=f"{meant}'l1dflush cpus' lists them")

    def find(
        self, vendor: str, family: int, model: int, stepping: int | None = None, core: CoreKind | None = None
    ) -> list[Cpu]:
        """The CPUs with this CPUID signature; ``vendor`` as CPUID or as the catalogue writes it.

        None: the model is not in the catalogue. Several: a hybrid whose ``core`` was not said, or a
        signature that the vendor used for more than one product.
        """
        wanted = _CPUID_VENDORS.get(vendor.casefold(), vendor.casefold())
        return [
            cpu
            for cpu in self._cpus
            if cpu.vendor.casefold() == wanted
            and any(entry.covers(family, model, stepping, core) for entry in cpu.models)
        ]
