# SPDX-License-Identifier: GPL-2.0-or-later
"""Languages other than C: what their sources look like."""

from __future__ import annotations

import re

from l1dflush.routine.foreign.signature import Foreign, Signature, marks, pattern

_STRING = r'"(?:\\[\s\S]|[^"\\\n])*"?'
# What a header says to C++ only is not a mark of it.
_FOR_CPP = r"^~#~if(?:n?def\b|\b[^\n]{0,200}\bdefined\b)[^\n]{0,200}\b__cplusplus\b[\s\S]*?(?:^~#~endif\b|\Z)"
# Behind a '#' is a directive, of which only #include says something, or a comment of assembly.
_C_LIKE = pattern(
    rf"/\*[\s\S]*?(?:\*/|\Z)|//[^\n]*|{_STRING}|'(?:\\.[^'\n]{{0,8}}|[^'\\\n])'|{_FOR_CPP}|#(?!~include\b)[^\n]*|^~;[^\n]*"
)
_RUST = pattern(
    r"/\*[\s\S]*?(?:\*/|\Z)|//[^\n]*|'(?:\\.|[^'\\\n])'|\"(?:\\[\s\S]|[^\"\\])*(?:\"|\Z)|#(?!!?\[)[^\n]*|^~;[^\n]*"
)
_IR = pattern(r"/\*[\s\S]*?(?:\*/|\Z)|;[^\n]*|^~#[^\n]*")

_CPP_HEADERS = (
    "algorithm|array|atomic|bit|bitset|c(?:assert|ctype|errno|limits|math|setjmp|signal|stdarg|stddef|stdint|stdio"
    "|stdlib|string|time)|chrono|concepts|cstddef|deque|exception|functional|iomanip|iostream|iterator|limits|list|map"
    "|memory|mutex|new|numeric|optional|ostream|queue|random|ranges|set|span|sstream|stdexcept|string|string_view"
    "|thread|tuple|type_traits|unordered_map|utility|variant|vector"
)

SIGNATURES = (
    Signature(
        Foreign("LLVM IR", "compile it and give the object: llc -filetype=obj -relocation-model=pic FILE.ll"),
        _IR,
        marks(
            (2, r"^define [^\n@]{0,500}@(?:[\w.$-]+|\"[^\"\n]{0,500}\")\("),
            (2, r"^target (?:triple|datalayout)~=~\""),
            (1, r"^declare [^\n@]{0,500}@"),
            (1, r"^source_filename~=~\""),
            (1, r"^%[\w.]+ = (?:load|getelementptr|phi|add|icmp|call|bitcast|alloca)\b"),
            (1, r"^attributes #\d+ = \{"),
        ),
    ),
    Signature(
        Foreign(
            "Rust",
            "compile it and give the object: rustc --edition 2021 --crate-type lib --emit obj -O FILE.rs;"
            ' #[no_mangle] and extern "C" keep a function and its name',
        ),
        _RUST,
        marks(
            (2, r"\b(?:pub(?:\([\w:\s]{1,40}\))?|unsafe|async|const|extern(?:~\"\")?)\s+fn\s+\w+\s*[(<]"),
            (2, r"\bfn\s+\w+\s*(?:<[^>{}]{0,200}>)?\s*\(\s*(?:mut\s+)?(?:&[^),]{0,60}\bself\b|self\b|\w+\s*:[^:)])"),
            (2, r"\bfn\s+\w+\s*\([^(){}]{0,400}\)\s*->"),
            (
                2,
                r"^~#!?\[(?:no_(?:std|core|main|mangle)|inline|repr|cfg\w*|derive|allow|deny|warn|unsafe|naked|used|test|feature"
                r"|target_feature|link\w*|export_name|macro_\w+|must_use|doc|panic_handler|cold|crate_type)\b",
            ),
            (2, r"^~(?:pub )?use (?:::)?\w+(?:::[\w:{}*,\s]{1,400})?;"),
            (2, r"^~(?:pub )?(?:impl\b[^;{}()]{0,200}|mod \w+~|trait \w[^;{}()]{0,200})\{"),
            (2, r"\b(?:global_|naked_)?asm!\s*[({]"),
            (2, r"\bas \*(?:const|mut)\b"),
            (1, r"\bfn\s+\w+\s*\(\s*\)\s*\{"),
            (1, r"\blet\s+(?:mut\s+)?\w+\s*(?::[^=;\n]{1,80})?="),
            (1, r"\bunsafe\s*\{"),
            (1, r"\b[a-z_]+!\s*[(\[{]"),
        ),
        # What Zig has and Rust has not.
        never=re.compile(r"@[A-Za-z]\w*\("),
    ),
    Signature(
        Foreign(
            "C++",
            'compile it and give the object: g++ -O2 -c FILE.cpp; extern "C" keeps a function\'s name',
        ),
        _C_LIKE,
        marks(
            (2, r"\b(?:std|boost|absl|__gnu_cxx)::\w"),
            (2, r"^~template\s*<"),
            (2, r"\b(?:static|reinterpret|const|dynamic|bit)_cast\s*<"),
            (2, r"^~(?:inline )?namespace(?: [\w:]+)?\s*\{"),
            (2, r"^~using (?:namespace \w|\w+~=|\w+::)"),
            (2, r"^~(?:enum )?class \w+~(?:final~)?(?:\{|:[^:;{}()]{1,200}\{|\n~\{)"),
            (2, r"^~struct \w+~(?:final~)?:~(?:public|private|protected|\w+~\{)"),
            (2, r"[=(,]~\[(?:[&=][\w,\s&*]{0,80})?\]~[({]"),
            (
                2,
                r"[=(,]~\[[\w,\s&*]{0,80}\]~\([^()]{0,200}\)~(?:noexcept|mutable|->~\w+)?~\{",
            ),
            (2, r"\bfor~\(~(?:const )?auto~[&*]*~\w+~:"),
            (2, r"=~new \w|\bdelete~\[~\]~\w|\breturn new \w"),
            (2, r"\boperator~(?:\(\)|\[\]|[-+*/=<>!&|]{1,3}|\bnew\b|\bdelete\b)~\("),
            (2, rf"^~#~include~<(?:{_CPP_HEADERS})>"),
            (2, r"^(?:[\w*&]+ ){0,6}[A-Za-z_]\w*::\x7e?\w+~\([^;{}()]{0,200}\)[^;{}()]{0,40}\{"),
            (2, r"\bfor~\((?:\w+ ){1,4}\w+\{"),
            (1, r"\bdelete \w+~;"),
            (1, r"^~extern \"\""),
            # C23 has these too.
            (1, r"\bconstexpr\s+\w|\bnullptr\b|\b(?:const )?auto \w+~=[^=]"),
            (1, r"\b(?:consteval|constinit)\s+\w|\)\s*noexcept\b"),
            (1, r"\b[A-Za-z_]\w*::\x7e?[A-Za-z_]\w*~\("),
            (1, r"^~(?:public|private|protected):~$"),
            (1, r"\b(?:const )?auto~[&*]~\w+~=[^=]"),
            (1, r"^~(?:virtual|explicit|friend|mutable) \w"),
            (1, r"\b(?:u?int\d+_t|int|char|long|bool|double|size_t)~(?:const~)?&~\w+~[,)]"),
        ),
    ),
    Signature(
        Foreign("assembly for Go", "go build makes an ELF file of the program; give that, with --function NAME"),
        _C_LIKE,
        marks((2, r"^TEXT [^\s(]{1,200}\(SB\)")),
    ),
)
