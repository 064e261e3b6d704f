# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of a mail, a mailbox or a saved mailing-list page: what a patch lies in.

Mail comes with transfer encodings, character sets and nested parts; pages come with a thread index behind the
patch, or as HTML. All of them end as plain lines here; finding the patch in the lines is another module's
work.
"""

from __future__ import annotations

import email
import email.errors
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import decode_header
from email.message import Message
from email.policy import compat32

from l1dflush.errors import InputError, one_line

MAX_BYTES = 64 << 20
_MAX_MESSAGES = 20_000
_MAX_PARTS = 1000
_HEAD = 16 << 10
_LONGEST_SUBJECT = 2000  # decoding takes quadratic time

# The separator that mailbox.mbox goes by; that class wants a file, and this data may come from a pipe.
_FROM_LINE = re.compile(rb"^From \S[^\n]{0,200}\d{1,2}:\d\d[^\n]{0,40}\d{4}[^\n]{0,20}\n(?=[A-Za-z][\w-]*:)", re.M)
_HEADER = re.compile(
    rb"^(?:Return-Path|Received|From|To|Cc|Subject|Date|Message-ID|MIME-Version|Content-Type|In-Reply-To):",
    re.M | re.I,
)
_SUBJECT = re.compile(r"^Subject:[ \t]*([^\n]*(?:\n[ \t]+\S[^\n]*){0,5})", re.M | re.I)
_TAG = re.compile(r"</?[A-Za-z!][^<>]{0,2000}>")
_HTML_START = re.compile(r"\s*(?:<!doctype\s+html|<html|<\?xml)", re.I)
_PRE = re.compile(r"<pre\b", re.I)
_PATCH_TAG = re.compile(r"\[[^\]\n]{0,60}PATCH[^\]\n]{0,60}\]\s*", re.I)


@dataclass(frozen=True, slots=True)
class MailText:
    """A message: its subject (empty if it has none) and its text, line ends all ``\\n``.

    ``lines_before`` counts the lines of the file that come before the text; ``None`` when the text is not in
    the file as it is (it was decoded).
    """

    subject: str
    text: str
    lines_before: int | None


def looks_like_mail(data: bytes) -> bool:
    """Whether ``data`` begins like a mail or a mailbox, or like a page with a mail's header in it."""
    return len({match.group().lower() for match in _HEADER.finditer(data[:_HEAD])}) >= 2


def messages(source: str, data: bytes) -> Iterator[MailText]:
    """Every message of ``data``, or its whole text as one. Lines are cut at ``\\n`` only.

    Raises :class:`InputError` for what is not text, or beyond the limits.
    """
    if not data.strip():
        raise InputError("it is empty", where=source)
    if len(data) > MAX_BYTES:
        raise InputError(f"a patch or mail of more than {MAX_BYTES >> 20} MiB", where=source)
    if b"\0" in data:
        raise InputError("it is binary, no patch and no mail (it has NUL bytes)", where=source)
    data = data.replace(b"\r\n", b"\n")
    starts = [match.start() for match in _FROM_LINE.finditer(data)]
    if len(starts) > _MAX_MESSAGES:
        raise InputError(f"a mailbox of more than {_MAX_MESSAGES} messages", where=source)
    if not starts or data[: starts[0]].strip():
        starts.insert(0, 0)
    before = 0
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        yield _message(data[start:end], before)
        before += data.count(b"\n", start, end)


def _message(data: bytes, before: int) -> MailText:
    text = whole = _plain(data)
    subject = ""
    if _HEADER.match(data) or data.startswith(b"From "):
        try:
            parsed = email.message_from_bytes(data, policy=compat32)
            subject = _decoded_subject(parsed)
            text = "\n".join(_parts(parsed)) or text
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
            email.errors.MessageError,
        ):
            # The parser promises to take anything; where it does not, the lines as they are may still do.
            text = whole
    text = _without_html(text)
    if not subject and (match := _SUBJECT.search(text, 0, _HEAD)):
        subject = match.group(1)
    place = whole.find(text)
    lines_before = before + whole.count("\n", 0, place) if place >= 0 else None
    return MailText(_PATCH_TAG.sub("", one_line(subject))[:200], text, lines_before)


def _parts(message: Message) -> Iterator[str]:
    for count, part in enumerate(message.walk()):
        if count > _MAX_PARTS:
            return
        if part.is_multipart():
            continue
        main, kind = part.get_content_maintype(), part.get_content_type()
        if main == "text" or kind in ("application/octet-stream", "application/x-patch", "application/mbox"):
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes) and b"\0" not in payload:
                charset = part.get_content_charset() or ""
                yield _without_html(_plain(payload.replace(b"\r\n", b"\n"), charset))


def _plain(data: bytes, charset: str = "") -> str:
    for name in (charset, "utf-8"):
        if name:
            try:
                return data.decode(name)
            except (LookupError, ValueError, TypeError):
                continue
    return data.decode("latin-1")


def _decoded_subject(message: Message) -> str:
    raw = message.get("Subject")
    if raw is None:
        return ""
    pieces: list[str] = []
    for piece, charset in decode_header(str(raw)[:_LONGEST_SUBJECT]):
        pieces.append(piece if isinstance(piece, str) else _plain(piece, charset or ""))
    return "".join(pieces)


def _without_html(text: str) -> str:
    """``text`` itself, or what a browser would show of it when it is a page saved as HTML.

    Not by ``html.parser``: before Python 3.13.6 it takes quadratic time for tags and comments that do not end, minutes
    for 100 KB of ``<a `` (``tests/fuzz/test_hostile_text.py`` has these inputs)."""
    first_hunk = text.find("\n@@ ")
    head = text if first_hunk < 0 else text[:first_hunk]
    escaped = "&lt;" in text or "&gt;" in text or "&quot;" in text or "&amp;" in text or "&#" in text
    if not (_HTML_START.match(text) or (escaped and _PRE.search(head))):
        return text
    return html.unescape(_TAG.sub("", text))
