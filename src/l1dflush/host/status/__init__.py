# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a host is protected from L1TF, by what, and what would change that: its facts held against the decision.

:mod:`.worlds` turns facts into what :mod:`l1dflush.mitigation` asks for, :mod:`.explained` keeps what the kernel's own
words leave possible, :mod:`.judged` reads a verdict from that, :mod:`.changes` asks what if. Reads nothing itself.
"""
