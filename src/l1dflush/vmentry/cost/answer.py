# SPDX-License-Identifier: GPL-2.0-or-later
"""What flushes before VM entries cost: a trace's exits, what each asks for, and what a flush takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from l1dflush import __version__
from l1dflush.errors import some_of
from l1dflush.vmentry.cost.count import Counted
from l1dflush.vmentry.cost.model import CostResult, CountsInfo, FlushInfo, LossInfo, ReasonInfo, TraceInfo
from l1dflush.vmentry.cost.reasons import NOT_KNOWN, Flag, ReasonRule, reason_key

# Exits and entries that differ by more than this share do not belong together.
_UNEVEN = 0.01


def costed(
    name: str, counted: Counted, flushes: Sequence[FlushInfo], rules: Mapping[str, ReasonRule], given: Sequence[str]
) -> CostResult:
    """The answer for a counted trace. ``given``: the reasons that the user has said something about."""
    trace = _trace(name, counted)
    order = sorted(range(len(counted.exits)), key=lambda code: (-int(counted.exits[code]), counted.reasons.names[code]))
    reasons = tuple(_reason(counted, code, trace, flushes, rules) for code in order if counted.exits[code])
    keys = ("exits", "requested", "cond_at_least", "cond_at_most")
    sums = [sum(getattr(one, key) for one in reasons) for key in keys]
    total = CountsInfo(
        exits=sums[0],
        share=1.0,
        requested=sums[1],
        cond_at_least=sums[2],
        cond_at_most=sums[3],
        always=sums[0],
        losses=_losses(sums[2], sums[3], sums[0], flushes, trace.cpu_seconds),
    )
    return CostResult(
        tool_version=__version__,
        trace=trace,
        flushes=tuple(flushes),
        total=total,
        reasons=reasons,
        doubts=tuple(_doubts(trace, reasons, flushes, given)),
        exit_status=0,
    )


def _trace(name: str, counted: Counted) -> TraceInfo:
    lines = counted.lines
    seconds = ((counted.last or 0) - (counted.first or 0)) / 1e9
    cpus = max(int(counted.cpus.sum()), 1)
    known = counted.without_cpu == 0
    guest = counted.guest / 1e9 if counted.entries and known else None
    return TraceInfo(
        name=name,
        form="csv" if counted.form == "csv" else "trace",
        lines=lines.total,
        exits=int(counted.exits.sum()),
        entries=counted.entries,
        requests=counted.requests,
        interrupts_traced=counted.interrupts > 0,
        other_lines=lines.others,
        broken_lines=lines.broken,
        cut=lines.cut,
        lost=lines.lost,
        backwards=counted.backwards,
        seconds=seconds,
        cpus=cpus,
        cpus_known=known,
        cpu_seconds=seconds * cpus,
        guest_seconds=guest,
        guest_share=guest / (seconds * cpus) if guest is not None and seconds else None,
    )


def _reason(
    counted: Counted, code: int, trace: TraceInfo, flushes: Sequence[FlushInfo], rules: Mapping[str, ReasonRule]
) -> ReasonInfo:
    name = counted.reasons.names[code]
    rule = rules.get(reason_key(name), NOT_KNOWN)
    exits, requested = int(counted.exits[code]), int(counted.requested[code])
    # What the trace shows counts whatever the table says of the reason.
    least = exits if rule.flag is Flag.SET else requested
    most = requested if rule.flag is Flag.NONE else exits
    return ReasonInfo(
        reason=name,
        flag=rule.flag,
        certainty=rule.certainty,
        source=rule.source,
        exits=exits,
        share=exits / trace.exits,
        requested=requested,
        cond_at_least=least,
        cond_at_most=most,
        always=exits,
        losses=_losses(least, most, exits, flushes, trace.cpu_seconds),
    )


def _losses(
    least: int, most: int, always: int, flushes: Sequence[FlushInfo], cpu_seconds: float
) -> tuple[LossInfo, ...]:
    def loss(flush: FlushInfo) -> LossInfo:
        seconds = [count * flush.nanoseconds / 1e9 for count in (least, most, always)]
        shares = [one / cpu_seconds if cpu_seconds else None for one in seconds]
        return LossInfo(
            flush=flush.name,
            cond_at_least_seconds=seconds[0],
            cond_at_most_seconds=seconds[1],
            always_seconds=seconds[2],
            cond_at_least_share=shares[0],
            cond_at_most_share=shares[1],
            always_share=shares[2],
        )

    return tuple(loss(flush) for flush in flushes)


def _doubts(
    trace: TraceInfo, reasons: Sequence[ReasonInfo], flushes: Sequence[FlushInfo], given: Sequence[str]
) -> list[str]:
    out: list[str] = []
    if trace.broken_lines:
        out.append(f"{trace.broken_lines} lines about exits or entries could not be read and do not count")
    if trace.cut:
        out.append("the trace breaks off within its last line, which does not count")
    if trace.lost:
        out.append(f"the recorder lost {trace.lost} events: there were more exits than these")
    if trace.backwards:
        out.append(f"{trace.backwards} events come before the one above them on their CPU")
    if trace.entries and abs(trace.entries - trace.exits) > max(_UNEVEN * trace.exits, 2 * trace.cpus):
        out.append(f"{trace.exits} exits do not go with {trace.entries} entries; flushes are counted by exits")
    if not trace.cpus_known:
        out.append("the trace does not say on which CPU things happened: the shares are of one CPU's time")
    if not trace.seconds:
        out.append("all events have the same time, so there is no CPU time to compare with")
    if not trace.interrupts_traced:
        out.append(
            "the trace has no interrupts of the host, which ask for a flush too where they come while an exit is"
            " handled: cond may be a little more (irq:irq_handler_entry, irq_vectors:local_timer_entry show them)"
        )
    if any(one.name == "linux-2018" and one.in_guest for one in flushes):
        what = "the cpuid of Linux's 2018 flush leaves the virtual machine that was measured in"
        out.append(f"{what}: on a host itself it takes less")
    if "planned" not in {one.name for one in flushes}:
        out.append("no planned flush: --flush-cost planned=TIME, or --measure --policy NAME")
    unknown = [one.reason for one in reasons if one.source == NOT_KNOWN.source]
    if unknown:
        out.append(
            f"it is not known what {some_of(unknown, 5)} ask for: counted at most, not at least"
            " (--sensitive and --harmless say)"
        )
    if trace.form == "trace" and all(one.reason == one.reason.lower() for one in reasons):
        out.append("these are exits of an AMD processor, where KVM has no such flush; the figures are as if it had")
    present = {reason_key(one.reason) for one in reasons}
    out += [f"no exit has the reason {name}" for name in given if reason_key(name) not in present]
    return out
