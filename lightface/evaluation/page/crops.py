"""The aligned crops of the worst pairs, as pictures within the page."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from io import BytesIO

from PIL import Image

from lightface.alignment import accept_aligned, align_face
from lightface.errors import PhotoError
from lightface.evaluation.embed import frame_pipeline
from lightface.evaluation.pair_list import PairList
from lightface.faces import ByteArray
from lightface.pipeline import FacePipeline


def cut_crops(pipeline: FacePipeline, pairs: PairList, positions: Iterable[int]) -> dict[int, ByteArray]:
    """The crop that was embedded of each picture, by position in the list: (size, size, 3) uint8 RGB.

    A picture that is not there any more is left out.
    """
    framed = frame_pipeline(pipeline, pairs.framing)
    crops: dict[int, ByteArray] = {}
    for position in dict.fromkeys(positions):
        try:
            photo = pairs.pictures[position].load(
                max_pixels=framed.gates.max_pixels, allow_truncated=framed.gates.allow_truncated
            )
            (face,) = framed.embed_photo(photo, selection=pairs.selection)
            frame = framed.embedder.frame
            crop = (
                accept_aligned(photo.image_rgb, frame)
                if face.detection is None
                else align_face(photo.image_rgb, face.detection, frame)
            )
        except PhotoError:
            continue
        crops[position] = crop.pixels
    return crops


def to_data_uri(image_rgb: ByteArray) -> str:
    """A picture as text that an `img` element shows."""
    buffer = BytesIO()
    Image.fromarray(image_rgb).save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
