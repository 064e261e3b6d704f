# SPDX-License-Identifier: GPL-2.0-or-later
"""The effect of a comparison in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from l1dflush.in_words import in_words
from l1dflush.verdict.compare.result import Change, Differences, Effect, RowChange
from l1dflush.verdict.verify_result import VerifyResult

SKIPPED = "skipped"
_MOST = 5
# Changes whose values are those of enumerations.
_OF_ENUMERATIONS = frozenset({"outcome", "kind of input"})


def summarise(
    old: VerifyResult, new: VerifyResult, differences: Differences, effect: Effect, missing: Sequence[str]
) -> str:
    """``worse: PROVED -> REFUTED; new warning no-fence``: the effect, and what it comes from."""
    if effect is Effect.NONE:
        said = [_harmless(differences)]
    elif effect is Effect.DIFFERENT:
        said = list(_different(differences))
    else:
        said = list(_telling(old, new, differences, effect))
    what = in_words(effect)
    text = f"{what}: {_listed(said)}" if said else what
    better = list(_telling(old, new, differences, Effect.BETTER)) if effect is Effect.WORSE else []
    if better:
        text += f"; but better: {_listed(better)}"
    if missing:
        # Why is said by the results themselves.
        who = " and ".join(side.upper() for side in missing)
        text += f"; {who} could not be followed, so only code and verdict were compared"
    return text


def _listed(said: Sequence[str]) -> str:
    more = f"; and {len(said) - _MOST} more" if len(said) > _MOST else ""
    return "; ".join(said[:_MOST]) + more


def arrow(change: Change, sign: bool = False) -> str:
    """``16 -> 8``; with ``sign`` as margins are written, ``+3 -> -5``."""
    named = change.what in _OF_ENUMERATIONS
    return f"{_value(change.old, sign, named)} -> {_value(change.new, sign, named)}"


def _value(value: str | int | None, sign: bool, named: bool) -> str:
    if value is None:
        return "none"
    if named:
        return in_words(str(value))
    return f"{value:+d}" if sign and isinstance(value, int) and value else str(value)


def _telling(old: VerifyResult, new: VerifyResult, differences: Differences, effect: Effect) -> Iterator[str]:
    """What is worse, or better."""
    for change in differences.verdict:
        if change.effect is effect:
            yield arrow(change)
    skip = sum(
        path.effect is effect and path.new is not None and new.paths[path.new].outcome == SKIPPED
        for path in differences.paths
    )
    skipped = sum(
        path.effect is effect and path.old is not None and old.paths[path.old].outcome == SKIPPED
        for path in differences.paths
    )
    if effect is Effect.WORSE and skip:
        yield "a new path skips the flush" if skip == 1 else f"{skip} new paths skip the flush"
    if effect is Effect.BETTER and skipped:
        which = "a path that skipped" if skipped == 1 else f"{skipped} paths that skipped"
        yield f"{which} the flush {'does' if skipped == 1 else 'do'} so no more"
    yield from _of_rows(differences.rows, effect, told={arrow(change) for change in differences.verdict})
    for finding in differences.findings:
        if finding.effect is effect and finding.new is not None:
            yield f"new {finding.new.severity} {finding.new.id}"
        elif finding.effect is effect and finding.old is not None:
            yield f"{finding.old.severity} {finding.old.id} is gone"


def _of_rows(rows: Sequence[RowChange], effect: Effect, told: set[str]) -> Iterator[str]:
    counted: dict[str, list[RowChange]] = {}
    for row in rows:
        if row.effect is effect:
            for text in _row_texts(row, effect):
                counted.setdefault(text, []).append(row)
    for text, members in counted.items():
        if text not in told:
            yield text + _on(members)


def _row_texts(row: RowChange, effect: Effect) -> Iterator[str]:
    if row.new is None:
        yield "PROVED -> no verdict"
    if row.old is None:
        yield "no verdict -> PROVED"
    changes = {change.what: change for change in row.changes if change.effect is effect}
    if "verdict" in changes:
        yield arrow(changes["verdict"])
    if "margin" in changes:
        yield f"margin {arrow(changes['margin'], sign=True)}"
    elif "old lines left" in changes and "verdict" not in changes:
        yield f"old lines left {arrow(changes['old lines left'])}"
    elif changes and "verdict" not in changes:
        more, fewer = ("fewer", "more") if effect is Effect.WORSE else ("more", "fewer")
        if any(isinstance(change.new, str) for change in changes.values()):
            yield f"{more} of the possible policies are proved"
        else:
            yield f"{fewer} old lines left with a possible policy"


def _on(rows: Sequence[RowChange]) -> str:
    titles = [title for row in rows for title in row.titles]
    if not titles:
        return ""
    others = len(titles) - 1
    return f" on {titles[0]}" + (f" and {others} other{'' if others == 1 else 's'}" if others else "")


def _different(differences: Differences) -> Iterator[str]:
    kinds: Counter[str] = Counter()
    for path in differences.paths:
        if path.effect is not Effect.NONE:
            kinds["new" if path.old is None else "gone" if path.new is None else "changed"] += 1
    names = {"changed": "differs", "new": "is new", "gone": "is gone"}
    for kind, count in kinds.items():
        verb = names[kind]
        plural = "differ" if verb == "differs" else verb.replace("is", "are")
        yield f"1 path {verb}" if count == 1 else f"{count} paths {plural}"
    parts = (
        ("code size", differences.names),
        ("verdict", differences.verdict),
        ("buffer", differences.buffer),
        ("findings", differences.findings),
        ("numbers for CPUs", differences.rows),
        ("scope", differences.scope),
    )
    # Each part has its own model; all have an effect.
    for name, part in parts:
        if any(one.effect is not Effect.NONE for one in part):
            yield f"the {name} {'differ' if name.endswith('s') else 'differs'}"


def _harmless(differences: Differences) -> str:
    found = []
    if differences.paths:
        found.append("own accesses")
    if differences.findings:
        found.append("the wording of notes")
    if differences.scope:
        found.append("what the kind of input brings with it")
    if differences.buffer or any(change.what == "function" for change in differences.names):
        found.append("names")
    return f"nothing differs but {', '.join(found)}" if found else "nothing differs"
