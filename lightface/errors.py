"""Every error that lightface raises on purpose, each message one line: the problem, then the remedy.

And the one check of numbers that a program hands in: thresholds, rates, limits and sizes, before any work is done.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar, Final, Self

_LARGEST_COUNT: Final = 10**9


class LightfaceError(Exception):
    """Base of all errors below; the command line turns one into a line on stderr and exit code 2."""

    def __init__(self, message: str) -> None:
        # What a library says of a file, and is quoted here, may have several lines.
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


class ConfigError(LightfaceError):
    """A setting, option or configuration file that cannot be used."""


class DeviceError(LightfaceError):
    """A device or precision that this machine does not have."""


class OutputError(LightfaceError):
    """A result that could not be written (full disk, read-only folder, unknown suffix)."""


class RemoteError(LightfaceError):
    """Another machine that does not do what is asked of it: a bucket, a web server, a Ray cluster."""


class TableError(LightfaceError):
    """A face table that cannot be read."""


class MetadataError(LightfaceError):
    """Metadata of a photograph that cannot be read, or cannot be changed without losing some of it."""


class ClusterError(LightfaceError):
    """Faces that cannot be grouped: of several models, or too many at once."""


class ThresholdError(LightfaceError):
    """A decision was asked for, and no threshold is known for these weights and this gallery."""


# --- one photograph ---------------------------------------------------------------------------------


class PhotoError(LightfaceError):
    """A photograph that yields no usable face. `reason` is the word written into reports."""

    reason: ClassVar[str] = "invalid_image"

    def as_result(self) -> Self:
        """The error, to be kept beside results: without its traceback, whose frames hold pixels of the photograph."""
        error: BaseException | None = self
        while error is not None:
            error.__traceback__ = None
            error = error.__cause__ or error.__context__
        return self


class ImageError(PhotoError):
    """A file that is missing, unreadable or not a picture."""

    reason = "invalid_image"


class MissingFileError(ImageError):
    """A path where there is nothing."""

    reason = "missing_file"


class ImageTooLargeError(ImageError):
    """A picture with more pixels than the limit, refused before it is decoded."""

    reason = "image_too_large"


class FaceNotFoundError(PhotoError):
    """No face in the photograph."""

    reason = "face_not_found"


class MultipleFacesError(PhotoError):
    """More faces than the face selection admits."""

    reason = "multiple_faces"


class FaceTooSmallError(PhotoError):
    """A face smaller than the minimum size."""

    reason = "face_too_small"


class LowDetectionScoreError(PhotoError):
    """A face whose detection score is under the minimum."""

    reason = "low_detection_score"


class LowQualityError(PhotoError):
    """A face whose quality is under the minimum, or whose landmarks cannot be aligned."""

    reason = "low_quality"


class DuplicateFaceError(PhotoError):
    """A photograph that is already enrolled for this person."""

    reason = "duplicate"


class IdentityConflictError(PhotoError):
    """A face that is enrolled for another person already, or resembles one."""

    reason = "identity_conflict"


# --- weights ----------------------------------------------------------------------------------------


class WeightsError(LightfaceError):
    """Weights that are unknown or cannot be loaded."""


class ChecksumError(WeightsError):
    """A weights file whose bytes are not those of its record."""


class CheckpointError(WeightsError):
    """A checkpoint that fits no LightCNN; the message lists the offending keys."""


# --- gallery ----------------------------------------------------------------------------------------


class GalleryError(LightfaceError):
    """A gallery that cannot be opened, read or changed."""


class LockedGalleryError(GalleryError):
    """An encrypted gallery, and no key was given."""


class ModelMismatchError(GalleryError):
    """Embeddings of one model offered to a gallery of another."""


class PersonNotFoundError(GalleryError):
    """A person who is not in the gallery."""


# --- evaluation -------------------------------------------------------------------------------------


class EvaluationError(LightfaceError):
    """A list that cannot be read, or pairs that are too few for the figure asked for."""


# --- training ---------------------------------------------------------------------------------------


class TrainingError(LightfaceError):
    """A training run that cannot start or go on."""


# --- values -----------------------------------------------------------------------------------------


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    ends: bool = True,
    whole: bool = False,
    error: type[LightfaceError] = ConfigError,
) -> None:
    """Raise `error` unless `value` is a finite number from `low` to `high`, or between them without `ends`.

    Python's numbers and numpy's are numbers; truth values and texts are not. `name` is what the value is called.
    """
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if is_number and -math.inf < value < math.inf and (low <= value <= high if ends else low < value < high):
        return
    words = "a whole number" if whole else "a number"
    if low > -math.inf and high < math.inf:
        words += f" from {low:g} to {high:g}" if ends else f" between {low:g} and {high:g}"
    elif low > -math.inf:
        words += f" of {low:g} or more" if ends else f" above {low:g}"
    raise error(f"{name} is {value!r:.60}; give {words}")


def check_count(name: str, value: Any, *, low: int = 1, error: type[LightfaceError] = ConfigError) -> None:
    """The same for a whole number of `low` or more, up to 10^9: no loop or library below is asked for more."""
    check_number(name, value, low=low, high=_LARGEST_COUNT, whole=True, error=error)


def check_flag(name: str, value: Any) -> None:
    """Raise ConfigError unless `value` is True or False: of texts, "off" and "no" would count as true."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r:.60}; give True or False")
