# SPDX-License-Identifier: GPL-2.0-or-later
"""What each mnemonic does: our own table, because neither the decoder nor P-code can be asked.

The decoder's access flags call ``clflush``, ``prefetch`` and ``movnti`` reads; P-code loads what ``clflush``
flushes, loads one operand several times, and has nothing at all for prefetches and fences. So direction and kind of
every memory operand, and which registers an instruction reads and writes besides its operands, come from here. An
instruction that is not in this table makes the verdict UNDECIDED: never a guess.

Source of the facts: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2 (instruction pages).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from l1dflush.tracing import vector_names as names


class Role(Enum):
    """What an instruction does with one operand."""

    READ = auto()
    WRITE = auto()
    UPDATE = auto()  # read, then written
    ADDRESS = auto()  # only the address is computed
    PREFETCH = auto()
    LINE_FLUSH = auto()
    NON_TEMPORAL = auto()  # written, perhaps past the cache


WRITES = frozenset({Role.WRITE, Role.UPDATE, Role.NON_TEMPORAL})


class Form(Enum):
    """How the trace has to treat an instruction, beyond its operands."""

    PLAIN = auto()  # sources -> destinations
    MOVE = auto()  # a copy: what is unknown stays the same unknown value
    LEA = auto()
    ADD = auto()
    SUB = auto()
    STEP = auto()  # inc, dec
    SHIFT = auto()  # by zero it keeps the flags
    ROTATE = auto()  # the same, and otherwise it changes carry and overflow only
    AND = auto()
    OR = auto()
    XOR = auto()
    COMPARE = auto()
    TEST = auto()
    EXCHANGE = auto()
    CONDITIONAL_MOVE = auto()
    PUSH = auto()
    POP = auto()
    CALL = auto()
    RETURN = auto()
    LEAVE = auto()
    ENTER = auto()
    PUSH_ALL = auto()
    POP_ALL = auto()
    JUMP = auto()
    BRANCH = auto()  # jcc, loop, jrcxz
    STRING = auto()
    SCAN = auto()  # a string instruction that stops where something is equal, or is not
    SKIP = auto()  # stepped over: changes no register and no memory that the trace follows
    RESULTS_UNKNOWN = auto()  # stepped over: its written registers are unknown afterwards
    SUCCEEDS = auto()  # the same, and its flags say that it did not fail
    VECTOR = auto()  # works on vector registers
    FLOAT = auto()  # x87: what its registers hold is followed by nobody
    VECTOR_SKIP = auto()  # stepped over: writes vector registers only
    PUSH_FLAGS = auto()
    POP_FLAGS = auto()
    SEGMENT_CHANGE = auto()  # stepped over: fs or gs is elsewhere afterwards
    OPAQUE = auto()  # stepped over: touches memory that nobody can name
    TRAP = auto()  # an exception: nothing behind it is run, unless the kernel's table says so
    END = auto()  # enters the guest, or returns from an interrupt or a system call


class Event(Enum):
    """The event an instruction is, besides what its operands do."""

    NONE = auto()
    SERIALISE = auto()
    FENCE = auto()
    MSR_WRITE = auto()
    FLUSH_ALL = auto()
    SYSTEM_WRITE = auto()  # what memory is, or what may be accessed, may be another afterwards


# Flags in two parts: the carry flag, and the rest. `inc` leaves the carry alone, `bt` changes nothing else.
CARRY, REST = "carry", "rest"
ALL_FLAGS = frozenset({CARRY, REST})
NO_FLAGS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Effect:
    """One row of the table. ``roles`` are in operand order; the last is repeated for further operands.

    ``reads`` and ``writes`` are registers (64-bit names) that the instruction uses without naming them.
    """

    form: Form
    roles: tuple[Role, ...] = ()
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    flags_read: frozenset[str] = NO_FLAGS
    flags_written: frozenset[str] = NO_FLAGS
    event: Event = Event.NONE

    def role(self, index: int) -> Role:
        """Role of operand ``index``."""
        return self.roles[min(index, len(self.roles) - 1)] if self.roles else Role.READ


_R, _W, _U, _A = Role.READ, Role.WRITE, Role.UPDATE, Role.ADDRESS
_CC_FLAGS = {
    # carry only, carry and rest, rest only
    **dict.fromkeys(("b", "ae", "c", "nc", "nae", "nb"), frozenset({CARRY})),
    **dict.fromkeys(("a", "be", "na", "nbe"), ALL_FLAGS),
    **dict.fromkeys(
        ("e", "ne", "z", "nz", "s", "ns", "o", "no", "p", "np", "pe", "po", "l", "ge", "le", "g"),
        frozenset({REST}),
    ),
}

# Each condition and its opposite: a decision taken for one decides the other too.
OPPOSITE = {
    "ne": "e", "ae": "b", "a": "be", "ns": "s", "no": "o", "np": "p", "ge": "l", "g": "le",
    "nz": "e", "nc": "b", "nb": "b", "nbe": "be", "po": "p",
}  # fmt: skip
SAME = {"z": "e", "c": "b", "nae": "b", "na": "be", "pe": "p"}


def _gpr(*names: str) -> frozenset[str]:
    return frozenset(names)


# Moves of half a vector register, whose other half stays; to memory they are stores.
HALF_MOVE = Effect(Form.VECTOR, (_U, _R))
HALF_STORE = Effect(Form.VECTOR, (_W, _R))


def _build() -> dict[str, Effect]:
    table: dict[str, Effect] = {}

    def put(mnemonics: str, effect: Effect) -> None:
        for name in mnemonics.split():
            table[name] = effect

    put("mov movabs", Effect(Form.MOVE, (_W, _R)))
    put("movzx movsx movsxd movbe", Effect(Form.PLAIN, (_W, _R)))
    put("movnti", Effect(Form.PLAIN, (Role.NON_TEMPORAL, _R)))
    put("lea", Effect(Form.LEA, (_W, _A)))
    put("add", Effect(Form.ADD, (_U, _R), flags_written=ALL_FLAGS))
    put("sub", Effect(Form.SUB, (_U, _R), flags_written=ALL_FLAGS))
    put("adc sbb", Effect(Form.PLAIN, (_U, _R), flags_read=frozenset({CARRY}), flags_written=ALL_FLAGS))
    put("and", Effect(Form.AND, (_U, _R), flags_written=ALL_FLAGS))
    put("or", Effect(Form.OR, (_U, _R), flags_written=ALL_FLAGS))
    put("xor", Effect(Form.XOR, (_U, _R), flags_written=ALL_FLAGS))
    put("cmp", Effect(Form.COMPARE, (_R, _R), flags_written=ALL_FLAGS))
    put("test", Effect(Form.TEST, (_R, _R), flags_written=ALL_FLAGS))
    put("inc dec", Effect(Form.STEP, (_U,), flags_written=frozenset({REST})))
    put("neg", Effect(Form.PLAIN, (_U,), flags_written=ALL_FLAGS))
    put("not bswap", Effect(Form.PLAIN, (_U,)))
    put("shl sal shr sar shld shrd", Effect(Form.SHIFT, (_U, _R, _R), flags_written=ALL_FLAGS))
    put("rol ror", Effect(Form.ROTATE, (_U, _R), flags_written=ALL_FLAGS))
    put("rcl rcr", Effect(Form.ROTATE, (_U, _R), flags_read=frozenset({CARRY}), flags_written=ALL_FLAGS))
    put("shlx shrx sarx rorx pdep pext", Effect(Form.PLAIN, (_W, _R, _R)))
    put("andn bextr blsi blsr blsmsk bzhi", Effect(Form.PLAIN, (_W, _R, _R), flags_written=ALL_FLAGS))
    put("mulx", Effect(Form.PLAIN, (_W, _W, _R), reads=_gpr("rdx")))
    put("popcnt lzcnt tzcnt", Effect(Form.PLAIN, (_W, _R), flags_written=ALL_FLAGS))
    # The destination keeps its value when the source is zero.
    put("bsf bsr", Effect(Form.PLAIN, (_U, _R), flags_written=ALL_FLAGS))
    put("bt", Effect(Form.PLAIN, (_R, _R), flags_written=frozenset({CARRY})))
    put("bts btr btc", Effect(Form.PLAIN, (_U, _R), flags_written=frozenset({CARRY})))
    put("xchg", Effect(Form.EXCHANGE, (_U, _U)))
    put("xadd", Effect(Form.PLAIN, (_U, _U), flags_written=ALL_FLAGS))
    put(
        "cmpxchg",
        Effect(Form.PLAIN, (_U, _R), reads=_gpr("rax"), writes=_gpr("rax"), flags_written=ALL_FLAGS),
    )
    put(
        "cmpxchg8b cmpxchg16b",
        Effect(
            Form.PLAIN,
            (_U,),
            reads=_gpr("rax", "rbx", "rcx", "rdx"),
            writes=_gpr("rax", "rdx"),
            flags_written=frozenset({REST}),
        ),
    )
    put("crc32", Effect(Form.PLAIN, (_U, _R)))
    put("adcx adox", Effect(Form.PLAIN, (_U, _R), flags_read=ALL_FLAGS, flags_written=ALL_FLAGS))
    put("cdq cqo", Effect(Form.PLAIN, reads=_gpr("rax"), writes=_gpr("rdx")))
    # The upper half of edx stays.
    put("cwd", Effect(Form.PLAIN, reads=_gpr("rax", "rdx"), writes=_gpr("rdx")))
    put("cdqe cwde cbw", Effect(Form.PLAIN, reads=_gpr("rax"), writes=_gpr("rax")))
    wide = _gpr("rax", "rdx")
    put("mul div idiv", Effect(Form.PLAIN, (_R,), reads=wide, writes=wide, flags_written=ALL_FLAGS))
    # Of 32-bit mode: decimal arithmetic, which asks for the adjust flag, and a bounds check.
    put("daa das aaa aas aam aad", Effect(Form.PLAIN, reads=_gpr("rax"), writes=_gpr("rax"), flags_written=ALL_FLAGS))
    put("arpl", Effect(Form.PLAIN, (_U, _R), flags_written=frozenset({REST})))
    put("bound", Effect(Form.SKIP, (_R, _R)))
    put("clc stc", Effect(Form.PLAIN, flags_written=frozenset({CARRY})))
    put("cmc", Effect(Form.PLAIN, flags_read=frozenset({CARRY}), flags_written=frozenset({CARRY})))
    put("cld std", Effect(Form.PLAIN))
    put("lahf", Effect(Form.PLAIN, reads=_gpr("rax"), writes=_gpr("rax"), flags_read=ALL_FLAGS))
    put("sahf", Effect(Form.PLAIN, reads=_gpr("rax"), flags_written=ALL_FLAGS))

    put("push", Effect(Form.PUSH, (_R,), reads=_gpr("rsp"), writes=_gpr("rsp")))
    put("pop", Effect(Form.POP, (_W,), reads=_gpr("rsp"), writes=_gpr("rsp")))
    put("call", Effect(Form.CALL, (_R,), reads=_gpr("rsp"), writes=_gpr("rsp")))
    put("ret", Effect(Form.RETURN, (_R,), reads=_gpr("rsp"), writes=_gpr("rsp")))
    put("leave", Effect(Form.LEAVE, reads=_gpr("rbp"), writes=_gpr("rsp", "rbp")))
    put("enter", Effect(Form.ENTER, (_R, _R), reads=_gpr("rsp", "rbp"), writes=_gpr("rsp", "rbp")))
    put("pushal pushaw", Effect(Form.PUSH_ALL))
    put("popal popaw", Effect(Form.POP_ALL))
    put("jmp", Effect(Form.JUMP, (_R,)))
    put("jrcxz jecxz jcxz", Effect(Form.BRANCH, (_R,), reads=_gpr("rcx")))
    put("loope loopne", Effect(Form.BRANCH, (_R,), reads=_gpr("rcx"), writes=_gpr("rcx"), flags_read=frozenset({REST})))
    put("loop", Effect(Form.BRANCH, (_R,), reads=_gpr("rcx"), writes=_gpr("rcx")))
    for cc, flags in _CC_FLAGS.items():
        put(f"j{cc}", Effect(Form.BRANCH, (_R,), flags_read=flags))
        put(f"set{cc}", Effect(Form.PLAIN, (_W,), flags_read=flags))
        put(f"cmov{cc}", Effect(Form.CONDITIONAL_MOVE, (_U, _R), flags_read=flags))

    # String instructions name their memory operands; the pointers move on by themselves.
    put("lodsb lodsw lodsd lodsq", Effect(Form.STRING, (_W, _R)))
    put("stosb stosw stosd stosq", Effect(Form.STRING, (_W, _R)))
    put("movsb movsw movsd movsq", Effect(Form.STRING, (_W, _R)))

    put("scasb scasw scasd scasq cmpsb cmpsw cmpsd cmpsq", Effect(Form.SCAN, (_R, _R), flags_written=ALL_FLAGS))
    put("xlatb", Effect(Form.PLAIN, reads=_gpr("rax", "rbx"), writes=_gpr("rax")))

    put("pushf pushfd pushfq", Effect(Form.PUSH_FLAGS, reads=_gpr("rsp"), writes=_gpr("rsp"), flags_read=ALL_FLAGS))
    put("popf popfd popfq", Effect(Form.POP_FLAGS, reads=_gpr("rsp"), writes=_gpr("rsp"), flags_written=ALL_FLAGS))

    put("nop endbr64 endbr32 pause cli sti clac stac", Effect(Form.SKIP, (_A,)))
    put("lfence mfence sfence", Effect(Form.SKIP, event=Event.FENCE))
    put("serialize", Effect(Form.SKIP, event=Event.SERIALISE))
    put("prefetcht0 prefetcht1 prefetcht2 prefetchnta prefetch prefetchw", Effect(Form.SKIP, (Role.PREFETCH,)))
    put("clflush clflushopt", Effect(Form.SKIP, (Role.LINE_FLUSH,)))
    put("wbinvd invd", Effect(Form.SKIP, event=Event.FLUSH_ALL))
    put("clwb cldemote", Effect(Form.OPAQUE, (_A,)))
    # wbnoinvd writes back and keeps the lines.
    put("wbnoinvd", Effect(Form.SKIP))
    put(
        "cpuid",
        Effect(
            Form.RESULTS_UNKNOWN,
            reads=_gpr("rax", "rcx"),
            writes=_gpr("rax", "rbx", "rcx", "rdx"),
            event=Event.SERIALISE,
        ),
    )
    put("rdtsc", Effect(Form.RESULTS_UNKNOWN, writes=_gpr("rax", "rdx")))
    put("rdtscp", Effect(Form.RESULTS_UNKNOWN, writes=_gpr("rax", "rcx", "rdx")))
    put("rdmsr rdpmc xgetbv", Effect(Form.RESULTS_UNKNOWN, reads=_gpr("rcx"), writes=_gpr("rax", "rdx")))
    put("rdrand rdseed", Effect(Form.RESULTS_UNKNOWN, (_W,), flags_written=ALL_FLAGS))
    put("rdpid", Effect(Form.RESULTS_UNKNOWN, (_W,)))
    put("in", Effect(Form.RESULTS_UNKNOWN, (_W, _R)))
    put("out", Effect(Form.SKIP, (_R, _R)))
    # Writing the flush command is an event; other MSRs are recorded the same way and told apart by number.
    put("wrmsr", Effect(Form.SKIP, reads=_gpr("rax", "rcx", "rdx"), event=Event.MSR_WRITE))

    _put_system(put)
    _put_vectors(put)
    _put_floats(put)
    return table


def _put_system(put) -> None:  # type: ignore[no-untyped-def]  # the closure of _build
    """What the code around a VM entry consists of (SDM volume 3, chapters 2, 25 and 31; APM volume 2, chapter 15)."""
    put("vmlaunch vmresume vmrun", Effect(Form.END, reads=_gpr("rax")))
    put("iretd iretq sysret sysretq sysexit sysexitq rsm", Effect(Form.END))
    put("ud2", Effect(Form.TRAP))
    # What they transfer to or from the VMCS is in memory of the CPU's own, if in memory at all.
    put("vmread", Effect(Form.SUCCEEDS, (_W, _R), flags_written=ALL_FLAGS))
    put("vmwrite invept invvpid", Effect(Form.SUCCEEDS, (_R, _R), flags_written=ALL_FLAGS))
    put("vmptrld vmclear vmxon", Effect(Form.SUCCEEDS, (_R,), flags_written=ALL_FLAGS))
    put("vmptrst", Effect(Form.SUCCEEDS, (_W,), flags_written=ALL_FLAGS))
    put("verw verr", Effect(Form.RESULTS_UNKNOWN, (_R,), flags_written=frozenset({REST})))
    put("lsl lar", Effect(Form.PLAIN, (_U, _R), flags_written=frozenset({REST})))
    # How much the others move nobody knows.
    put("fxsave fxsave64 fxrstor fxrstor64", Effect(Form.PLAIN, (_A,)))
    put("xsave xsave64 xsaveopt xsaveopt64 xsavec xsavec64 xsaves xsaves64 xrstor xrstor64 xrstors xrstors64",
        Effect(Form.OPAQUE, (_A,), reads=_gpr("rax", "rdx")))  # fmt: skip
    put("invpcid", Effect(Form.SKIP, (_R, _R)))
    put("invlpg", Effect(Form.SKIP, (_A,)))
    put("clgi stgi clts wait fninit fnclex emms", Effect(Form.SKIP))
    put("xsetbv wrpkru", Effect(Form.SKIP, event=Event.SYSTEM_WRITE))
    put("lmsw", Effect(Form.SKIP, (_R,), event=Event.SYSTEM_WRITE))
    put("rdpkru", Effect(Form.RESULTS_UNKNOWN, writes=_gpr("rax", "rdx")))
    put("sgdt sidt sldt str smsw stmxcsr vstmxcsr fnstcw fnstsw", Effect(Form.RESULTS_UNKNOWN, (_W,)))
    put("lgdt lidt lldt ltr ldmxcsr vldmxcsr fldcw", Effect(Form.SKIP, (_R,)))
    put("rdfsbase rdgsbase", Effect(Form.RESULTS_UNKNOWN, (_W,)))
    put("swapgs", Effect(Form.SEGMENT_CHANGE))
    put("wrfsbase wrgsbase", Effect(Form.SEGMENT_CHANGE, (_R,)))
    # They move a part of the page whose physical address is in rax.
    put("vmload vmsave", Effect(Form.OPAQUE, (_A,), reads=_gpr("rax")))


def _put_vectors(put) -> None:  # type: ignore[no-untyped-def]  # the closure of _build
    """Vectors; results in floating point depend on MXCSR: nobody knows them. Exceptions of floating point are masked
    where nobody changed that (SDM volume 1, section 11.5.2)."""
    put(names.COPIES, Effect(Form.VECTOR, (_W, _R)))
    put("movntdq movntps movntpd", Effect(Form.VECTOR, (Role.NON_TEMPORAL, _R)))
    put("movhps movlps movhpd movlpd movhlps movlhps", HALF_MOVE)
    put(names.UPDATES, Effect(Form.VECTOR, (_U, _R)))
    put(names.COPIES_OF_PARTS, Effect(Form.VECTOR, (_W, _R, _R)))
    put("ptest ucomiss ucomisd comiss comisd", Effect(Form.VECTOR, (_R, _R), flags_written=ALL_FLAGS))
    put(names.VEX_COPIES, Effect(Form.VECTOR_SKIP, (_W, _R)))
    put(names.VEX_OF_SEVERAL, Effect(Form.VECTOR_SKIP, (_U, _R)))
    put("vptest vtestps vtestpd vucomiss vucomisd vcomiss vcomisd",
        Effect(Form.VECTOR_SKIP, (_R, _R), flags_written=ALL_FLAGS))  # fmt: skip
    put("vmovntdq vmovntps vmovntpd", Effect(Form.VECTOR_SKIP, (Role.NON_TEMPORAL, _R)))
    put("vzeroupper vzeroall", Effect(Form.VECTOR_SKIP))


def _put_floats(put) -> None:  # type: ignore[no-untyped-def]  # the closure of _build
    """x87, in which compilers compute where there is no SSE: its results are unknown values."""
    put("fld fild fbld fadd fiadd fsub fisub fsubr fisubr fmul fimul fdiv fidiv fdivr fidivr fcom fcomp ficom ficomp",
        Effect(Form.FLOAT, (_R, _R)))  # fmt: skip
    put("fst fstp fist fistp fisttp fbstp", Effect(Form.FLOAT, (_W,)))
    put("faddp fsubp fsubrp fmulp fdivp fdivrp fxch fchs fabs fld1 fldz fldpi fldl2e fldl2t fldlg2 fldln2 fcompp fucom "
        "fucomp fucompp fsqrt frndint fscale fprem fprem1 fincstp fdecstp ffree fnop ftst fxam fxtract f2xm1 fyl2x "
        "fyl2xp1 fsin fcos fsincos fptan fpatan", Effect(Form.FLOAT, (_R, _R)))  # fmt: skip
    put("fnsave frstor fnstenv fldenv", Effect(Form.FLOAT, (_A,)))
    put("fcomi fcompi fucomi fucompi", Effect(Form.FLOAT, (_R, _R), flags_written=ALL_FLAGS))
    put("fcmovb fcmove fcmovbe fcmovu fcmovnb fcmovne fcmovnbe fcmovnu",
        Effect(Form.FLOAT, (_R, _R), flags_read=ALL_FLAGS))  # fmt: skip


EFFECTS: dict[str, Effect] = _build()

# `movsd` is a string instruction or a scalar double, told apart by its operands.
MOVSD_VECTOR = Effect(Form.VECTOR, (_W, _R))
# `imul` with one operand works on rdx:rax, with two it updates, with three it writes.
IMUL = {
    1: EFFECTS["mul"],
    2: Effect(Form.PLAIN, (_U, _R), flags_written=ALL_FLAGS),
    3: Effect(Form.PLAIN, (_W, _R, _R), flags_written=ALL_FLAGS),
}

# `mov` between a general register and a control, debug or segment register.
MOV_FROM_SYSTEM = Effect(Form.RESULTS_UNKNOWN, (_W, _R))
MOV_TO_SYSTEM = Effect(Form.SKIP, (_W, _R))
MOV_TO_CONTROL = Effect(Form.SKIP, (_W, _R), event=Event.SYSTEM_WRITE)
MOV_TO_SEGMENT = Effect(Form.SEGMENT_CHANGE, (_W, _R))
# What may be written without other memory or no cache behind the same addresses afterwards.
HARMLESS_SYSTEM_REGISTERS = frozenset({"cr2", "cr8", *(f"dr{number}" for number in range(8))})

# Why some well-known instructions are not in the table: what to say instead of just their name.
REASONS = {"ud1": "its length depends on the CPU"}
