# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages for man(1) have what the help texts have, and nothing that troff stumbles over."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from l1dflush.cli.main import answer, main
from l1dflush.cli.man_pages import man_pages
from l1dflush.cli.verbs import VERBS

PAGES = man_pages()
MACROS = {".TH", ".SH", ".TP", ".PP", ".nf", ".fi"}


def help_text(page: str) -> str:
    verb = page.removesuffix(".1").removeprefix("l1dflush").removeprefix("-")
    outcome = answer([*([verb] if verb else []), "--help"])
    assert isinstance(outcome.text, str)
    return outcome.text


def words(text: str) -> list[str]:
    return re.findall(r"[\w./<>|=+-]*\w[\w./<>|=+-]*", text)


def read_as(text: str) -> str:
    """What the page says, without what it is written in."""
    lines = [line for line in text.splitlines() if line.split(" ")[0] not in MACROS - {".SH"}]
    plain = "\n".join(line.removeprefix(".SH ") for line in lines)
    for escape, sign in ((r"\fB", ""), (r"\fR", ""), (r"\&", ""), (r"\-", "-"), (r"\(aq", "'"), (r"\(ha", "^"),
                         (r"\(ti", "~"), (r"\(ga", "`")):  # fmt: skip
        plain = plain.replace(escape, sign)
    assert "\\" not in plain.replace(r"\e", "")
    return plain.replace(r"\e", "\\")


def test_the_program_and_every_verb_have_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "--man", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", f"l1dflush: {len(VERBS) + 1} pages were written to {tmp_path}\n")
    assert {path.name for path in tmp_path.iterdir()} == {"l1dflush.1", *(f"l1dflush-{verb}.1" for verb in VERBS)}
    assert all((tmp_path / name).read_text(encoding="utf-8") == text for name, text in PAGES.items())


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_all_that_the_help_says(page: str) -> None:
    # Titles are in capitals there.
    told = help_text(page).partition("\n")[2].replace("Commands:", "Verbs:").casefold()
    # A word that the help text parts at a hyphen is one on the page.
    told = re.sub(r"(\w-)\n +(?=[a-z])", r"\1", told)
    text = read_as(PAGES[page]).casefold()
    if page == "l1dflush.1":
        # Verbs have the names of their pages.
        told = re.sub(r"^  ([a-z][a-z-]+)  ", r"  l1dflush-\1  ", told, flags=re.M)
        text = text.replace("(1)", "")
    there = iter(words(text))
    assert [word for word in words(told) if word not in there] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_line_is_text_or_a_macro_that_is_known(page: str) -> None:
    lines = PAGES[page].splitlines()
    assert lines[0].startswith(".TH L1DFLUSH")
    assert {line.split(" ")[0] for line in lines if line[:1] in (".", "'")} <= MACROS
    sections = [line.removeprefix(".SH ") for line in lines if line.startswith(".SH ")]
    assert sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"] and sections[-1] == "SEE ALSO"
    assert PAGES[page].isascii() and "\b" not in PAGES[page] and "" not in lines


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("page", ["l1dflush.1", "l1dflush-verify.1", "l1dflush-what-if.1", "l1dflush-size.1"])
def test_groff_has_no_complaint(page: str) -> None:
    command = ["groff", "-man", "-Tascii", "-P-cbou", "-ww", "-rLL=78n"]
    done = subprocess.run(command, input=PAGES[page], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") > 20 and "l1dflush" in done.stdout


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_has_no_complaint() -> None:
    for text in PAGES.values():
        # Below an error it would have a date, too, which is another at each build.
        command = ["mandoc", "-Tlint", "-Werror"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_where_they_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "--man", str(tmp_path / "nowhere")]) == 1
    assert "nowhere: there is no such folder (make it first)" in capsys.readouterr().err
    assert main(["help", "verify", "--man", str(tmp_path)]) == 1
    assert "--man writes all pages (leave out the topic)" in capsys.readouterr().err
