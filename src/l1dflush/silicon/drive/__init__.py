# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives: accesses that bring a set into the start of a counterexample, whatever is in it before."""
