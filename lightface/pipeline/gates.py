"""The gates: what a photograph and its faces must satisfy to be used."""

from __future__ import annotations

from dataclasses import dataclass

from lightface.detection import MtcnnSettings
from lightface.errors import check_number
from lightface.images import DEFAULT_MAX_PIXELS


@dataclass(frozen=True, slots=True)
class FaceGates:
    """What a photograph and its faces must satisfy. ConfigError for a number out of range."""

    det_threshold: float = MtcnnSettings().det_threshold  # lowest detection score, 0..1
    min_face_size_px: float = MtcnnSettings().min_face_size_px  # shorter side of the box
    min_face_share: float = MtcnnSettings().min_face_share  # the same as a share of the photograph's shorter side, 0..1
    # Lowest quality, 0..1: `quality.measure_quality` times `Recognisability.measure`. It holds for aligned crops, too.
    # One of 200 research portraits is below 0.1, and so are copies that are too poor to tell (docs/false-accepts.md).
    min_quality: float = 0.1
    max_side_px: int | None = MtcnnSettings().max_side_px  # photographs with a longer side are searched at this one
    turns: bool = MtcnnSettings().turns  # whether photographs on their side or head are searched in other turns
    max_pixels: int = DEFAULT_MAX_PIXELS  # a larger photograph is refused before it is decoded
    allow_truncated: bool = False  # a JPEG of which a part is missing is read, and that part is grey
    already_aligned: bool = False  # photographs are crops in the network's frame: no detection, no gates on it

    def __post_init__(self) -> None:
        for name in ("det_threshold", "min_face_share", "min_quality"):
            check_number(name, getattr(self, name), low=0, high=1)
        check_number("min_face_size_px", self.min_face_size_px, low=0)
        check_number("max_pixels", self.max_pixels, low=1)
        if self.max_side_px is not None:
            check_number("max_side_px", self.max_side_px, low=1)
