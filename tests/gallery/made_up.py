"""Made-up faces for the tests of the gallery."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from lightface.gallery import Gallery, NewSample, Person
from lightface.records import FloatArray


def make_vector(seed: int) -> FloatArray:
    values = np.random.default_rng(seed).normal(size=256)
    vector: FloatArray = (values / np.linalg.norm(values)).astype(np.float32)
    return vector


def make_sample(photo: int, **changes: Any) -> NewSample:
    """The one face of photograph number `photo`, which is the seed of its embedding as well."""
    values: dict[str, Any] = {
        "vector": make_vector(photo),
        "model_id": "model-a",
        "source_path": f"/photos/{photo}.jpg",
        "image_sha256": hashlib.sha256(f"photo {photo}".encode()).hexdigest(),
        "box_px": (10.0, 20.0, 110.0, 140.0),
        "det_score": 0.99,
        "quality": 0.8,
    }
    return NewSample(**{**values, **changes})


def find(gallery: Gallery, person: str | int) -> Person:
    """The person of that name or id, who must be there."""
    found = gallery.find_person(person)
    assert found is not None
    return found
