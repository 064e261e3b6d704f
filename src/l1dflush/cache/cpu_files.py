# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of CPU files (TOML) made into a catalogue: shape, inheritance, and errors that say what to write.

A file may have a ``parent`` and then states only what differs. Within ``[l1tf]``, ``[l1d]`` and ``[policy]``
a value may be inherited alone, its source never: a table that a file writes at all says who vouches for it.

Files come in layers, the folder of the package first and the user's after it. A later file replaces an
earlier one of the same name. A file sees its own layer and those before it, so no file of a user changes
what another CPU inherits; ``parent`` with a file's own name means the one that it replaces.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from l1dflush.arguments import parse_size
from l1dflush.cache.cpus import X86_FEATURES, Catalogue, Certainty, CoreKind, Cpu, CpuidRange, Isa, lookup_key
from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError

MAX_FILE_BYTES = 16 * 1024
_MAX_PARENTS = 16
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,62}")

# What to write for a key, by its name without the tables around it.
_HOW = {
    "title": 'a name for people: title = "Skylake"',
    "vendor": 'vendor = "Intel"',
    "isa": "one of x86, arm, power, riscv",
    "year": "the year the first product came out: year = 2015",
    "parent": 'the name of another CPU file without .toml: parent = "skylake"',
    "aliases": 'other names for it: aliases = ["Granite Rapids"]',
    "notes": 'sentences: notes = ["..."]',
    "affected": "true or false",
    "size": 'bytes: size = "32K" or size = 32768',
    "ways": "1 to 16: ways = 8",
    "line": "bytes, a power of two: line = 64",
    "name": 'a policy such as name = "tree-PLRU", or "unknown"',
    "source": 'who says so: source = "..."',
    "certainty": "one of " + ", ".join(Certainty),
    "models": "models = [{ family = 6, model = 0x5E }], with steppings = [0, 4] or core = 'P' where needed",
    "family": "0 to 270: family = 6",
    "model": "0 to 255: model = 0x5E, or first and last: model = [0x10, 0x1F]",
    "steppings": "first and last, 0 to 15: steppings = [0, 4]",
    "core": "'P' or 'E', for hybrids only",
    "l1tf": "a table [l1tf] with affected, source and certainty",
    "l1d": "a table [l1d] with size, ways, line, source and certainty",
    "policy": "a table [policy] with name, source and certainty",
    "has": 'names of instruction sets: has = ["sse4.2", "avx2"]',
    "features": "a table [features] with has, source and certainty",
    "cpuid": "a table [cpuid] with models, source and certainty",
}


def _line_of_text(value: object) -> object:
    """Texts end up on terminals and in reports, so an escape sequence has no place in them."""
    if isinstance(value, str) and (not value.strip() or not value.isprintable()):
        raise ValueError("must be one line of printable text, and not empty")
    return value


def _bytes(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_size(value)
        except InputError as error:
            raise ValueError(error.what) from None
    return value


def _range(top: int, single: bool) -> BeforeValidator:
    """First and last of 0..``top``; one number alone stands for itself where ``single`` allows it."""

    def read(value: object) -> object:
        if single and isinstance(value, int) and not isinstance(value, bool):
            value = [value, value]
        numbers = value if isinstance(value, list) else []
        if len(numbers) != 2 or any(type(number) is not int for number in numbers):
            raise ValueError("is neither a number nor two" if single else "must be two numbers")
        if not 0 <= numbers[0] <= numbers[1] <= top:
            raise ValueError("is out of range, or the last comes before the first")
        return tuple(numbers)

    return BeforeValidator(read)


_TWO_NUMBERS = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
_Line = Annotated[str, BeforeValidator(_line_of_text), Field(max_length=120)]
_Text = Annotated[str, BeforeValidator(_line_of_text), Field(max_length=600)]
# No first-level cache comes near 16 MiB; what is larger is a slip of the pen that a proof would choke on.
_Size = Annotated[int, BeforeValidator(_bytes), Field(le=16 << 20), WithJsonSchema({"type": ["integer", "string"]})]
_Models = Annotated[
    tuple[int, int], _range(255, single=True), WithJsonSchema({"anyOf": [{"type": "integer"}, _TWO_NUMBERS]})
]
_Steppings = Annotated[tuple[int, int], _range(15, single=False), WithJsonSchema(_TWO_NUMBERS)]


def _feature(value: object) -> object:
    if isinstance(value, str) and value not in X86_FEATURES:
        near = get_close_matches(value, X86_FEATURES, n=1)
        raise ValueError(f"is none of {', '.join(sorted(X86_FEATURES))}" if not near else f"is not '{near[0]}'")
    return value


_Feature = Annotated[str, BeforeValidator(_feature)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class _Vouched(_Table):
    source: _Text
    # Strict mode would want the enum's own members, which TOML cannot write.
    certainty: Annotated[Certainty, Field(strict=False)]


class L1tfTable(_Vouched):
    """``[l1tf]``: whether the CPU has the bug."""

    affected: bool | None = None


class L1dTable(_Vouched):
    """``[l1d]``: the geometry."""

    size: _Size | None = None
    ways: int | None = None
    line: int | None = None


class PolicyTable(_Vouched):
    """``[policy]``: the replacement policy."""

    name: _Line | None = None


class FeaturesTable(_Vouched):
    """``[features]``: which instructions are there that not all x86 CPUs have."""

    has: Annotated[tuple[_Feature, ...], Field(strict=False, max_length=64)]


class SignatureTable(_Table):
    """One entry of ``models``."""

    family: Annotated[int, Field(ge=0, le=270)]
    model: _Models
    steppings: _Steppings | None = None
    core: CoreKind | None = None


class CpuidTable(_Vouched):
    """``[cpuid]``: the signatures that the CPU is recognised by."""

    # Strict mode would refuse TOML's arrays, which arrive as lists.
    models: Annotated[tuple[SignatureTable, ...], Field(strict=False, min_length=1, max_length=64)]


class CpuFile(_Table):
    """A whole file. What may be inherited is optional here and asked for once the parents are known."""

    title: _Line
    year: Annotated[int, Field(ge=1950, le=2100)]
    parent: _Line | None = None
    aliases: Annotated[tuple[_Line, ...], Field(strict=False, max_length=32)] = ()
    vendor: _Line | None = None
    isa: Isa | None = None
    l1tf: L1tfTable | None = None
    l1d: L1dTable | None = None
    policy: PolicyTable | None = None
    features: FeaturesTable | None = None
    cpuid: CpuidTable | None = None
    notes: Annotated[tuple[_Text, ...], Field(strict=False, max_length=32)] | None = None


def parse_cpu_files(*layers: Mapping[str, str]) -> Catalogue:
    """The catalogue of these files. A layer maps file names (or paths, for the errors) to texts.

    Raises InputError with the file, the key and what to write there.
    """
    seen: list[Mapping[str, tuple[str, CpuFile]]] = []
    finished: list[list[Cpu]] = []
    for layer in layers:
        files: dict[str, tuple[str, CpuFile]] = {}
        for where, text in layer.items():
            name = _name_of(where)
            if name in files:
                raise InputError(f"'{name}' is also {files[name][0]}", where=where, hint="keep one of the two")
            files[name] = where, parse_cpu_file(where, text)
        seen.append(files)
        finished.append([_finish(name, seen) for name in files])
        _refuse_ambiguous_names(finished[-1], files)
    return Catalogue(*finished)


def parse_cpu_file(where: str, text: str) -> CpuFile:
    """One file's own content, parents not yet asked. Raises InputError."""
    if len(text) > MAX_FILE_BYTES:
        raise InputError("is too long for a CPU file", where=where, hint=f"at most {MAX_FILE_BYTES} bytes")
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        what = "brackets nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InputError(
            f"is not TOML: {what[:200]}", where=where, hint="'l1dflush help cpus' has an example"
        ) from None
    try:
        return CpuFile.model_validate(content)
    except ValidationError as error:
        raise _explain(where, error.errors(include_url=False)[0]) from None


def _name_of(where: str) -> str:
    name = PurePath(where).name.removesuffix(".toml")
    if not _NAME.fullmatch(name):
        raise InputError(
            "a CPU file's name is the CPU's name", where=where, hint="a-z, 0-9, '-', '.' and '+': my-cpu.toml"
        )
    return name


def _explain(where: str, error: ErrorDetails) -> InputError:
    """Pydantic's first complaint in this tool's words."""
    path = ".".join(str(part + 1) if isinstance(part, int) else part for part in error["loc"])
    keys = [part for part in error["loc"] if isinstance(part, str)]
    how = _HOW.get(keys[-1]) if keys else None
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(where, keys)
        case "missing":
            what = f"{path} is missing"
        case "value_error":
            what = f"{path} {error['ctx']['error']}"
        case "string_too_long" | "too_long" | "too_short":
            what = f"{path} is too {error['type'].rpartition('_')[2]}"
        case _:
            what = f"{path} cannot be {_shown(error['input'])}"
    return InputError(what, where=where, hint=f"write {how}" if how else None)


def _shown(value: object) -> str:
    """A value in a message: short, and safe for tables nested too deep and numbers too long to print."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 64:
            return "so large a number"
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _unknown_key(where: str, keys: Sequence[str]) -> InputError:
    table: Any = CpuFile
    tables = {
        "l1tf": L1tfTable,
        "l1d": L1dTable,
        "policy": PolicyTable,
        "features": FeaturesTable,
        "cpuid": CpuidTable,
        "models": SignatureTable,
    }
    for key in keys[:-1]:
        table = tables.get(key, table)
    known = list(table.model_fields)
    near = get_close_matches(keys[-1], known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
    if list(keys) == ["name"]:
        hint = "the file's own name is the CPU's name"
    return InputError(f"unknown key '{'.'.join(keys)[:80]}'", where=where, hint=hint)


def _ancestry(name: str, seen: Sequence[Mapping[str, tuple[str, CpuFile]]]) -> list[CpuFile]:
    """The file and its parents, nearest first."""
    chain: list[CpuFile] = []
    visited: list[tuple[int, str]] = []
    depth = len(seen) - 1
    where, file = seen[depth][name]
    while True:
        visited.append((depth, name))
        chain.append(file)
        if file.parent is None:
            return chain
        parent = file.parent
        # Its own name can only mean the file that this one replaces.
        start = depth - 1 if parent == name else depth
        found = next((at for at in range(start, -1, -1) if parent in seen[at]), None)
        if found is None:
            known = sorted({other for files in seen[: depth + 1] for other in files} - {name})
            near = get_close_matches(parent, known, n=1)
            what = "is its own parent" if parent == name else f"no CPU file is called '{parent}'"
            hint = f"did you mean '{near[0]}'?" if near else f"write {_HOW['parent']}"
            raise InputError(f"parent: {what}", where=where, hint=hint)
        if (found, parent) in visited:
            ring = " -> ".join([step for _, step in visited] + [parent])
            raise InputError(f"parent: goes round in a circle: {ring}", where=where, hint="drop one parent")
        if len(chain) > _MAX_PARENTS:
            raise InputError(f"parent: more than {_MAX_PARENTS} one above the other", where=where, hint="use fewer")
        depth, name = found, parent
        where, file = seen[depth][name]


def _finish(name: str, seen: Sequence[Mapping[str, tuple[str, CpuFile]]]) -> Cpu:
    """The CPU ``name`` of the last layer, with everything that it inherits."""
    where, own = seen[-1][name]
    chain = _ancestry(name, seen)

    def inherited(table: str | None, key: str) -> Any:
        """The nearest value; for the values of tables ``source`` and ``certainty`` count as such."""
        for file in chain:
            holder = file if table is None else getattr(file, table)
            value = None if holder is None else getattr(holder, key)
            if value is not None:
                return value
        path = key if table is None else f"{table}.{key}"
        raise InputError(f"{path} is missing", where=where, hint=f"write {_HOW[key]}, or name a parent")

    try:
        geometry = Geometry(inherited("l1d", "size"), inherited("l1d", "ways"), inherited("l1d", "line"))
    except InputError as error:
        if error.where is not None:
            raise
        raise InputError(f"l1d: {error.what}", where=where, hint=error.hint) from None
    policy: str = inherited("policy", "name")
    certainty: Certainty = inherited("policy", "certainty")
    features = next((file.features for file in chain if file.features is not None), None)
    unknown = policy == Certainty.UNKNOWN
    if unknown != (certainty is Certainty.UNKNOWN):
        raise InputError(
            f"policy.name '{policy}' does not go with policy.certainty '{certainty}'",
            where=where,
            hint="an unknown policy has an unknown certainty, and a known one has not",
        )
    return Cpu(
        name=name,
        title=own.title,
        aliases=own.aliases,
        vendor=inherited(None, "vendor"),
        isa=inherited(None, "isa"),
        year=own.year,
        l1tf_affected=inherited("l1tf", "affected"),
        l1tf_source=inherited("l1tf", "source"),
        l1tf_certainty=inherited("l1tf", "certainty"),
        geometry=geometry,
        geometry_source=inherited("l1d", "source"),
        geometry_certainty=inherited("l1d", "certainty"),
        policy=None if unknown else policy,
        policy_source=inherited("policy", "source"),
        policy_certainty=certainty,
        features=features.has if features else None,
        features_source=features.source if features else None,
        features_certainty=features.certainty if features else None,
        models=tuple(
            CpuidRange(family=one.family, models=one.model, steppings=one.steppings, core=one.core)
            for one in (own.cpuid.models if own.cpuid else ())
        ),
        models_source=own.cpuid.source if own.cpuid else None,
        models_certainty=own.cpuid.certainty if own.cpuid else None,
        notes=next((file.notes for file in chain if file.notes is not None), ()),
    )


def _refuse_ambiguous_names(cpus: Sequence[Cpu], files: Mapping[str, tuple[str, CpuFile]]) -> None:
    taken: dict[str, Cpu] = {}
    for cpu in cpus:
        for name in {lookup_key(name) for name in (cpu.name, cpu.title, *cpu.aliases)}:
            other = taken.setdefault(name, cpu)
            if other is not cpu:
                raise InputError(
                    f"'{name}' also means {other.name}",
                    where=files[cpu.name][0],
                    hint="change the title or an alias",
                )
