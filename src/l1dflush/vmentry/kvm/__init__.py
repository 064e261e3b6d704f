# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests through /dev/kvm, with the flush before each entry natively."""
