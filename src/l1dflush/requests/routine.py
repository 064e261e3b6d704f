# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions about a routine, from what a person gives: the same for the command line and for Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from l1dflush import arguments
from l1dflush.arguments import CPU, DEFINE, GEOMETRY, POLICY, START, THEN, TOUCHES, UNDEFINE
from l1dflush.errors import InputError
from l1dflush.severity import Severity

if TYPE_CHECKING:
    from l1dflush.cache.geometry import Geometry
    from l1dflush.cache.policies import Policy
    from l1dflush.proof.conditions import Conditions, Start
    from l1dflush.verdict.options import VerifyOptions

PathLike = str | os.PathLike[str]
"""A path, as a text or as a :class:`~pathlib.Path`."""
Names = PathLike | Iterable[PathLike] | None
"""One name or path, several, or none."""
MOST_TOUCHES = 8
FAIL_ON = arguments.Argument("fail_on")


class Level(StrEnum):
    """Optimisation levels of the C compiler."""

    NONE = "0"
    SOME = "1"
    USUAL = "2"
    MORE = "3"
    SIZE = "s"


def about_a_routine(
    *,
    function: str | None = None,
    define: Mapping[str, int | str] | None = None,
    undefine: Names = None,
    optimize: Level | str = Level.USUAL,
    bind: Mapping[str, int | str] | None = None,
    buffer_size: int | str | None = None,
    static_key: Mapping[str, bool | str] | None = None,
    begin: str | None = None,
    until: Names = None,
    run_first: Names = None,
    max_paths: int = 64,
    max_seconds: float | None = None,
) -> VerifyOptions:
    """The part of a question that concerns the routine and how it is run.

    ``function``: which one, if there are several. ``define`` gives names that C or assembly uses values, ``undefine``
    says that names are defined nowhere. ``optimize``: the level of the C compiler. ``bind``: what registers, parameters
    or variables hold at entry: a number, ``"buffer"``, or another input and a distance (``"rdi+65536"``).
    ``buffer_size`` in bytes, also as ``"64K"``. ``static_key``: which way jump labels of a key go. ``begin`` and
    ``until``: symbols, symbol+offset or addresses to begin and to end at. ``run_first``: functions that run before the
    routine. At most ``max_paths`` paths are followed, and ``max_seconds`` taken (10). Raises InputError, which names
    the argument.
    """
    defines = arguments.mapping(DEFINE, define)
    asked = {
        "defines": defines,
        "undefines": _undefined(arguments.texts(UNDEFINE, undefine), defines),
        "optimize": arguments.one_of(arguments.OPTIMIZE, optimize, Level).value,
        "bind": arguments.mapping(arguments.BIND, bind),
        "buffer_size": arguments.size(arguments.BUFFER_SIZE, buffer_size),
        "static_keys": _keys(static_key),
        "until": arguments.texts(arguments.UNTIL, until),
        "run_first": arguments.texts(arguments.RUN_FIRST, run_first),
        "max_paths": arguments.whole(arguments.MAX_PATHS, max_paths, 1),
        "max_seconds": arguments.seconds(max_seconds),
        "function": None if function is None else arguments.text(arguments.FUNCTION, function),
        "start": None if begin is None else arguments.text(arguments.BEGIN, begin),
    }
    from l1dflush.verdict.options import VerifyOptions

    return VerifyOptions(**asked)  # type: ignore[arg-type]


def about_caches(
    asked: VerifyOptions,
    *,
    cpu: Names = None,
    cpu_folder: Names = None,
    policy: PathLike | Policy | None = None,
    geometry: str | Geometry | None = None,
    every_cpu: bool = False,
    every_path: bool = False,
    fail_on: Severity | str | None = None,
    start: str | Start | None = None,
    then: Names = None,
    touches: int = 0,
    memory: int | str | None = None,
) -> VerifyOptions:
    """The question ``asked`` of a routine, about these caches.

    ``cpu``: names of the catalogue (none: all), to which CPU files in ``cpu_folder`` belong; or a ``policy`` (a name, a
    file with a machine, or a policy) with a ``geometry`` (``"32K,8,64"``). ``every_cpu``: CPUs without L1TF decide the
    exit status as well, ``every_path``: paths that skip the flush. ``fail_on``: findings of this severity do. ``start``
    is what a set may hold at the start, ``then`` names routines that flush in turn where the start is a steady one,
    ``touches`` is how often others may access a set during the flush (0 to 8), ``memory`` what the prover may take.
    Raises InputError, which names the argument.
    """
    from dataclasses import replace

    cpus = arguments.texts(CPU, cpu)
    shape = cache(policy, geometry, cpus)
    known = None if policy is None or shape is None else policy_of(policy, shape.ways)
    return replace(
        asked,
        cpus=cpus,
        cpu_folders=arguments.folders(arguments.CPU_FOLDER, cpu_folder),
        policy=known,
        geometry=shape,
        every_cpu=arguments.flag(arguments.EVERY_CPU, every_cpu),
        every_path=arguments.flag(arguments.EVERY_PATH, every_path),
        fail_on=None if fail_on is None else arguments.one_of(FAIL_ON, fail_on, Severity),
        conditions=conditions(start, touches, known),
        then=arguments.texts(THEN, then),
        memory=arguments.memory(memory),
    )


def conditions(start: str | Start | None, touches: int, policy: str | Policy | None = None) -> Conditions:
    """What is proved. Raises InputError for a start that there is not.

    Where no start is named and nobody knows what the policy does when an invalid way is filled, all ways are valid.
    """
    from l1dflush.proof.conditions import ALL_WAYS_VALID, Conditions, Start

    arguments.whole(TOUCHES, touches, 0, MOST_TOUCHES)
    if start is None:
        unknown = policy is not None and not isinstance(policy, str) and not policy.has_fills
        return Conditions(ALL_WAYS_VALID.start if unknown else Start(), touches)
    if isinstance(start, Start):
        return Conditions(start, touches)
    return Conditions(arguments.read(START, Start.parse, start), touches)


def geometry_of(geometry: str | Geometry) -> Geometry:
    """A cache's size, ways and line."""
    from l1dflush.cache.geometry import Geometry

    return geometry if isinstance(geometry, Geometry) else arguments.read(GEOMETRY, Geometry.parse, geometry)


def cache(policy: PathLike | Policy | None, geometry: str | Geometry | None, cpus: tuple[str, ...]) -> Geometry | None:
    """The cache that a policy and a geometry describe together; ``None`` where CPUs are asked about."""
    if (policy is None) != (geometry is None):
        missing = GEOMETRY if geometry is None else POLICY
        example = arguments.together(POLICY.given("FIFO"), GEOMETRY.given("32K,8,64"))
        raise InputError(f"{missing} is missing", hint=f"{POLICY} and {GEOMETRY} go together: {example}")
    if geometry is None:
        return None
    if cpus:
        raise InputError(f"{CPU} and {POLICY} exclude each other", hint="a CPU has its own cache and policy")
    return geometry_of(geometry)


def policy_of(policy: PathLike | Policy, ways: int | None) -> str | Policy:
    """A policy by its name, or the machine that a file describes, of so many ways."""
    if not isinstance(policy, str | os.PathLike):
        return policy
    from l1dflush.cache.policy.machine import MachinePolicy
    from l1dflush.data.policy_files import policy_named

    name = arguments.text(POLICY, policy)
    with arguments.about(POLICY):
        found = policy_named(name, ways)
    return found if isinstance(found, MachinePolicy) else found.name


def _undefined(names: tuple[str, ...], defines: Mapping[str, str]) -> frozenset[str]:
    found = frozenset(name.strip() for name in names)
    for name in sorted(found):
        if not name.isidentifier() or not name.isascii():
            raise UNDEFINE.refused(f"'{name}' is not a name", hint="NAME as in C")
        if name in defines:
            raise UNDEFINE.refused(f"'{name}' is defined as well", hint=f"drop one of {DEFINE}, {UNDEFINE}")
    return found


def _keys(static_key: Mapping[str, bool | str] | None) -> dict[str, bool]:
    key = arguments.STATIC_KEY
    if static_key is not None and not isinstance(static_key, Mapping):
        raise key.refused(f"{static_key!r:.80} is not a mapping", hint="{'NAME': True}")
    return {name: arguments.switch(key, name, value) for name, value in (static_key or {}).items()}


def sources_of(routine: Names) -> tuple[str, ...]:
    """The sources of a routine: names of built-in ones, and paths, of which several are taken together."""
    found = arguments.texts(arguments.ROUTINE, routine)
    if not found:
        raise arguments.ROUTINE.refused("which routine?", hint="a file, or the name of a built-in one")
    return found
