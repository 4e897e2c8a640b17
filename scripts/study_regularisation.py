"""Do dropout, stochastic pooling and max pooling reduce over-fitting? Train a network on small images with each.

Every combination of pooling and dropout is trained by one recipe on the same people, and measured twice in the same
way: on pairs of the people it was trained on, and of people it never saw. The gap is the over-fitting.

    scripts/study_regularisation --output runs/study

writes study.csv, study.md (the table) and study.png. Runs that are there already, by the same recipe, are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from lightface.errors import ConfigError, LightfaceError
from lightface.measurement.pairs import pair_for_training
from lightface.models.layers import Pooling
from lightface.models.registry import shipped_folder
from lightface.training.config import TrainingConfig, dump_config, load_config
from lightface.training.distributed import Processes
from lightface.training.loop import train
from lightface.training.model import build_network, read_network
from lightface.training.objectives.objective import UNKNOWN
from lightface.training.preparation import prepare_data
from lightface.training.run_folder import LAST
from lightface.training.split import TrainingSplit
from lightface.training.validation import measure

TRAINING_CROPS = 1200  # measured; about as many as there are for validation


@dataclass(frozen=True)
class Result:
    """One trained network; an accuracy is 1 - EER on pairs."""

    pooling: str
    dropout: float
    seed: int
    training_accuracy: float
    validation_accuracy: float


def main() -> None:
    options = read_options()
    config = load_config(options.config, folder=options.data)
    if options.epochs is not None:
        config = replace(config, schedule=replace(config.schedule, epochs=options.epochs))
    options.output.mkdir(parents=True, exist_ok=True)
    results = read_results(options.output)
    recipe, text = options.output / "recipe.toml", dump_config(config)
    if results and (not recipe.exists() or recipe.read_text() != text):
        raise ConfigError(f"{options.output} has results of another recipe; choose another --output")
    recipe.write_text(text)
    for seed in range(options.seeds):
        for pooling in options.pooling:
            for dropout in options.dropout:
                if not any((r.pooling, r.dropout, r.seed) == (pooling, dropout, seed) for r in results):
                    network = replace(config.network, pooling=pooling, dropout=dropout)
                    result = run(replace(config, network=network, seed=seed), options.output / "run")
                    results.append(result)
                    write_results(results, options.output)
                    print(result, flush=True)
    (options.output / "study.md").write_text(make_table(results))
    draw(results, options.output / "study.png")
    print(make_table(results))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=shipped_folder() / "recipes" / "study.toml")
    parser.add_argument("--data", type=Path, help="another data folder than the recipe's")
    parser.add_argument("--output", type=Path, default=Path("runs/study"))
    parser.add_argument("--epochs", type=float, help="instead of the recipe's")
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="networks for each combination; without a split in the data, each seed has other validation people",
    )
    parser.add_argument("--pooling", nargs="+", choices=get_args(Pooling), default=list(get_args(Pooling)))
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0, 0.5, 0.7])
    return parser.parse_args()


def run(config: TrainingConfig, folder: Path) -> Result:
    """Train one network in `folder`, which is emptied, and measure it at the end of its training."""
    shutil.rmtree(folder, ignore_errors=True)
    if not train(config, folder).finished:  # Ctrl-C and its like
        raise SystemExit("study_regularisation: stopped; the runs that are finished are kept")
    network = build_network(replace(config.network, start_from=None))
    network.load_state_dict(read_network(folder / LAST))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).eval()
    data = prepare_data(config, Processes())
    training_rows, training_people = some_training_crops(data.split)

    def accuracy(rows: np.ndarray, people: np.ndarray) -> float:
        pixels, size_px = data.crops.decoded.pixels[rows], config.stages[-1].size_px
        figures = measure(network, pixels, pair_for_training(people), device=device, precision="fp32", size_px=size_px)
        return 1 - figures.equal_error_rate

    pooling = config.network.pooling
    assert pooling is not None
    return Result(
        pooling,
        config.network.dropout,
        config.seed,
        training_accuracy=accuracy(training_rows, training_people),
        validation_accuracy=accuracy(data.split.dev_rows, data.split.dev_people),
    )


def some_training_crops(split: TrainingSplit) -> tuple[np.ndarray, np.ndarray]:
    """Rows and people of some of the training crops whose people are known, the same in each run."""
    known = np.flatnonzero(split.labels != UNKNOWN)
    chosen = np.random.default_rng(0).permutation(known)[:TRAINING_CROPS]
    return split.rows[chosen], split.labels[chosen]


def read_results(folder: Path) -> list[Result]:
    path = folder / "study.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Result(
                row["pooling"],
                float(row["dropout"]),
                int(row["seed"]),
                float(row["training_accuracy"]),
                float(row["validation_accuracy"]),
            )
            for row in csv.DictReader(file)
        ]


def write_results(results: list[Result], folder: Path) -> None:
    with (folder / "study.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(results[0])))
        writer.writeheader()
        writer.writerows(asdict(result) for result in results)


def make_table(results: list[Result]) -> str:
    """Markdown, the mean over seeds; best validation first."""
    lines = ["| pooling | dropout | training | validation | gap |", "|---|---|---|---|---|"]
    groups = {(r.pooling, r.dropout) for r in results}
    for pooling, dropout in sorted(groups, key=lambda group: -mean(results, group, "validation_accuracy")):
        training, validation = (
            mean(results, (pooling, dropout), name) for name in ("training_accuracy", "validation_accuracy")
        )
        lines.append(
            f"| {pooling} | {dropout:g} | {training:.1%} | {validation:.1%} | {100 * (training - validation):.1f} |"
        )
    return "\n".join(lines) + "\n"


def mean(results: list[Result], group: tuple[str, float], name: str) -> float:
    return float(np.mean([getattr(r, name) for r in results if (r.pooling, r.dropout) == group]))


def draw(results: list[Result], path: Path) -> None:
    """Training against validation: the further below the diagonal, the more over-fitting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    dropouts = sorted({r.dropout for r in results})
    for colour, pooling in enumerate(sorted({r.pooling for r in results})):
        for marker, dropout in zip(cycle("os^Dv"), dropouts, strict=False):
            points = [r for r in results if (r.pooling, r.dropout) == (pooling, dropout)]
            x, y = ([getattr(r, name) for r in points] for name in ("training_accuracy", "validation_accuracy"))
            axes.scatter(x, y, color=f"C{colour}", marker=marker, label=f"{pooling}, dropout {dropout:g}")
    axes.axline((1, 1), slope=1, color="grey", linewidth=0.8)
    axes.set(xlabel="people trained on (1 - EER)", ylabel="other people (1 - EER)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    try:
        main()
    except LightfaceError as error:
        sys.exit(f"study_regularisation: {error}")
