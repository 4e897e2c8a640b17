"""An audit of real people: labels are swapped, people are enrolled twice or two as one, and what is found is counted.

The figures go to scratch/audit.json, which git ignores, and to stdout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightface.gallery import Gallery, GalleryAudit, StoredSample, audit_gallery, open_gallery
from lightface.gallery.likeness import Conflict, find_conflicts
from lightface.pipeline import enroll_photos, find_people, load_pipeline, resolve_bands
from lightface.records import FaceSelection

FIGURES = Path(__file__).parents[2] / "scratch" / "audit.json"
DRAWS, SWAPPED, SPLIT = 20, 6, 6
SAMPLES = (2, 3, 5, 8)  # of each person, where cases are planted
PLANTED = 6  # people with a planted case, of 18 or 19 in such a gallery; as many are left out of it, to be strangers
KINDS = ("swapped", "two in one", "stranger")

Figures = dict[str, Any]  # numbers, but for the model's name


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


def plant(people: dict[str, list[StoredSample]], outside: Sequence[StoredSample], kind: str) -> dict[str, set[str]]:
    """Change the samples of the first six people; the photographs that are wrong now, by the person they are put to."""
    first = list(people)[:PLANTED]
    if kind == "swapped":
        for a, b in zip(first[::2], first[1::2], strict=True):
            people[a][-1], people[b][-1] = people[b][-1], people[a][-1]
        return {name: {people[name][-1].source_path} for name in first}
    count = 1 if kind == "stranger" else len(people[first[0]]) // 2
    for name in first:
        owner = outside[0].person_id
        others = [sample for sample in outside if sample.person_id == owner][:count]
        outside = [sample for sample in outside if sample.person_id != owner]
        people[name][-count:] = others
    return {name: {sample.source_path for sample in people[name][-count:]} for name in first}


def named_by(audit: GalleryAudit) -> dict[str, set[str]]:
    """The photographs that an audit doubts, by person; all of a person's where nothing says which are theirs."""
    doubted: dict[str, set[str]] = {}
    for one in audit.mislabelled:
        doubted.setdefault(one.sample.person_name, set()).add(one.sample.source_path)
    for mixed in audit.mixed:
        parts = mixed.parts if mixed.is_tie else mixed.parts[1:]
        found = {sample.source_path for part in parts for sample in part.samples}
        doubted.setdefault(mixed.person.name, set()).update(found)
    return doubted


def count_planted(
    samples: Mapping[str, Sequence[StoredSample]], kind: str, size: int, threshold: float, folder: Path
) -> tuple[int, int, int]:
    """In `DRAWS` galleries: planted people with all wrong photographs named; people listed; of these, planted."""
    generator = np.random.default_rng(size)
    right = listed = planted = 0
    names = [name for name, owned in samples.items() if len(owned) >= size]
    for draw in range(DRAWS):
        order = generator.permutation(names).tolist()
        outside, enrolled = order[:PLANTED], order[PLANTED:]
        people = {
            name: [samples[name][place] for place in generator.permutation(len(samples[name]))[:size]]
            for name in enrolled
        }
        wrong = plant(people, [sample for name in outside for sample in samples[name]], kind)
        with open_gallery(folder / f"{kind} {size} {draw}.sqlite", create=True) as gallery:
            for name, owned in people.items():
                gallery.enroll(name, list(owned))
            doubted = named_by(audit_gallery(gallery, threshold=threshold))
        right += sum(paths <= doubted.get(name, set()) for name, paths in wrong.items())
        listed += len(doubted)
        planted += len(doubted.keys() & wrong.keys())
    return right, listed, planted


def count_conflicts(samples: Mapping[str, Sequence[StoredSample]], threshold: float, folder: Path) -> Figures:
    """Half of each person's photographs are enrolled; the others are offered under right, wrong and new names."""
    rows = {name: np.stack([sample.vector for sample in owned]) for name, owned in samples.items()}
    halves = {name: owned[1::2] for name, owned in rows.items()}
    names = list(rows)
    with open_gallery(folder / "halves.sqlite", create=True) as gallery:
        at_once = find_conflicts(gallery, rows, threshold=threshold)
        for name, owned in samples.items():
            gallery.enroll(name, list(owned[::2]))
        right = find_conflicts(gallery, halves, threshold=threshold)
        wrong = [
            find_conflicts(gallery, {names[place - 1]: halves[name]}, threshold=threshold)
            for place, name in enumerate(names)
        ]
        new = [find_conflicts(gallery, {f"new {name}": halves[name]}, threshold=threshold) for name in names]
    return {
        "of all faces at once, refused": refused_of(at_once),
        "of faces under the right name, refused": refused_of(right),
        "of faces under a wrong name, refused": refused_of(*wrong),
        "of faces under a new name, refused": refused_of(*new),
    }


def refused_of(*found: Mapping[str, Sequence[Conflict | None]]) -> float:
    conflicts = [one for each in found for faces in each.values() for one in faces]
    return share(sum(one is not None for one in conflicts), len(conflicts))


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory, photo_paths: Sequence[Path]) -> Figures:
    pipeline = load_pipeline(device="cpu")
    people = find_people(next(path.parents[1] for path in photo_paths if path.parents[1].name == "people"))
    place = tmp_path_factory.mktemp("people") / "gallery.sqlite"
    generator = np.random.default_rng(5)
    with open_gallery(place, model_id=pipeline.model_id, create=True) as gallery:
        for name, paths in people.items():
            enroll_photos(pipeline, gallery, name, paths, selection=FaceSelection.LARGEST, even_if_alike=True)
        threshold = resolve_bands(pipeline.record, gallery=gallery).threshold
        clean = audit_gallery(gallery, threshold=threshold)
        owned_by = {name: gallery.samples(name) for name in people}
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
        "people listed as several where all is right": len(clean.mixed),
        "close people where all is right": clean.close_people_total,
        f"of {DRAWS} x {SWAPPED} swapped labels, found (recall)": share(found, DRAWS * SWAPPED),
        "of those listed, swapped (precision)": share(found, listed),
        "of those found, the right person named": share(named, found),
        f"of {SPLIT} people enrolled twice, found": share(true, SPLIT),
        "of close people listed, the same person": share(true, len(close)),
    }
    for kind in KINDS:
        for size in SAMPLES:
            right, listed, planted = count_planted(owned_by, kind, size, threshold, place.parent)
            figures[f"{kind}, {size} samples: recall"] = share(right, DRAWS * PLANTED)
            figures[f"{kind}, {size} samples: precision"] = share(planted, listed)
    figures |= count_conflicts(owned_by, threshold, place.parent)
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


@pytest.mark.parametrize("size", SAMPLES)
@pytest.mark.parametrize("kind", KINDS)
def test_most_of_what_is_planted_is_found(figures: Figures, kind: str, size: int) -> None:
    assert figures[f"{kind}, {size} samples: recall"] >= 0.7
    assert figures[f"{kind}, {size} samples: precision"] >= 0.6


def test_a_wrong_name_is_refused_and_a_right_one_is_not(figures: Figures) -> None:
    assert figures["of faces under a wrong name, refused"] >= 0.85
    assert figures["of faces under a new name, refused"] >= 0.85
    assert figures["of faces under the right name, refused"] <= 0.02
    assert figures["of all faces at once, refused"] <= 0.03


def test_the_two_repeated_pictures_are_found(figures: Figures) -> None:
    # Two people's first and sixth, and second and sixth pictures are the same, cropped anew.
    assert 2 <= figures["repeated pictures where there are two"] <= 5
