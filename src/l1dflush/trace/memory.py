"""What the routine's memory holds, as far as anybody defined it, and which arena an address belongs to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable

from l1dflush.errors import UndecidedError
from l1dflush.routine.model import EXTERNAL_BASE, Image, Section, Symbol
from l1dflush.trace.machine import PAGE, SEGMENT_BASES, SEGMENT_REACH, Machine
from l1dflush.trace.model import POINTER_ALIGNMENT, Arena, ArenaKind
from l1dflush.trace.values import Unknown, Unknowns

# State of a byte.
UNDEFINED, DEFINED, STORED_UNKNOWN = 0, 1, 2
# What the stack pointer's value at entry is called.
STACK_POINTER = "the stack pointer"
# How far behind a section memory still counts as what lies behind it.
BEHIND = 16 << 20


# In the names of values that may lead to per-CPU memory.
_LEADS_TO_SEGMENTS = ("gs:", "fs:", "rdgsbase", "rdfsbase", "rdmsr")
# Where the stack protector's guard is, as reports call it (GCC's -mstack-protector-guard).
GUARDS = {
    64: frozenset({"gs:0x28", "fs:0x28", "gs:__ref_stack_chk_guard", "gs:__stack_chk_guard"}),
    32: frozenset({"gs:0x14", "fs:__stack_chk_guard", "fs:__ref_stack_chk_guard", "gs:__stack_chk_guard"}),
}


class MemoryState:
    """Per byte: undefined, defined, or written with an unknown value."""

    def __init__(self, image: Image, machine: Machine, unknowns: Unknowns) -> None:
        self._machine = machine
        self._unknowns = unknowns
        self._pages: dict[int, bytearray] = {}
        self._stored: dict[int, tuple[int, Unknown]] = {}
        # Counts the moments at which undefined memory may have changed behind our back, and those at which
        # stored unknown values became bytes without a name.
        self.version = 0
        self._torn = 0
        # Where a marker was put over a writable section's initial bytes.
        self._poked: set[int] = set()
        self._bound: list[tuple[int, int]] = []
        self.assumptions: dict[str, None] = {}
        # Addresses in the stack that outside functions were given, or that were stored where they may find them.
        self.escaped: set[int] = set()
        self._sections = sorted(image.sections, key=lambda section: section.address)
        self._starts = [section.address for section in self._sections]
        self._arenas: dict[str, Arena] = {}
        data_symbols = [s for s in image.symbols.values() if s.defined and not s.function]
        self._symbols = sorted(data_symbols, key=lambda symbol: (symbol.address, symbol.size or 0))
        self._symbol_starts = [symbol.address for symbol in self._symbols]
        self._external = {s.address: s for s in image.symbols.values() if not s.defined}
        self._external_stride = image.external_stride
        self._bad = image.bad_relocations
        self._bits = image.bits
        self.segments_used = False
        self._segments_taken = False

    def section_at(self, address: int) -> Section | None:
        """The section of the image that ``address`` lies in."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        section = self._sections[index]
        return section if address < section.address + section.size else None

    def _owner(self, address: int) -> Section | None:
        """The section that ``address`` lies in or, up to the next one, behind: whoever walks on from a variable
        walks what lies behind it."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        section = self._sections[index]
        return section if address < max(EXTERNAL_BASE, section.address + section.size + BEHIND) else None

    def external_at(self, address: int) -> Symbol | None:
        """The undefined symbol in whose region ``address`` lies. A linked file has none, wherever it lies."""
        return self._external.get(address - address % self._external_stride)

    def symbol_at(self, address: int) -> Symbol | None:
        """The data symbol or undefined symbol that ``address`` is nearest behind, in the same section."""
        external = self.external_at(address)
        if external is not None:
            return external
        index = bisect_right(self._symbol_starts, address) - 1
        if index < 0:
            return None
        symbol = self._symbols[index]
        section = self._owner(address)
        return symbol if section is not None and symbol.address >= section.address else None

    def resolve(self, address: int, unknown: Unknown | None, segment: str = "") -> tuple[Arena, int]:
        """The arena and the offset in it of an address that was computed from ``unknown`` (or from nothing
        unknown), relative to ``segment`` (fs or gs) if that is given."""
        if unknown is not None:
            offset = address - unknown.marker
            if abs(offset) >= self._unknowns.reach:
                raise UndecidedError("address-out-of-reach", f"an address {offset:+#x} bytes from {unknown.arena.name}")
            return unknown.arena, offset
        if segment:
            return self._resolve_in_segment(segment, address - SEGMENT_BASES[self._bits][segment])
        symbol = self.external_at(address)
        if symbol is not None:
            arena = self._arena(f"external:{symbol.name}", ArenaKind.SYMBOL, f"`{symbol.name}`", POINTER_ALIGNMENT)
            return arena, address - symbol.address
        if not self._unknowns.reserve(address):
            raise UndecidedError("address-unknown", f"the address {address:#x} is where unknown memory was put")
        if self._in_segments(address):
            if self.segments_used:
                raise UndecidedError("address-unknown", f"the address {address:#x} is where per-CPU memory was put")
            self._segments_taken = True
        section = self._owner(address)
        if section is not None:
            name = f"section {section.name}"
            arena = self._arena(f"section:{section.address:x}", ArenaKind.SECTION, name, section.alignment)
            return arena, address - section.address
        return self._arena("absolute", ArenaKind.ABSOLUTE, "absolute addresses", PAGE), address

    def use_segments(self) -> None:
        """To be called before the first access relative to fs or gs. Raises UndecidedError where a linked file
        lies at the addresses that such memory is given."""
        if not self.segments_used:
            ends = (at for s in self._sections for at in (s.address, s.address + s.size - 1))
            if self._segments_taken or any(map(self._in_segments, ends)):
                raise UndecidedError("address-unknown", "addresses are in use where per-CPU memory would be put")
            self._machine.use_segments()
            self.segments_used = True

    def stored_through(self, origin: Unknown) -> None:
        """Something is stored where ``origin`` points to. A pointer that came from per-CPU memory may point back into
        it, and so may the segment's base."""
        if self.segments_used and any(word in name for name in origin.sources for word in _LEADS_TO_SEGMENTS):
            self.version += 1
            self._torn += 1
            for page, states in self._pages.items():
                if self._in_segments(page * PAGE):
                    self._pages[page] = states.replace(b"\x01", b"\x02")
            for at in [at for at in self._stored if self._in_segments(at)]:
                del self._stored[at]

    def _in_segments(self, address: int) -> bool:
        below, above = SEGMENT_REACH[self._bits]
        return any(base - below <= address < base + above for base in SEGMENT_BASES[self._bits].values())

    def _resolve_in_segment(self, segment: str, offset: int) -> tuple[Arena, int]:
        """Per-CPU and per-thread memory: each outside symbol and each section of the image has a copy there,
        and nobody knows where it lies."""
        below, above = SEGMENT_REACH[self._bits]
        if not -below <= offset < above:
            raise UndecidedError("address-out-of-reach", f"an address {offset:+#x} bytes from {segment}")
        inner, within = None, offset
        if offset >= 0 and (self.external_at(offset) is not None or self._owner(offset) is not None):
            inner, within = self.resolve(offset, None)
        key = f"{segment}:{inner.key if inner else ''}"
        symbol = self.symbol_at(offset) if inner else None
        name = f"`{segment}:{symbol.name if symbol else ''}`" if inner else f"memory at {segment}"
        alignment = inner.alignment if inner else POINTER_ALIGNMENT
        return self._arena(key, ArenaKind.SEGMENT, name, alignment), within

    def _arena(self, key: str, kind: ArenaKind, name: str, alignment: int) -> Arena:
        return self._arenas.setdefault(key, Arena(key, kind, name, max(alignment, 1)))

    def describe(self, address: int, arena: Arena, offset: int, origin: Unknown | None) -> str:
        """A short name for what lies at an address: ``vmx_l1d_flush_pages``, ``[rdi+0x1c]``, ``gs:irq_stat``."""
        if arena.kind is ArenaKind.SEGMENT:
            segment, _, inner = arena.key.partition(":")
            address -= SEGMENT_BASES[self._bits][segment]
            if not inner:
                return f"{segment}:{address:#x}"
            return f"{segment}:{self.describe(address, self._arenas[inner], offset, None)}"
        if origin is None:
            symbol = self.symbol_at(address)
            if symbol is not None:
                distance = address - symbol.address
                return f"{symbol.name}+{distance:#x}" if distance else symbol.name
            return f"{arena.name}{offset:+#x}"
        inner = "stack" if arena.kind is ArenaKind.STACK else "+".join(origin.sources)
        if len(inner) > 60:
            inner = inner[:57] + "..."
        return f"[{inner}{offset:+#x}]" if offset else f"[{inner}]"

    def state(self, address: int, size: int) -> bytes:
        """The states of ``size`` bytes."""
        page, start = divmod(address, PAGE)
        states = self._pages.get(page)
        if start + size <= PAGE:
            return bytes(size) if states is None else bytes(states[start : start + size])
        head = PAGE - start
        return self.state(address, head) + self.state(address + head, size - head)

    def mark(self, address: int, size: int, state: int) -> None:
        """Sets the state of ``size`` bytes and forgets what was stored there."""
        section = self.section_at(address)
        if section is not None and section.executable:
            raise UndecidedError("writes-code", f"the routine writes to its own code, {section.name} at {address:#x}")
        if self._stored:
            for at in range(address - 15, address + size):
                old = self._stored.pop(at, None)
                if old is not None and (at < address or at + old[0] > address + size):
                    self._torn += 1
        while size > 0:
            page, start = divmod(address, PAGE)
            length = min(size, PAGE - start)
            states = self._pages.get(page)
            if states is None:
                states = self._pages[page] = bytearray(PAGE)
            states[start : start + length] = bytes([state]) * length
            address, size = address + length, size - length

    def store(self, address: int, size: int, value: Unknown | None) -> None:
        """Records a store of a known value or of an unknown one."""
        self.mark(address, size, DEFINED if value is None else STORED_UNKNOWN)
        if value is not None:
            self._stored[address] = (size, value)
            if STACK_POINTER in value.sources and size == self._machine.width:
                self.escaped.add(int.from_bytes(self._machine.peek(address, size), "little"))

    def bind(self, address: int, data: bytes) -> None:
        """The user says what is there: no outside function changes it."""
        self._machine.poke(address, data)
        self.store(address, len(data), None)
        self._bound.append((address, len(data)))

    def forget(self, address: int, size: int) -> None:
        """The bytes hold something, but nobody knows what."""
        self.mark(address, size, STORED_UNKNOWN)
        self._torn += 1

    def forget_up_to(self, address: int, stops: set[int], limit: int) -> None:
        """Forgets what was written from ``address`` up to the first of ``stops``, at most ``limit`` bytes."""
        end = min((stop for stop in stops if address <= stop < address + limit), default=address + limit)
        for offset, state in enumerate(self.state(address, end - address) if end > address else b""):
            if state:
                self.forget(address + offset, 1)

    def outside_call(self) -> None:
        """A function that is not here ran: it may have written everything but the stack and what is bound."""
        self.version += 1
        self._torn += 1
        kept = [(at, size) for at, size in self._bound if self.state(at, size) == b"\x01" * size]
        for page, states in self._pages.items():
            if not self._on_stack(page * PAGE):
                self._pages[page] = states.replace(b"\x01", b"\x02")
        for at in [at for at in self._stored if not self._on_stack(at)]:
            del self._stored[at]
        for at, size in kept:
            self.mark(at, size, DEFINED)

    def _on_stack(self, address: int) -> bool:
        owner = self._unknowns.at(address)
        return owner is not None and STACK_POINTER in owner.sources

    def defined(self, address: int, size: int) -> bool:
        """Whether a load of ``size`` bytes gives a known value."""
        states = self.state(address, size)
        if states == b"\x01" * size:
            return True
        section = self.section_at(address)
        if section is None or any(states) or address + size > section.address + section.size:
            return False
        start = address - section.address
        initial = not section.writable or any(section.data[start : start + size])
        if not initial or (section.writable and self._poked.intersection(range(address - 7, address + size))):
            return False
        for bad in self._bad:
            if bad.address < address + size and address < bad.address + bad.size:
                raise UndecidedError("relocation", bad.reason, where=f"the data at {address:#x}")
        if section.writable:
            # Set when the file was made, and never changed as far as can be seen.
            symbol = self.symbol_at(address)
            name = f"`{symbol.name}`" if symbol is not None else f"{section.name} at {address:#x}"
            self.assumptions.setdefault(f"{name} still holds its initial value")
        return True

    def load(self, address: int, size: int, arena: Arena, offset: int, origin: Unknown | None) -> Unknown | None:
        """What a load gives: None if known, else the unknown value.

        A load of the machine's width then finds the marker in memory; after a narrower one the caller
        writes it into the register.
        """
        states = self.state(address, size)
        stored = self._stored.get(address)
        if stored is not None and stored[0] == size:
            return stored[1]
        if self.defined(address, size):
            return None
        marker_fits = size == self._machine.width
        text = self.describe(address, arena, offset, origin)
        if any(states):
            value = self._pieces(address, states, arena, offset, text)
            if marker_fits:
                self._machine.poke(address, value.marker.to_bytes(size, "little"))
                self.store(address, size, value)
            return value
        points = f"what `{text}` points to"
        version = self.version
        if size == self._machine.width and text in GUARDS[self._bits]:
            version = 0
            self.assumptions.setdefault(f"the stack protector's guard, {text}, does not change")
        value = self._unknowns.get(("load", arena.key, offset, size, version), {text}, name=points, exact=size)
        if marker_fits:
            # The emulator then loads the marker by itself.
            self._machine.poke(address, value.marker.to_bytes(size, "little"))
            if self.section_at(address) is not None:
                self._poked.add(address)
        return value

    def _pieces(self, address: int, states: bytes, arena: Arena, offset: int, text: str) -> Unknown:
        """The unknown value of bytes that were written in part, or by several stores."""
        size = len(states)
        data = self._machine.peek(address, size)
        known = bytes(byte for byte, state in zip(data, states, strict=True) if state == DEFINED)
        around = range(address - 15, address + size)
        pieces = [(at, *stored) for at in around if (stored := self._stored.get(at)) is not None]
        sources = {name for _, _, value in pieces for name in value.sources}
        lost = any(value.lost for _, _, value in pieces)
        names = tuple((at - address, length, self.content(at, length, value)) for at, length, value in pieces)
        key = ("pieces", arena.key, offset, states, known, names, self.version, self._torn)
        return self._unknowns.get(key, sources or {text}, alignment=1, lost=lost)

    def content(self, address: int, size: int, value: Unknown | None) -> Hashable:
        """What memory holds: its bytes if known, else which unknown value, and how far it was moved on."""
        data = self._machine.peek(address, size)
        if value is None:
            return data
        moved = int.from_bytes(data, "little") - value.marker if size == self._machine.width else 0
        return value.uid, moved

    def untouched(self, low: int, high: int) -> bool:
        """Whether nothing at all is known about the bytes from ``low`` up to ``high``: a cheap sufficient test."""
        if self.section_at(low) is not None or self.section_at(high - 1) is not None or low < 0x8000_0000:
            return False
        return not any(low // PAGE <= page <= (high - 1) // PAGE for page in self._pages)

    def held(self) -> list[Unknown]:
        """Unknown values that memory holds, and those behind whose markers something was stored."""
        written = [value for page in self._pages if (value := self._unknowns.at(page * PAGE)) is not None]
        return [*written, *(value for _, value in self._stored.values())]
