# SPDX-License-Identifier: GPL-2.0-or-later
"""Every row of the table of effects against the processor that the tests run on, bit by bit.

Each row has several forms; each is run on random states by the abstract machine, with everything known, and by the
processor, in a child process. What the machine knows has to be what the processor comes to; what it does not know has
to be something that the manual leaves undefined, or one of the results that are listed here. What a program may not run
is held against the emulator; what neither can run is listed with the reason.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import row_forms
from row_emulator import on_emulator
from row_machine import (
    MEMORY,
    NAMES,
    SIZE,
    Form,
    Rows,
    State,
    accesses_of_pcode,
    assembled,
    differences,
    on_processor,
    random_state,
    really,
    vague,
)
from thorough import examples

from l1dflush import _core
from l1dflush.errors import UndecidedError
from l1dflush.tracing import rows as semantics
from l1dflush.tracing.decode import Memory, Register, decoder_of
from l1dflush.tracing.effects import EFFECTS, Effect, Role
from l1dflush.tracing.effects import Form as Kind
from l1dflush.tracing.features import needed
from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Do
from l1dflush.tracing.slots import Part

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("as") is None, reason="needs gcc and the GNU assembler"
)
SHARDS = 8
FORMS = Path(row_forms.__file__).parent
# What /proc/cpuinfo calls the features, where it has another name.
_CPUINFO = {
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "lzcnt": "abm",
    "bmi": "bmi1",
    "rdrnd": "rdrand",
    "avx512": "avx512f",
}

# Flags that the manual leaves undefined (SDM volume 2, the instructions' pages), whatever the operands.
_ALL = {"CF", "OF", "SF", "ZF", "PF"}
_WHICH_FLAGS = {
    "SF ZF PF": "mul", "SF ZF PF CF OF": "imul div idiv shld shrd", "CF OF SF PF": "bsf bsr",
    "OF SF PF": "bt bts btr btc lzcnt tzcnt", "OF": "sar rol ror rcl rcr", "PF": "andn bzhi blsi blsr blsmsk",
    "SF PF": "bextr", "OF CF": "shl shr",
}  # fmt: skip
UNDEFINED_FLAGS = {name: set(flags.split()) for flags, names in _WHICH_FLAGS.items() for name in names.split()}
# Registers of which something may be unknown: of 0, of too many bits, of an overflow, or in the upper half. (Whether a
# product of 64 bits overflows is not computed, either: its carry and overflow flags are above.)
_WHICH_REGISTERS = {
    "rbx rcx": "bsf bsr", "rax rdx": "div idiv", "rax rcx r8": "cmpxchg", "rcx": "crc32", "rdx memory": "shld shrd",
    "rcx rdx": "pdep pext",
    "rcx rsi rdi": " ".join(f"{kind}{size}" for kind in ("lods", "stos", "movs", "scas", "cmps") for size in "bwdq"),
    "memory": "pushfq",
}  # fmt: skip
UNKNOWN_REGISTERS = {name: set(places.split()) for places, names in _WHICH_REGISTERS.items() for name in names.split()}
# Vector instructions whose results are known.
_EXACT = (
    "movaps movups movapd movupd movdqa movdqu movss movq movd movntdq movntps movntpd movhps movlps movhpd movlpd "
    "movhlps movlhps shufps shufpd pxor por pand pandn xorps xorpd orps orpd andps andpd andnps andnpd "
    "pcmpeqb pcmpeqw pcmpeqd pcmpgtb pcmpgtw pcmpgtd "
    "punpcklqdq punpckhqdq unpcklps unpckhps unpcklpd unpckhpd pminub pmaxub "
    "pshufd pextrw pextrq vmovaps vmovups vmovapd vmovupd vmovdqa vmovdqu vmovd vmovq vpxor vxorps "
    "vxorpd vzeroupper vzeroall "
)
EXACT = frozenset(_EXACT.split())


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that runs instructions."""
    program = tmp_path_factory.mktemp("rows") / "row_runner"
    subprocess.run(["gcc", "-O1", "-no-pie", "-o", program, FORMS / "row_runner.c"], check=True)
    return program


def cpu_flags() -> set[str]:
    text = Path("/proc/cpuinfo").read_text()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.split())


needs_avx2 = pytest.mark.skipif("avx2" not in cpu_flags(), reason="needs a processor with AVX2")


def compared(
    shard: list[row_forms.Row], runner: Path, states: int, dice: random.Random
) -> tuple[Counter[str], list[str]]:
    """How many states agree by row, and what does not; a form that stops, or that is too vague, is an error. Of AVX
    there are half as many states."""
    code, forms = assembled([(row.name, text) for row in shard for text in row.texts])
    requests = [
        (form, random_state(dice)) for form in forms for _ in range((states + 1) // 2 if form.row[0] == "v" else states)
    ]
    outcomes = on_processor(runner, code, [(form.offset, state) for form, state in requests])
    machine = Rows(code)
    agree: Counter[str] = Counter()
    wrong: list[str] = []
    signals: dict[Form, set[int]] = defaultdict(set)
    for (form, before), (stopped_by, after) in zip(requests, outcomes, strict=True):
        signals[form].add(stopped_by)
        if stopped_by:
            continue
        try:
            results = machine.run(form, before)
        except (UndecidedError, _core.StoppedError) as error:
            if not is_left_open(form):
                wrong.append(f"{form.text}: {error}")
            continue
        found = differences(results, before, after)
        unknown = {place for result in results for place in vague(result) if not may_be_unknown(form, place)}
        found += [f"{place} is unknown" for place in sorted(unknown)]
        wrong += [f"{form.text}: {text}" for text in found[:3]]
        agree[form.row] += not found
    for form, seen in signals.items():
        if not is_left_open(form):
            wrong += disagreeing(machine, form)
        if seen == {signal.SIGILL} and not lacks_feature(machine, form):
            wrong.append(f"{form.text}: the processor does not know it")
    return agree, wrong


def disagreeing(machine: Rows, form: Form) -> list[str]:
    """Where P-code accesses memory and the table does not: then the two decoders do not see the same instruction.
    P-code may leave out accesses, and have one several times."""
    loads, stores = accesses_of_pcode(machine.decoded(form)[1])
    told_loads, told_stores = machine.told(form)
    if (loads and not told_loads) or (stores and not told_stores):
        return [f"{form.text}: P-code has {loads} loads and {stores} stores, the table {told_loads} and {told_stores}"]
    return []


def is_left_open(form: Form) -> bool:
    """Forms that are not followed, by name: P-code takes 16 bytes at an address of fewer bits in pieces, and does not
    have what came with VAES and VPCLMULQDQ."""
    return (row_forms.NARROW in form.text and "xmm" in form.text) or (
        "ymm" in form.text and form.row.startswith(("vaes", "vpclmul"))
    )


def lacks_feature(machine: Rows, form: Form) -> bool:
    insn, code = machine.decoded(form)
    return any(_CPUINFO.get(name, name) not in cpu_flags() for name in needed(insn, code)) or insn.evex


def may_be_unknown(form: Form, place: str) -> bool:
    """Whether nobody has to know a flag, a register or a piece of memory after a form."""
    row = form.row
    vector = EFFECTS[row].form in (Kind.VECTOR, Kind.VECTOR_SKIP) if row in EFFECTS else False
    if vector and row not in EXACT:
        # Registers that are not named stay known.
        if place.startswith("v"):
            return f"mm{place[1:].split('.', maxsplit=1)[0]}" in form.text
        return place.startswith("m") or place in _ALL or place in ("rcx",)
    if place in _ALL:
        return place in UNDEFINED_FLAGS.get(row, ())
    allowed = UNKNOWN_REGISTERS.get(row, set())
    return place in allowed or (place.startswith("m") and "memory" in allowed)


def shards() -> list[list[row_forms.Row]]:
    rows = row_forms.rows()
    return [rows[number::SHARDS] for number in range(SHARDS)]


@needs_avx2
@pytest.mark.parametrize("number", range(SHARDS))
def test_rows_are_what_the_processor_does(number: int, runner: Path) -> None:
    shard = shards()[number]
    agree, wrong = compared(shard, runner, examples(2, 24), random.Random(number))
    assert not wrong, "\n".join(wrong[:40])
    silent = [row.name for row in shard if not agree[row.name] and row.name not in NOT_ON_EVERY]
    assert not silent, f"no state of {silent}"


def changed(state: State, dice: random.Random) -> State:
    """Another state that is the same in some of what an instruction may look at."""
    other = random_state(dice)
    pointers = {"rsp", "rbp", "rsi", "rdi", "r9", "r10", "r15"}
    registers = tuple(
        new if name not in pointers and dice.random() < 0.3 else old
        for name, old, new in zip(NAMES, state.registers, other.registers, strict=True)
    )
    # Often no more than upper parts of vectors.
    size = dice.choice((4, 8, 16))
    vectors, memory = bytearray(state.vectors), bytearray(state.memory)
    for at in range(0, len(vectors), size):
        if (size == 16 or at % (2 * size) == size) and dice.random() < 0.4:
            vectors[at : at + size] = other.vectors[at : at + size]
    for at in range(0, len(memory), 8):
        if dice.random() < 0.2:
            memory[at : at + 8] = other.memory[at : at + 8]
    return State(registers, state.flags, bytes(vectors), bytes(memory))


def not_the_same(
    forms: list[Form], code: bytes, runner: Path, pairs: int, dice: random.Random
) -> tuple[int, list[str]]:
    """How many values that nobody knows were the same in two states that differ, and of which the processor has two."""
    requests = []
    for form in forms:
        for _ in range(pairs):
            state = random_state(dice)
            requests += [(form, state), (form, changed(state, dice))]
    outcomes = on_processor(runner, code, [(form.offset, state) for form, state in requests])
    machine = Rows(code)
    same, wrong = 0, []
    for number in range(0, len(requests), 2):
        form = requests[number][0]
        (stopped, one), (stopped_too, other) = outcomes[number : number + 2]
        if stopped or stopped_too:
            continue
        try:
            found = [machine.run(form, state) for _, state in requests[number : number + 2]]
        except (UndecidedError, _core.StoppedError):
            continue
        for name, (term, constant) in found[0][0].terms.items():
            if term == 0 or any(result.terms.get(name) != (term, constant) for of in found for result in of):
                continue
            same += 1
            if really(one, name) != really(other, name):
                wrong.append(f"{form.text}: {name} is {really(one, name):#x} and {really(other, name):#x}")
    return same, wrong


def functions() -> list[row_forms.Row]:
    """The rows whose results are functions of their operands."""
    kinds = (Kind.VECTOR, Kind.VECTOR_SKIP)
    named = {"pdep", "pext"}.union(name for name, effect in EFFECTS.items() if effect.form in kinds)
    return [row for row in row_forms.rows() if row.name in named]


@needs_avx2
def test_what_is_the_same_for_the_same_operands_is_so_on_the_processor(runner: Path) -> None:
    code, forms = assembled([(row.name, text) for row in functions() for text in row.texts])
    same, wrong = not_the_same(forms, code, runner, examples(2, 40), random.Random(8))
    assert not wrong, "\n".join(wrong[:40])
    assert same > 1000


@needs_avx2
@pytest.mark.parametrize("left_out", [Memory, Register])
def test_an_operand_that_is_left_out_is_found_out(
    left_out: type, runner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for row in functions() if row.name in ("vpaddd", "pshufb", "addsd", "cvtsi2ss", "pext", "vfmadd213sd")]
    code, forms = assembled([(row.name, text) for row in rows for text in row.texts])
    plain = Operands.stands_for

    def fewer(o: Operands, name: str, values: list[object]) -> Part:
        found = [
            i
            for i, one in enumerate(o.insn.operands)
            if isinstance(one, left_out) and o.insn.effect.role(i) is Role.READ
        ]
        return plain(o, name, () if found else values)  # type: ignore[arg-type]

    monkeypatch.setattr(Operands, "stands_for", fewer)
    assert not_the_same(forms, code, runner, 6, random.Random(9))[1]


# Rows of which a processor may have no form at all: AVX-512.
_NOT_ON_EVERY = (
    "vmovdqa32 vmovdqa64 vmovdqu8 vmovdqu16 vmovdqu32 vmovdqu64 vbroadcastf32x4 vbroadcasti32x4 vbroadcastf64x4 "
    "vbroadcasti64x4 vpxord vpxorq vpord vporq vpandd vpandq vpternlogd vpternlogq "
)
NOT_ON_EVERY = frozenset(_NOT_ON_EVERY.split())
# Rows whose forms a program may not run, against the emulator.
PRIVILEGED = {
    "cli": ("cli",), "sti": ("sti; nop",), "wbinvd": ("wbinvd",), "invd": ("invd",), "invlpg": ("invlpg (%rdi)",),
    "lgdt": ("sgdt (%rdi); lgdt (%rdi)",), "lidt": ("sidt (%rdi); lidt (%rdi)",),
}  # fmt: skip
# Rows whose results nobody knows: that nothing else changes is seen on the processor.
RESULTS = {
    "cpuid": ("cpuid",), "rdtsc": ("rdtsc",), "rdtscp": ("rdtscp",), "rdrand": ("rdrand %rbx", "rdrand %bx"),
    "rdseed": ("rdseed %ecx",), "rdpid": ("rdpid %rcx",), "xgetbv": ("xor %ecx,%ecx; xgetbv",),
    "vstmxcsr": ("vstmxcsr (%rdi)",),
    "stmxcsr": ("stmxcsr (%rdi)",), "fnstcw": ("fnstcw (%rdi)",), "fnstsw": ("fnstsw %ax", "fnstsw (%rsi)"),
    "verw": ("verw %bx", "verw (%rdi)", "mov %ss,%ebx; verw %bx"), "verr": ("verr %bx", "mov %cs,%ebx; verr %bx"),
    **{name: (f"{name} %bx,%cx", f"{name} %ebx,%ecx", f"{name} %rbx,%rcx", f"{name} (%rdi),%ecx",
              f"mov %ss,%ebx; {name} %ebx,%ecx", f"mov %cs,%ebx; {name} %rbx,%rcx", f"mov %ss,%ebx; {name} %bx,%cx")
       for name in ("lsl", "lar")},
     "rdfsbase": ("rdfsbase %rbx",),
    "rdgsbase": ("rdgsbase %ecx",),
    **row_forms.x87_results(),
}  # fmt: skip
# Rows that do nothing that is seen.
NOTHING = {
    "nop": ("nop", "nopl 8(%rdi)", ".byte 0x66,0x90"), "pause": ("pause",), "endbr64": ("endbr64",),
    "endbr32": ("endbr32",),
    "lfence": ("lfence",), "mfence": ("mfence",), "sfence": ("sfence",), "clflush": ("clflush (%rdi)",),
    "clflushopt": ("clflushopt 8(%rsi)",), **{name: (f"{name} (%rdi)",) for name in (
        "prefetcht0", "prefetcht1", "prefetcht2", "prefetchnta", "prefetchw", "prefetch")},
    "clwb": ("clwb 8(%rsi)",), "cldemote": ("cldemote (%rdi)",),
    "wait": ("wait",), "fninit": ("fninit",), "fnclex": ("fnclex",), "emms": ("emms",),
    "vldmxcsr": ("stmxcsr (%rdi); vldmxcsr (%rdi)",),
    "ldmxcsr": ("stmxcsr (%rdi); ldmxcsr (%rdi)",), "fldcw": ("fnstcw (%rdi); fldcw (%rdi)",),
    "movnti": ("movnti %ebx,(%rdi)",),
    **row_forms.x87(),
}  # fmt: skip


@needs_avx2
def test_other_rows_change_nothing_else(runner: Path) -> None:
    """What has unknown results, and what has none."""
    everything = [row_forms.Row(name, texts) for table in (RESULTS, NOTHING) for name, texts in table.items()]
    code, forms = assembled([(row.name, text) for row in everything for text in row.texts])
    assert {form.row for form in forms} == {row.name for row in everything}
    dice = random.Random(5)
    requests = [(form, random_state(dice)) for form in forms for _ in range(examples(3, 40))]
    outcomes = on_processor(runner, code, [(form.offset, state) for form, state in requests])
    machine = Rows(code)
    for (form, before), (stopped_by, after) in zip(requests, outcomes, strict=True):
        if stopped_by == signal.SIGILL and lacks_feature(machine, form):
            continue
        # The user mode of some hosts has no fs and gs instructions, and no reading of the table of segments.
        if stopped_by and form.row in ("rdfsbase", "rdgsbase", "verr", "verw"):
            continue
        assert stopped_by == 0, form.text
        results = machine.run(form, before)
        assert not differences(results, before, after), form.text


# What of 512 bytes is written, or read, the first ones surely: the accesses are held against what changes.
SAVED = {
    **{name: (f"and $-512,%rdi; {name} (%rdi)",) for name in ("fxsave", "fxsave64")},
    **{f"fxrstor{kind}": (f"and $-512,%rdi; fxsave{kind} (%rdi); fxrstor{kind} (%rdi)",) for kind in ("", "64")},
}  # fmt: skip


@needs_avx2
def test_saved_state_is_where_the_accesses_are(runner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, forms = assembled([(name, text) for name, texts in SAVED.items() for text in texts])
    dice = random.Random(10)
    requests = [(form, random_state(dice)) for form in forms for _ in range(examples(3, 40))]
    outcomes = on_processor(runner, code, [(form.offset, state) for form, state in requests])
    machine = Rows(code)
    for (form, before), (stopped_by, after) in zip(requests, outcomes, strict=True):
        assert stopped_by == 0, form.text
        (result,) = machine.run(form, before)
        changed = {MEMORY + at for at in range(SIZE) if before.memory[at] != after.memory[at]}
        surely = range(MEMORY, MEMORY + 160)
        assert changed <= set(range(MEMORY, MEMORY + 464)), form.text
        assert result.stores == set(surely), form.text
        assert result.loads == (set(surely) if "rstor" in form.text else set()), form.text
        wrong = [text for text in differences([result], before, after) if "which is not a store" not in text]
        assert not wrong, form.text
        # All of each slot of 16 bytes that is surely used is in one line, of which something changes.
        assert all(changed & set(range(at, at + 16)) for at in surely[::16]) or "rstor" in form.text


# What stops where something is equal, which nobody follows: what a program gathers is not known here.
NOT_FOLLOWED = (
    "pext %rdx,%rbx,%rax; and $15,%ecx; {how} scas{s}", "pext %rdx,%rbx,%rax; and $7,%ecx; std; {how} scas{s}",
    "pext %rdx,%rbx,%rax; mov %rax,-8(%rdi); sub $8,%rdi; and $15,%ecx; {how} cmps{s}",
    "pext %rdx,%rbx,%rcx; and $15,%ecx; {how} scas{s}", "pext %rdx,%rbx,%rcx; and $7,%ecx; {how} cmps{s}",
    "pext %rdx,%rbx,%rax; and $7,%ecx; addr32 {how} scas{s}",
)  # fmt: skip


@needs_avx2
def test_scans_that_nobody_follows_may_come_to_what_the_processor_does(runner: Path) -> None:
    texts = [("scasb", text.format(how=how, s=s)) for text in NOT_FOLLOWED for how in ("repe", "repne") for s in "bwlq"]
    code, forms = assembled(texts)
    assert len(forms) == len(texts)
    dice = random.Random(11)
    requests = [(form, random_state(dice)) for form in forms for _ in range(examples(4, 60))]
    outcomes = on_processor(runner, code, [(form.offset, state) for form, state in requests])
    machine = Rows(code)
    vague_ones = 0
    for (form, before), (stopped_by, after) in zip(requests, outcomes, strict=True):
        assert stopped_by == 0, form.text
        results = machine.run(form, before)
        assert not differences(results, before, after), form.text
        assert len(results) == 1, form.text
        vague_ones += "ZF" in vague(results[0])
    assert vague_ones > len(requests) // 4


def test_rows_for_the_kernel_are_what_the_emulator_does() -> None:
    code, forms = assembled([(name, text) for name, texts in PRIVILEGED.items() for text in texts])
    machine, dice = Rows(code), random.Random(6)
    for form in forms:
        for _ in range(examples(3, 30)):
            before = random_state(dice)
            after = on_emulator(code, form, before, 64)
            assert after is not None, form.text
            assert not differences(machine.run(form, before), before, after), form.text


# 32-bit mode has other forms of some rows, and rows of its own; the processor of the tests runs a 64-bit program.
SHORT = {
    "pushal": ("pushal", "pushaw"), "popal": ("popal", "popaw"),
    "push": ("push %ebx", "pushw %bx", "push $5", "push %esp"),
    "pop": ("pop %ebx", "popw %cx", "pop 4(%esp)", "pop %esp"), "leave": ("leave",),
    "pushfd": ("pushf; andl $0xcc7,(%esp)",), "popfd": ("andl $0xcc7,(%esp); popf",),
    "mov": ("mov (%edi),%eax", "mov %ah,%bl"),
    "lea": ("addr16 lea 8(%bx,%si),%eax", "addr16 lea -1(%bx),%cx", "lea 5(%ebx,%ecx,4),%eax"),
    "add": ("add %ebx,4(%edi)", "adcw %bx,(%esi)", "lock addl $3,(%edi)"), "movsd": ("movsl", "and $3,%ecx; rep movsl"),
    "stosb": ("and $3,%ecx; std; rep stosb",), "lodsw": ("lodsw",), "div": ("xor %edx,%edx; div %ebx",),
    "shld": ("shldl $5,%ebx,%edx",), "cmpxchg8b": ("cmpxchg8b (%edi)",), "bsf": ("bsf %ebx,%ecx",),
    "bts": ("btsl %ebx,%ecx", "lock btsl $5,(%edi)"), "imul": ("imul %ebx,%ecx", "imull (%edi)"),
    "loop": ("loop 1f; inc %eax; 1:",),
    "jcxz": ("jcxz 1f; inc %eax; 1:", "mov $0,%cx; jcxz 1f; inc %eax; 1:"),
    **{name: (name,) for name in ("daa", "das", "aaa", "aas")}, "aam": ("aam", "aam $7"), "aad": ("aad", "aad $3"),
    "arpl": ("arpl %bx,%cx", "arpl %bx,(%edi)", "mov $4,%cx; mov $7,%bx; arpl %bx,%cx", "mov $6,%dx; arpl %ax,%dx"),
    "bound": ("movl $0,(%edi); movl $9,4(%edi); mov $5,%eax; bound %eax,(%edi)",),
    "scasb": ("and $3,%ecx; repne scasb", "std; scasb"), "cmpsd": ("cmpsl", "and $3,%ecx; repe cmpsl"),
    "xlatb": ("mov %edi,%ebx; xlat",), "enter": ("enter $8,$0", "enter $8,$1", "enter $0,$3"),
    "jecxz": ("jecxz 1f; inc %eax; 1:",), "call": ("call 1f; 1:",), "xchg": ("xchg %ebx,(%edi)",),
    "bswap": ("bswap %ebx",),
}  # fmt: skip


def test_rows_in_32_bit_mode_are_what_the_emulator_does() -> None:
    code, forms = assembled([(name, text) for name, texts in SHORT.items() for text in texts], 32)
    machine, dice = Rows(code, 32), random.Random(7)
    seen: Counter[str] = Counter()
    for form in forms:
        for _ in range(examples(4, 40)):
            before = random_state(dice)
            after = on_emulator(code, form, before, 32)
            if after is None:
                continue
            seen[form.row] += 1
            assert not differences(machine.run(form, before), before, after), form.text
    assert set(seen) == set(SHORT)


# As GNU's disassembler has them.
_POINTER_BYTES = {
    "BYTE": 1, "WORD": 2, "DWORD": 4, "QWORD": 8, "TBYTE": 10, "XMMWORD": 16, "YMMWORD": 32, "ZMMWORD": 64,
}  # fmt: skip


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
def test_how_much_is_accessed_is_what_another_disassembler_says(tmp_path: Path) -> None:
    """The decoder has the sizes of some operands wrong."""
    texts = [(row.name, text) for row in row_forms.rows() for text in row.texts]
    texts += [
        (name, t) for table in (row_forms.x87(), row_forms.x87_results()) for name, of in table.items() for t in of
    ]
    code, _ = assembled(texts)
    (tmp_path / "code").write_bytes(code)
    command = ["objdump", "-D", "-w", "--no-show-raw-insn", "-b", "binary", "-m", "i386:x86-64", "-M", "intel"]
    listing = subprocess.run([*command, tmp_path / "code"], check=True, capture_output=True, text=True).stdout
    decoder, compared_with, wrong = decoder_of(64), 0, set()
    for line in listing.splitlines():
        at, _, text = line.partition(":")
        sizes = re.findall(r"(\w+) PTR", text)
        if len(sizes) != 1 or sizes[0] not in _POINTER_BYTES:
            continue
        try:
            insn = decoder.decode(code[int(at, 16) :][:15], int(at, 16))
        except UndecidedError:
            continue
        if insn.mnemonic == "xlatb":
            continue  # the decoder has no operand of it, and its row tells the access itself
        mine = [operand.size for operand in insn.operands if isinstance(operand, Memory)]
        compared_with += 1
        if mine != [_POINTER_BYTES[sizes[0]]]:
            wrong.add(f"{text.strip()}: {mine}")
    assert compared_with > 1000
    assert not wrong


# Rows that neither the processor nor the emulator runs here, and why.
NEITHER = {
    **dict.fromkeys(
        ("vmread", "vmwrite", "invept", "invvpid", "vmptrld", "vmclear", "vmxon", "vmptrst", "vmlaunch", "vmresume",
         "vmrun", "vmload", "vmsave", "clgi", "stgi"), "they ask for virtual-machine extensions in the kernel"),
    **dict.fromkeys(("iretd", "iretq", "sysret", "sysretq", "sysexit", "sysexitq", "rsm", "ud2"), "they end a path"),
    **dict.fromkeys(("rdmsr", "wrmsr", "rdpmc", "lmsw", "xsetbv", "clts"), "they are about the state of the system"),
    **dict.fromkeys(("sgdt", "sidt", "sldt", "str", "smsw"), "whether a program may run them depends on the kernel"),
    **dict.fromkeys(("swapgs", "wrfsbase", "wrgsbase"), "the memory of the runner would be elsewhere"),
    **dict.fromkeys(("lldt", "ltr"), "they load descriptors that are not there"),
    **dict.fromkeys(("clac", "stac", "invpcid", "wbnoinvd", "serialize"), "the emulator does not know them"),
    **{f"{name}{kind}": "how much they move depends on the processor" for name in (
        "xsave", "xsaveopt", "xsavec", "xsaves", "xrstor", "xrstors") for kind in ("", "64")},
    **dict.fromkeys(("in", "out"), "they ask for ports that a program does not have"),
    **dict.fromkeys(("rdpkru", "wrpkru"), "whether they run depends on the kernel"),
    **dict.fromkeys(("pushf", "popf", "pushaw", "popaw", "sal"), "other names of rows that are tried"),
}  # fmt: skip
_OTHER_CONDITIONS = ("c", "nc", "nae", "nb", "na", "nbe", "z", "nz", "pe", "po")


def test_every_row_is_tried_somewhere() -> None:
    tried = (
        {row.name for row in row_forms.rows()}
        | set(PRIVILEGED)
        | set(RESULTS)
        | set(NOTHING)
        | set(SAVED)
        | set(SHORT)
        | set(NEITHER)
    )
    aliases = {f"{kind}{cc}" for kind in ("j", "set", "cmov") for cc in _OTHER_CONDITIONS}
    assert set(EFFECTS) - tried - aliases == set()
    assert set(NEITHER) <= set(EFFECTS)


def test_an_access_that_the_table_does_not_have_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    code, (form,) = assembled([("vpaddd", "vpaddd (%rdi),%xmm2,%xmm3")])
    assert not disagreeing(Rows(code), form)
    monkeypatch.setattr(Effect, "role", lambda self, index: Role.ADDRESS)
    assert disagreeing(Rows(code), form)


@needs_avx2
@pytest.mark.parametrize("row", ["movbe", "tzcnt", "adcx", "cmpxchg8b", "push", "bts"])
def test_a_row_that_is_wrong_is_found_out(row: str, runner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation of these rows is replaced by another one, and nobody may overlook it."""
    forms = [one for one in row_forms.rows() if one.name == row]
    assert not compared(forms, runner, 6, random.Random(1))[1]
    swapped = {
        "movbe": (Do.JOIN, Do.JOIN), "tzcnt": (Do.COUNT_ONES, Do.COUNT_LEADING_ZEROS),
        "adcx": (Do.CARRIES, Do.CARRIES_SIGNED),
        "cmpxchg8b": (Do.EQUAL, Do.NOT_EQUAL), "push": (Do.ADD, Do.SUBTRACT), "bts": (Do.BIT_OR, Do.BIT_XOR),
    }[row]  # fmt: skip
    plain = semantics.Operands.emit

    def emit(
        self: semantics.Operands, what: Do, out: object = None, a: object = None, b: object = None, c: object = None
    ) -> None:
        if what is swapped[0]:
            what = swapped[1]
            if what is Do.JOIN:
                a, b = b, a
                if getattr(a, "size", 0) + getattr(b, "size", 0) != getattr(out, "size", 0):
                    a, b = b, a
        plain(self, what, out, a, b, c)  # type: ignore[arg-type]

    monkeypatch.setattr(semantics.Operands, "emit", emit)
    assert compared(forms, runner, 6, random.Random(1))[1]
