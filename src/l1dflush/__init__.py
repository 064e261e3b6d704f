"""Proves that an L1 data cache flush routine leaves nothing behind, or shows the state in which a line survives.

``from l1dflush import Flusher``: a flush that runs on this machine (:mod:`l1dflush.host.flusher`).
"""

from __future__ import annotations

# As `typing` has it, which takes so long to load that an interrupt comes meanwhile.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from l1dflush.host.flusher import Flusher

__version__ = "0.1.0"
__all__ = ["Flusher", "__version__"]


def __getattr__(name: str) -> object:
    """``Flusher`` is imported when somebody asks for it: it takes long, and ``l1dflush --help`` does not need it."""
    if name == "Flusher":
        from l1dflush.host.flusher import Flusher  # noqa: PLC0415

        return Flusher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
