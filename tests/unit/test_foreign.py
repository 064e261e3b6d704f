# SPDX-License-Identifier: GPL-2.0-or-later
"""What is not a routine is told what it is; C and x86 assembly are never taken for it."""

# ruff: noqa: E501 (one sample a line)

from __future__ import annotations

import random
import shutil
import struct
from pathlib import Path

import pytest

from l1dflush.data.catalogue import load_catalogue
from l1dflush.errors import InputError
from l1dflush.routine.detect import Format, as_text, detect
from l1dflush.routine.foreign import foreign_binary, foreign_text
from l1dflush.routine.load import load, load_bytes
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.other_processors import what_else

TESTS = Path(__file__).parents[1]
INPUTS = TESTS / "data" / "trials" / "inputs"
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")

NASM = {
    "globals": "global drain\nextern area\n\ndrain:\n    mov rsi, [area]\n    mov al, [rsi]\n    ret\n",
    "sizes": "f:\n    mov eax, dword [rdi]\n    cmp byte [rdi + rcx], 0\n    ret\n",
    "macros": "%macro touch 1\n    mov al, [rdi + %1]\n%endmacro\nflush:\n    touch 64\n    ret\n",
    "relative": "default rel\nbits 64\nsection .text\nf:  lea rdi, [rel pages]\n    ret\nsection .bss\npages: resb 65536\n",
    "data": "[BITS 32]\nf: mov esi, pages\n   ret\ntimes 510 - ($ - $$) db 0\nalign 16\npages: times 4096 db 1\n",
    "remarks": "; reads every line of the buffer\nread:\n    mov rcx, 1024\n.next:\n    mov al, [rdi]\n    ret ; and back\n",
}
MASM = {
    "proc": ".CODE\nFlushCache PROC\n    mov rax, QWORD PTR [rcx]\n    lfence\n    ret\nFlushCache ENDP\nEND\n",
    "segments": "_TEXT SEGMENT PARA 'CODE'\nPUBLIC f\nf PROC FRAME\n    xor eax, eax\n    ret\nf ENDP\n_TEXT ENDS\nEND\n",
    "model": "    .686p\n    .model flat, c\n    .code\nf proc uses ebx\n    mov eax, [esp + 8]\n    ret\nf endp\n    end f\n",
    "macros": "INCLUDE ksamd64.inc\n    LEAF_ENTRY KeFlush, _TEXT$00\n    mov rax, [rcx]\n    LEAF_END KeFlush, _TEXT$00\n    end\n",
    "externs": "EXTERN area:QWORD\nINCLUDELIB kernel32\n.code\nf: mov rax, area\n   ret\nend\n",
}
RUST = {
    "plain": "fn scrub(area: *const u8) -> u8 {\n    let mut sum = 0;\n    sum\n}\n",
    "no std": '#![no_std]\n#[no_mangle]\npub extern "C" fn l1d_flush(p: *const u8) {\n    for i in 0..1024 {}\n}\n',
    "method": 'impl Cache {\n    pub unsafe fn flush(&mut self) {\n        asm!("lfence");\n    }\n}\n',
    "crate": "use crate::mm::Page;\n\npub(crate) const fn lines() -> usize { 64 }\n",
}
CPP = {
    "namespace": "namespace cache {\nvoid flush(const volatile char *p)\n{\n  for (int i = 0; i < 9; ++i) (void)p[i];\n}\n}\n",
    "std": '#include <cstdint>\nvoid f(const char *p) { auto n = reinterpret_cast<std::uintptr_t>(p); asm("" :: "r"(n)); }\n',
    "template": "template <int Bytes>\nvoid flush(volatile char *p) { for (int i = 0; i < Bytes; i += 64) (void)p[i]; }\n",
    "class": "class Flusher {\npublic:\n  void run() { }\nprivate:\n  char *pages;\n};\n",
    "members": "Cache::Cache(char *area) : area_(area)\n{\n}\n\nvoid Cache::flush()\n{\n  (void)area_[0];\n}\n",
    "pointers": "bool f(char *p)\n{\n  if (p == nullptr) return false;\n  delete p;\n  return true;\n}\n",
    "braces": "void f(volatile char *p)\n{\n  for (unsigned i{0}; i < 65536; i += 64) (void)p[i];\n}\n",
    "lambda": 'extern "C" void f(volatile char *p)\n{\n  auto touch = [&](int i) { (void)p[i]; };\n  touch(0);\n}\n',
    "linkage": 'extern "C" void f(volatile char *p)\n{\n  constexpr int bytes = 65536;\n  (void)p[bytes - 1];\n}\n',
}
AARCH64 = {
    "post-index": "flush:\n    ldr x2, [x0], #64\n    subs x1, x1, #1\n    b.ne flush\n    dsb sy\n    ret\n",
    "by line": "1:  dc civac, x0\n    add x0, x0, #64\n    cmp x0, x1\n    b.lo 1b\n    dsb ish\n    isb\n    ret\n",
    "branches": "f:\tcbnz w3, f\n\tmrs x3, ctr_el0\n\tret\n",
    "pairs": "\t.arch armv8-a\n\t.text\nf:\n\tstp x29, x30, [sp, -16]!\n\tldp x29, x30, [sp], 16\n\tret\n\t.size f, .-f\n",
}
ARM = {
    "loop": "flush:\n    ldrb r3, [r0]\n    adds r0, r0, #64\n    cmp r0, r1\n    bne flush\n    bx lr\n",
    "sets": "\t.cpu cortex-a9\n\t.arm\nf:\tmcr p15, 0, r2, c7, c14, 2\n\tbx lr\n",
    "thumb": "\t.syntax unified\n\t.thumb\n\t.thumb_func\nf:\tpush {r4, lr}\n\tldr r3, [r0, #0]\n\tpop {r4, pc}\n",
}
RISCV = {
    "loop": "flush:\n\tld t0, 0(a0)\n\taddi a0, a0, 64\n\tbnez a1, flush\n\tfence\n\tret\n",
    "numbers": "f:\n\tlw x5, 0(x10)\n\taddi x10, x10, 64\n\tbne x10, x11, f\n\tret\n",
    "by line": "f:\tcbo.flush (a0)\n\tfence rw, rw\n\tret\n",
    "generated": "\t.attribute 4, 16\n\t.text\nf:\n\tlui a1, 16\n.L: lbu zero, 0(a0)\n\tret\n",
}
POWER = {
    "update": "flush:\n\tli r4,512\n\tmtctr r4\n1:\tldu r5,128(r3)\n\tbdnz 1b\n\tisync\n\tblr\n",
    "hints": "\tdcbt 0,%r3\n\tdcbf 0,%r3\n\tsync\n\tblr\n",
    "generated": "\t.abiversion 2\nf:\n\tlis 5, 1\n\tori 5, 5, 0\n\tmtctr 5\n.LBB0_1:\n\tlbz 4, 0(3)\n\tbdnz .LBB0_1\n\tblr\n",
}
IR = {
    "module": 'target triple = "x86_64-pc-linux-gnu"\n\ndefine void @flush(ptr %p) {\n  ret void\n}\n',
    "function": "define dso_local void @f(i8* %p) #0 {\nentry:\n  %v = load volatile i8, i8* %p\n  ret void\n}\n",
}
MACOS = {
    "x86": "\t.section __TEXT,__text,regular,pure_instructions\n_f:\n\tmovb (%rdi), %al\n\tretq\n.subsections_via_symbols\n",
    "version": "\t.build_version macos, 13, 0\n_f:\tmovb (%rdi), %al\n\tretq\n",
}
WINDOWS = {
    "mingw": "\t.def f; .scl 2; .type 32; .endef\n\t.seh_proc f\nf:\tmovb (%rcx), %al\n\tret\n\t.seh_endproc\n",
    "clang": "\t.def\tf;\n\t.scl\t2;\n\t.type\t32;\n\t.endef\nf:\tmovb (%rcx), %al\n\tret\n",
}
OTHER_TEXTS = {
    "NASM": NASM,
    "MASM": MASM,
    "Rust": RUST,
    "C++": CPP,
    "AArch64": AARCH64,
    "32-bit Arm": ARM,
    "RISC-V": RISCV,
    "PowerPC": POWER,
    "LLVM IR": IR,
    "macOS": MACOS,
    "Windows": WINDOWS,
    "FASM": {"elf": "format ELF64\npublic f\nsection '.text' executable\nf: mov al, [rdi]\n   ret\n"},
    "Go": {"amd64": '#include "textflag.h"\nTEXT ·flush(SB), NOSPLIT, $0-8\n\tMOVQ p+0(FP), AX\n\tRET\n'},
    "Itanium": {
        "loop": "flush:\n\tmov ar.lc = r33\n\t;;\n1:\tld1 r2 = [r32], 64\n\tbr.cloop.sptk 1b\n\tbr.ret.sptk.many b0\n",
        "by line": "f:\n\tfc r32\n\tadd r32 = 64, r32\n\t;;\n\tcmp.ltu p6, p7 = r32, r33\n(p6)\tbr.cond.dptk.few f\n",
    },
    "Alpha": {
        "loop": "flush:\n\tldq $0,0($16)\n\tlda $16,64($16)\n\tcmpult $16,$17,$1\n\tbne $1,flush\n\tret $31,($26),1\n",
        "fewer": "f:\tldl $1, 8($16)\n\tsubq $17, 1, $17\n\tmb\n",
    },
    "the 68000 family": {
        "loop": "flush:\n\tmovea.l 4(%sp),%a0\nnext:\tmove.b (%a0)+,%d0\n\tdbra %d1,next\n\trts\n",
        "plain": "f:\tmove.l 4(sp),a0\n\tadd.l d0,a0\n\trts\n",
        "cache": "f:\tcpusha dc\n\trts\n",
    },
    "another processor": {
        "xtensa": "f:\tl8ui a3, a2, 0\n\taddi a2, a2, 64\n\tbnez a4, f\n\tret.n\n",
        "superh": "f:\tmov.l @r4,r1\n\trts\n",
        "sparc": "f:\tsave %sp, -96, %sp\n\tldub [%i0], %o2\n\tret\n",
        "mips": "f:\tlb $t0, 0($a0)\n\tjr $ra\n",
        "s390": "f:\tlg %r1,0(%r2)\n\tbr %r14\n",
    },
}
SAMPLES = [(kind, text) for kind, texts in OTHER_TEXTS.items() for text in texts.values()]
IDS = [f"{kind} {name}" for kind, texts in OTHER_TEXTS.items() for name in texts]


def refusal(data: bytes, name: str = "given") -> str:
    with pytest.raises(InputError) as error:
        load_bytes(data, name, LoadOptions())
    assert "\n" not in str(error.value)
    assert error.value.where == name
    assert error.value.hint is not None
    return str(error.value)


@pytest.mark.parametrize(("kind", "text"), SAMPLES, ids=IDS)
def test_texts_of_other_kinds(kind: str, text: str) -> None:
    for written in (text, text.replace("\n", "\r\n"), "\ufeff" + text):
        # Content decides, whatever the file is called.
        for name in ("x", "x.s", "x.c"):
            assert detect(written.encode(), name) is Format.FOREIGN
        assert kind in refusal(written.encode())


@pytest.mark.parametrize(
    ("file", "kind", "advice"),
    [
        ("15-nasm.asm", "NASM", "nasm -f elf64"),
        ("17-powerpc.S", "PowerPC", "verify power9"),
        ("18-arm64.S", "AArch64", "plan --cpu cortex-a76"),
        ("20-rust.rs", "Rust", "rustc .*--emit obj"),
    ],
)
def test_trials(file: str, kind: str, advice: str) -> None:
    with pytest.raises(InputError, match=f"{file}: this is .*{kind} .*{advice}"):
        load(str(INPUTS / file), LoadOptions())
    with pytest.raises(InputError, match=f"{file}: this is .*{kind}"):
        load([str(INPUTS / file), str(TESTS / "data" / "examples" / "walk.s")], LoadOptions())


ATT = "\t.text\nflush:\n\txorl %eax, %eax\n1:\tmovb (%rdi,%rax), %cl\n\taddq $64, %rax\n\tjne 1b\n\tret\n"
INTEL = "\t.intel_syntax noprefix\nflush:\n\txor eax, eax\n1:\tmov cl, byte ptr [rdi + rax]\n\tadd rax, 64\n\tjne 1b\n\tret\n"
C = "static char *pages;\nvoid flush(void)\n{\n\tint i;\n\tfor (i = 0; i < 64; i++)\n\t\t(void)((volatile char *)pages)[i];\n}\n"
# What is valid and looks like something else.
OURS = {
    "ATT": ATT,
    "Intel": INTEL,
    "no register": "flush:\n\tlfence\n\tret\n",
    "a single instruction": "ret\n",
    "prefetches": "f:\tprefetcht0 64(%rdi)\n\tprefetchnta (%rsi)\n\tclflushopt (%rdi)\n\tsfence\n\tret\n",
    "symbols that are registers elsewhere": "f:\tmovq r3, %rax\n\tmovq a0(%rip), %rcx\n\tmovq $x1, %rdx\n\tret\n",
    "macros called like other instructions": (
        ".macro sync\n\tmfence\n.endm\n.macro ldr to, from\n\tmovq (\\from), \\to\n.endm\n"
        "f:\tldr %rax, %rdi\n\tsync\n\tret\n"
    ),
    "macro names": "#define fence mfence\n#define t0 %rax\n#define a0 %rdi\nf:\tmov (a0), t0\n\tadd t0, a0\n\tfence\n\tret\n",
    "kernel style": (
        "#include <linux/linkage.h>\n#include <asm/alternative.h>\n\n\t.section .noinstr.text, \"ax\"\n"
        "SYM_FUNC_START(l1d_flush)\n\tpush\t%rbx\n\tALTERNATIVE \"\", \"lfence\", X86_FEATURE_LFENCE_RDTSC\n"
        "\tmov\t$(PAGE_SIZE / 64), %ecx\n.Lnext:\n\tmov\t(%rdi), %rbx\n\tdec\t%ecx\n\tjnz\t.Lnext\n\tpop\t%rbx\n"
        "\tRET\nSYM_FUNC_END(l1d_flush)\n"
    ),
    "unusual directives": (
        "\t.arch generic64\n\t.section .init, \"ax\", @progbits\n\t.set SIZE, 65536\n\t.irp r, rax, rcx\n\tpush \\r\n"
        "\t.endr\n\t.rept 2\n\tnop\n\t.endr\n\t.pushsection .discard.x\n\t.long 1b - .\n\t.popsection\n"
    ),
    "data": "\t.data\n\t.globl table\ntable:\n\t.quad 0x1234, table\n\t.ascii \"section .text\\n[rel x] std::vector\"\n",
    "C": C,
    "names that C++ keeps": (
        "struct class { int new, delete, this; };\nint template, namespace, using, operator, public, private;\n"
        "static int virtual(struct class *class)\n{\n\tint new = class->new, constexpr = 1;\nprivate:\n"
        "\tif (new < template && namespace > 1)\n\t\treturn class->delete & constexpr;\n\tgoto private;\n}\n"
    ),
    "a header for both": (
        "#ifdef __cplusplus\nextern \"C\" {\nclass Cache;\n#endif\nvoid flush(char *p)\n{\n\tp[0] = 1;\n}\n"
        "#if defined(__cplusplus)\n}\nnamespace x { }\n#endif\n"
    ),
    "asm operands": (
        "void flush(char *p)\n{\n\tasm volatile(\"mfence\"::\"r\"(p):\"memory\");\n\tasm volatile(\"lfence\" ::: \"memory\");\n}\n"
    ),
    "C23": "void flush(char *p)\n{\n\tconstexpr int size = 64;\n\tauto q = p;\n\tif (q != nullptr)\n\t\tq[size] = 1;\n}\n",
    "masks": "int f(int int_flags, int mask)\n{\n\treturn f(int_flags & mask, (long)int_flags & mask);\n}\n",
    "attributes": "[[gnu::noinline]] void flush(char *p)\n{\n\t*(volatile char *)p;\n}\n",
    "instructions of others in strings": (
        "#ifdef __aarch64__\n#define BARRIER \"dsb sy\\n\"\n#else\n#define BARRIER \"mfence\\n\"\n#endif\n"
        "void flush(char *p)\n{\n\tasm volatile(\"\\\n\tdsb sy\\n\\\n\tldr x0, [x1]\\n\");\n\tasm volatile(BARRIER);\n}\n"
    ),
    "an old definition": "int flush(area, lines)\n\tchar *area;\n\tint lines;\n{\n\treturn area[lines];\n}\n",
    "functions as types": "typedef void fn(void);\nextern fn handler;\nstatic fn *table[4] = { [0] = handler };\n",
    "extern on a line of its own": "extern int\nflush (char *p);\n\nint\nflush (char *p)\n{\n  return *p;\n}\n",
    "words like sizes": "int f(int *word, int i)\n{\n\treturn i + word [i] * byte[3];\n}\n",
    "only a remark": "/* template <class T> namespace x { std::vector */\n",
    "only remarks": "# section .text\n# mov eax, dword [rdi]\n// ldr x0, [x1]\n",
    "nothing": "",
}  # fmt: skip


@pytest.mark.parametrize("text", OURS.values(), ids=OURS)
def test_c_and_x86_assembly_are_left_alone(text: str) -> None:
    for written in (text, text.replace("\n", "\r\n"), "\ufeff" + text):
        assert foreign_text(written) is None


def test_every_source_of_the_tests_is_left_alone() -> None:
    others = {INPUTS / name for name in ("15-nasm.asm", "17-powerpc.S", "18-arm64.S", "20-rust.rs")}
    files = [path for path in TESTS.rglob("*") if path.suffix in (".s", ".S", ".c", ".h") and path not in others]
    assert len(files) > 10
    for path in files:
        assert foreign_text(as_text(path.read_bytes())) is None, path


@pytest.mark.parametrize(("kind", "text"), SAMPLES, ids=IDS)
def test_what_is_said_in_a_comment_or_a_string_does_not_count(kind: str, text: str) -> None:
    lines = text.splitlines()
    remark = f"/*\n{text}*/\n"
    behind = "".join(f"# {line}\n" for line in lines)
    string = "".join(f'\t.ascii "{line.replace(chr(34), chr(39))}\\n"\n' for line in lines)
    for assembly in (ATT, INTEL, OURS["no register"]):
        assert foreign_text(remark + assembly) is None
        assert foreign_text(behind + assembly) is None
        assert foreign_text(assembly + string) is None
        first, *rest = assembly.splitlines()
        beside = [f"{line}\t# {words}" for line, words in zip(rest, lines, strict=False)]
        assert foreign_text("\n".join([first, *beside, *rest[len(beside) :]]) + "\n") is None
    literal = "".join(f'\t"{line.replace(chr(34), chr(39))}\\n"\n' for line in lines)
    for source in (remark + C, "".join(f"// {line}\n" for line in lines) + C, f"{C}char s[] =\n{literal};\n"):
        assert foreign_text(source) is None


@needs_as
def test_what_gnu_as_takes_for_something_else_does_not_get_there() -> None:
    """It makes rdi+4 of NASM's ``dword [rdi]`` and says nothing."""
    text = ".intel_syntax noprefix\nf:\tmov eax, dword [rdi]\n\tret\n"
    assert "NASM" in refusal(text.encode(), "x.s")


def patch(path: str, text: str) -> bytes:
    lines = "".join(f"+{line}\n" for line in text.splitlines())
    count = len(text.splitlines())
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{count} @@\n{lines}".encode()


@needs_as
@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("rust/kernel/l1d.rs", RUST["no std"], "Rust"),
        ("rust/cache.rs", RUST["method"], "Rust"),
        ("arch/powerpc/kernel/flush.S", POWER["update"], "PowerPC"),
        ("arch/arm/mm/flush.S", ARM["loop"], "32-bit Arm"),
        ("arch/x86/flush.asm", NASM["macros"], "NASM"),
    ],
)
def test_a_flush_of_another_kind_in_a_patch(path: str, text: str, kind: str) -> None:
    with pytest.raises(InputError, match=f"{path}: this is .*{kind}"):
        load_bytes(patch(path, text), "given", LoadOptions())


def test_what_else_is_in_a_patch_is_not_blamed() -> None:
    other = patch("rust/lines.rs", RUST["crate"])
    with pytest.raises(InputError, match="given: no function with a flush among the added lines"):
        load_bytes(other, "given", LoadOptions())


def pe(machine: int) -> bytes:
    return b"MZ" + bytes(0x3A) + struct.pack("<I", 0x40) + b"PE\0\0" + struct.pack("<HH", machine, 1) + bytes(240)


def coff(machine: int, symbols: int = 60) -> bytes:
    return struct.pack("<HHIIIHH", machine, 1, 0, symbols, 1, 0, 0) + bytes(40) + bytes(22)


def mach_o(magic: int, order: str, processor: int) -> bytes:
    return struct.pack(f"{order}7I", magic, processor, 3, 1, 0, 0, 0)


def fat(*processors: int) -> bytes:
    rows = b"".join(struct.pack(">5I", processor, 3, 4096, 100, 12) for processor in processors)
    return struct.pack(">II", 0xCAFEBABE, len(processors)) + rows


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"BC\xc0\xde", "LLVM bitcode"),
        (b"BC\xc0\xde\x35\x14\0\0" + bytes(range(200)), "LLVM bitcode"),
        (b"\xde\xc0\x17\x0b\0\0\0\0\x14\0\0\0" + bytes(100), "LLVM bitcode"),
        (pe(0x8664), "PE image for x86-64"),
        (pe(0x14C), "PE image for 32-bit x86"),
        (pe(0xAA64), "PE image for AArch64"),
        (pe(0x1234), "PE image for machine 0x1234"),
        (b"MZ" + bytes(0x100), "DOS or Windows"),
        (b"MZ" + bytes(0x200) + b"HdrS" + bytes(100), "packed Linux kernel .*extract-vmlinux"),
        (coff(0x8664), "COFF object for x86-64"),
        (coff(0x14C), "COFF object for 32-bit x86"),
        (coff(0xAA64), "COFF object for AArch64"),
        (b"\0\0\xff\xff\x02\0\x64\x86" + bytes(60), "COFF object for x86-64"),
        (mach_o(0xFEEDFACF, "<", 0x01000007), "Mach-O file for x86-64"),
        (mach_o(0xFEEDFACE, "<", 7), "Mach-O file for 32-bit x86"),
        (mach_o(0xFEEDFACF, "<", 0x0100000C), "Mach-O file for AArch64"),
        (mach_o(0xFEEDFACE, ">", 18), "Mach-O file for PowerPC"),
        (mach_o(0xFEEDFACF, ">", 0x01000012), "Mach-O file for PowerPC"),
        (fat(0x01000007, 0x0100000C), "Mach-O file for several processors: x86-64, AArch64"),
        (b"!<arch>\nx.o/            0           0     0     644     8         `\n\x7fELF\2\1\1\0", "archive of object"),
    ],
)
def test_binaries_of_other_kinds(data: bytes, kind: str) -> None:
    assert detect(data, "x.o") is Format.FOREIGN
    with pytest.raises(InputError, match=f"given: this is .*{kind}"):
        load_bytes(data, "given", LoadOptions())


@pytest.mark.parametrize(
    "data",
    [
        # A Java class begins like a fat file.
        b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(200),
        # Truncated, or their tables lie outside of the file.
        b"\xca\xfe\xba\xbe\0\0\0\2" + bytes(20),
        coff(0x8664, symbols=10_000),
        b"\x64\x86\x01\0",
        b"\xcf\xfa\xed\xfe",
        b"\x64\x86" + random.Random(3).randbytes(500),
        random.Random(4).randbytes(5000),
    ],
)
def test_binaries_that_only_begin_alike(data: bytes) -> None:
    assert foreign_binary(data) is None


@pytest.mark.parametrize(
    "piece", ["{", "/*", "namespace ", "f(", "%", ";", "\n", " ", "r0,", "fn f(", "define @", '"', "a::"]
)
def test_hostile_texts_take_no_time(piece: str) -> None:
    """A pattern that takes quadratic time would need minutes here."""
    foreign_text(piece * (200_000 // len(piece)))


def test_the_advice_names_what_there_is() -> None:
    catalogue = load_catalogue()
    for isa in ("arm", "power", "riscv"):
        advice = what_else(isa)
        cpu = advice.split("--cpu ")[1].split()[0]
        assert catalogue.get(cpu).isa == isa
    assert "--geometry" in what_else(None)


UNLIKE = {
    "PA-RISC": "f:\tldb 0(%r26),%r28\n\tldo 64(%r26),%r26\n\taddib,<> -1,%r25,f\n\tbv %r0(%r2)\n\tnop\n",
    "AVR": "f:\tld r24, X\n\tadiw r26, 63\n\tsbiw r24, 1\n\tbrne f\n\tret\n",
    "OpenRISC": "f:\tl.lbz r11,0(r3)\n\tl.addi r3,r3,64\n\tl.bnf f\n\tl.jr r9\n",
    "none": "\t.globl f\nf:\tfetch q1, q2\n\tstep q2, 64\n\tuntil q2, q3, f\n\tgo back\n",
}


@needs_as
@pytest.mark.parametrize("text", UNLIKE.values(), ids=UNLIKE)
def test_what_has_nothing_of_x86_is_for_another_processor(text: str) -> None:
    """Whether anybody knows which, or not."""
    with pytest.raises(InputError, match=r"^f\.s: this is assembly for another processor than x86 \(only code"):
        load_bytes(text.encode(), "f.s", LoadOptions())


@needs_as
@pytest.mark.parametrize(
    "text",
    [
        "f:\tbogus x1, x2\n\tmov $1, %ecx\n\tbogus x1, x2\n",  # a register of x86
        "f:\tmov r8, r9\n\tadd r8, r10\n\tbogus r8, r9\n",  # mostly x86's instructions
        "f:\tbogus\n\tworse 5\n\tret\n",  # no registers
        "this is not code, and 2 of 3 lines\nhave 1 number\n",
        ".macro walk a, b\nbogus\n.endm\nf:\twalk r8, r9\n\twalk r10, r11\n\tret\n",
    ],
)
def test_a_mistake_in_x86_assembly_is_blamed_itself(text: str) -> None:
    with pytest.raises(InputError) as error:
        load_bytes(text.encode(), "f.s", LoadOptions())
    assert "another processor" not in str(error.value)
