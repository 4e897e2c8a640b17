"""From a run folder to weights that recognition can load: folded, stripped, halved, measured, described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightface.embedding import Embedder
from lightface.errors import TrainingError
from lightface.measurement.intervals import Figure, Resamples, percentiles, resample, share_figure
from lightface.measurement.metrics import MIN_PEOPLE, Scores, equal_error_rate, impostors_needed, threshold_at_far
from lightface.measurement.pairs import Pairs, cosines_of_pairs, pair_for_training
from lightface.models.layers import Pool
from lightface.models.lightcnn import ARCHITECTURES, LightCNN, Structure, build_lightcnn
from lightface.models.registry import WeightsRecord, register_weights, write_card
from lightface.models.weights import CONTRACTS, LoadedModel, describe, load_strictly, write_weights
from lightface.records import AlignedFace, ByteArray, FloatArray, IntArray
from lightface.training.config import TrainingConfig
from lightface.training.distributed import Processes
from lightface.training.model import build_network, settle_on
from lightface.training.model_card import (
    Measured,
    Origin,
    add_folders,
    derive_licence,
    describe_data,
    describe_run,
    find_origin,
)
from lightface.training.preparation import TrainingData, prepare_data
from lightface.training.recognisability import MAX_FACES, face_of_crop, learn_recognisability
from lightface.training.run_folder import BEST, load_checkpoint
from lightface.training.validation import embed_crops
from lightface.words import count_of

FARS = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}
_ROUNDS = 300  # of the bootstrap
_MIN_AGREEMENT = 0.995  # cosine between the embeddings before and after
_COMPARED = 64  # crops


@dataclass(frozen=True, slots=True)
class Exported:
    """Finished weights."""

    record: WeightsRecord
    thresholds: Mapping[str, Figure]  # by FAR, as "1e-3"
    card: Path
    step: int  # of the run, after which the network was kept; 0 for what it started from


def export_run(config: TrainingConfig, run: Path, folder: Path, *, name: str) -> Exported:
    """Write the best network of a run folder as `NAME.safetensors`, `NAME.md` and a record in `registry.toml`.

    The file is a plain LightCNN in half precision; figures and thresholds are those of that very file, in float32, on
    people who were not trained on. Raises TrainingError when the run has no network yet, its data are no longer those
    that it was trained on, or folding changes what it computes; OutputError when something cannot be written.
    """
    content = load_checkpoint(run / BEST, device=torch.device("cpu"))
    data = prepare_data(config, Processes())
    if content.get("data") != data.fingerprint:  # who is kept for validation may be others now
        raise TrainingError(
            f"the data, its teachers, pairs or groups changed since {run / BEST}; put them back, then resume"
        )
    state = _finish_best(config, content, data, source=run / BEST)
    network = _build_plain(config, state, run / BEST)
    dev_pixels = data.crops.decoded.pixels[data.split.dev_rows]
    embeddings = embed_crops(network, dev_pixels, device=torch.device("cpu"), precision="fp32")
    figures = measure_intervals(_score(embeddings, data.pairs), data.pairs, data.split.dev_people)
    pairs = pair_for_training(data.split.dev_people, limit=None)
    thresholds = find_thresholds(_score(embeddings, pairs), pairs, data.split.dev_people)
    impostors = int((~pairs.same).sum())
    record = _make_record(config, data, network, folder / f"{name}.safetensors", figures, thresholds, impostors)
    embedder = Embedder(LoadedModel(record, network), device="cpu")
    record = replace(record, recognisability=learn_recognisability(embedder, _draw_faces(data)))
    record = replace(record, sha256=write_weights(record.file, state, describe(record)))
    measured = Measured(
        pairs=len(data.pairs.same),
        figures=figures,
        teacher=_measure_teacher(data),
        thresholds=thresholds,
        data=data.preflight,
        impostors=impostors,
        at=content["at"],
        device=content["device"],
        max_minutes=content["max_minutes"],
    )
    write_card(record, describe_run(record, config, measured))
    register_weights(record, folder)
    return Exported(record, thresholds, folder / record.card, content["at"]["step"])


def _make_record(
    config: TrainingConfig,
    data: TrainingData,
    network: LightCNN,
    file: Path,
    figures: Mapping[str, Figure],
    thresholds: Mapping[str, Figure],
    impostors: int,
) -> WeightsRecord:
    """The record of weights that are still to be written to `file`, which names them."""
    origin = find_origin(config.network.start_from)
    return WeightsRecord(
        name=file.stem,
        architecture=config.network.architecture,
        pooling=next(module.kind for module in network.modules() if isinstance(module, Pool)),
        padding=config.network.padding,
        file=file,
        sha256="",
        contract=CONTRACTS[ARCHITECTURES[config.network.architecture].in_channels],
        flip=True,
        licence=config.card.licence or derive_licence(origin),
        training_data=_describe_photographs(config, data, origin),
        measured_on=_describe_measured(impostors, data.split.dev_people) if thresholds else "",
        card=f"{file.stem}.md",
        accuracy={f"development pairs, {figure}": round(value.estimate, 4) for figure, value in figures.items()},
        thresholds={far: round(threshold.estimate, 4) for far, threshold in thresholds.items()},
    )


def _finish_best(
    config: TrainingConfig, content: Mapping[str, Any], data: TrainingData, *, source: Path
) -> dict[str, Tensor]:
    """The weights of a checkpoint, settled on the data and finished."""
    trained = build_network(replace(config.network, start_from=None))
    load_strictly(trained, content["network"], source=source)
    settle_on(trained, data.crops, data.split)
    return finish_network(trained, data.crops.decoded.pixels[data.split.dev_rows])


@torch.inference_mode()
def finish_network(network: LightCNN, pixels: ByteArray) -> dict[str, Tensor]:
    """Fold the normalisation of a trained network into its filters; its weights in half precision.

    TrainingError when its embeddings of (N, C, 144, 144) crops are no longer the same.
    """
    some = pixels[:_COMPARED]
    embed = partial(embed_crops, device=torch.device("cpu"), precision="fp32")
    before = embed(network.eval(), some)
    network.fold_norms()
    state = {key: tensor.half() for key, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    agreement = float((before * embed(network, some)).sum(axis=1).min())
    if not agreement > _MIN_AGREEMENT:
        raise TrainingError(
            f"half precision changes the network's embeddings (cosine {agreement:.4f} to what was trained); "
            "train on with a higher weight_decay, which keeps weights small"
        )
    return state


def find_thresholds(scores: Scores, pairs: Pairs, people: IntArray) -> dict[str, Figure]:
    """The threshold of each FAR, with its interval over people, from all impostor pairs.

    `people` (V,) says who is on each row that `pairs` count. A FAR that fewer than ten of these pairs stand behind is
    left out, and every FAR with fewer than ten people.
    """
    fars = _measurable(pairs, people)
    if not fars:
        return {}
    drawn = _resample(scores, pairs, people, fars)
    return {
        name: percentiles(threshold_at_far(scores[~pairs.same], far), drawn.threshold[:, place], drawn.method)
        for place, (name, far) in enumerate(fars.items())
    }


def measure_intervals(scores: Scores, pairs: Pairs, people: IntArray) -> dict[str, Figure]:
    """TAR at each FAR and the equal error rate, with intervals over people; those that can be measured."""
    if _too_few(people):
        return {}
    fars = _measurable(pairs, people)
    drawn = _resample(scores, pairs, people, fars)
    figures = {}
    for place, (name, far) in enumerate(fars.items()):
        accepted = scores[pairs.same] >= np.float64(threshold_at_far(scores[~pairs.same], far))
        figures[f"TAR at FAR {name}"] = share_figure(accepted, drawn.tar[:, place], drawn.method)
    rate = equal_error_rate(scores, pairs.same)
    figures["EER"] = percentiles(rate, drawn.equal_error_rate, drawn.method)
    return figures


def _measurable(pairs: Pairs, people: IntArray) -> dict[str, float]:
    """The false-accept rates that people and pairs suffice for."""
    impostors = int((~pairs.same).sum())
    return {} if _too_few(people) else {name: far for name, far in FARS.items() if impostors >= impostors_needed(far)}


def _resample(scores: Scores, pairs: Pairs, people: IntArray, fars: Mapping[str, float]) -> Resamples:
    return resample(scores, pairs.same, (people[pairs.a], people[pairs.b]), fars=list(fars.values()), rounds=_ROUNDS)


def _too_few(people: IntArray) -> bool:
    """Whether these are too few people for any figure or interval."""
    return len(np.unique(people)) < MIN_PEOPLE


def _describe_photographs(config: TrainingConfig, data: TrainingData, origin: Origin | None) -> str:
    if config.card.training_data:
        return add_folders(config.card.training_data, data.preflight)
    return describe_data(config.data, data.preflight, origin)


def _describe_measured(impostors: int, people: IntArray) -> str:
    """Whose pairs the thresholds are of."""
    return f"{count_of(impostors, 'pair')} of different people among the {len(np.unique(people)):,} kept for validation"


def _draw_faces(data: TrainingData) -> list[AlignedFace]:
    """Some of the training crops, as recognition would have them."""
    rows = np.random.default_rng(0).permutation(data.split.rows)[:MAX_FACES]
    return [face_of_crop(data.crops.decoded.pixels[row]) for row in rows]


def _measure_teacher(data: TrainingData) -> dict[str, Figure] | None:
    """What the teachers together reach on the same pairs, centred as the network learns them.

    None without a teacher, and where one of them does not know all validation crops.
    """
    teacher = data.crops.teacher
    if teacher is None or not teacher.choose(data.split.dev_rows).complete:
        return None
    mean = teacher.choose(data.split.rows).find_mean()
    scores = _score(teacher.choose(data.split.dev_rows).centre(mean), data.pairs)
    return measure_intervals(scores, data.pairs, data.split.dev_people)


def _score(embeddings: FloatArray, pairs: Pairs) -> FloatArray:
    return cosines_of_pairs(embeddings, pairs.a, pairs.b)


def _build_plain(config: TrainingConfig, state: Mapping[str, Tensor], source: Path) -> LightCNN:
    """The network as recognition will build it, from the file's own numbers."""
    structure = Structure(pooling=config.network.pooling, padding=config.network.padding)
    network = build_lightcnn(config.network.architecture, structure)
    load_strictly(network, state, source=source)
    return network.eval()
