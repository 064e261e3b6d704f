# SPDX-License-Identifier: GPL-2.0-or-later
"""What one item of a C text says: the names it declares and uses, its parameters, its asm statements.

The parser (tree-sitter) sees one item at a time, so what it cannot make sense of stays in that item. Trees
are walked with a stack of our own: hostile text nests deeper than Python recurses.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import tree_sitter_c
from tree_sitter import Language, Node, Parser

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.c.text import CText, Item, ItemKind, directive_name, spaces, word_set

# A parser that repairs errors takes seconds for a megabyte of nonsense; no function anybody wrote is this
# long.
MAX_ITEM = 192 << 10
MAX_DEPTH = 250

# How an undeclared name is used decides whether it can be declared for the user.
CALLED = "called"
POINTER = "pointer"
ADDRESS = "address"
MEMBER = "member"
VALUE = "value"
TYPE = "type"
UNSURE = "unsure"  # behind an #if, or in the body of a macro: perhaps the compiler never sees it

_LOOPS = frozenset({"for_statement", "while_statement", "do_statement", "goto_statement"})
_CONDITIONALS = frozenset({"preproc_if", "preproc_ifdef", "preproc_elif", "preproc_elifdef", "preproc_else"})
_TAGGED = {"struct_specifier": "struct", "union_specifier": "union", "enum_specifier": "enum"}
_DECLARING = word_set(
    """
    declaration init_declarator pointer_declarator array_declarator function_declarator parameter_declaration
    parenthesized_declarator attributed_declarator field_declaration variadic_parameter
    """
)
_DEFINING_MACRO = re.compile(r"\b(?:DEFINE|DECLARE)_\w*[ \t]*\(([^()]*)\)")
_BRACKET = re.compile(r"[(\[{}\])]")
_UNARY_RUN = re.compile(rf"(?:[*&!~+-]\s*){{{MAX_DEPTH}}}")
_WORDS = re.compile(r"[A-Za-z_]\w*")
# Statement-like keywords of GNU C that the grammar lets pass as identifiers.
_KEYWORDS = word_set(
    """
    __extension__ __func__ __FUNCTION__ __PRETTY_FUNCTION__ __typeof__ typeof __typeof asm __asm__ __asm
    __volatile__ __volatile __const__ __const __restrict __restrict__ restrict __inline __inline__ inline
    __attribute__ __attribute __signed__ __thread __auto_type __int128 __label__ __alignof__ __alignof
    _Static_assert _Bool _Atomic _Generic _Thread_local _Noreturn _Alignof _Alignas __VA_ARGS__
    __LINE__ __FILE__ __COUNTER__ __DATE__ __TIME__ __x86_64__ __i386__ __SIZEOF_POINTER__ __LP64__
    """
)


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand of an asm statement. ``name`` is its ``[symbol]`` or empty, ``value`` the C text given."""

    name: str
    constraint: str
    value: str


@dataclass(frozen=True, slots=True)
class AsmStatement:
    """One asm statement. Offsets count characters of the whole text.

    ``template`` has a ``(offset, text)`` for every string literal of the template, escapes decoded; macro
    names between them are left out and counted in ``template_macros``. ``start`` and ``end`` enclose the
    template.
    """

    offset: int
    start: int
    end: int
    template: tuple[tuple[int, str], ...]
    template_macros: int
    outputs: tuple[Operand, ...]
    inputs: tuple[Operand, ...]
    clobbers: tuple[str, ...]
    extended: bool


@dataclass(slots=True)
class ItemFacts:
    """What an item declares and uses. Tags are named ``struct x``.

    ``used`` maps a name to how it is used, ``members_of`` are the variables whose members are used, declared
    here or not. ``parameters`` are ``(type, name)``. ``labels`` are what it may jump to.
    """

    declared: set[str] = field(default_factory=set)
    local: set[str] = field(default_factory=set)
    used: dict[str, set[str]] = field(default_factory=dict)
    members_of: set[str] = field(default_factory=set)
    parameters: list[tuple[str, str]] = field(default_factory=list)
    asm: list[AsmStatement] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    loops: bool = False
    prototype: bool = False

    @property
    def calls(self) -> frozenset[str]:
        """Names that the item calls as functions (or macros: it looks the same)."""
        return frozenset(name for name, ways in self.used.items() if CALLED in ways)


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_c.language()))


def facts_of(text: CText, item: Item, *, where: str) -> ItemFacts:
    """What ``item`` declares and uses. Raises :class:`InputError` if it is too long to be parsed."""
    if item.end - item.start > MAX_ITEM:
        line = text.line(item.start)
        what = f"a {item.kind.value} of more than {MAX_ITEM >> 10} KiB"
        raise InputError(what, where=Place(where, line))
    code = text.code[item.start : item.end]
    if _depth(code) > MAX_DEPTH or _UNARY_RUN.search(code):
        # Compilers recurse, too, and take their whole time limit to fall over.
        raise InputError(f"nested more than {MAX_DEPTH} deep", where=Place(where, text.line(item.start)))
    source = text.parsable[item.start : item.end]
    tree = _parser().parse(source.encode("ascii"))
    facts = ItemFacts()
    # The grammar has no rule for a brace that both branches of an #if open. Without the other branches it
    # has, but which branch counts only the compiler knows: then no name is certain.
    broken = tree.root_node.has_error and "#" in text.code[item.start : item.end]
    if broken:
        source = _first_branches(text, item)
        tree = _parser().parse(source.encode("ascii"))
    _Walk(source, item.start, facts, unsure=broken).run(tree.root_node)
    for match in _DEFINING_MACRO.finditer(text.code, item.start, item.end):
        if item.kind is ItemKind.DECLARATION:
            facts.declared.update(_WORDS.findall(match.group(1)))
    if item.kind is ItemKind.FUNCTION:
        facts.local |= facts.declared
        facts.declared = {item.name}
    for name in facts.local | facts.declared | _KEYWORDS:
        facts.used.pop(name, None)
    for name in [name for name in facts.used if name.startswith("__builtin_")]:
        del facts.used[name]
    return facts


def _first_branches(text: CText, item: Item) -> str:
    """The item for the parser, its directives blanked, and of every #if all branches but the first."""
    pieces: list[str] = []
    last = item.start
    depth = hidden = 0  # in how many #ifs, and from which of them on nothing is shown
    for start, end in text.directives[bisect_left(text.directives, (item.start, 0)) :]:
        if end > item.end:
            break
        shown = text.parsable[last:start]
        pieces += [spaces(shown) if hidden else shown, spaces(text.parsable[start:end])]
        last = end
        name = directive_name(text.code[start:end])
        if name.startswith("if"):
            depth += 1
        elif name.startswith("el") and not hidden:
            hidden = depth
        elif name == "endif":
            hidden = 0 if hidden == depth else hidden
            depth = max(0, depth - 1)
    return "".join(pieces) + text.parsable[last : item.end]


def _depth(code: str) -> int:
    deepest = depth = 0
    for match in _BRACKET.finditer(code):
        depth += 1 if match.group() in "([{" else -1
        deepest = max(deepest, depth)
    return deepest


class _Walk:
    """One pass over the tree of an item."""

    def __init__(self, source: str, base: int, facts: ItemFacts, *, unsure: bool) -> None:
        self.source = source
        self.base = base
        self.facts = facts
        self.function_seen = False
        self.unsure = unsure

    def run(self, root: Node) -> None:
        # (node, field name in its parent, parent, grandparent's type, behind an #if): asking a node for its
        # parent would search the tree from the root.
        stack: list[tuple[Node, str | None, Node | None, str, bool]] = [(root, None, None, "", self.unsure)]
        while stack:
            node, role, parent, above, self.unsure = stack.pop()
            self._visit(node, role, parent, above)
            parent_type = parent.type if parent is not None else ""
            if node.type in ("attribute_specifier", "attribute_declaration"):
                continue  # the words in it are the compiler's own
            unsure = self.unsure or node.type in _CONDITIONALS
            for index in range(node.child_count - 1, -1, -1):
                child = node.child(index)
                inner = node.field_name_for_child(index)
                # What an #if asks for needs no definition.
                skipped = inner == "condition" and node.type in _CONDITIONALS
                if child is not None and (child.is_named or child.type in _LOOPS) and not skipped:
                    stack.append((child, inner, node, parent_type, unsure))

    def _text(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte]

    def _use(self, name: str, how: str) -> None:
        self.facts.used.setdefault(name, set()).add(UNSURE if self.unsure and how != CALLED else how)

    def _visit(self, node: Node, role: str | None, parent: Node | None, above: str) -> None:
        kind = node.type
        parent_kind = parent.type if parent is not None else ""
        if kind in _LOOPS:
            self.facts.loops = True
        elif kind == "gnu_asm_expression":
            self.facts.asm.append(_asm_statement(node, self.source, self.base))
        elif kind == "identifier":
            self._identifier(node, role, parent, parent_kind, above)
        elif kind == "statement_identifier" and parent_kind == "labeled_statement":
            self.facts.labels.add(self._text(node))
        elif kind in ("type_identifier", "primitive_type"):
            self._type(node, role, parent, parent_kind)
        elif kind in ("null", "true", "false"):
            self._use(self._text(node), VALUE)
        elif kind == "function_declarator" and parent_kind == "declaration":
            self.facts.prototype = True
        if kind == "parameter_list" and not self.function_seen and parent_kind == "function_declarator":
            self.function_seen = True
            self.facts.parameters = list(_parameters(node, self.source))

    def _identifier(self, node: Node, role: str | None, parent: Node | None, parent_kind: str, above: str) -> None:
        name = self._text(node)
        if parent_kind.startswith("preproc_") or role == "symbol":
            return
        if (parent_kind in _DECLARING and role == "declarator") or (parent_kind == "enumerator" and role == "name"):
            self.facts.declared.add(name)
            return
        if parent_kind in ("function_declarator", "gnu_asm_goto_list"):
            return
        if parent_kind == "field_expression":
            self.facts.members_of.add(name)
        self._use(name, _way(self.source, role, parent, parent_kind, above))

    def _type(self, node: Node, role: str | None, parent: Node | None, parent_kind: str) -> None:
        name = self._text(node)
        if parent_kind in _TAGGED and role == "name" and parent is not None:
            tag = f"{_TAGGED[parent_kind]} {name}"
            if parent.child_by_field_name("body") is not None:
                self.facts.declared.add(tag)
            else:
                self._use(tag, TYPE)
        elif role == "declarator":
            self.facts.declared.add(name)
        elif name not in ("void", "char", "int", "float", "double"):
            self._use(name, TYPE)


def _way(source: str, role: str | None, parent: Node | None, parent_kind: str, above: str) -> str:
    if parent is None:
        return VALUE
    if parent_kind == "call_expression" and role == "function":
        return CALLED
    if parent_kind == "field_expression":
        return MEMBER
    if parent_kind == "pointer_expression":
        return ADDRESS if source[parent.start_byte] == "&" else POINTER
    if parent_kind == "subscript_expression" and role == "argument":
        return POINTER
    if parent_kind in ("gnu_asm_input_operand", "gnu_asm_output_operand"):
        return POINTER
    if parent_kind == "cast_expression" and "*" in source[parent.start_byte : parent.end_byte]:
        return POINTER
    if parent_kind == "parenthesized_expression" and above in ("gnu_asm_input_operand", "cast_expression"):
        return POINTER
    return VALUE


def _parameters(node: Node, source: str) -> Iterator[tuple[str, str]]:
    """``(type, name)`` of every parameter; the name of one that has none is empty."""
    for child in node.named_children:
        if child.type != "parameter_declaration":
            continue
        declarator = child.child_by_field_name("declarator")
        whole = source[child.start_byte : child.end_byte]
        if declarator is None:
            if whole.strip() != "void":
                yield whole, ""
            continue
        pointer = "*" if "*" in whole or "[" in whole else ""
        kind = source[child.start_byte : declarator.start_byte].strip() + pointer
        found = list(_declared_word(declarator, source))
        yield kind, found[0] if found else ""


def _declared_word(node: Node, source: str) -> Iterator[str]:
    current: Node | None = node
    while current is not None:
        if current.type == "identifier":
            yield source[current.start_byte : current.end_byte]
            return
        inner = current.child_by_field_name("declarator")
        current = inner if inner is not None else next(iter(current.named_children), None)


def _asm_statement(node: Node, source: str, base: int) -> AsmStatement:
    code = node.child_by_field_name("assembly_code")
    start = end = node.end_byte
    template: list[tuple[int, str]] = []
    macros = 0
    if code is not None:
        start, end = code.start_byte, code.end_byte
        parts = [code] if code.type == "string_literal" else code.named_children
        for part in parts:
            if part.type == "string_literal":
                template.append((base + part.start_byte, _decoded(source[part.start_byte : part.end_byte])))
            elif part.type != "comment":
                macros += 1
                # A macro in the middle: whatever it expands to, it is not a line break and no label.
                template.append((base + part.start_byte, "\x01"))
    outputs = node.child_by_field_name("output_operands")
    inputs = node.child_by_field_name("input_operands")
    clobbers = node.child_by_field_name("clobbers")
    names: list[str] = []
    for child in clobbers.named_children if clobbers is not None else ():
        if child.type in ("string_literal", "concatenated_string"):
            names.append(_literal(child, source))
        elif child.type == "identifier":
            names.append("\x01" + source[child.start_byte : child.end_byte])
    return AsmStatement(
        offset=base + node.start_byte,
        start=base + start,
        end=base + end,
        template=tuple(template),
        template_macros=macros,
        outputs=tuple(_operands(outputs, source)),
        inputs=tuple(_operands(inputs, source)),
        clobbers=tuple(names),
        extended=outputs is not None,
    )


def _operands(node: Node | None, source: str) -> Iterator[Operand]:
    for child in node.named_children if node is not None else ():
        if child.type not in ("gnu_asm_input_operand", "gnu_asm_output_operand"):
            continue
        symbol = child.child_by_field_name("symbol")
        constraint = child.child_by_field_name("constraint")
        value = child.child_by_field_name("value")
        yield Operand(
            name=source[symbol.start_byte : symbol.end_byte] if symbol is not None else "",
            constraint=_literal(constraint, source) if constraint is not None else "",
            value=" ".join(source[value.start_byte : value.end_byte].split()) if value is not None else "",
        )


def _literal(node: Node, source: str) -> str:
    if node.type == "string_literal":
        return _decoded(source[node.start_byte : node.end_byte])
    return "".join(
        _decoded(source[part.start_byte : part.end_byte])
        for part in node.named_children
        if part.type == "string_literal"
    )


_ESCAPE = re.compile(r"\\(n|t|r|\n|.)")
_MEANS = {"n": "\n", "t": "\t", "r": "\r", "\n": ""}


def _decoded(literal: str) -> str:
    """The text of a string literal; only the escapes that shape assembly are told apart."""
    body = literal[literal.find('"') + 1 :].removesuffix('"')
    return _ESCAPE.sub(lambda match: _MEANS.get(match.group(1), match.group(1)), body)
