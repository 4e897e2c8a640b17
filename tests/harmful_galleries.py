"""Galleries that were made to hang, to mislead or to exhaust whoever opens them."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from lightface.errors import LightfaceError
from lightface.gallery import Gallery, NewSample, StoredThreshold, open_gallery

PAGE: Final = 4096
ENDLESS: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
_TABLES: Final = ("setting", "person", "sample", "threshold", "log")


def new_sample(photo: int) -> NewSample:
    vector = np.random.default_rng(photo).normal(size=256)
    return NewSample(
        vector=(vector / np.linalg.norm(vector)).astype(np.float32),
        model_id="model-a",
        source_path=f"/photos/{photo}.jpg",
        image_sha256=hashlib.sha256(f"photo {photo}".encode()).hexdigest(),
    )


def make_gallery(path: Path) -> None:
    """A sound one, in one file, with something in each table and a text of several pages."""
    with open_gallery(path, create=True) as gallery:
        gallery.log.set_days(0)
        gallery.enroll("Ada", [new_sample(1), new_sample(2)], metadata={"note": "x" * 9000})
        gallery.enroll("Bob", [new_sample(3)])
        gallery.set_threshold(StoredThreshold(1e-3, 0.4, "pairs.csv"))
    raw(path, "PRAGMA journal_mode = DELETE")


def declare_something_else(path: Path, dice: Random) -> None:
    """A view, trigger, virtual table, generated column or index, under some name."""
    table, other = dice.sample(_TABLES, 2)
    raw(
        path,
        *dice.choice(
            [
                (f"DROP TABLE {table}", f"CREATE VIEW {table} AS {ENDLESS} SELECT i AS id, 'Ada' AS name FROM n"),
                (f"DROP TABLE {table}", f"CREATE VIEW {table} AS SELECT zeroblob(900000000) AS value, * FROM {other}"),
                (f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {other}; END",),
                (f"CREATE TRIGGER t AFTER UPDATE ON {table} BEGIN DELETE FROM {other}; END",),
                (f"DROP TABLE {table}", f"CREATE VIRTUAL TABLE {table} USING fts5(name, value)"),
                (f"ALTER TABLE {table} ADD COLUMN long TEXT AS (hex(zeroblob(400000000)))",),
                (f"CREATE INDEX i ON {table} (hex(zeroblob(1000)))",),
                (f"CREATE TABLE more_{dice.randrange(99)} (a)",),
            ]
        ),
    )


def repeat_rows(path: Path, dice: Random) -> None:
    """A table each of whose rows comes again more often than anybody could read."""
    multiply(path, dice.choice(_TABLES), levels=dice.randint(4, 12), keys=dice.randint(20, 120))


def change_a_pointer(path: Path, dice: Random) -> None:
    """A page that says of another, or itself, that it comes next."""
    data = bytearray(path.read_bytes())
    count = len(data) // PAGE
    for _ in range(dice.randint(1, 3)):
        start = PAGE * dice.randrange(1, count) + dice.choice([0, 0, 8])  # where a text goes on, or a tree does
        data[start : start + 4] = struct.pack(">I", dice.randrange(1, count + 1))
    path.write_bytes(data)


def swap_pages(path: Path, dice: Random) -> None:
    """Two pages, each in the place of the other."""
    data = bytearray(path.read_bytes())
    one, other = (PAGE * number for number in dice.sample(range(1, len(data) // PAGE), 2))
    data[one : one + PAGE], data[other : other + PAGE] = data[other : other + PAGE], data[one : one + PAGE]
    path.write_bytes(data)


def swap_names(path: Path, _: Random) -> None:
    """Two people, each found under the name of the other."""
    raw(
        path,
        "CREATE TEMP TABLE old AS SELECT id, name_key FROM person",
        "UPDATE person SET name_key = 'x' WHERE id = 1",
        "UPDATE person SET name_key = (SELECT name_key FROM old WHERE id = 1) WHERE id = 2",
        "UPDATE person SET name_key = (SELECT name_key FROM old WHERE id = 2) WHERE id = 1",
    )


HARM: Final[dict[str, Callable[[Path, Random], None]]] = {
    "declares something else": declare_something_else,
    "table without end": repeat_rows,
    "pages that point anywhere": change_a_pointer,
    "pages swapped": swap_pages,
    "names swapped": swap_names,
}


def raw(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def use(path: Path) -> list[str]:
    """Call each method of a gallery; their complaints, each a LightfaceError of one line."""
    methods: list[Callable[[Gallery], object]] = [
        Gallery.people,
        Gallery.samples,
        Gallery.matrix,
        Gallery.stats,
        Gallery.thresholds,
        lambda gallery: gallery.log.entries(),
        _find_ada,
        lambda gallery: gallery.enroll("Ada", [new_sample(99)]),
        lambda gallery: gallery.remove_person("Bob"),
        lambda gallery: gallery.export_to(path.with_name("export.jsonl")),
    ]
    said = []
    try:
        with open_gallery(path) as gallery:
            for method in methods:
                try:
                    method(gallery)
                except LightfaceError as error:
                    said.append(str(error))
    except LightfaceError as error:
        said.append(str(error))
    assert not [line for line in said if "\n" in line]
    return said


def _find_ada(gallery: Gallery) -> None:
    found = gallery.find_person("Ada")
    assert found is None or found.name == "Ada"


def interior_page(child: int, keys: int) -> bytes:
    """A page of a table's tree all of whose children are one page."""
    cells = [struct.pack(">I", child) + bytes([number]) for number in range(1, keys + 1)]  # a key below 128 is a byte
    starts = [PAGE - 5 * (number + 1) for number in range(keys)]
    page = bytearray(PAGE)
    page[:12] = struct.pack(">BHHHBI", 5, 0, keys, starts[-1], 0, child)
    page[12 : 12 + 2 * keys] = struct.pack(f">{keys}H", *starts)
    for start, cell in zip(starts, cells, strict=True):
        page[start : start + 5] = cell
    return bytes(page)


def multiply(path: Path, table: str, *, levels: int, keys: int = 120) -> None:
    """Let each row of a table come again `keys` to the power of `levels` times, in some more pages."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    connection.close()
    data = bytearray(path.read_bytes())
    leaf = data[(root - 1) * PAGE : root * PAGE]
    while leaf[0] == 5:
        (child,) = struct.unpack(">I", leaf[8:12])
        leaf = data[(child - 1) * PAGE : child * PAGE]
    assert leaf[0] == 13
    data += leaf
    for _ in range(levels - 1):
        data += interior_page(len(data) // PAGE, keys)
    data[(root - 1) * PAGE : root * PAGE] = interior_page(len(data) // PAGE, keys)
    data[28:32] = struct.pack(">I", len(data) // PAGE)
    path.write_bytes(data)
