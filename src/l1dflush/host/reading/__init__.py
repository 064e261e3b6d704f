# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host says about itself: its files, CPUID and MSRs, read and never written."""
