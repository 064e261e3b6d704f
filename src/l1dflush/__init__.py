"""Proves that an L1 data cache flush routine leaves nothing behind, or shows the state in which a line survives."""

__version__ = "0.1.0"
