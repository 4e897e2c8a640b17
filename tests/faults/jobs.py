"""The commands that change something: what lies there before, what is asked for, and what must hold whatever happens.

Each works on a folder `state`, which a fault may hit, and on photographs in `photos`, which nobody changes.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from faces_of_colour import paint_people
from safetensors.numpy import load_file
from spawning import Spawner

from lightface.faces import FloatArray
from lightface.gallery import FaceSample, open_gallery
from lightface.reports import read_faces
from lightface.training.checkpoint import BEST, LAST, load_checkpoint
from lightface.training.synthetic import write_synthetic_set

REMOVED = "p002"

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
    paint_people(photos / "known", 4, 3)
    paint_people(photos / "new", 6, 2)
    for number in range(1, 5):
        shutil.rmtree(photos / "new" / f"p{number:03d}")


def check_soundness(state: Path) -> None:
    """What holds at any time: whole databases, checkpoints that load, and nothing that others may read."""
    for path in (path for path in state.rglob("*") if path.is_file()):
        faces = path.name == "faces.csv" or path.suffix in (".sqlite", ".journal", ".partial")
        assert not faces or not stat.S_IMODE(path.stat().st_mode) & 0o077, f"others may read {path.name}"
        if path.suffix in (".sqlite", ".journal"):
            connection = sqlite3.connect(path)
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            connection.close()
        elif path.name in (LAST, BEST):
            load_checkpoint(path, device="cpu")  # type: ignore[arg-type]


def _gallery_rows(state: Path) -> Rows:
    with open_gallery(state / "people.sqlite", create=True) as gallery:
        names = {person.id: person.name for person in gallery.people()}
        samples = sorted(gallery.samples(), key=lambda sample: sample.id or 0)
        assert len({sample.image_sha256 for sample in samples}) == len(samples), "a sample stands there twice"
        assert gallery.model_id in {None, *(sample.model_id for sample in samples)}
        return [(names[sample.person_id or 0], *_describe(sample), sample.vector.tobytes()) for sample in samples]


def _describe(sample: FaceSample) -> tuple[object, ...]:
    place = (sample.id, sample.person_id, sample.source_path, sample.image_sha256)
    return (*place, sample.model_id, sample.box_px, sample.det_score, sample.quality)


def _table_rows(state: Path) -> Rows:
    if not (state / "faces.csv").exists():
        return []
    return [
        (row.image_path, row.face_index, row.bbox, row.status, row.error, row.model_id, _bytes(row.embedding))
        for row in read_faces(state / "faces.csv")
    ]


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
    done = spawner.run("enroll", "--people", photos / "known", "--gallery", state / "people.sqlite")
    assert done.status == 0, done.stderr


def _embed_known(spawner: Spawner, photos: Path, state: Path) -> None:
    done = spawner.run("embed", photos / "known", "-o", state / "faces.csv")
    assert done.status == 0, done.stderr


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


def _in_gallery(*command: object) -> Callable[[Path, Path], Sequence[object]]:
    return lambda photos, state: ("gallery", *command, "--gallery", state / "people.sqlite")


def _enroll(photos: Path, state: Path) -> Sequence[object]:
    return "enroll", "--people", photos / "new", "--gallery", state / "people.sqlite"


def _embed(photos: Path, state: Path) -> Sequence[object]:
    return "embed", photos, "-o", state / "faces.csv"


ENROLL = Job("enroll", _enroll, _enroll_known, _gallery_rows, _begun)
REMOVE = Job(
    "gallery remove",
    _in_gallery("remove", REMOVED, "--yes"),
    _enroll_known,
    _gallery_rows,
    _whole,
    done_before="there is no person",
)
EMBED = Job("embed", _embed, _embed_known, _table_rows, _whole)
TRAIN = Job("train", _train, _write_recipe, _training_rows, _whole, again=_resume)
GALLERY_JOBS = [
    ENROLL,
    Job("enroll, into a new gallery", _enroll, _nothing, _gallery_rows, _begun),
    Job(
        "gallery merge",
        _in_gallery("merge", "p001", "p003", "--yes"),
        _enroll_known,
        _gallery_rows,
        _whole,
        done_before="there is no person",
    ),
    REMOVE,
    Job("gallery reembed", _in_gallery("reembed", "--model", "other"), _enroll_known, _gallery_rows, _whole),
]
JOBS = [*GALLERY_JOBS, EMBED, Job("embed, a new table", _embed, _nothing, _table_rows, _whole), TRAIN]
