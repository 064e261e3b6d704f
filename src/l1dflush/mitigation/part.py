# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of the mitigation of August 2018 a kernel has, by what it calls itself.

What a host shows in ``/sys`` decides before any of this (:mod:`l1dflush.host.status.worlds`): these lists are for
kernels that nothing can be read of, and for those that somebody asks about.
"""

from __future__ import annotations

import re
from enum import StrEnum

Version = tuple[int, int, int]


class Part(StrEnum):
    """What a kernel has against L1TF.

    ``NOTHING``: not even the file in sysfs. ``INVERSION``: PTE inversion and the file; KVM has no flush, and there is
    neither ``l1tf=`` nor SMT's control. ``ALL``: that too.
    """

    NOTHING = "nothing"
    INVERSION = "inversion"
    ALL = "all"


SINCE = {(4, 4): 148, (4, 9): 120, (4, 14): 63, (4, 17): 15, (4, 18): 1}
"""The stable versions of August 2018; 4.19 had all of it from the start."""
WITHOUT_FLUSH = frozenset({(3, 16), (4, 4)})
"""Stable branches that took PTE inversion only. Ben Hutchings, 'x86/bugs: Change L1TF mitigation string to match
upstream', mails of May 2019 for 3.16.68-rc1 and 4.4.180-rc1: the mitigations for VMX were not applied to them."""
EARLY_TEXT = {(3, 16): 68, (4, 4): 180}
"""Of these branches, the version from which on the text has PTE Inversion for Page Table Inversion: the same mails."""

_LAST_3_16_BEFORE, _FIRST_3_16_SURE = 57, 68
"""3.16.59-rc1 is a mail of September 2018, and those of 3.16.68-rc1 say that the file in sysfs was there before."""
_LAST_3_18_BEFORE = 117
"""3.18.y went on until 2019; what it took is not known here. Other branches before 4.19 ended before August 2018."""

_PLAIN = re.compile(r"[0-9.]+(?:-rc[0-9]+)?")
"""A plus behind it means that there are changes beside (scripts/setlocalversion)."""
_MAINLINE_BUILD = re.compile(r"[0-9.]+-(?P<digits>[0-9]{6,7})(?:rc[0-9]+)?-[a-z]+")
"""Ubuntu's builds of unchanged kernels: 4.18.4-041804-generic."""
_DEBIAN = re.compile(r"\bDebian (\d{1,4})\.(\d{1,4})\.(\d{1,5})(?:-(\d{1,4}))?(?:\+deb9u(\d{1,4}))?(?!\d)")
_DEBIAN_9 = (110, 3, 3)
"""4.9.110-3+deb9u3: DSA-4279-1."""
_UBUNTU = re.compile(r"\d+\.\d+\.0-(\d{1,3})-(?:generic|lowlatency)")
_UBUNTU_SINCE = {(3, 13): 155, (4, 4): 133, (4, 15): 32}
"""USN-3742-1 (its change log, 3.13.0-155.205), USN-3741-1 (4.4.0-133.159), USN-3740-1 (4.15.0-32.35)."""
_RED_HAT = re.compile(r"3\.10\.0-(\d{1,5})((?:\.\d{1,4})*)\.el7\b.*")
_RED_HAT_7_5 = (862, 11, 6)
"""RHSA-2018:2384, seen in a report about 3.10.0-862.11.6.el7. Older minor releases have updates of their own."""
_RED_HAT_8 = re.compile(r"4\.18\.0-\d{1,5}(?:\.\d{1,4})*\.el8\b.*")
"""The first RHEL 8 is of 2019."""

_ANY = (Part.ALL, Part.INVERSION, Part.NOTHING)


def is_plain(version: Version, release: str) -> bool:
    """Whether a release is upstream's own, which nobody added patches to as far as the name shows."""
    build = _MAINLINE_BUILD.fullmatch(release)
    if build is not None:
        return build["digits"] == "".join(f"{number:02}" for number in version)
    return _PLAIN.fullmatch(release) is not None


def parts(version: Version, release: str, text: str = "") -> tuple[Part, ...]:
    """What a kernel may have, the likeliest first; a single one is certain.

    ``release`` as ``uname -r`` says it, and ``text`` as ``uname -v``, where that is known. A distribution's kernel is
    judged by its own version where that shows; most keep a number and take over patches.
    """
    branch, patch = version[:2], version[2]
    if branch >= (4, 19):
        return (Part.ALL,)
    if is_plain(version, release):
        return _upstream(branch, patch)
    own = _debian(branch, text) or _ubuntu(branch, release) or _red_hat(release)
    if own:
        return own
    if branch in SINCE and patch >= SINCE[branch]:
        # Whoever is at that number took it over, unless it was taken out again.
        return (Part.INVERSION, Part.ALL) if branch in WITHOUT_FLUSH else (Part.ALL,)
    return _ANY


def caveat(version: Version, release: str) -> str:
    """What has to be said with an answer about a kernel of that name; empty where the name is enough."""
    if len(parts(version, release)) == 1:
        return ""
    why = "distributions keep a number and take over patches"
    if is_plain(version, release):
        why = "which versions of its branch took it over was not found out"
    return f"{release} does not show how much of the mitigation of August 2018 it has: {why}"


def _upstream(branch: tuple[int, int], patch: int) -> tuple[Part, ...]:
    if branch == (3, 16):
        if _LAST_3_16_BEFORE < patch < _FIRST_3_16_SURE:
            return (Part.INVERSION, Part.NOTHING)
        return (Part.NOTHING,) if patch <= _LAST_3_16_BEFORE else (Part.INVERSION,)
    if branch == (3, 18) and patch > _LAST_3_18_BEFORE:
        return (Part.NOTHING, Part.INVERSION, Part.ALL)
    if branch not in SINCE or patch < SINCE[branch]:
        return (Part.NOTHING,)
    return (Part.INVERSION,) if branch in WITHOUT_FLUSH else (Part.ALL,)


def _debian(branch: tuple[int, int], text: str) -> tuple[Part, ...]:
    found = _DEBIAN.search(text)
    if found is None or (int(found[1]), int(found[2])) != branch:
        return ()
    patch, revision, update = int(found[3]), int(found[4] or 0), int(found[5] or 0)
    if branch == (3, 16):
        return _upstream(branch, patch) if patch != _LAST_3_16_BEFORE else (Part.NOTHING, Part.INVERSION)
    if branch == (4, 9) and patch <= _DEBIAN_9[0]:
        return (Part.ALL,) if (patch, revision, update) >= _DEBIAN_9 else (Part.NOTHING,)
    return (Part.ALL,) if branch in SINCE and patch >= SINCE[branch] else ()


def _ubuntu(branch: tuple[int, int], release: str) -> tuple[Part, ...]:
    found = _UBUNTU.fullmatch(release)
    if found is None or branch not in _UBUNTU_SINCE:
        return ()
    return (Part.ALL,) if int(found[1]) >= _UBUNTU_SINCE[branch] else (Part.NOTHING,)


def _red_hat(release: str) -> tuple[Part, ...]:
    if _RED_HAT_8.fullmatch(release):
        return (Part.ALL,)
    found = _RED_HAT.fullmatch(release)
    if found is None:
        return ()
    build = (int(found[1]), *(int(number) for number in found[2].split(".")[1:]))
    if build >= _RED_HAT_7_5:
        return (Part.ALL,)
    return (Part.NOTHING,) if build[0] == _RED_HAT_7_5[0] else ()
