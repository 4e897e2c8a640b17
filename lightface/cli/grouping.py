"""Groups as the commands know them: the gallery is asked first, and numbers of groups stay from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import note
from lightface.cli.loading import gallery_place, open_gallery_of
from lightface.cli.settings import Settings
from lightface.errors import LockedGalleryError, ModelMismatchError

if TYPE_CHECKING:
    from lightface.gallery import Gallery
    from lightface.matching import DecisionBands
    from lightface.pipeline.cluster import FaceGroups
    from lightface.tables import FaceRow

Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=-1,
        max=1,
        help="Mean cosine from which two groups are one (default: derived from the weights' thresholds; the more faces "
        "there are, the stricter).",
    ),
]
MinSize = Annotated[int | None, typer.Option("--min-size", min=1, help="How many faces make a group (default: 2).")]
KnownThreshold = Annotated[
    float | None,
    typer.Option(
        "--known-threshold",
        min=-1,
        max=1,
        envvar="LIGHTFACE_THRESHOLD",
        help="Similarity from which a face is a known person's (default: as identify decides).",
        show_default=False,
    ),
]


def open_known_people(settings: Settings, stack: ExitStack, *, remedy: str = "") -> Gallery | None:
    """The gallery of the settings, or the default one; None where there is none. A refusal ends with the `remedy`."""
    from lightface.gallery import gallery_exists

    if not gallery_exists(gallery_place(settings)):
        return None
    try:
        return stack.enter_context(open_gallery_of(settings))
    except LockedGalleryError as error:
        raise LockedGalleryError(f"{error}{remedy}") from error


class Grouping:
    """The faces of some places, to be grouped, and once more when people have got known."""

    def __init__(
        self,
        settings: Settings,
        rows: Sequence[FaceRow],
        kept: Path,
        *,
        threshold: float | None = None,
        known_threshold: float | None = None,
        min_size: int | None = None,
        remedy: str = "",
    ) -> None:
        self._settings = settings
        self._rows = rows
        self._kept = kept
        self._threshold = threshold
        self._known_threshold = known_threshold
        self._remedy = remedy
        self._limits = {} if min_size is None else {"min_size": min_size}

    def group(self, gallery: Gallery | None) -> FaceGroups:
        """Who is known, and the groups of the others under numbers that are kept for the next run."""
        from lightface.pipeline.cluster import cluster_faces
        from lightface.pipeline.group_numbers import number_groups, read_numbers, write_numbers

        gallery = self._of_same_weights(gallery)
        groups = cluster_faces(
            self._rows, threshold=self._threshold, gallery=gallery, bands=self._bands(gallery), **self._limits
        )
        earlier = read_numbers(self._kept)
        groups, numbers = number_groups(groups, earlier)
        if numbers != earlier:
            write_numbers(self._kept, numbers)
        return groups

    def _of_same_weights(self, gallery: Gallery | None) -> Gallery | None:
        """A gallery of other weights is refused where it was named, and is not asked where it is the default one."""
        model_id = next((row.model_id for row in self._rows if row.embedding is not None), None)
        if gallery is None or model_id is None or gallery.model_id in (None, model_id):
            return gallery
        if self._settings.gallery is None:
            note(f"{gallery.location} is of {gallery.model_id}, not of {model_id}, and is not asked who is known")
            return None
        try:
            gallery.check_model(model_id)
        except ModelMismatchError as error:
            raise ModelMismatchError(f"{error}{self._remedy}") from error
        return gallery

    def _bands(self, gallery: Gallery | None) -> DecisionBands | None:
        """What `identify` decides by, where a threshold is set."""
        from lightface.pipeline import find_record, resolve_bands

        given = self._settings.given("threshold", "review_threshold")
        if self._known_threshold is not None:
            given["threshold"] = self._known_threshold
        if gallery is None or not given or gallery.model_id is None:
            return None
        return resolve_bands(find_record(gallery.model_id), gallery=gallery, **given)
