# SPDX-License-Identifier: GPL-2.0-or-later
"""Which VM exits ask for a flush under ``cond``: a table in a file, each row with its source and certainty."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from l1dflush.cache.cpus import Certainty
from l1dflush.errors import InputError

_FILE = Path(__file__).parents[2] / "data" / "exit-reasons.toml"
_PREFIX = re.compile(r"^(?:exit_reason_|svm_exit_|vmexit_|exit_)(?=.)")


class Flag(StrEnum):
    """Whether handling an exit asks for a flush before the next entry under ``cond``."""

    SET = "set"
    MAYBE = "maybe"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ReasonRule:
    """What is known of an exit reason, from where, and how certainly."""

    flag: Flag
    source: str
    certainty: Certainty


NOT_KNOWN = ReasonRule(Flag.MAYBE, "not in the table of exit reasons", Certainty.UNKNOWN)


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    reasons: tuple[str, ...] = Field(min_length=1)
    flag: Flag
    source: str = Field(min_length=1)
    certainty: Certainty


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    group: tuple[_Group, ...] = Field(min_length=1)


def reason_key(name: str) -> str:
    """The name by which a reason is looked up: small letters, without ``EXIT_REASON_``, ``SVM_EXIT_`` or ``exit_``."""
    return _PREFIX.sub("", name.strip().lower())


@cache
def bundled_rules() -> Mapping[str, ReasonRule]:
    """The package's table by :func:`reason_key`."""
    return parse_rules(str(_FILE), _FILE.read_text(encoding="utf-8"))


def parse_rules(where: str, text: str) -> dict[str, ReasonRule]:
    """The table in ``text`` by :func:`reason_key`. Raises InputError for anything else than such a table, and for a
    reason that stands in it with two different flags."""
    try:
        content = _File.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=where) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not TOML: {str(error)[:200]}", where=where) from None
    rules: dict[str, ReasonRule] = {}
    for group in content.group:
        for reason in group.reasons:
            rule = ReasonRule(group.flag, group.source, group.certainty)
            if rules.setdefault(reason_key(reason), rule).flag is not rule.flag:
                raise InputError(f"'{reason}' is both {rule.flag} and something else", where=where)
    return rules


def chosen_rules(sensitive: Iterable[str], harmless: Iterable[str]) -> Mapping[str, ReasonRule]:
    """The package's table with what the user says of single reasons. Raises InputError for a contradiction."""
    rules = dict(bundled_rules())
    given: dict[str, str] = {}
    for option, flag, names in (("--sensitive", Flag.SET, sensitive), ("--harmless", Flag.NONE, harmless)):
        for name in names:
            key = reason_key(name)
            if not key:
                raise InputError("a reason without a name", where=option, hint=f"like {option} HLT")
            if given.setdefault(key, option) != option:
                raise InputError(f"'{name}' is also {given[key]}", where=option, hint="say one of the two")
            rules[key] = ReasonRule(flag, f"given: {option}", Certainty.UNKNOWN)
    return rules
