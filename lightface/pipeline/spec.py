"""What a pipeline is loaded by: the weights, where they run, the gates, and which faces it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from lightface.detection import MtcnnSettings
from lightface.errors import ConfigError, check_flag, check_number
from lightface.images import DEFAULT_MAX_PIXELS
from lightface.images.video import DEFAULT_EVERY_S
from lightface.records import FaceSelection

_USUAL: Final = MtcnnSettings()
# Detection goes down to this score, so that a face below the gate is reported as doubtful, not as missing.
_LOWEST_REPORTED_SCORE: Final = 0.7


@dataclass(frozen=True, slots=True)
class FaceGates:
    """What a photograph and its faces must satisfy. ConfigError for a value out of range or of another type."""

    det_threshold: float = _USUAL.det_threshold  # lowest detection score, 0..1
    min_face_size_px: float = _USUAL.min_face_size_px  # shorter side of the box
    min_face_share: float = _USUAL.min_face_share  # the same as a share of the photograph's shorter side, 0..1
    # Lowest quality, 0..1: `quality.measure_quality` times `Recognisability.measure`. It holds for aligned crops, too.
    # One of 200 research portraits is below 0.1, and so are copies that are too poor to tell (docs/false-accepts.md).
    min_quality: float = 0.1
    max_side_px: int | None = _USUAL.max_side_px  # photographs with a longer side are searched at this one
    turns: bool = _USUAL.turns  # whether photographs on their side or head are searched in other turns
    max_pixels: int = DEFAULT_MAX_PIXELS  # a larger photograph is refused before it is decoded
    allow_truncated: bool = False  # a JPEG of which a part is missing is read, and that part is grey
    every_s: float = DEFAULT_EVERY_S  # seconds between the frames of a video that are looked at
    already_aligned: bool = False  # photographs are crops in the network's frame: no detection, no gates on it

    def __post_init__(self) -> None:
        for name in ("det_threshold", "min_face_share", "min_quality"):
            check_number(name, getattr(self, name), low=0, high=1)
        check_number("min_face_size_px", self.min_face_size_px, low=0)
        check_number("every_s", self.every_s, low=0)
        check_number("max_pixels", self.max_pixels, low=1)
        if self.max_side_px is not None:
            check_number("max_side_px", self.max_side_px, low=1)
        for name in ("turns", "allow_truncated", "already_aligned"):
            check_flag(name, getattr(self, name))

    def search_settings(self) -> MtcnnSettings:
        """What the cascade looks for: faces that are too small or doubtful for the gates alone are found, and told."""
        return MtcnnSettings(
            min_face_size_px=min(self.min_face_size_px, _USUAL.min_face_size_px),
            min_face_share=min(self.min_face_share, _USUAL.min_face_share),
            det_threshold=min(self.det_threshold, _LOWEST_REPORTED_SCORE),
            max_side_px=self.max_side_px,
            turns=self.turns,
        )

    def opened(self, *, already_aligned: bool = False) -> FaceGates:
        """Gates that every face passes; what is said of reading and searching stays."""
        return replace(
            self,
            det_threshold=0,
            min_face_size_px=0,
            min_face_share=0,
            min_quality=0,
            already_aligned=already_aligned,
        )


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """A loaded pipeline in a few words. They can travel to other processes and machines, which networks cannot.

    `build_pipeline` makes the same pipeline of them.
    """

    model: str  # the name of registered weights
    device: str  # auto, cpu, cuda, mps; cuda:1 and so on
    precision: str  # auto, fp32, bf16, fp16
    flip: bool | None  # whether mirror images are embedded, too; None: as the weights' record says
    search: MtcnnSettings  # what the detector looks for
    gates: FaceGates
    selection: FaceSelection  # which of a photograph's faces are taken


def to_selection(selection: FaceSelection | str) -> FaceSelection:
    """The selection of that name. ConfigError where there is none."""
    try:
        return FaceSelection(selection)
    except ValueError as error:
        raise ConfigError(f"`selection` is {selection!r}; choose from {', '.join(FaceSelection)}") from error
