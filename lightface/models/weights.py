"""Weights files: safetensors that are read strictly and checked against their record, and imported checkpoints."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lightface.errors import CheckpointError, WeightsError
from lightface.files import check_regular
from lightface.models.layers import PADDINGS, POOLINGS
from lightface.models.lightcnn import ARCHITECTURES, LightCNN, Structure, build_lightcnn
from lightface.models.recognisability import Recognisability
from lightface.models.registry import (
    DEFAULT_WEIGHTS,
    WeightsRecord,
    check_new_name,
    find_weights,
    imported_folder,
    register_weights,
    verify_weights,
    write_model_file,
)
from lightface.records import Frame, InputContract

DIGEST_KEY = "tensors_sha256"  # of the metadata


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready for use, with the record of its weights."""

    record: WeightsRecord
    network: LightCNN  # evaluation mode, float32, on the CPU


def load_model(name: str = DEFAULT_WEIGHTS) -> LoadedModel:
    """Load registered weights. WeightsError, ChecksumError or CheckpointError when they cannot be trusted."""
    record = find_weights(name)
    verify_weights(record)
    state = read_state(record.file)
    if record.pooling not in POOLINGS or record.padding not in PADDINGS or record.architecture not in ARCHITECTURES:
        raise WeightsError(f"the record of {name!r} names a network that this version of lightface does not know")
    network = build_lightcnn(record.architecture, Structure(pooling=record.pooling, padding=record.padding))
    load_strictly(network, state, source=record.file)
    return LoadedModel(record, network.eval())


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; WeightsError when it is none."""
    try:
        check_regular(path)
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read the weights {path}: {error}") from error


def write_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write safetensors, owner-only and whole or not at all; returns the SHA-256. OutputError when that fails.

    The digest of the tensors joins the metadata, so that the figures there can be held to belong to them.
    """
    tensors = {key: tensor.detach().contiguous().cpu() for key, tensor in state.items()}
    data = safetensors.torch.save(tensors, metadata={**metadata, DIGEST_KEY: digest_tensors(tensors)})
    write_model_file(path, data)
    return hashlib.sha256(data).hexdigest()


def digest_tensors(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().contiguous().cpu()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_strictly(network: LightCNN, state: Mapping[str, Tensor], *, source: Path) -> None:
    """Copy `state` into the network; CheckpointError lists each key that is missing, unexpected or of another shape."""
    expected = network.state_dict()
    problems = [f"{key} is missing" for key in expected.keys() - state.keys()]
    problems += [f"{key} is unexpected" for key in state.keys() - expected.keys()]
    for key in expected.keys() & state.keys():
        wanted, given = tuple(expected[key].shape), tuple(state[key].shape)
        if wanted != given:
            problems.append(f"{key} is {given}, not {wanted}")
        elif not state[key].isfinite().all():
            problems.append(f"{key} has values that are not finite")
    if problems:
        raise CheckpointError(f"{source} does not fit the network: {'; '.join(sorted(problems))}")
    network.load_state_dict(dict(state))


# Import of checkpoints: the authors' `.pth.tar` files, bare state dicts, and safetensors that `train` exported.
#
# The authors' files are `{"state_dict": {"module.<key>": tensor}, "epoch", "arch", "prec1"}`. They are never
# unpickled freely (`weights_only=True`).


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
