"""What all pages are made of: templates, data for programs, faces as pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from lightface.errors import PhotoError
from lightface.evaluation.embed import frame_pipeline
from lightface.evaluation.pair_list import PairList
from lightface.images import load_photo
from lightface.locations import RemotePath
from lightface.pipeline import FacePipeline
from lightface.records import BoxPx, ByteArray


def render(template: str, *, title: str, data: Markup | None = None, **content: object) -> str:
    """A page made of a template of this package; `data` is a `data_block`, if any.

    Whatever is no `Markup` is escaped.
    """
    environment = Environment(
        loader=PackageLoader("lightface.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = Markup(files("lightface.pages").joinpath("style.css").read_text(encoding="utf-8"))  # our own file
    return environment.get_template(template).render(title=title, style=style, data=data or "", **content)


def data_block(name: str, content: Any) -> Markup:
    """JSON for programs that read the page. It cannot end its element early, since it holds no `<`."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, Markup(text))


# Faces cut out of their photographs by a stored box: nothing is detected again.


_SIZE_PX = 140
_SURROUNDINGS = 1.3  # side of the picture in longer sides of the box: hair and chin help to recognise somebody


@dataclass(frozen=True, slots=True)
class PlacedFace:
    """Where a face is to be found."""

    path: Path
    box_px: BoxPx | None  # None: the picture is the face
    sha256: str | None = None  # of the file at the time; None: whatever lies there is taken


def show_faces(faces: Iterable[PlacedFace]) -> dict[PlacedFace, str]:
    """Each face as text that an `img` element shows. Left out where the photograph is gone or was changed."""
    by_path: dict[Path, list[PlacedFace]] = {}
    for face in dict.fromkeys(faces):
        by_path.setdefault(face.path, []).append(face)
    shown: dict[PlacedFace, str] = {}
    for path, wanted in by_path.items():
        try:
            photo = load_photo(path)
        except PhotoError:
            continue
        for face in wanted:
            if face.sha256 in (None, photo.sha256):
                shown[face] = to_data_uri(_cut(photo.image_rgb, face.box_px))
    return shown


@dataclass(frozen=True, slots=True)
class FacePicture:
    """A face as the templates show it."""

    text: str  # for those who cannot see it
    uri: str = ""  # "" where there is no picture ...
    gone: str = "gone"  # ... and this word stands in its place
    path: str = ""  # told where the pointer rests on it


def picture(face: PlacedFace, shown: Mapping[PlacedFace, str], text: str) -> FacePicture:
    """The picture of a face out of `show_faces`; `text` is for those who cannot see it."""
    is_url = isinstance(face.path, RemotePath) and not face.path.is_fetched
    return FacePicture(text, shown.get(face, ""), "not fetched" if is_url else "gone", str(face.path))


def _cut(image_rgb: ByteArray, box_px: BoxPx | None) -> ByteArray:
    """The square around a box, (140, 140, 3), black where the photograph ends."""
    height, width = image_rgb.shape[:2]
    x_min, y_min, x_max, y_max = box_px or (0.0, 0.0, float(width), float(height))
    side = max(x_max - x_min, y_max - y_min, 1.0) * (_SURROUNDINGS if box_px else 1)
    left, top = round((x_min + x_max - side) / 2), round((y_min + y_max - side) / 2)
    square = np.zeros((round(side), round(side), 3), np.uint8)
    inside = image_rgb[max(top, 0) : max(top + len(square), 0), max(left, 0) : max(left + len(square), 0)]
    square[max(-top, 0) :, max(-left, 0) :][: len(inside), : inside.shape[1]] = inside
    how = cv2.INTER_AREA if len(square) > _SIZE_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (_SIZE_PX, _SIZE_PX), interpolation=how), np.uint8)


# The aligned crops of the worst pairs, as pictures within the page.


def cut_crops(pipeline: FacePipeline, pairs: PairList, positions: Iterable[int]) -> dict[int, ByteArray]:
    """The crop that was embedded of each picture, by position in the list: (size, size, 3) uint8 RGB.

    A picture that is not there any more is left out.
    """
    framed = frame_pipeline(pipeline.selecting(pairs.selection), pairs.framing)
    crops: dict[int, ByteArray] = {}
    for position in dict.fromkeys(positions):
        try:
            photo = pairs.pictures[position].load(
                max_pixels=framed.gates.max_pixels, allow_truncated=framed.gates.allow_truncated
            )
            (face,) = framed.embed_photo(photo)
            crop = framed.crop_of(photo, face)
        except PhotoError:
            continue
        crops[position] = crop.pixels
    return crops


def to_data_uri(image_rgb: ByteArray) -> str:
    """A picture as text that an `img` element shows."""
    buffer = BytesIO()
    Image.fromarray(image_rgb).save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
