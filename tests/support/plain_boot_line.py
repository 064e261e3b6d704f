# SPDX-License-Identifier: GPL-2.0-or-later
"""A second, plain decision from the boot line alone: what ``auto`` means and SMT's control, for words without quotes.

It walks over the words once per question and keeps no state between them, unlike the package, so that both are wrong
together only if the rule itself was misread.
"""

from __future__ import annotations

from l1dflush.mitigation.facts import Facts

L1TF = ("off", "flush,nowarn", "flush", "flush,nosmt", "full", "full,force")
VECTORS = ("user_kernel", "user_user", "guest_host", "guest_guest")
KNOWS_MITIGATIONS = {"4.9": 176, "4.19": 43}


def settled(facts: Facts) -> tuple[str, str]:
    """``l1tf`` and ``smt/control`` after boot, as text."""
    words = facts.line.split()
    l1tf = _l1tf(facts, words)
    return l1tf, _smt(facts, words, l1tf)


def _given(words: list[str], name: str) -> list[str]:
    return [
        word.partition("=")[2] for word in words if word.partition("=")[0].replace("-", "_") == name and "=" in word
    ]


def _mitigations(facts: Facts, words: list[str]) -> list[str]:
    major, minor, patch = facts.kernel.version
    if (major, minor) < (5, 2) and patch < KNOWS_MITIGATIONS.get(f"{major}.{minor}", 1 << 20):
        return []
    return _given(words, "mitigations") if facts.kernel.mitigations else []


def _old_word(facts: Facts, words: list[str]) -> str:
    """Before 6.17: the last of three words."""
    known = [value for value in _mitigations(facts, words) if value in ("auto", "off", "auto,nosmt")]
    if not facts.kernel.mitigations:
        return "off"
    return known[-1] if known else "auto"


def _beginning(value: str) -> str:
    return next((word for word in ("auto,nosmt", "auto", "off") if value.startswith(word)), "")


def _vectors(facts: Facts, words: list[str]) -> set[str]:
    """Since 6.17: those that nobody takes away."""
    if not facts.kernel.mitigations:
        return set()
    left = set(VECTORS)
    for value in _mitigations(facts, words):
        if _beginning(value) == "off":
            return set()
        left -= {switch.removeprefix("no_") for switch in _switches(value)}
    return left


def _switches(value: str) -> list[str]:
    """What follows the first word, up to the first that is not known."""
    rest = value.removeprefix(_beginning(value))
    found: list[str] = []
    if not rest.startswith(","):
        return found
    for switch in rest[1:].split(","):
        if switch not in (*(f"no_{vector}" for vector in VECTORS), "no_cross_thread"):
            break
        found.append(switch)
    return found


def _cross_thread(facts: Facts, words: list[str]) -> str:
    """Since 6.17: what the last of them says that has a say; a first word holds for those behind it too."""
    if not facts.kernel.mitigations:
        return "off"
    said, first = "auto", "auto"
    for value in _mitigations(facts, words):
        first = _beginning(value) or first
        said = {"off": "off", "auto,nosmt": "on"}.get(first, said)
        if "no_cross_thread" in _switches(value):
            said = "off"
    return said


def _l1tf(facts: Facts, words: list[str]) -> str:
    version = facts.kernel.version[:2]
    if not facts.cpu.bug:
        return "off" if version >= (6, 16) else "flush"
    explicit = [value for value in _given(words, "l1tf") if value in L1TF]
    if version >= (6, 17):
        if explicit:
            return explicit[-1]
        if not {"user_kernel", "guest_host"} & _vectors(facts, words):
            return "off"
        return "flush,nosmt" if _cross_thread(facts, words) == "on" else "flush"
    word = _old_word(facts, words)
    if word == "off":
        return "off"
    if word == "auto,nosmt" and (version < (6, 16) or not explicit):
        return "flush,nosmt"
    return explicit[-1] if explicit else "flush"


def _smt(facts: Facts, words: list[str], l1tf: str) -> str:
    version = facts.kernel.version[:2]
    alone = "nr_cpus=1" in words
    if facts.cpu.threads == 1 or (alone and version >= (6, 9)):
        return "notsupported"
    nobody = alone or "maxcpus=1" in words or not facts.siblings_online
    # Which stable versions took the change over, as their lists of patches say; 4.9.y never did.
    first = {(4, 14): 99, (4, 19): 21, (4, 20): 8}.get(version, 1 << 16)
    if nobody and version < (5, 0) and facts.kernel.version[2] < first:
        return "notsupported"
    wishes = {"off" if word != "nosmt=force" else "forceoff" for word in words if word.partition("=")[0] == "nosmt"}
    if facts.cpu.bug:
        wishes.add({"full,force": "forceoff", "full": "off", "flush,nosmt": "off"}.get(l1tf, "on"))
    if _for_other_bugs(facts, words):
        wishes.add("off")
    return "forceoff" if "forceoff" in wishes else "off" if "off" in wishes else "on"


def _for_other_bugs(facts: Facts, words: list[str]) -> bool:
    new = facts.kernel.version[:2] >= (6, 17)
    bugs = facts.cpu.bugs - ({"taa"} if not facts.cpu.rtm else set())
    if not new and _old_word(facts, words) == "off":
        return False
    default = bool(_vectors(facts, words)) if new else True
    always = _cross_thread(facts, words) == "on" if new else _old_word(facts, words) == "auto,nosmt"

    def says(option: str) -> list[str]:
        return [value for value in _given(words, option) if value in ("off", "full", "full,nosmt")]

    named = {"mds": "mds", "taa": "tsx_async_abort", "mmio_stale_data": "mmio_stale_data"}
    done = {
        bug
        for bug, option in named.items()
        if bug in bugs and ([*says(option)] or ["full" if default else "off"])[-1] != "off"
    }
    if done & {"mds", "taa"} or (done and bugs & {"mds", "taa"}):
        done = bugs & set(named)
    if any(always or "full,nosmt" in says(named[bug]) for bug in done):
        return True
    if "retbleed" not in bugs or facts.cpu.stibp or facts.cpu.vendor != "AuthenticAMD":
        return False
    wanted = not new or bool({"user_kernel", "guest_host"} & _vectors(facts, words))
    return wanted and (always or "retbleed=auto,nosmt" in words)
