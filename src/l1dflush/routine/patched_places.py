# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a kernel patches the code of an image, as the hash of a routine has it."""

from __future__ import annotations

from bisect import bisect_left

from l1dflush.routine.model import Image, JumpSite

Site = JumpSite | tuple[str | int, ...]


class Sites:
    """Where a kernel patches, by address."""

    def __init__(self, sites: list[tuple[int, Site]]) -> None:
        self._sites = sorted(sites, key=lambda one: one[0])
        self._addresses = [address for address, _ in self._sites]

    def within(self, start: int, end: int) -> list[tuple[int, Site]]:
        """Those from ``start`` up to ``end``, each with its address."""
        return self._sites[bisect_left(self._addresses, start) : bisect_left(self._addresses, end)]


def sites_of(image: Image) -> Sites:
    """All of an image: jump labels, alternatives, traps, returns and where tracing comes in."""
    sites = image.patch_sites
    found: list[tuple[int, Site]] = list(sites.jumps.items())
    found += ((at, ("alternative", *features)) for at, features in sites.alternatives.items())
    found += ((at, ("trap", int(goes_on))) for at, goes_on in sites.traps.items())
    found += ((at, ("return",)) for at in sites.returns)
    found += ((at, ("tracing",)) for at in sites.tracing)
    return Sites(found)
