# SPDX-License-Identifier: GPL-2.0-or-later
"""Which instructions need which CPU feature, and which CPU has which: against the assembler and the compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from l1dflush.cache.cpu_files import parse_cpu_files
from l1dflush.cache.cpus import X86_FEATURES
from l1dflush.data.catalogue import load_catalogue
from l1dflush.errors import InputError, UndecidedError
from l1dflush.routine.assembly.source import load_assembly
from l1dflush.routine.options import LoadOptions
from l1dflush.tracing.decode import decoder_of
from l1dflush.tracing.features import FEATURES, needed

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

# What GNU as calls them in `.arch`; it has no word for what it always accepts.
GAS = {
    "avx512": [".avx512f", ".avx512cd", ".avx512bw", ".avx512dq", ".avx512vl"],
    "vmx": [".vmx", ".ept"], "svm": [".svme"], "pku": [".ospke"],
}  # fmt: skip

# One form and more of each kind; the assembler says what each needs.
SAMPLES = """
lzcnt %eax,%ecx; tzcnt %rax,%rcx; popcnt %rax,%rcx; movbe (%rdi),%eax; movbe %eax,(%rdi); andn %eax,%ecx,%edx
bextr %eax,%ecx,%edx; blsi %eax,%ecx; blsr %eax,%ecx; blsmsk %eax,%ecx; bzhi %eax,%ecx,%edx; mulx %eax,%ecx,%edx
pdep %eax,%ecx,%edx; pext %eax,%ecx,%edx; rorx $3,%eax,%ecx; sarx %eax,%ecx,%edx; shlx %eax,%ecx,%edx
shrx %rax,%rcx,%rdx; clflushopt (%rdi); rdrand %rax; rdseed %eax; rdfsbase %rax; rdgsbase %rax; wrgsbase %rax
lddqu (%rdi),%xmm0; movntdqa (%rdi),%xmm0; pextrb $1,%xmm0,%eax; pextrd $1,%xmm0,%eax; pextrq $1,%xmm0,%rax
ptest %xmm0,%xmm1; vpand %xmm0,%xmm1,%xmm2; vpand %ymm0,%ymm1,%ymm2; vmovdqu (%rdi),%ymm0; vmovups (%rdi),%xmm0
vpxor %ymm0,%ymm1,%ymm2; vxorps %ymm0,%ymm1,%ymm2; vpaddb %xmm0,%xmm1,%xmm2; vpaddq (%rdi),%ymm1,%ymm2
vmovntdqa (%rdi),%ymm0; vmovntdqa (%rdi),%xmm0; vbroadcastss (%rdi),%ymm0; vbroadcastss %xmm0,%ymm0
vbroadcastsd (%rdi),%ymm0; vbroadcastsd %xmm0,%ymm0; vbroadcastf128 (%rdi),%ymm0; vbroadcasti128 (%rdi),%ymm0
vpbroadcastb (%rdi),%xmm0; vpbroadcastq (%rdi),%ymm0; vzeroupper; vzeroall; vlddqu (%rdi),%ymm0
vaddps %ymm0,%ymm1,%ymm2
vmovdqu8 (%rdi),%zmm0; vmovdqu64 (%rdi),%zmm0; vmovdqa32 (%rdi),%ymm0; vmovups (%rdi),%zmm0; vpxord %zmm0,%zmm1,%zmm2
vpternlogq $255,%zmm0,%zmm0,%zmm0; vpxorq (%rdi),%xmm1,%xmm2; vmovdqu %ymm17,%ymm1{}; xgetbv; wbnoinvd; clac; stac
invpcid (%rdi),%rax; vmread %rax,%rcx; vmwrite %rax,%rcx; vmlaunch; vmresume; invept (%rdi),%rax; vmrun %rax; clgi; stgi
endbr64; pause; prefetchw (%rdi); prefetcht0 (%rdi); nopl (%rdi); mov (%rdi),%eax; lock incl (%rdi); rep stosb; cpuid
movaps (%rdi),%xmm0; movdqu (%rdi),%xmm0; movnti %eax,(%rdi); lfence; mfence; clflush (%rdi); addps %xmm0,%xmm1
aesenc %xmm0,%xmm1; aesdeclast (%rdi),%xmm1; aesimc %xmm0,%xmm1; aeskeygenassist $1,%xmm0,%xmm1
pclmulqdq $1,%xmm0,%xmm1; vaesenc %xmm0,%xmm1,%xmm2; vaesimc %xmm0,%xmm1; vaeskeygenassist $1,%xmm0,%xmm1
vpclmulqdq $1,%xmm0,%xmm1,%xmm2
vaesdec %ymm0,%ymm1,%ymm2; vpclmulqdq $1,(%rdi),%ymm1,%ymm2; vaesenclast %zmm0,%zmm1,%zmm2
fxsave (%rdi); fxrstor64 (%rdi); fnsave (%rdi); xsave (%rdi); xrstor64 (%rdi); xsaveopt (%rdi); xsavec64 (%rdi)
xsaves (%rdi); xrstors (%rdi); repne scasb; repe cmpsq; xlat; lsl %eax,%ecx; lar (%rdi),%ecx
vtestps %xmm0,%xmm1; vcvtph2ps %xmm0,%xmm1; vcvtps2ph $0,%ymm0,(%rdi); vfmaddsub132pd %ymm0,%ymm1,%ymm2
mpsadbw $1,%xmm0,%xmm1; vmpsadbw $1,%ymm0,%ymm1,%ymm2; phminposuw %xmm0,%xmm1; vphminposuw %xmm0,%xmm1
phaddsw %xmm0,%xmm1; vphaddsw %ymm0,%ymm1,%ymm2; vinsertps $1,%xmm0,%xmm1,%xmm2
clwb (%rdi); cldemote (%rdi); vstmxcsr (%rdi); vldmxcsr (%rdi); verr %ax; smsw %eax
bsf %eax,%ecx; bsr %rax,%rcx; bswap %rax; cmpxchg %eax,(%rdi); cmove %eax,%ecx; rdtsc; wrmsr; rdmsr; invlpg (%rdi)
"""


def samples() -> list[str]:
    texts = [one.strip() for line in SAMPLES.strip().splitlines() for one in line.split(";")]
    return [one for one in texts if one and not one.endswith("{}")]


@cache
def accepted(text: str, *features: str) -> bool:
    """Whether GNU as takes an instruction for a plain x86-64 processor with these extensions."""
    names = [name for one in features for name in GAS.get(one, [f".{one}"])]
    arch = "".join(f"        .arch {name}\n" for name in names)
    command = ["as", "-march=generic64", "-o", "/dev/null", "-"]
    done = subprocess.run(command, input=f"{arch}        {text}\n", text=True, capture_output=True, check=False)
    return done.returncode == 0


# The assembler wants a processor for which these do something; on the others they are no-operations (their pages in the
# manual).
NOTHING_ELSEWHERE = ("endbr64", "prefetchw (%rdi)", "cldemote (%rdi)")


@pytest.mark.parametrize("text", samples())
def test_the_assembler_wants_the_same(text: str) -> None:
    (routine,) = load_assembly(
        "-", f"        .globl f\n        .type f,@function\nf:     {text}\n        .size f,.-f\n", LoadOptions()
    )
    try:
        insn = decoder_of(64).decode(routine.code, routine.entry)
    except UndecidedError:
        pytest.fail(f"{text} has no row")
    found = needed(insn, routine.code)
    if not found:
        assert text in NOTHING_ELSEWHERE or accepted(text), f"{text} needs nothing, says the table"
        return
    assert accepted(text, *found), f"{text} needs more than {found}"
    assert not accepted(text), f"{text} needs {found}, says the table"


def test_the_files_of_cpus_and_the_table_have_the_same_words() -> None:
    assert FEATURES == X86_FEATURES


def test_every_x86_cpu_says_what_it_has() -> None:
    for cpu in load_catalogue().x86():
        assert cpu.features and cpu.features_source and len(set(cpu.features)) == len(cpu.features), cpu.name


# --- against the compiler's own knowledge of processors

MARCH = re.compile(r"-march=([\w-]+)")
MACROS = {
    "sse3": "SSE3", "ssse3": "SSSE3", "sse4.1": "SSE4_1", "sse4.2": "SSE4_2", "popcnt": "POPCNT", "avx": "AVX",
    "avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "bmi": "BMI", "bmi2": "BMI2", "lzcnt": "LZCNT", "movbe": "MOVBE",
    "adx": "ADX", "aes": "AES", "pclmul": "PCLMUL", "sha": "SHA", "clflushopt": "CLFLUSHOPT", "clwb": "CLWB",
    "rdrnd": "RDRND", "rdseed": "RDSEED", "rdpid": "RDPID", "fsgsbase": "FSGSBASE", "xsave": "XSAVE",
    "xsaveopt": "XSAVEOPT", "xsavec": "XSAVEC", "xsaves": "XSAVES", "vaes": "VAES", "vpclmulqdq": "VPCLMULQDQ",
    "serialize": "SERIALIZE", "wbnoinvd": "WBNOINVD", "pku": "PKU",
}  # fmt: skip


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_the_compiler_has_the_same_features_for_each_cpu() -> None:
    compared = 0
    for cpu in load_catalogue().x86():
        march = MARCH.search(cpu.features_source or "")
        assert march is not None, cpu.name
        done = subprocess.run(
            ["gcc", f"-march={march[1]}", "-dM", "-E", "-"], input="", text=True, capture_output=True, check=False
        )
        if done.returncode:
            continue  # an older compiler does not know it
        compared += 1
        macros = set(re.findall(r"#define __(\w+)__ 1", done.stdout))
        have = {name for name, macro in MACROS.items() if macro in macros}
        assert have == set(cpu.features or ()) & MACROS.keys(), cpu.name
        if "AVX512F" in macros:
            assert "avx512" in (cpu.features or ()), cpu.name
    assert compared > 20


def test_what_is_known_of_some_cpus() -> None:
    """From their data sheets: the first with each."""
    has = {cpu.name: set(cpu.features or ()) for cpu in load_catalogue().x86()}
    assert not {"avx", "lzcnt", "movbe", "xsave"} & has["nehalem"] and "pclmul" in has["westmere"] - has["nehalem"]
    assert {"avx2", "bmi", "lzcnt"} <= has["haswell"] - has["ivy-bridge"] and "fsgsbase" in has["ivy-bridge"]
    assert "clflushopt" in has["skylake"] - has["broadwell"] and "smap" in has["broadwell"] - has["haswell"]
    assert "avx512" in has["cascade-lake"] and "avx512" not in has["alder-lake-p"] | has["zen3"]
    assert all(("svm" in of) == name.startswith("zen") for name, of in has.items())


FILES = Path(__file__).parents[2] / "src" / "l1dflush" / "data" / "cpus"


def test_a_feature_that_is_none_is_named() -> None:
    text = (FILES / "nehalem.toml").read_text()
    with pytest.raises(InputError, match="is not 'popcnt'"):
        parse_cpu_files({"nehalem.toml": text.replace('"popcnt"', '"popcount"')})
