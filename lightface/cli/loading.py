"""From settings to the objects that the jobs take: a pipeline, a gallery, thresholds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lightface.cli import console
from lightface.cli.console import complain, debug, note
from lightface.cli.settings import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE, Settings
from lightface.errors import ConfigError, LockedGalleryError
from lightface.words import visible

if TYPE_CHECKING:
    from lightface.gallery import Gallery, GalleryKey
    from lightface.gallery.keys import KeyKind
    from lightface.matching import DecisionBands
    from lightface.models.registry import WeightsRecord
    from lightface.pipeline import FacePipeline


def load_face_pipeline(
    settings: Settings, *, already_aligned: bool = False, every_s: float | None = None
) -> FacePipeline:
    """The detector and the weights that the settings name."""
    from lightface.pipeline import FaceGates, load_pipeline

    gates = FaceGates(
        **detection_of(settings),
        **settings.given("min_quality", "max_pixels", "allow_truncated"),
        already_aligned=already_aligned,
    )
    if every_s is not None:
        gates = replace(gates, every_s=every_s)
    pipeline = load_pipeline(
        **settings.given("model", "device", "precision", "flip"),
        gates=gates,
    )
    debug(f"using {describe_pipeline(pipeline)}")
    if pipeline.record.recognisability is None:
        name = pipeline.record.name
        note(
            f"faces too poor to tell are not known to {name} and may match one another; "
            f"'lightface models recognisability {name} FOLDER' teaches it with good photographs"
        )
    return pipeline


def detection_of(settings: Settings) -> dict[str, Any]:
    """What is set of the search for faces, under the names of `FaceGates` and `MtcnnSettings`."""
    max_side = {f"{name}_px": value for name, value in settings.given("max_side").items()}
    turns = {name: value == "auto" for name, value in settings.given("turns").items()}
    return {**settings.given("det_threshold"), **settings.smallest_face(), **max_side, **turns}


def describe_pipeline(pipeline: FacePipeline) -> str:
    """The weights, and where they really run."""
    embedder = pipeline.embedder
    return f"{embedder.model_id} on {embedder.device} in {embedder.precision}"


def open_gallery_of(settings: Settings, *, model_id: str | None = None, create: bool = False) -> Gallery:
    """The gallery that the settings name, or the default one."""
    from lightface.gallery import describe_place, open_gallery

    place = gallery_place(settings)
    gallery = open_gallery(place, model_id=model_id, create=create, key=key_of(settings, describe_place(place)))
    unused = "the key file" if settings.key_file is not None else "the passphrase"
    if gallery.encryption is None and (settings.key_file is not None or PASSPHRASE_VARIABLE in os.environ):
        # Who gives a key takes it for encrypted; perhaps somebody put another file in its place.
        complain(f"{gallery.location} is not encrypted, {unused} is not used; see 'lightface gallery encrypt'")
    return gallery


def gallery_place(settings: Settings) -> Path | str:
    """Where that gallery is: a file, or the URL of a database."""
    from lightface.gallery import default_gallery_path

    return default_gallery_path() if settings.gallery is None else settings.gallery


def poor_raise_of(settings: Settings) -> float:
    """How much more alike two poor faces must be: nothing where the user gave the threshold."""
    from lightface.matching import POOR_RAISE

    return POOR_RAISE if settings.threshold is None else 0.0


def resolve_threshold_of(settings: Settings, pipeline: FacePipeline) -> float:
    """The threshold for two photographs: that of a gallery only where the user named one.

    By an option, a variable or the configuration file; the gallery at the default place says nothing about photographs
    that have nothing to do with it.
    """
    from lightface.gallery import describe_place, gallery_exists
    from lightface.pipeline import describe_basis, resolve_threshold

    record = pipeline.record
    if settings.threshold is not None or settings.gallery is None:
        debug(describe_basis(record, threshold=settings.threshold))
        return resolve_threshold(record, threshold=settings.threshold)
    if not gallery_exists(settings.gallery):
        note(f"there is no gallery at {describe_place(settings.gallery)}; the threshold of the weights decides")
        debug(describe_basis(record))
        return resolve_threshold(record)
    with open_gallery_of(settings) as gallery:
        if gallery.model_id not in (None, pipeline.model_id):
            note(f"{gallery.location} is of {gallery.model_id}; its threshold is not used for {pipeline.model_id}")
            debug(describe_basis(record))
            return resolve_threshold(record)
        debug(describe_basis(record, gallery=gallery))
        return resolve_threshold(record, gallery=gallery)


def resolve_bands_within(settings: Settings, gallery: Gallery) -> DecisionBands:
    """The thresholds for work on a gallery that embeds nothing: of the weights that the gallery was made with."""
    from lightface.pipeline import resolve_bands

    return resolve_bands(record_of(settings, gallery), gallery=gallery, threshold=settings.threshold)


def record_of(settings: Settings, gallery: Gallery) -> WeightsRecord | None:
    """The weights that a gallery was made with; for one without anybody, those that the settings name."""
    from lightface.models.registry import DEFAULT_WEIGHTS, find_weights
    from lightface.pipeline import find_record

    model_id = gallery.model_id
    return find_weights(settings.model or DEFAULT_WEIGHTS) if model_id is None else find_record(model_id)


# Where the key of an encrypted gallery comes from: a key file, a variable, or whoever sits at the terminal.
#
# A passphrase is never an option or an argument, which others could read in the list of processes.


def key_of(settings: Settings, location: str) -> Callable[[KeyKind], GalleryKey]:
    """What `open_gallery` asks for the key of the gallery at `location`, if that is encrypted."""

    def find_key(kind: KeyKind) -> GalleryKey:
        from lightface.gallery import KeyFile, Passphrase

        if kind == "passphrase":
            return Passphrase(_passphrase(location, PASSPHRASE_VARIABLE))
        if settings.key_file is None:
            raise LockedGalleryError(f"{location} is encrypted; name its key file with --key-file")
        return KeyFile(Path(settings.key_file))

    return find_key


def new_key(location: str, key_file: Path | None, *, is_first: bool) -> GalleryKey:
    """The key that the gallery shall have from now on; a key file is made if missing."""
    from lightface.gallery import KeyFile, Passphrase, make_key_file

    if key_file is None:
        variable = PASSPHRASE_VARIABLE if is_first else NEW_PASSPHRASE_VARIABLE
        return Passphrase(_passphrase(location, variable, is_new=True))
    if key_file.exists():
        return KeyFile(key_file)
    key = make_key_file(key_file)
    note(f"made the key file {key_file}; keep a copy of it elsewhere, and none beside the gallery")
    return key


def _passphrase(location: str, variable: str, *, is_new: bool = False) -> str:
    given = os.environ.get(variable)
    if given is not None:
        return given
    what = f"{'new ' if is_new else ''}passphrase"
    if not console.is_terminal():
        reason = "is to be encrypted" if is_new else "is encrypted"
        error = f"{location} {reason}, and stdin is no terminal to ask for the {what}; set {variable}"
        raise (ConfigError if is_new else LockedGalleryError)(error)
    text: str = typer.prompt(f"{what} of {visible(location)}", hide_input=True, confirmation_prompt=is_new, err=True)
    return text
