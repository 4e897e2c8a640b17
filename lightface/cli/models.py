"""`lightface models`: the weights that are there, what they were measured to do, and new ones."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import complain, note
from lightface.cli.options import Json, command_group, with_settings
from lightface.cli.results import print_json, print_line, print_table, print_text
from lightface.cli.settings import Settings
from lightface.errors import ConfigError, TrainingError
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.models.registry import WeightsRecord

app = command_group("List, check and import weights.")


@app.command("list")
@with_settings("model")
def list_models(settings: Settings, *, as_json: Json = False) -> None:
    """List the weights that can be named with --model."""
    from lightface.models.registry import DEFAULT_WEIGHTS, list_weights

    records = [_place_licence(record) for record in list_weights()]
    if as_json:
        print_json(records)
        return
    default = settings.model or DEFAULT_WEIGHTS
    print_table(
        ("name", "network", "threshold at FAR 1e-3", "licence"),
        [
            (
                f"{record.name} (default)" if record.name == default else record.name,
                record.architecture,
                record.thresholds.get("1e-3"),
                record.licence,
            )
            for record in records
        ],
    )


@app.command("info")
@with_settings("model")
def show_model(
    settings: Settings,
    *,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Weights by name (default: --model's).")] = None,
    as_json: Json = False,
) -> None:
    """Show all that is known of weights: what they expect, what was measured, and their model card."""
    from lightface.models.registry import DEFAULT_WEIGHTS, find_weights

    record = _place_licence(find_weights(name or settings.model or DEFAULT_WEIGHTS))
    if as_json:
        print_json(record)
        return
    contract, frame = record.contract, record.contract.frame
    rows: list[tuple[str, object]] = [
        ("name", record.name),
        ("model id", record.model_id),
        ("network", f"{record.architecture}, {record.pooling} pooling, {record.padding} padding"),
        ("file", record.file),
        ("SHA-256", record.sha256),
        ("input", f"{contract.channels}x{frame.size_px}x{frame.size_px} {contract.order}, times {contract.scale:.6g}"),
        ("frame", f"eyes on row {frame.eye_row_px:g}, mouth on row {frame.mouth_row_px:g}"),
        ("embedding", f"{record.embedding_size} numbers, unit length{', flip-averaged' if record.flip else ''}"),
        ("licence", record.licence),
        ("training data", " ".join(record.training_data.split())),
        ("thresholds measured on", record.measured_on or "not known"),
        *((f"threshold at FAR {far}", f"{threshold:.3f}") for far, threshold in record.thresholds.items()),
        *((what, f"{figure:.3f}") for what, figure in record.accuracy.items()),
        ("recognisability", _describe_recognisability(record)),
    ]
    for label, value in rows:
        print_line(f"{label}: {value}")
    if card := record.read_card():
        print_line()
        print_text(card.rstrip())


@app.command("verify")
@with_settings()
def verify_models(
    settings: Settings,
    *,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Weights by name (default: all).")] = None,
) -> None:
    """Check that weights files are, byte for byte, those that were registered."""
    from lightface.errors import WeightsError
    from lightface.models.registry import find_weights, list_weights, verify_weights

    records = [find_weights(name) for name in names] if names else list_weights()
    damaged = 0
    for record in records:
        try:
            verify_weights(record)
        except WeightsError as error:  # the others are checked all the same
            complain(str(error))
            damaged += 1
        else:
            print_line(f"{record.name}: OK ({record.sha256[:12]}...)")
    if damaged:
        raise typer.Exit(2)


@app.command("import")
@with_settings()
def import_model(
    settings: Settings,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .pth.tar, .pth or .safetensors file.")],
    name: Annotated[str | None, typer.Option("--name", help="What to call it (default: by the file's name).")] = None,
) -> None:
    """Take over a LightCNN checkpoint: the authors' files, bare state dicts, or what `train` exported."""
    from lightface.models.weights import import_checkpoint

    record = import_checkpoint(file, name=name or _plain_name(file))
    note(f"imported {file} as {record.name} ({record.architecture}); use it with --model {record.name}")
    if not record.thresholds:
        note("no threshold is known for it: give --threshold, or measure one with 'lightface calibrate'")
    if record.recognisability is None:
        note(
            "which faces are too poor to tell is not known for it, and they may match one another: "
            f"show it good ones with 'lightface models recognisability {record.name} FOLDER'"
        )


@app.command("recognisability")
@with_settings("device", "precision")
def learn_from_photos(
    settings: Settings,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Imported weights by name.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="200 good photographs and more, of many people.")],
) -> None:
    """Learn from good photographs, and from copies spoiled for it, which faces say nothing to imported weights.

    Embeddings stay as they are, and galleries with them.
    """
    from lightface.embedding import Embedder
    from lightface.models.registry import find_weights, imported_folder, register_weights
    from lightface.models.weights import load_model
    from lightface.training.recognisability import find_faces, learn_recognisability

    record = find_weights(name)
    if record.file.parent != imported_folder():
        raise ConfigError(f"{name} came with lightface and knows it; name weights that you imported")
    faces = find_faces(folder, frame=record.contract.frame)
    note(f"learning from {count_of(len(faces), 'face')}: some minutes on a CPU")
    embedder = Embedder(load_model(name), **settings.given("device", "precision"))
    learnt = learn_recognisability(embedder, faces)
    if learnt is None:
        raise TrainingError(f"to {name} all faces are alike; train it first")
    register_weights(replace(record, recognisability=learnt), imported_folder())
    note(f"{name} knows now which faces are too poor to tell")


def _describe_recognisability(record: WeightsRecord) -> str:
    if record.recognisability is None:
        return "not known; faces too poor to tell may match one another"
    return f"known for {len(record.recognisability.offsets)} families of flaws"


def _place_licence(record: WeightsRecord) -> WeightsRecord:
    """With the whole path of a licence that lies beside the weights."""
    licence = record.licence.replace("LICENSE.md in this folder", str(record.file.parent / "LICENSE.md"))
    return replace(record, licence=licence)


def _plain_name(file: Path) -> str:
    """`LightCNN_29Layers_V2 (1).pth.tar` -> `LightCNN_29Layers_V2-1`."""
    stem = re.sub(r"(\.pth)?(\.tar)?$|\.(pt|safetensors)$", "", file.name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")
