"""Does a poor photograph, or one made to deceive, let strangers in? Probes are degraded, the gallery is not.

    scripts/measure_false_accepts --photos DIR        (DIR/PERSON/photographs; research photographs by default)

Each photograph of each person is degraded in turn and goes through the whole pipeline, with the gates and the threshold
that `identify` has by default. It is compared with every clean photograph of everybody. The table goes to the file that
--output names, the last part of which (noise aimed at the network) says what nothing here protects from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from lightface.embedding import to_network_input
from lightface.errors import LightfaceError
from lightface.evaluation.intervals import wilson
from lightface.faces import AlignedFace, ByteArray, DetectedFace, FaceSelection, FloatArray
from lightface.images import Photo, find_photos, load_photo
from lightface.models.weights import load_model
from lightface.pipeline import FaceGates, FacePipeline, load_pipeline

ROOT = Path(__file__).parents[1]
FAR = "1e-3"  # of the threshold that is the default

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
    """The faces of one kind of probe that came through the gates, of how many photographs."""

    vectors: FloatArray  # (N, 256)
    people: np.ndarray  # (N,)
    photographs: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many comparisons with other people and with the same person were above the threshold."""

    impostors: int
    accepted: int
    genuine: int
    recognised: int


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
    threshold = pipelines["quality gate"].record.thresholds[FAR]

    rows = []
    for name, degrade in DEGRADED.items():
        probes = [
            Photo(photo.path, photo.sha256, degrade(photo.image_rgb, found[0])) if found else photo
            for photo, found in zip(photos, faces, strict=True)
        ]
        for gate, pipeline in pipelines.items():
            embedded = embed(pipeline, probes, people)
            rows.append((name, gate, embedded, count(embedded, gallery, threshold)))
            print(format_row(*rows[-1]), flush=True)
    attacks = attack(pipelines["quality gate"], photos, people, gallery, threshold)
    text = write_page(rows, attacks, threshold=threshold, model=pipelines["quality gate"].model_id, people=len(names))
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
    return Probes(np.concatenate(vectors), np.array(kept, np.int64), len(photos))


def count(probes: Probes, gallery: Probes, threshold: float) -> Counts:
    same = probes.people[:, None] == gallery.people
    above = probes.vectors @ gallery.vectors.T >= threshold
    return Counts(int((~same).sum()), int((above & ~same).sum()), int(same.sum()), int((above & same).sum()))


def attack(
    pipeline: FacePipeline, photos: Sequence[Photo], people: np.ndarray, gallery: Probes, threshold: float
) -> list[tuple[int, Counts]]:
    """Noise of 1 to 8 grey levels along the gradient (FGSM, Goodfellow et al. 2015), towards one stranger each."""
    embedder = pipeline.embedder
    network = load_model(embedder.record.name).network
    contract = embedder.record.contract
    random = np.random.default_rng(0)
    results = {levels: [0, 0] for levels in (1, 2, 4, 8)}
    for photo, person in zip(photos, people, strict=True):
        crops = aligned(pipeline, photo)
        if not crops:
            continue
        target = gallery.vectors[random.choice(np.flatnonzero(gallery.people != person))]
        pixels = torch.from_numpy(to_network_input(crops[:1], contract)).requires_grad_()
        similarity = F.cosine_similarity(embed_both(network, pixels), torch.from_numpy(target)[None])
        (gradient,) = torch.autograd.grad(similarity.sum(), pixels)
        for levels, tally in results.items():
            disturbed = (pixels + levels * contract.scale * gradient.sign()).clamp(0, 255 * contract.scale)
            with torch.no_grad():
                reached = float(embed_both(network, disturbed)[0] @ torch.from_numpy(target))
            tally[0] += 1
            tally[1] += reached >= threshold
    return [(levels, Counts(tally[0], tally[1], 0, 0)) for levels, tally in results.items()]


def aligned(pipeline: FacePipeline, photo: Photo) -> list[AlignedFace]:
    from lightface.alignment import align_face

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
FAR {far} ({threshold:.4f}). `identify` compares the average of a person's samples, which is the stricter test.

Made by `scripts/measure_false_accepts` with the weights {model} on {today}. Intervals: Wilson, 95 %, as if
comparisons were independent, which they are not quite: they share people.
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


def format_row(name: str, gate: str, probes: Probes, counts: Counts) -> str:
    interval = wilson(counts.accepted, counts.impostors) if counts.impostors else None
    far = f"{counts.accepted / counts.impostors:.3%}" if counts.impostors else ""
    spread = f"{interval.low:.3%} to {interval.high:.3%}" if interval else ""
    seen = f"{counts.recognised / counts.genuine:.1%}" if counts.genuine else ""
    through = f"{len(probes.people)} of {probes.photographs}"
    return f"| {name} | {gate} | {through} | {counts.accepted} of {counts.impostors:,} | {far} | {spread} | {seen} |"


def write_page(
    rows: Sequence[tuple[str, str, Probes, Counts]],
    attacks: Sequence[tuple[int, Counts]],
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
    table = "\n".join([*head, *(format_row(*row) for row in rows)])
    lines = "\n".join(f"| {levels} | {counts.accepted} | {counts.impostors} |" for levels, counts in attacks)
    return f"{introduction}\n{table}\n{ATTACKS.format(rows=lines)}"


if __name__ == "__main__":
    try:
        main()
    except LightfaceError as error:
        sys.exit(f"measure_false_accepts: {error}")
