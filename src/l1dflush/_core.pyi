"""The compiled core: what it offers to Python. Everything but :class:`Simulator` is about ONE cache set.

A policy is given by its canonical name (:mod:`l1dflush.cache.policies`) or as a machine (:class:`Mealy`); an
unknown name or a number of ways the policy is not defined at raises ``ValueError``. A policy state is a list of
numbers, the same as the Python twin uses.

A word is given as two lists of equal length: line ids (0 to 2**32 - 1) and kinds (0 access, 1 optional, 2
flush). ``max_states`` limits the states held in memory at the same time (default 5,000,000, of
:data:`BYTES_PER_STATE` each); beyond it :class:`StateSpaceTooLargeError` is raised, and :class:`OutOfTimeError` after
``max_seconds``.
All searches release the GIL and stop at Ctrl-C.

What a state is and why the searches are exact: ``core/prover/state.hpp`` and ``docs/theory.md``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

MAX_WAYS: int
BYTES_PER_STATE: int

class StateSpaceTooLargeError(RuntimeError):
    """More than ``max_states`` states; nothing may be concluded."""

class OutOfTimeError(RuntimeError):
    """More than ``max_seconds``; nothing may be concluded."""

class UnknownFillError(RuntimeError):
    """The machine does not say what filling an invalid way does, and that was asked for."""

def decide(
    policy: str | Mealy,
    ways: int,
    lines: Sequence[int],
    kinds: Sequence[int],
    *,
    start: str = "any",
    touches: int = 0,
    cold: Sequence[int] = ...,
    max_states: int | None = None,
    max_seconds: float | None = None,
    absolute: bool = False,
    merge_repeats: bool = True,
) -> tuple[list[int], int]:
    """The most old lines left after 0, 1, 2, ... items, up to and with the first 0; and the states kept.

    ``start``: ``any``, ``any+invalid`` or ``any+invalidations``; ``cold``: the lines that are not cached at the
    start; ``touches``: how often others may access the set, before any item. ``absolute`` keeps the policy state
    as it is instead of seeing the set relative to it, ``merge_repeats=False`` plays repeats that change nothing;
    both are slower and there for comparison.
    """

def distinct(
    policy: str | Mealy,
    ways: int,
    limit: int | None = None,
    *,
    start: str = "any",
    touches: int = 0,
    cold: bool = False,
    max_states: int | None = None,
    max_seconds: float | None = None,
    absolute: bool = False,
) -> tuple[list[int], bool, bool, int, list[int], bool]:
    """The same curve for pairwise different accesses; ``cold``: none of these lines is cached at the start.

    Returns the curve, whether it ended in 0, whether it never will (the search has come round in a circle),
    the states kept, and, if the curve is an upper bound only, how many leftovers are certain at each point (0: not
    known), empty if it is exact, and whether more might have become certain in more time. At most ``limit`` accesses
    are made.
    """

def distinct_at_most(
    policy: str | Mealy,
    ways: int,
    *,
    start: str = "any",
    cold: bool = False,
    max_states: int | None = None,
    max_seconds: float | None = None,
) -> list[int] | None:
    """An upper bound of that curve, for the policies with ages (the QLRU family): in less than a second at any number
    of ways. It goes on to the first 0, or to where it does not change any more. ``None`` for other policies.
    """

def witness(
    policy: str | Mealy,
    ways: int,
    lines: Sequence[int],
    kinds: Sequence[int],
    *,
    start: str = "any",
    touches: int = 0,
    cold: Sequence[int] = ...,
    max_states: int | None = None,
    max_seconds: float | None = None,
    absolute: bool = False,
    smallest: bool = True,
) -> tuple[list[int], list[int], list[tuple[int, int, int, int, list[int]]], bool] | None:
    """A start from which an old line is left, or ``None`` if there is none.

    Returns the policy state; for each way the index of the first item of the line in it, -1 for an old line or -2
    if it is invalid; and the steps. A step is what happens (0 miss, 1 hit, 2 dropped, 3 flushed, 4 not cached, 5
    somebody else's hit, 6 somebody else's miss), in which way, at or before which item, for a miss of somebody
    else the first item of the line brought in (-1: none of the word's), and the policy state afterwards. The
    last value says whether it is the smallest.
    ``smallest``: fewest lines of the word cached at the start, then fewest hits, then most left.
    """

class Mealy:
    """A machine from a file. ``states`` is their number; a state's number is its policy state (a list of one).

    ``hits``: (state, way, next state). ``misses``: (state, victim, next state, numerator, denominator) of a miss in a
    full set. ``fills``: (state, way, next state, numerator, denominator) of filling an invalid way; may be empty as
    a whole. Several outcomes of one input are a choice: by chance, or the adversary's if the denominator is 0.
    Raises ``ValueError`` for an incomplete machine and for states and ways that do not exist.
    """

    def __init__(
        self,
        ways: int,
        states: int,
        start: int,
        hits: Sequence[tuple[int, int, int]],
        misses: Sequence[tuple[int, int, int, int, int]],
        fills: Sequence[tuple[int, int, int, int, int]] = ...,
    ) -> None: ...
    @property
    def ways(self) -> int: ...
    @property
    def has_fills(self) -> bool: ...

def policy_empty(policy: str | Mealy, ways: int) -> list[int]:
    """The state of a set in which nothing was ever cached; of a machine, its start."""

def policy_hits(policy: str | Mealy, ways: int, state: Sequence[int], way: int) -> list[list[int]]:
    """The states that may follow an access that found its line in ``way``."""

def policy_misses(policy: str | Mealy, ways: int, state: Sequence[int]) -> list[tuple[int, list[int], tuple[int, int]]]:
    """What a miss in a full set may do: the way it replaces, the next state, and the chance as a fraction (a
    denominator of 0: the adversary chooses).
    """

def policy_fills(
    policy: str | Mealy, ways: int, state: Sequence[int], way: int
) -> list[tuple[list[int], tuple[int, int]]]:
    """What may follow a miss that put its line into the invalid ``way``: the next state and the chance.

    ``ValueError`` for a machine that does not say.
    """

def policy_invalid_way(policy: str | Mealy, ways: int, invalid: Sequence[int]) -> int:
    """Which of the ``invalid`` ways (at least one) a miss fills."""

def policy_repeat_hits(policy: str | Mealy, ways: int) -> int:
    """How many hits in a row, in the way touched last, may still change the state; -1: any number."""

def policy_position(policy: str | Mealy, ways: int, state: Sequence[int], way: int) -> int:
    """Where ``way`` stands as seen from the policy's own pointers; ``ValueError`` for a policy without symmetries
    (bit-PLRU, NRU, the ones with ages, machines).
    """

def policy_residue(policy: str | Mealy, ways: int, state: Sequence[int]) -> list[int]:
    """What the state becomes when every way is renamed to its position; empty where that is always the same.

    ``ValueError`` as for :func:`policy_position`.
    """

def policy_start_states(policy: str | Mealy, ways: int, max_states: int | None = None) -> list[list[int]]:
    """Every state of a full set that was filled from empty; of a machine without fills, every state reachable from
    its start.
    """

_SteadyStep = tuple[int, int, int, int, list[int]]

def steady(
    policy: str | Mealy,
    ways: int,
    words: Sequence[Sequence[tuple[int, int]]],
    *,
    turns: Sequence[Sequence[int]],
    lines: int,
    own: Sequence[int],
    from_any: bool,
    invalidations: bool,
    touches: int,
    enough: Sequence[int],
    verdict: bool,
    max_states: int | None = None,
    max_seconds: float | None = None,
    absolute: bool = False,
) -> tuple[list[int], bool, int, int, tuple[list[int], list[int], list[tuple[int, list[_SteadyStep]]], int] | None]:
    """The most old lines left at the end of each of ``words`` (line, kind), played in turn again and again.

    ``turns``: for each turn the numbers of the words that it may be. ``lines``: their number; they are 0, 1, ...;
    ``own``: those that others may access between the flushes.
    ``from_any``: the greatest fixpoint instead of the least. ``enough``: what each word cannot exceed; a search that
    reaches it ends. ``verdict``: so does one that finds anything left.

    Returns also whether these are the true numbers (and not what the memory allowed to find), the rounds, the states
    held at the end, and a run to the most that is left: policy state, content per way (-1 an old line, -2 invalid),
    legs, and how many of these lead back to the start. A leg is the number of a word, or -1 for what others do between
    two flushes (one thing each), and its steps. A step is what happens (as in :func:`witness`, and 7 others hit, 8
    others bring a line in, 9 a way becomes invalid), in which way, at or before which item, the line brought in (-1: an
    old line, or during a flush none of the protocol's), and the policy state afterwards.
    """

def chance(
    policy: str | Mealy,
    ways: int,
    lines: Sequence[int],
    kinds: Sequence[int],
    *,
    start: str = "any",
    touches: int = 0,
    cold: Sequence[int] = ...,
    max_states: int | None = None,
    max_seconds: float | None = None,
    absolute: bool = False,
) -> tuple[bytes, bytes, int, int, int]:
    """Bounds of the largest chance that an old line is left, equal if it is known exactly: (lower, upper, base,
    exponent, states). The bounds are whole numbers, lowest byte first, over base ** exponent.

    ``ValueError`` for a policy that leaves nothing to chance and is no machine.
    """

def chance_curve(
    policy: str | Mealy,
    ways: int,
    most: int,
    *,
    start: str = "any",
    touches: int = 0,
    cold: bool = False,
    max_states: int | None = None,
    max_seconds: float | None = None,
    absolute: bool = False,
) -> tuple[list[tuple[bytes, bytes]], int, bool, int]:
    """The same after n = 0, 1, ..., ``most`` pairwise different accesses, over base ** (n + touches): (bounds, base,
    endless, states). ``endless``: in some state that can be reached an old line can be kept for ever.
    """

LONGEST_WORD: int
"""How long the words of :func:`complete_words` may be."""

def complete_words(
    policy: str | Mealy,
    ways: int,
    length: int,
    *,
    limit: int | None = None,
    start: str = "any",
    cold: bool = False,
    max_states: int | None = None,
    max_seconds: float | None = None,
    absolute: bool = False,
    kept: int = 2000,
) -> tuple[list[list[int]], int]:
    """Every word of ``length`` accesses, repeats included, that leaves no old line; and how many beginnings of words
    were looked at.

    Lines are numbered as they first occur, and words are sorted; with ``limit``, only as many words as that, any ones.
    ``start`` and ``absolute`` as for :func:`decide`; ``cold``: none of the lines is cached at the start. ``kept``: how
    many of the hardest states are carried along before all are asked; it changes the time, never the words.
    """

def layers(
    policy: str | Mealy,
    ways: int,
    lines: Sequence[int],
    kinds: Sequence[int],
    *,
    start: str = "any",
    touches: int = 0,
    cold: Sequence[int] = ...,
    max_states: int | None = None,
    max_seconds: float | None = None,
    absolute: bool = False,
) -> tuple[bool, list[list[tuple[list[int], list[int], int, list[int]]] | None]]:
    """The states that the search keeps before each item, and behind the last, down to the first empty layer.

    Returns whether they are seen by position (see :func:`policy_position`) instead of by way, and the layers; ``None``
    is a layer that is the same as the one before. A state is the policy's numbers (by position those of the residue),
    what each way holds, the touches used, and the lines that only prefetches touched and that were pushed out since. A
    way holds a line (its number in the order of first occurrence), or is -1 unknown and perhaps invalid, -2 unknown
    and valid, -3 settled, -4 invalid, -5 brought in by others. ``max_states`` also holds for all layers together.
    """

class Simulator:
    """A cache of ``sets`` sets, empty at first; :class:`l1dflush.cache.simulate.Simulator` is the friendly form.

    ``ValueError`` for an unknown or nondeterministic policy, for sets that are no power of two up to 2**20, and for
    a ``line_size`` in bytes that is no power of two from 4 on. ``plain`` runs every access through the general code,
    which is slower and there for comparison.
    """

    def __init__(
        self, policy: str | Mealy, ways: int, sets: int, line_size: int, *, seed: int = 0, plain: bool = False
    ) -> None: ...
    def access(self, addresses: NDArray[np.uint64], hit: NDArray[np.bool_] | None = None) -> int:
        """Loads the addresses in order and returns how many hit; ``hit``, as long, says which.

        Both arrays are used in place and have to be contiguous. Without the GIL; every method raises ``RuntimeError``
        while another thread is in here. Stops at Ctrl-C, having made some of the accesses.
        """

    def contents(self, out: NDArray[np.int64]) -> None:
        """Writes the line number in each way, -1 if it is invalid, to ``out``, of shape (sets, ways)."""

    def state(self, set_index: int) -> list[int]:
        """The policy state of a set."""

    def holds(self, address: int) -> bool:
        """Whether the line of ``address`` is cached."""

    def flush_line(self, address: int) -> bool:
        """Makes the way with the line of ``address`` invalid, if there is one, and returns whether there was."""

    def flush_all(self) -> None:
        """Makes every way invalid."""

    def reset(self) -> None:
        """Empty, with the policy states and random numbers of the start."""

NATIVE: bool
"""Whether the core has native flushes: built for Linux on x86-64."""

LARGEST_BUFFER: int
"""The largest size :class:`NativeFlush` takes, in bytes."""

def native_code(routine: str) -> bytes:
    """The machine code that runs, read back from where it runs: ``seed``, ``planned`` or ``fill``.

    System V x86-64: the buffer in rdi, its size in rsi. Raises ValueError for another name, and
    :class:`l1dflush.errors.NoNativeCodeError`.
    """

def current_cpu() -> int:
    """The number of the CPU that the calling thread runs on, as of now; -1 where the system does not say."""

def cpuid(leaf: int, subleaf: int) -> tuple[int, int, int, int]:
    """What the instruction leaves in eax, ebx, ecx and edx, on the CPU that the calling thread runs on.

    A leaf beyond the last one is answered as the CPU likes. Raises :class:`l1dflush.errors.NoNativeCodeError` on other
    machines than x86, and ``TypeError`` for what is no 32-bit number.
    """

class NativeFlush:
    """A buffer and a routine that reads it. A call flushes once, and again if the thread was moved to another CPU
    meanwhile; a move away and back is not noticed.

    The buffer is in a huge page if the kernel gives one that may be locked, and otherwise in small ones; its pages
    differ from each other, are read-only, locked, not merged, and not inherited by fork. A call holds the GIL, so
    threads flush and close one after the other. Raises FlusherClosedError and FlusherForkedError (all of
    :mod:`l1dflush.errors`), and ValueError where there is no buffer and one is asked for.
    """

    @overload
    def __init__(self, routine: str, size: int, *, first_size: int = 0) -> None:
        """``size`` in bytes, whole pages. ``first_size``, if not 0, is that of a second buffer, which the same routine
        reads before the flush, the first time on every CPU.

        Raises ValueError for a size or a name that is none, NoNativeCodeError, AllocationError and LockedMemoryError.
        """

    @overload
    def __init__(self, other: Callable[[], object]) -> None:
        """Has no buffer; a call calls ``other``, which must not refer to this object."""

    def __call__(self) -> None: ...
    def repeat(self, times: int) -> None:
        """The bare routine over the buffer, so many times: what a measurement compares a call with."""

    def close(self) -> None:
        """Gives the memory back; nothing happens the second time."""

    def content(self) -> bytes:
        """What stands in the buffer."""

    @property
    def address(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def huge_page(self) -> bool: ...
    @property
    def started_on(self) -> list[int]:
        """The CPUs on which the second buffer was read."""

    @property
    def closed(self) -> bool: ...

CHAIN_CYCLES: int
"""Length of the chain of additions that :meth:`Region.costs` times: as many cycles."""
FLUSH_PAGE: int
CONTROL_SETS: int
CONTROL_PAGES: int
MOST_STEPS: int
MOST_TIMED: int

# Where NATIVE is false, neither of the following is there.

def time_stamp() -> int:
    """The time-stamp counter."""

class Region:
    """Memory whose lines are visited while a clock runs; ``core/native/probe.hpp`` says what a node is.

    ``pages`` pages, in huge pages where there are any; the last ``CONTROL_PAGES`` of them are the probe's own.
    MemoryError if there is not so much memory, ValueError for a number of pages that makes no region. ``ValueError``
    also for offsets, sets and sizes that do not fit. Without the GIL; ``RuntimeError`` while another thread is in here.
    """

    def __init__(self, pages: int) -> None: ...
    @property
    def pages(self) -> int: ...
    @property
    def address(self) -> int:
        """Where it begins, in bytes."""

    def chain(self, nodes: NDArray[np.uint32]) -> None:
        """Links the nodes at these byte offsets, in this order; the last one ends the chain."""

    def run(
        self,
        steps: NDArray[np.uint32],
        prepare: NDArray[np.uint32],
        timed: NDArray[np.uint32],
        flush: NDArray[np.uint32],
        *,
        flush_from: int = 0,
        control_set: int,
    ) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        """Runs as many trials as ``prepare``, ``timed`` and ``flush`` have entries.

        ``steps`` has, trial after trial, the offsets of the nodes that are visited to prepare, then of those whose
        visits are timed (at most ``MOST_STEPS`` in all and ``MOST_TIMED`` timed); with ``FLUSH_PAGE`` set, the lines
        of a page that are flushed (clflush). In between the fill loop reads ``flush`` bytes from ``flush_from`` on.
        What the probe touches lies in ``CONTROL_SETS`` sets from ``control_set`` on. Returns the ticks of all timed
        visits, and per trial whether the thread ended on another CPU than it began on.
        """

    def costs(
        self, loop: str, start: int, size: int, *, before: str, victims_from: int, victims: int, trials: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.bool_]]:
        """Times ``loop`` over ``size`` bytes from ``start`` on, ``trials`` times: ``fill``, ``planned`` and
        ``seed`` are the flush loops, ``stream`` reads as fast as it can, ``none`` does nothing.

        Before each it runs the loop once (``before`` = ``flushed``), or reads (``clean``) or writes (``dirty``) the
        ``victims`` bytes from ``victims_from`` on. Returns the loop's ticks, those of ``CHAIN_CYCLES`` dependent
        additions right behind it, and whether the thread was moved.
        """

class Value:
    """A value of the abstract machine: a term without a constant part (0: none), plus a constant, of so many bits."""

    @property
    def term(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def constant(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

class Terms:
    """A store of terms: bit-vector expressions in a normal form (``core/machine/terms.hpp`` says which).

    Widths are 1 to 64 bits; operands of different widths where they have to be the same raise ``ValueError``.
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def value(self, term: int) -> Value:
        """The term as a value."""

    def symbol(self, bits: int, alignment: int = 1, least: int = 0, most: int = ...) -> Value:
        """A new symbol: something that nobody knows, a multiple of ``alignment`` from ``least`` to ``most``."""

    def number(self, bits: int, value: int) -> Value: ...
    def combine(self, operation: str, x: Value, y: Value) -> Value:
        """``add``, ``subtract``, ``multiply``, ``divide``, ``remainder``, ``multiply_high`` (these three also with
        ``_signed``), ``bit_and``, ``bit_or``, ``bit_xor``, ``shift_left``, ``shift_right``, ``shift_right_signed``;
        and, of one bit, ``equal``, ``below``, ``below_signed``, ``carries``, ``carries_signed``, ``borrows_signed``."""

    def complement(self, x: Value) -> Value: ...
    def slice(self, x: Value, start: int, bits: int) -> Value:
        """``bits`` bits from bit ``start`` on."""

    def widen(self, x: Value, bits: int, signed: bool = False) -> Value: ...
    def count_ones(self, x: Value, bits: int) -> Value: ...
    def count_leading_zeros(self, x: Value, bits: int) -> Value: ...
    def choose(self, condition: Value, x: Value, y: Value) -> Value: ...
    def known(self, x: Value) -> tuple[int, int, int, int]:
        """Bits that are surely 0, bits that are surely 1, and the smallest and the largest number that it can be."""

    def replaced(self, x: Value, old: Value, by: Value) -> Value:
        """``x`` with ``by`` in place of the term ``old``."""

    def evaluated(self, x: Value, numbers: Mapping[int, int]) -> int:
        """What it comes to with these numbers for its symbols, by their terms."""

class StoppedError(RuntimeError):
    """The machine cannot go on: (cause, base, offset, what is not known; if there are too many paths, the regions
    that were accessed and the conditions that were decided on the way). Nothing may be concluded."""

OPERATIONS: tuple[str, ...]
# The names of the machine's operations, in their order.

class Machine:
    """The abstract machine: runs a routine along every path (``core/machine/machine.hpp``).

    It has bases, pieces of memory with a place of their own: 0 is the stack, whose symbol is the stack pointer at
    entry, 1 is where the routine returns to. And slots, which hold values; 0 is the stack pointer.
    """

    def __init__(self, bits: int) -> None: ...
    @property
    def terms(self) -> Terms: ...
    def new_symbol(self, bits: int, alignment: int = 1, least: int = 0, most: int = ...) -> Value:
        """As :meth:`Terms.symbol`; all that this machine uses have to be made here."""

    def add_base(
        self,
        symbol: Value,
        size: int,
        content: bytes | None = None,
        writable: bool = True,
        outside: bool = False,
        unread: bool = False,
    ) -> int:
        """A further base, which begins at ``symbol``; ``content`` is its initialised beginning, with zeros behind it.
        Zeros of what is writable are not known. ``outside`` is code that is not here, if it is code. ``unread`` tells
        that it may have pointers, for which the run asks once something is loaded from it."""

    def set_convention(
        self, changed: Sequence[int], arguments: Sequence[int], preserved: Sequence[int], call: int, load: int
    ) -> None:
        """Slots that outside code may change, those that hold what it is given, those that a function has to give back
        as they were, and the kinds of the events that it runs and that a return address is loaded."""

    END_UNTIL: int
    END_NO_RETURN: int
    def set_flags(self, carry: int, zero: int) -> None:
        """Slots of the carry flag and of the zero flag: decisions say which instructions made them and the others."""

    def set_accesses(self, kinds: Sequence[int]) -> None:
        """The kinds of events that show that memory is there."""

    @property
    def kept_off_ends(self) -> bool:
        """Whether something was decided because no memory lies in the first or last page of the address space."""

    @property
    def kept_saved(self) -> bool:
        """Whether a saved register or a return address was taken to be on the stack still, though a store by an index
        that nobody knows, or code that is not here, may have reached it."""

    def set_ends(self, until: Sequence[tuple[int, int]], inside: bool) -> None:
        """Base and offset of the places where a path ends once something was run. ``inside``: it begins inside a
        function, and returns by what is above the stack pointer."""

    def keep(self, at: Value) -> None:
        """What is loaded from there as a whole no outside code changes."""

    def base(self, number: int) -> Value:
        """Where a base begins."""

    def add_pointer(self, base: int, offset: int, value: Value, size: int = 8) -> None:
        """Puts an address, or a distance that fits into so many bytes as a signed number, into the content of a
        base."""

    def set_borders(self, base: int, offsets: Sequence[int]) -> None:
        """Where variables begin in a base: of what is loaded from several of them each is asked for what it holds."""

    def add_slot(self, bits: int, temporary: bool = False, wild: bool = False, apart: bool = False) -> int:
        """A further slot of up to 8 whole bytes; a temporary one holds nothing from one instruction to the next, what a
        ``wild`` one holds may point to anything, and what one ``apart`` holds to where no other pointer leads."""

    def slot(self, number: int) -> Value:
        """What a slot holds at entry."""

    def set_slot(self, number: int, value: Value) -> None: ...
    def store(self, at: Value, value: Value, kept: bool = True) -> None:
        """Puts a value into memory at entry. On the stack it is the caller's: outside code leaves it alone, unless it
        is not ``kept``: then it may be changed by whoever is given a pointer to it."""

    def load(self, at: Value, size: int, pointers: Callable[[int], None] | None = None) -> Value:
        """What is in so many bytes of memory at entry; ``pointers`` is as in ``run``."""

    def bind(self, at: Value, value: Value) -> None:
        """Puts a value into memory at entry that no outside code changes."""

    def run(
        self,
        base: int,
        offset: int,
        lift: Callable[[int, int], tuple[int, bytes]],
        *,
        max_paths: int = 64,
        max_instructions: int = 10_000_000,
        max_events: int = 10_000_000,
        max_seconds: float = ...,
        possible: Callable[[list[tuple[Value, bool]]], bool | None] | None = None,
        pointers: Callable[[int], None] | None = None,
    ) -> list[
        tuple[list[tuple[int, int, Value, bool, bool, bool, int, int]], bytes, list[tuple[int, int]], int, int, bool]
    ]:
        """All paths from a place on. ``lift`` is asked once for each instruction, by base and offset, for its length
        and its operations (:func:`l1dflush.tracing.operations.packed`). ``possible`` is asked whether anything decides
        as a path did (conditions, and whether they hold) where intervals do not settle it; if not, the path is none.
        ``pointers`` is asked for those of an ``unread`` base, once, and adds them (:meth:`add_pointer`).

        Of each path: its decisions (base and offset of the instruction, condition, whether that holds, whether it
        branched, whether the condition is only a part of what it asks for, and the numbers plus 1 of the instructions
        that made the carry and the other flags), its events of 32 bytes (kind, size, number of the instruction, region,
        0, offset, step), their runs (turns, and how many events a turn has, each its step further every time), how many
        instructions were run, the number of the instruction that left plus 1, END_UNTIL, END_NO_RETURN, or 0 if it came
        back, and whether it is settled that something takes it. Raises StoppedError, what ``lift``, ``possible``
        and ``pointers`` raise, and ValueError if there is nobody to ask for pointers.
        """

    def set_aside(self, instructions: int) -> None:
        """From now on, at each conditional branch of a path, the way that is not gone is run as well, for up to so many
        instructions: nothing of it stays but its events."""

    @property
    def asides(self) -> list[tuple[int, int, int, int, bytes, list[tuple[int, int]]]]:
        """What happened on those ways: base and offset of the branch and of where it did not go, events and runs."""

    @property
    def places(self) -> list[tuple[int, int]]:
        """Base and offset of each instruction that was lifted, by its number."""

    def note(self, number: int) -> tuple[Value, Value]:
        """What an event without an address is about."""

    def described(self, value: Value) -> tuple[str, int, int, list[Value], list[tuple[Value, int]], int]:
        """What a term is: its operation, its width, the lowest bit of a slice, its operands, the addends of a sum with
        their factors, and a symbol's number."""

    def symbols_in(self, value: Value) -> list[int]:
        """The numbers of the symbols in a value, each once, the first ones first."""

    def origin(self, symbol: int) -> tuple[int, int, int, int, int, int, int]:
        """Where a symbol comes from: 0 was given, 1 is memory (region, offset, bytes), 2 is a result (base and offset
        of the instruction, slot): kind, region, offset, bytes, base, offset, slot."""

    def is_wild(self, symbol: int) -> bool:
        """Whether what a symbol stands for may be anything that was ever stored."""

    @property
    def held(self) -> list[tuple[int, int]]:
        """Writable places whose initial content was taken to be there still: base and offset."""
