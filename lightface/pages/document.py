"""What all pages are made of: an HTML file that needs nothing else, pieces of markup, faces as pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from lightface.errors import PhotoError
from lightface.evaluation.embed import frame_pipeline
from lightface.evaluation.pair_list import PairList
from lightface.images import load_photo
from lightface.locations import RemotePath
from lightface.pipeline import FacePipeline
from lightface.records import BoxPx, ByteArray

# Nothing is loaded and nothing is run, whatever a name may hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

PRIVACY = "<p>This file shows faces and names: keep it as you keep the photographs.</p>"


def document(title: str, sections: Sequence[str], *, data: str = "") -> str:
    """A page of sections, which are markup; `data` is a `data_block` for programs."""
    style = files("lightface.pages").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>"
        f"{''.join(sections)}</main>{data}</body></html>\n"
    )


# Small pieces of HTML. Whatever comes from outside is escaped here.


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, name: str) -> str:
    """A table of texts, of which further lines are set small; `name` goes into `data-table`."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table data-table="{escape(name)}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def card(name: str, value: str, below: str) -> str:
    """One large figure."""
    kind = ' class="words"' if value.startswith("too few") else ""
    return (
        f'<div class="card" data-card="{escape(name)}"><small>{escape(name)}</small>'
        f"<b{kind}>{escape(value)}</b><small>{escape(below)}</small></div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms and what they are."""
    return f'<dl class="facts">{"".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs)}</dl>'


def chart_figure(svg: str, title: str, text: str, *, key: str = "") -> str:
    """A chart over its caption; `key` is markup."""
    return f"<figure>{svg}<figcaption><b>{escape(title)}</b> {escape(text)}{key}</figcaption></figure>"


def data_block(name: str, content: Any) -> str:
    """JSON for programs that read the page. It cannot end its element early, since it holds no `<`."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'


def _cell(text: str) -> str:
    kind = ' class="words"' if text.startswith("too few") else ' class="long"' if len(text) > 60 else ""
    first, *rest = text.split("\n")
    return f"<td{kind}>{escape(first)}{''.join(f'<small>{escape(line)}</small>' for line in rest)}</td>"


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


def picture(face: PlacedFace, shown: dict[PlacedFace, str], text: str) -> str:
    """The `img` element of a face, or a word where there is none; `text` is for those who cannot see it."""
    if face not in shown:
        is_url = isinstance(face.path, RemotePath) and not face.path.is_fetched
        return f'<span class="gone">{"not fetched" if is_url else "gone"}</span>'
    return f'<img alt="{escape(text)}" title="{escape(str(face.path))}" src="{shown[face]}">'


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
