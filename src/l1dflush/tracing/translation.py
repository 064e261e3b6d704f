# SPDX-License-Identifier: GPL-2.0-or-later
"""P-code of single instructions, from pypcode or from what earlier runs kept.

Making pypcode's translator takes longer than everything else that a short run does. So what it says is kept in the
user's cache (:mod:`l1dflush.cache_files`), by its version, the mode, the instruction's bytes, where it is and where
relocations write; and the translator is made when an instruction comes up that is not there.
"""

from __future__ import annotations

import atexit
import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from l1dflush.cache_files import keep, read_kept
from l1dflush.tracing.lower import UnliftedError
from l1dflush.tracing.pcode import PcodeOp, Varnode, shortened

# Of the language's processor specification: in which mode instructions are read.
_LANGUAGES = {
    64: ("x86-64", {"addrsize": 2, "opsize": 1, "rexprefix": 0, "longMode": 1}),
    32: ("x86", {"addrsize": 1, "opsize": 1}),
}
# Changes with what is kept and what it means.
_FORMAT = 1
# Bytes, of one mode: about 6,000 instructions. Reading them takes a tenth of what the translator does.
MOST_KEPT = 2 << 20
# So many translations are at hand as they are used, and then one begins anew: who looks at thousands of modules in one
# process has a use for few of them again.
MOST_KNOWN = 1 << 14
_SPACES = frozenset({"const", "ram", "register", "unique"})
_REGISTERS = "registers"

Variant = tuple[bytes, int]
"""An instruction and where it is."""


class Translator:
    """Translates instructions of one mode."""

    def __init__(self, bits: Literal[32, 64]) -> None:
        self._bits = bits
        self._context: Any = None
        self._known: dict[tuple[Variant, ...], tuple[PcodeOp, ...]] = {}
        # As they are in the file, by key; and what this run needed, which is kept first.
        self._kept: dict[str, str] = {}
        self._used: dict[str, str] = {}
        self._size = 0
        self._new = False
        self._identity = _identity(bits)
        first, *lines = read_kept(self._file).decode("ascii", "replace").split("\n")
        if first == self._identity:
            self._kept = dict(line.partition("\t")[::2] for line in lines)
        self.registers = self._all_registers()

    @property
    def _file(self) -> str:
        return f"pcode-{self._bits}"

    def translate(self, variants: tuple[Variant, ...]) -> tuple[PcodeOp, ...]:
        """The operations of the first one, shortened; of what is a number the others have theirs. Raises UnliftedError
        if one cannot be translated, or if they differ in something else."""
        known = self._known.get(variants)
        if known is None:
            key = " ".join(f"{code.hex()}@{at:x}" for code, at in variants)
            line = self._used.get(key) or self._kept.get(key, "")
            known = _read(line, len(variants) - 1)
            if known is None:
                known = tuple(shortened(_merged([self._translated(*variant) for variant in variants])))
                self._new = True
                line = _written(known)
            self._use(key, line)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[variants] = known
        return known

    def save(self) -> None:
        """Keeps what is new for later runs."""
        if not self._new or not self._identity:
            return
        self._new = False
        # What was not needed this time goes first if there is too much.
        size, chosen = 0, [self._identity]
        for key, line in (
            self._used | {key: line for key, line in self._kept.items() if key not in self._used}
        ).items():
            size += len(key) + len(line) + 2
            if size > MOST_KEPT:
                break
            chosen.append(f"{key}\t{line}")
        keep(self._file, "\n".join(chosen).encode())

    def close(self) -> None:
        """Gives the translator up: its binding complains on standard error about what is still there at the end."""
        self._context = None

    def _use(self, key: str, line: str) -> None:
        """Says that this run needed it; of more than can be kept only the first ones are."""
        if key not in self._used and self._size <= MOST_KEPT:
            self._used[key] = line
            self._size += len(key) + len(line) + 2

    def _all_registers(self) -> dict[str, tuple[int, int]]:
        """All names of registers, each with its offset and size in bytes."""
        line = self._kept.get(_REGISTERS, "")
        found = _read_registers(line)
        if found is None:
            found = {name: (node.offset, node.size) for node, name in self._made().getAllRegisters().items()}
            self._new = True
            line = json.dumps(found, separators=(",", ":"))
        self._use(_REGISTERS, line)
        return found

    def _made(self) -> Any:
        """pypcode's translator. By its own class it would look through the languages of all processors first."""
        if self._context is None:
            from pypcode.pypcode_native import Context  # noqa: PLC0415 (often not needed)

            _, defaults = _LANGUAGES[self._bits]
            self._context = Context(f"<sleigh>{_language_file(self._bits)}</sleigh>")
            for name, value in defaults.items():
                self._context.setVariableDefault(name, value)
        return self._context

    def _translated(self, code: bytes, at: int) -> list[PcodeOp]:
        try:
            translation = self._made().translate(code, at, max_instructions=1)
        except Exception as error:
            raise UnliftedError(f"it cannot be translated ({type(error).__name__})") from None
        ops = []
        for op in translation.ops:
            inputs = [Varnode(v.space.name, v.offset, v.size) for v in op.inputs]
            name = op.opcode.name
            if name == "IMARK":
                if inputs[0].size != len(code):
                    raise UnliftedError("the decoders do not agree on its length")
                continue
            if name in ("LOAD", "STORE", "CALLOTHER"):
                inputs = inputs[1:]
            out = op.output
            made = None if out is None else Varnode(out.space.name, out.offset, out.size)
            ops.append(PcodeOp(name, made, tuple(inputs)))
        return ops


_made: dict[int, Translator] = {}


def translator(bits: Literal[32, 64]) -> Translator:
    """This process's translator of a mode."""
    if bits not in _made:
        _made[bits] = Translator(bits)
        atexit.register(_made[bits].close)
    return _made[bits]


def save() -> None:
    """Keeps what this process has translated for later runs."""
    for one in _made.values():
        one.save()


def _package() -> Path:
    """Where pypcode is, which takes a while to import."""
    spec = find_spec("pypcode")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("pypcode", name="pypcode")
    return Path(spec.origin).parent


def _language_file(bits: int) -> Path:
    return _package() / "processors/x86/data/languages" / f"{_LANGUAGES[bits][0]}.sla"


def _identity(bits: int) -> str:
    """What a kept translation depends on besides the instruction; empty if that cannot be said."""
    try:
        version = (_package() / "__version__.py").read_text().strip()
        status = _language_file(bits).stat()
    except (OSError, ValueError):
        return ""
    return json.dumps([_FORMAT, version, bits, status.st_size, status.st_mtime_ns])


def _merged(translations: list[list[PcodeOp]]) -> tuple[PcodeOp, ...]:
    """The first one, with the numbers of the others. Raises UnliftedError."""
    first = translations[0]
    if any(other != first for other in translations[1:]):
        if any(list(map(_shape, other)) != list(map(_shape, first)) for other in translations[1:]):
            raise UnliftedError("what it does depends on what a relocation puts into it, or on where it is")
        return tuple(
            PcodeOp(
                op.name,
                None if op.out is None else _with_others(op.out, [row.out for row in rows]),
                tuple(_with_others(node, [row.inputs[i] for row in rows]) for i, node in enumerate(op.inputs)),
            )
            for op, *rows in zip(*translations, strict=True)
        )
    return tuple(first)


def _with_others(node: Varnode, others: list[Varnode | None]) -> Varnode:
    offsets = tuple(other.offset for other in others if other is not None)
    return node._replace(others=offsets) if any(offset != node.offset for offset in offsets) else node


def _shape(op: PcodeOp) -> object:
    """What of an operation is not a number."""
    out = op.out if op.out is None or op.out.space != "ram" else op.out._replace(offset=0)
    return op.name, out, [n._replace(offset=0) if n.space in ("const", "ram") else n for n in op.inputs]


def _written(ops: Iterable[PcodeOp]) -> str:
    def node(v: Varnode) -> object:
        return v.space, v.offset, v.size, *v.others

    said = [(op.name, None if op.out is None else node(op.out), [node(v) for v in op.inputs]) for op in ops]
    return json.dumps(said, separators=(",", ":"))


def _read(line: str, others: int) -> tuple[PcodeOp, ...] | None:
    """What a line of the file says; None if it is none of ours."""
    try:
        said = json.loads(line)
        if not isinstance(said, list):
            return None
        return tuple(
            PcodeOp(_name(name), None if out is None else _node(out, others), tuple(_node(n, others) for n in inputs))
            for name, out, inputs in said
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _name(name: object) -> str:
    if not isinstance(name, str) or not name.isascii() or len(name) > 40:
        raise ValueError(name)
    return name


def _node(said: Any, others: int) -> Varnode:
    space, offset, size, *moved = said
    if (
        space not in _SPACES
        or any(type(number) is not int or not 0 <= number < 1 << 64 for number in (offset, *moved))
        or type(size) is not int
        or not 0 < size <= 64
        or len(moved) not in (0, others)
    ):
        raise ValueError(said)
    return Varnode(space, offset, size, None, tuple(moved))


def _read_registers(line: str) -> dict[str, tuple[int, int]] | None:
    try:
        return {_name(name): _register(*span) for name, span in json.loads(line).items()} or None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _register(offset: object, size: object) -> tuple[int, int]:
    if type(offset) is not int or type(size) is not int or not 0 <= offset < 1 << 32 or not 0 < size <= 64:
        raise ValueError(offset)
    return offset, size
