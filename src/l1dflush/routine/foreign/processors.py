# SPDX-License-Identifier: GPL-2.0-or-later
"""Assembly for other instruction sets: what only their instructions look like.

A mark is a mnemonic with operands of that instruction set; mnemonics and registers that several share are in none, or
in that of the family. Any register that only x86 has vetoes all of them: then the text has code for x86.
"""

from __future__ import annotations

import re
from functools import cache

import capstone
from capstone import x86_const

from l1dflush.cache.cpus import Isa
from l1dflush.routine.foreign.signature import (
    ENOUGH,
    OWN_X86_REGISTER,
    Foreign,
    Marks,
    Signature,
    marks,
    pattern,
    without_opaque,
)
from l1dflush.routine.other_processors import what_else

# A '#' behind a comma or a bracket is an immediate of Arm's, else it begins a comment; so does an '@' behind a blank,
# and with some assemblers a ';'.
_OPAQUE = pattern(
    r"/\*[\s\S]*?(?:\*/|\Z)|//[^\n]*|\"(?:\\[\s\S]|[^\"\\\n])*\"?|^~[#;@][^\n]*|(?<=[^,\[{(\s]) #[^\n]*"
    r"|(?<=\s)(?:@|;~[A-Za-z]\w* [A-Za-z]\w* [A-Za-z])[^\n]*"
)
_AT = r"(?:^|;)~(?:[\w.$]+:~)?"
_END = r"~(?:$|;)"
_ANY = re.M | re.I

_X = r"(?:[wx](?:30|[12]?\d)|[wx]zr)"
_A = r"(?:r(?:1[0-5]|\d)|sp|lr|pc|ip|fp|sl|sb)"
_LOW = r"r[0-7]"
_WHEN = r"(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)"
_V = r"(?:zero|ra|[sgt]p|t[0-6]|s1[01]|s\d|a[0-7]|x(?:3[01]|[12]?\d))"
_P = r"(?:%?r)?(?:3[01]|[12]?\d)"

_AARCH64 = marks(
    (2, rf"{_AT}(?:ld|st)\w{{1,6}} (?:{_X}|[bhsdq]\d|\{{~v\d)[^\n;\[]{{0,60}},~\["),
    (2, r"\{~v\w*\.(?:16b|8b|8h|4h|4s|2s|2d)\b"),
    (2, rf"{_AT}(?:dc [a-z]\w+|ic ivau|at s1\w+)~,"),
    (2, rf"{_AT}(?:ic ialluis|ic iallu|tlbi [a-z]\w+)\b"),
    (2, rf"{_AT}(?:cbn?z|tbn?z) {_X}~,"),
    (2, rf"{_AT}b\.{_WHEN} [\w.$]"),
    (2, rf"{_AT}(?:mrs {_X}~,|msr \w+~,~(?:{_X}|#))(?!~cpsr)"),
    (2, rf"{_AT}(?:mov[knz]?|mvn|orr|eor|bic|subs|adds|ands|cmp|cmn|tst|adrp?|lsl|lsr|asr|csel|cset|ubfx|ubfm|madd)"
        rf" {_X}~,~(?:#|{_X}\b|sp\b|:|[-+]?\d|[A-Za-z_.])"),
    (2, rf"{_AT}(?:add|sub|and) (?:w\d+~,|(?:{_X}|sp)~,~{_X}~,~(?:#|:lo12:))"),
    (2, rf"{_AT}(?:paciasp|autiasp|br x\d+|blr x\d+|bti j?c?){_END}"),
    flags=_ANY,
)  # fmt: skip
_ARM = marks(
    (2, rf"{_AT}(?:ldr|str)(?:s?[bh]|d|t|bt|ex[bhd]?)?{_WHEN}?(?:\.[nw])? {_A}~,[^\n;\[=]{{0,20}}[\[=]"),
    (2, rf"{_AT}(?:v?push|v?pop){_WHEN}?(?:\.[nw])?~\{{"),
    (2, rf"{_AT}v?(?:ldm|stm)(?:[id][ab]|[fe][da])?{_WHEN}?(?:\.[nw])? {_A}!?~,~\{{"),
    (2, rf"{_AT}(?:bx|blx|bxj){_WHEN}? {_A}{_END}"),
    (2, rf"{_AT}m(?:cr|rc|crr|rrc)2?{_WHEN}? p?\d+~,"),
    (2, rf"{_AT}(?:mov[wt]?|mvn|add|sub|rsb|adc|sbc|and|orr|eor|bic|cmp|cmn|tst|teq|lsl|lsr|asr|ror)s?{_WHEN}?"
        rf"(?:\.[nw])? {_A}~,[^\n;]{{0,40}}#"),
    (2, rf"{_AT}(?:movs?|mvns?|orrs?|eors?|bics?|tst|teq|rsbs?|subs|adds){_WHEN}? {_LOW}~,~{_A}\b"),
    (2, rf"{_AT}(?:\.thumb(?:_func)?|\.arm|\.syntax unified|\.fpu \w+|\.eabi_attribute\b[^\n]*|\.fnstart|\.fnend"
        rf"|\.cantunwind|cpsi[de] [aif]+){_END}"),
    flags=_ANY,
)  # fmt: skip
# What AArch64 and 32-bit Arm have in common.
_BOTH = marks(
    (2, rf"{_AT}(?:dsb|dmb)(?: (?:sy|(?:ish|nsh|osh)?(?:ld|st)?|un))?{_END}"),
    (2, rf"{_AT}isb(?: sy)?{_END}"),
    (2, rf"{_AT}(?:wfe|sev|eret){_END}"),
    flags=_ANY,
)
_RISCV = marks(
    (
        2,
        rf"{_AT}(?:l[bhwd]u?|s[bhwd]|f[ls][hwdq]|lr\.[wd]\S*|sc\.[wd]\S*|c\.[ls]\w+) f?{_V}[^\n;(]{{0,60}}\({_V}\)",
    ),
    (
        2,
        rf"{_AT}(?:addiw?|slliw?|srliw?|sraiw?|andi|xori|ori|sltiu?|addw|subw|sltu?) {_V}~,~{_V}~,",
    ),
    (2, rf"{_AT}(?:li|la|lla|lui|auipc|mv|negw?|seqz|snez) {_V}~,"),
    (2, rf"{_AT}b(?:eqz|nez|lez|gez|ltz|gtz|eq|ne|ltu?|geu?|gtu?|leu?) {_V}~,"),
    (2, rf"{_AT}(?:fence\.i|fence\.tso|fence [iorw]+~,~[iorw]+|ecall|[msu]ret){_END}"),
    (2, rf"{_AT}(?:cbo\.\w+|sfence\.vma|csr(?:[rwsc]i?|r[wsc]i?) [\w]+~,|vsetv?l?i)"),
    (2, rf"{_AT}\.option (?:(?:no)?(?:rvc|relax)|arch\b)"),
    (2, rf"{_AT}\.attribute (?:arch|stack_align|unaligned_access|5|4)\b"),
    (1, rf"{_AT}fence{_END}"),
    (1, rf"{_AT}(?:jr|jalr) {_V}\b"),
    (1, rf"{_AT}(?:add|sub|and|or|xor|sll|srl) {_V}~,~{_V}~,~{_V}\b"),
    flags=_ANY,
)
_POWER = marks(
    (2, rf"{_AT}(?:l(?:bz|hz|ha|wz|wa|d)u?|st[bhwd]u?) {_P}~,[^\n;(]{{0,60}}\({_P}\)"),
    (2, rf"{_AT}(?:l(?:bz|hz|ha|wz|wa|d|w)u?x|st[bhwd]u?x) {_P}~,~{_P}~,"),
    (2, rf"{_AT}(?:bdn?z[tf]?[+-]? [\w.$]|blrl?{_END}|b(?:ne|eq|lt|gt|le|ge|dnz)lr[+-]?{_END}|bctrl?{_END})"),
    (2, rf"{_AT}m[tf](?:ctr|lr|xer|msr|cr){_END[:-1]}| {_P}\b)"),
    (2, rf"{_AT}m[tf](?:spr|crf|dcr|sr|ocrf) \w+~,"),
    (2, rf"{_AT}(?:[lh]wsync|ptesync|isync|eieio|h?rfid|slbia){_END}"),
    (2, rf"{_AT}(?:dcb(?:f|st|tst|t|z|i|a)(?:[lp]s?|ep)?|icbi|dccci|iccci) {_P}~(?:,|$)"),
    (2, rf"{_AT}(?:addi[cs]?\.?|subf\w*|ori|oris|xori|andi\.|mulli|rlwinm\.?|rld\w+\.?|clrl\w+|s[lr][wd]i\.?"
        rf"|cmp[lwd]+i?) (?:cr\d|{_P})~,~(?:{_P}|-?\d|0x)"),
    (2, rf"{_AT}(?:lis?|mr) {_P}~,~[\w(-]"),
    (2, rf"{_AT}\.(?:abiversion|localentry)\b"),
    (1, rf"{_AT}\.machine\b"),
    (1, rf"{_AT}sync{_END}"),
    (1, r"@(?:ha|toc|got)\b"),
    flags=_ANY,
)  # fmt: skip

# These are here to be told from the ones above, whose names for registers or mnemonics they share: LoongArch, MIPS,
# SPARC, s390, Xtensa and SuperH.
_OTHERS = marks(
    (2, r"[\s,(]\$(?:[astvk]\d|ra|gp|zero)\b"),
    (2, rf"{_AT}(?:\.set (?:no)?(?:reorder|at)|\.cpload|jr t9|d?addiu|d?addu|dsubu)\b"),
    (
        2,
        rf"{_AT}(?:(?:addi|add|sub|ld|st|ldx|stx|fld|fst|srli|slli|li|bstrpick)\.[bhwd]u? {_V}|x?v(?:ld|st) x?v\w+)~,",
    ),
    (2, r"[\s,\[]%[goil][0-7]\b"),
    (2, rf"{_AT}(?:l8ui|l16[us]i|[ls]32i|s(?:8|16)i)(?:\.n)? a\d+~,"),
    (2, rf"{_AT}mov\.[bwl]\b"),
    (2, rf"{_AT}(?:st?mg?|lmg?|stg|lgr?|lghi|aghi|larl|lay|brasl|brctg|basr|br) %r\d"),
    flags=_ANY,
)

_ITANIUM = marks(
    (2, rf"{_AT}(?:\(p\d+\)~)?(?:br|brl)\.(?:cond|call|ret|cloop|[cw]top|[cw]exit|ia|few|many|sptk|dptk|spnt|dpnt)\b"),
    (2, rf"{_AT}(?:\(p\d+\)~)?(?:ld[1248f]|ldf\w)[\w.]* [rf]\d+~=~\["),
    (2, rf"{_AT}(?:\(p\d+\)~)?st[1248f][\w.]* \[r\d+\]~="),
    (2, rf"{_AT}(?:\(p\d+\)~)?(?:movl?|adds?|addl|sub|shl|shr|shladd|and|or|xor|andcm|[sz]xt[124]|dep|extr)[\w.]*"
        r" (?:[rbp]\d+|ar\.\w+|cr\.\w+|pr)~="),
    (2, rf"{_AT}(?:\(p\d+\)~)?(?:cmp4?|tbit)\.[\w.]+ p\d+~,~p\d+~="),
    (2, rf"{_AT}(?:alloc r\d+~=|fc(?:\.i)? r\d+{_END}|srlz\.[di]{_END}|sync\.i{_END})"),
    flags=_ANY,
)  # fmt: skip
_ALPHA = marks(
    (2, rf"{_AT}(?:ldah?|ld[bwlq]u?(?:_[lu])?|st[bwlq](?:_[cu])?) \$\w+~,[^\n;(]{{0,60}}\(\$\w+\)"),
    (2, rf"{_AT}(?:(?:s[48])?(?:add|sub)[lq]|mul[lq]|cmp(?:eq|u?l[te]|bge)|s[lr][la]|bis|bic|zapnot|umulh)"
        r" \$\w+~,~\$?\w+~,~\$"),
    (2, rf"{_AT}(?:ret|jsr|jmp) \$\w+~,~\(\$\w+\)"),
    (2, rf"{_AT}b(?:eq|ne|lt|le|gt|ge|lbc|lbs) \$\w+~,~[\w.$]+{_END}"),
    (2, rf"{_AT}(?:wmb|imb|trapb|excb|call_pal \w+|rpcc \$\w+){_END}"),
    (1, rf"{_AT}mb{_END}"),
    flags=_ANY,
)  # fmt: skip
_M68000 = marks(
    (2, rf"{_AT}move(?:[aqmcps])?\.[bwl]\b"),
    (2, rf"{_AT}(?:add|sub|cmp|and|eor|or)[aqim]?\.[bwl]\b[^\n;]*[\s,(]%?[ad][0-7]\b"),
    (2, r"[\s,(]%[ad][0-7]~(?:[,)+]|$)"),
    (2, rf"{_AT}db(?:ra|f|n?e|eq|[cm][csi]|pl|[gl][te]) %?d[0-7]~,"),
    (2, rf"{_AT}(?:cpush|cinv)[alp] [bdi]c\b"),
    (1, rf"{_AT}rts{_END}"),
    flags=_ANY,
)

# An operand in inline assembly; each kind of processor has another register in its place.
_OPERAND = re.compile(r"%[A-Za-z]?(?:\d+|\[\w+\])")
_STANDS_FOR = {"power": "3", "riscv": "a1", "arm": "x1"}

_KINDS: tuple[tuple[str, Isa | None, Marks], ...] = (
    ("another processor than x86", None, _OTHERS),
    ("Itanium", None, _ITANIUM),
    ("Alpha", None, _ALPHA),
    ("the 68000 family", None, _M68000),
    ("AArch64", "arm", _AARCH64),
    ("32-bit Arm", "arm", _ARM),
    ("Arm", "arm", _BOTH),
    ("RISC-V", "riscv", _RISCV),
    ("PowerPC", "power", _POWER),
)
SIGNATURES = tuple(
    Signature(Foreign(f"assembly for {title}", what_else(isa)), _OPAQUE, patterns, never=OWN_X86_REGISTER)
    for title, isa, patterns in _KINDS
)

_STATEMENT = pattern(rf"{_AT}([a-z][a-z0-9_]*(?:\.[a-z0-9_.]+)?),? ([^\n;]+)", _ANY)
_NUMBERED = re.compile(r"(?<![\w.])(?:[%$][a-z]{0,2}|[a-z]{1,2})\d{1,2}(?![\w.])", re.I)
_MACROS = pattern(r"^~\.macro ([\w.$]+)", _ANY)
_FEW = 2


def unlike_x86(text: str) -> Foreign | None:
    """What ``text``, which is not x86 assembly since the assembler refuses it, is: for another processor, if it has no
    register that only x86 has, and some instructions with numbered registers, of which most are none of x86."""
    code = without_opaque(_OPAQUE, text)
    if OWN_X86_REGISTER.search(code):
        return None
    macros = {name.lower() for name in _MACROS.findall(code)}
    used = [name.lower() for name, operands in _STATEMENT.findall(code) if _NUMBERED.search(operands)]
    known = _x86_mnemonics()
    strange = [name for name in used if not {name, name[:-1]} & known and name not in macros]
    if len(strange) < _FEW or 2 * len(strange) < len(used):
        return None
    return SIGNATURES[0].found


@cache
def _x86_mnemonics() -> frozenset[str]:
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    return frozenset(decoder.insn_name(number) or "" for number in range(1, x86_const.X86_INS_ENDING))


def recognise_refused(template: str) -> Foreign | None:
    """What the inline assembly ``template`` is for, if that is known; the assembler for x86 has refused it, so that
    any mark is enough that does not depend on what stands for an operand."""
    if OWN_X86_REGISTER.search(template):
        return None
    for title, isa, patterns in _KINDS:
        registers = ("r1", "x1") if title == "32-bit Arm" else (_STANDS_FOR.get(isa or "", "$4"),)
        for register in registers:
            plain, code = (without_opaque(_OPAQUE, one) for one in (template, _OPERAND.sub(register, template)))
            worth = sum(worth for worth, pattern in patterns if pattern.search(code))
            if worth >= ENOUGH or any(pattern.search(plain) for _, pattern in patterns):
                return Foreign(f"C with inline assembly for {title}", what_else(isa))
    return None
