"""Import of checkpoints: the authors' `.pth.tar` files, bare state dicts, and safetensors that `train` exported.

The authors' files are `{"state_dict": {"module.<key>": tensor}, "epoch", "arch", "prec1"}`. They are never unpickled
freely (`weights_only=True`).
"""

from __future__ import annotations

import json
import pickle
import struct
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lightface.errors import CheckpointError
from lightface.faces import Frame, InputContract
from lightface.models.lightcnn import ARCHITECTURES, Structure, build_lightcnn
from lightface.models.recognisability import Recognisability
from lightface.models.registry import WeightsRecord, check_new_name, imported_folder, register_weights, write_model_file
from lightface.models.weights import DIGEST_KEY, digest_tensors, load_strictly, read_state, write_weights

# By input channels: V4 was trained on colour in OpenCV's order, the others on grey. All share the frame.
CONTRACTS = {1: InputContract(), 3: InputContract(channels=3, order="bgr")}
# What torch's reader raises on files that are cut off, damaged or no checkpoints at all.
TORCH_ERRORS = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, OverflowError),
    *(AssertionError, MemoryError, pickle.UnpicklingError, struct.error),
)
METADATA_KEY = "lightface"  # of the record, as JSON, in the metadata of a safetensors file


def import_checkpoint(path: Path, *, name: str) -> WeightsRecord:
    """Copy a checkpoint into the user's models folder as safetensors and register it under `name`.

    A model card beside it, of the same name with .md, comes along.

    Returns the record. CheckpointError when the file is no checkpoint or fits no LightCNN (with the offending keys);
    WeightsError when the name is taken or malformed.
    """
    check_new_name(name)
    record, state = read_checkpoint(path, name=name)
    folder = imported_folder()
    file = folder / f"{name}.safetensors"
    sha256 = write_weights(file, state, describe(record))
    record = replace(record, file=file, sha256=sha256)
    card = path.with_suffix(".md")
    if card.is_file():
        record = replace(record, card=f"{name}.md")
        write_model_file(folder / record.card, card.read_bytes())
    register_weights(record, folder)
    return record


def read_checkpoint(path: Path, *, name: str) -> tuple[WeightsRecord, dict[str, Tensor]]:
    """The unregistered record (checksum empty) and the tensors of a checkpoint, without classifier."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; give the path of a checkpoint")
    if path.suffix == ".safetensors":
        tensors = read_state(path)
        described = _read_description(path, digest_tensors(tensors))
    else:
        tensors, described = _unpickle(path), {}
    state = {_plain_key(key): tensor for key, tensor in tensors.items()}
    state = {key: tensor for key, tensor in state.items() if not key.startswith("fc2.")}
    architecture = described.get("architecture") or _recognise(state, path)
    if architecture not in ARCHITECTURES:
        raise CheckpointError(f"{path} names the network {architecture!r}; known are {', '.join(ARCHITECTURES)}")
    released = ARCHITECTURES[architecture]
    try:
        record = WeightsRecord(
            **{
                "name": name,
                "architecture": architecture,
                "pooling": released.pooling,
                "padding": "same",
                "file": path,
                "sha256": "",
                "contract": CONTRACTS[released.in_channels],
                "licence": "as given by the checkpoint's authors",
                "training_data": f"imported from {path.name}",
                **described,
            }
        )
        structure = Structure(pooling=record.pooling, padding=record.padding)  # type: ignore[arg-type]
        network = build_lightcnn(architecture, structure)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a damaged description ({error})") from error
    load_strictly(network, state, source=path)
    return record, state


def describe(record: WeightsRecord) -> dict[str, str]:
    """The safetensors metadata that lets `import_checkpoint` recover the record from the file alone."""
    described = asdict(record)
    for key in ("name", "file", "sha256", "card"):  # these belong to a place, not to the weights
        del described[key]
    return {METADATA_KEY: json.dumps(described, sort_keys=True)}


def _plain_key(key: str) -> str:
    return key.removeprefix("module.")


def _unpickle(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on old pickle protocols; what cannot be read raises
            content = torch.load(path, map_location="cpu", weights_only=True)
    except TORCH_ERRORS as error:
        raise CheckpointError(
            f"{path} is no checkpoint that can be read safely; give a file that torch.save wrote, or safetensors"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state dict; expected tensors by name, or those under 'state_dict'")
    return {str(key): tensor for key, tensor in state.items()}


def _read_description(path: Path, digest: str) -> dict[str, Any]:
    """What the file says of itself; figures and thresholds only with the proof that they are of these tensors."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        described: dict[str, Any] = json.loads(metadata.get(METADATA_KEY, "{}"))
        if described:
            contract = described["contract"]
            described["contract"] = InputContract(**{**contract, "frame": Frame(**contract["frame"])})
            if described.get("recognisability") is not None:
                described["recognisability"] = Recognisability(**described["recognisability"])
        if DIGEST_KEY in metadata and metadata[DIGEST_KEY] != digest:
            raise CheckpointError(f"{path} was changed since it was written; get it again from where it came")
        if DIGEST_KEY not in metadata:
            described |= {"accuracy": {}, "thresholds": {}, "recognisability": None}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has a damaged description ({error})") from error
    return described


def _recognise(state: Mapping[str, Tensor], path: Path) -> str:
    """The network by the keys that only it has."""
    if "features.0.filter.weight" in state:
        return "lightcnn9"
    if "fc.filter.weight" in state:
        return "lightcnn29"
    if "group1.conv_a.filter.weight" in state and "fc.weight" in state:
        return "lightcnn29v2"
    if "conv2.filter.weight" in state and "fc.weight" in state:
        return "lightcnnv4"
    some = ", ".join(sorted(state)[:6])
    raise CheckpointError(f"{path} is none of {', '.join(ARCHITECTURES)}; its keys begin with: {some}")
