# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU files: inheritance, the user's own folders, and errors that say what to write."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from l1dflush.cache.cpu_files import CpuFile, parse_cpu_files
from l1dflush.cache.cpus import Certainty
from l1dflush.cache.geometry import Geometry
from l1dflush.data.catalogue import load_catalogue, read_folder
from l1dflush.errors import InputError

K32 = Geometry(32 * 1024, 8, 64)
K48 = Geometry(48 * 1024, 12, 64)

# --- inheritance and layers

FULL = """
title = "Mine"
year = 2020
vendor = "Me"
isa = "x86"
notes = ["a note"]
[l1tf]
affected = true
source = "tested"
certainty = "measured"
[l1d]
size = "32K"
ways = 8
line = 64
source = "CPUID"
certainty = "documented"
[policy]
name = "LRU"
source = "guessed"
certainty = "inferred"
[cpuid]
models = [{ family = 6, model = 1 }, { family = 6, model = [2, 4], steppings = [0, 3], core = "P" }]
source = "CPUID"
certainty = "documented"
"""


def test_a_file_without_a_parent() -> None:
    cpu = parse_cpu_files({"mine.toml": FULL}).get("mine")
    assert cpu.name == "mine"
    assert (cpu.geometry, cpu.policy, cpu.policy_certainty) == (K32, "LRU", Certainty.INFERRED)
    assert cpu.notes == ("a note",)
    assert cpu.models[1].models == (2, 4)
    assert cpu.models[1].steppings == (0, 3)


def test_a_chain_of_parents() -> None:
    """A value may come from above; the source is always of the nearest file that has the table."""
    files = {
        "a.toml": FULL,
        "b.toml": 'title="B"\nyear=2021\nparent="a"\n[policy]\nsource="like A"\ncertainty="measured"\n',
        "c.toml": 'title="C"\nyear=2022\nparent="b"\n[l1d]\nsize=49152\nways=12\nsource="s"\ncertainty="inferred"\n',
        "d.toml": 'title="D"\nyear=2023\nparent="c"\nnotes=[]\n',
    }
    catalogue = parse_cpu_files(files)
    b, c, d = (catalogue.get(name) for name in "bcd")
    assert (b.policy, b.policy_source, b.policy_certainty) == ("LRU", "like A", Certainty.MEASURED)
    assert (c.policy_source, c.geometry, c.geometry_source) == ("like A", K48, "s")
    assert (c.notes, d.notes) == (("a note",), ())
    assert b.models == () and b.models_source is None
    assert b.l1tf_affected and b.l1tf_source == "tested"


def test_a_user_file_replaces_a_bundled_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "skylake.toml").write_text(
        'title="My Skylake"\nyear=2015\nparent="skylake"\n'
        '[policy]\nname="bit-PLRU"\nsource="mine"\ncertainty="measured"\n'
    )
    (tmp_path / "next.toml").write_text('title="Next"\nyear=2030\nparent="skylake"\n')
    before = load_catalogue(environment={})
    after = load_catalogue([tmp_path], environment={})
    assert len(after) == len(before) + 1
    assert after.get("skylake").policy == "bit-PLRU"
    assert after.get("skylake").geometry == K32
    assert after.get("next").policy == "bit-PLRU"
    assert after.get("my skylake").name == "skylake"
    # skylake-sp inherits from the bundled file, whatever the user thinks of Skylake.
    assert after.get("skylake-sp") == before.get("skylake-sp")


def test_the_option_is_stronger_than_the_variable_and_the_last_folder_strongest(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
        (folder / "mine.toml").write_text(FULL.replace('"Mine"', f'"Mine of {folder.name}"'))
    listed = os.pathsep.join(["", str(folders[0]), "", str(folders[1])])
    environment = {"L1DFLUSH_CPUS": listed}
    assert load_catalogue(environment=environment).get("mine").title == "Mine of two"
    assert load_catalogue([folders[2]], environment=environment).get("mine").title == "Mine of three"
    assert load_catalogue(folders[:2], environment={}).get("mine").title == "Mine of two"


def test_the_variable_is_read_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(FULL)
    monkeypatch.setenv("L1DFLUSH_CPUS", str(tmp_path))
    assert load_catalogue().get("mine").vendor == "Me"
    monkeypatch.delenv("L1DFLUSH_CPUS")
    with pytest.raises(InputError):
        load_catalogue().get("mine")


# --- what is refused, and in which words


def _error(*layers: dict[str, str]) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_cpu_files(*layers)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "what", "hint"),
    [
        ("[l1d]", "[l1d", "is not TOML: .*line 1[12]", "l1dflush help cpus"),
        ('title = "Mine"', "", "title is missing", 'title = "Skylake"'),
        ("year = 2020", 'year = "2020"', "year cannot be '2020'", "year = 2015"),
        ("year = 2020", "year = 2020-01-01", "year cannot be 2020-01-01", "year = 2015"),
        ('vendor = "Me"', "", "vendor is missing", "or name a parent"),
        ('isa = "x86"', 'isa = "mips"', "isa cannot be 'mips'", "one of x86, arm, power, riscv"),
        ('vendor = "Me"', 'vendro = "Me"', "unknown key 'vendro'", "did you mean 'vendor'"),
        ("ways = 8", "way = 8", "unknown key 'l1d.way'", "did you mean 'ways'"),
        ("ways = 8", "zzz = 8", "unknown key 'l1d.zzz'", "known here: source, certainty, size, ways, line"),
        ("ways = 8", 'ways = "8"', "l1d.ways cannot be '8'", "ways = 8"),
        ("ways = 8", "ways = true", "l1d.ways cannot be true", "ways = 8"),
        ("ways = 8", "ways = 8.0", "l1d.ways cannot be 8.0", "ways = 8"),
        ("ways = 8", "ways = 99", "l1d: a cache of 99 ways", "1 to 16 ways"),
        ("ways = 8", "ways = 3", "l1d: .*not a whole number of sets", "size ="),
        ("ways = 8", "", "l1d.ways is missing", "ways = 8, or name a parent"),
        ('size = "32K"', 'size = "big"', "l1d.size 'big' is not a size", "32K"),
        ('size = "32K"', "size = true", "l1d.size cannot be true", "32K"),
        ('size = "32K"', 'size = "32M"', "l1d.size cannot be '32M'", 'size = "32K"'),
        ('size = "32K"', "size = -1", "l1d: -1 bytes", "size ="),
        ("affected = true", 'affected = "yes"', "l1tf.affected cannot be 'yes'", "true or false"),
        ('source = "tested"', "", "l1tf.source is missing", "who says so"),
        ('certainty = "measured"', "", "l1tf.certainty is missing", "learned-from-silicon, measured"),
        ('certainty = "measured"', 'certainty = "sure"', "l1tf.certainty cannot be 'sure'", "documented"),
        (
            'source = "guessed"',
            'source = " "',
            "policy.source must be one line of printable text",
            "who says",
        ),
        ('source = "guessed"', 'source = "a\\u001b[2J"', "policy.source must be one line", "who says"),
        ('name = "LRU"', "", "policy.name is missing", '"unknown"'),
        ('name = "LRU"', 'name = "unknown"', "'unknown' does not go with .*'inferred'", "unknown certainty"),
        ('certainty = "inferred"', 'certainty = "unknown"', "'LRU' does not go with .*'unknown'", "unknown"),
        ('name = "LRU"', f'name = "{"L" * 121}"', "policy.name is too long", "tree-PLRU"),
        ('title = "Mine"', 'name = "mine"\ntitle = "Mine"', "unknown key 'name'", "the file's own name"),
        ("model = 1", "model = 256", "cpuid.models.1.model is out of range", "0 to 255"),
        ("model = 1", "model = true", "cpuid.models.1.model is neither", "0 to 255"),
        ("model = [2, 4]", "model = [4, 2]", "cpuid.models.2.model is out of range", "0 to 255"),
        ("model = [2, 4]", "model = [2, 3, 4]", "cpuid.models.2.model is neither a number nor two", "0x5E"),
        ("steppings = [0, 3]", "steppings = 3", "cpuid.models.2.steppings must be two", "0 to 15"),
        ('core = "P"', 'core = "LP"', "cpuid.models.2.core cannot be 'LP'", "hybrids only"),
        ('core = "P"', 'cores = "P"', "unknown key 'cpuid.models.cores'|unknown key", "did you mean 'core'"),
        ("family = 6, model = 1 ", "model = 1 ", "cpuid.models.1.family is missing", "family = 6"),
        ('notes = ["a note"]', 'notes = "a note"', "notes cannot be 'a note'", "notes ="),
        ('notes = ["a note"]', "notes = [3]", "notes.1 cannot be 3", "notes ="),
    ],
)
def test_a_wrong_value_is_named_with_what_to_write(old: str, new: str, what: str, hint: str) -> None:
    text = FULL.replace(old, new, 1)
    assert text != FULL
    error = _error({"folder/mine.toml": text})
    assert error.where == "folder/mine.toml"
    assert re.search(what, error.what), str(error)
    assert hint in str(error.hint)


def test_models_must_not_be_empty() -> None:
    start = FULL.index("models = ")
    text = FULL[:start] + "models = []" + FULL[FULL.index("\n", start) :]
    assert "cpuid.models is too short" in str(_error({"mine.toml": text}))


def test_a_table_where_a_value_belongs_and_the_reverse() -> None:
    assert "l1d cannot be 5" in str(_error({"mine.toml": 'title="A"\nyear=2000\nl1d=5\n'}))
    assert "a table [l1d] with size" in str(_error({"mine.toml": 'title="A"\nyear=2000\nl1d=5\n'}))
    assert "title cannot be a table" in str(_error({"mine.toml": "year=2000\n[title]\na=1\n"}))


def test_parents_that_are_missing_or_go_round() -> None:
    child = 'title="{0}"\nyear=2000\nparent="{1}"\n'
    missing = _error({"a.toml": FULL, "b.toml": child.format("B", "aa")})
    assert (missing.where, missing.what) == ("b.toml", "parent: no CPU file is called 'aa'")
    assert missing.hint == "did you mean 'a'?"
    assert "is its own parent" in str(_error({"b.toml": child.format("B", "b")}))
    ring = {name: child.format(name, parent) for name, parent in (("a", "b"), ("b", "c"), ("c", "a"))}
    assert "goes round in a circle: a -> b -> c -> a" in str(_error(ring))
    tail = {"x": child.format("x", "a"), **ring}
    assert "goes round in a circle" in str(_error(tail))
    # A later layer cannot be a parent of an earlier one.
    assert "no CPU file is called 'a'" in str(_error({"b.toml": child.format("B", "a")}, {"a.toml": FULL}))


def test_there_may_be_sixteen_parents_and_not_more() -> None:
    files = {"c0.toml": FULL}
    for number in range(1, 18):
        files[f"c{number}.toml"] = f'title="C{number}"\nyear=2000\nparent="c{number - 1}"\n'
    assert "more than 16 one above the other" in str(_error(files))
    del files["c17.toml"]
    assert parse_cpu_files(files).get("c16").geometry == K32


@pytest.mark.parametrize("name", ["Skylake.toml", "a b.toml", ".toml", "a/.toml", "ä.toml", "x" * 64])
def test_file_names_that_are_no_cpu_names(name: str) -> None:
    assert "a CPU file's name is the CPU's name" in str(_error({name: FULL}))


def test_the_same_name_or_title_twice_in_a_layer() -> None:
    assert "'a' is also one/a.toml" in str(_error({"one/a.toml": FULL, "two/a.toml": FULL}))
    assert "'mine' also means a" in str(_error({"a.toml": FULL, "b.toml": FULL}))
    alias = FULL.replace('"Mine"', '"B"\naliases = ["MINE"]')
    assert "'mine' also means a" in str(_error({"a.toml": FULL, "b.toml": alias}))


@pytest.mark.parametrize(
    "text",
    [
        "a=" + "[" * 10_000,
        "a=" + "{a=" * 4_000,
        "a=" + "9" * 10_000,
        "title = '\0'",
        "year = 0x" + "f" * 10_000,
        "title." + "a." * 5_000 + "b = 1",
        "[" + "a." * 5_000 + "b]",
        "\x1b[2J",
        "[a]\n[a]\n",
        "x" * 10_000,
    ],
)
def test_hostile_texts_are_errors_of_one_short_line(text: str) -> None:
    error = str(_error({"bad.toml": text}))
    assert len(error) < 500
    assert error.isprintable()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def refuse(what: str) -> None:
        with pytest.raises(InputError, match=what) as caught:
            load_catalogue([tmp_path], environment={})
        assert str(tmp_path) in str(caught.value.where)
        for entry in tmp_path.iterdir():
            entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    refuse("there is no CPU file in it")
    (tmp_path / "big.toml").write_bytes(b"#" * (10 << 20))
    refuse("more than 16384 bytes")
    (tmp_path / "latin.toml").write_bytes(FULL.encode().replace(b"Mine", b"M\xe4ne"))
    refuse("is not UTF-8 at byte")
    (tmp_path / "folder.toml").mkdir()
    refuse("this is a directory")
    os.mkfifo(tmp_path / "pipe.toml")
    refuse("nobody writes to this named pipe")
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    refuse("cannot be read: No such file")
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    refuse("cannot be read")
    (tmp_path / ".hidden.toml").write_text("not toml")
    (tmp_path / "readme.txt").write_text("not toml")
    refuse("there is no CPU file in it")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "mine.toml").write_text(FULL)
    # chmod would not stop root.
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=r"mine\.toml: cannot be read: Permission denied"):
        read_folder(tmp_path)


def test_folders_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="cannot be read: Not a directory"):
        load_catalogue([file], environment={})
    with pytest.raises(InputError, match=r"^L1DFLUSH_CPUS: .*cannot be read: No such file"):
        load_catalogue(environment={"L1DFLUSH_CPUS": str(tmp_path / "nowhere")})
    with pytest.raises(InputError, match="cannot be read: embedded null byte"):
        load_catalogue([Path("a\0b")], environment={})


def test_the_file_format_has_a_schema() -> None:
    schema = CpuFile.model_json_schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["title", "year"]
