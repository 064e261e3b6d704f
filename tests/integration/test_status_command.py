# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush status`` on folders with what hosts of many kinds say, whole and damaged; and as a command."""

from __future__ import annotations

import json
import re
import shutil
import stat
from pathlib import Path

import jsonschema
import kernel_modules
import pytest
from kernel_modules import Module
from sysroots import KINDS, L1TF, UNREAD, CopiedHost

from l1dflush.cli.main import main
from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.host.reading.collect import from_sysroot
from l1dflush.host.status.flush_worth import FlushWorth
from l1dflush.host.status.grounds import L1tfVerdict
from l1dflush.host.status.model import StatusResult
from l1dflush.host.status.result import status_result
from l1dflush.report.schemas import schema

Capture = pytest.CaptureFixture[str]

VERDICTS = {
    "with_microcode": L1tfVerdict.PARTIAL,
    "without_microcode": L1tfVerdict.PARTIAL,
    "ept_off": L1tfVerdict.MITIGATED,
    "smt_on": L1tfVerdict.PARTIAL,
    "not_loaded": L1tfVerdict.MITIGATED,
    "guest": L1tfVerdict.MITIGATED,
    "locked_down": L1tfVerdict.PARTIAL,
    "amd": L1tfVerdict.NOT_AFFECTED,
    "without_pae": L1tfVerdict.VULNERABLE,
    "rhel7": L1tfVerdict.PARTIAL,
}


def status(folder: Path) -> StatusResult:
    """Without the proof, which is the same for all of them."""
    return status_result(from_sysroot(folder), FlushWorth(Verdict.PROVED, "linux-4.18", ""), lists())


def told(folder: Path, capsys: Capture, *options: str) -> tuple[int, str]:
    code = main(["status", "--sysroot", str(folder), *options])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out


def test_every_kind_has_its_verdict() -> None:
    assert set(KINDS) == set(VERDICTS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_verdict_and_that_the_kernel_says_what_follows(kind: str, tmp_path: Path) -> None:
    KINDS[kind](tmp_path)
    result = status(tmp_path)
    assert result.verdict is VERDICTS[kind]
    assert result.follows is not None
    assert result.follows.agrees, result.follows.differences
    assert result.follows.outcome.sysfs.split("; VMX")[0] == str(result.says.text).split("; VMX", maxsplit=1)[0]


@pytest.mark.parametrize("damage", ["remove", "empty", "junk", "deny"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_makes_it_unknown_at_most(kind: str, damage: str, tmp_path: Path) -> None:
    host = KINDS[kind](tmp_path)
    whole = {path: host.at(path).read_bytes() for path in host.files()}
    for path, content in whole.items():
        getattr(CopiedHost, damage)(host, path)
        result = status(tmp_path)
        host.remove(UNREAD)
        host.write(path, content)
        assert result.verdict in (VERDICTS[kind], L1tfVerdict.UNKNOWN), (path, result.grounds)
        assert result.follows is None or result.follows.agrees, (path, result.follows.differences)


@pytest.mark.parametrize("damage", ["remove", "empty", "junk", "deny"])
def test_without_the_kernel_s_own_word_nothing_is_called_mitigated(damage: str, tmp_path: Path) -> None:
    host = KINDS["ept_off"](tmp_path)
    getattr(CopiedHost, damage)(host, L1TF)
    result = status(tmp_path)
    assert result.verdict is L1tfVerdict.UNKNOWN
    assert result.exit_status == 3
    reasons = {"remove": "no such file", "empty": "empty", "junk": "not text", "deny": "permission denied"}
    assert reasons[damage] in result.says.why


def test_the_flush_in_software_is_proved_and_used(tmp_path: Path, capsys: Capture) -> None:
    KINDS["without_microcode"](tmp_path)
    code, out = told(tmp_path, capsys)
    assert code == 2
    assert "PROVED on Ivy Bridge: this host uses it" in out
    assert "cond, in software" in out


def test_msrs_that_a_lockdown_hides_are_unknown_and_not_vulnerable(tmp_path: Path, capsys: Capture) -> None:
    KINDS["locked_down"](tmp_path)
    code, out = told(tmp_path, capsys, "--explain")
    assert code == 2
    assert "L1TF: partially mitigated" in out
    assert "locked down: integrity" in " ".join(out.split())


def test_the_raw_text_is_shown_where_nobody_knows_it(tmp_path: Path, capsys: Capture) -> None:
    KINDS["smt_on"](tmp_path).write(L1TF, "Mitigation: \x1b[31mfixed\x07 by vendor")
    code, out = told(tmp_path, capsys)
    assert code == 3
    # Control characters make it no text; those that a terminal obeys never get there.
    assert "\x1b" not in out
    KINDS["smt_on"](tmp_path / "b").write(L1TF, "Mitigation: fixed by vendor")
    assert "'Mitigation: fixed by vendor'" in told(tmp_path / "b", capsys)[1]


@pytest.mark.parametrize("kind", ["smt_on", "amd", "without_pae"])
def test_json_fits_its_schema(kind: str, tmp_path: Path, capsys: Capture) -> None:
    KINDS[kind](tmp_path)
    code, out = told(tmp_path, capsys, "--json")
    document = json.loads(out)
    jsonschema.Draft202012Validator(schema("status")).validate(document)
    jsonschema.Draft202012Validator(schema()).validate(document)
    assert (document["exit_status"], document["verdict"]) == (code, VERDICTS[kind].value)


@pytest.mark.parametrize(("expect", "code"), [("partially-mitigated", 0), ("mitigated", 2), ("unknown", 2)])
def test_expect(expect: str, code: int, tmp_path: Path, capsys: Capture) -> None:
    KINDS["smt_on"](tmp_path)
    assert told(tmp_path, capsys, "--expect", expect)[0] == code


def test_metrics_are_written_whole_and_can_be_read_by_all(tmp_path: Path, capsys: Capture) -> None:
    KINDS["smt_on"](tmp_path / "host")
    file = tmp_path / "l1tf.prom"
    assert told(tmp_path / "host", capsys, "--prometheus", "--output", str(file)) == (2, "")
    text = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) & 0o444 == 0o444
    sample = re.compile(r'[a-z_0-9]+(\{([a-z_]+="([^"\\\n]|\\.)*"(,(?!\}))?)+\})? (NaN|[0-9.]+)')
    described = set()
    for line in text.splitlines():
        if line.startswith("# "):
            described.add(line.split()[2])
        else:
            assert sample.fullmatch(line), line
            assert line.split("{")[0].split()[0] in described
    assert 'l1dflush_l1tf_verdict{state="partially-mitigated"} 1' in text
    assert text.count("l1dflush_l1tf_verdict{") == len(L1tfVerdict)
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--json", "--prometheus"], "--json and --prometheus exclude each other"),
        (["--json", "--explain"], "--explain is for people"),
        (["--from", "x"], "--from and --sysroot exclude each other"),
        (["--output", "/nowhere/at/all"], "there is no such folder"),
        (["--module", "/nowhere.ko"], "/nowhere.ko"),
        (["--expect", "fine"], "--expect"),
    ],
)
def test_what_makes_no_sense(options: list[str], says: str, tmp_path: Path, capsys: Capture) -> None:
    KINDS["smt_on"](tmp_path)
    assert main(["status", "--sysroot", str(tmp_path), *options]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_full_disk_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    KINDS["smt_on"](tmp_path)
    assert main(["status", "--sysroot", str(tmp_path), "--output", "/dev/full"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_what_if_of_a_folder(tmp_path: Path, capsys: Capture) -> None:
    KINDS["smt_on"](tmp_path)
    assert main(["what-if", "--sysroot", str(tmp_path), "--cmdline", "l1tf=full,force", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema("what-if-host")).validate(document)
    assert document["after"][0]["sysfs"] == "Mitigation: PTE Inversion; VMX: cache flushes, SMT disabled"
    assert main(["what-if", "--sysroot", str(tmp_path), "--matrix", "--microcode", "no", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema("matrix")).validate(document)
    assert document["mechanism"] == "software"
    assert main(["what-if", "--sysroot", str(tmp_path)]) == 1
    assert main(["what-if", "--facts", "-", "--smt", "off"]) == 1
    assert main(["what-if", "--sysroot", str(tmp_path), "--kernel", "latest"]) == 1
    assert capsys.readouterr().err.count("\n") == 3


def test_a_module_that_is_shipped_and_no_module_gives_way_to_what_is_built_in(tmp_path: Path, capsys: Capture) -> None:
    host = KINDS["without_microcode"](tmp_path)
    path = "/lib/modules/6.1.0-31-amd64/kernel/arch/x86/kvm/kvm-intel.ko"
    host.write(path, b"\x7fELF and no more")
    code, out = told(tmp_path, capsys, "--json")
    flush = json.loads(out)["software_flush"]
    assert (code, flush["verdict"], flush["source"], flush["used"]) == (2, "PROVED", "linux-4.18", True)
    assert "kvm-intel.ko could not be followed" in flush["reason"]
    # One that was named is what is asked about.
    assert main(["status", "--sysroot", str(tmp_path), "--module", str(host.at(path))]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
def test_the_module_that_is_shipped_is_what_is_proved(tmp_path: Path, capsys: Capture) -> None:
    host = KINDS["without_microcode"](tmp_path)
    path = "/lib/modules/6.1.0-31-amd64/updates/kvm-intel.ko"
    host.write(path, kernel_modules.build(Module()))
    flush = json.loads(told(tmp_path, capsys, "--json")[1])["software_flush"]
    assert (flush["verdict"], flush["source"], flush["reason"]) == ("PROVED", str(host.at(path)), "")
    assert flush["routine"]["kind"] == "object"


@pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
@pytest.mark.parametrize("linked", ["folder", "file"])
def test_links_to_the_module_are_followed_inside_the_folder_only(linked: str, tmp_path: Path, capsys: Capture) -> None:
    host = KINDS["without_microcode"](tmp_path / "host")
    release, rest = "6.1.0-31-amd64", "updates/kvm-intel.ko"
    outside = tmp_path / "outside"
    (outside / release / "updates").mkdir(parents=True)
    (outside / release / rest).write_bytes(kernel_modules.build(Module(name="elsewhere")))
    host.write(f"{outside}/{release}/{rest}", kernel_modules.build(Module()))
    link = host.at("/lib/modules" if linked == "folder" else f"/lib/modules/{release}/{rest}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside if linked == "folder" else outside / release / rest)
    flush = json.loads(told(tmp_path / "host", capsys, "--json")[1])["software_flush"]
    assert (flush["verdict"], flush["source"]) == ("PROVED", str(host.at(f"{outside}/{release}/{rest}")))
    assert flush["routine"]["name"] != "elsewhere"
