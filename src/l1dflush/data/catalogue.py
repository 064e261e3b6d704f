# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the CPU files of the package and of the user's folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from l1dflush.errors import InputError
from l1dflush.user_files import read_file

if TYPE_CHECKING:
    from l1dflush.cache.cpus import Catalogue

FOLDERS_VARIABLE = "L1DFLUSH_CPUS"
# Beside this module. importlib.resources would say the same and costs as much time as reading all the files.
BUNDLED = Path(__file__).parent / "cpus"
_SUFFIX = ".toml"
_MAX_FILES = 2000


def load_catalogue(folders: Sequence[Path] = (), environment: Mapping[str, str] | None = None) -> Catalogue:
    """The bundled CPUs and the user's, which replace bundled ones of the same name.

    The folders of the environment variable ``L1DFLUSH_CPUS`` come first, then ``folders`` (``--cpu-folder``),
    each stronger than those before it. Raises InputError.
    """
    from_environment = _from_environment(os.environ if environment is None else environment)
    if not from_environment and not folders:
        return _bundled()
    layers = [read_folder(BUNDLED)]
    layers += [read_folder(folder, named_by=FOLDERS_VARIABLE) for folder in from_environment]
    layers += [read_folder(folder) for folder in folders]
    return _parsed(*layers)


def cpu_names(folders: Sequence[Path] = ()) -> list[str]:
    """The names of the CPUs that :func:`load_catalogue` would give, whatever is in their files: for completion, which
    must be quick. Folders that cannot be read have none."""
    found: set[str] = set()
    for folder in (BUNDLED, *_from_environment(os.environ), *folders):
        with suppress(OSError, ValueError):
            found |= {path.stem for path in _cpu_files(folder)}
    return sorted(found)


def _from_environment(environment: Mapping[str, str]) -> list[Path]:
    return [Path(part) for part in environment.get(FOLDERS_VARIABLE, "").split(os.pathsep) if part]


@cache
def _bundled() -> Catalogue:
    return _parsed(read_folder(BUNDLED))


def _parsed(*layers: Mapping[str, str]) -> Catalogue:
    from l1dflush.cache.cpu_files import parse_cpu_files  # noqa: PLC0415 (names alone do not need it)

    return parse_cpu_files(*layers)


def _cpu_files(folder: Path) -> list[Path]:
    """Raises OSError and ValueError."""
    return sorted(
        Path(entry.path)
        for entry in os.scandir(folder)
        if entry.name.endswith(_SUFFIX) and not entry.name.startswith(".")
    )


def read_folder(folder: Path, *, named_by: str | None = None) -> dict[str, str]:
    """The texts of a folder's ``*.toml`` by path, in the order of their names. Raises InputError."""
    where = f"{named_by}: {folder}" if named_by else str(folder)
    try:
        paths = _cpu_files(folder)
    except (OSError, ValueError) as error:
        raise _unreadable(where, error, "name a folder with CPU files (*.toml)") from None
    if not paths:
        raise InputError("there is no CPU file in it", where=where, hint="they are called NAME.toml")
    if len(paths) > _MAX_FILES:
        raise InputError(f"has more than {_MAX_FILES} CPU files", where=where, hint="name another folder")
    return {str(path): _read_text(path) for path in paths}


def _read_text(path: Path) -> str:
    from l1dflush.cache.cpu_files import MAX_FILE_BYTES  # noqa: PLC0415 (as above)

    data = read_file(path, MAX_FILE_BYTES, hint="make it readable or move it out of the folder", stdin=False)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 at byte {error.start}", where=str(path), hint="save it as UTF-8 text") from None


def _unreadable(where: str, error: Exception, hint: str) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"cannot be read: {reason}", where=where, hint=hint)
