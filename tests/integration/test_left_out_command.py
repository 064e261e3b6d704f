# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources with something missing, through the command line: copied inputs, and a second one of each kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from l1dflush.cli.main import main

INPUTS = Path(__file__).parents[1] / "data" / "trials" / "inputs"
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is needed")

# What each second input has in common with the first is what the first is named for; names and forms differ.
SECOND = {
    "helper-returns": """
static char *well;
static inline int try_command(void)
{
	if (!boot_cpu_has(X86_FEATURE_FLUSH_L1D))
		return -EOPNOTSUPP;
	wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
	return 0;
}
void empty_l1d(void)
{
	if (try_command() != -EOPNOTSUPP)
		return;
	for (unsigned long at = 0; at < 65536; at += 64)
		READ_ONCE(well[at]);
	asm volatile("lfence" ::: "memory");
}
""",
    "config-without-else": """
extern volatile char *well;
#if defined(CONFIG_EMPTY_L1D) && !defined(CONFIG_TRUSTING)
void empty_l1d(void)
{
	for (unsigned long at = 0; at < 65536; at += 64)
		(void)well[at];
	asm volatile("lfence" ::: "memory");
}
#endif
""",
    "is-enabled": """
extern volatile char *well;
#define WANTED (IS_BUILTIN(CONFIG_EMPTY_L1D))
void empty_l1d(void)
{
	unsigned long at, end = WANTED ? 65536 : 16384;
	for (at = 0; at < end; at += 64)
		(void)well[at];
	asm volatile("lfence" ::: "memory");
}
""",
    "assert": """
#include <assert.h>
extern unsigned char well[65536];
void empty_l1d(void)
{
	unsigned long sum = 0;
	for (unsigned long at = 0; at < sizeof well; at += 64)
		sum += well[at];
	assert(sum != 17);
}
""",
    "ifdef": """
#define LINES 1024
#if defined(SMALL_CACHE)
#undef LINES
#define LINES 256
#endif
extern volatile char *well;
void empty_l1d(void)
{
	for (long at = 0; at < LINES * 64; at += 64)
		(void)well[at];
}
""",
    "helper-lost": """
static int by_command(int how)
{
	if (how == HOW_NOT)
		return -HOW_NOT;
	wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
	return 0;
}
void empty_l1d(volatile char *well, int how)
{
	if (by_command(how) == 0)
		return;
	for (long at = 0; at < 65536; at += 64)
		(void)well[at];
}
""",
}


def ask(capsys: pytest.CaptureFixture[str], file: Path, *options: str) -> tuple[int, str]:
    status = main(["verify", str(file), "--cpu", "skylake", *options])
    captured = capsys.readouterr()
    return status, (captured.out + captured.err).replace(str(file), "FILE")


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copied input, or the second one of its kind."""
    if request.param in SECOND:
        file = tmp_path / "second.c"
        file.write_text(SECOND[request.param], encoding="utf-8")
        return file
    return INPUTS / request.param


def inputs(first: str, second: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("source", [first, second], indirect=True)


@inputs("04-helper-returns-enotsupp.c", "helper-returns")
def test_a_helper_that_returns_an_errors_number_keeps_its_body(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = "drain_l1d" if source.parent == INPUTS else "empty_l1d"
    status, text = ask(capsys, source, "--function", function, "--every-path")
    assert status == 0 and text.startswith("PROVED")
    assert "MSR write" in text and "software walk" in text and "call to" not in text and "skipped" not in text


@inputs("09-config-without-else.c", "config-without-else")
def test_a_function_that_a_condition_leaves_out(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "CONFIG_L1D_FLUSH" if source.parent == INPUTS else "CONFIG_EMPTY_L1D"
    status, text = ask(capsys, source)
    assert status == 1 and f"--define {name}" in text and name in text
    assert ask(capsys, source, "-D", f"{name}=1")[0] == 0
    assert ask(capsys, source, "-D", f"{name}=y")[0] == 0
    assert ask(capsys, source, "-D", f"{name}=n")[0] == 1


@inputs("10-is-enabled.c", "is-enabled")
def test_a_test_of_the_configuration(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "CONFIG_L1D_FLUSH" if source.parent == INPUTS else "CONFIG_EMPTY_L1D"
    status, text = ask(capsys, source)
    assert status == 3 and f"PROVED with --define {name}" in " ".join(text.split())
    assert ask(capsys, source, "-D", f"{name}=1")[0] == 0
    assert ask(capsys, source, "-U", name)[0] in (2, 3)


@inputs("25-assert-keeps-the-loop.c", "assert")
def test_an_assertion_keeps_what_it_is_about(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = ask(capsys, source)
    assert status == 0 and "NDEBUG" in text
    if source.parent == INPUTS:
        assert "buffer-not-initialised" in text
    status, text = ask(capsys, source, "-D", "NDEBUG")
    assert status == 3 and "no-software-walk" in text


@inputs("ifdef.c", "ifdef")
def test_a_name_that_makes_the_flush_smaller(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "CONFIG_SMALL_FLUSH" if source.parent == INPUTS else "SMALL_CACHE"
    status, text = ask(capsys, source)
    assert status == 3 and f"REFUTED with --define {name}" in " ".join(text.split())
    assert (ask(capsys, source, "-D", name)[0], ask(capsys, source, "-U", name)[0]) == (2, 0)
    status, text = ask(capsys, source, "--json")
    (entry,) = json.loads(text)["left_out"]
    assert (entry["kind"], entry["names"], entry["option"]) == ("branch", [name], f"--define {name}")


@inputs("helper-lost.c", "helper-lost")
def test_a_helper_that_lacks_a_number(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    function, name = ("scrub", "EBUSYISH") if source.parent == INPUTS else ("empty_l1d", "HOW_NOT")
    status, text = ask(capsys, source, "--function", function)
    assert status == 0 and "MSR write" in text and name in text and "call to" not in text
    status, text = ask(capsys, source, "--function", function, "-D", f"{name}=99")
    assert status == 0 and "MSR write" in text and name not in text
