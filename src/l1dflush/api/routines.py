# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions about routines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from l1dflush import arguments
from l1dflush.arguments import in_python
from l1dflush.requests import routine as requests
from l1dflush.requests.routine import Level, Names, PathLike
from l1dflush.severity import Severity

if TYPE_CHECKING:
    from l1dflush.cache.geometry import Geometry
    from l1dflush.cache.policies import Policy
    from l1dflush.checking.model import Certificate
    from l1dflush.checking.result import CheckResult
    from l1dflush.proof.conditions import Start
    from l1dflush.verdict.compare.result import ComparisonResult
    from l1dflush.verdict.options import VerifyOptions
    from l1dflush.verdict.verify_result import TraceResult, VerifyResult


class HowRun(TypedDict, total=False):
    """What may be said about a routine and how it is run; see :func:`verify`."""

    function: str | None
    define: Mapping[str, int | str] | None
    undefine: Names
    optimize: Level | str
    bind: Mapping[str, int | str] | None
    buffer_size: int | str | None
    static_key: Mapping[str, bool | str] | None
    begin: str | None
    until: Names
    run_first: Names
    max_paths: int
    max_seconds: float | None


class Question(HowRun, total=False):
    """What may be asked about a routine; see :func:`verify`."""

    cpu: Names
    cpu_folder: Names
    policy: PathLike | Policy | None
    geometry: str | Geometry | None
    start: str | Start | None
    then: Names
    touches: int
    memory: int | str | None
    every_cpu: bool
    every_path: bool
    fail_on: Severity | str | None


@in_python()
def verify(
    routine: Names,
    *,
    cpu: Names = None,
    policy: PathLike | Policy | None = None,
    geometry: str | Geometry | None = None,
    start: str | Start | None = None,
    touches: int = 0,
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
    then: Names = None,
    every_cpu: bool = False,
    every_path: bool = False,
    fail_on: Severity | str | None = None,
    cpu_folder: Names = None,
    memory: int | str | None = None,
    max_paths: int = 64,
    max_seconds: float | None = None,
) -> VerifyResult:
    """Proves that a flush routine empties the L1D, for every state that the cache can be in, or shows how a line
    survives.

    ``routine``: the name of a built-in one, or the path of a patch, a mail, C, assembly, an object file or a kernel
    module; several are taken together, as a linker would.

    About which caches: ``cpu`` names CPUs (none: all of :func:`cpus`), with CPU files of your own in ``cpu_folder``;
    or ``policy`` (a name, a file with a machine, or a :func:`policy`) with ``geometry`` (``"32K,8,64"``: size, ways,
    line). ``start`` is what a set may hold before: any, any+invalid (the default), cold, steady or steady-from-any,
    each also with +invalidations; ``then`` names routines that flush in turn with this one at a steady start;
    ``touches`` is how often others may access a set during the flush, 0 to 8. ``every_cpu``: CPUs without L1TF count
    for the exit status, ``every_path``: paths that skip the flush count as well, ``fail_on``: so do findings of this
    severity.

    About the routine: ``function`` says which, if there are several. ``define`` and ``undefine`` are for names that C
    or assembly uses, ``optimize`` (0, 1, 2, 3, s) is for the C compiler. ``bind``: what registers, parameters or
    variables hold at entry: a number, ``"buffer"``, or another input and a distance (``"rdi+65536"``).
    ``buffer_size``: in bytes; accesses beyond it are outside. ``static_key``: which way jump labels of a kernel's key
    go. ``begin`` and ``until``: symbols, symbol+offset or addresses. ``run_first``: functions that run before.

    At most ``max_paths`` paths are followed, ``max_seconds`` (10) taken, and ``memory`` bytes (2G) by the prover.

    Raises InputError. What cannot be judged is UNDECIDED.

    >>> result = verify("linux-4.9.120", cpu="skylake")
    >>> result.proved, result.rows[0].margin
    (True, 3)
    """
    sources = requests.sources_of(routine)
    asked = requests.about_a_routine(
        function=function, define=define, undefine=undefine, optimize=optimize, bind=bind, buffer_size=buffer_size,
        static_key=static_key, begin=begin, until=until, run_first=run_first, max_paths=max_paths,
        max_seconds=max_seconds,
    )  # fmt: skip
    asked = requests.about_caches(
        asked, cpu=cpu, cpu_folder=cpu_folder, policy=policy, geometry=geometry, start=start, then=then,
        touches=touches, memory=memory, every_cpu=every_cpu, every_path=every_path, fail_on=fail_on,
    )  # fmt: skip
    return _judged(sources, asked)


@in_python()
def trace(routine: Names, **how: Unpack[HowRun]) -> TraceResult:
    """What a routine does, path by path, in order, without a verdict. Arguments and errors as for :func:`verify`.

    >>> sum(run.count for run in trace("openbsd").paths[0].runs)
    1045
    """
    from l1dflush.sandbox.judged import trace_of

    return trace_of(requests.sources_of(routine), requests.about_a_routine(**how))


@in_python()
def compare(new: Names, old: Names, **question: Unpack[Question]) -> ComparisonResult:
    """What differs between two routines, and whether ``new`` is worse or better. Arguments and errors as for
    :func:`verify`; they are about both.

    >>> compare("two-passes", "one-pass", cpu="ice-lake").effect
    <Effect.BETTER: 'better'>
    """
    from l1dflush.verdict.compare.comparing import compare as compared

    old_sources = requests.sources_of(old)
    asked = _question(question)
    return compared(_judged(old_sources, asked.for_other(old_sources)), _judged(requests.sources_of(new), asked))


@in_python()
def certificate(routine: Names, **question: Unpack[Question]) -> str:
    """A proof that :func:`check` checks without the prover, as the text of a file. Arguments as for :func:`verify`.

    Raises InputError where the verdict is not PROVED or the start is a steady one, UndecidedError where the certificate
    cannot be made.
    """
    from l1dflush.sandbox.certified import certificate_text_of

    asked, sources = _question(question), requests.sources_of(routine)
    if asked.conditions.start.steady:
        raise arguments.START.refused("there are no certificates for a steady start")
    return certificate_text_of(_judged(sources, asked), sources, asked)


@in_python()
def check(certificate: str | bytes | os.PathLike[str], routine: Names = None, **how: Unpack[HowRun]) -> CheckResult:
    """Whether a certificate proves what it claims; with ``routine``, also whether it is about that one.

    ``certificate``: what :func:`certificate` gave, or the :class:`~pathlib.Path` of a file with it. Raises InputError.

    >>> check(certificate("linux-4.9.120", cpu="skylake")).accepted
    True
    """
    from l1dflush.sandbox.certified import check as checked

    sources = () if routine is None else requests.sources_of(routine)
    return checked(_read_certificate(certificate), sources, requests.about_a_routine(**how))


def _question(question: Question) -> VerifyOptions:
    how: HowRun = {name: value for name, value in question.items() if name in HowRun.__annotations__}  # type: ignore[assignment]
    caches: Any = {name: value for name, value in question.items() if name not in how}
    return requests.about_caches(requests.about_a_routine(**how), **caches)


def _judged(sources: Iterable[str], asked: VerifyOptions) -> VerifyResult:
    from l1dflush.data.catalogue import load_catalogue
    from l1dflush.sandbox.judged import verify as judged

    for name in asked.cpus:
        # The child would say the same, but not of which argument.
        with arguments.about(arguments.CPU):
            load_catalogue(asked.cpu_folders).get(name)
    return judged(tuple(sources), asked)


def _read_certificate(certificate: str | bytes | os.PathLike[str]) -> Certificate:
    from l1dflush.checking.read import parse_certificate, read_certificate

    if isinstance(certificate, os.PathLike):
        return read_certificate(Path(certificate))
    if not isinstance(certificate, str | bytes):
        raise arguments.Argument("certificate").refused("neither a string nor a path")
    data = certificate.encode() if isinstance(certificate, str) else certificate
    return parse_certificate(data, "certificate")
