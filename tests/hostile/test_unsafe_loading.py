"""What a file says is never run, followed out of its folder, or taken for SQL."""

from __future__ import annotations

import ast
import io
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from soaking import Soak

import lightface
from lightface.crops import ShardReader
from lightface.errors import LightfaceError
from lightface.gallery import Gallery, NewSample, open_gallery

PACKAGE = Path(lightface.__file__).parent
# Who may unpickle: worker processes what the process sends that gives them work.
UNPICKLERS = {"batch/local.py", "batch/ray_engine.py"}
NEVER = {"eval", "exec", "compile", "os.system", "os.popen", "runpy.run_path"}


@cache
def calls() -> list[tuple[str, ast.Call, str]]:
    """Every call in the package: where, what, and by which dotted name."""
    return [
        (str(file.relative_to(PACKAGE)), node, ast.unparse(node.func))
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def test_nothing_is_unpickled_freely() -> None:
    for file, call, name in calls():
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", f"{file}, line {call.lineno}"
        if name == "np.load":
            assert keywords.get("allow_pickle", "False") == "False", f"{file}, line {call.lineno}"
        if name.startswith("pickle.load"):
            assert file in UNPICKLERS, f"{file}, line {call.lineno}"
        assert keywords.get("shell") != "True", f"{file}, line {call.lineno}"


def test_nothing_is_run_or_unpacked() -> None:
    for file, call, name in calls():
        assert name not in NEVER and not name.endswith((".extract", ".extractall")), (
            f"{file}, line {call.lineno}: {name}"
        )


def test_values_get_into_sql_as_parameters_only() -> None:
    """What is put into a statement is the name of a table, a list of columns or question marks: no value."""
    for file, call, name in calls():
        if name.split(".")[-1] not in ("execute", "executemany", "executescript", "_query", "_stream", "_run", "_read"):
            continue
        for part in ast.walk(call.args[0]) if call.args else ():
            if isinstance(part, ast.FormattedValue):
                text = ast.unparse(part.value)
                assert not any(word in text for word in ("path", "person.", "sample.", "key", "url")), f"{file}: {text}"


TRICKS = [
    "'); DROP TABLE person; --",
    '" OR 1=1 --',
    "%",
    "_",
    "\\",
    "?",
    ":name",
    "<script>alert(1)</script>",
    "a' 'b",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_names_and_paths_are_no_sql(trick: str, tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    vector = np.eye(1, 256, dtype=np.float32)[0]
    with open_gallery(path, create=True) as gallery:
        for number, name in enumerate(["Ada", f"Bo {trick}"]):
            sample = NewSample(vector=vector, model_id=trick, source_path=f"/{trick}", image_sha256=f"{number:064x}")
            gallery.enroll(name, [sample], metadata={trick: trick})
        check_both_are_there(gallery, trick)
        gallery.rename_person("Ada", f"Ada {trick}")
        gallery.export_to(tmp_path / "export.jsonl")
    with open_gallery(tmp_path / "copy.sqlite", create=True) as copy:
        copy.import_from(tmp_path / "export.jsonl")
        assert (found := copy.find_person(f"ada {trick}".upper())) is not None and found.metadata == {trick: trick}
        check_both_are_there(copy, trick)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_both_are_there(gallery: Gallery, trick: str) -> None:
    assert len(gallery.people()) == 2
    assert {sample.source_path for sample in gallery.samples()} == {f"/{trick}"}
    assert gallery.model_id == trick
    with pytest.raises(LightfaceError):
        gallery.samples(trick)


PROTOCOLS = (2, pickle.HIGHEST_PROTOCOL)  # torch's, and all that pickles can do


class Payload:
    """Leaves a file behind where it is unpickled freely."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_runs_nothing_at_any_door(tmp_path: Path, soak: Soak) -> None:
    from doors import DOORS  # which imports torch

    mark = tmp_path / "it ran"
    for door in DOORS:
        for protocol in PROTOCOLS:
            data = pickle.dumps({"state_dict": Payload(mark)}, protocol)
            array = io.BytesIO()
            np.save(array, np.array([Payload(mark)], dtype=object), allow_pickle=True)
            zipped = io.BytesIO()
            with zipfile.ZipFile(zipped, "w") as archive:
                archive.writestr("archive/data.pkl", data)
                archive.writestr("archive/version", "3\n")
                archive.writestr("embedding.npy", array.getvalue())
            for content in (data, array.getvalue(), zipped.getvalue()):
                (tmp_path / door.name).write_bytes(content)
                with pytest.raises(LightfaceError):
                    door.enter(tmp_path / door.name)
    assert not mark.exists()
    soak.record("file that would run something", "each reader", injected=len(DOORS) * 3 * len(PROTOCOLS))


SECRET = b"not of this shard"


def tricky_members(outside: Path) -> Iterator[tarfile.TarInfo]:
    """Members that would read or write elsewhere if they were unpacked."""
    for name in (
        "../up.png",
        "/abs.png",
        "a/../../up.png",
        str(outside),
        "./../x",
        "..",
        "con",
        "a\\..\\b",
        "\n",
        "é" * 90,
    ):
        yield tarfile.TarInfo(name)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        for target in (str(outside), f"../{outside.name}", "loop.png", "/dev/zero"):
            link = tarfile.TarInfo("loop.png" if target == "loop.png" else f"link {target}.png")
            link.type, link.linkname = kind, target
            yield link
    for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.CONTTYPE):
        device = tarfile.TarInfo(f"device {kind!r}")
        device.type, device.devmajor, device.devminor = kind, 1, 5
        yield device


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_a_shard_stay_in_it(tmp_path: Path, soak: Soak) -> None:
    outside, folder = tmp_path / "secret.png", tmp_path / "shards"
    outside.write_bytes(SECRET)
    folder.mkdir()
    members = list(tricky_members(outside))
    with tarfile.open(folder / "crops.tar", "w") as tar:
        for member in members:
            member.size = 0 if member.type != tarfile.REGTYPE else 4
            tar.addfile(member, io.BytesIO(b"crop"))
    with zipfile.ZipFile(folder / "crops.zip", "w") as archive:
        for member in members:
            archive.writestr(zipfile.ZipInfo(member.name), b"crop")
    before = sorted(tmp_path.rglob("*"))
    with ShardReader() as shards:
        for member in members:
            for shard in ("crops.tar", "crops.zip"):
                try:
                    assert shards.read(folder / shard, member.name) in (b"", b"crop")
                except LightfaceError as error:
                    assert SECRET.decode() not in str(error)
    assert sorted(tmp_path.rglob("*")) == before
    assert outside.read_bytes() == SECRET
    soak.record("member that points out of its shard", "tar and zip", injected=2 * len(members))
