# SPDX-License-Identifier: GPL-2.0-or-later
"""Every row of the table of effects in several forms, as text for the assembler.

A form may have several instructions, so that a branch shows whether it was taken. In a form ``%rdi``, ``%rsi``,
``%rbp`` and ``%rsp`` point into the memory of the test, ``%r9`` is a small number, the other registers are anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

SUFFIX = {1: "b", 2: "w", 4: "l", 8: "q"}
_REGISTERS = {
    1: ("%bl", "%cl", "%ah", "%r8b"), 2: ("%bx", "%cx", "%dx", "%r8w"), 4: ("%ebx", "%ecx", "%edx", "%r8d"),
    8: ("%rbx", "%rcx", "%rdx", "%r8"),
}  # fmt: skip
_MEMORY = ("(%rdi)", "-8(%rsi,%r9,4)")
NARROW = "16(%edi,%r9d,2)"
CONDITIONS = ("o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g")
_SIZES = (1, 2, 4, 8)


class Row(NamedTuple):
    """The forms of one row. ``privileged``: a program may not run it. ``bits`` is the mode."""

    name: str
    texts: tuple[str, ...]
    privileged: bool = False
    bits: int = 64


def _two(name: str, sizes: tuple[int, ...] = _SIZES, lock: bool = True, immediate: bool = True, to: bool = True) -> Row:
    """add and the like. ``to``: its first operand may be memory."""
    texts = []
    for size in sizes:
        a, b, high, new = _REGISTERS[size]
        suffix = SUFFIX[size]
        texts += [
            f"{name}{suffix} {a},{b}",
            f"{name}{suffix} {new},{high}"[: None if size > 1 else 0] or f"{name} %ah,%dh",
        ]
        texts += [f"{name}{suffix} {at},{b}" for at in _MEMORY]
        if to:
            texts += [f"{name}{suffix} {a},{at}" for at in _MEMORY]
        if immediate:
            texts += [f"{name}{suffix} ${number},{b}" for number in (1, -3, 0x7F)]
            if size > 1:
                texts.append(f"{name}{suffix} $0x1234,{new}")
            if to:
                texts.append(f"{name}{suffix} $5,{_MEMORY[1]}")
        if lock and to:
            texts.append(f"lock {name}{suffix} {a},(%rdi)")
    texts.append(f"{name}{SUFFIX[sizes[-1]]} {NARROW},{_REGISTERS[sizes[-1]][0]}")
    return Row(name, tuple(texts))


def _one(name: str, lock: bool = True) -> Row:
    texts = []
    for size in _SIZES:
        suffix = SUFFIX[size]
        texts += [f"{name}{suffix} {r}" for r in _REGISTERS[size][:3]] + [f"{name}{suffix} {at}" for at in _MEMORY]
        if lock:
            texts.append(f"lock {name}{suffix} (%rsi)")
    return Row(name, (*texts, f"{name}l {NARROW}"))


def _shift(name: str) -> Row:
    texts = []
    for size in _SIZES:
        suffix, (a, _, _, new) = SUFFIX[size], _REGISTERS[size]
        texts += [f"{name}{suffix} {a}", f"{name}{suffix} %cl,{new}", f"{name}{suffix} %cl,(%rdi)",
                  f"{name}{suffix} (%rsi)"]  # fmt: skip
        texts += [f"{name}{suffix} ${count},{a}" for count in (0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 63)]
        texts.append(f"{name}{suffix} $5,{_MEMORY[1]}")
    return Row(name, tuple(texts))


def _double_shift(name: str) -> Row:
    texts = []
    for size in (2, 4, 8):
        suffix, (a, _, high, _) = SUFFIX[size], _REGISTERS[size]
        texts += [f"{name}{suffix} %cl,{a},{high}", f"{name}{suffix} %cl,{a},(%rdi)"]
        texts += [f"{name}{suffix} ${count},{a},{high}" for count in (0, 1, 3, 15, 16, 17, 31, 32, 40)]
        texts.append(f"{name}{suffix} $7,{a},(%rsi)")
    return Row(name, tuple(texts))


def _to_register(name: str, sizes: tuple[int, ...] = (2, 4, 8)) -> Row:
    """popcnt and the like."""
    texts = []
    for size in sizes:
        a, b = _REGISTERS[size][:2]
        texts += [f"{name} {a},{b}", f"{name} {a},{a}", f"{name} (%rdi),{b}", f"{name} {_MEMORY[1]},{b}"]
    return Row(name, (*texts, f"{name} {NARROW},%rcx"))


def _three(name: str, last_memory: bool = True) -> Row:
    """andn and the like: AT&T has the operand that may be memory first or in the middle."""
    texts = []
    for size in (4, 8):
        a, b, c, new = _REGISTERS[size]
        texts += [f"{name} {a},{b},{c}", f"{name} {a},{new},{b}", f"{name} {b},{b},{b}"]
        texts.append(f"{name} (%rdi),{a},{b}" if last_memory else f"{name} {a},(%rdi),{b}")
    return Row(name, tuple(texts))


def _general() -> Iterator[Row]:
    for name in ("add", "sub", "adc", "sbb", "and", "or", "xor"):
        yield _two(name)
    yield _two("cmp", lock=False)
    test = [f"test{SUFFIX[s]} {_REGISTERS[s][0]},{to}" for s in _SIZES for to in (_REGISTERS[s][1], "(%rdi)")]
    yield Row("test", (*test, *(f"test{SUFFIX[s]} $0x55,{to}" for s in _SIZES for to in (_REGISTERS[s][0], "(%rsi)"))))
    yield from (_one("inc"), _one("dec"), _one("neg"), _one("not"))
    moves = _two("mov", lock=False)
    yield Row("mov", (*moves.texts, "mov $0x1000,%eax", f"movl %ebx,{NARROW}",
                      "mov %ds,%eax; and $0,%eax", "mov %es,%bx; and $0,%bx",
                      "movw %ds,(%rdi); movw $0,(%rdi)"))  # fmt: skip
    yield Row("movabs", ("movabs $0x1122334455667788,%rax", "movabs 0x10000100,%al", "movabs %eax,0x10000108",
                         "addr32 mov 0x10000100,%eax", "addr32 mov %rax,0x10000100"))  # fmt: skip
    extend = [f"{name}{suffix} {source},{to}" for name in ("movz", "movs")
              for suffix, sources in (("bw", "%bl (%rdi)"), ("bl", "%bl %ah (%rdi)"), ("bq", "%bl (%rsi)"),
                                      ("wl", "%bx (%rdi)"), ("wq", "%bx (%rsi)"))
              for source in sources.split() for to in [{"w": "%cx", "l": "%ecx", "q": "%rcx"}[suffix[1]]]]  # fmt: skip
    yield Row("movzx", tuple(t for t in extend if t.startswith("movz")))
    yield Row("movsx", tuple(t for t in extend if t.startswith("movs")))
    yield Row("movsxd", ("movslq %ebx,%rcx", "movslq (%rdi),%rcx"))
    yield Row("movbe", tuple(f"movbe {a},{b}" for s in (2, 4, 8) for a, b in
                             (("(%rdi)", _REGISTERS[s][0]), (_REGISTERS[s][1], "(%rsi)"),
                              (NARROW, _REGISTERS[s][0]))))  # fmt: skip
    yield Row("lea", ("lea 8(%rdi,%r9,4),%rax", "lea -8(%rbx),%eax", "lea 5(%rbx,%rcx,8),%ax", "lea (%ebx,%ecx,2),%rax",
                      "lea -1(%ebx),%rax", "lea 7(%ebx),%ecx", "lea 0x1234,%rax", "lea %gs:8(%rbx),%rcx"))  # fmt: skip
    yield from (_one("bswap", lock=False)._replace(texts=("bswap %ebx", "bswap %rcx", "bswap %r8d")),)
    yield from (_shift(name) for name in ("shl", "shr", "sar", "rol", "ror", "rcl", "rcr"))
    yield from (_double_shift(name) for name in ("shld", "shrd"))
    yield from (_three(name, last_memory=False) for name in ("shlx", "shrx", "sarx", "bextr", "bzhi"))
    yield from (_three(name) for name in ("pdep", "pext", "andn", "mulx"))
    yield Row("rorx", ("rorx $5,%ebx,%ecx", "rorx $37,%rbx,%rcx", "rorx $3,(%rdi),%rcx", "rorx $0,%ebx,%ecx"))
    yield from (_to_register(name, (4, 8)) for name in ("blsi", "blsr", "blsmsk", "adcx", "adox"))
    yield from (_to_register(name) for name in ("popcnt", "lzcnt", "tzcnt", "bsf", "bsr"))
    for name in ("bt", "bts", "btr", "btc"):
        texts = [f"{name}{SUFFIX[s]} {a},{b}" for s in (2, 4, 8) for a, b in
                 ((_REGISTERS[s][0], _REGISTERS[s][1]), ("$3", _REGISTERS[s][1]), ("$37", _REGISTERS[s][0]),
                  ("$9", "(%rdi)"), ("%r10" + {2: "w", 4: "d", 8: ""}[s], "(%rsi)"))]  # fmt: skip
        texts.append(f"{name}l %r10d,{NARROW}")
        if name != "bt":
            texts += [f"lock {name}l %r10d,(%rdi)", f"lock {name}q $5,(%rdi)"]
        yield Row(name, tuple(texts))
    for name in ("xchg", "xadd", "cmpxchg"):
        texts = [f"{name}{SUFFIX[s]} {_REGISTERS[s][0]},{to}" for s in _SIZES
                 for to in (_REGISTERS[s][1], _REGISTERS[s][3], *_MEMORY)]  # fmt: skip
        locked = [f"lock {name}{SUFFIX[s]} {_REGISTERS[s][1]},(%rdi)" for s in _SIZES]
        equal = [f"mov (%rdi),%{a}; lock cmpxchg{SUFFIX[s]} {_REGISTERS[s][0]},(%rdi)"
                 for s, a in ((1, "al"), (2, "ax"), (4, "eax"), (8, "rax"))] if name == "cmpxchg" else []  # fmt: skip
        yield Row(name, (*texts, *locked, *equal))
    yield Row("cmpxchg8b", ("cmpxchg8b (%rdi)", "lock cmpxchg8b (%rsi)",
                            "mov (%rdi),%eax; mov 4(%rdi),%edx; lock cmpxchg8b (%rdi)"))  # fmt: skip
    yield Row("cmpxchg16b", ("and $-16,%rdi; cmpxchg16b (%rdi)",
                             "and $-16,%rdi; mov (%rdi),%rax; mov 8(%rdi),%rdx; lock cmpxchg16b (%rdi)"))  # fmt: skip
    yield Row(
        "crc32", ("crc32b %bl,%ecx", "crc32w %bx,%ecx", "crc32l (%rdi),%ecx", "crc32q %rbx,%rcx", "crc32b (%rdi),%rcx")
    )
    yield from (Row(n, (t,)) for n, t in (("cdq", "cltd"), ("cqo", "cqto"), ("cwd", "cwtd"), ("cdqe", "cltq"),
                                          ("cwde", "cwtl"), ("cbw", "cbtw")))  # fmt: skip
    yield from _products()
    yield from (Row(name, (name,)) for name in ("clc", "stc", "cmc", "cld", "std", "sahf"))
    yield Row("lahf", ("lahf; and $0xef,%ah",))
    for cc in CONDITIONS:
        yield Row(f"j{cc}", (f"j{cc} 1f; lea 1(%r15),%r15; 1:",))
        yield Row(f"set{cc}", (f"set{cc} %bl", f"set{cc} %ah", f"set{cc} (%rdi)"))
        texts = [f"cmov{cc}{SUFFIX[s]} {a},{_REGISTERS[s][1]}" for s in (2, 4, 8) for a in (_REGISTERS[s][0], "(%rdi)")]
        yield Row(f"cmov{cc}", tuple(texts))


def _products() -> Iterator[Row]:
    yield Row("mul", tuple(f"mul{SUFFIX[s]} {to}" for s in _SIZES for to in (_REGISTERS[s][1], "(%rdi)")))
    yield Row("imul", (*(f"imul{SUFFIX[s]} {to}" for s in _SIZES for to in (_REGISTERS[s][1], "(%rdi)")),
                       *(f"imul{SUFFIX[s]} {a},{_REGISTERS[s][1]}" for s in (2, 4, 8)
                         for a in (_REGISTERS[s][0], "(%rdi)")),
                       *(f"imul{SUFFIX[s]} ${n},{a},{_REGISTERS[s][1]}" for s in (2, 4, 8) for n in (3, -300)
                         for a in (_REGISTERS[s][0], "(%rdi)"))))  # fmt: skip
    for name in ("div", "idiv"):
        sign = name == "idiv"
        texts = []
        for size, extend in ((2, "cwtd" if sign else "xor %edx,%edx"), (4, "cltd" if sign else "xor %edx,%edx"),
                             (8, "cqto" if sign else "xor %edx,%edx")):  # fmt: skip
            a = _REGISTERS[size][0]
            texts += [f"{extend}; {name}{SUFFIX[size]} {to}" for to in (a, "(%rdi)")]
            texts.append(f"{name}{SUFFIX[size]} {a}")
        yield Row(
            name, (*texts, f"{name}b %bl", "and $0x3f,%eax; idivb (%rdi)" if sign else "and $0xff,%eax; divb (%rdi)")
        )


def _control() -> Iterator[Row]:
    push = ("push %rbx", "pushw %bx", "push (%rdi)", "pushw 8(%rsi)", "push $3", "push $-7", "pushw $0x1234",
            "push %rsp", "push 8(%rsp)", "push %r8", "push 16(%edi)")  # fmt: skip
    yield Row("push", push)
    yield Row("pop", ("pop %rbx", "popw %bx", "pop (%rdi)", "popw 8(%rsi)", "pop %rsp", "pop 8(%rsp)", "popw -2(%rsp)",
                      "pop %r8", "pop 16(%edi)"))  # fmt: skip
    yield Row("call", ("call 1f; 1:", "lea 1f(%rip),%rax; call *%rax; lea 1(%r15),%r15; 1:",
                       "lea 1f(%rip),%rax; mov %rax,(%rdi); call *(%rdi); lea 1(%r15),%r15; 1:"))  # fmt: skip
    yield Row("ret", ("call 1f; jmp 2f; 1: ret; 2:", "lea 2f(%rip),%rax; push %rax; ret $16; lea 1(%r15),%r15; 2:",
                      "call 1f; jmp 2f; 1: repz ret; 2:"))  # fmt: skip
    yield Row("leave", ("leave", ".byte 0x66,0xc9"))
    yield Row("enter", ("enter $16,$0", "enter $0,$0", "enter $0x28,$0", "enter $8,$1", "enter $16,$2", "enter $0,$5"))
    yield Row("xlatb", ("mov %rdi,%rbx; xlat", "lea -8(%rdi),%rbx; addr32 xlat"))
    yield Row("jmp", ("jmp 1f; lea 1(%r15),%r15; 1:", "lea 1f(%rip),%rax; jmp *%rax; lea 1(%r15),%r15; 1:",
                      "lea 1f(%rip),%rax; mov %rax,(%rdi); jmp *(%rdi); lea 1(%r15),%r15; 1:"))  # fmt: skip
    for name in ("jrcxz", "jecxz", "loop", "loope", "loopne"):
        yield Row(
            name, tuple(f"{first}{name} 1f; lea 1(%r15),%r15; 1:" for first in ("", "mov $1,%ecx; ", "xor %ecx,%ecx; "))
        )
    count = "and $3,%ecx; "
    for kind in ("lods", "stos", "movs"):
        for size in _SIZES:
            name = f"{kind}{'bwdq'[_SIZES.index(size)]}"
            text = f"{kind}{SUFFIX[size]}"
            texts = [text, f"cld; {text}", f"std; {text}", f"{count}rep {text}", f"{count}std; rep {text}",
                     f"xor %ecx,%ecx; rep {text}",
                     f"{count}addr32 rep {text}", f"addr32 {text}"]  # fmt: skip
            if kind != "stos":
                texts.append(f"{kind}{SUFFIX[size]} %ds:(%rsi){',%es:(%rdi)' if kind == 'movs' else ''}")
            yield Row(name, tuple(texts))
    yield from _scans()
    yield Row("pushfq", ("pushfq; andq $0xcc7,(%rsp)", "pushfw; andw $0xcc7,(%rsp)", "pushfq; popfq"))
    yield Row("popfq", ("andq $0xcc7,(%rsp); popfq", "andw $0xcc7,(%rsp); popfw"))


def _scans() -> Iterator[Row]:
    """scas and cmps: of values that are there and of others, up and down."""
    count = "and $7,%ecx; "
    for kind in ("scas", "cmps"):
        for size in _SIZES:
            text, a = f"{kind}{SUFFIX[size]}", {1: "al", 2: "ax", 4: "eax", 8: "rax"}[size]
            there = f"mov {2 * size}(%rdi),%{a}; "
            if kind == "cmps":
                there = "push (%rdi); pop (%rsi); push 8(%rdi); pop 8(%rsi); "
            ways = ("", f"{count}repe ", f"{count}repne ", "mov $1,%ecx; repe ", "xor %ecx,%ecx; repne ",
                    f"{count}addr32 repne ")  # fmt: skip
            texts = [f"{before}{how}{text}" for before in ("", there, "std; ") for how in ways]
            yield Row(f"{kind}{'bwdq'[_SIZES.index(size)]}", (*texts, f"addr32 {text}"))


def _vectors() -> Iterator[Row]:
    from l1dflush.tracing.effects import EFFECTS, Form  # noqa: PLC0415  # the names are the table's, the forms are not

    special = {
        "movd": ("movd %ebx,%xmm1", "movd %xmm1,%ecx", "movd (%rdi),%xmm1", "movd %xmm2,(%rdi)"),
        "movq": ("movq %rbx,%xmm1", "movq %xmm1,%rcx", "movq (%rdi),%xmm1", "movq %xmm2,(%rdi)", "movq %xmm2,%xmm3"),
        "movntdqa": ("and $-16,%rdi; movntdqa (%rdi),%xmm1",),
        "lddqu": ("lddqu (%rdi),%xmm1",),
        # With an x behind they are others, of AVX512-FP16.
        "vcvtph2ps": ("vcvtph2ps %xmm1,%xmm2", "vcvtph2ps (%rdi),%ymm2", "vcvtph2ps %xmm1,%ymm3"),
        # P-code takes the 8 bytes that this one stores for a source, so that there is no form of these.
        "vcvtps2ph": ("vcvtps2ph $1,%xmm1,%xmm2", "vcvtps2ph $5,%ymm1,%xmm2", "vcvtps2ph $1,%ymm1,(%rdi)"),
    }
    for name, effect in EFFECTS.items():
        if name in special:
            texts = special[name]
        elif effect.form is Form.VECTOR:
            texts = (
                f"{name} %xmm1,%xmm2", f"and $-16,%rdi; {name} (%rdi),%xmm3", f"{name} $5,%xmm1,%xmm2",
                f"and $-16,%rdi; {name} $9,(%rdi),%xmm2", f"{name} $4,%xmm1", f"{name} %xmm1,%ecx",
                f"{name} %xmm2,%rcx",
                f"{name} $3,%xmm1,%ecx", f"{name} $1,%ebx,%xmm1", f"{name} $1,%rbx,%xmm1", f"{name} $1,(%rdi),%xmm1",
                f"and $-16,%rdi; {name} %xmm1,(%rdi)", f"{name} $1,%xmm1,(%rdi)", f"{name} %ebx,%xmm1",
                f"{name}q %rbx,%xmm1", f"{name} %xmm1,{NARROW}", f"{name} {NARROW},%xmm2",
            )  # fmt: skip
        elif effect.form is Form.VECTOR_SKIP:
            texts = (
                name, f"{name} %ymm1,%ymm2", f"{name} %xmm1,%xmm2", f"and $-32,%rdi; {name} (%rdi),%ymm3",
                f"{name} (%rdi),%xmm3", f"and $-32,%rdi; {name} %ymm1,(%rdi)", f"{name} %xmm1,(%rdi)",
                f"{name} %ymm1,%ymm2,%ymm3", f"{name} (%rdi),%ymm2,%ymm3", f"{name} %xmm1,%xmm2,%xmm3",
                f"{name} (%rdi),%xmm2,%xmm3", f"{name} $5,%ymm1,%ymm2", f"{name} $5,%ymm1,%ymm2,%ymm3",
                f"{name} $5,%xmm1,%xmm2,%xmm3", f"{name} $5,%xmm1,%ymm2,%ymm3", f"{name} $1,%ymm1,%xmm2",
                f"{name} $1,%ymm1,(%rdi)",
                f"{name} $5,(%rdi),%xmm3", f"{name} %ymm4,%ymm1,%ymm2,%ymm3", f"{name} %ebx,%xmm2",
                f"{name} %rbx,%xmm2",
                f"{name} %xmm1,%ecx", f"{name} %ymm1,%ecx", f"{name} %xmm1,%rcx", f"{name} %ebx,%xmm1,%xmm2",
                f"{name} $1,%xmm1,%ecx",
                f"{name} $1,%xmm1,%rcx", f"{name} $1,%ebx,%xmm1,%xmm2", f"{name} $1,%rbx,%xmm1,%xmm2",
                f"{name}x %xmm1,%xmm2",
                f"{name}y %ymm1,%xmm2", f"{name} %xmm1,%ymm2", f"{name} %ymm1,%xmm2", f"{name}l (%rdi),%xmm1,%xmm2",
                f"{name} %ymm1,{NARROW}",
            )  # fmt: skip
        else:
            continue
        yield Row(name, texts)


def rows() -> list[Row]:
    """Every row that a program may run, in 64-bit mode. Forms that the assembler refuses are not meant."""
    return [*_general(), *_control(), *_vectors()]


def _in_memory(name: str) -> tuple[str, ...]:
    return f"{name}s (%rdi)", f"{name}l -8(%rsi)"


def x87_results() -> dict[str, tuple[str, ...]]:
    """Forms of the rows of x87 that write memory or flags."""
    found = {name: _in_memory(name) for name in ("fst", "fist", "fistp", "fisttp")}
    found |= {
        "fnsave": ("fnsave (%rdi)", "data16 fnsave (%rdi)"),
        "fnstenv": ("fnstenv -8(%rdi)", "data16 fnstenv (%rdi)"),
    }
    found |= {"fstp": (*_in_memory("fstp"), "fstpt (%rdi)"), "fbstp": ("fbstp (%rdi)",)}
    # The assembler has other names for two of them.
    compares = {"fcomi": "fcomi", "fucomi": "fucomi", "fcompi": "fcomip", "fucompi": "fucomip"}
    return found | {name: (f"fld1; fldz; {text} %st(1),%st",) for name, text in compares.items()}


def x87() -> dict[str, tuple[str, ...]]:
    """Forms of the others: they change nothing that is followed."""
    kinds = ("ld", "add", "sub", "subr", "mul", "div", "divr", "com", "comp")
    found = {f"{f}{kind}": _in_memory(f"{f}{kind}") for f in ("f", "fi") for kind in kinds}
    found |= {"fld": (*_in_memory("fld"), "fldt (%rdi)"), "fbld": ("fbld (%rdi)",), "ffree": ("ffree %st(3)",)}
    found |= {"frstor": ("fnsave (%rdi); frstor (%rdi)",), "fldenv": ("fnstenv (%rdi); fldenv (%rdi)",)}
    plain = (
        "faddp fsubp fsubrp fmulp fdivp fdivrp fxch fchs fabs fld1 fldz fldpi fldl2e fldl2t fldlg2 fldln2 fcompp fucom "
        "fucomp fucompp fsqrt frndint fscale fprem fprem1 fincstp fdecstp fnop ftst fxam fxtract f2xm1 fyl2x fyl2xp1 "
        "fsin fcos fsincos fptan fpatan"
    )
    found |= {name: (f"fld1; fldz; {name}",) for name in plain.split()}
    return found | {
        f"fcmov{cc}": (f"fld1; fldz; fcmov{cc} %st(1),%st",) for cc in ["b", "e", "be", "u", "nb", "ne", "nbe", "nu"]
    }
