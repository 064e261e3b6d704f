"""What makes a function public, and what arguments are called."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from l1dflush import arguments

_P = ParamSpec("_P")
_R = TypeVar("_R")
PathLike = str | os.PathLike[str]
"""A path, as a text or as a :class:`~pathlib.Path`."""


def public(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Messages name the arguments as they are called here."""

    @functools.wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with arguments.in_python():
            return function(*args, **kwargs)

    return called
