# SPDX-License-Identifier: GPL-2.0-or-later
"""Which instructions are not there on every x86-64 processor, and the CPU feature that each needs.

Source: SDM volume 2, the column "CPUID Feature Flag" of the instructions' pages, and APM volume 3 for AMD's. What older
processors run as a no-operation needs nothing: ``endbr64``, ``pause``, hint ``nop``s, ``prefetchw`` (SDM volume 2, its
page: as a NOP where it is not supported) and ``cldemote``. What they run as *another* instruction does: ``lzcnt`` and
``tzcnt`` are ``bsr`` and ``bsf`` there, with another result, and ``wbnoinvd`` is ``wbinvd``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from l1dflush.tracing.decode import Instruction, Memory, Register
from l1dflush.tracing.model import Need
from l1dflush.tracing.prefixes import LEGACY

AVX512 = "avx512"
"""The parts that all processors with AVX-512 have but Xeon Phi: F, CD, BW, DQ and VL."""

_BY_FEATURE: Mapping[str, str] = {
    "sse3": "lddqu movddup movsldup movshdup addsubps addsubpd haddps haddpd hsubps hsubpd monitor mwait",
    "ssse3": "pshufb phaddw phaddd phaddsw phsubw phsubd phsubsw pmaddubsw pmulhrsw psignb psignw psignd pabsb pabsw "
    "pabsd palignr",
    "sse4.1": "movntdqa pextrb pextrd pextrq pinsrb pinsrd pinsrq ptest pcmpeqq pminsb pminsd pminuw pminud pmaxsb "
    "pmaxsd pmaxuw pmaxud pmulld pmuldq packusdw phminposuw mpsadbw insertps extractps dpps dppd blendps blendpd "
    "blendvps blendvpd pblendw pblendvb roundps roundpd roundss roundsd pmovsxbw pmovsxbd pmovsxbq pmovsxwd pmovsxwq "
    "pmovsxdq pmovzxbw pmovzxbd pmovzxbq pmovzxwd pmovzxwq pmovzxdq",
    "sse4.2": "pcmpgtq pcmpestri pcmpestrm pcmpistri pcmpistrm crc32",
    "popcnt": "popcnt",
    "lzcnt": "lzcnt",
    "bmi": "tzcnt andn bextr blsi blsr blsmsk",
    "bmi2": "bzhi mulx pdep pext rorx sarx shlx shrx",
    "movbe": "movbe",
    "adx": "adcx adox",
    "aes": "aesenc aesenclast aesdec aesdeclast aesimc aeskeygenassist",
    "pclmul": "pclmulqdq",
    "sha": "sha1rnds4 sha1nexte sha1msg1 sha1msg2 sha256rnds2 sha256msg1 sha256msg2",
    "clflushopt": "clflushopt",
    "clwb": "clwb",
    "rdrnd": "rdrand",
    "rdseed": "rdseed",
    "rdpid": "rdpid",
    "fsgsbase": "rdfsbase rdgsbase wrfsbase wrgsbase",
    "xsave": "xgetbv xsetbv xsave xsave64 xrstor xrstor64",
    "xsaveopt": "xsaveopt xsaveopt64",
    "xsavec": "xsavec xsavec64",
    "xsaves": "xsaves xsaves64 xrstors xrstors64",
    "pku": "rdpkru wrpkru",
    "serialize": "serialize",
    "wbnoinvd": "wbnoinvd",
    "smap": "clac stac",
    "invpcid": "invpcid",
    "vmx": "vmlaunch vmresume vmread vmwrite vmptrld vmptrst vmclear vmxon vmxoff vmcall vmfunc invept invvpid",
    "svm": "vmrun vmload vmsave vmmcall clgi stgi skinit invlpga",
}
FEATURES = frozenset({*_BY_FEATURE, "avx", "avx2", "fma", "f16c", "vaes", "vpclmulqdq", AVX512})
"""All that an instruction may need here; what a CPU file may say that its CPU has."""

_OF = {name: feature for feature, names in _BY_FEATURE.items() for name in names.split()}
_FMA = re.compile(r"vfn?m(?:add|sub|addsub|subadd)\d{3}[ps][sd]")
_AVX2_ALWAYS = re.compile(
    r"vpbroadcast[bwdq]|v(?:broadcast|insert|extract)i128|vperm(?:d|q|ps|pd|2i128)|vps(?:ll|rl|ra)v[dq]"
    r"|vpmaskmov[dq]|vpblendd|vp?gather\w+"
)
_AVX_ALSO_OF_32 = re.compile(r"vpermil\w+|vperm2f128|vptest")
_INTEGER = re.compile(r"vp\w+|vmovntdqa|vmpsadbw")
_WIDER = {"aes": "vaes", "pclmul": "vpclmulqdq"}
_EVEX, _VEX = 0x62, frozenset({0xC4, 0xC5})


def needed(insn: Instruction, code: bytes) -> tuple[str, ...]:
    """The features that an instruction needs besides those of every x86-64 processor; ``code`` are its bytes."""
    of_name = _OF.get(insn.mnemonic)
    if of_name is not None:
        return (of_name,)
    opcode = next((byte for byte in code if byte not in LEGACY), 0)
    if insn.mnemonic[0] not in "vk" or opcode not in _VEX | {_EVEX}:
        return ()
    return tuple(_of_vector(insn, opcode))


@dataclass(frozen=True, slots=True)
class _Operands:
    widest: int
    between_registers: bool


def _operands(insn: Instruction) -> _Operands:
    sizes = [one.size for one in insn.operands if isinstance(one, Register | Memory)]
    return _Operands(max(sizes, default=0), not any(isinstance(one, Memory) for one in insn.operands))


def _of_vector(insn: Instruction, opcode: int) -> Iterator[str]:
    name, operands = insn.mnemonic, _operands(insn)
    if opcode == _EVEX or name[0] == "k":
        yield AVX512
    elif _FMA.fullmatch(name):
        yield "fma"
    elif name in ("vcvtph2ps", "vcvtps2ph"):
        yield "f16c"
    elif (
        _AVX2_ALWAYS.fullmatch(name)
        or (name in ("vbroadcastss", "vbroadcastsd") and operands.between_registers)
        or (operands.widest == 32 and _INTEGER.fullmatch(name) and not _AVX_ALSO_OF_32.fullmatch(name))
    ):
        yield "avx2"
    else:
        yield "avx"
    legacy = _OF.get(name[1:])
    if legacy in _WIDER:
        # The first ones with VEX have 16 bytes.
        yield _WIDER[legacy] if opcode == _EVEX or operands.widest > 16 else legacy


def needs(insn: Instruction, code: bytes) -> Iterator[Need]:
    """The same as facts about the place."""
    for feature in needed(insn, code):
        yield Need(feature, insn.address, insn.mnemonic)
