# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts that ship with the package, and the reading of them. The CPU files are in ``cpus/``."""
