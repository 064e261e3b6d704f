# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes from the child to its parent: lines of JSON, and the parent believes nothing of it.

The first line says how the child is set up, the second has the answer: a text, or the exception that the task ended
in. Never pickle: the child is what may have been taken over.
"""

from __future__ import annotations

import errno
import json
import traceback
from collections.abc import Callable
from pathlib import Path

from l1dflush.errors import InputError, InternalError, UndecidedError

# Made before there is no memory to make it.
OUT_OF_MEMORY = b'{"out_of_memory": true}\n'
_LONGEST_TEXT = 1 << 16


class GarbledAnswerError(Exception):
    """This is not an answer."""


def line(content: dict[str, object]) -> bytes:
    """``content`` as it is sent."""
    return json.dumps(content).encode("ascii") + b"\n"


def answer_of(task: Callable[[], str], file_bytes: int) -> bytes:
    """The line that says what became of ``task``. ``file_bytes`` is the limit that it runs under."""
    try:
        return line({"text": task()})
    except MemoryError:
        return OUT_OF_MEMORY
    except InputError as error:
        return line({"input": [error.what, error.where, error.hint]})
    except UndecidedError as error:
        return line({"undecided": [error.cause, error.what, error.where, error.hint]})
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            what = f"a file of more than {file_bytes >> 20} MiB would have been written"
            return line({"undecided": ["file-too-large", what, None, None]})
        told = "".join(traceback.format_exception(error))[-_LONGEST_TEXT:]
        return line({"internal": [type(error).__name__, str(error)[:_LONGEST_TEXT], _place(error), told]})


def _place(error: BaseException) -> str:
    innermost = traceback.extract_tb(error.__traceback__)[-1:]
    return "".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in innermost)


def network_refused(first_line: bytes) -> bool:
    """What the first line says. Raises GarbledAnswerError."""
    content = _content(first_line)
    refused = content.get("network_refused")
    if len(content) != 1 or not isinstance(refused, bool):
        raise GarbledAnswerError
    return refused


def text_of(answer: bytes) -> str:
    """The text in the second line. Raises the exception that is in it instead, or GarbledAnswerError."""
    match _content(answer):
        case {"text": str(text), **more} if not more:
            return text
        case {"out_of_memory": True, **more} if not more:
            raise MemoryError
        case {"input": [str(what), where, hint], **more} if not more:
            raise InputError(what, where=_text_or_none(where), hint=_text_or_none(hint))
        case {"undecided": [str(cause), str(what), where, hint], **more} if not more:
            raise UndecidedError(cause, what, where=_text_or_none(where), hint=_text_or_none(hint))
        case {"internal": [str(kind), str(what), str(place), str(told)], **more} if not more:
            raise InternalError(kind, what, place, told)
        case _:
            raise GarbledAnswerError


def _content(data: bytes) -> dict[str, object]:
    try:
        content = json.loads(data)
    # RecursionError: brackets without end.
    except (ValueError, RecursionError):
        raise GarbledAnswerError from None
    if not isinstance(content, dict):
        raise GarbledAnswerError
    return content


def _text_or_none(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise GarbledAnswerError
