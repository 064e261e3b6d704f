# SPDX-License-Identifier: GPL-2.0-or-later
"""Measurements of this machine's L1D by the time that loads take: unprivileged, without performance counters.

A measurement says what was seen, how often, and how sure that is; it proves nothing.
"""
