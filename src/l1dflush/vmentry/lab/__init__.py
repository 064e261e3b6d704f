# SPDX-License-Identifier: GPL-2.0-or-later
"""A model machine for the flush before VM entry, and scenarios that are played on it."""
