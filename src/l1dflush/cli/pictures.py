# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures as files: what can be drawn is checked before anything takes time."""

from __future__ import annotations

from pathlib import Path

from l1dflush.cli.files import check_writable
from l1dflush.errors import InputError
from l1dflush.extras import installs


def check_picture(path: Path) -> None:
    """Raises InputError where no picture could be drawn, or written to ``path``."""
    from importlib.util import find_spec

    if path.suffix.lower() not in (".svg", ".png"):
        raise InputError(f"'{path}' is not a picture that can be drawn", where="--plot", hint="name it .svg or .png")
    if find_spec("matplotlib") is None:
        raise InputError("drawing needs matplotlib", where="--plot", hint=installs("matplotlib"))
    check_writable(path)


def picture_form(path: Path) -> str:
    """``svg`` or ``png``."""
    return path.suffix.lower().removeprefix(".")
