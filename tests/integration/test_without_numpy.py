# SPDX-License-Identifier: GPL-2.0-or-later
"""What needs numpy says so where it is not installed; the rest does without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
WITHOUT = "import sys; sys.modules['numpy'] = None; "
SAYS = "this needs numpy (pip install 'l1dflush[lab]')"


def run(*arguments: str) -> tuple[int, str, str]:
    program = f"{WITHOUT}from l1dflush.cli.main import main; sys.exit(main({list(arguments)!r}))"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("verify", "linux-4.9.120", "--cpu", "haswell"), 0),
        (("verify", "one-pass", "--cpu", "haswell"), 2),
        (("size", "--policy", "tree-PLRU", "--ways", "8"), 0),
        (("plan", "--cpu", "haswell"), 0),
        (("plan", "--cpu", "haswell", "--emit", "c"), 0),
        (("what-if", "--cpu", "haswell", "--kernel", "6.1"), None),
        (("status",), None),
        (("replay", str(EXAMPLES.parents[1] / "golden" / "inputs" / "survivor.json"), "--row", "1"), None),
        (("policies",), 0),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_these_do_without(arguments: tuple[str, ...], status: int | None) -> None:
    ended, out, err = run(*arguments)
    assert "numpy" not in out + err
    assert "Traceback" not in err and "internal error" not in err
    assert status in (None, ended)


@pytest.mark.parametrize("arguments", [("lab", "linux-2018"), ("cost", "/dev/null"), ("measure",), ("identify",)])
def test_these_say_what_installs_it(arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == (1, "", f"l1dflush: {SAYS}\n")


def test_python_is_told_so_too() -> None:
    program = f"""{WITHOUT}
import l1dflush as l1d
assert l1d.verify("linux-4.9.120", cpu="haswell").proved
try:
    l1d.Simulator
except l1d.InputError as error:
    sys.exit(str(error))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"{SAYS}\n")
