# SPDX-License-Identifier: GPL-2.0-or-later
"""x86 assembly that is not for GNU as, or not for ELF.

It has to be told before GNU as sees it: of NASM's ``mov eax, dword [rdi]`` GNU as makes a load from rdi+4, because a
size without ``ptr`` is a number to it.
"""

from __future__ import annotations

import re

from l1dflush.routine.foreign.signature import ATT_REGISTER, X86_REGISTER, Foreign, Signature, marks, pattern

# Only whole lines are comments for sure in every dialect; what else comes behind a ';' is one in these.
_OPAQUE = pattern(
    r"/\*[\s\S]*?(?:\*/|\Z)|//[^\n]*|;(?!~[A-Za-z]+ [A-Za-z]+ [A-Za-z]+)[^\n]*|#[^\n]*|\"[^\"\n]*\"|'[^'\n]*'"
)
_GNU = pattern(r'/\*[\s\S]*?(?:\*/|\Z)|//[^\n]*|#[^\n]*|"(?:\\[\s\S]|[^"\\\n])*"?')

_GENERAL = r"(?:[re]?(?:[abcd]x|[sd]i|[sb]p)|[abcd][lh]|r(?:8|9|1\d)[dwb]?|[xyz]?mm\d{1,2}|m\d{1,2}|r\d{1,2}[dwb]?)"
# Registers that nothing but x86 has; x86inc.asm, which much is written with, counts its own: r0d, m0.
_INTEL = pattern(rf"{X86_REGISTER.pattern}|[\s,\[](?:[abcd][xhl]|r\d{{1,2}}[dwb]|m\d{{1,2}}~,)(?![\w.])", re.I)
_NAME = r"[A-Za-z_.$?@][\w.$?@]*"
# A sentence on a line of its own behind a ';': to GNU as an instruction with two bare words as its operand.
_REMARK = r"^~;+~[A-Za-z]+ [A-Za-z]+ [A-Za-z]+"
_ANY = re.M | re.I

SIGNATURES = (
    Signature(
        Foreign(
            "assembly for MASM",
            "assemble it to ELF and give the object: uasm -elf64 FILE.asm (UASM and JWasm read MASM's syntax)",
        ),
        _OPAQUE,
        marks(
            (
                2,
                rf"^~{_NAME} proc(?: (?:near|far|frame|export|public|private|stdcall|c|uses)\b[^\n]*)?~$",
            ),
            (2, rf"^~{_NAME} endp~$"),
            (
                2,
                rf"^~{_NAME} (?:ends|segment(?: (?:align|byte|d?word|para|page|private|public|readonly|use\d\d|flat)\b"
                r"[^\n]*| '\w+'[^\n]*)?)~$",
            ),
            (
                2,
                r"^~\.(?:code|model|stack|[3-6]86p?|const|xmm|mmx|data\?|fardata|allocstack|endprolog)\b(?!~=)",
            ),
            (2, rf"^~exte?rn(?:def)? {_NAME}~:~(?:proc|near|far|abs|[dqt]?word|byte|ptr)\b"),
            (2, r"^~(?:includelib\b|option (?:casemap|prologue|epilogue|dotname|language)|assume \w+:)"),
            (2, r"^~(?:leaf|nested)_(?:entry|end) \w"),
            (1, rf"^~end(?: {_NAME})?~$"),
            (1, rf"^~public {_NAME}"),
            (1, rf"^~{_NAME} (?:d[bwdq]|equ) "),
            flags=_ANY,
        ),
        never=ATT_REGISTER,
        needs=_INTEL,
    ),
    Signature(
        Foreign("assembly for FASM", "assemble it with 'format ELF64' and give the object: fasm FILE.asm FILE.o"),
        _GNU,
        marks(
            (2, r"^~format (?:elf|pe|mz|coff|ms|binary)(?:64)?\b"),
            (2, r"^~section '[.\w]+'"),
            flags=_ANY,
        ),
        never=ATT_REGISTER,
        needs=_INTEL,
    ),
    Signature(
        Foreign(
            "assembly for NASM",
            "assemble it and give the object: nasm -f elf64 -g FILE.asm -o FILE.o (elf32 for 32-bit code)",
        ),
        _OPAQUE,
        marks(
            (
                2,
                r"^~%(?:x?define|i?macro|endmacro|include|if(?:n?def|n?macro|n?idni?|num|id|str)?|elif\w*|else|endif|rep"
                r"|endrep|assign|undef|error|use)(?:\s|$)(?!~=)",
            ),
            (2, r"^~\[?(?:section|segment) \.\w"),
            (2, r"^~(?:\[~)?(?:bits (?:16|32|64)|use(?:16|32|64))~\]?~$"),
            (2, r"^~\[?default (?:rel|abs|bnd|nobnd)\b"),
            (2, r"\[~(?:rel|abs) \w"),
            (2, rf"[\s,](?:byte|[dqoxyzt]?word)~\[[^\]\n]{{0,80}}(?<![\w$@.])(?:{_GENERAL}|rip)\b"),
            (2, rf"^~(?:{_NAME}:? )?res[bwdqoyz] \w"),
            (2, rf"^~(?:{_NAME}:? )?times [^\n=;]{{1,80}} (?:d[bwdqt]|nop|int3|hlt)\b"),
            (2, rf"^~global {_NAME}(?:~[,:]~[^\n;]{{1,200}})?~$"),
            (2, _REMARK),
            (1, rf"^~extern {_NAME}(?:~,~{_NAME})*~$"),
            (1, rf"^~(?:{_NAME}:? )?d[bwdq] [\w\"'$-]"),
            (1, rf"^~{_NAME}:? equ "),
            (1, r"^~\.[a-z]\w*:"),
            flags=_ANY,
        ),
        never=ATT_REGISTER,
        needs=_INTEL,
    ),
    Signature(
        Foreign(
            "assembly for macOS (Mach-O)",
            "compile for ELF and give the object or the assembly: clang --target=x86_64-linux-gnu -c",
        ),
        _GNU,
        marks(
            (2, r"^~\.section __[A-Z]+~,"),
            (2, r"^~\.(?:subsections_via_symbols|build_version|macosx?_version_min|private_extern|zerofill)\b"),
        ),
    ),
    Signature(
        Foreign(
            "assembly for Windows (COFF)",
            "compile for ELF and give the object or the assembly: clang --target=x86_64-linux-gnu -c",
        ),
        _GNU,
        marks((2, r"(?:^|;)~\.(?:seh_\w+|endef|secrel32|linkonce)\b")),
    ),
)
