"""Every error that lightface raises on purpose. Each message is one line: the problem, then the remedy."""

from __future__ import annotations

from typing import ClassVar, Self


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
