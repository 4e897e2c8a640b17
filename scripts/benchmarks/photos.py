"""The photographs that the parts work on."""

from __future__ import annotations

from pathlib import Path

import matplotlib.cbook
import numpy as np
import skimage.data
from PIL import Image, ImageOps

from lightface.images import find_photos

RESEARCH = Path(__file__).parents[3] / "shared" / "photos"  # beside a maintainer's checkout
_WIDTHS_PX = (320, 640, 960, 1280)


def find_photographs(folder: Path | None, drawn: Path) -> list[Path]:
    """Those of `folder`, else research photographs, else pictures made in `drawn` from two public-domain portraits."""
    if folder is None and RESEARCH.is_dir():
        folder = RESEARCH
    return find_photos([folder or _draw(drawn)])


def draw_one_person(folder: Path) -> tuple[Path, Path]:
    """A portrait, 512x600 px, and its mirror image."""
    folder.mkdir(parents=True)
    paths = folder / "hopper.jpg", folder / "mirrored.jpg"
    hopper, _ = _read_portraits()
    hopper.save(paths[0], quality=92)
    ImageOps.mirror(hopper).save(paths[1], quality=92)
    return paths


def _read_portraits() -> tuple[Image.Image, Image.Image]:
    """Grace Hopper comes with matplotlib, Eileen Collins with scikit-image."""
    hopper = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    return hopper, Image.fromarray(np.asarray(skimage.data.astronaut()))  # type: ignore[no-untyped-call]


def _draw(folder: Path) -> Path:
    """The portraits in several sizes and light, alone and side by side: 24 pictures."""
    folder.mkdir(parents=True)
    hopper, collins = _read_portraits()
    pair = Image.new("RGB", (1024, 512))
    pair.paste(hopper.crop((0, 0, 512, 512)), (0, 0))
    pair.paste(collins, (512, 0))
    for name, portrait in (("hopper", hopper), ("collins", collins), ("pair", pair)):
        for width in _WIDTHS_PX:
            sized = portrait.resize((width, round(width * portrait.height / portrait.width)))
            sized.save(folder / f"{name}-{width}.jpg", quality=92)
            sized.point(lambda level: level * 0.7).save(folder / f"{name}-{width}-dark.jpg", quality=92)
    return folder
