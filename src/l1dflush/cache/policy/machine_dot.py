# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines in Graphviz dot, as tools that learn automata write them.

``digraph g { s0 -> s1 [label="h(2) / _"]; __start0 -> s0; }`` where a label is ``h(w) / _`` (a hit in way w),
``m() / v`` (a miss in a full set, which replaces way v) or ``f(w) / _`` (an invalid way w is filled). Everything else
that dot allows in a plain directed graph is read over: comments, attributes, node statements, quoted names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from l1dflush.cache.policy.machine_text import Edge, Start, Statements, error, way_number
from l1dflush.errors import InputError

_TOKEN = re.compile(
    r"""(?P<skip> [\s\ufeff]+ | //[^\n]* | /\*.*?\*/ | ^\#[^\n]* )
      | (?P<quoted> "(?:[^"\\]|\\.)*" )
      | (?P<word> [A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]* | -?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?) )
      | (?P<mark> -> | [{}\[\];,=:] )
      | (?P<other> . )""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_HEAD = re.compile(
    r"(?:\s|\ufeff|//[^\n]*|/\*.*?\*/|^#[^\n]*)*(?:strict\s+)?digraph\b", re.IGNORECASE | re.DOTALL | re.M
)
_LABEL = re.compile(r"\s*(?:([hf])\s*\(\s*([0-9]+)\s*\)\s*/\s*_?|m\s*\(\s*\)\s*/\s*([0-9]+))\s*", re.IGNORECASE)
_START = re.compile(r"__start\d*")

_HINT = "labels are h(w) / _, m() / v and f(w) / _"


def is_dot(text: str) -> bool:
    """Whether ``text`` begins as a dot file does."""
    return _HEAD.match(text) is not None


def read_dot(text: str, name: str) -> Statements:
    """What a dot file says. Raises :class:`~l1dflush.errors.InputError` with the line of the first thing that is
    wrong.
    """
    return _Reader(text, name).graph()


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.line = 1
        self.tokens = self._tokens(text)
        self.kind, self.token = "", ""
        self.token_line = 1
        self.advance()

    def graph(self) -> Statements:
        if self.token.lower() == "strict":
            self.advance()
        if self.token.lower() != "digraph":
            raise self.wrong("a dot file begins with 'digraph'")
        self.advance()
        if self.token != "{" or self.kind != "mark":
            self.identifier()
        self.expect("{")
        while not self.at("}"):
            if self.at(";"):
                self.advance()
            else:
                yield from self.statement()
        self.advance()
        if self.kind != "end":
            raise self.wrong("nothing follows the graph")

    def statement(self) -> Statements:
        line = self.token_line
        if self.at("{") or (self.kind == "word" and self.token.lower() == "subgraph"):
            raise self.wrong("a machine has no subgraphs")
        nodes = [self.identifier()]
        if self.at("="):  # an attribute of the graph
            self.advance()
            self.identifier()
            return
        while self.at("->"):
            self.advance()
            nodes.append(self.identifier())
        label = self.attributes()
        for state, target in pairwise(nodes):
            if _START.fullmatch(state):
                yield Start(line, target)
            else:
                yield self.edge(line, state, target, label)

    def edge(self, line: int, state: str, target: str, label: str | None) -> Edge:
        if label is None:
            raise error(self.name, line, f"the edge from {state[:40]} to {target[:40]} has no label", _HINT)
        found = _LABEL.fullmatch(label)
        if found is None:
            raise error(self.name, line, f"'{label[:40]}' is not a label of a machine", _HINT)
        if found[3] is not None:
            return Edge(line, state, "miss", way_number(self.name, line, found[3]), target)
        what, way = found[1].lower(), way_number(self.name, line, found[2])
        return Edge(line, state, "hit" if what == "h" else "fill", way, target)

    def attributes(self) -> str | None:
        """The label, if the attribute lists that follow have one."""
        label = None
        while self.at("["):
            self.advance()
            while not self.at("]"):
                if self.at(",") or self.at(";"):
                    self.advance()
                    continue
                key = self.identifier()
                value = "true"
                if self.at("="):
                    self.advance()
                    value = self.identifier()
                if key.lower() == "label":
                    label = value
            self.advance()
        return label

    def identifier(self) -> str:
        """A name, with the ports that may follow that of a node left out."""
        text = self.name_token()
        while self.at(":"):
            self.advance()
            self.name_token()
        return text

    def name_token(self) -> str:
        if self.kind == "quoted":
            text = re.sub(r'\\(\n|")', lambda m: "" if m[1] == "\n" else '"', self.token[1:-1])
        elif self.kind == "word":
            text = self.token
        else:
            raise self.wrong("a name is missing")
        self.advance()
        return text

    def at(self, mark: str) -> bool:
        return self.kind == "mark" and self.token == mark

    def expect(self, mark: str) -> None:
        if not self.at(mark):
            raise self.wrong(f"a '{mark}' is missing")
        self.advance()

    def wrong(self, what: str) -> InputError:
        before = f"before '{self.token[:20]}'" if self.token else "at the end"
        return error(self.name, self.token_line, f"{what} ({before})", 'a machine is digraph { a -> b [label="..."]; }')

    def advance(self) -> None:
        self.kind, self.token = next(self.tokens, ("end", ""))

    def _tokens(self, text: str) -> Iterator[tuple[str, str]]:
        for found in _TOKEN.finditer(text):
            kind, token = found.lastgroup or "", found[0]
            self.token_line = self.line
            self.line += token.count("\n")
            if kind != "skip":
                yield kind, token
        self.token_line = self.line
