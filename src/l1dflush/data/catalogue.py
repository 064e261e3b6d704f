"""Reads the CPU files of the package and of the user's folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from l1dflush.cache.cpu_files import MAX_FILE_BYTES, parse_cpu_files
from l1dflush.cache.cpus import Catalogue
from l1dflush.errors import InputError
from l1dflush.user_files import read_file

FOLDERS_VARIABLE = "L1DFLUSH_CPUS"
# Beside this module. importlib.resources would say the same and costs as much time as reading all the files.
BUNDLED = Path(__file__).parent / "cpus"
_MAX_FILES = 2000


def load_catalogue(folders: Sequence[Path] = (), environment: Mapping[str, str] | None = None) -> Catalogue:
    """The bundled CPUs and the user's, which replace bundled ones of the same name.

    The folders of the environment variable ``L1DFLUSH_CPUS`` come first, then ``folders`` (``--cpu-folder``),
    each stronger than those before it. Raises InputError.
    """
    listed = (os.environ if environment is None else environment).get(FOLDERS_VARIABLE, "")
    from_environment = [Path(part) for part in listed.split(os.pathsep) if part]
    if not from_environment and not folders:
        return _bundled()
    layers = [read_folder(BUNDLED)]
    layers += [read_folder(folder, named_by=FOLDERS_VARIABLE) for folder in from_environment]
    layers += [read_folder(folder) for folder in folders]
    return parse_cpu_files(*layers)


@cache
def _bundled() -> Catalogue:
    return parse_cpu_files(read_folder(BUNDLED))


def read_folder(folder: Path, *, named_by: str | None = None) -> dict[str, str]:
    """The texts of a folder's ``*.toml`` by path, in the order of their names. Raises InputError."""
    where = f"{named_by}: {folder}" if named_by else str(folder)
    try:
        paths = sorted(
            Path(entry.path)
            for entry in os.scandir(folder)
            if entry.name.endswith(".toml") and not entry.name.startswith(".")
        )
    except (OSError, ValueError) as error:
        raise _unreadable(where, error, "name a folder with CPU files (*.toml)") from None
    if not paths:
        raise InputError("there is no CPU file in it", where=where, hint="they are called NAME.toml")
    if len(paths) > _MAX_FILES:
        raise InputError(f"has more than {_MAX_FILES} CPU files", where=where, hint="name another folder")
    return {str(path): _read_text(path) for path in paths}


def _read_text(path: Path) -> str:
    data = read_file(path, MAX_FILE_BYTES, hint="make it readable or move it out of the folder", stdin=False)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 at byte {error.start}", where=str(path), hint="save it as UTF-8 text") from None


def _unreadable(where: str, error: Exception, hint: str) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"cannot be read: {reason}", where=where, hint=hint)
