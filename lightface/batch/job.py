"""One folder embedded into one table, whichever engine does the work.

    with open_job(output, pipeline) as job:
        plan = job.plan(paths)
        for results in engine(plan.todo):
            job.record(results)
        summary = job.finish()

What is recorded survives whatever comes after: the next run of the same job leaves it out of its plan. The output is
written at the end, whole, and only where it would differ from what lies there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from lightface.batch.journal import Journal
from lightface.batch.local import LocalEngine
from lightface.batch.output import NO_STAMP, Output, open_output, stamp
from lightface.errors import ImageError, OutputError, check_count, check_flag
from lightface.images import GivenPicture, hash_file
from lightface.images.photos import find_sources
from lightface.locations import RemotePath
from lightface.pipeline import FacePipeline, PhotoFaces
from lightface.records import FaceSelection, fields_of
from lightface.tables import name_photo
from lightface.words import NO_PHOTOGRAPHS, count_of

_log = logging.getLogger(__name__)

_NAMED_FAILURES: Final = 10
_METHOD: Final = 4  # to be raised when detection, alignment or the record of a face changes what a run yields


@dataclass(frozen=True, slots=True)
class EmbedPlan:
    """What a run has to do."""

    todo: list[Path]  # absolute, sorted
    unchanged: int  # photographs that an earlier run has dealt with
    moved: int  # photographs at another path than before, whose contents an earlier run has dealt with


@dataclass(frozen=True, slots=True)
class EmbedProgress:
    """How far a run is, in photographs of its plan."""

    done: int  # embedded or failed
    total: int
    failed: int
    faces: int
    unchanged: int  # dealt with by an earlier run

    def __str__(self) -> str:
        return (
            f"{self.done:,} of {count_of(self.total, 'photograph')}, {count_of(self.faces, 'face')}, "
            f"{self.failed:,} failed, {self.unchanged:,} unchanged"
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields, for `json.dumps`."""
        return fields_of(self)


@dataclass(frozen=True, slots=True)
class FailedPhoto:
    """A photograph that gave no face, and why, in words."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class EmbedSummary:
    """What a run did, and what its output holds."""

    embedded: int  # photographs that gave faces in this run
    faces: int  # those faces
    failed: int  # photographs that were tried in this run and gave none
    unchanged: int  # photographs that an earlier run has dealt with
    moved: int  # photographs at another path than before, whose contents an earlier run has dealt with
    removed: int  # photographs of earlier runs that are gone, with their rows
    faces_in_output: int
    failures_in_output: Mapping[str, int]  # photographs without a face, by reason
    first_failures: tuple[FailedPhoto, ...]  # ten at most of the `failed`
    seconds: float

    def __str__(self) -> str:
        return (
            f"embedded {count_of(self.embedded, 'photograph')} with {count_of(self.faces, 'face')}; "
            f"{self.unchanged:,} unchanged{f'; {self.moved:,} moved' if self.moved else ''}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields, for `json.dumps`."""
        return fields_of(self)


class EmbedJob:
    """A journal and an output, for as long as one run takes. Made by `open_job`."""

    def __init__(self, output: Output, journal: Journal, *, made_by: str) -> None:
        self._output = output
        self._journal = journal
        self._made_by = made_by
        self._started_s = time.monotonic()
        self._plan = EmbedPlan([], 0, 0)
        self._embedded = self._faces = self._failed = 0
        self._first_failures: list[FailedPhoto] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def plan(self, paths: Sequence[Path], *, drop_others: bool = False) -> EmbedPlan:
        """Leave out the photographs that are as an earlier run, of this model and these settings, has left them.

        Size and time of change decide; where they differ, the SHA-256 of the contents. By that, too, a photograph at a
        new path is recognised, as a moved or copied one, and has the rows that were made of the same contents.
        Photographs that could not be read are tried again, for that may lie in permissions, or in a decoder that was
        missing.

        Raises ImageError where there are no photographs: rather that than an output emptied, because a disk is not
        mounted or a path is mistyped. Raises OutputError where an earlier run has dealt with photographs that are still
        there and not of this one, unless their rows may be dropped.
        """
        if not paths:
            raise ImageError(NO_PHOTOGRAPHS)
        if any(isinstance(path, GivenPicture) for path in paths):
            raise ImageError("a table names photographs by their paths, and one was given without; save it to a file")
        places = map(name_photo, paths)
        todo: list[Path] = []
        touched: list[Path] = []
        contents: dict[Path, str] = {}  # SHA-256 of what may be known under another path
        unchanged = 0
        for photo in self._journal.compare(((path, stamp(path)) for path in places), made_by=self._made_by):
            if photo.sha256 is not None and photo.same_stamp:
                unchanged += 1
                continue
            sha256 = _sha256_of(photo.path) if photo.sha256 is not None or photo.known_size else None
            if sha256 is not None and sha256 == photo.sha256:
                unchanged += 1
                touched.append(photo.path)
                continue
            todo.append(photo.path)
            if sha256 is not None:
                contents[photo.path] = sha256
        if not drop_others:
            self._refuse_to_drop()
        self._journal.keep(touched)
        moved = self._journal.take_over(contents.items(), made_by=self._made_by) if contents else set()
        self._plan = EmbedPlan([path for path in todo if path not in moved], unchanged, len(moved))
        return self._plan

    def _refuse_to_drop(self) -> None:
        left = next((path for path in self._journal.others() if stamp(path) != NO_STAMP), None)
        if left is not None:
            raise OutputError(
                f"{str(self._output.path)!r} has photographs that are still there, but not named now, as {left}; "
                "name those too, choose another output, or drop them with `drop_others`"
            )

    def record(self, photos: Sequence[PhotoFaces]) -> None:
        """Keep what became of photographs of the plan."""
        self._journal.record(photos, made_by=self._made_by)
        for photo in photos:
            self._embedded += photo.error is None
            self._failed += photo.error is not None
            self._faces += len(photo.faces)
            if photo.error is not None:
                _log.info("%s: %s", photo.path, photo.error)
                if len(self._first_failures) < _NAMED_FAILURES:
                    self._first_failures.append(FailedPhoto(photo.path, str(photo.error)))

    def progress(self) -> EmbedProgress:
        """How far this run is."""
        return EmbedProgress(
            done=self._embedded + self._failed,
            total=len(self._plan.todo),
            faces=self._faces,
            failed=self._failed,
            unchanged=self._plan.unchanged,
        )

    def finish(self) -> EmbedSummary:
        """Drop the rows of photographs that are gone, and write the output.

        OutputError or RemoteError where that fails.
        """
        removed = self._journal.forget_others()
        if self._journal.output_stamp != self._output.stamp():
            self._output.write(self._journal.rows())
            self._journal.output_stamp = self._output.stamp()
        return EmbedSummary(
            embedded=self._embedded,
            faces=self._faces,
            failed=self._failed,
            unchanged=self._plan.unchanged,
            moved=self._plan.moved,
            removed=removed,
            faces_in_output=self._journal.face_count(),
            failures_in_output=self._journal.failure_counts(),
            first_failures=tuple(self._first_failures),
            seconds=time.monotonic() - self._started_s,
        )


def open_job(place: Path | str, pipeline: FacePipeline) -> EmbedJob:
    """The job that writes a table at `place`, with its journal; to be used in a `with`.

    Raises OutputError for an unknown suffix, a place that cannot be written, or another run that is at it, RemoteError
    for a URL that does not answer.
    """
    output = open_output(place)
    output.prepare()
    return EmbedJob(output, Journal(output.journal), made_by=describe_rows(pipeline))


def journal_path(place: Path | str) -> Path:
    """Where the journal of an output lies: beside it, or in the user's data folder where the output is a URL.

    It holds faces too: who deletes the one should delete the other.
    """
    return open_output(place).journal


def is_of_renamed(journal: Path, folder: Path) -> bool:
    """Whether a journal is of a folder that lies at `folder` now: its photographs are gone from where they were, and
    some file in `folder`, of the same path below it, has the size and time of change of one of them.

    A journal that cannot be read, or is in use, is of none.
    """
    is_found = False
    try:
        with Journal(journal) as known:
            for path, stamp_then in known.photos():
                if stamp(path) != NO_STAMP:
                    return False
                tails = (folder.joinpath(*path.parts[-count:]) for count in range(1, len(path.parts)))
                is_found = is_found or any(stamp(place) == stamp_then for place in tails)
    except OutputError:
        return False
    return is_found


def describe_rows(pipeline: FacePipeline) -> str:
    """Everything that decides which rows a photograph yields."""
    return pipeline.fingerprint(method=_METHOD)


def _sha256_of(path: Path) -> str | None:
    """Of a file's contents; None where they cannot be read."""
    if isinstance(path, RemotePath):  # whose stamp is mostly a checksum, and which would have to be fetched for this
        return None
    try:
        return hash_file(path)
    except ImageError:
        return None


# Embed folders of photographs into one table, by whichever engine.


class Engine(Protocol):
    """Whatever turns photographs into faces: `LocalEngine`, or `lightface.batch.ray_engine.RayEngine`."""

    def embed(
        self, pipeline: FacePipeline, paths: Sequence[Path], *, batch_size: int, workers: int | None
    ) -> Generator[Sequence[PhotoFaces], None, None]:
        """One result a path, in any order, as they are ready."""
        ...


def embed_folder(
    pipeline: FacePipeline,
    paths: Iterable[Path | str],
    output: Path | str,
    *,
    selection: FaceSelection | str = FaceSelection.ALL,
    recursive: bool = True,
    drop_others: bool = False,
    batch_size: int = 8,
    workers: int | None = None,
    engine: Engine = LocalEngine(),
    progress: Callable[[EmbedProgress], None] | None = None,
) -> EmbedSummary:
    """Embed the photographs in `paths`, files and folders, into one table: Parquet, CSV, JSONL or NPZ by suffix.

    The table has a row for each face and one for each photograph without; its paths are absolute. Whatever stops a
    run, what it has finished lies in the journal beside the output, and the next run goes on from there; it does only
    what is new, has changed or was made by another model or other settings. Rows of photographs that are gone leave;
    of photographs that are still there, but not in `paths`, with `drop_others` only.

    Paths and output may be texts, and these URLs of any kind that fsspec has a driver for. An output that ends in a
    slash becomes a folder of Parquet parts. The journal of a URL lies in the user's data folder: see `journal_path`.

    `workers` is how many processes share the work, each with its own copy of the networks; on a GPU, which one process
    keeps busy, how many threads decode for it. None: one for fewer than 500 photographs, else as many as there are
    cores and memory for; of `RayEngine`, as many as the cluster has room for. Batches of `batch_size` photographs are
    handed out, so that neither memory nor the table depend on it.
    `progress` hears of each batch, and once before the first.

    Processes import the program that called: keep the call under `if __name__ == "__main__":`, or set `workers=1`.

    Raises ImageError for a path that is missing or no photograph at all, OutputError where the output cannot be
    written, another run is writing it or it has rows that may not be dropped, RemoteError where another machine does
    not do what is asked of it, ConfigError where `batch_size` or `workers` is no whole number of 1 or more.
    """
    check_flag("recursive", recursive)
    check_flag("drop_others", drop_others)
    check_count("batch_size", batch_size)
    if workers is not None:
        check_count("workers", workers)
    pipeline = pipeline.selecting(selection)
    with open_job(output, pipeline) as job:
        plan = job.plan(find_sources(paths, recursive=recursive, videos=True), drop_others=drop_others)
        report = progress or _ignore
        report(job.progress())
        with closing(engine.embed(pipeline, plan.todo, batch_size=batch_size, workers=workers)) as batches:
            for batch in batches:
                job.record(batch)
                report(job.progress())
        return job.finish()


def _ignore(progress: EmbedProgress) -> None:
    """For a caller who does not ask."""
