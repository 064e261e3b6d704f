# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages that only some of the program needs, and what installs them."""

from __future__ import annotations

from l1dflush.errors import InputError

_OF = {"matplotlib": "plots", "numpy": "lab"}


def installs(package: str) -> str:
    """What to type to have a package.

    >>> installs("numpy")
    "pip install 'l1dflush[lab]'"
    """
    return f"pip install 'l1dflush[{_OF[package]}]'"


def lacking(error: ImportError) -> InputError | None:
    """What to say where one of them is not installed; None if something else could not be imported."""
    package = (error.name or "").partition(".")[0]
    if package not in _OF:
        return None
    return InputError(f"this needs {package}", hint=installs(package))
