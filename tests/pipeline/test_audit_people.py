"""An audit of real people: labels are swapped, people are enrolled twice, and what the audit finds is counted.

The figures go to scratch/audit.json, which git ignores, and to stdout.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lightface.faces import FaceSelection
from lightface.gallery import Gallery, audit_gallery, open_gallery
from lightface.pipeline import enroll_photos, find_people, load_pipeline, resolve_bands

FIGURES = Path(__file__).parents[2] / "scratch" / "audit.json"
DRAWS, SWAPPED, SPLIT = 20, 6, 6

Figures = dict[str, float | str]


def share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def nearest_but(gallery: Gallery, repeated: set[frozenset[int]]) -> tuple[float, float]:
    """The highest cosine of two photographs that are no picture again: of one person, and of two."""
    samples = gallery.samples()
    vectors, owners = np.stack([one.vector for one in samples]), np.array([one.person_id for one in samples])
    scores = vectors @ vectors.T
    for a, one in enumerate(samples):
        for b, other in enumerate(samples):
            if a == b or frozenset({one.id, other.id}) in repeated:
                scores[a, b] = -1
    same = owners[:, None] == owners[None, :]
    return float(scores[same].max()), float(scores[~same].max())


def swap_labels(gallery: Gallery, threshold: float, generator: np.random.Generator) -> tuple[int, int, int]:
    """Put six samples under other names and back: how many are found, of how many that are listed, named right."""
    people = gallery.people()
    samples = [sample for sample in gallery.samples() if sample.id is not None and sample.person_id is not None]
    owners: dict[int, int] = {}
    for place in generator.choice(len(samples), SWAPPED, replace=False):
        sample = samples[place]
        others = [person for person in people if person.id != sample.person_id]
        gallery.move_sample(sample.id or 0, generator.choice(np.array([person.id for person in others])).item())
        owners[sample.id or 0] = sample.person_id or 0
    listed = audit_gallery(gallery, threshold=threshold).mislabelled
    right = [one for one in listed if one.sample.id in owners]
    named = sum(one.nearest_other.person_id == owners[one.sample.id] for one in right)
    for sample_id, person_id in owners.items():
        gallery.move_sample(sample_id, person_id)
    return len(right), len(listed), named


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory, photo_paths: Sequence[Path]) -> Figures:
    pipeline = load_pipeline(device="cpu")
    people = find_people(next(path.parents[1] for path in photo_paths if path.parents[1].name == "people"))
    place = tmp_path_factory.mktemp("people") / "gallery.sqlite"
    generator = np.random.default_rng(5)
    with open_gallery(place, model_id=pipeline.model_id, create=True) as gallery:
        for name, paths in people.items():
            enroll_photos(pipeline, gallery, name, paths, selection=FaceSelection.LARGEST)
        threshold = resolve_bands(pipeline.record, gallery=gallery).threshold
        clean = audit_gallery(gallery, threshold=threshold)
        repeats = {frozenset({one.a.id, one.b.id}): one.similarity for one in clean.repeated}
        nearest_own, nearest_other = nearest_but(gallery, set(repeats))
        swaps = [swap_labels(gallery, threshold, generator) for _ in range(DRAWS)]
        found, listed, named = (sum(column) for column in zip(*swaps, strict=True))
        for person in list(people)[:SPLIT]:
            twin = people[person][0].parent.name + " again"
            samples = gallery.samples(person)
            gallery.remove_samples([sample.id or 0 for sample in samples[4:]])
            gallery.enroll(twin, samples[4:])
        close = audit_gallery(gallery, threshold=threshold).close_people
        true = sum(one.a.name.removesuffix(" again") == one.b.name.removesuffix(" again") for one in close)
    figures: Figures = {
        "model": pipeline.model_id,
        "threshold": threshold,
        "people": clean.person_count,
        "samples": clean.sample_count,
        "listed as mislabelled where all is right": len(clean.mislabelled),
        "repeated pictures where there are two": clean.repeated_total,
        "least similar of them": min(repeats.values()),
        "most similar of other photographs of one person": nearest_own,
        "most similar of photographs of two people": nearest_other,
        "share under the limit of low quality": len(clean.low_quality) / clean.sample_count,
        "close people where all is right": clean.close_people_total,
        f"of {DRAWS} x {SWAPPED} swapped labels, found (recall)": share(found, DRAWS * SWAPPED),
        "of those listed, swapped (precision)": share(found, listed),
        "of those found, the right person named": share(named, found),
        f"of {SPLIT} people enrolled twice, found": share(true, SPLIT),
        "of close people listed, the same person": share(true, len(close)),
    }
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))
    return figures


def test_most_swapped_labels_are_found(figures: Figures) -> None:
    assert figures[f"of {DRAWS} x {SWAPPED} swapped labels, found (recall)"] >= 0.6


def test_what_is_listed_is_seldom_right(figures: Figures) -> None:
    assert figures["of those listed, swapped (precision)"] >= 0.8
    assert figures["listed as mislabelled where all is right"] <= 2
    assert figures["of those found, the right person named"] >= 0.85


def test_who_is_enrolled_twice_is_found(figures: Figures) -> None:
    assert figures[f"of {SPLIT} people enrolled twice, found"] >= 0.5
    assert figures["of close people listed, the same person"] >= 0.7


def test_the_two_repeated_pictures_are_found(figures: Figures) -> None:
    # Two people's first and sixth, and second and sixth pictures are the same, cropped anew.
    assert 2 <= figures["repeated pictures where there are two"] <= 5
