"""The frame of a crop and the size of an embedding: one for every LightCNN. (Source: the READMEs of LightCNN.)

The frame that networks look at is `Frame()`, 128 px with the eyes on row 40 and the mouth on row 88. Training crops
show 8 px more on each side: 144 px, with the eyes on row 48 and the mouth on row 96.
"""

from __future__ import annotations

from typing import Final

from lightface.records import Frame

EMBEDDING_SIZE: Final = 256

FRAME_PX: Final = Frame().size_px
TRAINING_MARGIN_PX: Final = 8
CROP_PX: Final = FRAME_PX + 2 * TRAINING_MARGIN_PX
TRAINING_FRAME: Final = Frame(
    size_px=CROP_PX,
    eye_row_px=Frame().eye_row_px + TRAINING_MARGIN_PX,
    mouth_row_px=Frame().mouth_row_px + TRAINING_MARGIN_PX,
)
