"""Do poor photographs, pictures of no face, or pictures made to deceive, let strangers in?

    scripts/measure_false_accepts --photos DIR        (DIR/PERSON/photographs; research photographs by default)

Some photographs of each person, and their aligned crops, are degraded in turn and go through the whole pipeline, with
the gates and the threshold that are the default. They are compared with one another and with the clean ones. Then
pictures that show no face, drawn here; look-alikes; and noise aimed at the network, from which nothing here protects.
The page goes to the file that --output names.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from lightface.alignment import align_face
from lightface.crops import ShardReader, find_index, read_index
from lightface.embedding import to_network_input
from lightface.errors import LightfaceError
from lightface.images import Photo, decode_photo, find_photos, load_photo
from lightface.matching import POOR_RAISE, measure_poorness, person_scores, threshold_of_pair
from lightface.measurement.intervals import wilson
from lightface.models.weights import load_model
from lightface.pipeline import FaceGates, FacePipeline, load_pipeline
from lightface.records import AlignedFace, ByteArray, DetectedFace, FaceSelection, FloatArray

ROOT = Path(__file__).parents[1]
FAR = "1e-3"  # of the threshold that is the default
ALIKE_FARS = (FAR, "1e-4")  # the stricter one is the remedy
ALLOWED = 4  # times the promised FAR, for degraded faces
FEWEST = 8  # faces of a kind, below which its shares say nothing
DRAWN = 40  # pictures of each kind that shows no face

# A face as it lies in an aligned crop, frontal.
IN_CROP = DetectedFace(
    (0.0, 0.0, 128.0, 128.0), np.array([(44, 40), (84, 40), (64, 64), (48, 88), (80, 88)], np.float32), 1.0
)

Degrade = Callable[[ByteArray, DetectedFace], ByteArray]


# --- what is done to a photograph (H, W, 3) uint8, in proportion to the face ---------------------------------------


def eye_distance_px(face: DetectedFace) -> float:
    return float(np.linalg.norm(face.landmarks_px[0] - face.landmarks_px[1]))


def own_random(image: ByteArray) -> np.random.Generator:
    """Always the same for a picture, and another for each: two photographs never share their noise."""
    return np.random.default_rng(zlib.crc32(image.tobytes()))


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


def mosaic(share: float) -> Degrade:
    """Into squares of a share of the eye distance."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        side = max(1.0, share * eye_distance_px(face))
        size = (max(1, round(image.shape[1] / side)), max(1, round(image.shape[0] / side)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)

    return apply


def compress(quality: int) -> Degrade:
    """As JPEG, at the size at which the eyes are 40 px apart."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        small = cv2.resize(image, None, fx=(ratio := min(1.0, 40 / eye_distance_px(face))), fy=ratio)
        _, coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.resize(cv2.imdecode(coded, cv2.IMREAD_COLOR), image.shape[1::-1])

    return apply


def shake(share: float) -> Degrade:
    """Along a slanted line of a share of the eye distance."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        length = max(3, round(share * eye_distance_px(face)))
        kernel = np.zeros((length, length), np.float32)
        cv2.line(kernel, (0, length // 3), (length - 1, length - 1 - length // 3), 1.0)
        return cv2.filter2D(image, -1, kernel / kernel.sum())

    return apply


def change_light(gain: float, offset: float = 0, sensor_noise: float = 0) -> Degrade:
    """Times a gain and plus an offset in grey levels, with the noise of a sensor."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        noise = own_random(image).normal(0, sensor_noise, image.shape)
        return np.clip(image.astype(np.float32) * gain + offset + noise, 0, 255).astype(np.uint8)

    return apply


def speckle(share: float) -> Degrade:
    """With a share of the pixels black or white, each as large as a hundredth of the face."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        grain = max(1, round(eye_distance_px(face) / 40))
        random = own_random(image).random([-(-side // grain) for side in image.shape[:2]])
        grains = np.kron(random, np.ones((grain, grain)))[: image.shape[0], : image.shape[1], None]
        return np.where(grains < share / 2, 0, np.where(grains > 1 - share / 2, 255, image)).astype(np.uint8)

    return apply


def turn(degrees: float) -> Degrade:
    """About the middle of the picture, which keeps its size; black outside."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        height, width = image.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
        return cv2.warpAffine(image, matrix, (width, height)).astype(np.uint8)

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


def cover_side(image: ByteArray, face: DetectedFace) -> ByteArray:
    """Left of the middle of the face, by black."""
    covered = image.copy()
    covered[:, : round(float(face.landmarks_px[:, 0].mean()))] = 12
    return covered


def stretch(across: float, down: float) -> Degrade:
    """About the middle of the picture, which keeps its size; black outside."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        height, width = image.shape[:2]
        matrix = np.array([(across, 0, width * (1 - across) / 2), (0, down, height * (1 - down) / 2)])
        return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_AREA).astype(np.uint8)

    return apply


def smooth(share: float) -> Degrade:
    """By a median over squares of a share of the eye distance: edges stay, features go."""

    def apply(image: ByteArray, face: DetectedFace) -> ByteArray:
        small = cv2.resize(image, None, fx=(ratio := min(1.0, 40 / eye_distance_px(face))), fy=ratio)
        smoothed = cv2.medianBlur(small, round(share * 40) | 1)
        return cv2.resize(smoothed, image.shape[1::-1]).astype(np.uint8)

    return apply


def print_page(image: ByteArray, face: DetectedFace) -> ByteArray:
    """As if printed and photographed at an angle: less contrast, the ink's dots, a slanted sheet, a little blur."""
    height, width = image.shape[:2]
    dots = own_random(image).normal(0, 14, (height, width))
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
    "blurred, 0.05 eye distances": blur(0.05),
    "blurred, 0.1": blur(0.1),
    "blurred, 0.15": blur(0.15),
    "blurred, 0.2": blur(0.2),
    "blurred, 0.3": blur(0.3),
    "shaken, 0.25 eye distances": shake(0.25),
    "shaken, 0.4": shake(0.4),
    "shaken, 0.8": shake(0.8),
    "smoothed, 0.15 eye distances": smooth(0.15),
    "smoothed, 0.4": smooth(0.4),
    "tiny, eyes 12 px apart": reduce(12),
    "tiny, 7 px": reduce(7),
    "tiny, 4 px": reduce(4),
    "tiny, 2.5 px": reduce(2.5),
    "mosaic, squares of 0.15 eye distances": mosaic(0.15),
    "mosaic, 0.25": mosaic(0.25),
    "mosaic, 0.4": mosaic(0.4),
    "JPEG of quality 10": compress(10),
    "JPEG of quality 3": compress(3),
    "JPEG of quality 1": compress(1),
    "dark, a sixth of the light": change_light(1 / 6, sensor_noise=3),
    "dark, a tenth": change_light(0.1, sensor_noise=4),
    "dark, a twentieth": change_light(0.05, sensor_noise=4),
    "dark, a twentieth, without noise": change_light(0.05),
    "dark, a fiftieth, without noise": change_light(0.02),
    "overexposed, 3 times the light": change_light(3),
    "overexposed, 8 times": change_light(8),
    "a fifth of the contrast": change_light(0.2, 103),
    "a tenth of the contrast": change_light(0.1, 115),
    "a thirtieth of the contrast": change_light(0.03, 124),
    "inverted": change_light(-1, 255),
    "noise, 40 grey levels": change_light(1, sensor_noise=40),
    "noise, 100": change_light(1, sensor_noise=100),
    "a tenth of the pixels black or white": speckle(0.1),
    "half of the pixels black or white": speckle(0.5),
    "eyes covered": cover(0, 1, (0.35, 0.35)),
    "mouth and chin covered": cover(3, 4, (0.45, 0.8)),
    "all but the forehead covered": cover(0, 4, (0.4, 1.0)),
    "one side covered": cover_side,
    "squeezed to two thirds of its width": stretch(2 / 3, 1),
    "to half of its width": stretch(0.5, 1),
    "to two thirds of its height": stretch(1, 2 / 3),
    "to half of its height": stretch(1, 0.5),
    "turned by 45 degrees": turn(45),
    "turned by 90": turn(90),
    "turned by 180": turn(180),
    "printed and photographed": print_page,
}

# --- pictures of no face, (128, 128, 3) uint8 ------------------------------------------------------------------------

Draw = Callable[[np.random.Generator], ByteArray]


def draw_plain(random: np.random.Generator) -> ByteArray:
    return np.full((128, 128, 3), random.integers(0, 256), np.uint8)


def draw_noise(random: np.random.Generator) -> ByteArray:
    return np.clip(random.normal(128, random.uniform(5, 80), (128, 128, 3)), 0, 255).astype(np.uint8)


def draw_texture(random: np.random.Generator) -> ByteArray:
    """Clouds: noise of several sizes, the larger the stronger."""
    picture = np.zeros((128, 128), np.float32)
    for cells in (4, 8, 16, 32, 64):
        patch = random.normal(0, 100 / cells**0.5, (cells, cells)).astype(np.float32)
        picture += cv2.resize(patch, (128, 128), interpolation=cv2.INTER_CUBIC)
    return as_rgb(128 + picture)


def draw_cloth(random: np.random.Generator) -> ByteArray:
    """Checks of two sets of stripes."""
    angle, period = random.uniform(0, np.pi), random.uniform(6, 30)
    y, x = np.mgrid[:128, :128]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    wave = np.sin(2 * np.pi * along / period) + np.sin(2 * np.pi * across / (period * random.uniform(0.5, 2)))
    return as_rgb(128 + 50 * wave + random.normal(0, 6, (128, 128)))


def draw_wheel(random: np.random.Generator) -> ByteArray:
    """A tyre, a rim and spokes."""
    picture = np.full((512, 512), random.uniform(60, 220), np.float32)
    middle, radius = tuple(random.integers(236, 277, 2).tolist()), int(random.integers(150, 230))
    cv2.circle(picture, middle, radius, random.uniform(0, 60), -1)
    cv2.circle(picture, middle, round(radius * 0.7), random.uniform(120, 240), -1)
    for angle in np.linspace(0, 2 * np.pi, int(random.integers(4, 10)), endpoint=False) + random.uniform(0, 1):
        end = np.round(np.array(middle) + 0.68 * radius * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        cv2.line(picture, middle, tuple(end.tolist()), random.uniform(0, 120), int(random.integers(12, 40)))
    cv2.circle(picture, middle, round(radius * 0.15), random.uniform(0, 255), -1)
    return as_rgb(cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA))


def draw_logo(random: np.random.Generator) -> ByteArray:
    """Discs and bars in two greys, with letters."""
    light, dark = random.uniform(150, 255), random.uniform(0, 100)
    picture = np.full((512, 512), round(light), np.uint8)  # OpenCV writes on bytes only
    cv2.circle(picture, tuple(random.integers(150, 362, 2).tolist()), int(random.integers(100, 220)), dark, -1)
    cv2.circle(picture, tuple(random.integers(150, 362, 2).tolist()), int(random.integers(40, 100)), light, -1)
    top = int(random.integers(250, 400))
    cv2.rectangle(picture, (60, top), (452, top + 60), dark if random.random() < 0.5 else light, -1)
    text = "".join(random.choice(list("ABDGMOQRSX08"), 3))
    cv2.putText(picture, text, (90, int(random.integers(200, 420))), cv2.FONT_HERSHEY_SIMPLEX, 5, light, 30)
    return as_rgb(cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA))


def as_rgb(grey: np.ndarray) -> ByteArray:
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


NO_FACES: dict[str, Draw] = {
    "one grey": draw_plain,
    "noise": draw_noise,
    "texture": draw_texture,
    "cloth": draw_cloth,
    "wheel": draw_wheel,
    "logo": draw_logo,
}

# --- measuring -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Probes:
    """The faces of one kind of probe that came through the gates."""

    vectors: FloatArray  # (N, 256)
    people: np.ndarray  # (N,)
    poorness: FloatArray  # (N,)

    def accepts(self, other: Probes, threshold: float) -> np.ndarray:
        """(N, M) whether `verify` takes these and those for one person."""
        needed = np.array(
            [
                [threshold_of_pair(threshold, a, b, poor_raise=POOR_RAISE) for b in other.poorness.tolist()]
                for a in self.poorness.tolist()
            ]
        )
        return self.vectors @ other.vectors.T >= needed.reshape(len(self.people), len(other.people))


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
    """One line of a table: probes of one kind, against one another and against the clean ones."""

    probe: str
    kept: Share  # of the pictures
    alike: Share  # strangers among the same kind
    clean: Share  # strangers among the clean ones
    own: Share  # the same person, clean

    @property
    def is_over(self) -> bool:
        """Whether strangers are accepted more often than is allowed."""
        most = ALLOWED * float(FAR)
        rates = [each.accepted / each.of for each in (self.alike, self.clean) if each.of]
        return self.kept.accepted >= FEWEST and any(rate > most for rate in rates)


def main() -> None:
    options = read_options()
    pipeline = load_pipeline(device="cpu")
    crop_pipeline = FacePipeline(pipeline.detector, pipeline.embedder, gates=FaceGates(already_aligned=True))
    paths = find_photos([options.photos])
    if len({path.parent for path in paths}) < 2:
        sys.exit(f"measure_false_accepts: {options.photos} needs a folder for each of two people and more")
    names = sorted({path.parent.name for path in paths})
    people = np.array([names.index(path.parent.name) for path in paths])
    photos = [load_photo(path) for path in paths]
    gallery = embed(pipeline, photos, people)
    thresholds = pipeline.record.thresholds
    threshold = thresholds[FAR]

    chosen = [row for person in range(len(names)) for row in np.flatnonzero(people == person)[: options.per_person]]
    found = pipeline.detector.detect_batch([photos[row].image_rgb for row in chosen])
    probes = [(photos[row], faces[0]) for row, faces in zip(chosen, found, strict=True) if faces]
    whose = people[[row for row, faces in zip(chosen, found, strict=True) if faces]]
    crops = [(as_photo(align_face(photo.image_rgb, face).pixels), IN_CROP) for photo, face in probes]
    tables = {
        "Photographs": compare_kinds(pipeline, probes, whose, gallery, threshold),
        "Aligned crops": compare_kinds(crop_pipeline, crops, whose, gallery, threshold),
    }
    text = write_page(
        tables,
        [lose_faces(pipeline, "photographs", photos), lose_faces(crop_pipeline, "crops", read_crops(options.crops))],
        draw_no_faces(pipeline, crop_pipeline, threshold),
        {far: measure_look_alikes(gallery, thresholds[far]) for far in ALIKE_FARS},
        attack(pipeline, photos, people, gallery, threshold),
        threshold=threshold,
        model=pipeline.model_id,
        people=len(names),
    )
    options.output.write_text(text, encoding="utf-8")


def read_options() -> argparse.Namespace:
    shared = ROOT.parent / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=shared / "photos" / "people")
    parser.add_argument("--crops", type=Path, default=shared / "data", help="folder with an index of aligned crops")
    parser.add_argument("--per-person", type=int, default=8, help="photographs of each person that are degraded")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "false-accepts.md")
    return parser.parse_args()


def as_photo(pixels: ByteArray) -> Photo:
    return Photo(Path("drawn"), "0" * 64, pixels)


def read_crops(folder: Path) -> list[Photo]:
    """The crops of people who were not trained on."""
    index = find_index(folder)
    if index is None:
        sys.exit(f"measure_false_accepts: {folder} has no index of crops")
    with ShardReader() as shards:
        return [
            as_photo(decode_photo(shards.read(entry.file, entry.member), name=entry.place, max_pixels=144 * 144))
            for entry in read_index(index)
            if entry.split == "dev"
        ]


def compare_kinds(
    pipeline: FacePipeline,
    probes: Sequence[tuple[Photo, DetectedFace]],
    people: np.ndarray,
    gallery: Probes,
    threshold: float,
) -> list[Row]:
    rows = []
    for name, degrade in DEGRADED.items():
        degraded = [Photo(photo.path, photo.sha256, degrade(photo.image_rgb, face)) for photo, face in probes]
        embedded = embed(pipeline, degraded, people)
        alike = embedded.accepts(embedded, threshold)
        clean = embedded.accepts(gallery, threshold)
        once = np.triu(embedded.people[:, None] != embedded.people)
        own = embedded.people[:, None] == gallery.people
        kept = Share(len(embedded.people), len(probes))
        rows.append(Row(name, kept, share(alike, once), share(clean, ~own), share(clean, own)))
        print(format_row(rows[-1]), flush=True)
    return rows


def lose_faces(pipeline: FacePipeline, name: str, photos: Sequence[Photo]) -> tuple[str, Share]:
    """Clean pictures whose face is refused for its quality."""
    lost = 0
    for start in range(0, len(photos), 8):
        results = pipeline.selecting(FaceSelection.LARGEST).embed_photos(photos[start : start + 8])
        lost += sum(result.error is not None and result.error.reason == "low_quality" for result in results)
    return name, Share(lost, len(photos))


def draw_no_faces(
    pipeline: FacePipeline, crop_pipeline: FacePipeline, threshold: float
) -> dict[str, tuple[int, int, Share, Share]]:
    """For each kind: those detected, those of them that are left, those left as crops, pairs of these that match."""
    rows = {}
    blind = FacePipeline(pipeline.detector, pipeline.embedder, gates=FaceGates(min_quality=0))
    for name, draw in NO_FACES.items():
        random = np.random.default_rng(0)
        drawn = [draw(random) for _ in range(DRAWN)]
        larger = [as_photo(cv2.resize(each, (384, 384), interpolation=cv2.INTER_CUBIC)) for each in drawn]
        nobody = np.arange(DRAWN)
        seen, left = (len(embed(each, larger, nobody).people) for each in (blind, pipeline))
        crops = embed(crop_pipeline, [as_photo(each) for each in drawn], nobody)
        pairs = np.triu(np.ones((len(crops.people),) * 2, bool), 1)
        same = share(crops.accepts(crops, threshold), pairs)
        rows[name] = (seen, left, Share(len(crops.people), DRAWN), same)
        print(name, *rows[name], flush=True)
    return rows


def embed(pipeline: FacePipeline, photos: Sequence[Photo], people: np.ndarray) -> Probes:
    vectors, kept, qualities = [np.zeros((0, 256), np.float32)], [], []
    for start in range(0, len(photos), 8):
        results = pipeline.selecting(FaceSelection.LARGEST).embed_photos(photos[start : start + 8])
        for index, result in enumerate(results, start):
            vectors += [face.vector[None] for face in result.faces]
            kept += [people[index]] * len(result.faces)
            qualities += [face.quality for face in result.faces]
    return Probes(np.concatenate(vectors), np.array(kept, np.int64), measure_poorness(qualities))


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

The false-accept rate (FAR) that a threshold promises was measured on ordinary photographs. Here probes are degraded:
{probes} photographs of {people} people, and their aligned crops. They go through the whole pipeline with its default
gates, and are compared as `verify` does, at the threshold of FAR {far} ({threshold:.4f}), which is raised where both
faces are poor (see [Which threshold?](which-threshold.md#two-poor-faces)): with strangers' probes of the same kind, as
when a bad camera's pictures are sorted; with strangers' clean photographs, as when a poor picture is looked up; and
with clean photographs of the same person. To a network, faces too poor to tell look alike. Those that the gates leave
should be accepted for a stranger at most {allowed} times as often as promised ({most:.1%}), wherever {fewest} faces or
more are left; figures above that are in bold.

Made by `scripts/measure_false_accepts` with the weights {model} on {today}. Intervals: Wilson, 95 %, as if
comparisons were independent, which they are not quite: they share people.
"""

TABLE = """
## {title}

| probe | kept | of the same kind | accepted | interval | clean strangers | accepted | interval | own person |
|---|---|---|---|---|---|---|---|---|
{rows}

{summary}
"""

LOST = """
## Good faces that are refused

Clean pictures whose face is refused for its quality: {lost}.
"""

NOTHING = """
## Pictures of no face

{drawn} drawn pictures of each kind: as photographs, how many the detector takes for a face, and how many of those the
quality gate leaves; and as aligned crops, where no detector stands before the gate.

| picture | taken for a face | left | crops left | pairs of these that match |
|---|---|---|---|---|
{rows}
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
    kept = f"{row.kept.accepted} of {row.kept.of}"
    cells = [row.probe, kept]
    for strangers in (row.alike, row.clean):
        over = row.kept.accepted >= FEWEST and strangers.of and strangers.accepted / strangers.of > ALLOWED * float(FAR)
        mark = "**" if over else ""
        cells += [f"{strangers.accepted} of {strangers.of:,}", f"{mark}{strangers}{mark}", strangers.interval]
    cells.append(f"{row.own.accepted / row.own.of:.1%}" if row.own.of else "")
    return f"| {' | '.join(cells)} |"


def format_table(title: str, rows: Sequence[Row]) -> str:
    over = [row.probe for row in rows if row.is_over]
    counted = sum(row.kept.accepted >= FEWEST for row in rows)
    summary = (
        f"Of the {counted} kinds with {FEWEST} faces or more, {len(over)} are above {ALLOWED} times the promised FAR"
    )
    summary += f": {'; '.join(over)}." if over else "."
    return TABLE.format(title=title, rows="\n".join(map(format_row, rows)), summary=summary)


def format_alike(*found: tuple[str, Share]) -> str:
    """One way to compare, at each of the thresholds."""
    cells = [f"{share.accepted}: {share} ({share.interval})" for _, share in found]
    return f"| {found[0][0]} | {found[0][1].of:,} | {' | '.join(cells)} |"


def write_page(
    tables: Mapping[str, Sequence[Row]],
    lost: Sequence[tuple[str, Share]],
    no_faces: Mapping[str, tuple[int, int, Share, Share]],
    look_alikes: Mapping[str, Mapping[str, Share]],  # by FAR
    attacks: Mapping[int, Share],
    *,
    threshold: float,
    model: str,
    people: int,
) -> str:
    introduction = INTRODUCTION.format(
        probes=next(iter(tables.values()))[0].kept.of,
        people=people,
        far=FAR,
        threshold=threshold,
        allowed=ALLOWED,
        most=ALLOWED * float(FAR),
        fewest=FEWEST,
        model=model,
        today=datetime.now(UTC).date().isoformat(),
    )
    refused = ", ".join(f"{share.accepted} of {share.of:,} {name} ({share})" for name, share in lost)
    nothing = "\n".join(
        f"| {name} | {seen} | {left} | {crops.accepted} | {pairs.accepted} of {pairs.of} |"
        for name, (seen, left, crops, pairs) in no_faces.items()
    )
    alike = LOOK_ALIKES.format(
        people=people,
        fars=" | of ".join(f"FAR {far}" for far in look_alikes),
        rules="|".join("---" for _ in look_alikes),
        rows="\n".join(map(format_alike, *(found.items() for found in look_alikes.values()))),
    )
    noise = "\n".join(f"| {levels} | {reached.accepted} | {reached.of} |" for levels, reached in attacks.items())
    parts = [introduction, *(format_table(title, rows) for title, rows in tables.items())]
    parts += [LOST.format(lost=refused), NOTHING.format(drawn=DRAWN, rows=nothing), alike, ATTACKS.format(rows=noise)]
    return "".join(parts)


if __name__ == "__main__":
    try:
        main()
    except LightfaceError as error:
        sys.exit(f"measure_false_accepts: {error}")
