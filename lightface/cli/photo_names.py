"""Names in the metadata of photographs: `identify --write-xmp` and `--remove-xmp`, `enroll --from-xmp` and the like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lightface.cli.console import complain, counting_bar, note
from lightface.cli.results import name_below
from lightface.errors import ConfigError, FaceNotFoundError, GalleryError, ImageError, LightfaceError
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.gallery import Gallery
    from lightface.metadata.reading import PhotoNames
    from lightface.metadata.writing import WrittenNames, XmpPlace
    from lightface.pipeline import IdentifiedPhoto
    from lightface.pipeline.named_faces import NamedFace

_Place = Literal["sidecar", "embed"]  # the words of XmpPlace
WriteXmp = Annotated[
    _Place | None,
    typer.Option(
        "--write-xmp",
        help="Write who was matched, and where, into XMP: photo.jpg.xmp beside each photograph, or the JPEG itself.",
    ),
]
RemoveXmp = Annotated[
    _Place | None, typer.Option("--remove-xmp", help="Take out of XMP what --write-xmp has put there, and do no more.")
]
WriteReview = Annotated[
    bool, typer.Option("--write-review", help="With --write-xmp: write people who are to be reviewed, too.")
]
Sidecars = Annotated[
    Path | None,
    typer.Option("--sidecars", metavar="DIR", help="The folder of the sidecars, where it is not the photographs' own."),
]
FromXmp = Annotated[
    Path | None,
    typer.Option(
        "--from-xmp",
        metavar="DIR",
        help="Enroll the faces that are named in the photographs' XMP, embedded and in sidecars.",
    ),
]
FromPicasa = Annotated[
    Path | None,
    typer.Option("--from-picasa", metavar="DIR", help="Enroll the faces that are named in Picasa's .picasa.ini files."),
]
Contacts = Annotated[
    Path | None,
    typer.Option(
        "--contacts", metavar="FILE", help="With --from-picasa: Picasa's contacts.xml, where it is not in the folders."
    ),
]
FromDigikam = Annotated[
    Path | None,
    typer.Option("--from-digikam", metavar="FILE", help="Enroll the faces that are named in a digikam4.db."),
]
Albums = Annotated[
    Path | None,
    typer.Option("--albums", metavar="DIR", help="With --from-digikam: where the albums are now, if they were moved."),
]


# What `identify` writes.


@dataclass(frozen=True, slots=True)
class XmpPlan:
    """Where names go, or are taken out."""

    place: XmpPlace
    sidecars: Path | None  # the folder of all sidecars; None: beside the photographs
    named: Sequence[Path]  # what the user named
    with_review: bool = False

    def sidecars_of(self, photos: Sequence[Path]) -> dict[Path, Path]:
        """The sidecar of each photograph, where it does not lie beside it."""
        return {} if self.sidecars is None else _sidecars_below(self.sidecars, self.named, photos)


def plan_xmp(
    write: _Place | None,
    remove: _Place | None,
    sidecars: Path | None,
    named: Sequence[Path],
    paths: Sequence[Path],
    *,
    with_review: bool = False,
    already_aligned: bool = False,
) -> XmpPlan | None:
    """Where names are to be written or taken out; None where they are not. ConfigError for what makes no sense."""
    from lightface.metadata.writing import XmpPlace

    if write is not None and remove is not None:
        raise ConfigError("--write-xmp and --remove-xmp at once undo each other; give one of them")
    place = write or remove
    if place is None:
        if sidecars is not None or with_review:
            option = "--write-review" if with_review else "--sidecars"
            raise ConfigError(
                f"{option} is of no use without --write-xmp or --remove-xmp; give one, or leave {option} out"
            )
        return None
    if place == "embed" and sidecars is not None:
        raise ConfigError("--sidecars names a folder for sidecars, and 'embed' writes none; leave one of them out")
    if already_aligned:
        raise ConfigError("aligned crops have no place in a photograph that could be written; give photographs")
    for path in paths:
        if type(path) is not type(Path()):  # a URL, or a photograph on stdin
            raise ConfigError(f"{path} is no file of this machine: nothing can be written into it or beside it")
    return XmpPlan(XmpPlace(place), sidecars, named, with_review)


@contextmanager
def names_written(plan: XmpPlan | None, results: Sequence[IdentifiedPhoto]) -> Iterator[None]:
    """Write the names as planned; in the block, results are reported. Exit code 2 where nothing could be written."""
    if plan is None:
        yield
        return
    from lightface.metadata.writing import write_names

    # One that could not be read is told with the results, and stays as it is.
    faces = {
        result.path: _faces_to_write(result, with_review=plan.with_review)
        for result in results
        if not isinstance(result.error, ImageError)
    }
    sidecars = plan.sidecars_of(list(faces))
    is_written = _tell_each(
        "wrote names for",
        faces,
        lambda path: write_names(path, faces[path], place=plan.place, sidecar=sidecars.get(path)),
    )
    try:
        yield
    finally:
        if not is_written:
            raise typer.Exit(2)


def remove_xmp_names(plan: XmpPlan, photos: Sequence[Path]) -> None:
    """Take out what was written. Exit code 2 where nothing could be."""
    from lightface.metadata.writing import remove_names

    sidecars = plan.sidecars_of(photos)
    if not _tell_each(
        "took names out for", photos, lambda path: remove_names(path, place=plan.place, sidecar=sidecars.get(path))
    ):
        raise typer.Exit(2)


def _faces_to_write(result: IdentifiedPhoto, *, with_review: bool) -> list[NamedFace]:
    from lightface.pipeline.named_faces import NamedFace
    from lightface.records import Status

    wanted = {Status.MATCHED, Status.REVIEW} if with_review else {Status.MATCHED}
    return [
        NamedFace(one.match.person_name, one.face.detection.box_px)
        for one in result.faces
        if one.match is not None and one.status in wanted and one.face.detection is not None
    ]


def _tell_each(done: str, photos: Iterable[Path], change: Callable[[Path], WrittenNames]) -> bool:
    """Change what is written of each photograph, and tell; whether anything came of it."""
    changed = same = failed = 0
    for photo in photos:
        try:
            written = change(photo)
        except LightfaceError as error:
            complain(str(error))
            failed += 1
            continue
        changed += written.is_changed
        same += not written.is_changed
        for name, other in written.contradicted:
            note(f"{photo}: {name} is not written, since somebody named this face {other}")
    words = f"{done} {count_of(changed, 'photograph')}; {same:,} needed no change"
    note(words + (f", {failed:,} could not be changed" if failed else ""))
    return not failed or bool(changed or same)


def _sidecars_below(folder: Path, named: Sequence[Path], photos: Sequence[Path]) -> dict[Path, Path]:
    names = name_below(named, photos)
    return {photo: folder / name.with_name(f"{name.name}.xmp") for photo, name in names.items()}


# What `enroll` reads.


def read_photo_names(
    *,
    from_xmp: Path | None,
    from_picasa: Path | None,
    from_digikam: Path | None,
    sidecars: Path | None,
    contacts: Path | None,
    albums: Path | None,
    recursive: bool,
) -> dict[Path, list[NamedFace]] | None:
    """The faces that another program has named, by photograph; None where no program is named.

    What is left out is told. ConfigError for options that do not go together, FaceNotFoundError where nobody is named.
    """
    sources = {"--from-xmp": from_xmp, "--from-picasa": from_picasa, "--from-digikam": from_digikam}
    chosen = [option for option, place in sources.items() if place is not None]
    for option, value, owner in (
        ("--sidecars", sidecars, "--from-xmp"),
        ("--contacts", contacts, "--from-picasa"),
        ("--albums", albums, "--from-digikam"),
    ):
        if value is not None and owner not in chosen:
            raise ConfigError(f"{option} goes with {owner} only; give that, or leave {option} out")
    if len(chosen) > 1:
        raise ConfigError(f"names come from one place at a time; give one of {', '.join(chosen)}")
    if from_xmp is not None:
        return _sort_out(_read_xmp(from_xmp, sidecars, recursive=recursive), from_xmp)
    if from_picasa is not None:
        from lightface.metadata.picasa import read_picasa

        return _sort_out(read_picasa(from_picasa, contacts=contacts, recursive=recursive), from_picasa)
    if from_digikam is not None:
        from lightface.metadata.digikam import read_digikam

        return _sort_out(read_digikam(from_digikam, photos=albums), from_digikam)
    return None


def leave_out_own(photos: Mapping[Path, list[NamedFace]], gallery: Gallery) -> dict[Path, list[NamedFace]]:
    """Without the faces that lightface has named itself and whose person is known here already.

    They would tell a gallery what it has said itself, and its errors would be believed from then on.
    """
    own = {one.name for faces in photos.values() for one in faces if one.is_own}
    known = {name for name in own if gallery.find_person(name) is not None}
    kept = {path: [one for one in faces if not (one.is_own and one.name in known)] for path, faces in photos.items()}
    left_out = sum(map(len, photos.values())) - sum(map(len, kept.values()))
    if left_out:
        note(
            f"{count_of(left_out, 'face was', 'faces were')} named by lightface itself, after people who are in the "
            "gallery already: left out"
        )
    return kept


def _read_xmp(folder: Path, sidecars: Path | None, *, recursive: bool) -> list[PhotoNames]:
    from lightface.cli.inputs import find_photos_of
    from lightface.metadata.reading import read_names_of

    photos = find_photos_of([folder], recursive=recursive)
    elsewhere = {} if sidecars is None else _sidecars_below(sidecars, [folder], photos)
    with counting_bar("reading names", len(photos)) as count:
        return read_names_of(photos, sidecars=elsewhere.get, progress=lambda _: count())


def _sort_out(found: Sequence[PhotoNames], place: Path) -> dict[Path, list[NamedFace]]:
    from lightface.gallery import normalize_name

    photos: dict[Path, list[NamedFace]] = {}
    unnamed = sum(one.unnamed for one in found)
    failed = 0
    for one in found:
        for error in one.errors:
            complain(str(error))
        failed += bool(one.errors)
        for face in one.faces:
            try:
                normalize_name(face.name)
            except GalleryError as error:
                complain(f"{one.path}: {error}")
                unnamed += 1
            else:
                photos.setdefault(one.path, []).append(face)
    if not photos:
        raise FaceNotFoundError(f"no face is named in {place}; check that it is the right place")
    count = sum(map(len, photos.values()))
    note(
        f"{count_of(count, 'named face')} in {count_of(len(photos), 'photograph')}; "
        f"{unnamed:,} marked without a name, {count_of(failed, 'file')} could not be read"
    )
    return photos
