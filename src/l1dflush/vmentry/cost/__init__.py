# SPDX-License-Identifier: GPL-2.0-or-later
"""What the flush before VM entries costs a host, by a trace of its VM exits."""
