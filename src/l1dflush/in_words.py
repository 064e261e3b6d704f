# SPDX-License-Identifier: GPL-2.0-or-later
"""Values of enumerations as people read them.

A result has identifiers, ``msr-write``, which programs compare; a person gets the words that they are made of.
"""

from __future__ import annotations

_SPELT = {"msr": "MSR", "kvm": "KVM", "c": "C"}


def in_words(value: str) -> str:
    """One value, or several with commas between them, in words.

    >>> in_words("msr-write-of-an-unknown-value")
    'MSR write of an unknown value'
    >>> in_words("learned-from-silicon, measured")
    'learned from silicon, measured'
    """
    return " ".join(_SPELT.get(word, word) for word in value.split("-"))
