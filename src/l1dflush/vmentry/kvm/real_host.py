# SPDX-License-Identifier: GPL-2.0-or-later
"""The host under the subsystem when it is this machine: its buffer is a :class:`~l1dflush.silicon.flusher.Flusher`."""

from __future__ import annotations

from dataclasses import dataclass, field

from l1dflush.errors import AllocationError, LockedMemoryError, MsrUnavailableError
from l1dflush.silicon.flush_plan import PAGE, Request, flush_plan
from l1dflush.silicon.flusher import Flusher, Mechanism, Variant
from l1dflush.vmentry.kvm.names import Flush
from l1dflush.vmentry.subsystem import LINUX_2018_ORDER, CpuFacts, Subsystem


@dataclass(slots=True)
class FlusherHost:
    """A :class:`~l1dflush.vmentry.subsystem.Host`: this machine, on which reading is done as ``request`` says.

    The buffer is what the plan reads, which may be less than the 2**order pages that the subsystem asks for. ``msr``:
    the CPU's own command is given instead. ``why_none`` says why there was no memory the last time.
    """

    request: Request = field(default_factory=lambda: Request(Variant.LINUX_2018))
    msr: Flusher | None = None
    why_none: str = ""

    def allocate(self, order: int) -> Flusher | None:
        """Raises FlusherError and InputError for everything but a lack of memory."""
        asked = self.request
        size = asked.buffer_size
        if size is None and asked.variant == Variant.LINUX_2018:
            size = PAGE << order
        try:
            return Flusher(
                asked.variant,
                policy=asked.policy,
                geometry=asked.geometry,
                start=asked.start,
                touches=asked.touches,
                buffer_size=size,
            )
        except (AllocationError, LockedMemoryError) as error:
            self.why_none = str(error)
            return None

    def fill(self, buffer: Flusher, page: int, content: int) -> None:
        """The core has filled it already, with numbers of its own, and made it read-only. What is wanted of that,
        no two pages alike, is checked, and ``content`` is not used. Raises AllocationError."""
        if page:
            return
        whole = buffer.content()
        pages = {whole[at : at + PAGE] for at in range(0, len(whole), PAGE)}
        if len(pages) * PAGE != len(whole):
            raise AllocationError("two pages of the buffer are alike")

    def free(self, buffer: Flusher) -> None:
        """Gives the memory back."""
        buffer.close()

    def read(self, buffer: Flusher) -> None:
        """Flushes the L1D of the CPU that this thread runs on."""
        buffer()

    def command(self) -> None:
        """The same by the CPU's own command. Raises MsrUnavailableError."""
        if self.msr is None:
            raise MsrUnavailableError("the CPU's own command was not asked for")
        self.msr()


def real_subsystem(flush: Flush, request: Request | None = None) -> Subsystem[Flusher]:
    """A subsystem, not loaded yet, for this machine: as if its CPU had the bug, since the flush is asked for.

    ``request`` has the policy and so on for a flush that reads; its variant is ``flush``. Raises InputError, and
    FlusherError where there is no such flush.
    """
    if flush is Flush.MSR:
        host = FlusherHost(msr=Flusher(mechanism=Mechanism.MSR))
        return Subsystem(host, CpuFacts(command=True))
    given = request or Request()
    asked = Request(flush, given.policy, given.geometry, given.start, given.touches, given.buffer_size)
    plan = flush_plan(asked)
    order = LINUX_2018_ORDER if flush is Flush.LINUX_2018 else (-(-plan.size // PAGE) - 1).bit_length()
    return Subsystem(FlusherHost(asked), CpuFacts(), order=order)
