# SPDX-License-Identifier: GPL-2.0-or-later
"""Smallest and cheapest flushes: which accesses are provably enough, and code that makes them."""
