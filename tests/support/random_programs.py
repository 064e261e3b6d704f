# SPDX-License-Identifier: GPL-2.0-or-later
"""Random small programs: the generator of the abstract machine's fuzzer.

A program is text for the assembler. It comes to its end on every input: loops have counters that nothing else writes,
other branches go forward, functions call only those that were made before them. Nothing in it is from the package.
:mod:`program_runs` says what a program does.
"""

from __future__ import annotations

import random

_LEGACY = {"rax": "a", "rbx": "b", "rcx": "c", "rdx": "d"}
_SUFFIX = {1: "b", 2: "w", 4: "l", 8: "q"}
CONDITIONS = ("o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g")
NUMBERS = ("rax", "rcx", "rdx", "r8", "r9", "r10", "r11")
POINTERS = ("rdi", "rsi", "rbx", "r12")
_FRAME, _COUNTERS = 96, 64  # of a function: bytes, and behind which there are only loop counters
_DATA = """
        .data
        .balign 16
d0:     .quad 0x1122334455667788, 7, d1+8, r0, 0xffffffff80000000
        .long 3, 0, 0x80000000, 5
d1:     .quad 1, 2, b0+16, 4, 5, 6, 7, 8
        .skip 192, 0x41
        .bss
        .balign 32
b0:     .skip 512
        .section .rodata, "a"
        .balign 8
r0:     .quad 5, 0xfedcba9876543210, d0, 64, 4096
        .skip 256, 3
"""


def register(name: str, size: int, high: bool = False) -> str:
    """A register's name in so many bytes, with its percent sign."""
    if name in _LEGACY:
        letter = _LEGACY[name]
        return "%" + {8: f"r{letter}x", 4: f"e{letter}x", 2: f"{letter}x", 1: f"{letter}{'h' if high else 'l'}"}[size]
    if name[1:].isdigit():
        return f"%{name}{ {8: '', 4: 'd', 2: 'w', 1: 'b'}[size] }"
    return "%" + {8: name, 4: f"e{name[1:]}", 2: name[1:], 1: f"{name[1:]}l"}[size]


class _Writer:
    """Writes one program."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.lines: list[str] = []
        self.labels = 0
        self.pushed = 0  # words on the stack above the frame
        self.loops = 0  # around here, in this function
        self.forks = 0  # branches on what may be unknown
        self.functions: list[str] = []
        self.counter_registers: tuple[str, ...] = ()
        # An address as a 32-bit number asks for a place in the lowest 2 GiB, and so do the others then.
        self.absolute = dice.random() < 0.3
        self.outside = dice.random() < 0.3

    def put(self, text: str) -> None:
        self.lines.append(f"        {text}")

    def label(self) -> str:
        self.labels += 1
        return f".L{self.labels}"

    def chance(self, p: float) -> bool:
        return self.dice.random() < p

    def size(self) -> int:
        return self.dice.choice((1, 2, 4, 4, 4, 8, 8, 8))

    def number(self) -> str:
        return self.dice.choice(NUMBERS)

    def pointer(self) -> str:
        return self.dice.choice(POINTERS)

    def value(self, size: int) -> int:
        """A number that an instruction can hold, sign-extended."""
        dice = self.dice
        bits = 8 * min(size, 4)
        most = (1 << (bits - 1)) - 1
        kinds = (0, 1, -1, 2, 3, 8, most, -most - 1, dice.randrange(-9, 70), 1 << dice.randrange(bits - 1),
                 (1 << dice.randrange(bits - 1)) - 1, dice.randrange(-most - 1, most + 1))  # fmt: skip
        return dice.choice(kinds)

    def of(self, size: int) -> str:
        """Some register with a number."""
        name = self.number()
        return register(name, size, high=size == 1 and self.chance(0.25))

    # --- addresses

    def index(self) -> str:
        """A register with a small number, known or not."""
        name = self.number()
        if self.chance(0.4):
            self.put(f"mov ${self.dice.randrange(16)}, {register(name, 4)}")
        else:
            self.put(f"and ${self.dice.choice((1, 3, 7, 8, 15, 24, 56))}, {register(name, 4)}")
        return name

    def slot(self) -> str:
        return f"{8 * self.pushed + self.dice.choice((0, 8, 16, 24, 8, 4, 1, 3, 12, 14, 40))}(%rsp)"

    def memory(self, writes: bool = False) -> str:
        """An operand in memory. What puts a number into an index register stands before."""
        dice = self.dice
        near = dice.choice((0, 0, 8, 16, 64, -8, dice.randrange(-64, 256)))
        kind = dice.random()
        if kind < 0.30:
            return f"{near}(%{self.pointer()})"
        if kind < 0.45:
            name = self.index()
            return f"{near}(%{self.pointer()},%{name},{dice.choice((1, 2, 4, 8))})"
        if kind < 0.70:
            return self.slot()
        if kind < 0.75:
            name = self.index()
            # At most 56 bytes on: below the counters.
            return f"{8 * self.pushed}(%rsp,%{name},{1})"
        symbols = ["d0", "d1", "b0", "b0"] + ([] if writes else ["r0"]) + (["outside"] if self.outside else [])
        symbol = f"{dice.choice(symbols)}+{dice.choice((0, 8, 16, 4, 24, 32, 1, dice.randrange(64)))}"
        if self.absolute and kind < 0.88:
            if self.chance(0.5):
                return symbol
            name = self.index()
            return f"{symbol}(,%{name},{dice.choice((1, 2, 4, 8))})"
        return f"{symbol}(%rip)"

    # --- statements

    def arithmetic(self) -> None:
        dice, size = self.dice, self.size()
        suffix = _SUFFIX[size]
        kind = dice.random()
        two = dice.choice(("add", "sub", "and", "or", "xor", "adc", "sbb", "cmp", "test", "mov", "add", "sub"))
        if kind < 0.25:
            self.put(f"{two}{suffix} ${self.value(size)}, {self.of(size)}")
        elif kind < 0.45:
            # A high byte does not go with the numbered registers.
            low = register(self.number(), size)
            self.put(f"{two}{suffix} {low}, {register(self.number(), size)}")
        elif kind < 0.50:
            first, second = (dice.choice(("rax", "rcx", "rdx")) for _ in range(2))
            move = dice.choice(("mov", "add", "xor", "cmp", "xchg", "sub"))
            self.put(f"{move} {register(first, 1, self.chance(0.6))}, {register(second, 1, self.chance(0.6))}")
        elif kind < 0.58:
            self.put(f"{dice.choice(('inc', 'dec', 'neg', 'not', 'neg', 'not'))}{suffix} {self.of(size)}")
        elif kind < 0.68:
            shift = dice.choice(("shl", "shr", "sar", "rol", "ror", "rcl", "rcr", "shl", "shr"))
            count = "%cl" if self.chance(0.3) else f"${dice.choice((1, 2, 3, 7, 8 * size - 1, dice.randrange(33)))}"
            self.put(f"{shift}{suffix} {count}, {self.of(size)}")
        elif kind < 0.71:
            size = dice.choice((4, 8))
            count = "%cl" if self.chance(0.3) else f"${dice.randrange(8 * size)}"
            a, b = (register(self.number(), size) for _ in range(2))
            self.put(f"{dice.choice(('shld', 'shrd'))} {count}, {a}, {b}")
        elif kind < 0.76:
            size = dice.choice((2, 4, 8))
            a, b = (register(self.number(), size) for _ in range(2))
            if self.chance(0.5):
                self.put(f"imul ${self.value(size)}, {a}, {b}")
            else:
                self.put(dice.choice((f"imul {a}, {b}", f"mul{_SUFFIX[size]} {a}", f"imul{_SUFFIX[size]} {a}")))
        elif kind < 0.82:
            narrow = dice.choice((1, 2))
            wide = dice.choice((4, 8))
            source = register(self.number(), narrow)
            move = f"mov{dice.choice('zs')}{_SUFFIX[narrow]}{_SUFFIX[wide]}"
            self.put(f"{move} {source}, {register(self.number(), wide)}")
        elif kind < 0.87:
            extend = ("cltq", "cwtl", "cbtw", "cltd", "cqto", "cwtd", "clc", "stc", "cmc", "lahf")
            moves = f"movslq {register(self.number(), 4)}, {register(self.number(), 8)}"
            self.put(dice.choice((*extend, moves)))
        elif kind < 0.90:
            self.put(f"set{dice.choice(CONDITIONS)} {self.of(1)}")
        elif kind < 0.93:
            size = dice.choice((2, 4, 8))
            a, b = (register(self.number(), size) for _ in range(2))
            self.put(f"cmov{dice.choice(CONDITIONS)} {a}, {b}")
        elif kind < 0.96:
            size = dice.choice((4, 8))
            a, b = (register(self.number(), size) for _ in range(2))
            of_bits = f"{dice.choice(('bt', 'btr', 'bts', 'btc'))} ${dice.randrange(32)}, {a}"
            others = (f"{name} {a}, {b}" for name in ("xchg", "bt", "xadd", "cmpxchg", "popcnt"))
            self.put(dice.choice((f"bswap {a}", of_bits, of_bits, *others)))
        else:
            a, b = self.number(), self.number()
            self.put(f"lea {self.value(4)}(%{a},%{b},{dice.choice((1, 2, 4, 8))}), {register(self.number(), 8)}")

    def shown(self) -> None:
        """What arithmetic came to, as an address: a flag, or some bits of a register."""
        dice, name = self.dice, self.number()
        if self.chance(0.5):
            self.put(f"set{dice.choice(CONDITIONS)} {register(name, 1)}")
            self.put(f"movzbl {register(name, 1)}, {register(name, 4)}")
        else:
            # The sign, too.
            by = dice.choice((0, 0, 4, 59))
            self.put(f"{dice.choice(('shr', 'sar', 'rol'))} ${by}, %{name}")
            self.put(f"and $15, {register(name, 4)}")
        self.put(f"mov (%{self.pointer()},%{name},8), {register(name, dice.choice((4, 8)))}")

    def move_pointer(self) -> None:
        """Pointers stay pointers: near where they were."""
        dice, p, q, n = self.dice, self.pointer(), self.pointer(), self.number()
        kind = dice.randrange(16)
        if kind < 3:
            self.put(f"{dice.choice(('add', 'sub'))} ${dice.choice((1, 4, 8, 64, 64, 128, 4096))}, %{p}")
        elif kind == 3:
            self.put(f"lea {dice.randrange(-64, 128)}(%{p}), %{q}")
        elif kind == 4:
            self.put(f"lea {dice.randrange(-64, 128)}(%{p},%{self.index()},{dice.choice((1, 2, 4, 8))}), %{q}")
        elif kind == 5:
            self.put(f"and ${-dice.choice((2, 8, 16, 64, 4096))}, %{p}")
        elif kind == 6:
            self.put(f"{dice.choice(('or', 'xor', 'add'))} ${dice.choice((1, 7, 8, 63, 64, 2048))}, %{p}")
        elif kind == 7:
            self.put(f"{dice.choice(('inc', 'dec'))} %{p}")
        elif kind == 8:
            self.put(f"{dice.choice(('mov', 'xchg'))} %{p}, %{q}")
        elif kind == 9:
            name = self.index()
            self.put(f"{dice.choice(('add', 'sub', 'or', 'xor'))} %{name}, %{p}")
        elif kind == 10:
            self.condition()
            self.put(f"cmov{dice.choice(CONDITIONS)} %{p}, %{q}")
        elif kind == 11:
            size = dice.choice((1, 2, 4, 8))
            self.put(f"mov {register(p, size)}, {register(n, size)}")
        elif kind == 12:
            twice = dice.choice(("neg", "not", "bswap"))
            self.put(f"{twice} %{p}")
            self.put(f"{twice} %{p}")
        elif kind == 13:
            symbol = dice.choice(("d0", "d1", "b0"))
            if self.absolute and self.chance(0.5):
                self.put(f"mov ${symbol}+{dice.randrange(64)}, {register(p, dice.choice((4, 8)))}")
            else:
                self.put(f"lea {symbol}+{dice.randrange(64)}(%rip), %{p}")
        elif kind == 14:
            self.put(f"mov {dice.choice((f'{8 * dice.randrange(4)}(%{q})', 'd0+16(%rip)', 'd1+16(%rip)'))}, %{p}")
        else:
            self.put(f"lea {8 * self.pushed + dice.randrange(48)}(%rsp), %{p}")

    def access(self) -> None:
        dice, size = self.dice, self.size()
        suffix = _SUFFIX[size]
        kind = dice.random()
        if kind < 0.35:
            at = self.memory()
            if size <= 2 and self.chance(0.5):
                wide = dice.choice((4, 8))
                self.put(f"mov{dice.choice('zs')}{suffix}{_SUFFIX[wide]} {at}, {register(self.number(), wide)}")
            else:
                self.put(f"mov{suffix} {at}, {register(self.number(), size)}")
        elif kind < 0.60:
            at = self.memory(writes=True)
            source = f"${self.value(size)}" if self.chance(0.3) else register(self.number(), size)
            self.put(f"mov{suffix} {source}, {at}")
        elif kind < 0.70:
            at = self.memory()
            operation = dice.choice(("add", "sub", "and", "or", "xor", "adc", "sbb", "cmp", "test"))
            if operation == "test":
                self.put(f"test{suffix} {register(self.number(), size)}, {at}")
            else:
                self.put(f"{operation}{suffix} {at}, {register(self.number(), size)}")
        elif kind < 0.82:
            at = self.memory(writes=True)
            operation = dice.choice(("add", "sub", "and", "or", "xor", "adc", "sbb", "cmp"))
            source = f"${self.value(size)}" if self.chance(0.5) else register(self.number(), size)
            self.put(f"{operation}{suffix} {source}, {at}")
        elif kind < 0.88:
            at = self.memory(writes=True)
            self.put(f"{dice.choice(('inc', 'dec', 'neg', 'not'))}{suffix} {at}")
        elif kind < 0.90:
            at = self.memory(writes=True)
            self.put(f"set{dice.choice(CONDITIONS)} {at}")
        elif kind < 0.92:
            size = dice.choice((2, 4, 8))
            at = self.memory()
            self.put(f"cmov{dice.choice(CONDITIONS)} {at}, {register(self.number(), size)}")
        elif kind < 0.94:
            size = dice.choice((4, 8))
            at = self.memory(writes=True)
            self.put(f"{dice.choice(('xchg', 'xadd', 'cmpxchg'))} {register(self.number(), size)}, {at}")
        elif kind < 0.96:
            at = self.memory(writes=True)
            self.put(f"{dice.choice(('shl', 'shr', 'sar', 'rol'))}{suffix} ${dice.randrange(1, 8)}, {at}")
        elif kind < 0.975:
            # A pointer, to where it may be loaded again; or one that is loaded, for the second time perhaps.
            if self.chance(0.5):
                self.put(f"mov %{self.pointer()}, {8 * dice.randrange(4)}(%{self.pointer()},%{self.index()},8)")
            else:
                self.put(f"mov {8 * dice.randrange(4)}(%{self.pointer()}), %{dice.choice(('rbx', 'r12'))}")
        else:
            # Stored and read again in another size.
            slot = 8 * self.pushed + dice.randrange(0, 24)
            self.put(f"mov {register(self.number(), 8)}, {slot}(%rsp)")
            size = dice.choice((1, 2, 4))
            self.put(f"mov{_SUFFIX[size]} {self.of(size)}, {slot + dice.randrange(8)}(%rsp)")
            self.put(f"mov {slot + dice.randrange(4)}(%rsp), {register(self.number(), dice.choice((4, 8)))}")

    def condition(self) -> None:
        """Sets the flags."""
        dice, size = self.dice, self.size()
        suffix = _SUFFIX[size]
        kind = dice.random()
        if kind < 0.3:
            self.put(f"cmp{suffix} ${self.value(size)}, {register(self.number(), size)}")
        elif kind < 0.5:
            self.put(f"cmp{suffix} {register(self.number(), size)}, {register(self.number(), size)}")
        elif kind < 0.7:
            self.put(f"test{suffix} ${dice.choice((1, 2, 4, 8, 64, 127))}, {register(self.number(), size)}")
        elif kind < 0.8:
            self.put(f"test{suffix} {(name := register(self.number(), size))}, {name}")
        elif kind < 0.9:
            self.put(f"cmp{suffix} ${self.value(size)}, {self.memory()}")
        elif kind < 0.95:
            self.put(f"test{suffix} ${dice.choice((1, 8, 32, 64))}, {register(self.pointer(), size)}")
        # Else those that are there.

    def branch(self, depth: int) -> None:
        self.forks += 1 + 2 * self.loops
        self.condition()
        behind = self.label()
        self.put(f"j{self.dice.choice(CONDITIONS)} {behind}")
        self.block(depth - 1, self.dice.randrange(1, 4))
        if self.chance(0.4):
            end = self.label()
            self.put(f"jmp {end}")
            self.lines.append(f"{behind}:")
            self.block(depth - 1, self.dice.randrange(1, 4))
            behind = end
        self.lines.append(f"{behind}:")

    def loop(self, depth: int) -> None:
        """A loop whose counter is a register or a place on the stack that nothing else writes."""
        dice, turns = self.dice, self.dice.choice((1, 2, 3, 4, 5, 8))
        unknown = self.forks < 3 and self.chance(0.2)
        in_memory = self.chance(0.3) or self.loops >= len(self.counter_registers)
        if in_memory:
            at = _COUNTERS + 8 * self.loops
            pushed = self.pushed
            counter, size = f"{8 * pushed + at}(%rsp)", 4
        else:
            size = dice.choice((1, 2, 4, 4, 8))
            counter = register(self.counter_registers[self.loops], size)
        suffix = _SUFFIX[size]
        start = self.label()
        first, step, end = dice.choice(((turns, -1, 0), (0, 1, turns), (0, 3, 3 * turns), (5 * turns, -5, 0)))
        if unknown:
            self.forks += 3
            name = self.number()
            self.put(f"and $3, {register(name, 4)}")
            self.put(f"inc {register(name, 4)}")
            self.put(f"mov{suffix} {register(name, size)}, {counter}")
            step, end = -1, 0
        else:
            self.put(f"mov{suffix} ${first}, {counter}")
        self.lines.append(f"{start}:")
        self.loops += 1
        self.block(depth - 1, dice.randrange(1, 4))
        self.loops -= 1
        if (step, end) == (-1, 0) and self.chance(0.7):
            self.put(f"dec{suffix} {counter}")
            self.put(f"{dice.choice(('jne', 'jne', 'jnz', 'jg'))} {start}")
        else:
            self.put(f"add{suffix} ${step}, {counter}")
            self.put(f"cmp{suffix} ${end}, {counter}")
            self.put(f"{'jne' if step < 0 else dice.choice(('jne', 'jb', 'jl'))} {start}")

    def pointer_loop(self) -> None:
        dice = self.dice
        end, p = "r11", self.pointer()
        step, turns = dice.choice((1, 8, 32, 64)), dice.randrange(1, 9)
        self.put(f"lea {step * turns}(%{p}), %{end}")
        start = self.label()
        self.lines.append(f"{start}:")
        n = dice.choice(("rax", "rcx", "rdx"))
        self.put(dice.choice((f"movzbl (%{p}), {register(n, 4)}", f"add (%{p}), %{n}", f"mov %{n}, (%{p})")))
        self.put(f"add ${step}, %{p}")
        self.put(f"cmp %{end}, %{p}")
        self.put(f"{dice.choice(('jne', 'jb'))} {start}")

    def string(self) -> None:
        dice = self.dice
        suffix = dice.choice("bwlq")
        if self.chance(0.15) and self.forks < 3:
            self.forks += 3
            self.put("and $3, %ecx")
        else:
            self.put(f"mov ${dice.choice((0, 1, 2, 3, 5, 8, 16))}, %ecx")
        backwards = self.chance(0.1)
        if backwards:
            self.put("std")
        scans = (f"{how}{kind}{suffix}" for how in ("repe ", "repne ", "") for kind in ("scas", "cmps"))
        self.put(dice.choice((f"rep stos{suffix}", f"rep movs{suffix}", f"rep lods{suffix}", f"stos{suffix}",
                              f"movs{suffix}", f"lods{suffix}", *scans)))  # fmt: skip
        if backwards:
            self.put("cld")

    def on_the_stack(self, depth: int) -> None:
        dice = self.dice
        if self.chance(0.3):
            name = back = self.pointer()
        else:
            name, back = self.number(), self.number()
        kind = dice.random()
        if name == back or kind < 0.6:
            self.put(f"push %{name}")
        elif kind < 0.8:
            self.put(f"push ${self.value(4)}")
        else:
            self.put(f"pushq {self.memory()}")
        self.pushed += 1
        self.block(depth - 1, dice.randrange(0, 3))
        if name != back and self.chance(0.2):
            self.put(f"mov{_SUFFIX[s := self.size()]} {register(self.number(), s)}, {dice.randrange(0, 9 - s)}(%rsp)")
        self.pushed -= 1
        self.put(f"pop %{back}")

    def block(self, depth: int, count: int) -> None:
        dice = self.dice
        for _ in range(count):
            kind = dice.random()
            if kind < 0.34:
                self.arithmetic()
                if self.chance(0.3):
                    self.shown()
            elif kind < 0.62:
                self.access()
            elif kind < 0.76:
                self.move_pointer()
            elif kind < 0.79:
                self.string()
            elif kind < 0.81:
                self.pointer_loop()
            elif kind < 0.84 and self.functions:
                self.put(f"call {dice.choice(self.functions)}")
            elif depth > 0:
                if kind < 0.90 and self.forks < 5:
                    self.branch(depth)
                elif kind < 0.95 and self.loops < 2:
                    self.loop(depth)
                else:
                    self.on_the_stack(depth)
            else:
                self.access()

    def function(self, name: str, count: int, counters: tuple[str, ...]) -> None:
        self.counter_registers = counters
        self.lines.append(f"        .type {name}, @function\n{name}:")
        for counter in counters:
            self.put(f"push %{counter}")
        self.put(f"sub ${_FRAME}, %rsp")
        self.block(2, count)
        self.put(f"add ${_FRAME}, %rsp")
        for counter in reversed(counters):
            self.put(f"pop %{counter}")
        self.put("ret")
        self.lines.append(f"        .size {name}, .-{name}")


def arithmetic_program(seed: int) -> str:
    """A program of this seed in which nothing is computed that is not shown as an address right behind."""
    writer = _Writer(random.Random(seed))
    writer.lines.append("        .text\n        .globl program\n        .type program, @function\nprogram:")
    writer.put("mov %rdi, %rbx")
    writer.put("mov %rsi, %r12")
    for _ in range(6):
        writer.arithmetic()
        writer.shown()
    writer.put("ret")
    writer.lines.append("        .size program, .-program")
    return "\n".join((*writer.lines, ""))


def program(seed: int) -> str:
    """The program of this seed, as text for the assembler; its function is ``program``."""
    writer = _Writer(random.Random(seed))
    dice = writer.dice
    writer.lines.append("        .text")
    for number in range(dice.choice((0, 0, 1, 1, 2))):
        writer.lines.append(dice.choice(("        .text", '        .section .text.other, "ax"')))
        name = f"local{number}"
        writer.function(name, dice.randrange(1, 5), ("r15",))
        writer.functions.append(name)
    writer.lines.append("        .text\n        .globl program")
    at = len(writer.lines)
    writer.function("program", dice.randrange(4, 16), ("r13", "r14"))
    # Where the other pointers come from.
    first = dice.choice(("mov %rdi, %rbx", "lea 256(%rsi), %rbx", "lea b0+64(%rip), %rbx", "mov 24(%rsi), %rbx"))
    second = dice.choice(("mov %rsi, %r12", "lea d1(%rip), %r12", "mov 8(%rdi), %r12", "lea 8(%rdi), %r12"))
    writer.lines[at + 1 : at + 1] = [f"        {first}", f"        {second}"]
    return "\n".join(writer.lines) + "\n" + _DATA
