"""The commands that change something: what lies there before, what is asked for, and what must hold whatever happens.

Each works on a folder `state`, which a fault may hit, and on photographs in `photos`, which nobody changes.
"""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from faces_of_colour import paint_person
from safetensors.numpy import load_file
from spawning import Spawner

from lightface.errors import GalleryError, LockedGalleryError
from lightface.gallery import Gallery, KeyFile, StoredSample, open_gallery
from lightface.gallery.row_codec import CIPHER_SETTING
from lightface.records import FloatArray
from lightface.tables import read_faces
from lightface.training.run_folder import BEST, LAST, load_checkpoint
from lightface.training.synthetic import write_synthetic_set

GALLERY, FIRST_KEY, SECOND_KEY = "people.sqlite", "first.key", "second.key"  # in `state`

Rows = list[tuple[object, ...]]


@dataclass(frozen=True)
class Job:
    """One command. `rows` are what a user has of it, to the last bit; `halfway` says what is wrong with them after a
    fault, if anything.

    `again` is what a user types after a fault; the same, where it is None.
    """

    name: str
    command: Callable[[Path, Path], Sequence[object]]  # of photos, state
    prepare: Callable[[Spawner, Path, Path], None]  # photos and state
    rows: Callable[[Path], Rows]  # of state
    halfway: Callable[[Rows, Rows, Rows], str | None]  # of rows now, before, and after an undisturbed run
    again: Callable[[Path, Path], Sequence[object]] | None = None
    done_before: str = "\0"  # in the message of a run that finds everything done

    def __str__(self) -> str:
        return self.name


def paint_photos(photos: Path) -> None:
    """Four people of three pictures, whom every gallery has, and two who are to be enrolled."""
    for folder, people, pictures in (("known", range(1, 5), 3), ("new", range(5, 7), 2)):
        for person in people:
            for picture in range(1, pictures + 1):
                paint_person(photos / folder / f"person {person}" / f"{picture}.png", person, picture)


def check_soundness(state: Path) -> None:
    """What holds at any time: whole databases, checkpoints that load, and nothing that others may read."""
    for path in (path for path in state.rglob("*") if path.is_file()):
        faces = path.name == "faces.csv" or path.suffix in (".sqlite", ".journal", ".key", ".partial")
        assert not faces or not stat.S_IMODE(path.stat().st_mode) & 0o077, f"others may read {path.name}"
        if path.suffix in (".sqlite", ".journal"):
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        elif path.name in (LAST, BEST):
            load_checkpoint(path, device="cpu")  # type: ignore[arg-type]


def find_traces(state: Path, before: Path) -> str | None:
    """What the gallery held before and holds no more, and is in a file all the same: of who was removed, what was in
    clear before it was encrypted, or was sealed with an earlier key."""
    if not (before / GALLERY).exists():
        return None
    now = _contents(state)
    gone = [content for content in _contents(before) if not any(content in other for other in now)]
    files = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    found = {name: content for name, data in files.items() for content in gone if content in data}
    return f"traces are left: {found}" if found else None


def _contents(state: Path) -> set[bytes]:
    """What a gallery's file holds of people, as it lies there, and the lock of its key."""
    columns = {"person": ["name"], "sample": ["embedding", "source_path", "image_sha256"], "setting": ["value"]}
    queries = [f"SELECT CAST({column} AS BLOB) FROM {table}" for table in columns for column in columns[table]]
    with closing(sqlite3.connect(state / GALLERY)) as connection:
        rows = connection.execute(f"{' UNION '.join(queries)} WHERE name = '{CIPHER_SETTING}'")
        return {content for (content,) in rows if content}


def _gallery_rows(state: Path) -> Rows:
    gallery, key = _open(state)
    with gallery:
        names = {person.id: person.name for person in gallery.people()}
        samples = sorted(gallery.samples(), key=lambda sample: sample.id or 0)
        assert len({sample.image_sha256 for sample in samples}) == len(samples), "a sample stands there twice"
        assert gallery.model_id in {None, *(sample.model_id for sample in samples)}
        return [(key, names[sample.person_id or 0], *_describe(sample), sample.vector.tobytes()) for sample in samples]


def _open(state: Path) -> tuple[Gallery, str | None]:
    """The gallery, and the one key file that opens it; None where it is in clear."""
    try:
        return open_gallery(state / GALLERY, create=True), None
    except LockedGalleryError:
        keys = [key for key in state.glob("*.key") if _fits(key, state)]
        assert len(keys) == 1, f"of the keys, {keys} open the gallery"
        return open_gallery(state / GALLERY, key=KeyFile(keys[0])), keys[0].name


def _fits(key: Path, state: Path) -> bool:
    try:
        open_gallery(state / GALLERY, key=KeyFile(key)).close()
    except GalleryError as error:
        assert "this is not the key file" in str(error), error
        return False
    return True


def _describe(sample: StoredSample) -> tuple[object, ...]:
    place = (sample.id, sample.person_id, sample.source_path, sample.image_sha256)
    return (*place, sample.model_id, sample.box_px, sample.det_score, sample.quality)


def _table_rows(state: Path) -> Rows:
    if not (state / "faces.csv").exists():
        return []
    return [
        (row.image_path, row.face_index, row.bbox, row.status, row.error, row.model_id, _bytes(row.embedding))
        for row in read_faces(state / "faces.csv")
    ]


def _metadata_rows(state: Path) -> Rows:
    return [(path.name, path.read_bytes()) for path in sorted(state.iterdir()) if path.suffix in (".jpg", ".xmp")]


def _training_rows(state: Path) -> Rows:
    run = state / "run"
    if not (run / "registry.toml").exists():
        return []
    tensors = [(name, tensor.tobytes()) for name, tensor in load_file(run / "run.safetensors").items()]
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    clocks = {"images_per_second", "elapsed_s"}
    return [*tensors, *(tuple(item for item in line.items() if item[0] not in clocks) for line in lines)]


def _bytes(vector: FloatArray | None) -> bytes | None:
    return None if vector is None else vector.tobytes()


def _begun(now: Rows, before: Rows, after: Rows) -> str | None:
    """What comes one by one: the first of what an undisturbed run leaves, and never less than there was."""
    if len(now) < len(before) or now != after[: len(now)]:
        return f"{len(now)} rows, which are not the first of {len(after)}"
    return None


def _whole(now: Rows, before: Rows, after: Rows) -> str | None:
    """What happens at once: all of it or nothing."""
    return None if now in (before, after) else f"{len(now)} rows, neither the {len(before)} before nor those after"


def _enroll_known(spawner: Spawner, photos: Path, state: Path) -> None:
    done = spawner.run("enroll", "--people", photos / "known", "--gallery", state / GALLERY)
    assert done.status == 0, done.stderr


def _encrypt_known(spawner: Spawner, photos: Path, state: Path) -> None:
    _enroll_known(spawner, photos, state)
    done = spawner.run(*ENCRYPT.command(photos, state))
    assert done.status == 0, done.stderr


def _embed_known(spawner: Spawner, photos: Path, state: Path) -> None:
    done = spawner.run("embed", photos / "known", "-o", state / "faces.csv")
    assert done.status == 0, done.stderr


def _photograph_of_known(spawner: Spawner, photos: Path, state: Path) -> None:
    _enroll_known(spawner, photos, state)
    paint_person(state / "party.jpg", 1, 4).chmod(0o600)


def _nothing(spawner: Spawner, photos: Path, state: Path) -> None:
    """The folder is empty."""


def _write_recipe(spawner: Spawner, photos: Path, state: Path) -> None:
    write_synthetic_set(state / "data", people=10, dev_people=2, crops_per_person=4)
    (state / "tiny.toml").write_text(
        "stages = [{ size_px = 16, batch_size = 8 }]\nlog_steps = 2\n[schedule]\nepochs = 2\n"
        '[data]\nfolder = "data"\ncache = "cache"\n'
    )


def _train(photos: Path, state: Path) -> Sequence[object]:
    return "train", "--config", state / "tiny.toml", "--output", state / "run", "--device", "cpu"


def _resume(photos: Path, state: Path) -> Sequence[object]:
    if (state / "run" / LAST).exists():
        return "train", "--resume", state / "run", "--device", "cpu"
    return _train(photos, state)


def _in_gallery(*command: object, **keys: str) -> Callable[[Path, Path], Sequence[object]]:
    """A command, and the key files in `state` that its options name."""

    def arguments(photos: Path, state: Path) -> Sequence[object]:
        options = [f"--{option.replace('_', '-')}={state / key}" for option, key in keys.items()]
        return "gallery", *command, "--gallery", state / GALLERY, *options

    return arguments


def _enroll(photos: Path, state: Path) -> Sequence[object]:
    return "enroll", "--people", photos / "new", "--gallery", state / GALLERY


def _embed(photos: Path, state: Path) -> Sequence[object]:
    return "embed", photos, "-o", state / "faces.csv"


def _write_xmp(place: str) -> Callable[[Path, Path], Sequence[object]]:
    def arguments(photos: Path, state: Path) -> Sequence[object]:
        options = ["--gallery", state / GALLERY, "--threshold", 0.3, "--quiet"]  # colours are poor faces
        return "identify", state / "party.jpg", "--write-xmp", place, *options

    return arguments


TRAIN = Job("train", _train, _write_recipe, _training_rows, _whole, again=_resume)
ENCRYPT = Job(
    "gallery encrypt",
    _in_gallery("encrypt", key_file=FIRST_KEY),  # which is made
    _enroll_known,
    _gallery_rows,
    _whole,
    done_before="is encrypted already",
)
JOBS = [
    Job("enroll", _enroll, _enroll_known, _gallery_rows, _begun),
    Job("enroll, into a new gallery", _enroll, _nothing, _gallery_rows, _begun),
    Job(
        "gallery merge",
        _in_gallery("merge", "person 1", "person 3", "--yes"),
        _enroll_known,
        _gallery_rows,
        _whole,
        done_before="there is no person",
    ),
    Job(
        "gallery remove",
        _in_gallery("remove", "person 2", "--yes"),
        _enroll_known,
        _gallery_rows,
        _whole,
        done_before="there is no person",
    ),
    Job("gallery reembed", _in_gallery("reembed", "--model", "other"), _enroll_known, _gallery_rows, _whole),
    ENCRYPT,
    Job(
        "gallery rotate-key",
        _in_gallery("rotate-key", key_file=FIRST_KEY, new_key_file=SECOND_KEY),
        _encrypt_known,
        _gallery_rows,
        _whole,
        done_before="this is not the key file",
    ),
    Job(
        "gallery decrypt",
        _in_gallery("decrypt", "--yes", key_file=FIRST_KEY),
        _encrypt_known,
        _gallery_rows,
        _whole,
        done_before="is not encrypted",
    ),
    Job("identify --write-xmp embed", _write_xmp("embed"), _photograph_of_known, _metadata_rows, _whole),
    Job("identify --write-xmp sidecar", _write_xmp("sidecar"), _photograph_of_known, _metadata_rows, _whole),
    Job("embed", _embed, _embed_known, _table_rows, _whole),
    Job("embed, a new table", _embed, _nothing, _table_rows, _whole),
    TRAIN,
]
