# SPDX-License-Identifier: GPL-2.0-or-later
"""The flush before VM entry: the subsystem that Linux's patch of 2018 began, a model machine for it, and /dev/kvm."""
