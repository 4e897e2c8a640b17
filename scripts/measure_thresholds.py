"""Do the default thresholds keep what they promise? identify, calibrate and cluster, on people who are known by name.

    scripts/measure_thresholds --data DIR --photos DIR         (research data by default)

`--data` is a folder of training crops with `index.csv` and `teacher.npy`, as `lightface train` reads it; `--photos` a
folder a person, of people who are in its split dev. Embeddings are kept in the cache of `lightface evaluate`.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lightface.clustering import bcubed_score, cluster_vectors, pairwise_score, strict_threshold
from lightface.crops import ShardReader
from lightface.evaluation.cache import EmbeddingCache, default_cache_path
from lightface.evaluation.calibrate import calibrate_gallery, propose_thresholds
from lightface.evaluation.embed import embed_pictures
from lightface.evaluation.pair_list import Framing, Picture, ShardPicture
from lightface.evaluation.protocols.own_photos import read_people
from lightface.gallery import NewSample, open_gallery
from lightface.matching import POOR_RAISE, measure_poorness, person_scores, template_factor
from lightface.measurement.intervals import resample
from lightface.models.registry import WeightsRecord
from lightface.pipeline import FacePipeline, load_pipeline
from lightface.records import FloatArray, IntArray

SHARED = Path(__file__).parents[2] / "shared"
SAMPLES = (1, 2, 3, 5, 8)  # enrolled of each person
FACES = (200, 2000, None)  # to be grouped; None: all
FIXED = (0.385, 0.42, 0.485, 0.52)  # cosines that are shown beside the default
# How many crops the largest, the second ... person of the mixed set has at most, as (crops, people): a few have
# hundreds and most have one, as in collections of photographs from the web.
CROPS_OF_PERSON = (
    *((count, 1) for count in (530, 236, 144, 121, 109, 77, 71, 60, 55, 53, 52, 49, 48, 44)),
    *((count, 1) for count in (42, 42, 41, 41, 39, 37, 36, 35, 33, 33, 33, 32, 32, 32, 31, 31, 30, 30, 30, 30)),
    *((25, 28), (14, 96), (9, 26), (8, 33), (7, 39), (6, 55), (5, 112), (4, 187), (3, 291), (2, 779), (1, 4069)),
)
SAME_PERSON = 0.6  # the teacher's cosine of two names' templates, from which they are one person's


@dataclass(frozen=True, slots=True)
class Faces:
    """Embeddings of people."""

    vectors: FloatArray  # (N, 256)
    names: tuple[str, ...]
    poorness: FloatArray  # (N,)

    @property
    def people(self) -> IntArray:
        """(N,) who is on each, 0..K-1."""
        return np.unique(self.names, return_inverse=True)[1].astype(np.int64)

    def pick(self, rows: IntArray | Sequence[int]) -> Faces:
        return Faces(self.vectors[rows], tuple(np.array(self.names)[rows]), self.poorness[rows])


def main() -> None:
    options = read_options()
    pipeline = load_pipeline(device="cpu")
    record = pipeline.record
    dev, mixed = read_crops(options.data)
    with EmbeddingCache(options.cache) as cache:
        photos = embed(pipeline, {one: one.name.split("/")[0] for one in read_people(options.photos).pictures}, cache)
        crops = embed(pipeline, dev, cache, framing=Framing.LIGHTCNN)
        many = embed(pipeline, mixed, cache, framing=Framing.LIGHTCNN)
    print(f"{pipeline.embedder.model_id}, {pipeline.embedder.precision}\n")
    for name, faces in (("crops of dev", crops), ("photographs", photos)):
        measure_identify(name, faces, record)
    measure_calibrate(photos, crops, record)
    measure_clusters("photographs", photos, record)
    measure_clusters("crops of dev", crops, record)
    for count in FACES:
        measure_clusters("mixed", many if count is None else many.pick(range(count)), record)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--photos", type=Path, default=SHARED / "photos" / "people")
    parser.add_argument("--cache", type=Path, default=default_cache_path())
    return parser.parse_args()


# --- faces ---------------------------------------------------------------------------------------------------------


def read_crops(folder: Path) -> tuple[dict[Picture, str], dict[Picture, str]]:
    """The crops of the split dev, and a mixed set of those for training, with their people's names."""
    with (folder / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["identity"]]
    shards = ShardReader()

    def picture(row: Mapping[str, str]) -> ShardPicture:
        return ShardPicture(f"{row['shard']}/{row['name']}", shards, folder / row["shard"], row["name"])

    dice = random.Random(0)
    of_person: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        if row["split"] == "train":
            of_person[("c:" if row["source"].startswith("celeba") else f"{row['source']}:") + row["identity"]].append(
                row
            )
    for crops in of_person.values():
        dice.shuffle(crops)
    limits = [count for count, people in CROPS_OF_PERSON for _ in range(people)]
    by_size = sorted(of_person.items(), key=lambda item: -len(item[1]))
    chosen = [(name, row) for (name, crops), limit in zip(by_size, limits, strict=False) for row in crops[:limit]]
    aliases = find_aliases(folder / "teacher.npy", chosen)
    dice.shuffle(chosen)
    dev = {picture(row): row["identity"] for row in rows if row["split"] == "dev"}
    return dev, {picture(row): aliases[name] for name, row in chosen}


def find_aliases(teacher: Path, chosen: Sequence[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """One name for each name: sets overlap, and in one a person may have two numbers. Told by the teacher."""
    rows = np.load(teacher, mmap_mode="r")
    mean = unit(np.array(rows[::10], np.float32)).mean(axis=0)
    names, places = np.unique([name for name, _ in chosen], return_inverse=True)
    vectors = unit(unit(np.array(rows[[int(row["row"]) for _, row in chosen]], np.float32)) - mean)
    sums = np.zeros((len(names), vectors.shape[1]), np.float32)
    np.add.at(sums, places, vectors)
    templates = unit(sums)
    _, labels = connected_components(coo_matrix(templates @ templates.T > SAME_PERSON), directed=False)
    first = {label: name for name, label in zip(names[::-1].tolist(), labels[::-1].tolist(), strict=True)}
    return {name: first[label] for name, label in zip(names.tolist(), labels.tolist(), strict=True)}


def unit(rows: FloatArray) -> FloatArray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def embed(
    pipeline: FacePipeline, people: Mapping[Picture, str], cache: EmbeddingCache, *, framing: Framing = Framing.DETECT
) -> Faces:
    done = embed_pictures(pipeline, list(people), framing=framing, cache=cache)
    names = tuple(name for name, usable in zip(people.values(), done.usable, strict=True) if usable)
    return Faces(done.vectors[done.usable], names, measure_poorness(done.quality[done.usable].tolist()))


# --- measuring -----------------------------------------------------------------------------------------------------


def measure_identify(name: str, faces: Faces, record: WeightsRecord) -> None:
    """What a threshold of pairs lets in, and the raised one, where people are known by so many samples.

    Last, the share of right names where poor faces must be more alike, as `identify` decides.
    """
    print(f"{name}: {len(faces.names):,} of {len(set(faces.names))} people, templates against single faces\n")
    print("| samples | cosine | FAR of 1e-3 promised | TAR | raised to | FAR | 95 % interval | TAR | FAR, TAR named |")
    print("|---|---|---|---|---|---|---|---|---|")
    pairs = record.thresholds["1e-3"]
    most = max(Counter(faces.names).values())
    for samples in (count for count in SAMPLES if count < most):
        scores, same, people, costs = compare(faces, samples)
        raised = pairs * template_factor({samples: 1})
        drawn = resample(scores, same, people, thresholds=[pairs, raised])
        low, high = np.quantile(drawn.far_at[:, 1], [0.025, 0.975])
        (far, tar), (far_raised, tar_raised) = (
            (np.mean(scores[~same] >= limit), np.mean(scores[same] >= limit)) for limit in (pairs, raised)
        )
        print(
            f"| {samples} | {pairs:.3f} | {far:.2%} | {tar:.1%} | {raised:.3f} | {far_raised:.2%} | "
            f"{low:.2%} to {high:.2%} | {tar_raised:.1%} | {np.mean((scores - costs)[~same] >= raised):.2%}, "
            f"{np.mean((scores - costs)[same] >= raised):.1%} |"
        )
    print()


def compare(
    faces: Faces, samples: int, *, draws: int = 4
) -> tuple[FloatArray, np.ndarray, tuple[IntArray, IntArray], FloatArray]:
    """Every face against people by the mean of so many others, drawn anew each time; last, what poorness costs each."""
    people = faces.people
    scores, same, pairs, costs = [], [], [], []
    for draw in range(draws):
        dice = np.random.default_rng(draw)
        known = [dice.permutation(np.flatnonzero(people == one)) for one in np.unique(people)]
        enrolled = [rows[:samples] for rows in known if len(rows) > samples]
        who = people[[rows[0] for rows in enrolled]]
        own = np.repeat(np.arange(len(enrolled)), samples)
        rows = np.concatenate(enrolled)
        probes = np.setdiff1d(np.arange(len(people)), rows)
        table = person_scores(faces.vectors[probes], faces.vectors[rows], own, len(enrolled))
        scores.append(table.ravel())
        poor = np.bincount(own, faces.poorness[rows]) / samples
        costs.append(POOR_RAISE * np.outer(faces.poorness[probes], poor).ravel())
        same.append((people[probes][:, None] == who).ravel())
        pairs.append(np.stack([np.repeat(people[probes], len(who)), np.tile(who, len(probes))]))
    a, b = np.concatenate(pairs, axis=1)
    return np.concatenate(scores), np.concatenate(same), (a, b), np.concatenate(costs)


def measure_calibrate(photos: Faces, crops: Faces, record: WeightsRecord) -> None:
    """Small galleries: what calibrate measures on their own samples, and what comes of strangers who are in none."""
    print("| enrolled | FAR | --allow-looser | identify at | strangers named | for review | right names |")
    print("|---|---|---|---|---|---|---|")
    names = sorted(set(photos.names))
    for people, each, far in ((12, 5, 1e-2), (25, 6, 1e-3), (20, 8, 1e-3)):
        for allow_looser in (False, True):
            outcomes = []
            for draw in range(1 if people == len(names) else 8):
                chosen = set(random.Random(draw).sample(names, people))
                places: dict[str, list[int]] = defaultdict(list)
                for place, name in enumerate(photos.names):
                    places[name].append(place)
                enrolled = photos.pick([row for name in sorted(chosen) for row in places[name][:each]])
                probes = photos.pick([row for name in sorted(chosen) for row in places[name][each:]])
                others = [place for place, name in enumerate(photos.names) if name not in chosen]
                outside = [p for p, name in enumerate(crops.names) if f"person-{name}" not in set(names)]
                strangers = np.concatenate([photos.vectors[others], crops.vectors[outside]])
                outcomes.append(calibrate_and_look(enrolled, probes, strangers, record, far, allow_looser=allow_looser))
            cells = [float(np.mean(column)) for column in zip(*outcomes, strict=True)]
            found = "" if np.isnan(cells[5]) else f"{cells[5]:.1%} -> {cells[6]:.1%}"
            print(
                f"| {people} x {each} | {far:g} | {'yes' if allow_looser else 'no'} | "
                f"{cells[0]:.3f} -> {cells[1]:.3f} | {cells[2]:.1%} -> {cells[3]:.1%} | {cells[4]:.1%} | "
                f"{found} |"
            )
    print()


def calibrate_and_look(
    enrolled: Faces, probes: Faces, strangers: FloatArray, record: WeightsRecord, far: float, *, allow_looser: bool
) -> tuple[float, ...]:
    """Thresholds before and after, strangers named before and after and for review, right names before and after."""
    with tempfile.TemporaryDirectory() as folder, open_gallery(Path(folder) / "g.sqlite", create=True) as gallery:
        for name in dict.fromkeys(enrolled.names):
            gallery.enroll(name, list(make_samples(enrolled, name, record.model_id)))
        proposal = propose_thresholds(gallery, calibrate_gallery(gallery, far=far), record, allow_looser=allow_looser)
    names = list(dict.fromkeys(enrolled.names))
    own = np.array([names.index(name) for name in enrolled.names])
    best = person_scores(strangers, enrolled.vectors, own, len(names)).max(axis=1)
    scores = person_scores(probes.vectors, enrolled.vectors, own, len(names))
    right = np.array([names[place] for place in scores.argmax(axis=1)]) == np.array(probes.names)
    assert proposal.before is not None
    before, after = proposal.before.identify, proposal.after.identify
    shown = (best >= after.naming_threshold) & (best < after.threshold)
    found = [
        np.mean((scores.max(axis=1) >= one.threshold) & right) if len(right) else np.nan for one in (before, after)
    ]
    named = [np.mean(best >= one.threshold) for one in (before, after)]
    return before.threshold, after.threshold, *named, float(np.mean(shown)), *found


def make_samples(faces: Faces, name: str, model_id: str) -> Iterable[NewSample]:
    for place, each in enumerate(faces.names):
        if each == name:
            yield NewSample(faces.vectors[place], model_id, f"/{place}", f"{place:064x}")


def measure_clusters(name: str, faces: Faces, record: WeightsRecord) -> None:
    """Groups at the default threshold, and at others."""
    people = faces.people
    default = strict_threshold({float(far): cosine for far, cosine in record.thresholds.items()}, len(people))
    print(f"{name}: {len(people):,} faces of {people.max() + 1:,} people\n")
    print("| cosine | pairwise precision | recall | F | B-cubed precision | recall | F |")
    print("|---|---|---|---|---|---|---|")
    distances = np.concatenate([1 - faces.vectors[row + 1 :] @ faces.vectors[row] for row in range(len(people) - 1)])
    tree = linkage(np.maximum(distances.astype(np.float64), 0), "average")
    for threshold in sorted({*FIXED, default}):
        labels = fcluster(tree, 1 - threshold, "distance").astype(np.int64) - 1
        print(f"| {threshold:.3f} | {describe_groups(labels, people)} |")
    labels = cluster_vectors(faces.vectors, threshold=default, poorness=faces.poorness)
    print(f"| {default:.3f}, the default | {describe_groups(labels, people)} |\n")


def describe_groups(labels: IntArray, people: IntArray) -> str:
    return " | ".join(
        f"{figure:.3f}"
        for score in (pairwise_score(labels, people), bcubed_score(labels, people))
        for figure in (score.precision, score.recall, score.f)
    )


if __name__ == "__main__":
    main()
