# SPDX-License-Identifier: GPL-2.0-or-later
"""Several inputs taken together, through the command line."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from l1dflush.cli.main import main

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.skipif(
    not (shutil.which("as") and shutil.which("cc")), reason="needs the system's assembler and C compiler"
)

ENTRY = """        .text
        .globl  l1d_flush
        .type   l1d_flush, @function
l1d_flush:
        {load}
        xorl    %eax, %eax
1:      movzbl  (%rdi,%rax), %ecx
        addl    $64, %eax
        cmpl    $65536, %eax
        jne     1b
        lfence
        ret
        .size   l1d_flush, .-l1d_flush
"""
STORAGE = ENTRY.format(load="lea     flush_pages(%rip), %rdi")
POINTER = ENTRY.format(load="mov     flush_pages(%rip), %rdi")


def write(folder: Path, **texts: str) -> list[str]:
    """Files called ``entry_s`` for ``entry.s``."""
    names = []
    for name, text in texts.items():
        path = folder / ".".join(name.rsplit("_", 1))
        path.write_text(text)
        names.append(str(path))
    return names


def run(capsys: Capture, *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    status = main([*arguments, "--json"])
    out, err = capsys.readouterr()
    assert not err and "Traceback" not in out
    return status, json.loads(out)


def verified(capsys: Capture, *arguments: str) -> Any:
    return run(capsys, "verify", *arguments, "--cpu", "skylake")[1]


def refused(capsys: Capture, *arguments: str) -> str:
    capsys.readouterr()
    status = main(["verify", *arguments])
    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err.startswith("l1dflush: ") and err.count("\n") == 1
    return err


def found(result: Any) -> dict[str, str]:
    return {finding["id"]: finding["message"] for finding in result["findings"]}


def test_the_size_decides_whether_its_own_storage_was_meant(tmp_path: Path, capsys: Capture) -> None:
    (entry,) = write(tmp_path, entry_s=STORAGE)
    alone = verified(capsys, entry)
    assert found(alone)["own-storage"].startswith("`flush_pages` has no size in this input, and 65473 bytes")
    result = verified(capsys, entry, *write(tmp_path, setup_c="void *flush_pages;\n"))
    assert found(result)["own-storage"].startswith("`flush_pages` has 8 bytes, and 65473 bytes")
    for text in ("char flush_pages[65536];\n", "static int other;\nchar flush_pages[1 << 16] = { 1 };\n"):
        result = verified(capsys, entry, *write(tmp_path, setup_c=text))
        assert not found(result).keys() & {"own-storage", "outside-buffer"}
        assert result["buffer"]["region"] == {"kind": "symbol", "names": ["flush_pages"]}
        assert (result["buffer"]["size"], result["buffer"]["bytes_spanned"]) == (65536, 65473)
        assert result["verdict"] == "PROVED"
        assert result["routine"]["source"] == entry
        assert result["routine"]["sources"] == [entry, str(tmp_path / "setup.c")]


def test_reads_behind_the_array(tmp_path: Path, capsys: Capture) -> None:
    names = write(tmp_path, entry_s=STORAGE, setup_c="char flush_pages[61440];\nint behind;\n")
    assert found(verified(capsys, *names))["outside-buffer"] == "4033 bytes beyond the 61440 of `flush_pages` are read"


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_pointer_of_another_file_points_to(order: int, tmp_path: Path, capsys: Capture) -> None:
    names = write(tmp_path, entry_s=POINTER, setup_c="void *flush_pages;\n")[::order]
    result = verified(capsys, *names)
    assert "own-storage" not in found(result)
    assert result["buffer"]["region"] == {"kind": "pointed-to", "names": ["flush_pages"]}
    assert result["verdict"] == "PROVED" and result["routine"]["sources"] == names


def test_objects_and_texts_mixed(tmp_path: Path, capsys: Capture) -> None:
    entry, setup = write(tmp_path, entry_s=STORAGE, setup_s=".comm flush_pages, 65536, 4096\n")
    for source, target in ((entry, "entry.o"), (setup, "setup.o")):
        subprocess.run(["as", "-o", tmp_path / target, source], check=True)
    expected = [(e["kind"], e["region"], e["offset"]) for e in events(capsys, entry, setup)]
    assert len(expected) > 1024
    for one, other in ((entry, "setup.o"), ("entry.o", setup), ("entry.o", "setup.o")):
        got = events(capsys, str(tmp_path / one), str(tmp_path / other))
        assert [(e["kind"], e["region"], e["offset"]) for e in got] == expected


def events(capsys: Capture, *arguments: str) -> Any:
    status, result = run(capsys, "trace", *arguments)
    assert status == 0
    return result["paths"][0]["events"]


CALLER = """
extern void *flush_pages;
static int size = 7;
static void touch(char *p) { asm volatile("movzbl (%0), %%eax" :: "r"(p) : "eax", "memory"); }
void walk(char *p, int step);
int of_nobody(void) { return size; }
void l1d_flush(void)
{
	touch(flush_pages);
	walk(flush_pages, 64);
}
"""
CALLED = """
void *flush_pages;
static const int size = 8192;
static void touch(char *p) { asm volatile("movzbl (%0), %%ecx" :: "r"(p) : "ecx"); }
int not_ours(struct kvm_vcpu *vcpu) { return vcpu->arch.size + VMX_SOMETHING; }
int setup(void)
{
	flush_pages = (void *)__get_free_pages(GFP_KERNEL, 4);
	return size;
}
void walk(char *p, int step)
{
	for (long i = 0; i < size; i += step)
		touch(p + i);
}
"""


def test_calls_go_into_the_other_file(tmp_path: Path, capsys: Capture) -> None:
    names = write(tmp_path, entry_c=CALLER, walk_c=CALLED)
    result = verified(capsys, *names)
    assert result["routine"]["name"] == "l1d_flush" and result["routine"]["source"] == names[0]
    assert result["buffer"]["region"] == {"kind": "pointed-to", "names": ["flush_pages"]}
    assert result["paths"][0]["loads"] == 1 + 128
    assert not [run for run in result["paths"][0]["runs"] if run["kind"] == "call"]
    # What only the other file's text shows is told, too.
    (where,) = (f["where"] for f in result["findings"] if f["id"] == "no-memory-clobber")
    assert where["file"].endswith("walk.c") and where["line"] == 4
    assert "flush_pages" in found(result)["buffer-not-initialised"]
    assert any((run["where"]["file"] or "").endswith("walk.c") for run in result["paths"][0]["runs"])
    assert any((run["where"]["file"] or "").endswith("entry.c") for run in result["paths"][0]["runs"])
    assert any("C becomes the machine code" in one["text"] for one in result["scope"]["taken_for_granted"])


def test_statics_of_one_name_stay_apart(tmp_path: Path, capsys: Capture) -> None:
    text = """static char pages[%d] __attribute__((aligned(4096)));
void %s_flush(void)
{
	for (long i = 0; i < %d; i += 64)
		asm volatile("movzbl (%%0), %%%%eax" :: "r"(pages + i) : "eax", "memory");
}
"""
    names = write(tmp_path, one_c=text % (65536, "one", 65536), two_c=text % (32768, "two", 32768))
    assert "several functions walk a buffer: one_flush, two_flush" in refused(capsys, *names)
    for function, size in (("one_flush", 65536), ("two_flush", 32768)):
        result = verified(capsys, *names, "--function", function)
        assert result["buffer"]["size"] == size and "outside-buffer" not in found(result)
        assert result["buffer"]["region"]["kind"] == "symbol"
        assert result["buffer"]["region"]["names"][0].startswith("pages")


def test_parameters_and_bindings(tmp_path: Path, capsys: Capture) -> None:
    text = ENTRY.format(load="movl    flush_size(%rip), %edx").replace("$65536", "%edx")
    names = write(tmp_path, entry_s=text, setup_c="int flush_size;\n")
    result = verified(capsys, *names, "--bind", "flush_size=65536")
    assert result["verdict"] == "PROVED" and result["paths"][0]["loads"] == 1024
    result = verified(capsys, *write(tmp_path, entry_s=STORAGE, setup_c="void *flush_pages;\n"),
                      "--bind", "flush_pages=buffer")  # fmt: skip
    assert "own-storage" not in found(result)
    c = "void walk(char *area, long size)\n{\n	for (long i = 0; i < size; i += 64)\n		touch(area + i);\n}\n"
    asm = ".globl touch\n.type touch, @function\ntouch: movzbl (%rdi), %eax\nret\n.size touch, .-touch\n"
    result = verified(capsys, *write(tmp_path, walk_c=c, touch_s=asm), "--function", "walk", "--bind", "size=65536")
    assert result["buffer"]["region"] == {"kind": "pointed-to", "names": ["area"]}
    assert result["routine"]["kind"] == "c" and result["paths"][0]["loads"] == 1024


def test_a_patch_with_what_it_leaves_out(tmp_path: Path, capsys: Capture) -> None:
    code = [
        "extern char flush_pages[];",
        "void l1d_flush(void)",
        "{",
        "	for (long i = 0; i < 65536; i += 64)",
        '		asm volatile("movzbl (%0), %%eax" :: "r"(flush_pages + i) : "eax", "memory");',
        "}",
    ]
    patch = "--- a/flush.c\n+++ b/flush.c\n@@ -0,0 +1,6 @@\n" + "".join(f"+{line}\n" for line in code)
    names = write(tmp_path, fix_patch=patch, setup_s=".globl flush_pages\n.comm flush_pages, 65536, 4096\n")
    result = verified(capsys, *names)
    assert result["routine"]["kind"] == "patch" and result["verdict"] == "PROVED"
    assert result["buffer"]["size"] == 65536
    assert ("flush.c", 5) in {(run["where"]["file"], run["where"]["line"]) for run in result["paths"][0]["runs"]}


def test_a_setup_that_does_not_compile(tmp_path: Path, capsys: Capture) -> None:
    setup = """void *flush_pages;
static int setup_l1d_flush(struct kvm *kvm)
{
	for (int i = 0; i < kvm->pages; i++)
		memset(flush_pages + i * PAGE_SIZE, i + 1, PAGE_SIZE);
	return 0;
}
"""
    entry, text = write(tmp_path, entry_s=POINTER, setup_c=setup)
    assert verified(capsys, entry, text)["routine"]["name"] == "l1d_flush"
    (other,) = write(tmp_path, other_s=POINTER.replace("l1d_flush", "something"))
    assert "'setup_l1d_flush' uses" in refused(capsys, other, text)


def test_an_array_that_the_text_takes_for_a_pointer(tmp_path: Path, capsys: Capture) -> None:
    text = "void l1d_flush(void)\n{\n	for (long i = 0; i < 65536; i += 64)\n		touch(flush_pages[i]);\n}\n"
    names = write(tmp_path, entry_c=text, setup_c="char flush_pages[65536];\n")
    told = refused(capsys, *names)
    assert "uses `flush_pages` without a declaration, and elsewhere that has 65536 bytes" in told


def test_code_of_32_bits(tmp_path: Path, capsys: Capture) -> None:
    text = """        .globl l1d_flush
        .type l1d_flush, @function
l1d_flush: xorl %ecx, %ecx
1:      movl flush_pages(%ecx), %edx
        addl $64, %ecx
        cmpl $65536, %ecx
        jne 1b
        ret
        .size l1d_flush, .-l1d_flush
"""
    entry, setup = write(tmp_path, entry_s=text, setup_s=".comm flush_pages, 65536, 4096\n")
    subprocess.run(["as", "--32", "-o", tmp_path / "setup.o", setup], check=True)
    result = verified(capsys, entry, str(tmp_path / "setup.o"))
    assert result["routine"]["bits"] == 32 and result["buffer"]["size"] == 65536
    told = refused(capsys, str(tmp_path / "setup.o"), *write(tmp_path, other_c="int x;\n"))
    assert "setup.o is 32-bit code and" in told and "other.c is 64-bit code" in told


def test_an_array_that_begins_within_a_line(tmp_path: Path, capsys: Capture) -> None:
    text = STORAGE.replace("addl    $64", "movzbl  96(%rdi,%rax), %ecx\n        addl    $128").replace("65536", "53248")
    setup = ".bss\n.globl flush_pages\n.balign %d\n.type flush_pages, @object\n.size flush_pages, 65536\n"
    setup += "flush_pages: .zero 65536\n"
    result = verified(capsys, *write(tmp_path, entry_s=text, setup_s=setup % 32))
    assert result["verdict"] == "REFUTED"
    assert result["reason"].startswith("`flush_pages` is only 32-byte aligned; with the alignment of a page nothing")
    assert any("`flush_pages` is 32-byte aligned, and" in one["text"] for one in result["scope"]["taken_for_granted"])
    result = verified(capsys, *write(tmp_path, entry_s=text, setup_s=setup % 4096))
    assert result["verdict"] == "PROVED"
    assert any("the buffer is page-aligned" in one["text"] for one in result["scope"]["taken_for_granted"])


def test_what_does_not_go_together(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, other, setup = write(tmp_path, entry_s=STORAGE, other_s=STORAGE, setup_c="void *flush_pages;\n")
    told = refused(capsys, entry, other)
    assert f"multiple definition of `l1d_flush`: in {entry} and in {other}" in told
    assert f"{entry}: it is given twice" in refused(capsys, entry, setup, entry)
    assert "it is given twice" in refused(capsys, entry, str(tmp_path / "." / "entry.s"))
    assert "linux-4.9.120: a built-in routine cannot" in refused(capsys, entry, "linux-4.9.120")
    assert "a linked file cannot be combined" in refused(capsys, entry, sys.executable)
    assert "no such file" in refused(capsys, entry, str(tmp_path / "nothing.c"))
    assert "text of no known kind" in refused(capsys, entry, *write(tmp_path, letter_txt="Dear Sir or Madam,\n"))
    (header,) = write(tmp_path, types_h="struct pages { int x; };\nint f(void);\n")
    assert "no function or variable in it compiles" in refused(capsys, entry, header)
    (bad,) = write(tmp_path, bad_c='void l1d_flush(void)\n{\n	for (;;)\n		asm("" :: "r"(UNKNOWN_NAME));\n}\n')
    assert "UNKNOWN_NAME" in refused(capsys, setup, bad)

    for arguments in (("-", setup), ("-", "-")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(STORAGE.encode())))
        if arguments[1] == setup:
            assert verified(capsys, *arguments)["routine"]["sources"] == ["-", setup]
        else:
            assert "-: it is given twice" in refused(capsys, *arguments)


def test_a_function_is_looked_for_in_all_of_them(tmp_path: Path, capsys: Capture) -> None:
    names = write(tmp_path, entry_s=STORAGE, setup_c="char flush_pages[65536];\nint setup(int x) { return x; }\n")
    result = run(capsys, "trace", *names, "--function", "setup")[1]
    assert (result["routine"]["name"], result["routine"]["kind"]) == ("setup", "c")
    told = refused(capsys, *names, "--function", "l1d_flsh")
    assert "no function 'l1d_flsh'" in told and "l1d_flush" in told
    assert "'flush_pages' is data, not code" in refused(capsys, *names, "--function", "flush_pages")
