# SPDX-License-Identifier: GPL-2.0-or-later
"""The caches that are asked about, and a row for each group of CPUs that have the same one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from l1dflush.arguments import CPU, GEOMETRY, POLICY
from l1dflush.cache.cpus import Catalogue, Cpu
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy, is_defined, policy_unknown
from l1dflush.data.catalogue import load_catalogue
from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.proof.prover import resolved
from l1dflush.tracing.model import Need
from l1dflush.verdict.instructions import lacking, not_there
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.question import Outcome, Question
from l1dflush.verdict.rows import judge_cache
from l1dflush.verdict.set_words import sets_of
from l1dflush.verdict.verify_result import GeometryInfo, Row

# One cache to judge: the CPU or None for --policy, its policy (None: unknown), and whether it decides.
Cache = tuple[Cpu | None, Geometry, str | Policy | None, bool]


def caches_of(options: VerifyOptions) -> list[Cache]:
    """The caches that the options name. Raises InputError."""
    if options.policy is not None and options.geometry is None:
        raise InputError(f"{POLICY} and {GEOMETRY} go together")
    if options.geometry is not None:
        if options.cpus:
            raise InputError(f"{CPU} and {POLICY} exclude each other", hint="a CPU has a policy already")
        policy = None if options.policy is None else resolved(options.policy, options.geometry.ways)
        return [(None, options.geometry, policy, True)]
    catalogue: Catalogue = load_catalogue(options.cpu_folders)
    if options.cpus:
        named = {cpu.name: cpu for cpu in (catalogue.get(name) for name in options.cpus)}
        return [(cpu, cpu.geometry, cpu.policy, True) for cpu in named.values()]
    return [(cpu, cpu.geometry, cpu.policy, options.every_cpu or cpu.l1tf_affected) for cpu in catalogue.x86()]


def rows_of(question: Question, caches: Sequence[Cache], needs: Sequence[Need]) -> list[Row]:
    """One row per group of CPUs with the same cache and the same instructions; those that decide first."""
    groups: dict[tuple[bool, bool, Geometry, str | Policy | None, Need | None], list[Cpu]] = {}
    for cpu, geometry, policy, decides in caches:
        affected = cpu is not None and cpu.l1tf_affected
        key = not decides, not affected, geometry, policy, lacking(cpu, needs)
        groups.setdefault(key, []).extend([cpu] if cpu is not None else [])
    outcomes: dict[tuple[Geometry, str | Policy | None, Need | None], Outcome] = {}
    rows = []
    for (informs, unaffected, geometry, policy, lacks), cpus in sorted(groups.items(), key=lambda item: item[0][:2]):
        case = geometry, policy, lacks
        if case not in outcomes:
            places = question.flush.places
            # Those that decide come first, so that what is kept has an example wherever one is to be shown.
            examples = question.all_examples or not informs
            outcomes[case] = (
                _outcome(question, geometry, policy, examples=examples) if lacks is None else not_there(lacks, places)
            )
        outcome = outcomes[case]
        rows.append(
            Row(
                cpus=tuple(cpu.name for cpu in cpus),
                titles=tuple(cpu.title for cpu in cpus),
                l1tf_affected=not unaffected,
                decides=not informs,
                geometry=GeometryInfo(size=geometry.size, ways=geometry.ways, sets=geometry.sets, line=geometry.line),
                policy=policy if isinstance(policy, str) else policy.name if policy else "unknown",
                policy_certainty=", ".join(dict.fromkeys(str(cpu.policy_certainty) for cpu in cpus)) or "given",
                needs=outcome.needs,
                has=outcome.has,
                margin=outcome.margin,
                verdict=outcome.verdict,
                cause=outcome.cause,
                reason=outcome.reason,
                leftovers=outcome.leftovers,
                sets_without_walk=outcome.sets_without_walk,
                curve=outcome.curve,
                chance=outcome.chance,
                candidates=outcome.candidates,
                counterexample=outcome.counterexample,
                sets=sets_of(outcome.words, question.written),
            )
        )
    return rows


def _outcome(question: Question, geometry: Geometry, policy: str | Policy | None, *, examples: bool) -> Outcome:
    if isinstance(policy, str) and not is_defined(policy, geometry.ways):
        reason = policy_unknown("this cache", policy)
        return Outcome(Verdict.UNDECIDED, None, None, None, 0, "policy-not-supported", reason)
    return judge_cache(question, geometry, policy, examples=examples)


def overall(rows: Iterable[Row]) -> tuple[Verdict, str]:
    """The worst verdict of the rows that decide."""
    deciding = [row for row in rows if row.decides]
    for verdict in (Verdict.REFUTED, Verdict.UNDECIDED):
        worst = [row for row in deciding if row.verdict is verdict]
        if worst:
            return verdict, worst[0].reason
    if not deciding:
        return Verdict.UNDECIDED, "no CPU was named that could decide"
    return Verdict.PROVED, ""
