"""Does a poor photograph, or one made to deceive, let strangers in? Probes are degraded, the gallery is not.

    scripts/measure_false_accepts --photos DIR        (DIR/PERSON/photographs; research photographs by default)

Each photograph of each person is degraded in turn and goes through the whole pipeline, with the gates and the threshold
that `identify` has by default. It is compared with every clean photograph of everybody. The table goes to the file that
--output names, with two parts more: look-alikes, and noise aimed at the network, from which nothing here protects.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from lightface.alignment import align_face
from lightface.embedding import to_network_input
from lightface.errors import LightfaceError
from lightface.evaluation.intervals import wilson
from lightface.faces import AlignedFace, ByteArray, DetectedFace, FaceSelection, FloatArray
from lightface.images import Photo, find_photos, load_photo
from lightface.matching import person_scores
from lightface.models.weights import load_model
from lightface.pipeline import FaceGates, FacePipeline, load_pipeline

ROOT = Path(__file__).parents[1]
FAR = "1e-3"  # of the threshold that is the default
ALIKE_FARS = (FAR, "1e-4")  # the stricter one is the remedy

Degrade = Callable[[ByteArray, DetectedFace], ByteArray]


# --- what is done to a photograph (H, W, 3) uint8, in proportion to the face ---------------------------------------


def eye_distance_px(face: DetectedFace) -> float:
    return float(np.linalg.norm(face.landmarks_px[0] - face.landmarks_px[1]))


def blur(share: float) -> Degrade:
    """By a Gaussian whose deviation is a share of the eye distance."""
    return lambda image, face: cv2.GaussianBlur(image, (0, 0), share * eye_distance_px(face))


def reduce(eyes_px: float) -> Degrade:
    """Until the eyes are so many pixels apart, and enlarged again, as from a distant camera."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        ratio = min(1.0, eyes_px / eye_distance_px(face))
        small = cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)

    return apply


def darken(share: float) -> Degrade:
    """To a share of the light, with the noise of a sensor (deviation 4 grey levels)."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        noise = np.random.default_rng(0).normal(0, 4, image.shape)
        return np.clip(image * share + noise, 0, 255).astype(np.uint8)

    return apply


def cover(first: int, second: int, reach: tuple[float, float]) -> Degrade:
    """By a black bar along two landmarks, reaching so many eye distances up and down from them."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        a, b = face.landmarks_px[first], face.landmarks_px[second]
        size = eye_distance_px(face)
        (left, top), (right, bottom) = np.minimum(a, b), np.maximum(a, b)
        start = (round(left - 0.5 * size), round(top - reach[0] * size))
        end = (round(right + 0.5 * size), round(bottom + reach[1] * size))
        return cv2.rectangle(image.copy(), start, end, (12, 12, 12), cv2.FILLED)

    return apply


def print_page(image: ByteArray, face: DetectedFace) -> ByteArray:
    """As if printed and photographed at an angle: less contrast, the ink's dots, a slanted sheet, a little blur."""
    height, width = image.shape[:2]
    dots = cv2.resize(np.random.default_rng(0).normal(0, 14, (height, width)), (width, height))
    page = np.clip(55 + image * 0.6 + dots[..., None], 0, 255) * (1.0, 0.97, 0.9)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    slanted = corners + np.array([(0.02, 0.06), (-0.08, 0), (-0.03, -0.02), (0.06, -0.07)], np.float32) * (
        width,
        height,
    )
    matrix = cv2.getPerspectiveTransform(corners, slanted.astype(np.float32))
    tilted = cv2.warpPerspective(page, matrix, (width, height), borderValue=(90, 85, 80))
    return cv2.GaussianBlur(tilted, (0, 0), 0.03 * eye_distance_px(face)).astype(np.uint8)


DEGRADED: dict[str, Degrade] = {
    "as it is": lambda image, face: image,
    "blurred, 0.1 eye distances": blur(0.1),
    "blurred, 0.2 eye distances": blur(0.2),
    "tiny, eyes 12 px apart": reduce(12),
    "tiny, eyes 7 px apart": reduce(7),
    "dark, a tenth of the light": darken(0.1),
    "dark, a twentieth of the light": darken(0.05),
    "eyes covered": cover(0, 1, (0.35, 0.35)),
    "mouth and chin covered": cover(3, 4, (0.45, 0.8)),
    "printed and photographed": print_page,
}


# --- measuring -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Probes:
    """The faces of one kind of probe that came through the gates."""

    vectors: FloatArray  # (N, 256)
    people: np.ndarray  # (N,)


@dataclass(frozen=True, slots=True)
class Share:
    """How many of so many were at or above the threshold."""

    accepted: int
    of: int

    def __str__(self) -> str:
        return f"{self.accepted / self.of:.3%}" if self.of else ""

    @property
    def interval(self) -> str:
        spread = wilson(self.accepted, self.of) if self.of else None
        return f"{spread.low:.3%} to {spread.high:.3%}" if spread else ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: probes of one kind against every clean photograph."""

    probe: str
    gate: str
    through: Share  # photographs with a face that came through the gates
    strangers: Share
    own: Share


def main() -> None:
    options = read_options()
    gates = {"quality gate": FaceGates(), "no quality gate": FaceGates(min_quality=0.0)}
    pipelines = {name: load_pipeline(device="cpu", gates=each) for name, each in gates.items()}
    paths = find_photos([options.photos])
    if len({path.parent for path in paths}) < 2:
        sys.exit(f"measure_false_accepts: {options.photos} needs a folder for each of two people and more")
    names = sorted({path.parent.name for path in paths})
    people = np.array([names.index(path.parent.name) for path in paths])
    photos = [load_photo(path) for path in paths]
    gallery = embed(pipelines["quality gate"], photos, people)
    faces = pipelines["quality gate"].detector.detect_batch([photo.image_rgb for photo in photos])
    thresholds = pipelines["quality gate"].record.thresholds
    threshold = thresholds[FAR]

    rows = []
    for name, degrade in DEGRADED.items():
        probes = [
            Photo(photo.path, photo.sha256, degrade(photo.image_rgb, found[0])) if found else photo
            for photo, found in zip(photos, faces, strict=True)
        ]
        for gate, pipeline in pipelines.items():
            embedded = embed(pipeline, probes, people)
            same = embedded.people[:, None] == gallery.people
            above = embedded.vectors @ gallery.vectors.T >= threshold
            through = Share(len(embedded.people), len(photos))
            rows.append(Row(name, gate, through, strangers=share(above, ~same), own=share(above, same)))
            print(format_row(rows[-1]), flush=True)
    text = write_page(
        rows,
        {far: measure_look_alikes(gallery, thresholds[far]) for far in ALIKE_FARS},
        attack(pipelines["quality gate"], photos, people, gallery, threshold),
        threshold=threshold,
        model=pipelines["quality gate"].model_id,
        people=len(names),
    )
    options.output.write_text(text, encoding="utf-8")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=ROOT.parent / "shared" / "photos" / "people")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "false-accepts.md")
    return parser.parse_args()


def embed(pipeline: FacePipeline, photos: Sequence[Photo], people: np.ndarray) -> Probes:
    vectors, kept = [np.zeros((0, 256), np.float32)], []
    for start in range(0, len(photos), 8):
        results = pipeline.embed_photos(photos[start : start + 8], selection=FaceSelection.LARGEST)
        for index, result in enumerate(results, start):
            vectors += [face.vector[None] for face in result.faces]
            kept += [people[index]] * len(result.faces)
    return Probes(np.concatenate(vectors), np.array(kept, np.int64))


def share(above: np.ndarray, counted: np.ndarray) -> Share:
    return Share(int((above & counted).sum()), int(counted.sum()))


def measure_look_alikes(gallery: Probes, threshold: float) -> dict[str, Share]:
    """Against strangers chosen for their likeness, by the network that is measured: the worst that there is."""
    similarities = gallery.vectors @ gallery.vectors.T
    of_person = gallery.people == np.unique(gallery.people)[:, None]  # (P, N)
    sizes = of_person.sum(axis=1)
    likeness = of_person @ similarities @ of_person.T / np.outer(sizes, sizes)  # the mean over two people's photographs
    np.fill_diagonal(likeness, -np.inf)
    look_alike = likeness.argmax(axis=1)
    twins = np.zeros_like(likeness, bool)
    twins[np.unravel_index(likeness.argmax(), likeness.shape)] = True

    person = of_person.argmax(axis=0)
    strangers = person[:, None] != person
    above = similarities >= threshold
    templates = person_scores(gallery.vectors, gallery.vectors, person, len(of_person)) >= threshold
    others = ~of_person.T
    named = (templates & others).any(axis=1)
    return {
        "each photograph of every stranger": share(above, strangers),
        "each photograph of the stranger most like the person": share(above, look_alike[person][:, None] == person),
        "each photograph, of the two people most alike": share(above, twins[np.ix_(person, person)]),
        "each stranger, by the average of their photographs": share(templates, others),
        "the nearest of all strangers, by that average": share(named, np.ones_like(named)),
    }


def attack(
    pipeline: FacePipeline, photos: Sequence[Photo], people: np.ndarray, gallery: Probes, threshold: float
) -> dict[int, Share]:
    """Noise of 1 to 8 grey levels along the gradient (FGSM, Goodfellow et al. 2015), towards one stranger each."""
    embedder = pipeline.embedder
    network = load_model(embedder.record.name).network
    contract = embedder.record.contract
    random = np.random.default_rng(0)
    reached: dict[int, list[bool]] = {levels: [] for levels in (1, 2, 4, 8)}
    for photo, person in zip(photos, people, strict=True):
        crops = aligned(pipeline, photo)
        if not crops:
            continue
        target = gallery.vectors[random.choice(np.flatnonzero(gallery.people != person))]
        pixels = torch.from_numpy(to_network_input(crops[:1], contract)).requires_grad_()
        similarity = F.cosine_similarity(embed_both(network, pixels), torch.from_numpy(target)[None])
        (gradient,) = torch.autograd.grad(similarity.sum(), pixels)
        for levels, successes in reached.items():
            disturbed = (pixels + levels * contract.scale * gradient.sign()).clamp(0, 255 * contract.scale)
            with torch.no_grad():
                similarity = embed_both(network, disturbed)[0] @ torch.from_numpy(target)
            successes.append(float(similarity) >= threshold)
    return {levels: Share(sum(successes), len(successes)) for levels, successes in reached.items()}


def aligned(pipeline: FacePipeline, photo: Photo) -> list[AlignedFace]:
    return [
        align_face(photo.image_rgb, face, pipeline.embedder.frame) for face in pipeline.detector.detect(photo.image_rgb)
    ]


def embed_both(network: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """(N, 256) unit rows of crops and their mirror images together, as `Embedder` does."""
    return F.normalize(network(pixels) + network(pixels.flip(-1)))


# --- the page ------------------------------------------------------------------------------------------------------

INTRODUCTION = """# Do poor or deceiving photographs let strangers in?

The false-accept rate (FAR) that a threshold promises was measured on ordinary photographs. Here the probe is degraded
and the gallery is not, as when a poor picture is looked up. Each of the photographs of {people} people goes through the
whole pipeline, and is compared with every clean photograph of the others and of the same person, at the threshold of
FAR {far} ({threshold:.4f}). `identify` compares the average of a person's samples instead: see the look-alikes below.

Made by `scripts/measure_false_accepts` with the weights {model} on {today}. Intervals: Wilson, 95 %, as if
comparisons were independent, which they are not quite: they share people.
"""

LOOK_ALIKES = """
## Look-alikes

A threshold's FAR is an average over all strangers. Here clean photographs are compared with strangers chosen for their
likeness, by the network that is measured and from the same photographs: the worst that these {people} people offer.

| compared with | comparisons | accepted at the threshold of {fars} |
|---|---|{rules}|
{rows}

The last two rows are what `identify` does. A stranger is accepted by an average more often than by a single photograph,
which pairs of photographs do not show; and the more people are enrolled, the likelier one of them is accepted. A
stricter `--threshold` is the remedy.
"""

ATTACKS = """
## Noise aimed at the network

The face's crop is disturbed along the gradient of the network (FGSM, one step) towards one stranger in the gallery,
drawn at random. This needs the weights, which everybody has, and a way to bring a picture in without a camera.

| noise, grey levels of 255 | strangers reached | of |
|---|---|---|
{rows}

Nothing in lightface protects from this: it is measured only. Neither does lightface know a living face from a
photograph, a screen or a mask: there is **no liveness detection**. Where somebody gains by passing for another, let a
human look, or use a camera that tells.
"""


def format_row(row: Row) -> str:
    through = f"{row.through.accepted} of {row.through.of}"
    accepted = f"{row.strangers.accepted} of {row.strangers.of:,}"
    recognised = f"{row.own.accepted / row.own.of:.1%}" if row.own.of else ""
    cells = (row.probe, row.gate, through, accepted, str(row.strangers), row.strangers.interval, recognised)
    return f"| {' | '.join(cells)} |"


def format_alike(*found: tuple[str, Share]) -> str:
    """One way to compare, at each of the thresholds."""
    cells = [f"{share.accepted}: {share} ({share.interval})" for _, share in found]
    return f"| {found[0][0]} | {found[0][1].of:,} | {' | '.join(cells)} |"


def write_page(
    rows: Sequence[Row],
    look_alikes: Mapping[str, Mapping[str, Share]],  # by FAR
    attacks: Mapping[int, Share],
    *,
    threshold: float,
    model: str,
    people: int,
) -> str:
    today = datetime.now(UTC).date().isoformat()
    introduction = INTRODUCTION.format(people=people, far=FAR, threshold=threshold, model=model, today=today)
    head = [
        "| probe | gates | faces embedded | strangers accepted | FAR | interval | own person recognised |",
        "|" + "---|" * 7,
    ]
    table = "\n".join([*head, *map(format_row, rows)])
    alike = LOOK_ALIKES.format(
        people=people,
        fars=" | of ".join(f"FAR {far}" for far in look_alikes),
        rules="|".join("---" for _ in look_alikes),
        rows="\n".join(map(format_alike, *(found.items() for found in look_alikes.values()))),
    )
    noise = "\n".join(f"| {levels} | {reached.accepted} | {reached.of} |" for levels, reached in attacks.items())
    return f"{introduction}\n{table}\n{alike}{ATTACKS.format(rows=noise)}"


if __name__ == "__main__":
    try:
        main()
    except LightfaceError as error:
        sys.exit(f"measure_false_accepts: {error}")
