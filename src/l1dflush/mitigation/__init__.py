# SPDX-License-Identifier: GPL-2.0-or-later
"""What Linux decides about L1TF and the flush at VM entry, from facts alone: no input or output.

:mod:`.decision` has the procedure, :mod:`.run_time` what happens afterwards, :mod:`.sysfs_text` the texts.
"""
