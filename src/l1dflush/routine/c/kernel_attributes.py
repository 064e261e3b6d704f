# SPDX-License-Identifier: GPL-2.0-or-later
"""The words that are attributes in the kernel, and where attributes are that a parser of C does not understand."""

from __future__ import annotations

import re

# Attributes of the kernel: the compiler gets them as the prelude has them, but they are no C to a parser.
_NAMES = """
    __maybe_unused __always_unused __used __init __exit __initdata __exitdata __initconst __devinit __meminit
    __ref __refdata noinstr __always_inline __forceinline __inline __inline__ noinline __noinline
    noinline_for_stack asmlinkage __visible notrace __read_mostly __ro_after_init __cold __hot __pure
    __attribute_const__ __weak __must_check __noreturn
    __cpuidle __kprobes nokprobe_inline __latent_entropy __malloc __user __iomem __percpu __rcu __force
    __kernel __bitwise __packed __cacheline_aligned __cacheline_aligned_in_smp ____cacheline_aligned
    ____cacheline_aligned_in_smp __page_aligned_data __page_aligned_bss __randomize_layout __noclone
    __no_sanitize_address __no_kcsan __no_stack_protector __nocfi __flatten __deprecated __private __hidden
    __lockfunc __sched __entry_text __cpuinit __net_init __net_exit fastcall __fastcall __cdecl
"""
ATTRIBUTE_NAMES = frozenset(_NAMES.split())
# These mean something to the compiler and take an argument; only the parser must not see them.
_ARGUMENT_ATTRIBUTES = "__aligned|__section|__printf|__acquires|__releases|__must_hold|__alias|__malloc|__counted_by"

ATTRIBUTE = re.compile(r"\b(?:" + "|".join(sorted(ATTRIBUTE_NAMES)) + r")\b|\[\[[A-Za-z_][\w:,()\s]*\]\]")
PARSER_BLIND = re.compile(rf"\b(?:{_ARGUMENT_ATTRIBUTES})[ \t]*\((?:[^()\n]|\([^()\n]*\))*\)|{ATTRIBUTE.pattern}")
# Between a name and its value, where the grammar has no place for it.
BEFORE_VALUE = re.compile(r"\b__attribute(?:__)?\s*\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\)(?=\s*=[^=])")
